"""How fast detectors are, measured side by side."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lane_sad_ros.cores import all_cores
from lane_sad_ros.detection import LaneDetector
from lane_sad_ros.detection.engines.cache import processor
from lane_sad_ros.frames import Frame

Stages = Mapping[str, float]
"""Seconds by name of the stage."""


@dataclass(frozen=True)
class Contender:
    """What is measured: `run` does `images` images and says what its stages took."""

    name: str
    run: Callable[[], Stages]
    images: int = 1


@dataclass(frozen=True)
class Turn:
    """What one run took. cpu: seconds that all threads worked, which other programs hardly change.

    stages: seconds of the clock.
    """

    stages: Stages
    cpu: float


def contender(name: str, detector: LaneDetector, frames: Sequence[Frame]) -> Contender:
    """A detector on a batch of frames."""
    return Contender(name, lambda: detector.detect(frames)[0].stages, len(frames))


def interleaved(
    contenders: Sequence[Contender], repeats: int, warm_up: int = 5
) -> dict[str, list[Turn]]:
    """What each turn of each contender took.

    They take turns, so that what slows the machine down for a while slows all of them.
    """
    for one in contenders:
        for _ in range(warm_up):
            one.run()
    turns: dict[str, list[Turn]] = {one.name: [] for one in contenders}
    for _ in range(repeats):
        for one in contenders:
            began = time.process_time()
            stages = one.run()
            turns[one.name].append(Turn(stages, time.process_time() - began))
    return turns


def summary(turns: Sequence[Turn], images: int) -> dict[str, Any]:
    """Median and 10th to 90th percentile in ms of each stage, of their `total` and of CPU time.

    Of all images of a turn; and images/s.
    """
    columns = {stage: [turn.stages[stage] for turn in turns] for stage in turns[0].stages}
    columns["total"] = [sum(turn.stages.values()) for turn in turns]
    stages = {name: _spread(seconds) for name, seconds in columns.items()}
    return {
        "ms": stages,
        "cpu_ms": _spread([turn.cpu for turn in turns]),
        "images_per_second": 1e3 * images / stages["total"]["median"],
    }


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    low, median, high = np.percentile(np.multiply(seconds, 1e3), (10, 50, 90))
    return {"median": float(median), "p10": float(low), "p90": float(high)}


def ratio(turns: Sequence[Turn], reference: Sequence[Turn]) -> float:
    """The median of a contender's time over that of the reference in the same turn."""
    pairs = zip(turns, reference, strict=True)
    return float(
        np.median([sum(one.stages.values()) / sum(other.stages.values()) for one, other in pairs])
    )


def cpu_ratio(turns: Sequence[Turn], reference: Sequence[Turn]) -> float:
    """The same of CPU time."""
    return float(
        np.median([one.cpu / other.cpu for one, other in zip(turns, reference, strict=True)])
    )


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    told = {
        "processor": processor(),
        "cores": all_cores(),
        "load": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    if torch.cuda.is_available():
        cards = range(torch.cuda.device_count())
        told["gpu"] = ", ".join(map(torch.cuda.get_device_name, cards))
    return told
