"""How well the lanes of a replay were found: its figures by the rules of TuSimple and CULane."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.evaluation import culane, tusimple
from lane_sad_ros.evaluation.culane import Counts
from lane_sad_ros.evaluation.replay import Replay, ReplayFrame
from lane_sad_ros.formats import culane as culane_files
from lane_sad_ros.formats import tusimple as tusimple_files
from lane_sad_ros.lanes import Lane, Lanes

FIRST_ROW = 160
"""Of TuSimple's labels on a 1280×720 image, which go on to 710; in session 0313 it is 240."""

IOU_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
PROBABILITY_THRESHOLDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)

_WORST = 5  # frames that are named


@dataclass(frozen=True)
class FrameCounts:
    """Numbers of frames: all, those with truth, those answered, and those that were not."""

    all: int
    with_truth: int
    answered: int
    dropped: int


@dataclass(frozen=True)
class FrameScore:
    """The figures of one frame that has truth.

    accuracy, fp, fn: of TuSimple's metric. counts: of CULane's. overlap: in [0, 1], the IoUs of
    matched lanes summed up, over the number of lanes that truth and prediction have together; 1
    where there is no lane in both. It falls with every lane that is missed, made up or shifted.
    """

    index: int
    stamp_ns: int
    answered: bool
    accuracy: float
    fp: float
    fn: float
    counts: Counts
    overlap: float


@dataclass(frozen=True)
class SlotScore:
    """How well one slot was found.

    counts: a lane is found if slot and CULane's IoU, above 0.5, agree. error: mean distance of the
    found lanes from the true ones along the rows of a 1280×720 image, in its pixels; None where
    none was found.
    """

    name: str
    counts: Counts
    error: float | None


@dataclass(frozen=True)
class AtThreshold:
    """CULane's counts at another threshold."""

    threshold: float
    counts: Counts


@dataclass(frozen=True)
class Timing:
    """Seconds, which differ from run to run; None without a single latency.

    late: answers that took longer than the replay's deadline. stages: (median, 99th
    percentile) by stage.
    """

    median: float | None
    p90: float | None
    p99: float | None
    max: float | None
    late: int
    stages: dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Scores:
    """How well the lanes of a replay were found.

    tusimple: None where no frame has truth. culane: at the official IoU of 0.5. by_iou,
    by_probability: CULane's counts for other IoUs, and if only lanes of at least a probability had
    been answered. per_frame: of frames with truth, in order. notes: what was assumed, the replay's
    own notes included.
    """

    frames: FrameCounts
    tusimple: tusimple.Result | None
    culane: Counts
    slots: tuple[SlotScore, ...]
    by_iou: tuple[AtThreshold, ...]
    by_probability: tuple[AtThreshold, ...]
    per_frame: tuple[FrameScore, ...]
    timing: Timing
    notes: tuple[str, ...]

    def worst(self, count: int) -> tuple[FrameScore, ...]:
        """The frames of least overlap, the worst first; of equal ones the earlier first."""
        return tuple(sorted(self.per_frame, key=lambda frame: frame.overlap)[:count])

    def as_dict(self) -> dict[str, Any]:
        """Everything as one JSON object. What differs from run to run is under "timing" alone."""
        result = self.tusimple
        return {
            "frames": dataclasses.asdict(self.frames),
            "tusimple": result and {"accuracy": result.accuracy, "fp": result.fp, "fn": result.fn},
            "culane": self.culane.as_dict(),
            "slots": {
                slot.name: {**slot.counts.as_dict(), "error_px": slot.error} for slot in self.slots
            },
            "by_iou": [_at(entry) for entry in self.by_iou],
            "by_probability": [_at(entry) for entry in self.by_probability],
            "per_frame": [dataclasses.asdict(frame) for frame in self.per_frame],
            "notes": list(self.notes),
            "timing": {
                "latency_ms": {
                    name: None if value is None else 1000 * value
                    for name, value in (
                        ("median", self.timing.median),
                        ("90th", self.timing.p90),
                        ("99th", self.timing.p99),
                        ("max", self.timing.max),
                    )
                },
                "late": self.timing.late,
                "stages_ms": {
                    stage: {"median": 1000 * median, "99th": 1000 * last}
                    for stage, (median, last) in self.timing.stages.items()
                },
            },
        }


def score(replay: Replay, first_row: int = FIRST_ROW) -> Scores:
    """The figures of a replay.

    first_row: TuSimple's figures are taken at the rows from this one to 710, ten apart, of a
    1280×720 image. They are the official ones where the labels have the same rows: rows where
    neither truth nor prediction has a point count as right.
    """
    rows = range(first_row, tusimple_files.IMAGE_SIZE[1], 10)
    if not rows:
        raise ValueError(f"there is no row from {first_row} on in an image of 1280x720 pixels")
    tally = _Tally(len(replay.slots), rows)
    per_frame = tuple(
        tally.add(frame, frame.truth) for frame in replay.frames if frame.truth is not None
    )
    answered = sum(frame.prediction is not None for frame in replay.frames)
    counts = FrameCounts(
        len(replay.frames), len(per_frame), answered, len(replay.frames) - answered
    )
    absent = sum(not frame.answered for frame in per_frame)
    result = None
    if per_frame:
        means = np.mean([(frame.accuracy, frame.fp, frame.fn) for frame in per_frame], axis=0)
        accuracy, fp, fn = means.tolist()
        result = tusimple.Result(accuracy, fp, fn, len(per_frame), absent)
    return Scores(
        frames=counts,
        tusimple=result,
        culane=sum((frame.counts for frame in per_frame), Counts(0, 0, 0)),
        slots=tally.slots(replay.slots),
        by_iou=tally.by_iou(),
        by_probability=tally.by_probability(),
        per_frame=per_frame,
        timing=_timing(replay),
        notes=(*replay.notes, *_assumptions(replay, rows, per_frame, absent)),
    )


class _Tally:
    """Adds up what the figures over all frames need, number by number."""

    def __init__(self, slots: int, rows: Sequence[int]) -> None:
        self._rows = rows
        self._ious = np.zeros(len(IOU_THRESHOLDS), np.int64)
        self._probabilities = np.zeros((len(PROBABILITY_THRESHOLDS), 3), np.int64)
        self._lanes = np.zeros(2, np.int64)  # true, predicted
        # Of each slot: found, predicted, true; sum of distances and number of rows.
        self._slots = np.zeros((slots, 3), np.int64)
        self._errors = np.zeros((slots, 2))

    def add(self, frame: ReplayFrame, truth: Lanes) -> FrameScore:
        prediction = frame.prediction or Lanes(truth.image_size, ())
        accuracy, fp, fn = _tusimple(truth, prediction, self._rows)
        true, found = culane_lanes(truth), culane_lanes(prediction)
        ious = culane.lane_ious(polylines(true), polylines(found))
        matched = np.array([ious[pair] for pair in culane.matched(ious)] if ious.size else [])
        hits = (matched[:, None] > IOU_THRESHOLDS).sum(axis=0)
        tp = int((matched > culane.IOU_THRESHOLD).sum())
        self._ious += hits
        self._lanes += len(true), len(found)
        # As float32, which messages carry: a threshold is then met alike in replays of both kinds.
        self._add_probabilities(ious, np.array([lane.probability for lane in found], np.float32))
        self._add_slots(truth, prediction, true, found, ious)
        overlapping = matched[matched > 0]
        union = len(true) + len(found) - len(overlapping)
        return FrameScore(
            frame.index,
            frame.stamp_ns,
            frame.prediction is not None,
            accuracy,
            fp,
            fn,
            Counts(tp, len(found) - tp, len(true) - tp),
            float(overlapping.sum()) / union if union else 1.0,
        )

    def _add_probabilities(
        self, ious: NDArray[np.float64], probabilities: NDArray[np.float32]
    ) -> None:
        hits: dict[bytes, int] = {}  # by which lanes are kept: few differ
        for row, threshold in zip(self._probabilities, PROBABILITY_THRESHOLDS, strict=True):
            kept = probabilities >= threshold
            key = kept.tobytes()
            if key not in hits:
                some = ious[:, kept]
                pairs = culane.matched(some) if some.size else []
                hits[key] = sum(bool(some[pair] > culane.IOU_THRESHOLD) for pair in pairs)
            row += (hits[key], kept.sum(), len(ious))

    def _add_slots(
        self,
        truth: Lanes,
        prediction: Lanes,
        true: Sequence[Lane],
        found: Sequence[Lane],
        ious: NDArray[np.float64],
    ) -> None:
        for lanes, column in ((found, 1), (true, 2)):
            for lane in lanes:
                if lane.slot < len(self._slots):
                    self._slots[lane.slot, column] += 1
        for i, true_lane in enumerate(true):
            for j, lane in enumerate(found):
                if (
                    lane.slot == true_lane.slot < len(self._slots)
                    and ious[i, j] > culane.IOU_THRESHOLD
                ):
                    self._slots[lane.slot, 0] += 1
                    distances = _distances(
                        _only(truth, lane.slot), _only(prediction, lane.slot), self._rows
                    )
                    self._errors[lane.slot] += distances.sum(), len(distances)

    def slots(self, names: Sequence[str]) -> tuple[SlotScore, ...]:
        return tuple(
            SlotScore(name, _counts(row), float(total / rows) if rows else None)
            for name, row, (total, rows) in zip(names, self._slots, self._errors, strict=True)
        )

    def by_iou(self) -> tuple[AtThreshold, ...]:
        true, found = self._lanes.tolist()
        return tuple(
            AtThreshold(threshold, _counts((hits, found, true)))
            for threshold, hits in zip(IOU_THRESHOLDS, self._ious.tolist(), strict=True)
        )

    def by_probability(self) -> tuple[AtThreshold, ...]:
        return tuple(
            AtThreshold(threshold, _counts(row))
            for threshold, row in zip(PROBABILITY_THRESHOLDS, self._probabilities, strict=True)
        )


def _counts(numbers: Sequence[int] | NDArray[np.int64]) -> Counts:
    """Of numbers of lanes: found, predicted, true."""
    tp, predicted, true = (int(number) for number in numbers)
    return Counts(tp, predicted - tp, true - tp)


def _at(entry: AtThreshold) -> dict[str, float]:
    return {"threshold": entry.threshold, **entry.counts.as_dict()}


def _tusimple(truth: Lanes, prediction: Lanes, rows: Sequence[int]) -> tuple[float, float, float]:
    """Accuracy, FP and FN of one frame, whatever time it took."""
    true_lanes = _columns(truth, rows)
    # The official labels have lanes without a single point, which count.
    empty = sum(not len(lane.points) for lane in truth.present)
    true_lanes += [[tusimple_files.ABSENT] * len(rows)] * empty
    record = {"lanes": true_lanes, "h_samples": rows}
    return tusimple.score(record, {"lanes": _columns(prediction, rows), "run_time": 0.0})


def _columns(lanes: Lanes, rows: Sequence[int]) -> list[list[float]]:
    """The lanes' columns at the rows, of those that have a point there."""
    columns: list[list[float]] = tusimple_files.to_record(
        lanes.scaled_to(tusimple_files.IMAGE_SIZE), "", rows, 0.0
    )["lanes"]
    return columns


def _only(lanes: Lanes, slot: int) -> Lanes:
    return Lanes(lanes.image_size, tuple(lane for lane in lanes.present if lane.slot == slot))


def _distances(truth: Lanes, prediction: Lanes, rows: Sequence[int]) -> NDArray[np.float64]:
    """Distances of one lane from another at the rows where both have a point."""
    true, found = (
        np.array(_columns(lanes, rows)).reshape(-1, len(rows)) for lanes in (truth, prediction)
    )
    if not (len(true) and len(found)):
        return np.zeros(0)
    both = (true[0] >= 0) & (found[0] >= 0)
    return np.abs(true[0] - found[0])[both]


def culane_lanes(lanes: Lanes) -> list[Lane]:
    """The lanes that count for CULane's metric, in pixels of its images."""
    scaled = lanes.scaled_to(culane_files.IMAGE_SIZE)
    return [lane for lane in scaled.present if len(lane.points)]


def polylines(lanes: Sequence[Lane]) -> list[culane_files.Points]:
    """The points N×2 of each lane."""
    return [lane.points[:, :2] for lane in lanes]


def in_words(scores: Scores, timed: str) -> str:
    """The figures for people, line by line; `timed` says from where to where latency is."""
    frames, result, counts = scores.frames, scores.tusimple, scores.culane
    lines = [
        f"{frames.all} frames, {frames.with_truth} with true lanes, {frames.answered} answered, "
        f"{frames.dropped} not"
    ]
    if result is not None:
        lines += [
            f"TuSimple: accuracy {100 * result.accuracy:.2f} %, FP {result.fp:.4f}, "
            f"FN {result.fn:.4f}",
            f"CULane: F1 {_percent(counts.f1)}, precision {_percent(counts.precision)}, recall "
            f"{_percent(counts.recall)} (TP {counts.tp}, FP {counts.fp}, FN {counts.fn})",
            f"{'slot':<12}{'TP':>6}{'FP':>6}{'FN':>6}{'precision':>11}{'recall':>9}{'error/px':>9}",
        ]
        lines += [
            f"{slot.name:<12}{slot.counts.tp:>6}{slot.counts.fp:>6}{slot.counts.fn:>6}"
            f"{_percent(slot.counts.precision):>11}{_percent(slot.counts.recall):>9}"
            f"{'-' if slot.error is None else f'{slot.error:.1f}':>9}"
            for slot in scores.slots
        ]
        worst = [
            f"{frame.index} ({frame.overlap:.2f})"
            for frame in scores.worst(_WORST)
            if frame.overlap < 1
        ]
        if worst:
            lines.append(f"worst frames (overlap): {', '.join(worst)}")
    timing = scores.timing
    if timing.median is not None and timing.p99 is not None and timing.max is not None:
        lines.append(
            f"{timed}: {1000 * timing.median:.1f} ms median, {1000 * timing.p99:.1f} ms "
            f"99th percentile, {1000 * timing.max:.1f} ms at most"
        )
    return "\n".join([*lines, *(f"- {note}" for note in scores.notes)])


def late_frames(replay: Replay) -> set[int]:
    """The indexes of frames whose answer took longer than the deadline of the replay."""
    late = set()
    for frame, after in zip_longest(replay.frames, replay.frames[1:]):
        deadline = replay.deadline
        if deadline is None and after is not None and after.stamp_ns > frame.stamp_ns:
            deadline = 1e-9 * (after.stamp_ns - frame.stamp_ns) / replay.rate
        if deadline is not None and frame.latency is not None and frame.latency > deadline:
            late.add(frame.index)
    return late


def _timing(replay: Replay) -> Timing:
    frames = replay.frames
    latencies = [frame.latency for frame in frames if frame.latency is not None]
    stages: dict[str, list[float]] = {}
    for frame in frames:
        for stage, seconds in frame.stages.items():
            stages.setdefault(stage, []).append(seconds)
    median, p90, p99, longest = (
        (float(value) for value in np.percentile(latencies, (50, 90, 99, 100)))
        if latencies
        else (None,) * 4
    )
    by_stage = {
        stage: (float(np.median(values)), float(np.percentile(values, 99)))
        for stage, values in stages.items()
    }
    return Timing(median, p90, p99, longest, len(late_frames(replay)), by_stage)


def _assumptions(
    replay: Replay, rows: Sequence[int], scores: Sequence[FrameScore], absent: int
) -> list[str]:
    """What the figures take for granted, one sentence each."""
    if not scores:
        return ["No frame has true lanes, so there are no figures but those of time."]
    truths = [frame for frame in replay.frames if frame.truth is not None]
    sizes = sorted({frame.truth.image_size for frame in truths if frame.truth})
    listed = ", ".join(f"{width}x{height}" for width, height in sizes)
    ends = f"{rows[0]}, {rows[1]} ... {rows[-1]}" if len(rows) > 3 else ", ".join(map(str, rows))
    notes = [
        f"True lanes lie on images of {listed} pixels. For TuSimple's figures truth and prediction "
        f"are scaled to 1280x720 and taken at the rows {ends} there, and no time is too long.",
        "For CULane's figures they are scaled to 1640x590 and drawn 30 pixels wide there."
        if sizes != [culane_files.IMAGE_SIZE]
        else "For CULane's figures lanes are drawn 30 pixels wide.",
    ]
    if len(truths) < len(replay.frames):
        notes.append(
            f"{len(replay.frames) - len(truths)} of {len(replay.frames)} frames have no truth and "
            "count in no figure but those of time."
        )
    if absent:
        notes.append(
            f"{absent} frames with truth were not answered and count as frames where no lane was "
            "found."
        )
    unlike = sum(
        frame.prediction is not None and frame.prediction.image_size != frame.truth.image_size
        for frame in truths
        if frame.truth
    )
    if unlike:
        notes.append(
            f"{unlike} frames were answered in pixels of another image size than their truth's; "
            "both were scaled."
        )
    without = sum(not frame.truth.present for frame in truths if frame.truth)
    if without:
        notes.append(
            f"{without} frames have no true lane; TuSimple's accuracy is 0 for them, whatever is "
            "found."
        )
    empty = sum(
        not len(lane.points) for frame in truths if frame.truth for lane in frame.truth.present
    )
    if empty:
        notes.append(
            f"{empty} true lanes have no point; they count in TuSimple's figures, as its labels "
            "have them, and not in CULane's."
        )
    return notes


def _percent(share: float) -> str:
    """-1 stands for a share of nothing."""
    return "-" if share < 0 else f"{100 * share:.2f} %"
