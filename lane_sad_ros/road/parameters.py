"""What a user says of the road and of how the camera is mounted: the same for node and commands."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lane_sad_ros.names import BASE_FRAME
from lane_sad_ros.parameter_fields import (
    ParameterError,
    finite,
    meant,
    parameter,
    read_section,
    refusal,
    type_name,
)
from lane_sad_ros.road.ground import MAX_RANGE, Mounting

_NODE = "lane_detector"
_ALIKE = 0.85  # a name that is so much like one of ours is that one misspelt


def _check_frame(value: str) -> str:
    return "" if value and not value.startswith("/") else "must be the name of a frame, without /"


def _number(default: float, description: str, lowest: float, highest: float) -> float:
    return parameter(
        default, description, change="any", lowest=lowest, highest=highest, check=finite
    )


@dataclass(frozen=True)
class RoadParameters:
    """The parameters of `lane_detector` that are about the road."""

    base_frame: str = parameter(
        BASE_FRAME,
        "Frame of points on the road: x forward, y left, its plane z = 0 is the road. Where "
        "base_link is above the road, base_footprint is meant.",
        check=_check_frame,
    )
    camera_height: float = _number(
        0.0,
        "Metres of the camera above the road. Above 0, this and the other camera_... numbers say "
        "how the camera is mounted; 0: TF says it. Of one camera only: several need TF.",
        0.0,
        100.0,
    )
    camera_pitch: float = _number(0.0, "Radians that the camera looks down.", -1.58, 1.58)
    camera_roll: float = _number(
        0.0, "Radians that the camera's right side is lowered.", -3.15, 3.15
    )
    camera_yaw: float = _number(0.0, "Radians that the camera looks to the left.", -3.15, 3.15)
    camera_x: float = _number(0.0, "Metres of the camera ahead of base_frame.", -100.0, 100.0)
    camera_y: float = _number(0.0, "Metres of the camera to the left of base_frame.", -100.0, 100.0)
    ground_range: float = _number(
        MAX_RANGE, "Metres from the camera up to which points are taken to the road.", 1.0, 1000.0
    )
    marker_lifetime: float = _number(
        0.5, "Seconds after which a marker that is not renewed vanishes. 0: never.", 0.0, 3600.0
    )

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> RoadParameters:
        """Those in a parameter file of the node, such as `lane_sad calibrate` writes.

        Raises ParameterError that names the file and what is wrong with it: a value of another
        type or out of range, a name that is one of these misspelt.
        """
        fields = {item.name: item for item in dataclasses.fields(cls)}
        values: dict[str, Any] = {}
        for name, value in read_section(path, _NODE).items():
            if name in fields:
                values[name] = _checked(path, fields[name], value)
            elif near := meant(name, fields, _ALIKE):
                raise ParameterError(f"{path}: there is no {name}; did you mean {near}?")
        return cls(**values)

    @cached_property
    def mounting(self) -> Mounting | None:
        """How the camera is mounted, where the parameters say so."""
        if not self.camera_height > 0:
            return None
        return Mounting.from_angles(
            self.camera_height,
            self.camera_roll,
            self.camera_pitch,
            self.camera_yaw,
            self.camera_x,
            self.camera_y,
        )


def _checked(path: str | os.PathLike[str], item: dataclasses.Field[Any], value: Any) -> Any:
    kind = type(item.default)
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise ParameterError(
            f"{path}: {item.name} is {value!r}; a {type_name(item.default)} is needed, such as "
            f"{item.default!r}"
        )
    if reason := refusal(item, value):
        raise ParameterError(f"{path}: {item.name} is {value!r}; it {reason}")
    return kind(value)
