"""Plays a bag in simulated time to lane_detector and leaves a report of how well it answered.

Everything ends with the evaluation. `--show-args` describes the arguments; those that are left
empty are not handed on, so the nodes' parameters come from their files and nowhere else.
"""

from __future__ import annotations

import os
import posixpath
import subprocess
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_prefix, get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    GroupAction,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

SHARE = Path(get_package_share_directory("lane_sad_ros"))
PROGRAMS = Path(get_package_prefix("lane_sad_ros")) / "lib" / "lane_sad_ros"
DETECT = SHARE / "launch" / "detect.launch.py"
DETECTOR_PARAMS = SHARE / "config" / "detector.yaml"
EVALUATOR_PARAMS = SHARE / "config" / "evaluator.yaml"
FAST_DDS_PROFILE = SHARE / "config" / "fastdds.xml"
# Fast DDS 2 (Jazzy) reads the first, Fast DDS 3 (from Kilted on) the second.
FAST_DDS_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
IMAGE_TYPES = {"sensor_msgs/msg/Image": "raw", "sensor_msgs/msg/CompressedImage": "compressed"}
NUMBERS = ("rate", "deadline")


def _argument(
    name: str, default: str | None, description: str, choices: list[str] | None = None
) -> DeclareLaunchArgument:
    return DeclareLaunchArgument(
        name, default_value=default, description=description, choices=choices
    )


ARGUMENTS = [
    _argument("bag", None, "Bag to play: rosbag1, a rosbag2 folder, .db3 or .mcap."),
    _argument(
        "image_topic", "", "Topic of the images in the bag. Empty: the only one there is."
    ),
    _argument(
        "camera_info",
        "",
        "Topic of the calibration in the bag. Empty: camera_info beside the images.",
    ),
    _argument(
        "truth",
        "/truth/lanes",
        "Topic of the true lanes in the bag (lane_sad_ros/LaneArray). none: time alone is "
        "measured.",
    ),
    _argument("report", "lane_evaluation", "Folder for report.html, report.json and lanes.jsonl."),
    _argument(
        "pace",
        "",
        "step: an image is played when the one before is answered, so that none is dropped. "
        "real_time: as recorded. Empty: as in evaluator_params_file.",
        ["", "step", "real_time"],
    ),
    _argument(
        "player",
        "",
        "What plays the bag: own (the evaluator), ros2_bag (ros2 bag play, in real time only), "
        "external (somebody else), or auto. Empty: as in evaluator_params_file.",
        ["", "auto", "own", "ros2_bag", "external"],
    ),
    _argument(
        "rate",
        "",
        "Seconds of the recording in a second, in real time. Empty: as in evaluator_params_file.",
    ),
    _argument(
        "deadline",
        "",
        "Seconds after which an answer is late; 0: the time to the next image. Empty: as in "
        "evaluator_params_file.",
    ),
    _argument(
        "evaluator_params_file",
        str(EVALUATOR_PARAMS),
        "YAML file with the parameters of lane_evaluator.",
    ),
    _argument("weights", "", "Weights file (safetensors). Empty: as in params_file."),
    _argument("device", "", "auto, cpu, cuda or cuda:N. Empty: as in params_file."),
    _argument(
        "params_file", str(DETECTOR_PARAMS), "YAML file with the parameters of lane_detector."
    ),
    _argument(
        "python",
        "",
        "Python interpreter to run the nodes, such as /path/to/venv/bin/python where PyTorch is in "
        "a virtual environment. Empty: the environment variable LANE_SAD_PYTHON, else python3.",
    ),
    _argument(
        "log_level", "info", "What the detector logs.", ["debug", "info", "warn", "error", "fatal"]
    ),
    _argument(
        "fastdds_profile",
        "true",
        "Give Fast DDS room for raw images in what is started here (config/fastdds.xml), unless "
        "FASTRTPS_DEFAULT_PROFILES_FILE or FASTDDS_DEFAULT_PROFILES_FILE names a profile already.",
        ["true", "false"],
    ),
]  # fmt: skip


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=_start)])


def _start(context: LaunchContext) -> list[Any]:
    given = {
        argument.name: LaunchConfiguration(argument.name).perform(context).strip()
        for argument in ARGUMENTS
    }
    environment = _environment(given)
    bag = _existing("bag", given["bag"])
    topics = _topics(bag, {**os.environ, **environment})
    evaluator = _evaluator(given, bag)
    detector = _detector(given, topics)

    def ended(event: ProcessExited, context: LaunchContext) -> Any:
        # An exception is the only way to an exit code of ros2 launch that is not zero.
        if event.action is evaluator and event.returncode:
            raise RuntimeError(f"the evaluation failed (exit code {event.returncode})")
        if context.is_shutdown:
            return None
        return EmitEvent(event=Shutdown(reason=f"{event.process_name} has ended"))

    return [
        *(SetEnvironmentVariable(name, value) for name, value in environment.items()),
        RegisterEventHandler(OnProcessExit(on_exit=ended)),
        detector,
        evaluator,
    ]


def _detector(given: dict[str, str], topics: dict[str, str]) -> GroupAction:
    """The detector as detect.launch.py starts it, listening to the bag's images."""
    images = _images(given["image_topic"], topics)
    transport = IMAGE_TYPES[topics[images]]
    ending = "/compressed" if transport == "compressed" else ""
    if not images.endswith(ending):
        raise RuntimeError(
            f"evaluate.launch.py: compressed images on a topic that ends in {ending} are needed, "
            f"not on {images}"
        )
    image = images.removesuffix(ending)
    configurations = {
        "image": image,
        "image_transport": transport,
        "camera_info": given["camera_info"]
        or posixpath.join(posixpath.dirname(image), "camera_info"),
        "use_sim_time": "true",
        "bag": "",  # played here, not there
    }
    if given["pace"] != "real_time":
        configurations["image_reliability"] = "reliable"  # in step no image may get lost
    include = IncludeLaunchDescription(PythonLaunchDescriptionSource(str(DETECT)))
    return GroupAction([include], launch_configurations=configurations)


def _evaluator(given: dict[str, str], bag: str) -> Node:
    parameters: dict[str, Any] = {
        "bag": bag,
        "image_topic": given["image_topic"],
        # ros2 launch takes no empty arguments.
        "truth_topic": "" if given["truth"] == "none" else given["truth"],
        "report": str(Path(given["report"]).expanduser().absolute()),
        # Without it the node would outlive a ros2 launch that was ended by SIGTERM or SIGKILL.
        "exit_with_parent": True,
    }
    parameters |= {name: given[name] for name in ("pace", "player") if given[name]}
    parameters |= {name: _number(name, given[name]) for name in NUMBERS if given[name]}
    return Node(
        package="lane_sad_ros",
        executable="lane_evaluator",
        name="lane_evaluator",
        parameters=[_existing("evaluator_params_file", given["evaluator_params_file"]), parameters],
        output="screen",
    )


def _images(wanted: str, topics: dict[str, str]) -> str:
    """The topic with the images."""
    known = [name for name, kind in topics.items() if kind in IMAGE_TYPES]
    chosen = [wanted] if wanted else known
    if len(chosen) != 1 or chosen[0] not in known:
        named = (
            f"image_topic:={wanted} is not one of" if wanted else "name with image_topic:= one of"
        )
        raise RuntimeError(
            f"evaluate.launch.py: {named} the image topics of the bag: {', '.join(known) or 'none'}"
        )
    return chosen[0]


def _topics(bag: str, environment: dict[str, str]) -> dict[str, str]:
    """Names and types of the bag's topics, told by the package's player under the right Python."""
    listed = subprocess.run(
        [str(PROGRAMS / "bag_player"), bag, "--list"],
        env=environment,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        last = (listed.stderr.strip().splitlines() or ["bag_player failed"])[-1]
        raise RuntimeError(f"evaluate.launch.py: {last}")
    rows = (line.split() for line in listed.stdout.splitlines())
    return {name: kind for name, kind, count in rows if count != "0"}


def _environment(given: dict[str, str]) -> dict[str, str]:
    """What the nodes need beyond that of this process."""
    environment = {}
    if given["fastdds_profile"] == "true" and not any(map(os.environ.get, FAST_DDS_VARIABLES)):
        environment.update(dict.fromkeys(FAST_DDS_VARIABLES, str(FAST_DDS_PROFILE)))
    if given["python"]:
        environment["LANE_SAD_PYTHON"] = given["python"]
    return environment


def _number(argument: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise RuntimeError(f"evaluate.launch.py: {argument}:={text} is not a number") from None


def _existing(argument: str, path: str) -> str:
    """The absolute path: the nodes run in the folder where launch was called, tools may not."""
    if not Path(path).expanduser().exists():
        raise RuntimeError(f"evaluate.launch.py: {argument}:={path} does not exist")
    return str(Path(path).expanduser().absolute())
