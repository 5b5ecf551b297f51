"""Frames through the running node for as long as you like: what grows, leaks or becomes slower.

`python -m benchmark.soak --duration 3600` starts the node, sends it images over real DDS, listens
to its lanes, ego lane and markers, and looks at the process. The exit code is 0 where memory grew
by less than five per cent after the warm-up, at most two handles or threads are left, and the rate
fell by less than a tenth.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lane_sad_ros.msg import EgoLane
from visualization_msgs.msg import MarkerArray

from lane_sad_ros.arguments import positive
from lane_sad_ros.ros.rig import Pixels, Rig, running

_GROWTH = 0.05  # of the resident memory, after the warm-up
_SLOWER = 0.1  # of the rate
_SPARE = 2  # handles or threads that may come and go


@dataclass(frozen=True)
class Usage:
    """What a process holds. memory: resident, MiB."""

    memory: float
    handles: int
    threads: int

    @property
    def words(self) -> str:
        return f"{self.memory:.0f} MiB, {self.handles} handles, {self.threads} threads"

    @classmethod
    def at(cls, pid: int) -> Usage:
        """The process of this number, out of /proc."""
        folder = Path("/proc") / str(pid)
        status = (folder / "status").read_text(encoding="ascii")
        lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        handles = len(list((folder / "fd").iterdir()))
        return cls(int(lines["VmRSS"].split()[0]) / 1024, handles, int(lines["Threads"]))


@dataclass(frozen=True)
class Stretch:
    """A part of the run. rate: answers a second. latency: median from image to lanes, seconds."""

    rate: float
    latency: float
    usage: Usage


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs, prints a table, gives the exit code."""
    options = _parser().parse_args(arguments)
    parameters = {"device": "cpu", "engine": options.engine, "weights": options.weights}
    image = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder) / "node.log", parameters) as rig,
    ):
        rig.node.create_subscription(EgoLane, "/lane_detector/ego_lane", _ignore, 1)
        rig.node.create_subscription(MarkerArray, "/lane_detector/markers", _ignore, 1)
        rig.answered(image)
        print("| after | lanes/s | median | memory | handles | threads |", flush=True)
        print("|---|---|---|---|---|---|", flush=True)
        parts = _run(rig, image, options.duration, options.rate, options.parts)
    found = problems(parts[0], parts[-1])
    for line in found:
        print(f"FAIL: {line}")
    return 1 if found else 0


def _run(rig: Rig, image: Pixels, duration: float, rate: float, count: int) -> list[Stretch]:
    """The parts of the run, of which the first is the warm-up."""
    parts = []
    began = time.monotonic()
    for _ in range(count):
        seconds = duration / count
        latencies = rig.drive(image, seconds, rate)
        latency = float(np.median(latencies)) if latencies else float("nan")
        part = Stretch(len(latencies) / seconds, latency, Usage.at(rig.process.pid))
        parts.append(part)
        usage = part.usage
        print(
            f"| {time.monotonic() - began:.0f} s | {part.rate:.2f} | {1e3 * latency:.0f} ms "
            f"| {usage.memory:.0f} MiB | {usage.handles} | {usage.threads} |",
            flush=True,
        )
        for heard in rig.answers.values():
            heard.clear()
    return parts


def problems(first: Stretch, last: Stretch) -> list[str]:
    """What a run shows that should not be, a line each."""
    found = []
    growth = last.usage.memory / first.usage.memory - 1
    if growth > _GROWTH:
        found.append(f"memory grew by {growth:.1%}")
    for name in ("handles", "threads"):
        before, after = getattr(first.usage, name), getattr(last.usage, name)
        if after > before + _SPARE:
            found.append(f"{after} {name} instead of {before}")
    if last.rate < (1 - _SLOWER) * first.rate:
        found.append(f"{last.rate:.2f} lanes/s instead of {first.rate:.2f}")
    return found


def _ignore(_: object) -> None:
    """What is heard only so that it is computed."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmark.soak", description=__doc__)
    parser.add_argument(
        "--duration",
        type=positive,
        default=3600.0,
        metavar="S",
        help="seconds (default: %(default)g)",
    )
    parser.add_argument(
        "--rate",
        type=positive,
        default=10.0,
        metavar="HZ",
        help="images a second (default: %(default)g)",
    )
    parser.add_argument(
        "--parts",
        type=int,
        default=6,
        help="number of looks at memory and rate (default: %(default)s)",
    )
    parser.add_argument(
        "--weights", default="", metavar="FILE", help="weights file (default: the shipped weights)"
    )
    parser.add_argument("--engine", default="eager", help="engine (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
