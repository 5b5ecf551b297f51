"""What detection leaves behind: lanes as JSON lines or bag topics, overlays as images or video.

Every file appears under its name only when it is complete.

Lanes as JSON lines: one object for each frame, in order,

    {"frame": name, "stamp": seconds, "image_size": [width, height],
     "lanes": [{"slot": 0, "name": "left_3", "exists": true, "probability": 0.98,
                "points": [[u, v, score], ...]}, ...]}

with every slot of the layout from left to right, also the absent ones (no points), and points in
pixels of the original image from its bottom to its top. With a calibration each lane has "ground",
[x, y, z] in metres for each point, null where it is not on the road, and the frame has "ego_lane",
the fields of the message EgoLane.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from typing import Any

from lane_sad_ros.files import read_json_lines
from lane_sad_ros.formats.points import points
from lane_sad_ros.lanes import Lane, Lanes
from lane_sad_ros.road.ego import EgoLane


def lane_record(
    name: str, stamp: float, lanes: Lanes, slots: Sequence[str], ego: EgoLane | None = None
) -> dict[str, Any]:
    """The JSON object of one frame; see the module's text. stamp: seconds. slots: their names."""
    record: dict[str, Any] = {
        "frame": name,
        "stamp": round(stamp, 9),
        "image_size": list(lanes.image_size),
        "lanes": [_lane(lane, slots[lane.slot]) for lane in lanes],
    }
    if ego is not None and any(lane.ground is not None for lane in lanes):
        record["ego_lane"] = {
            name: _number(value, 5) if isinstance(value, float) else value
            for name, value in dataclasses.asdict(ego).items()
        }
    return record


def _lane(lane: Lane, name: str) -> dict[str, Any]:
    record: dict[str, Any] = {
        "slot": lane.slot,
        "name": name,
        "exists": lane.exists,
        "probability": round(lane.probability, 4),
        "points": [
            [round(float(u), 2), round(float(v), 2), round(float(score), 4)]
            for u, v, score in lane.points
        ],
    }
    if lane.ground is not None:
        record["ground"] = [[_number(value, 3) for value in point] for point in lane.ground]
    return record


def _number(value: float, digits: int) -> float | None:
    """JSON has no NaN."""
    return round(float(value), digits) if math.isfinite(value) else None


def lanes_of(record: dict[str, Any]) -> tuple[Lanes, tuple[str, ...]]:
    """The lanes of a `lane_record`, and the names of their slots.

    Raises ValueError where the record is not like one.
    """
    try:
        width, height = (int(side) for side in record["image_size"])
        lanes = tuple(
            Lane(
                int(entry["slot"]),
                bool(entry["exists"]),
                float(entry["probability"]),
                points(entry["points"], 3),
            )
            for entry in record["lanes"]
        )
        if width < 1 or height < 1:
            raise ValueError(f"an image of {width}x{height} pixels")
        return Lanes((width, height), lanes), tuple(str(e["name"]) for e in record["lanes"])
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(
            f"not a record of lanes ({reason}); one as `lane_sad detect` writes is needed"
        ) from error


def read_lanes(path: str | os.PathLike[str]) -> tuple[tuple[str, ...], dict[str, Lanes]]:
    """The slots' names and the lanes, by the frames' names, of a file of `lane_record`s.

    Raises ValueError naming file and line where one is malformed, is of a frame that another line
    is of, or has other slots than the first.
    """
    slots: tuple[str, ...] = ()
    found: dict[str, Lanes] = {}
    for number, record in read_json_lines(path):
        try:
            lanes, names = lanes_of(record)
            name = str(record.get("frame"))
            if name in found:
                raise ValueError(f"a second record of {name}")
            slots = slots or names
            if names != slots:
                raise ValueError(f"its slots are {', '.join(names)}, not {', '.join(slots)}")
            if [lane.slot for lane in lanes] != list(range(len(names))):
                raise ValueError("its slots are not numbered from 0, in order")
        except ValueError as error:
            raise ValueError(f"{path}:{number}: {error}") from error
        found[name] = lanes
    if not found:
        raise ValueError(f"{path}: holds no record of lanes")
    return slots, found
