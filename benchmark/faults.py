"""What the running node does when things go wrong: each fault is made, and a table says what came.

`python -m benchmark.faults` starts the node as a process of its own for each fault, over real DDS.
The exit code is 0 where all went as it should.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from lane_sad_ros.msg import EgoLane, LaneArray
from lifecycle_msgs.msg import Transition
from sensor_msgs.msg import CompressedImage

from benchmark.malformed import flood, flood_infos
from benchmark.offline_faults import full_disk, full_disk_of_checkpoints, killed_trainings
from benchmark.soak import Stretch, Usage, problems
from lane_sad_ros.network.weights import default_weights_path
from lane_sad_ros.ros.rig import Failed, Pixels, Rig, running, until

Start = Callable[..., AbstractContextManager[Rig]]
"""Starts a node: start(parameter=value, cameras=[...], change=LINE).

change: a line of Python that each detection begins with; `frames` are its frames.
"""

EIGHT = [f"camera_{index}" for index in range(8)]
_ROUNDS = 10  # of images of all cameras
_MALFORMED = 625  # rounds of eight messages, of either transport
_SIGNALS = 20
_CYCLES = 50
_ENDS = 2.0  # seconds in which a process ends after a signal
_TOLD = 2.0  # seconds in which a stall is an error
_PROGRAM = Path(__file__).parents[1] / "scripts" / "lane_detector"
_CHANGED = """
import pathlib, sys, time
from lane_sad_ros.detection import LaneDetector
from lane_sad_ros.ros.detector import node
detect = LaneDetector.detect
def changed(self, frames, **options):
    {change}
    return detect(self, frames, **options)
LaneDetector.detect = changed
sys.exit(node.main())
"""
_WHILE = "while pathlib.Path({flag!r}).exists(): time.sleep(0.02)"
_NO_MEMORY = "if len(frames) > 1: raise MemoryError('of the device')"
_CYCLE = (
    Transition.TRANSITION_DEACTIVATE,
    Transition.TRANSITION_CLEANUP,
    Transition.TRANSITION_CONFIGURE,
    Transition.TRANSITION_ACTIVATE,
)


@dataclass(frozen=True)
class Fault:
    """One fault. expected: what should happen. make: does it; gives a figure or raises Failed."""

    name: str
    expected: str
    make: Callable[[Start, Pixels], str]
    short: bool = False


def _camera_stops(start: Start, image: Pixels) -> str:
    with start(stale_after=1.0) as rig:
        rig.answered(image)
        until(lambda: _says(rig, "no frame for"), "the silence in diagnostics")
        return f"lanes again after {rig.answered(image):.2f} s"


def _other_sizes(start: Start, image: Pixels) -> str:
    with start() as rig:
        half = np.ascontiguousarray(image[::2, ::2])
        for pixels, encoding in ((image, "bgr8"), (half, "rgb8"), (half[:, :, 0], "mono8")):
            rig.answered(np.ascontiguousarray(pixels), encoding=encoding)
    return "3 of 3 answered"


def _stamps_jump(start: Start, image: Pixels) -> str:
    with start() as rig:
        for stamp in (10**18, 5 * 10**17, 2 * 10**18, 1, 10**18):
            rig.answered(image, stamp_ns=stamp)
        rig.send(image, stamp_ns=-5 * 10**9)
        until(lambda: _value(rig, ": camera", "frames bad: bad_stamp"), "the negative stamp")
        rig.answered(image)
    return "5 of 5 answered, the negative stamp told"


def _two_publishers(start: Start, image: Pixels) -> str:
    with start() as rig:
        other = rig.publisher()
        until(lambda: other.get_subscription_count(), "the second publisher's subscriber")
        rig.answered(image)
        rig.cameras[""], first = other, rig.cameras[""]
        rig.answered(image)
        rig.node.destroy_publisher(first)
        return f"one goes: lanes after {rig.answered(image):.2f} s"


def _one_bad_camera(start: Start, image: Pixels) -> str:
    bad, *good = EIGHT
    with start(cameras=EIGHT, image_reliability="reliable") as rig:
        for name in EIGHT:
            rig.answered(image, name)
        for _ in range(_ROUNDS):
            rig.send(image, bad, stamp_ns=-(10**9))
            sent = {name: rig.send(image, name) for name in good}
            until(partial(rig.heard, sent), "the seven others")
    return f"{_ROUNDS * len(good)} of {_ROUNDS * len(good)} frames of the others answered"


def _fast_camera(start: Start, image: Pixels) -> str:
    with start() as rig:
        rig.answered(image)
        cost = _cost(rig, image)
        slow = rig.drive(image, 4.0, 0.5 / cost)
        fast = rig.drive(image, 4.0, 2.0 / cost)
    if not fast or statistics.median(fast) > 4 * statistics.median(slow) + 0.05:
        raise Failed(f"latency grew from {_ms(slow)} to {_ms(fast)}")
    return f"median {_ms(slow)} at half its rate, {_ms(fast)} at twice"


def _large_images(start: Start, image: Pixels) -> str:
    with start() as rig:
        large = np.tile(image, (3840 // image.shape[1] + 1, 3840 // image.shape[1] + 1, 1))
        large = np.ascontiguousarray(large[:2160, :3840])
        rig.answered(large)
        return f"3840x2160 answered in {_cost(rig, large) * 1e3:.0f} ms"


def _many_listeners(start: Start, image: Pixels) -> str:
    with start() as rig:
        rig.answered(image)
        for _ in range(10):
            some = [
                rig.node.create_subscription(LaneArray, "/lane_detector/lanes", lambda _: None, 1)
                for _ in range(10)
            ]
            rig.answered(image)
            for each in some:
                rig.node.destroy_subscription(each)
        return f"lanes after {rig.answered(image):.2f} s"


def _stall(start: Start, image: Pixels) -> str:
    with tempfile.TemporaryDirectory() as folder, start(change=_stalling(folder)) as rig:
        flag = Path(folder) / "stall"
        rig.answered(image)
        flag.touch()
        rig.send(image)
        began = time.monotonic()
        until(lambda: _level(rig, ": detector") == DiagnosticStatus.ERROR, "the detector's ERROR")
        until(lambda: _level(rig, ": camera") == DiagnosticStatus.ERROR, "the camera's ERROR")
        told = time.monotonic() - began
        flag.unlink()
        back = rig.answered(image)
        if told > _TOLD + 0.25:
            raise Failed(f"told after {told:.1f} s")
    return f"ERROR after {told:.2f} s, of the camera too; lanes {back:.2f} s after its end"


def _stall_deactivated(start: Start, image: Pixels) -> str:
    with tempfile.TemporaryDirectory() as folder, start(change=_stalling(folder)) as rig:
        flag = Path(folder) / "stall"
        rig.answered(image)
        flag.touch()
        rig.send(image)
        until(lambda: _level(rig, ": detector") == DiagnosticStatus.ERROR, "the stall")
        began = time.monotonic()
        if not rig.change_state(Transition.TRANSITION_DEACTIVATE):
            raise Failed("it was not deactivated")
        took = time.monotonic() - began
        return f"deactivated in {took:.2f} s; ended in {_ended(rig, signal.SIGTERM):.2f} s"


def _signals(start: Start, image: Pixels) -> str:
    rng = random.Random(0)
    times: dict[str, list[float]] = {"starting": [], "working": []}
    wrong = []
    for index in range(_SIGNALS):
        with start() as rig:
            if index % 2:
                rig.answered(image)
                rig.send(image)
                time.sleep(rng.uniform(0.0, 0.2))
            else:
                time.sleep(rng.uniform(0.5, 6.0))
            number = (signal.SIGINT, signal.SIGTERM)[index // 2 % 2]
            try:
                times["working" if index % 2 else "starting"].append(_ended(rig, number))
            except Failed as error:
                wrong.append(str(error))
    if wrong:
        raise Failed("; ".join(wrong))
    return "; ".join(f"{len(t)} {when}: at most {max(t):.2f} s" for when, t in times.items())


def _weights_replaced(start: Start, image: Pixels) -> str:
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(shutil.copy(default_weights_path(), folder))
        whole = weights.read_bytes()
        with start(weights=str(weights)) as rig:
            rig.answered(image)
            weights.write_bytes(whole[:1000])  # in place, as cp does
            rig.answered(image)
            _change(rig, *_CYCLE[:2])
            if rig.change_state(Transition.TRANSITION_CONFIGURE):
                raise Failed("it took a file that is cut short")
            weights.write_bytes(whole)
            _change(rig, *_CYCLE[2:])
            rig.answered(image)
    return "lanes go on; a cut file is refused, a whole one taken"


def _no_memory(start: Start, image: Pixels) -> str:
    some = EIGHT[:3]
    with start(cameras=some, image_reliability="reliable", change=_NO_MEMORY) as rig:
        for name in some:
            rig.answered(image, name)
        for _ in range(_ROUNDS):
            sent = {name: rig.send(image, name) for name in some}
            until(partial(rig.heard, sent), "lanes of all cameras")
        if "one by one is tried: MemoryError" not in rig.process.log.read_text():
            raise Failed("it is not told")
    return f"{_ROUNDS * len(some)} of {_ROUNDS * len(some)} frames answered, told in the log"


def _malformed(start: Start, image: Pixels) -> str:
    said = []
    for transport in ("raw", "compressed"):
        options = {"image_transport": transport, "image_reliability": "reliable"}
        with start(cameras=[*EIGHT, "good"], **options) as rig:
            if transport == "compressed":
                for name in rig.cameras:
                    rig.cameras[name] = rig.publisher(name, CompressedImage, "image/compressed")
            rig.answered(image, "good")
            said.append(f"{transport}: {flood(rig, image, EIGHT, 'good', _MALFORMED)}")
    with start(camera_height=1.5) as rig:
        rig.node.create_subscription(EgoLane, "/lane_detector/ego_lane", lambda _: None, 1)
        said.append(flood_infos(rig, image, _MALFORMED))
    return "; ".join(said)


def _restart(start: Start, image: Pixels) -> str:
    with start() as rig:
        rig.answered(image)
        rig.process.restart()
        return f"lanes {rig.answered(image):.1f} s after kill -9"


def _cycles(start: Start, image: Pixels) -> str:
    with start() as rig:
        parts = []
        for cycle in range(_CYCLES + 1):
            seconds = rig.answered(image)
            if cycle in (_CYCLES // 5, _CYCLES):
                parts.append(Stretch(1.0, seconds, Usage.at(rig.process.pid)))
            _change(rig, *_CYCLE)
        if found := problems(*parts):
            raise Failed("; ".join(found))
        before, after = (part.usage for part in parts)
    return f"{before.words} after {_CYCLES // 5}, {after.words} after {_CYCLES}"


FAULTS = (
    Fault("the camera stops and returns", "told; lanes again at once", _camera_stops),
    Fault("size and encoding change", "all are answered", _other_sizes),
    Fault("stamps jump, are negative", "answered; negative ones refused", _stamps_jump, short=True),
    Fault("two publishers, one goes", "lanes go on", _two_publishers),
    Fault("one of eight cameras is bad", "the others keep their frames", _one_bad_camera),
    Fault("camera twice as fast", "latency stays the newest frame's", _fast_camera),
    Fault("4K images", "answered", _large_images),
    Fault("a hundred listeners come and go", "lanes go on", _many_listeners),
    Fault("the engine stalls", "ERROR within 2 s; goes on after it", _stall, short=True),
    Fault("deactivated during a stall", "returns; ends within 2 s", _stall_deactivated, short=True),
    Fault("SIGINT, SIGTERM at any moment", "exit code 0 within 2 s", _signals),
    Fault("killed and started anew", "lanes again", _restart),
    Fault(f"configured and cleaned up {_CYCLES} times", "nothing is left", _cycles),
    Fault("weights replaced", "not noticed; read anew when configured", _weights_replaced),
    Fault("no memory for a batch", "one by one, told", _no_memory),
    Fault("malformed messages", "the good camera is answered; memory stays", _malformed),
    Fault("disk full: bag", "told; the old file stays", lambda *_: full_disk("a.mcap")),
    Fault("disk full: overlay video", "told; the old file stays", lambda *_: full_disk("a.mp4")),
    Fault("disk full: checkpoint", "told; goes on", lambda *_: full_disk_of_checkpoints()),
    Fault("training killed", "same weights", lambda *_: killed_trainings()),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes the faults, prints the table, gives the exit code."""
    options = _parser().parse_args(arguments)
    image = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)
    parameters = {"device": "cpu", "engine": options.engine, "weights": options.weights}
    print("| fault | should | came | |\n|---|---|---|---|", flush=True)
    failures = 0
    with tempfile.TemporaryDirectory() as folder:

        def start(cameras: Sequence[str] = ("",), change: str = "", **more: Any) -> Any:
            program = ["-c", _CHANGED.format(change=change)] if change else [str(_PROGRAM)]
            return running(Path(folder) / "node.log", {**parameters, **more}, cameras, program)

        for fault in FAULTS:
            if (options.short and not fault.short) or options.only not in fault.name:
                continue
            try:
                came, passed = fault.make(start, image), True
            except Failed as error:
                came, passed = str(error), False
            failures += not passed
            row = (fault.name, fault.expected, came, "pass" if passed else "FAIL")
            print(f"| {' | '.join(row)} |", flush=True)
    return 1 if failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmark.faults", description=__doc__)
    parser.add_argument("--short", action="store_true", help="the quick ones only")
    parser.add_argument("--only", default="", metavar="WORDS", help="faults with these words only")
    parser.add_argument(
        "--weights", default="", metavar="FILE", help="weights file (default: the shipped weights)"
    )
    parser.add_argument("--engine", default="eager", help="engine (default: %(default)s)")
    return parser


def _cost(rig: Rig, image: Pixels, camera: str = "") -> float:
    """Seconds from image to lanes, one at a time: the median of five."""
    return statistics.median(rig.answered(image, camera) for _ in range(5))


def _stalling(folder: str) -> str:
    """The line that stalls detections while there is a file `stall` in a folder."""
    return _WHILE.format(flag=f"{folder}/stall")


def _change(rig: Rig, *transitions: int) -> None:
    """Makes lifecycle transitions. Raises Failed."""
    for transition in transitions:
        if not rig.change_state(transition):
            raise Failed(f"transition {transition} failed")


def _ended(rig: Rig, number: signal.Signals) -> float:
    """Seconds until the process ended after a signal. Raises Failed where late or not clean."""
    began = time.monotonic()
    code = rig.process.end(number)
    took = time.monotonic() - began
    if code or took > _ENDS:
        raise Failed(f"{number.name}: exit code {code} after {took:.1f} s")
    return took


def _says(rig: Rig, words: str) -> bool:
    status = rig.status(": camera")
    return status is not None and words in status.message


def _value(rig: Rig, ending: str, key: str) -> str:
    status = rig.status(ending)
    values = {item.key: item.value for item in status.values} if status else {}
    return values.get(key, "")


def _level(rig: Rig, ending: str) -> Any:
    status = rig.status(ending)
    return status.level if status else None


def _ms(seconds: Sequence[float]) -> str:
    return f"{1e3 * statistics.median(seconds):.0f} ms" if seconds else "no answer"


if __name__ == "__main__":
    sys.exit(main())
