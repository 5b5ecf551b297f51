"""The report of a replay: one HTML page that needs nothing else, and its numbers as JSON."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from lane_sad_ros.evaluation import culane, tusimple
from lane_sad_ros.evaluation.replay import Replay, ReplayFrame
from lane_sad_ros.evaluation.scores import AtThreshold, FrameScore, Scores, late_frames
from lane_sad_ros.formats import culane as culane_files
from lane_sad_ros.lanes import Lanes
from lane_sad_ros.pictures.colours import slot_colour, slot_label
from lane_sad_ros.pictures.comparison import draw_comparison
from lane_sad_ros.reports.charts import Axis, Part, Plot, bar, legend
from lane_sad_ros.reports.page import (
    WORST,
    Html,
    Image,
    backdrop,
    counted,
    defined,
    details,
    element,
    exactly,
    figure,
    html,
    items,
    joined,
    page,
    pairs,
    paragraph,
    percent,
    picture,
    section,
    side_by_side,
    swatch,
    table,
    tile,
    tiles,
    verdict,
    write_page,
)

_APART = 1_000_000_000  # nanoseconds between two of them: neighbours show the same scene
_MARKS = 1200  # of a time line; more cannot be told apart
_BINS = 40

Entry = TypeVar("Entry")


def write_report(
    path: str | os.PathLike[str],
    replay: Replay,
    scores: Scores,
    *,
    title: str,
    image: Callable[[int], Image | None] | None = None,
) -> None:
    """Writes the page to `path`, and beside it the same numbers under the ending .json.

    scores: of `replay.score(replay)`. image: gives the picture, H×W×3 uint8 BGR, of the frame with
    an index, or None where it is not to be had; the worst frames are drawn on it, else on grey.
    The same replay gives the same files, but for the figures of time.
    Raises OSError where a file cannot be written, ValueError as `check_report_path`.
    """
    worst = worst_frames(scores, WORST)
    text = replay_page(replay, scores, worst, title=title, image=image)
    write_page(path, text, replay_numbers(replay, scores, worst, title=title))


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


def replay_page(
    replay: Replay,
    scores: Scores,
    worst: Sequence[FrameScore],
    *,
    title: str,
    image: Callable[[int], Image | None] | None,
) -> str:
    """The page as text."""
    return page(
        title,
        _about(replay, scores),
        _verdict(replay, scores),
        _headline(scores),
        *_quality(replay, scores),
        *_worst_section(replay, scores, worst, image),
        *_timing_section(replay, scores),
        _used(replay, scores),
    )


# --- first the answer


def _about(replay: Replay, scores: Scores) -> str:
    frames = scores.frames
    span = _span(replay.frames)
    truth = f"{frames.with_truth} with true lanes" if frames.with_truth else "none with true lanes"
    return f"{counted(frames.all, 'frame')} over {span:.1f} s, {truth}; played {replay.mode}."


def _verdict(replay: Replay, scores: Scores) -> Html:
    frames, late = scores.frames, scores.timing.late
    if not frames.all:
        return verdict("bad", "There is no frame in this drive.")
    wrong = []
    if frames.dropped:
        wrong.append(
            f"{frames.dropped} of {counted(frames.all, 'frame')} were not answered: dropped on the "
            "way or not readable."
        )
    if late:
        wrong.append(f"{counted(late, 'answer')} came {_too_late(replay)}.")
    if not wrong:
        return verdict("good", f"All {counted(frames.all, 'frame')} were answered, none late.")
    if frames.dropped:
        return verdict(
            "bad", "Frames are missing." if not late else "Frames are missing or late.", wrong
        )
    return verdict("warn", "All frames were answered, some of them late.", wrong)


def _headline(scores: Scores) -> Html:
    counts, result, timing = scores.culane, scores.tusimple, scores.timing
    shown = []
    if scores.frames.with_truth:
        shown.append(
            tile(
                "CULane F1",
                percent(counts.f1),
                f"precision {percent(defined(counts.precision))}, "
                f"recall {percent(defined(counts.recall))}",
            )
        )
    if result is not None:
        shown.append(
            tile(
                "TuSimple accuracy",
                percent(result.accuracy),
                f"FP {result.fp:.4f}, FN {result.fn:.4f}",
            )
        )
    if scores.frames.with_truth:
        shown.append(
            tile(
                "True lanes found",
                f"{counts.tp:,}",
                f"of {counts.tp + counts.fn:,} true ones; {counts.fn:,} missed, "
                f"{counts.fp:,} false",
            )
        )
    if timing.median is not None and timing.p99 is not None and timing.max is not None:
        shown.append(
            tile(
                "Latency, median",
                _ms(timing.median),
                f"99th percentile {_ms(timing.p99)}, longest {_ms(timing.max)}",
            )
        )
    frames = scores.frames
    shown.append(
        tile(
            "Frames answered",
            f"{frames.answered:,}",
            f"of {frames.all:,}; {frames.dropped:,} not answered, {timing.late:,} late",
        )
    )
    return tiles(shown)


# --- how well the lanes were found


def _quality(replay: Replay, scores: Scores) -> Iterator[Html]:
    if not scores.frames.with_truth:
        yield section(
            "Lanes found",
            paragraph(
                "No frame of this drive has true lanes, so nothing can be said of how well they "
                "were found."
            ),
        )
        return
    yield section(
        "Lanes found",
        _beside_the_paper(scores),
        _slots(replay, scores),
        _overlap_line(replay, scores),
    )
    yield section(
        "Precision over thresholds",
        side_by_side(
            _thresholds(
                "By the IoU that a match must exceed",
                "IoU threshold",
                scores.by_iou,
                "The official threshold is 0.5. Where the curves fall early, lanes are found but "
                "lie beside the true ones.",
            ),
            _thresholds(
                "By the probability that an answered lane must have",
                "least probability",
                scores.by_probability,
                "Lanes below the detector's own threshold were not answered, so that the left part "
                "is level.",
            ),
        ),
    )


def _beside_the_paper(scores: Scores) -> Html:
    counts, result = scores.culane, scores.tusimple
    rows: list[tuple[object, ...]] = [
        ("CULane F1", exactly(counts.f1), f"{culane.PAPER['total']} %"),
    ]
    if result is not None:
        paper = tusimple.PAPER
        rows += [
            ("TuSimple accuracy", exactly(result.accuracy), exactly(paper.accuracy)),
            ("TuSimple FP", f"{result.fp:.4f}", f"{paper.fp:.4f}"),
            ("TuSimple FN", f"{result.fn:.4f}", f"{paper.fn:.4f}"),
        ]
    return joined(
        [
            table(("figure", "this drive", "ENet-SAD in the paper"), rows),
            paragraph(
                "The paper's figures are those of the benchmarks' own test images. They say what "
                "the method reaches there and cannot be compared with this drive in the last "
                "digit.",
                class_="note",
            ),
        ]
    )


def _slots(replay: Replay, scores: Scores) -> Html:
    rows = []
    for index, slot in enumerate(scores.slots):
        counts = slot.counts
        mark = slot_mark(index, len(scores.slots))
        rows.append(
            (
                Html(mark + html(slot.name)),
                bar((Part(counts.f1, "fill-blue", f"F1 {percent(counts.f1)}"),), 1.0),
                percent(counts.f1) if counts.tp + counts.fp + counts.fn else None,
                counts.tp,
                counts.fn,
                counts.fp,
                percent(defined(counts.precision)),
                percent(defined(counts.recall)),
                None if slot.error is None else f"{slot.error:.1f} px",
            )
        )
    head = ("slot", "", "F1", "found", "missed", "false", "precision", "recall", "distance")
    return figure(
        "By lane slot",
        table(head, rows),
        "A lane counts as found in its slot where the slot and the place agree (IoU above 0.5). "
        "Distance: mean of the found lanes from the true ones along the rows of a 1280×720 image.",
    )


def _overlap_line(replay: Replay, scores: Scores) -> Html:
    times = {frame.index: _seconds(replay, frame) for frame in replay.frames}
    plot = Plot(
        _time_axis(replay),
        Axis("overlap of true and found lanes", 0.0, 1.0),
        f"Overlap of {len(scores.per_frame)} frames over time, between "
        f"{min(frame.overlap for frame in scores.per_frame):.2f} and "
        f"{max(frame.overlap for frame in scores.per_frame):.2f}",
        height=150,
    )
    for group in _groups(scores.per_frame):
        frame = min(group, key=lambda frame: frame.overlap)
        plot.dot(
            times[frame.index],
            frame.overlap,
            "fill-blue" if frame.answered else "fill-red",
            f"frame {frame.index}, {times[frame.index]:.2f} s: overlap {frame.overlap:.3f}, "
            f"{frame.counts.in_words()}" + ("" if frame.answered else "; not answered"),
        )
    grouped = _group_size(len(scores.per_frame))
    return figure(
        "Over the drive",
        joined([legend((("fill-blue", "answered"), ("fill-red", "not answered"))), plot.drawn()]),
        "Overlap: IoUs of matched lanes, summed up, over the number of different lanes in truth "
        "and answer. It is 1 where all lies alike and falls with each lane that is missed, false "
        "or beside its place."
        + (f" Of {grouped} frames the worst is shown." if grouped > 1 else ""),
    )


def _thresholds(name: str, axis: str, entries: Sequence[AtThreshold], explanation: str) -> Html:
    series = (
        ("precision", "line-blue", lambda counts: defined(counts.precision)),
        ("recall", "line-orange", lambda counts: defined(counts.recall)),
        ("F1", "line-green", lambda counts: counts.f1),
    )
    plot = Plot(
        Axis(axis, 0.0, 1.0),
        Axis("share", 0.0, 1.0, lambda share: f"{100 * share:.0f} %"),
        f"Precision, recall and F1 {name[0].lower()}{name[1:]}; the table below has the numbers",
    )
    for _, colour, value in series:
        known = [(entry.threshold, value(entry.counts)) for entry in entries]
        plot.line([(x, y) for x, y in known if y is not None], colour)
    for text, colour, value in series:
        for entry in entries:
            share = value(entry.counts)
            if share is not None:
                plot.dot(
                    entry.threshold,
                    share,
                    colour.replace("line-", "fill-"),
                    f"{axis} {entry.threshold:g}: {text} {percent(share)}",
                )
    rows = [
        (
            f"{entry.threshold:g}",
            percent(defined(entry.counts.precision)),
            percent(defined(entry.counts.recall)),
            percent(entry.counts.f1),
            entry.counts.tp,
            entry.counts.fn,
            entry.counts.fp,
        )
        for entry in entries
    ]
    head = (axis, "precision", "recall", "F1", "found", "missed", "false")
    return figure(
        name,
        joined(
            [
                legend([(colour, text) for text, colour, _ in series]),
                plot.drawn(),
                details("The numbers", table(head, rows)),
            ]
        ),
        explanation,
    )


# --- the worst frames


def _worst_section(
    replay: Replay,
    scores: Scores,
    worst: Sequence[FrameScore],
    image: Callable[[int], Image | None] | None,
) -> Iterator[Html]:
    if not scores.frames.with_truth:
        return
    if not worst:
        yield section("The worst frames", paragraph("No frame with true lanes was answered."))
        return
    frames = {frame.index: frame for frame in replay.frames}
    yield section(
        "The worst frames",
        paragraph(
            "Answered frames of least overlap, the worst first, at least a second from each other. "
            "Dashed, white on black: the true lanes. In colour: the answer, by slot. A tag marks a "
            "true lane that was missed and an answered lane that is false; a lane that was found "
            "too far beside its place is both."
        ),
        side_by_side(*(_worst_frame(replay, frames[score.index], score, image) for score in worst)),
    )


def _worst_frame(
    replay: Replay,
    frame: ReplayFrame,
    score: FrameScore,
    image: Callable[[int], Image | None] | None,
) -> Html:
    if frame.truth is None or frame.prediction is None:
        raise ValueError(f"frame {frame.index} has not both truth and an answer")
    shown = backdrop(None if image is None else image(frame.index), frame.truth.image_size)
    missed, false = _missed_and_false(frame.truth, frame.prediction)
    drawn = draw_comparison(shown, frame.truth, frame.prediction, missed=missed, false=false)
    caption = (
        f"Frame {frame.index}, {_seconds(replay, frame):.2f} s: overlap {score.overlap:.3f}; "
        f"{score.counts.in_words()}; TuSimple accuracy {percent(score.accuracy)}, "
        f"FP {score.fp:.4f}, FN {score.fn:.4f}"
    )
    return element(
        "figure", joined([picture(drawn, caption), element("figcaption", caption)]), class_="worst"
    )


# --- time


def _timing_section(replay: Replay, scores: Scores) -> Iterator[Html]:
    latencies = [frame.latency for frame in replay.frames if frame.latency is not None]
    if not latencies:
        yield section("Latency", paragraph("No answer was timed."))
        return
    timing = scores.timing
    meaning = (
        "Time in the detector for each frame; reading the frame is not in it."
        if replay.mode == "offline"
        else "Time from publishing an image to receiving its lanes."
    )
    rows = [
        (name, None if value is None else _ms(value))
        for name, value in (
            ("median", timing.median),
            ("90th percentile", timing.p90),
            ("99th percentile", timing.p99),
            ("longest", timing.max),
        )
    ]
    yield section(
        "Latency",
        paragraph(meaning),
        _latency_line(replay, scores),
        side_by_side(_histogram(latencies, scores), table(("all frames", "latency"), rows)),
        *_stages(scores),
    )


def _latency_line(replay: Replay, scores: Scores) -> Html:
    late = late_frames(replay)
    timed = [frame.latency for frame in replay.frames if frame.latency is not None]
    plot = Plot(
        _time_axis(replay),
        Axis.from_zero("latency, ms", [1000 * latency for latency in timed]),
        f"Latency of {len(timed)} frames over time; {scores.timing.late} late, "
        f"{scores.frames.dropped} not answered",
        height=180,
    )
    for group in _groups(replay.frames):
        latencies = [frame for frame in group if frame.latency is not None]
        if latencies:
            frame = max(latencies, key=lambda frame: frame.latency or 0.0)
            is_late = any(frame.index in late for frame in group)
            at = _seconds(replay, frame)
            plot.dot(
                at,
                1000 * (frame.latency or 0.0),
                "fill-orange" if is_late else "fill-blue",
                f"frame {frame.index}, {at:.2f} s: {_ms(frame.latency or 0.0)}"
                + (", late" if is_late else ""),
                radius=3.5 if is_late else 2.5,
            )
        missing = [frame for frame in group if frame.prediction is None]
        if missing:
            at = _seconds(replay, missing[0])
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            plot.tick(at, "line-red", f"frame {missing[0].index}{more}, {at:.2f} s: not answered")
    grouped = _group_size(len(replay.frames))
    return figure(
        "Over the drive",
        joined(
            [
                legend(
                    (
                        ("fill-blue", "in time"),
                        ("fill-orange", f"late: {_too_late(replay)}"),
                        ("line-red", "not answered"),
                    )
                ),
                plot.drawn(),
            ]
        ),
        f"Of {grouped} frames the slowest is shown." if grouped > 1 else "",
    )


def _histogram(latencies: Sequence[float], scores: Scores) -> Html:
    values = 1000 * np.array(latencies)
    median, last = 1000 * (scores.timing.median or 0.0), 1000 * (scores.timing.p99 or 0.0)
    # A single slow frame, such as the first, must not press all others into one column.
    end = float(values.max()) if values.max() <= 2 * last else 1.5 * last
    beyond = int((values > end).sum())
    x = Axis.from_zero("latency, ms", [end])
    heights, edges = np.histogram(np.minimum(values, end), bins=_BINS, range=(x.low, x.high))
    plot = Plot(
        x,
        Axis.from_zero("frames", [float(heights.max())], "{:.0f}".format),
        f"Histogram of latency: median {median:.1f} ms, 99th percentile {last:.1f} ms",
    )
    for height, left, right in zip(heights, edges, edges[1:], strict=False):
        if height:
            text = f"{left:.1f} to {right:.1f} ms: {counted(int(height), 'frame')}"
            plot.column(left, right, float(height), "fill-blue", text)
    plot.upright(median, "line-mark", f"median {median:.1f} ms")
    plot.upright(last, "line-mark", f"99th {last:.1f} ms", row=1)
    explanation = (
        f"The last column holds {counted(beyond, 'frame')} that took longer, up to "
        f"{values.max():.1f} ms."
        if beyond
        else ""
    )
    return figure("How many frames took how long", plot.drawn(), explanation)


def _stages(scores: Scores) -> Iterator[Html]:
    stages = scores.timing.stages
    if not stages:
        return
    colours = ("fill-blue", "fill-orange", "fill-green", "fill-grey")
    named = [
        (stage, colours[index % len(colours)], median, last)
        for index, (stage, (median, last)) in enumerate(stages.items())
    ]
    total = sum(median for _, _, median, _ in named)
    whole = bar(
        [Part(median, colour, f"{name}: {_ms(median)}") for name, colour, median, _ in named], total
    )
    rows = [
        (
            Html(swatch(colour) + html(name)),
            _ms(median),
            _ms(last),
            percent(median / total) if total else None,
        )
        for name, colour, median, last in named
    ]
    yield figure(
        "By stage of the work",
        joined([whole, table(("stage", "median", "99th percentile", "share of medians"), rows)]),
        f"The bar is the medians one after the other, together {_ms(total)}.",
    )


# --- what was used


def _used(replay: Replay, scores: Scores) -> Html:
    parts: list[Html] = [
        pairs(
            [
                ("played", replay.mode),
                ("lane slots", ", ".join(replay.slots)),
                *replay.settings.items(),
            ]
        )
    ]
    if scores.notes:
        parts += [element("h3", "What was assumed"), items(scores.notes)]
    return section("DetectorParameters and weights", *parts)


# --- in common


def slot_mark(slot: int, slots: int) -> Html:
    """A patch of the slot's colour, as in the pictures, and its short name."""
    blue, green, red = slot_colour(slot, slots)
    patch = element("span", "", class_="slot", style=f"background: rgb({red}, {green}, {blue})")
    return Html(patch + html(f"{slot_label(slot, slots)} "))


def _missed_and_false(truth: Lanes, prediction: Lanes) -> tuple[set[int], set[int]]:
    """The slots of true lanes that were not found and of answered lanes that are not true."""
    true, found = (
        [lane for lane in lanes.scaled_to(culane_files.IMAGE_SIZE).present if len(lane.points)]
        for lanes in (truth, prediction)
    )
    missed, false = {lane.slot for lane in true}, {lane.slot for lane in found}
    same = culane.found_pairs(
        [lane.points[:, :2] for lane in true],
        [lane.points[:, :2] for lane in found],
        culane.Rules(),
    )
    for i, j in same:
        missed.discard(true[i].slot)
        false.discard(found[j].slot)
    return missed, false


def _groups(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """Runs of neighbours, so many that their marks can be told apart."""
    size = _group_size(len(entries))
    return (entries[start : start + size] for start in range(0, len(entries), size))


def _group_size(count: int) -> int:
    return max(1, math.ceil(count / _MARKS))


def _time_axis(replay: Replay) -> Axis:
    return Axis("time in the drive, s", 0.0, max(_span(replay.frames), 1e-3))


def _span(frames: Sequence[ReplayFrame]) -> float:
    stamps = [frame.stamp_ns for frame in frames]
    return (max(stamps) - min(stamps)) / 1e9 if stamps else 0.0


def _too_late(replay: Replay) -> str:
    """When an answer is late, in words."""
    if replay.deadline is not None:
        return f"more than {_ms(replay.deadline)} after its image"
    if replay.mode != "live, in real time":
        return "later than a next frame would have come in real time"
    return "later than the next frame of the drive"


def _seconds(replay: Replay, frame: ReplayFrame | FrameScore) -> float:
    """From the first image of the drive."""
    return (frame.stamp_ns - min(other.stamp_ns for other in replay.frames)) / 1e9


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms"
