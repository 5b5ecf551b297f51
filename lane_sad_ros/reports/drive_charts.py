"""The charts of a drive's report."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from typing import TypeVar

import numpy as np
from markupsafe import Markup

from lane_sad_ros.evaluation.culane import Counts
from lane_sad_ros.evaluation.replay import Replay, ReplayFrame
from lane_sad_ros.evaluation.scores import AtThreshold, FrameScore, Scores, late_frames
from lane_sad_ros.reports.charts import Axis, Part, Plot, bar
from lane_sad_ros.reports.page import counted, defined, milliseconds, percent

_MARKS = 1200  # of a time line; more cannot be told apart
_BINS = 40

Share = Callable[[Counts], float | None]
# What is drawn over thresholds: colour class, name, value.
_SERIES: tuple[tuple[str, str, Share], ...] = (
    ("line-blue", "precision", lambda counts: defined(counts.precision)),
    ("line-orange", "recall", lambda counts: defined(counts.recall)),
    ("line-green", "F1", lambda counts: counts.f1),
)
_STAGE_COLOURS = ("fill-blue", "fill-orange", "fill-green", "fill-grey")

Entry = TypeVar("Entry")


class DriveCharts:
    """The charts of one replay and its scores."""

    def __init__(self, replay: Replay, scores: Scores) -> None:
        self._frames = replay.frames
        self._scores = scores
        self._late = late_frames(replay)
        stamps = [frame.stamp_ns for frame in replay.frames]
        self._first = min(stamps, default=0)
        self.span = (max(stamps, default=0) - self._first) / 1e9
        """Seconds from the first image to the last."""
        self.latencies = [frame.latency for frame in self._frames if frame.latency is not None]
        """Seconds, of the frames that have one."""
        self.series = [(colour, text) for colour, text, _ in _SERIES]
        """What `thresholds` draws: (colour class, name)."""
        self.stages = [
            (stage, colour, median, last)
            for (stage, (median, last)), colour in zip(
                scores.timing.stages.items(), cycle(_STAGE_COLOURS), strict=False
            )
        ]
        """Stages of the work: name, colour class, median and 99th percentile in seconds."""
        self.medians = sum(median for _, _, median, _ in self.stages)

    def seconds(self, frame: ReplayFrame | FrameScore) -> float:
        """From the first image of the drive."""
        return (frame.stamp_ns - self._first) / 1e9

    def overlap(self) -> Markup:
        """How well each frame was answered, over time. Needs frames with truth."""
        frames = self._scores.per_frame
        overlaps = [frame.overlap for frame in frames]
        plot = Plot(
            self._time_axis(),
            Axis("overlap of true and found lanes", 0.0, 1.0),
            f"Overlap of {len(frames)} frames over time, between {min(overlaps):.2f} and "
            f"{max(overlaps):.2f}",
            height=150,
        )
        for group in _groups(frames):
            frame = min(group, key=lambda frame: frame.overlap)
            at = self.seconds(frame)
            plot.dot(
                at,
                frame.overlap,
                "fill-blue" if frame.answered else "fill-red",
                f"frame {frame.index}, {at:.2f} s: overlap {frame.overlap:.3f}, "
                f"{frame.counts.in_words()}" + ("" if frame.answered else "; not answered"),
            )
        return plot.drawn()

    def thresholds(self, name: str, axis: str, entries: Sequence[AtThreshold]) -> Markup:
        """Precision, recall and F1 over a threshold. name: what it is. axis: its label."""
        plot = Plot(
            Axis(axis, 0.0, 1.0),
            Axis("share", 0.0, 1.0, lambda share: f"{100 * share:.0f} %"),
            f"Precision, recall and F1 {name[0].lower()}{name[1:]}; the table below has the "
            "numbers",
        )
        known = [
            (colour, text, [(x.threshold, y) for x in entries if (y := of(x.counts)) is not None])
            for colour, text, of in _SERIES
        ]
        for colour, _, points in known:
            plot.line(points, colour)
        for colour, text, points in known:
            for x, y in points:
                title = f"{axis} {x:g}: {text} {percent(y)}"
                plot.dot(x, y, colour.replace("line-", "fill-"), title)
        return plot.drawn()

    def latency(self) -> Markup:
        """How long each answer took, over time. Needs frames with a latency."""
        plot = Plot(
            self._time_axis(),
            Axis.from_zero("latency, ms", [1000 * latency for latency in self.latencies]),
            f"Latency of {len(self.latencies)} frames over time; "
            f"{self._scores.timing.late} late, {self._scores.frames.dropped} not answered",
            height=180,
        )
        for group in _groups(self._frames):
            self._add_slowest(plot, group)
            missing = [frame for frame in group if frame.prediction is None]
            if missing:
                at = self.seconds(missing[0])
                more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
                title = f"frame {missing[0].index}{more}, {at:.2f} s: not answered"
                plot.tick(at, "line-red", title)
        return plot.drawn()

    def _add_slowest(self, plot: Plot, group: Sequence[ReplayFrame]) -> None:
        timed = [(frame.latency, frame) for frame in group if frame.latency is not None]
        if not timed:
            return
        latency, frame = max(timed, key=lambda entry: entry[0])
        is_late = any(frame.index in self._late for frame in group)
        at = self.seconds(frame)
        plot.dot(
            at,
            1000 * latency,
            "fill-orange" if is_late else "fill-blue",
            f"frame {frame.index}, {at:.2f} s: {milliseconds(latency)}"
            + (", late" if is_late else ""),
            radius=3.5 if is_late else 2.5,
        )

    def histogram(self) -> tuple[Markup, str]:
        """How many answers took how long, and what to know about the last column."""
        values = 1000 * np.array(self.latencies)
        timing = self._scores.timing
        median, last = 1000 * (timing.median or 0.0), 1000 * (timing.p99 or 0.0)
        # A single slow frame, such as the first, must not press all others into one column.
        end = float(values.max()) if values.max() <= 2 * last else 1.5 * last
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
        beyond = int((values > end).sum())
        explanation = (
            f"The last column holds {counted(beyond, 'frame')} that took longer, up to "
            f"{values.max():.1f} ms."
        )
        return plot.drawn(), explanation if beyond else ""

    def stage_bar(self) -> Markup:
        """The medians of the stages one after the other."""
        parts = [
            Part(median, colour, f"{stage}: {milliseconds(median)}")
            for stage, colour, median, _ in self.stages
        ]
        return bar(parts, self.medians)

    @staticmethod
    def group_size(count: int) -> int:
        """How many of so many frames share a mark in a time line."""
        return max(1, math.ceil(count / _MARKS))

    def _time_axis(self) -> Axis:
        return Axis("time in the drive, s", 0.0, max(self.span, 1e-3))


def _groups(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """Runs of neighbours, so many that their marks can be told apart."""
    size = DriveCharts.group_size(len(entries))
    return (entries[start : start + size] for start in range(0, len(entries), size))
