"""The report of a replay: one HTML page that needs nothing else, and its numbers as JSON."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from lane_sad_ros.evaluation import culane, tusimple
from lane_sad_ros.evaluation.replay import Replay
from lane_sad_ros.evaluation.scores import (
    FrameScore,
    Scores,
    culane_lanes,
    late_frames,
    polylines,
)
from lane_sad_ros.lanes import Lanes
from lane_sad_ros.pictures.colours import slot_colour, slot_label
from lane_sad_ros.pictures.comparison import draw_comparison
from lane_sad_ros.reports.drive_charts import DriveCharts
from lane_sad_ros.reports.page import (
    WORST,
    Image,
    Picture,
    backdrop,
    milliseconds,
    percent,
    rate,
    write_page,
)

_APART = 1_000_000_000  # nanoseconds between two of them: neighbours show the same scene


def write_report(
    path: str | os.PathLike[str],
    replay: Replay,
    scores: Scores,
    *,
    title: str,
    image: Callable[[int], Image | None] | None = None,
) -> None:
    """Writes the page to `path`, and beside it the same numbers under the ending .json.

    scores: of `scores.score(replay)`. image: gives the picture, H×W×3 uint8 BGR, of the frame with
    an index, or None where it is not to be had; the worst frames are drawn on it, else on grey.
    The same replay gives the same files, but for the figures of time.
    Raises OSError where a file cannot be written, ValueError as `check_report_path`.
    """
    worst = worst_frames(scores, WORST)
    charts = DriveCharts(replay, scores)
    write_page(
        path,
        "drive.html",
        replay_numbers(replay, scores, worst, title=title),
        title=title,
        replay=replay,
        settings={
            "played": replay.mode,
            "lane slots": ", ".join(replay.slots),
            **replay.settings,
        },
        scores=scores,
        charts=charts,
        paper={"culane": culane.PAPER, "tusimple": tusimple.PAPER},
        marks=_slot_marks(len(scores.slots)),
        worst=[_picture(replay, charts, frame, image) for frame in worst],
        too_late=_too_late(replay),
    )


def worst_frames(scores: Scores, count: int) -> list[FrameScore]:
    """Answered frames of least overlap, the worst first, a second or more from each other."""
    chosen: list[FrameScore] = []
    for frame in scores.worst(len(scores.per_frame)):
        near = any(abs(frame.stamp_ns - other.stamp_ns) < _APART for other in chosen)
        if frame.answered and not near:
            chosen.append(frame)
        if len(chosen) == count:
            break
    return chosen


def replay_numbers(
    replay: Replay, scores: Scores, worst: Sequence[FrameScore], *, title: str
) -> dict[str, Any]:
    """The numbers of the page; what differs from run to run is under "timing" alone."""
    late = late_frames(replay)
    figures = scores.as_dict()
    timing = {
        **figures.pop("timing"),
        "frames": [
            {
                "index": frame.index,
                "stamp_ns": frame.stamp_ns,
                "answered": frame.prediction is not None,
                "late": frame.index in late,
                "latency_ms": None if frame.latency is None else 1000 * frame.latency,
            }
            for frame in replay.frames
        ],
    }
    return {
        "title": title,
        "mode": replay.mode,
        "settings": dict(replay.settings),
        **figures,
        "worst": [frame.index for frame in worst],
        "timing": timing,
    }


def _picture(
    replay: Replay,
    charts: DriveCharts,
    score: FrameScore,
    image: Callable[[int], Image | None] | None,
) -> Picture:
    frame = next(frame for frame in replay.frames if frame.index == score.index)
    if frame.truth is None or frame.prediction is None:
        raise ValueError(f"frame {frame.index} has not both truth and an answer")
    shown = backdrop(None if image is None else image(frame.index), frame.truth.image_size)
    missed, false = _missed_and_false(frame.truth, frame.prediction)
    drawn = draw_comparison(shown, frame.truth, frame.prediction, missed=missed, false=false)
    return Picture.of(
        drawn,
        f"Frame {frame.index}, {charts.seconds(frame):.2f} s: overlap {score.overlap:.3f}; "
        f"{score.counts.in_words()}; TuSimple accuracy {percent(score.accuracy)}, "
        f"FP {rate(score.fp)}, FN {rate(score.fn)}",
    )


def _missed_and_false(truth: Lanes, prediction: Lanes) -> tuple[set[int], set[int]]:
    """The slots of true lanes that were not found and of answered lanes that are not true."""
    true, found = culane_lanes(truth), culane_lanes(prediction)
    missed, false = culane.missed_and_false(polylines(true), polylines(found), culane.Rules())
    return {true[i].slot for i in missed}, {found[j].slot for j in false}


def _slot_marks(slots: int) -> list[tuple[str, tuple[int, int, int]]]:
    """Of each slot its short name and its colour in the pictures as (red, green, blue)."""
    marks = []
    for slot in range(slots):
        blue, green, red = slot_colour(slot, slots)
        marks.append((slot_label(slot, slots), (red, green, blue)))
    return marks


def _too_late(replay: Replay) -> str:
    """When an answer is late, in words."""
    if replay.deadline is not None:
        return f"more than {milliseconds(replay.deadline)} after its image"
    if replay.mode != "live, in real time":
        return "later than a next frame would have come in real time"
    return "later than the next frame of the drive"
