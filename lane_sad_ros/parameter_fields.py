"""Parameters as fields of a frozen dataclass: described, ranged and checked, without ROS.

`ros/declare.py` declares the fields on a node; `read_section` reads the values that a parameter
file of ROS holds for a node.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from lane_sad_ros.files import read_yaml

T = TypeVar("T")

_VALUES = "ros__parameters"
_WILDCARDS = ("*", "**")


class ParameterError(ValueError):
    """A parameter that cannot be used; the text is one line for the user."""


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
    """A field of a class of parameters.

    change: when a node's parameter may be set: "any" time, only while the node is "unconfigured",
        or "never" after start-up. lowest, highest: of a number, or neither. check: says what is
        wrong with a value, nothing where it is fine.
    """
    metadata = {
        "description": description,
        "change": change,
        "range": (lowest, highest),
        "check": check,
        "constraints": constraints,
    }
    return dataclasses.field(default=default, metadata=metadata)


def one_of(*choices: str) -> Callable[[str], str]:
    """A check that allows these values only."""

    def check(value: str) -> str:
        return "" if value in choices else f"must be one of {', '.join(choices)}"

    return check


def finite(value: float) -> str:
    """A check that allows numbers, not nan and inf."""
    return "" if math.isfinite(value) else "must be a finite number"


def refusal(item: dataclasses.Field[Any], value: Any) -> str:
    """What is wrong with a value of the field's type, nothing where it is fine.

    None stands for an empty list, which has no type in a parameter file.
    """
    if value is None:
        if not isinstance(item.default, tuple):
            return f"must be a {type_name(item.default)}, not an empty list"
        value = ()
    lowest, highest = item.metadata["range"]
    if lowest is not None and not lowest <= value <= highest:
        return f"must lie between {lowest:g} and {highest:g}"
    check = item.metadata["check"]
    return check(value) if check else ""


def type_name(default: Any) -> str:
    """The type of a default in words."""
    if isinstance(default, list | tuple):
        return f"list of {type_name(default[0])}"
    return {bool: "true/false", int: "integer", float: "number", str: "string"}[type(default)]


def meant(name: str, known: Iterable[str], alike: float = 0.6) -> str:
    """The known name that was probably meant, empty where there is none; alike: 1 is the same."""
    return next(iter(difflib.get_close_matches(name, known, 1, alike)), "")


def read_section(
    path: str | os.PathLike[str], node: str, namespace: str | None = None
) -> dict[str, Any]:
    """The values that a parameter file of ROS holds for a node.

    As for the node itself, sections for all nodes (/**) count too, of two values the one further
    down, and sections of other nodes do not matter. namespace: of the node, whom no section has to
    be for; None: a section is needed, of whatever namespace.
    Raises ParameterError that names the file and what is wrong with it.
    """
    try:
        content = read_yaml(path)
    except OSError as error:
        raise ParameterError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ParameterError(f"{error}: not a parameter file") from error
    sections = dict(_sections(content))
    if not sections:
        raise ParameterError(
            f"{path}: not a parameter file of a node: /**: with {_VALUES}: below it"
        )
    if namespace is not None:
        full = "/".join(["", *filter(None, namespace.split("/")), node])
        sections = {name: sections[name] for name in sections if _reaches(name, full)}
    last = {name: name.rpartition("/")[2] for name in sections}
    own = [name for name in sections if last[name] == node]
    if namespace is None and len(own) > 1:
        raise ParameterError(f"{path}: is for several nodes: {', '.join(own)}; leave one of them")
    fitting = [name for name in sections if name in own or last[name] in _WILDCARDS]
    if namespace is None and not fitting:
        raise ParameterError(
            f"{path}: is for {', '.join(sections)}; a section {node} or /** is needed"
        )
    return {name: value for section in fitting for name, value in sections[section].items()}


def _reaches(section: str, node: str) -> bool:
    """Whether a section is for a node, both with their namespaces: * is one part, ** any."""
    parts = section.strip("/").split("/")
    wild = {"*": "/[^/]+", "**": "(/[^/]+)*"}
    return (
        re.fullmatch("".join(wild.get(part, f"/{re.escape(part)}") for part in parts), node)
        is not None
    )


def _sections(content: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """The values below each node, with its full name, out of nested namespaces."""
    for key, value in content.items() if isinstance(content, dict) else ():
        if key == _VALUES and isinstance(value, dict):
            yield path, value
        elif key != _VALUES:
            yield from _sections(value, f"{path}/{str(key).strip('/')}")
