"""Parameters of a node out of a frozen dataclass: declared, described, checked and read.

The fields of the class become the declared parameters, their metadata the descriptors and checks.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Iterable
from dataclasses import field
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


class ParameterError(ValueError):
    """A parameter given at start-up that cannot be used; the text is one line for the user."""


def parameter(
    default: T,
    description: str,
    *,
    change: str = "unconfigured",
    lowest: float | None = None,
    highest: float | None = None,
    check: Callable[[Any], str] | None = None,
    constraints: str = "",
) -> T:
    """A field of a settings class with what a descriptor needs.

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


def one_of(*choices: str) -> Callable[[str], str]:
    """A check that allows these values only."""

    def check(value: str) -> str:
        return "" if value in choices else f"must be one of {', '.join(choices)}"

    return check


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
            reason = _refusal(item, given, is_configured()) if item is not None else ""
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
                f"parameter {name}: a value of type {_type_name(default)} is needed, such as "
                f"{default!r} ({str(error).removesuffix(f': {name}')})"
            ) from error
        except InvalidParameterValueException as error:
            raise ParameterError(str(error).removesuffix(f": {name}")) from error


def read(node: Node, kind: type[T]) -> T:
    """The present values of the parameters of `node`, as one value of `kind`."""
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    values: dict[str, Any] = {item.name: node.get_parameter(item.name).value for item in fields}
    # Lists come as list or array.array.
    lists = {item.name for item in fields if isinstance(item.default, tuple)}
    values |= {name: tuple(values[name]) for name in lists}
    return kind(**values)


def unknown_overrides(node: Node, kind: type[Any], names: Iterable[str]) -> list[str]:
    """A line for each of the parameters given at start-up that `kind` does not have."""
    known = [item.name for item in dataclasses.fields(kind)]
    lines = []
    for name in names:
        if name in known or name == "use_sim_time" or name.startswith("qos_overrides."):
            continue
        near = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        lines.append(
            f"parameter {name} is given, but {node.get_name()} has none of that name{hint}"
        )
    return lines


def _refusal(item: dataclasses.Field[Any], given: Parameter, configured: bool) -> str:
    if configured and item.metadata["change"] == "unconfigured":
        return (
            "can only change while the node is unconfigured: deactivate and clean it up, set the "
            "parameter, then configure and activate it (ros2 lifecycle set)"
        )
    check = item.metadata["check"]
    return check(given.value) if check else ""


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
