"""How steady lanes are over time, and how right: figures of a sequence of lanes.

All lengths are pixels of a 1280×720 image, whatever the size of the frames. Lanes are compared on
rows 10 pixels apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.evaluation import tusimple
from lane_sad_ros.formats import tusimple as tusimple_files
from lane_sad_ros.lanes import Lanes

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

_WIDTH, _ROWS = 1280.0, np.arange(0.0, 720.0, 10.0)
TOLERANCE = 20.0
"""Pixels along the row within which a true point counts as found."""
_SAME = 64.0  # pixels: a slot whose lane moves further than this in a frame has got another marking


@dataclass(frozen=True)
class Moment:
    """One frame: what was detected, and the true lanes or the TuSimple record where known."""

    stamp_ns: int
    detected: Lanes
    truth: Lanes | None = None
    record: dict[str, Any] | None = None


@dataclass(frozen=True)
class Figures:
    """What was measured on one sequence, or on several that follow each other as one.

    flips: changes of existence, all slots together, for 100 frames; true_flips: those of the truth.
    jitter, jitter_rms: median and root of the mean square of the second differences in time of the
        column at a row, where a slot has the same lane in three frames.
    lag: frames by which moving lanes trail the reference, which is the truth, or where that is not
        known the detections averaged over five frames, two of them yet to come.
    found: share of true points with a lane of the same slot within TOLERANCE.
    error: median distance of true points to the lane of the same slot.
    false_lanes, missed_lanes: slots for each frame that exist and should not, or the other way.
    accuracy, fp, fn: TuSimple's official figures on the labelled frames.
    Figures that the input does not tell are None.
    """

    frames: int
    flips: float
    jitter: float
    jitter_rms: float
    lag: float | None
    true_flips: float | None = None
    found: float | None = None
    error: float | None = None
    false_lanes: float | None = None
    missed_lanes: float | None = None
    accuracy: float | None = None
    fp: float | None = None
    fn: float | None = None


@dataclass
class _Sums:
    """Figures in the making."""

    pairs: int = 0
    flips: int = 0
    bends: list[Array] = field(default_factory=list)
    motion: list[tuple[Array, Array]] = field(default_factory=list)  # (offset, pixels a frame)
    true_flips: int = 0
    true_frames: int = 0
    errors: list[Array] = field(default_factory=list)
    false_lanes: int = 0
    missed_lanes: int = 0
    scores: list[tuple[float, float, float]] = field(default_factory=list)


def measure(sequences: Sequence[tuple[Sequence[Moment], Sequence[Lanes]]]) -> Figures:
    """The figures of sequences, each with one answer for each moment."""
    sums = _Sums()
    frames = 0
    for moments, answers in sequences:
        frames += len(moments)
        _add(sums, moments, answers)
    bends = np.concatenate([*sums.bends, np.empty(0)])
    known = len(sums.errors) > 0
    errors = np.concatenate([*sums.errors, np.empty(0)])
    accuracy, fp, fn = np.mean(sums.scores, axis=0).tolist() if sums.scores else (None,) * 3
    return Figures(
        frames=frames,
        flips=100 * sums.flips / max(sums.pairs, 1),
        jitter=float(np.median(bends)) if len(bends) else 0.0,
        jitter_rms=float(np.sqrt(np.mean(bends**2))) if len(bends) else 0.0,
        lag=_lag(sums.motion),
        true_flips=100 * sums.true_flips / max(sums.pairs, 1) if known else None,
        found=float((errors < TOLERANCE).mean()) if known else None,
        error=float(np.median(errors)) if known else None,
        false_lanes=sums.false_lanes / sums.true_frames if known else None,
        missed_lanes=sums.missed_lanes / sums.true_frames if known else None,
        accuracy=accuracy,
        fp=fp,
        fn=fn,
    )


def _add(sums: _Sums, moments: Sequence[Moment], answers: Sequence[Lanes]) -> None:
    columns, exists = _columns(answers), _exists(answers)
    sums.pairs += max(len(answers) - 1, 0)
    sums.flips += _flips(exists)
    sums.bends.append(_bends(columns))
    if all(moment.truth is not None for moment in moments):
        truths = [moment.truth for moment in moments if moment.truth is not None]
        true, there = _columns(truths), _exists(truths)
        sums.true_flips += _flips(there)
        sums.true_frames += len(truths)
        wrong = np.abs(columns - true)[~np.isnan(true)]
        sums.errors.append(np.where(np.isnan(wrong), np.inf, wrong))
        sums.false_lanes += int((exists & ~there).sum())
        sums.missed_lanes += int((there & ~exists).sum())
        reference = true
    else:
        reference = _averaged(_columns([moment.detected for moment in moments]))
    sums.motion.append(_motion(columns, reference))
    for moment, answer in zip(moments, answers, strict=True):
        if moment.record is not None:
            record = moment.record
            rows = record["h_samples"]
            found = tusimple_files.to_record(answer, record["raw_file"], rows, run_time_ms=1)
            sums.scores.append(tusimple.score(record, found))


def _exists(answers: Sequence[Lanes]) -> Flags:
    """Frames×slots."""
    return np.array([[lane.exists for lane in lanes] for lanes in answers])


def _columns(answers: Sequence[Lanes]) -> Array:
    """Frames×slots×rows, NaN where there is no lane."""
    columns = np.full((len(answers), len(answers[0]), len(_ROWS)), np.nan)
    for frame, lanes in enumerate(answers):
        width, height = lanes.image_size
        for slot, lane in enumerate(lanes):
            if lane.exists and len(lane.points):
                u, v = lane.points[np.argsort(lane.points[:, 1]), :2].astype(np.float64).T
                columns[frame, slot] = np.interp(
                    _ROWS, (v + 0.5) * 720 / height - 0.5, (u + 0.5) * _WIDTH / width - 0.5,
                    left=np.nan, right=np.nan,
                )  # fmt: skip
    return columns


def _flips(exists: Flags) -> int:
    return int((exists[1:] != exists[:-1]).sum())


def _steady(columns: Array) -> Flags:
    """Frames-1×slots: the slot has the same lane in a frame and the next."""
    moved = np.abs(np.diff(columns, axis=0))
    common = ~np.isnan(moved)
    mean = np.where(common, moved, 0).sum(axis=2) / np.maximum(common.sum(axis=2), 1)
    steady: Flags = common.any(axis=2) & (mean < _SAME)
    return steady


def _bends(columns: Array) -> Array:
    """The absolute second differences in time."""
    steady = _steady(columns)
    bends: Array = np.diff(columns, 2, axis=0)[steady[1:] & steady[:-1]]
    return np.abs(bends[~np.isnan(bends)])


def _averaged(columns: Array) -> Array:
    """The mean of five frames around each, NaN where one lacks or has another lane."""
    out = np.full_like(columns, np.nan)
    steady = _steady(columns)
    for frame in range(2, len(columns) - 2):
        same = steady[frame - 2 : frame + 2].sum(axis=0) == 4
        out[frame] = np.where(same[:, None], columns[frame - 2 : frame + 3].mean(axis=0), np.nan)
    return out


def _motion(columns: Array, reference: Array) -> tuple[Array, Array]:
    """Where both are known: column less reference, and the pixels the reference moves a frame."""
    steady = _steady(reference)
    same = np.logical_and(steady[1:], steady[:-1])[:, :, None]
    speed = np.where(same, (reference[2:] - reference[:-2]) / 2, np.nan)
    offset = columns[1:-1] - reference[1:-1]
    known = ~np.isnan(speed) & ~np.isnan(offset) & (np.abs(offset) < _SAME)
    return offset[known], speed[known]


def _lag(motion: Sequence[tuple[Array, Array]]) -> float | None:
    """Frames: the least-squares solution of offset = constant - lag * speed."""
    offset = np.concatenate([part[0] for part in motion])
    speed = np.concatenate([part[1] for part in motion])
    if len(speed) < 2 or speed.std() < 1e-6:
        return None
    return float(-np.mean((offset - offset.mean()) * (speed - speed.mean())) / speed.var())
