"""The running node measured through DDS, for `lane_sad benchmark --live`.

`python -m lane_sad_ros.ros.live RATE SECONDS` takes the node's parameters as JSON from the standard
input and gives figures as JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from lane_sad_ros.detection.engines.auto import PICTURE
from lane_sad_ros.image_files import read_image
from lane_sad_ros.ros.playing.session import SessionError
from lane_sad_ros.ros.rig import Failed, Pixels, Rig, running

_START = 300.0  # seconds that the node gets to start: engines may be tried and converted


def measure(rig: Rig, rate: float, seconds: float) -> dict[str, Any]:
    """Sends the picture at a rate (images/s): what came of it.

    ms: from publishing to lanes, median and 90th percentile; cpu_ms: CPU time of the node for each
    image that it answered; memory_mb: its peak resident memory.
    """
    image = np.asarray(read_image(PICTURE))
    first = _first_answer(rig, image)
    worked = _cpu_seconds(rig.process.pid)
    latencies = rig.drive(image, seconds, rate)
    worked = _cpu_seconds(rig.process.pid) - worked
    if not latencies:
        raise Failed(f"no image of {rate * seconds:.0f} was answered")
    median, late = np.percentile(np.multiply(latencies, 1e3), (50, 90))
    return {
        "first_lanes_s": first,
        "sent": round(rate * seconds),
        "answered": len(latencies),
        "ms": {"median": float(median), "p90": float(late)},
        "cpu_ms": 1e3 * worked / len(latencies),
        "memory_mb": _peak_memory(rig.process.pid),
    }


def _first_answer(rig: Rig, image: Pixels) -> float:
    """Seconds until lanes come. Raises Failed, SessionError where the node can't start."""
    began = time.monotonic()
    while True:
        with contextlib.suppress(Failed):
            rig.answered(image, patience=2.0)
            return time.monotonic() - began
        rig.process.check()
        status = rig.status(": detector")
        if status is not None and status.message.startswith("cannot configure"):
            raise Failed(status.message)
        if time.monotonic() > began + _START:
            raise Failed(f"no lanes after {_START:g} s")


def _cpu_seconds(pid: int) -> float:
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def _peak_memory(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def main() -> int:
    """Prints the figures; gives the exit code."""
    rate, seconds = map(float, sys.argv[1:])
    parameters = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "node.log")
        try:
            with running(log, parameters) as rig:
                print(json.dumps(measure(rig, rate, seconds)))
        except (Failed, SessionError) as error:
            told = log.read_text(errors="replace") if log.is_file() else ""
            print(f"{told}{error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
