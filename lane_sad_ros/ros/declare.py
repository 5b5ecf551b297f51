"""Parameters of a node out of a dataclass of `lane_sad_ros.parameter_fields`: declared and read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
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

from lane_sad_ros.parameter_fields import ParameterError, meant, refusal, type_name

T = TypeVar("T")


def declare(node: Node, kind: type[Any], is_configured: Callable[[], bool] = lambda: True) -> None:
    """Declares every field of `kind` on `node` and refuses later changes that are not allowed.

    is_configured: whether the node is at work at the moment; then only parameters that may change
    at "any" time do. Raises ParameterError for a value given at start-up (command line, file) that
    is of the wrong type or out of range.
    """
    fields = {item.name: item for item in dataclasses.fields(kind)}

    def refuse(parameters: Iterable[Parameter]) -> SetParametersResult:
        for given in parameters:
            item = fields.get(given.name)
            reason = _refusal(item, given.value, is_configured()) if item is not None else ""
            if reason:
                return SetParametersResult(successful=False, reason=f"{given.name}: {reason}")
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(refuse)
    for name, item in fields.items():
        default = list(item.default) if isinstance(item.default, tuple) else item.default
        try:
            node.declare_parameter(name, default, _descriptor(item))
        except InvalidParameterTypeException as error:
            raise ParameterError(
                f"parameter {name}: a value of type {type_name(default)} is needed, such as "
                f"{default!r} ({str(error).removesuffix(f': {name}')})"
            ) from error
        except InvalidParameterValueException as error:
            raise ParameterError(str(error).removesuffix(f": {name}")) from error


def read(node: Node, kind: type[T]) -> T:
    """The present values of the parameters of `node`, as one value of `kind`."""
    names = [item.name for item in dataclasses.fields(kind)]  # type: ignore[arg-type]
    return changed(kind(), map(node.get_parameter, names))


def changed(values: T, parameters: Iterable[Parameter]) -> T:
    """The values with those of some parameters, which may be others' too."""
    fields = {item.name: item for item in dataclasses.fields(values)}  # type: ignore[arg-type]
    given = {each.name: each.value for each in parameters if each.name in fields}
    # Lists come as list or array.array.
    lists = [name for name in given if isinstance(fields[name].default, tuple)]
    given |= {name: tuple(given[name]) for name in lists}
    return dataclasses.replace(values, **given)  # type: ignore[type-var]


def unknown_overrides(node: Node, kind: type[Any], names: Iterable[str]) -> list[str]:
    """A line for each of the parameters given at start-up that `node`, of `kind`, does not have."""
    known = [item.name for item in dataclasses.fields(kind)]
    lines = []
    for name in names:
        if node.has_parameter(name):
            continue
        near = meant(name, known)
        hint = f"; did you mean {near}?" if near else ""
        lines.append(
            f"parameter {name} is given, but {node.get_name()} has none of that name{hint}"
        )
    return lines


def _refusal(item: dataclasses.Field[Any], value: Any, configured: bool) -> str:
    if configured and _fixed(item):
        return (
            "can only change while the node is unconfigured: deactivate and clean it up, set the "
            "parameter, then configure and activate it (ros2 lifecycle set)"
        )
    return refusal(item, value)


def _fixed(item: dataclasses.Field[Any]) -> bool:
    """Whether the parameter changes only while the node is unconfigured."""
    return bool(item.metadata["change"] == "unconfigured")


def _descriptor(item: dataclasses.Field[Any]) -> ParameterDescriptor:
    metadata = item.metadata
    when = "read-only while the node is configured" if _fixed(item) else ""
    descriptor = ParameterDescriptor(
        description=metadata["description"],
        additional_constraints="; ".join(filter(None, [metadata["constraints"], when])),
        read_only=metadata["change"] == "never",
    )
    lowest, highest = metadata["range"]
    if lowest is not None and isinstance(item.default, int):
        descriptor.integer_range = [IntegerRange(from_value=lowest, to_value=highest)]
    elif lowest is not None:
        descriptor.floating_point_range = [FloatingPointRange(from_value=lowest, to_value=highest)]
    return descriptor
