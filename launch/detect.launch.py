"""Starts lane_detector, and on request RViz and a bag. `--show-args` describes the arguments.

Arguments that are left empty are not handed on, so the node's parameters come from `params_file`
(by default the package's config/detector.yaml) and nowhere else.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import yaml
from ament_index_python.packages import (
    PackageNotFoundError,
    get_package_prefix,
    get_package_share_directory,
)
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition

SHARE = Path(get_package_share_directory("lane_sad_ros"))
PARAMS_FILE = SHARE / "config" / "detector.yaml"
FAST_DDS_PROFILE = SHARE / "config" / "fastdds.xml"
RVIZ_CONFIG = SHARE / "rviz" / "lanes.rviz"
# Fast DDS 2 (Jazzy) reads the first, Fast DDS 3 (from Kilted on) the second.
FAST_DDS_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
BOOLEAN = ["true", "false"]
OUTPUTS = (
    "markers",
    "points",
    "overlay",
    "overlay/compressed",
)  # that the RViz configuration shows


def _argument(
    name: str, default: str, description: str, choices: list[str] | None = None
) -> DeclareLaunchArgument:
    return DeclareLaunchArgument(
        name, default_value=default, description=description, choices=choices
    )


ARGUMENTS = [
    _argument(
        "image",
        "image",
        "Topic of the images; with cameras, its name below each camera's. Compressed images are "
        "expected below it, in <image>/compressed.",
    ),
    _argument(
        "camera_info",
        "camera_info",
        "Topic of the calibration; with cameras, its name below each camera's. As it stands: "
        "camera_info beside the images.",
    ),
    _argument(
        "cameras",
        "",
        "Names of the cameras, such as front,rear: front/image is answered under "
        "~/front/. Empty: as in params_file.",
    ),
    _argument(
        "image_transport",
        "",
        "raw or compressed images. Empty: as in params_file.",
        ["", "raw", "compressed"],
    ),
    _argument(
        "image_reliability",
        "",
        "best_effort hears every camera, reliable loses no image of a reliable one. Empty: as in "
        "params_file.",
        ["", "best_effort", "reliable"],
    ),
    _argument("weights", "", "Weights file (safetensors). Empty: as in params_file."),
    _argument("device", "", "auto, cpu, cuda or cuda:N. Empty: as in params_file."),
    _argument(
        "tracking",
        "",
        "Follow lanes over time. Empty: as in params_file.",
        ["", *BOOLEAN],
    ),
    _argument(
        "base_frame",
        "",
        "Frame whose plane z = 0 is the road, such as base_link or base_footprint. Empty: as in "
        "params_file.",
    ),
    _argument(
        "camera_height",
        "",
        "Metres of the camera above the road: with it, the camera is mounted as camera_... say, "
        "without it as TF says. Empty: as in params_file.",
    ),
    _argument("camera_pitch", "", "Radians that the camera looks down. Empty: as in params_file."),
    _argument(
        "camera_roll",
        "",
        "Radians that the camera's right side is lowered. Empty: as in params_file.",
    ),
    _argument(
        "camera_yaw", "", "Radians that the camera looks to the left. Empty: as in params_file."
    ),
    _argument(
        "camera_x", "", "Metres of the camera ahead of base_frame. Empty: as in params_file."
    ),
    _argument(
        "camera_y",
        "",
        "Metres of the camera to the left of base_frame. Empty: as in params_file.",
    ),
    _argument(
        "use_tf",
        "",
        "Without camera_height, ask TF how the camera is mounted. Empty: as in params_file.",
        ["", *BOOLEAN],
    ),
    _argument("params_file", str(PARAMS_FILE), "YAML file with the parameters of the node."),
    _argument("namespace", "", "Namespace of the node and of its relative topics."),
    _argument(
        "use_sim_time",
        "",
        "Take the time from /clock. Empty: true when a bag is played, else as in params_file.",
        ["", *BOOLEAN],
    ),
    _argument(
        "log_level",
        "info",
        "What the node logs.",
        ["debug", "info", "warn", "error", "fatal"],
    ),
    _argument(
        "python",
        "",
        "Python interpreter to run the node, such as /path/to/venv/bin/python where PyTorch is in "
        "a virtual environment. Empty: the environment variable LANE_SAD_PYTHON, else python3.",
    ),
    _argument(
        "fastdds_profile",
        "true",
        "Give Fast DDS room for raw images in what is started here (config/fastdds.xml), unless "
        "FASTRTPS_DEFAULT_PROFILES_FILE or FASTDDS_DEFAULT_PROFILES_FILE names a profile already.",
        BOOLEAN,
    ),
    _argument(
        "rviz",
        "false",
        "Open RViz with the overlay and the lanes on the road; with cameras, of the first.",
        BOOLEAN,
    ),
    _argument(
        "bag", "", "Bag to play with its clock, from the moment when the node is active."
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
    detector = _detector(given, environment)
    actions: list[Any] = [detector]
    if given["bag"]:
        actions.append(_bag(given["bag"], detector, environment))
    if given["rviz"] == "true":
        actions.append(_rviz(given, environment))
    return actions


def _detector(given: dict[str, str], environment: dict[str, str]) -> LifecycleNode:
    params_file = _existing("params_file", given["params_file"])
    # Without it the node would outlive a ros2 launch that was ended by SIGTERM or SIGKILL.
    parameters: dict[str, Any] = {"exit_with_parent": True}
    for name in ("weights", "device", "image_transport", "image_reliability", "base_frame"):
        if given[name]:
            parameters[name] = given[name]
    for name in ("tracking", "use_tf"):
        if given[name]:
            parameters[name] = given[name] == "true"
    for name in ("height", "pitch", "roll", "yaw", "x", "y"):
        if given[f"camera_{name}"]:
            parameters[f"camera_{name}"] = _number(f"camera_{name}", given[f"camera_{name}"])
    if given["weights"]:
        parameters["weights"] = _existing("weights", given["weights"])
    if given["cameras"]:
        parameters["cameras"] = _names(given["cameras"])
    sim_time = given["use_sim_time"] or ("true" if given["bag"] else "")
    if sim_time:
        parameters["use_sim_time"] = sim_time == "true"

    prefixes = [f"{name}/" for name in _value("cameras", parameters, params_file) or [] if name]
    prefixes = prefixes or [""]
    topics = {
        "image": given["image"],
        "image/compressed": f"{given['image']}/compressed",
        "camera_info": given["camera_info"],
    }
    remappings = [
        (prefix + name, prefix + topic)
        for prefix in prefixes
        for name, topic in topics.items()
        if topic != name
    ]
    if prefixes != [""] and any(topic.startswith("/") for topic in topics.values()):
        raise RuntimeError(
            "detect.launch.py: with cameras, image and camera_info are names below each camera's, "
            "such as image_raw, not absolute topics"
        )
    logger = ".".join([*filter(None, given["namespace"].split("/")), "lane_detector"])
    if given["python"]:
        environment = {**environment, "LANE_SAD_PYTHON": _interpreter(given["python"])}
    return LifecycleNode(
        package="lane_sad_ros",
        executable="lane_detector",
        name="lane_detector",
        namespace=given["namespace"],
        parameters=[params_file, parameters],
        remappings=remappings,
        ros_arguments=["--log-level", f"{logger}:={given['log_level']}"],
        additional_env=environment,
        output="screen",
    )


def _bag(bag: str, detector: LifecycleNode, environment: dict[str, str]) -> RegisterEventHandler:
    """Plays the bag when the node is active: frames before that would be lost."""
    bag = _existing("bag", bag)
    if shutil.which("ros2") is None or not _installed("ros2bag"):
        raise RuntimeError(
            "detect.launch.py: bag:= needs `ros2 bag` "
            "(apt install ros-$ROS_DISTRO-ros2bag ros-$ROS_DISTRO-rosbag2-transport)"
        )
    play = ExecuteProcess(
        cmd=["ros2", "bag", "play", "--clock", "100", "--disable-keyboard-controls", bag],
        additional_env=environment,
        output="screen",
    )
    return RegisterEventHandler(
        OnStateTransition(
            target_lifecycle_node=detector,
            goal_state="active",
            entities=[LogInfo(msg=f"lane_detector is active, playing {bag}"), play],
            handle_once=True,
        )
    )


def _rviz(given: dict[str, str], environment: dict[str, str]) -> Node:
    if not _installed("rviz2"):
        raise RuntimeError(
            "detect.launch.py: rviz:=true needs RViz (apt install ros-$ROS_DISTRO-rviz2)"
        )
    params_file = _existing("params_file", given["params_file"])
    values = {name: given[name] for name in ("base_frame",) if given[name]}
    if given["cameras"]:
        values["cameras"] = _names(given["cameras"])
    camera = next(filter(None, _value("cameras", values, params_file) or []), "")
    node = "/".join(["", *filter(None, [given["namespace"].strip("/"), "lane_detector", camera])])
    arguments = ["-d", _existing("rviz", str(RVIZ_CONFIG))]
    base_frame = _value("base_frame", values, params_file)
    if base_frame:
        arguments += ["-f", base_frame]
    return Node(
        package="rviz2",
        executable="rviz2",
        arguments=arguments,
        # The configuration names the topics of a node without namespace and cameras.
        remappings=[(f"/lane_detector/{name}", f"{node}/{name}") for name in OUTPUTS]
        if node != "/lane_detector"
        else [],
        parameters=[{"use_sim_time": True}] if given["bag"] else [],
        additional_env=environment,
        output="log",
    )


def _environment(given: dict[str, str]) -> dict[str, str]:
    if given["fastdds_profile"] != "true" or any(map(os.environ.get, FAST_DDS_VARIABLES)):
        return {}
    return dict.fromkeys(FAST_DDS_VARIABLES, str(FAST_DDS_PROFILE))


def _value(name: str, parameters: dict[str, Any], params_file: str) -> Any:
    """The parameter that the node will have, out of the arguments or the file; None of neither."""
    if name in parameters:
        return parameters[name]
    content = yaml.safe_load(Path(params_file).read_text()) or {}
    for node in content.values():
        value = node.get("ros__parameters", {}).get(name) if isinstance(node, dict) else None
        if value:
            return value
    return None


def _number(argument: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise RuntimeError(f"detect.launch.py: {argument}:={text} is no number") from None


def _names(text: str) -> list[str]:
    return [name.strip(" '\"") for name in text.strip("[] ").split(",")]


def _existing(argument: str, path: str) -> str:
    """The absolute path: the node runs in the folder where launch was called, tools may not."""
    if not Path(path).expanduser().exists():
        raise RuntimeError(f"detect.launch.py: {argument}:={path} does not exist")
    return str(Path(path).expanduser().absolute())


def _interpreter(name: str) -> str:
    path = shutil.which(os.path.expanduser(name))
    if path is None:
        raise RuntimeError(f"detect.launch.py: python:={name} is no program")
    return os.path.abspath(path)  # with links kept: they tell Python its virtual environment


def _installed(package: str) -> bool:
    try:
        get_package_prefix(package)
    except PackageNotFoundError:
        return False
    return True
