"""Lane labels of BDD100K: borders of markings, and the centre lines that the paper makes of them.

Source: arXiv 1908.00821, section 4.1. BDD100K labels the two borders of a marking as two separate
lines; the paper takes the line in their middle. Its code is not published, but for the remark that
the points of two neighbouring lines are averaged, so the rest is decided here:
- what counts: every lane label but crosswalks and lines across the road (direction "vertical"), so
  also curbs;
- a vertex of type C makes a cubic Bézier curve of the point before it, itself and the next two, as
  the data set's own tools draw it;
- two lines are the borders of one marking if they have the same category and style and lie as near
  to each other all along as a marking is wide in perspective; the nearest pairs are made first;
- a line without a partner is a centre line by itself: some markings and most curbs have one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.files import parse_json, read_text
from lane_sad_ros.formats.points import points
from lane_sad_ros.image_files import read_image

Polyline = NDArray[np.float32]

IMAGE_SIZE = (1280, 720)
CATEGORIES = (
    "crosswalk",
    "double other",
    "double white",
    "double yellow",
    "road curb",
    "single other",
    "single white",
    "single yellow",
)
_SAMPLES = 16  # of a Bézier curve, and
_POINTS = 32  # of a border, to compare and average it
# A camera 1.3 m above the road sees 0.45 m across, the width of a double line, as 0.35 pixels for
# each row below the horizon, which lies at about this share of the height.
_HORIZON = 0.45
_ROW_GAP = 0.35
_FAR_GAP = 6.0  # pixels; hands are not steadier


@dataclass(frozen=True)
class Border:
    """A labelled line: its category and style, and its vertices N×2 with their types L or C."""

    kind: tuple[str, str]
    vertices: Polyline
    types: str


def frames_of(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """(image name, label object) for each image of a label file."""
    value = parse_json(read_text(path), str(path), "a label file of BDD100K is right")
    if isinstance(value, dict):
        inner = value.get("frames")
        # A list of images may be wrapped; the first release has one image with its moments.
        images = inner if isinstance(inner, list) and inner and isinstance(inner[0], dict) else []
        value = images if images and "name" in images[0] else [value]
    frames = []
    for index, frame in enumerate(value if isinstance(value, list) else []):
        if not isinstance(frame, dict) or not isinstance(frame.get("name"), str):
            raise ValueError(f"{path}: image {index} has no name; BDD100K's labels have one each")
        name = frame["name"]
        frames.append((name if Path(name).suffix else f"{name}.jpg", frame))
    if not frames:
        raise ValueError(f"{path}: holds no image; a list of BDD100K's labels is right")
    return frames


def borders_of(frame: dict[str, Any], where: str) -> tuple[Border, ...]:
    """The lines of one image that count as lanes; raises ValueError that says where."""
    borders = []
    number = 0
    try:
        labels = frame.get("labels")
        if labels is None:
            moments = frame.get("frames") or []
            labels = [label for moment in moments for label in moment.get("objects") or []]
        for number, label in enumerate(labels):  # noqa: B007 (told where it ends)
            borders += _borders(label)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(
            f"{where}, label {number}: not a lane label of BDD100K ({error}); a category and "
            "poly2d with vertices and types are right"
        ) from error
    return tuple(borders)


def _borders(label: dict[str, Any]) -> list[Border]:
    """The lines of one label, none of one that does not count."""
    attributes = label.get("attributes") or {}
    category = label["category"].removeprefix("lane/")
    if category == "lane":
        category = attributes.get("laneTypes") or attributes.get("laneType") or ""
    elif category not in CATEGORIES:
        return []
    direction = attributes.get("laneDirection") or attributes.get("direction")
    if category == "crosswalk" or direction == "vertical":
        return []
    kind = (str(category), str(attributes.get("laneStyle") or attributes.get("style") or ""))
    lines = _polylines(label.get("poly2d") or [])
    return [Border(kind, vertices, types) for vertices, types in lines if len(vertices) >= 2]


def centre_lines(borders: Sequence[Border]) -> list[Polyline]:
    """The centre lines N×2 of markings given by their borders; see the module's text."""
    curves = [_resampled(_curve(border)) for border in borders]
    pairs = sorted(
        (gap, i, j)
        for i in range(len(curves))
        for j in range(i + 1, len(curves))
        if borders[i].kind == borders[j].kind
        and (gap := _relative_gap(curves[i], curves[j])) <= 1.0
    )
    partners: dict[int, int] = {}
    for _, i, j in pairs:
        if i not in partners and j not in partners:
            partners[i], partners[j] = j, i
    lines = []
    for i, curve in enumerate(curves):
        partner = partners.get(i)
        if partner is None:
            lines.append(curve)
        elif partner > i:
            lines.append((curve + _along(curve, curves[partner])) / 2)
    return [line.astype(np.float32) for line in lines]


def _polylines(poly2d: list[Any]) -> list[tuple[Polyline, str]]:
    """Vertices N×2 and their types, of both forms that poly2d has."""
    if not poly2d:
        return []
    if isinstance(poly2d[0], dict):
        parts = [
            (part["vertices"], part.get("types") or "L" * len(part["vertices"])) for part in poly2d
        ]
    else:
        parts = [([vertex[:2] for vertex in poly2d], "".join(vertex[2] for vertex in poly2d))]
    lines: list[tuple[Polyline, str]] = []
    for vertices, types in parts:
        line = points(vertices, 2)
        if len(types) != len(line) or not set(types) <= {"L", "C"}:
            raise ValueError(f"types {types!r} for {len(line)} vertices, each L or C")
        lines.append((line, types))
    return lines


def _curve(border: Border) -> NDArray[np.float64]:
    """The line with its Bézier pieces as points."""
    vertices = border.vertices.astype(np.float64)
    pieces = [vertices[:1]]
    index = 1
    t = np.linspace(0, 1, _SAMPLES + 1)[1:, None]
    while index < len(vertices):
        if border.types[index] == "C" and index + 2 < len(vertices):
            a, (b, c, d) = vertices[index - 1], vertices[index : index + 3]
            s = 1 - t
            pieces.append(s**3 * a + 3 * s**2 * t * b + 3 * s * t**2 * c + t**3 * d)
            index += 3
        else:
            pieces.append(vertices[index : index + 1])
            index += 1
    return np.concatenate(pieces)


def _resampled(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """A line as points at equal distances along it."""
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    at = np.linspace(0.0, along[-1], _POINTS)
    return np.stack([np.interp(at, along, line[:, axis]) for axis in (0, 1)], axis=1)


def _along(line: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """The other line in the direction of this one; annotators go up one side and down the other."""
    ends = np.hypot(*(line - other)[[0, -1]].T).sum()
    return other if ends <= np.hypot(*(line - other[::-1])[[0, -1]].T).sum() else other[::-1]


def _relative_gap(line: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """The distance of two lines in widths that a marking can have at most; the mean along both."""
    distances = np.hypot(*(line[:, None] - other[None]).transpose(2, 0, 1))
    allowed = [
        _FAR_GAP + _ROW_GAP * np.maximum(points[:, 1] - _HORIZON * IMAGE_SIZE[1], 0)
        for points in (line, other)
    ]
    sides = (distances.min(axis=1) / allowed[0], distances.min(axis=0) / allowed[1])
    return float(max(side.mean() for side in sides))


Mask = NDArray[np.bool_]


def mask_names(folder: str | os.PathLike[str]) -> list[Path]:
    """The PNG files in a folder and the folders within, relative to it, in order."""
    return sorted(path.relative_to(folder) for path in Path(folder).rglob("*.png"))


def read_mask(path: Path) -> Mask:
    """H×W, true where any channel is not 0. Raises ValueError where the file is not an image."""
    return np.asarray(read_image(path, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH).any(axis=2))
