"""What the launch files have in common: arguments, checks and the environment of the nodes.

It is run by `ros2 launch`, maybe under another Python than the nodes: it imports nothing of theirs.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.utilities import prefix_namespace

SHARE = Path(get_package_share_directory("lane_sad_ros"))
BOOLEAN = ["true", "false", "True", "False"]  # as YAML and as Python write it
# Fast DDS 2 (Jazzy) reads the first, Fast DDS 3 (from Kilted on) the second.
_PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
_CHOSEN = (*_PROFILES, "FASTDDS_BUILTIN_TRANSPORTS")  # where the user has chosen transports

Given = dict[str, str]
"""The values of a launch file's arguments by their names: true and false in small letters, and the
namespace with those that a launch file around it has pushed.
"""


def argument(
    name: str, default: str | None, description: str, choices: list[str] | None = None
) -> DeclareLaunchArgument:
    """An argument of a launch file; without a default it must be given."""
    return DeclareLaunchArgument(
        name, default_value=default, description=description, choices=choices
    )


DETECTOR = [
    argument("weights", "", "Weights file (safetensors). Empty: as in params_file."),
    argument("device", "", "auto, cpu, cuda or cuda:N. Empty: as in params_file."),
    argument(
        "params_file",
        str(SHARE / "config" / "detector.yaml"),
        "YAML file with the parameters of lane_detector.",
    ),
    argument("namespace", "", "Namespace of the detector and of its relative topics."),
    argument(
        "log_level", "info", "What the detector logs.", ["debug", "info", "warn", "error", "fatal"]
    ),
    argument(
        "python",
        "",
        "Python interpreter to run the nodes, such as /path/to/venv/bin/python where PyTorch is in "
        "a virtual environment. Empty: the environment variable LANE_SAD_PYTHON, else python3.",
    ),
    argument(
        "fastdds_profile",
        "true",
        "Give Fast DDS room for raw images in what is started here (config/fastdds.xml), unless "
        "FASTRTPS_DEFAULT_PROFILES_FILE or FASTDDS_DEFAULT_PROFILES_FILE names a profile already, "
        "or FASTDDS_BUILTIN_TRANSPORTS names transports, which the profile would cancel.",
        BOOLEAN,
    ),
]
"""Arguments about the detector that every launch file has."""


def description(
    file: str, arguments: list[DeclareLaunchArgument], start: Callable[[Given], list[Any]]
) -> LaunchDescription:
    """A launch file's description: `start` makes the actions of what was given.

    A ValueError of it is what the user did wrong; it is told under the launch file's name.
    """

    def run(context: LaunchContext) -> list[Any]:
        given = {item.name: _value(item.name, context) for item in arguments}
        # As launch_ros puts it together for the nodes.
        pushed = context.launch_configurations.get("ros_namespace")
        given["namespace"] = prefix_namespace(pushed, given["namespace"])
        try:
            return start(given)
        except ValueError as error:
            raise RuntimeError(f"{Path(file).name}: {error}") from error

    return LaunchDescription([*arguments, OpaqueFunction(function=run)])


def _value(name: str, context: LaunchContext) -> str:
    text = str(LaunchConfiguration(name).perform(context)).strip()
    return text.lower() if text in BOOLEAN else text


def transport(given: Given) -> dict[str, str]:
    """The environment with the Fast DDS profile of the package, where it is wanted."""
    if given["fastdds_profile"] != "true" or any(map(os.environ.get, _CHOSEN)):
        return {}
    return dict.fromkeys(_PROFILES, str(SHARE / "config" / "fastdds.xml"))


def interpreter(given: Given) -> dict[str, str]:
    """The environment with the interpreter that was asked for. Raises ValueError."""
    name = given["python"]
    if not name:
        return {}
    path = shutil.which(os.path.expanduser(name))
    if path is None:
        raise ValueError(f"python:={name} is no program")
    # With links kept: they tell Python its virtual environment.
    return {"LANE_SAD_PYTHON": os.path.abspath(path)}


def existing(name: str, path: str) -> str:
    """The absolute path of an argument's file: nodes run in the folder where launch was called,
    tools may not. Raises ValueError where there is none.
    """
    if not Path(path).expanduser().exists():
        raise ValueError(f"{name}:={path} does not exist")
    return str(Path(path).expanduser().absolute())


def number(name: str, text: str) -> float:
    """The number of an argument. Raises ValueError where it is none."""
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name}:={text} is no number") from None
