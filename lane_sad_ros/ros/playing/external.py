"""A bag that is played by somebody else, such as `ros2 bag play`: what can be heard of it."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from rclpy.node import Node

from lane_sad_ros.recordings import bags
from lane_sad_ros.ros import qos
from lane_sad_ros.ros.message_classes import message_class
from lane_sad_ros.ros.playing.collector import Collector
from lane_sad_ros.ros.playing.session import GLANCE, SessionError

_DEPTH = 10
# Seconds that a player gives others to find it: announcements are repeated every three.
_DISCOVERY = 5
_END = 5.0  # seconds it gets to end


class Listener:
    """Notes when the images of a topic arrive here, by their stamps.

    The subscription is best effort, so that it hears every player. It takes the messages as bytes.
    """

    def __init__(self, node: Node, topic: str, kind: str) -> None:
        self.topic = topic
        self.received: dict[int, float] = {}
        self.repeated: Counter[int] = Counter()
        node.create_subscription(
            message_class(kind),
            topic,
            self._on_image,
            qos.image_qos("best_effort", _DEPTH),
            raw=True,
        )

    def _on_image(self, data: Any) -> None:
        now = time.monotonic()
        stamp_ns = bags.Recorded(self.topic, 0, bytes(data[:12])).stamp_ns
        if stamp_ns in self.received:
            self.repeated[stamp_ns] += 1
        self.received.setdefault(stamp_ns, now)


class Ros2BagPlay:
    """`ros2 bag play` as a process, ended on leaving the `with` block."""

    def __init__(self, path: Path, topics: Sequence[str], rate: float, clock_rate: float) -> None:
        self._command = [
            "ros2", "bag", "play", str(path),
            "--clock", str(clock_rate),
            "--rate", str(rate),
            "--delay", str(_DISCOVERY),
            "--disable-keyboard-controls",
            "--topics", *topics,
        ]  # fmt: skip

    @staticmethod
    def installed() -> bool:
        """Whether it is there."""
        with suppress(PackageNotFoundError):
            get_package_prefix("ros2bag")
            return shutil.which("ros2") is not None
        return False

    def __enter__(self) -> Ros2BagPlay:
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)
        return self

    def __exit__(self, *_: object) -> None:
        for end in (self._process.terminate, self._process.kill):
            if self._process.poll() is None:
                end()
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(_END)

    def over(self) -> bool:
        """Whether the bag was played to its end. Raises SessionError where that failed."""
        code = self._process.poll()
        if code:
            raise SessionError(f"ros2 bag play failed with exit code {code}")
        return code == 0


def follow(
    listener: Listener,
    collector: Collector,
    stamps: Sequence[int],
    check: Callable[[], None],
    *,
    begin: float,
    idle: float,
    over: Callable[[], bool] | None,
) -> bool:
    """Returns when a bag whose images have these stamps was played and answered.

    That is when its last image is answered, or nothing came for `idle` seconds, or it begins again;
    gives whether it did. begin: seconds the player gets to begin. over: whether the player has
    finished, None for one that is not known; one that goes on is waited for through every pause of
    the drive. check: raises SessionError where it makes no sense to go on.
    Raises SessionError if nothing is played, or images without stamps.
    """
    times, last = Counter(stamps), stamps[-1]

    def answered() -> bool:
        """Whether the last image is; another one may have its stamp."""
        arrived = listener.repeated[last] >= times[last] - 1
        return arrived and collector.answer(last) is not None

    heard, since = (0, 0), time.monotonic()
    while not answered():
        collector.wait_for(answered, GLANCE)
        check()
        now = time.monotonic()
        if (news := (len(listener.received), collector.count)) != heard:
            heard, since = news, now
        if 0 in listener.received:
            raise SessionError(
                f"the images on {listener.topic} have no stamps to know them by; let this node "
                "play the bag (player: own), which gives them the time of their recording"
            )
        if any(repeated >= times[stamp] for stamp, repeated in listener.repeated.items()):
            return True
        quiet, finished = now - since, over is not None and over()
        if not heard[0] and finished:
            raise SessionError(f"the bag was played, and no image arrived on {listener.topic}")
        if not heard[0] and over is None and quiet > begin:
            raise SessionError(f"nobody played images on {listener.topic} within {begin:g} s")
        if heard[0] and (finished or over is None) and quiet > idle:
            break
    return False
