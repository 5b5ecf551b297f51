"""What is left of a demo: overlays, lanes, figures."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus

from lane_sad_ros.files import writing_lines
from lane_sad_ros.formats import lines
from lane_sad_ros.formats.drives import RenderedScene
from lane_sad_ros.image_files import Image, write_image
from lane_sad_ros.lanes import Lane, Lanes
from lane_sad_ros.pictures.birdseye import BirdsEye
from lane_sad_ros.pictures.overlay import contact_sheet, draw_lanes
from lane_sad_ros.recordings.sources import SourceFrame
from lane_sad_ros.road.ego import EgoLane
from lane_sad_ros.road.ground import GroundProjector
from lane_sad_ros.ros.playing.collector import Answer
from lane_sad_ros.ros.playing.session import Sent
from lane_sad_ros.video_files import writing_video

TOLERANCE = 20.0
"""Pixels within which a point counts as found."""

EGO_FIGURES = ("width", "lateral_offset", "heading", "curvature")
"""Of the ego lane: metres, metres, radians, 1/m."""

_KEPT = 48  # frames for the sheets
_SHEET_WIDTH = 640
_ROAD_WIDTH = 960


class Results:
    """Takes frames with their answers, one by one, and writes everything into a folder.

    A context manager: the files appear when it is left without an error.
    truth: what is true by the frames' names, empty where it is not known. projector: to the road,
    where it is known: with it there are pictures of the road from above, too.
    """

    def __init__(
        self,
        folder: Path,
        rate: float,
        for_browsers: bool,
        truth: Mapping[str, RenderedScene],
        projector: GroundProjector | None = None,
    ) -> None:
        self._folder = folder
        self._truth = truth
        self._stack = ExitStack()
        self._rate = rate
        self._for_browsers = for_browsers
        self._overlay: Image | None = None
        self._birds_eye = BirdsEye(projector, 720) if projector is not None else None
        self._cells: list[tuple[str, Image, Image | None]] = []
        self._every = 1
        self._sent: list[float] = []
        self._received: list[float] = []
        self._latencies: list[float] = []
        self._lanes_found = 0
        self._flags = 0
        self._contradictions = 0
        self._points = _Points()
        self._ego_points = _Points()
        self._ego_errors: dict[str, list[float]] = {name: [] for name in EGO_FIGURES}
        self._ego_lanes = 0

    def __enter__(self) -> Results:
        self._add_line = self._stack.enter_context(writing_lines(self._folder / "lanes.jsonl"))
        self._add_image: Callable[[Image], None] = self._stack.enter_context(
            writing_video(self._folder / "overlay.mp4", self._rate, for_browsers=self._for_browsers)
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @property
    def answered(self) -> int:
        """How many frames have been answered so far."""
        return len(self._received)

    def add(self, sent: Sent[SourceFrame], answer: Answer | None) -> None:
        """Takes the next frame; where it has no answer, the video stands still."""
        self._sent.append(sent.time)
        if answer is None:
            if self._overlay is not None:
                self._add_image(self._overlay)
            return
        lanes, name = answer.lanes, sent.frame.name
        self._received.append(answer.received)
        self._latencies.append(answer.received - sent.time)
        self._lanes_found += len(lanes.present)
        if answer.exists is not None:
            self._flags += 1
            self._contradictions += answer.exists != tuple(lane.exists for lane in lanes)
        self._add_line(lines.lane_record(name, sent.frame.stamp, lanes, answer.slots, answer.ego))
        self._overlay = draw_lanes(sent.frame.image, lanes, ego=answer.ego)
        self._add_image(self._overlay)
        self._add_cell(f"{name}   {sent.frame.stamp:.2f} s", self._overlay, sent.frame, answer)
        if name in self._truth:
            self._compare(lanes, self._truth[name].truth)
            self._compare_ego(answer.ego, self._truth[name].ego)

    def write_sheets(self) -> None:
        """Writes the contact sheets: frames from the whole drive, evenly."""
        for name, cells, count in (
            ("contact_sheet.png", [(title, overlay) for title, overlay, _ in self._cells], 12),
            ("road.png", [(title, road) for title, _, road in self._cells if road is not None], 4),
        ):
            if cells:
                chosen = np.linspace(0, len(cells) - 1, min(count, len(cells)))
                titles, pictures = zip(*(cells[round(index)] for index in chosen), strict=True)
                write_image(self._folder / name, contact_sheet(pictures, titles))

    def summary(
        self,
        source: str,
        pace: str,
        detector: DiagnosticStatus | None,
        camera: DiagnosticStatus | None,
    ) -> dict[str, Any]:
        """All figures. Times in milliseconds, rates in Hz, shares in [0, 1]."""
        told = {value.key: value.value for value in camera.values} if camera else {}
        about = {value.key: value.value for value in detector.values} if detector else {}
        span = max(self._received[-1] - self._sent[0], 1e-9)
        figures: dict[str, Any] = {
            "input": source,
            "pace": pace,
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "weights": Path(about.get("weights", "")).name,
            "device": about.get("device", ""),
            "engine": about.get("engine", ""),
            "frames_in": len(self._sent),
            "frames_answered": len(self._received),
            "frames_dropped": int(told.get("frames dropped", 0)),
            # Replaced by newer ones in the queue before the node, or lost by the middleware.
            "frames_lost_on_the_way": max(
                0, len(self._sent) - int(told.get("frames received", len(self._sent)))
            ),
            "frames_bad": int(told.get("frames bad", 0)),
            "existence_answers": self._flags,
            "existence_contradictions": self._contradictions,
            "lanes_out": self._lanes_found,
            "lanes_per_frame": round(self._lanes_found / len(self._received), 2),
            "seconds": round(span, 2),
            "rate_hz": round(len(self._received) / span, 2),
            "latency_ms": {
                "median": round(1e3 * float(np.median(self._latencies)), 1),
                "99th": round(1e3 * float(np.percentile(self._latencies, 99)), 1),
            },
            "stages_ms": _stages(told),
        }
        if self._truth:
            figures["truth_points_found"] = self._points.share
            figures["ego_lane_points_found"] = self._ego_points.share
            figures["ego_lane_answers"] = self._ego_lanes
            figures["ego_lane_errors"] = {
                name: round(float(np.median(errors)), 6)
                for name, errors in self._ego_errors.items()
                if errors
            }
        return figures

    def _add_cell(self, title: str, overlay: Image, frame: SourceFrame, answer: Answer) -> None:
        if (len(self._received) - 1) % self._every:
            return
        road = None
        if self._birds_eye is not None:
            road = _small(
                self._birds_eye.beside(frame.image, answer.lanes, answer.ego), _ROAD_WIDTH
            )
        self._cells.append((title, _small(overlay, _SHEET_WIDTH), road))
        if len(self._cells) == _KEPT:  # keep few of any number of frames
            self._cells = self._cells[::2]
            self._every *= 2

    def _compare(self, lanes: Lanes, truth: Lanes) -> None:
        middle = len(truth) // 2
        for true in truth.present:
            self._points.add(_errors(true, lanes.present))
            if true.slot in (middle - 1, middle):
                self._ego_points.add(
                    _errors(true, [lane for lane in lanes.present if lane.slot == true.slot])
                )

    def _compare_ego(self, ego: EgoLane | None, truth: EgoLane) -> None:
        if ego is None or not ego.valid:
            return
        self._ego_lanes += 1
        for name, errors in self._ego_errors.items():
            error = abs(getattr(ego, name) - getattr(truth, name))
            if np.isfinite(error):
                errors.append(error)


def _small(picture: Image, width: int) -> Image:
    height = round(picture.shape[0] * width / picture.shape[1])
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


class _Points:
    """Counts points and those of them that were found."""

    def __init__(self) -> None:
        self._found = 0
        self._all = 0

    def add(self, errors: np.ndarray[Any, np.dtype[np.float64]]) -> None:
        self._all += len(errors)
        self._found += int((errors < TOLERANCE).sum())

    @property
    def share(self) -> float | None:
        return round(self._found / self._all, 4) if self._all else None


def _errors(
    true: Lane, found: tuple[Lane, ...] | list[Lane]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Pixels along the row from each true point, every 10 rows, to the nearest lane found."""
    points = true.points[np.argsort(true.points[:, 1])].astype(np.float64)
    rows = np.arange(np.ceil(points[0, 1] / 10) * 10, points[-1, 1] + 1e-6, 10)
    columns = np.interp(rows, points[:, 1], points[:, 0])
    errors = np.full(len(rows), np.inf)
    for lane in found:
        line = lane.points[np.argsort(lane.points[:, 1])].astype(np.float64)
        at = np.interp(rows, line[:, 1], line[:, 0], left=np.inf, right=np.inf)
        errors = np.minimum(errors, np.abs(at - columns))
    return errors


def _stages(told: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Latencies by stage, of the node's last ten seconds."""
    stages: dict[str, dict[str, float]] = {}
    for key, value in told.items():
        for ending, figure in ((" median [ms]", "median"), (" 99th [ms]", "99th")):
            if key.endswith(ending):
                stages.setdefault(key.removesuffix(ending), {})[figure] = float(value)
    return stages


def in_words(figures: Mapping[str, Any], folder: Path) -> str:
    """The summary for people."""
    latency = figures["latency_ms"]
    lines = [
        f"frames in          {figures['frames_in']} ({figures['pace']})",
        f"frames answered    {figures['frames_answered']}; dropped {figures['frames_dropped']}, "
        f"lost on the way {figures['frames_lost_on_the_way']}, bad {figures['frames_bad']}",
        f"lanes out          {figures['lanes_out']}, {figures['lanes_per_frame']} a frame; "
        f"existence flags for {figures['existence_answers']} frames",
        f"rate               {figures['rate_hz']} frames/s over {figures['seconds']} s on "
        f"{figures['device'] or 'an unknown device'}, {figures['machine']}",
        f"network            {figures['weights']}, engine {figures['engine'] or 'unknown'}",
        f"latency            {latency['median']} ms median, {latency['99th']} ms 99th, from "
        "publishing an image to receiving its lanes",
    ]
    if figures["stages_ms"]:
        lines.append("in the node        median     99th   (ms, last 10 s)")
        for stage, values in figures["stages_ms"].items():
            median, last = values.get("median", 0.0), values.get("99th", 0.0)
            lines.append(f"  {stage:<16} {median:>7.1f}  {last:>7.1f}")
    if figures.get("truth_points_found") is not None:
        lines.append(
            f"against the truth  {_percent(figures['truth_points_found'])} of all lane points and "
            f"{_percent(figures['ego_lane_points_found'])} of the ego lane's found within "
            f"{TOLERANCE:.0f} pixels"
        )
    errors = figures.get("ego_lane_errors")
    if errors:
        lines.append(
            f"ego lane           of {figures['ego_lane_answers']} frames; median errors: offset "
            f"{100 * errors['lateral_offset']:.1f} cm, width {100 * errors['width']:.1f} cm, "
            f"heading {np.degrees(errors['heading']):.2f} deg, curvature "
            f"{errors['curvature']:.5f} 1/m"
        )
    names = ["overlay.mp4", "contact_sheet.png", "lanes.jsonl", "summary.json", "node.log"]
    if (folder / "road.png").exists():
        names.insert(2, "road.png")
    lines.append(f"left in {folder}{os.sep}: {', '.join(names)}")
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{100 * share:.1f} %"
