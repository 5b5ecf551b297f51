"""labelme's JSON files, in which people correct lanes as polylines.

One file beside each image, each lane a shape of type "linestrip" (labelme, "Annotation format").
The flag CHECKED of the image says that a person has looked at it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.files import parse_json, read_text, write_json
from lane_sad_ros.formats.polylines import Polylines, lane_of

CHECKED = "checked"
_LANE = "lane"
_VERSION = "5.5.0"


@dataclass(frozen=True)
class Annotation:
    """The lanes of an image, and whether a person has looked at them."""

    polylines: Polylines
    checked: bool


def write_annotation(
    path: str | os.PathLike[str],
    image: str,
    size: tuple[int, int],
    lanes: Sequence[NDArray[np.float32]],
) -> None:
    """Writes lanes for a person to correct.

    image: its file's name, in the same folder. size: (width, height). lanes: N×2 of (u, v) in its
    pixels each.
    """
    shapes: list[dict[str, Any]] = [
        {
            "label": _LANE,
            "points": [[round(float(u), 2), round(float(v), 2)] for u, v in lane[:, :2]],
            "group_id": None,
            "shape_type": "linestrip",
            "flags": {},
        }
        for lane in lanes
    ]
    record = {
        "version": _VERSION,
        "flags": {CHECKED: False},
        "shapes": shapes,
        "imagePath": image,
        "imageData": None,
        "imageHeight": size[1],
        "imageWidth": size[0],
    }
    write_json(path, record)


def read_annotation(path: str | os.PathLike[str]) -> Annotation:
    """The lanes of a file; shapes of other types than lines of two points or more are an error.

    Raises ValueError that names the file and what is wrong with it.
    """
    record = parse_json(read_text(path), str(path), "a labelme file is right")
    try:
        size = int(record["imageWidth"]), int(record["imageHeight"])
        lanes = tuple(_lane(shape) for shape in record["shapes"])
        flags = record.get("flags") or {}
        return Annotation(
            Polylines(str(record["imagePath"]), size, lanes), bool(flags.get(CHECKED, False))
        )
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path}: not a labelme file of lanes ({reason})") from error


def _lane(shape: dict[str, Any]) -> NDArray[np.float32]:
    if shape["shape_type"] not in ("linestrip", "line"):
        raise ValueError(f"a {shape['shape_type']}; a lane is a linestrip")
    return lane_of(shape["points"])
