"""Messages that no camera should send, over DDS to the running node."""

from __future__ import annotations

import array
import random
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from sensor_msgs.msg import CameraInfo, CompressedImage, RegionOfInterest

from benchmark import fuzz
from benchmark.soak import Usage
from lane_sad_ros.ros.rig import Failed, Pixels, Rig, until

_PAUSE = 0.05  # seconds between rounds
_EACH = 25  # rounds, after which a good image is answered
_MOST = 0.9  # of the messages, which the middleware brings even under load
_WARM = 200  # rounds before memory is looked at: large images come by chance
_GROWTH = 100.0  # MiB that may come after that


def flood(rig: Rig, image: Pixels, bad: Sequence[str], good: str, rounds: int) -> str:
    """Sends an image of each bad camera, rounds times; good images are answered between them.
    What came of them, in words. Raises Failed.
    """
    rng = random.Random(0)
    examples = fuzz.example_images()

    def send() -> None:
        for name in bad:
            publisher = rig.cameras[name]
            packed = publisher.msg_type is CompressedImage
            fields = fuzz.compressed_image(rng, examples) if packed else fuzz.raw_image(rng)
            publisher.publish(_message(publisher.msg_type, fields, rng))

    grown = _rounds(rig, image, good, rounds, send)
    sent = rounds * len(bad)
    until(lambda: _sum(rig, bad, "received") >= _MOST * sent, f"most of {sent} in diagnostics")
    keys = ("received", "processed", "bad", "failed", "dropped")
    counts = ", ".join(f"{_sum(rig, bad, key)} {key}" for key in keys)
    return f"{sent} images sent, {counts}, {grown:+.0f} MiB"


def flood_infos(rig: Rig, image: Pixels, rounds: int) -> str:
    """Sends a CameraInfo and an image, rounds times; see `flood`."""
    rng = random.Random(0)
    publisher = rig.publisher("", CameraInfo, "camera_info")

    def send() -> None:
        publisher.publish(_message(CameraInfo, fuzz.camera_info(rng), rng))
        rig.send(image)

    grown = _rounds(rig, image, "", rounds, send)
    return f"{rounds} CameraInfo sent, {grown:+.0f} MiB"


def _rounds(rig: Rig, image: Pixels, good: str, rounds: int, send: Callable[[], None]) -> float:
    """MiB that the node has more after the rounds than after the first ones. Raises Failed."""
    memory = 0.0
    for number in range(rounds):
        send()
        time.sleep(_PAUSE)
        if number % _EACH == 0:
            rig.answered(image, good)
            rig.process.check()
        if number <= _WARM:
            memory = Usage.at(rig.process.pid).memory
    grown = Usage.at(rig.process.pid).memory - memory
    if grown > _GROWTH:
        raise Failed(f"{grown:.0f} MiB more")
    return grown


def _sum(rig: Rig, cameras: Sequence[str], key: str) -> int:
    """Of what the node counts of some cameras."""
    return sum(_count(rig, name, f"frames {key}") for name in cameras)


def _count(rig: Rig, camera: str, key: str) -> int:
    status = rig.status(f": camera {camera}")
    values = {item.key: item.value for item in status.values} if status else {}
    return int(values.get(key, 0))


def _message(kind: Any, fields: SimpleNamespace, rng: random.Random) -> Any:
    message = kind()
    message.header.frame_id = rng.choice(("camera", "", "x" * 1000))
    message.header.stamp.sec = rng.choice((0, 1, 10**9, 2**31 - 1, -1))
    for name, value in vars(fields).items():
        if isinstance(value, bytes):
            value = array.array("B", value)
        elif isinstance(value, SimpleNamespace):
            value = RegionOfInterest(**vars(value))
        setattr(message, name, value)
    return message
