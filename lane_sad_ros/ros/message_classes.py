"""The messages of `lane_sad_ros.messages` in the classes that nodes publish."""

from __future__ import annotations

import array
import functools
import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.messages.lanes import Messages


@functools.cache
def message_class(name: str) -> Any:
    """The class of a type such as sensor_msgs/msg/Image.

    Raises ImportError or AttributeError where it is not installed.
    """
    package, _, kind = name.rpartition("/")
    return getattr(importlib.import_module(package.replace("/", ".")), kind)


def _empty(name: str) -> Any:
    return message_class(name)()


def _numbers(values: NDArray[Any]) -> Any:
    """rclpy has array.array for numbers, a list for flags, and is slow with anything else."""
    if values.dtype == np.bool_:
        return values.tolist()
    numbers = array.array(values.dtype.char)
    numbers.frombytes(values.data.cast("B"))
    return numbers


MESSAGES = Messages(message_class, _empty, _numbers)
