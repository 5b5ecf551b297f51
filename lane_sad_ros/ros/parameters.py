"""The parameters of `lane_detector`: names, defaults, what they mean and what they allow.

`Settings` is the only list of them. Its fields become the node's declared parameters, their
metadata the descriptors and the checks.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

T = TypeVar("T")

FROM_WEIGHTS = -1.0
"""A threshold of this value is the one that the weights file names."""


class ParameterError(ValueError):
    """A parameter given at start-up that cannot be used; the text is one line for the user."""


def _check_cameras(names: Sequence[str]) -> str:
    for name in names:
        if name and not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*(/[A-Za-z][A-Za-z0-9_]*)*", name):
            return (
                f"camera {name!r} cannot be part of a topic name: letters, digits and "
                "underscores, beginning with a letter"
            )
    if not names:
        return "at least one camera is needed; [''] is a single one without a name"
    if len(set(names)) < len(names):
        return "the same camera is named twice"
    return ""


def _check_threshold(value: float) -> str:
    if value == FROM_WEIGHTS or 0.0 <= value <= 1.0:
        return ""
    return f"must lie between 0 and 1, or be {FROM_WEIGHTS} for the weights' own"


def _check_crop(value: Sequence[float]) -> str:
    if len(value) != 4:
        return f"needs four numbers (left, top, right, bottom), not {len(value)}"
    left, top, right, bottom = value
    if not any(value):
        return ""
    if not (0.0 <= left < right <= 1.0 and 0.0 <= top < bottom <= 1.0):
        return (
            "must be fractions of the image with 0 <= left < right <= 1 and "
            "0 <= top < bottom <= 1, or four zeros for the weights' own"
        )
    return ""


def _one_of(*choices: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        return "" if value in choices else f"must be one of {', '.join(choices)}"

    return check


def _parameter(
    default: T,
    description: str,
    *,
    change: str = "unconfigured",
    lowest: float | None = None,
    highest: float | None = None,
    check: Callable[[Any], str] | None = None,
    constraints: str = "",
) -> T:
    """A field of `Settings` with what a descriptor needs.

    change: when the parameter may be set: "any" time, only while the node is "unconfigured", or
        "never" after start-up. check: says what is wrong with a value, nothing where it is fine.
    """
    metadata = {
        "description": description,
        "change": change,
        "range": (lowest, highest),
        "check": check,
        "constraints": constraints,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """The values of all parameters of `lane_detector`."""

    autostart: bool = _parameter(
        True,
        "Configure and activate at start-up. Without it a lifecycle manager does.",
        change="never",
    )
    exit_with_parent: bool = _parameter(
        False,
        "End the node when the process that started it is gone, as after killing ros2 launch.",
        change="never",
    )
    weights: str = _parameter(
        "", "Weights file (safetensors). Empty: the weights that come with the package."
    )
    device: str = _parameter(
        "auto",
        "Where the network runs: auto, cpu, cuda or cuda:N. auto takes a GPU if there is one.",
    )
    engine: str = _parameter(
        "eager", "How the network runs, see lane_sad_ros.detection. eager works everywhere."
    )
    crop: tuple[float, ...] = _parameter(
        (0.0, 0.0, 0.0, 0.0),
        "Part of the image that the network sees: left, top, right, bottom as fractions of the "
        "image. Four zeros: the part that the weights were trained on.",
        check=_check_crop,
        constraints="0 <= left < right <= 1, 0 <= top < bottom <= 1, or four zeros",
    )
    existence_threshold: float = _parameter(
        FROM_WEIGHTS,
        "A lane exists if its probability is above. -1: the weights' own threshold.",
        change="any",
        lowest=-1.0,
        highest=1.0,
        check=_check_threshold,
        constraints="0 to 1, or -1",
    )
    point_threshold: float = _parameter(
        FROM_WEIGHTS,
        "A row of a lane gives a point if its score is above. -1: the weights' own threshold.",
        change="any",
        lowest=-1.0,
        highest=1.0,
        check=_check_threshold,
        constraints="0 to 1, or -1",
    )
    cameras: tuple[str, ...] = _parameter(
        ("",),
        "Names of the cameras. Camera front is read from front/image and answers under ~/front/. "
        "One empty name is a single camera read from image that answers under ~/.",
        check=_check_cameras,
        constraints="different names of letters, digits and underscores",
    )
    image_transport: str = _parameter(
        "raw",
        "Subscribe to raw images (image) or to compressed ones (image/compressed).",
        check=_one_of("raw", "compressed"),
        constraints="raw or compressed",
    )
    image_reliability: str = _parameter(
        "best_effort",
        "Reliability of the image subscription. best_effort receives from every camera, reliable "
        "loses no frame but receives only from reliable publishers.",
        check=_one_of("best_effort", "reliable"),
        constraints="best_effort or reliable",
    )
    image_depth: int = _parameter(
        5,
        "Queue length of the image subscription. Only the newest frame is processed in any case.",
        lowest=1,
        highest=100,
    )
    output_depth: int = _parameter(
        5, "Queue length of the publishers, which are reliable.", lowest=1, highest=1000
    )
    overlay_quality: int = _parameter(
        85, "JPEG quality of overlay/compressed.", change="any", lowest=1, highest=100
    )
    stale_after: float = _parameter(
        2.0,
        "Seconds without a frame, or in one step of the work, after which diagnostics warn.",
        change="any",
        lowest=0.1,
        highest=3600.0,
    )


_FIELDS = {item.name: item for item in dataclasses.fields(Settings)}


def declare(node: Node, is_configured: Callable[[], bool]) -> None:
    """Declares every parameter on `node` and refuses later changes that are not allowed.

    is_configured: whether the node holds a detector at the moment; then only parameters that may
    change at "any" time do. Raises ParameterError for a value given at start-up (command line,
    file) that is of the wrong type or out of range.
    """

    def refuse(parameters: Iterable[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            reason = _refusal(parameter, is_configured())
            if reason:
                return SetParametersResult(successful=False, reason=f"{parameter.name}: {reason}")
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(refuse)
    for name, item in _FIELDS.items():
        default = list(item.default) if isinstance(item.default, tuple) else item.default
        try:
            node.declare_parameter(name, default, _descriptor(item))
        except InvalidParameterTypeException as error:
            raise ParameterError(
                f"parameter {name}: a value of type {_type_name(default)} is needed, such as "
                f"{default!r} ({str(error).removesuffix(f': {name}')})"
            ) from error
        except InvalidParameterValueException as error:
            raise ParameterError(str(error).removesuffix(f": {name}")) from error


def read(node: Node) -> Settings:
    """The present values of the parameters of `node`."""
    values: dict[str, Any] = {name: node.get_parameter(name).value for name in _FIELDS}
    # Lists come as list or array.array.
    lists = {name for name, item in _FIELDS.items() if isinstance(item.default, tuple)}
    values |= {name: tuple(values[name]) for name in lists}
    return Settings(**values)


def unknown_overrides(names: Iterable[str]) -> list[str]:
    """A line for each parameter given at start-up that the node does not have."""
    lines = []
    for name in names:
        if name in _FIELDS or name == "use_sim_time" or name.startswith("qos_overrides."):
            continue
        near = difflib.get_close_matches(name, _FIELDS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        lines.append(f"parameter {name} is given, but lane_detector has none of that name{hint}")
    return lines


def _refusal(parameter: Parameter, configured: bool) -> str:
    item = _FIELDS.get(parameter.name)
    if item is None:
        return ""
    if configured and item.metadata["change"] == "unconfigured":
        return (
            "can only change while the node is unconfigured: deactivate and clean it up, set the "
            "parameter, then configure and activate it (ros2 lifecycle set)"
        )
    check = item.metadata["check"]
    return check(parameter.value) if check else ""


def _descriptor(item: dataclasses.Field[Any]) -> ParameterDescriptor:
    metadata = item.metadata
    descriptor = ParameterDescriptor(
        description=metadata["description"],
        additional_constraints=metadata["constraints"],
        read_only=metadata["change"] == "never",
    )
    lowest, highest = metadata["range"]
    if lowest is not None and isinstance(item.default, int):
        descriptor.integer_range = [IntegerRange(from_value=lowest, to_value=highest)]
    elif lowest is not None:
        descriptor.floating_point_range = [FloatingPointRange(from_value=lowest, to_value=highest)]
    return descriptor


def _type_name(default: Any) -> str:
    kind = type(default[0]) if isinstance(default, list) else type(default)
    name = {bool: "true/false", int: "integer", float: "number", str: "string"}[kind]
    return f"list of {name}" if isinstance(default, list) else name
