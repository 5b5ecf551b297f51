"""`lanes.json`: lanes as polylines on images of any size, one image on each line.

    {"image": "a.jpg", "width": 1024, "height": 368, "lanes": [[[u, v], ...], ...]}

with points in pixels of the image, which lies below the file's folder. Further fields are kept.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.files import read_json_lines
from lane_sad_ros.formats.points import points

FIELDS = ("image", "width", "height", "lanes")


@dataclass(frozen=True)
class Polylines:
    """The lanes of one image: float32 N×2 of (u, v), N at least 2; size: (width, height).

    fields: the record's other fields, as text. line: of the file, from 1.
    """

    image: str
    size: tuple[int, int]
    lanes: tuple[NDArray[np.float32], ...]
    fields: dict[str, str] = field(default_factory=dict)
    line: int = 0


def read_polylines(path: str | os.PathLike[str]) -> list[Polylines]:
    """The records of a file, in order.

    Raises ValueError that names file and line where one is malformed, OSError without the file.
    """
    found = []
    for number, record in read_json_lines(path):
        try:
            found.append(_polylines(record, number))
        except ValueError as error:
            raise ValueError(f"{path}:{number}: {error}") from error
    if not found:
        raise ValueError(f"{path}: holds no record")
    return found


def to_record(
    image: str, size: tuple[int, int], lanes: Iterable[NDArray[np.float32]]
) -> dict[str, Any]:
    """A record of an image of size (width, height) with lanes N×2 or N×3 of (u, v, ...)."""
    points = [[[round(float(u), 1), round(float(v), 1)] for u, v in lane[:, :2]] for lane in lanes]
    return dict(zip(FIELDS, (image, *size, points), strict=True))


def _polylines(record: dict[str, Any], line: int) -> Polylines:
    missing = [name for name in FIELDS if name not in record]
    if missing:
        raise ValueError(f"lacks {', '.join(missing)}; it needs {', '.join(FIELDS)}")
    image, width, height, lanes = (record[name] for name in FIELDS)
    if not isinstance(image, str) or not image:
        raise ValueError("image must be the path of an image")
    sides = (width, height)
    if not all(isinstance(side, int) and side > 0 for side in sides):
        raise ValueError(f"width and height must be whole numbers above 0, not {sides}")
    if not isinstance(lanes, list):
        raise ValueError("lanes must be a list of lists of points [u, v]")
    fields = {name: str(value) for name, value in record.items() if name not in FIELDS}
    return Polylines(image, sides, tuple(lane_of(lane) for lane in lanes), fields, line)


def lane_of(values: Any) -> NDArray[np.float32]:
    """A lane N×2 of a list of at least two points [u, v]. Raises ValueError for anything else."""
    with suppress(TypeError, ValueError, OverflowError):
        lane = points(values, 2)
        if np.shape(values) == lane.shape and len(lane) >= 2:
            return lane
    raise ValueError("a lane must be a list of at least two points [u, v]")
