"""Starts lane_detector, and on request RViz and a bag. `--show-args` describes the arguments.

Arguments that are left empty are not handed on, so the node's parameters come from `params_file`
(by default the package's config/detector.yaml) and nowhere else.
"""

from __future__ import annotations

import shutil
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchDescription
from launch.actions import ExecuteProcess, LogInfo, RegisterEventHandler
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition

from lane_sad_ros.parameter_fields import read_section
from lane_sad_ros.ros.launch_files import (
    BOOLEAN,
    DETECTOR,
    SHARE,
    Given,
    argument,
    description,
    existing,
    interpreter,
    number,
    transport,
)

RVIZ_CONFIG = SHARE / "rviz" / "lanes.rviz"
# That the RViz configuration shows.
OUTPUTS = ("markers", "points", "overlay", "overlay/compressed")

ARGUMENTS = [
    *DETECTOR,
    argument(
        "image",
        "image",
        "Topic of the images; with cameras, its name below each camera's. Compressed images are "
        "expected below it, in <image>/compressed.",
    ),
    argument(
        "camera_info",
        "camera_info",
        "Topic of the calibration; with cameras, its name below each camera's. As it stands: "
        "camera_info beside the images.",
    ),
    argument(
        "cameras",
        "",
        "Names of the cameras, such as front,rear: front/image is answered under "
        "~/front/; [] for one without a name. Empty: as in params_file.",
    ),
    argument(
        "image_transport",
        "",
        "raw or compressed images. Empty: as in params_file.",
        ["", "raw", "compressed"],
    ),
    argument(
        "image_reliability",
        "",
        "best_effort hears every camera, reliable loses no image of a reliable one. Empty: as in "
        "params_file.",
        ["", "best_effort", "reliable"],
    ),
    argument(
        "tracking",
        "",
        "Follow lanes over time. Empty: as in params_file.",
        ["", *BOOLEAN],
    ),
    argument(
        "base_frame",
        "",
        "Frame whose plane z = 0 is the road, such as base_link or base_footprint. Empty: as in "
        "params_file.",
    ),
    argument(
        "camera_height",
        "",
        "Metres of the camera above the road: with it, the camera is mounted as camera_... say, "
        "without it as TF says. Empty: as in params_file.",
    ),
    argument("camera_pitch", "", "Radians that the camera looks down. Empty: as in params_file."),
    argument(
        "camera_roll",
        "",
        "Radians that the camera's right side is lowered. Empty: as in params_file.",
    ),
    argument(
        "camera_yaw", "", "Radians that the camera looks to the left. Empty: as in params_file."
    ),
    argument(
        "camera_x", "", "Metres of the camera ahead of base_frame. Empty: as in params_file."
    ),
    argument(
        "camera_y",
        "",
        "Metres of the camera to the left of base_frame. Empty: as in params_file.",
    ),
    argument(
        "use_tf",
        "",
        "Without camera_height, ask TF how the camera is mounted. Empty: as in params_file.",
        ["", *BOOLEAN],
    ),
    argument(
        "use_sim_time",
        "",
        "Take the time from /clock. Empty: true when a bag is played, else as in params_file.",
        ["", *BOOLEAN],
    ),
    argument(
        "respawn",
        "false",
        "Start the node anew when it ends by itself, as after a crash.",
        BOOLEAN,
    ),
    argument(
        "rviz",
        "false",
        "Open RViz with the overlay and the lanes on the road; with cameras, of the first.",
        BOOLEAN,
    ),
    argument(
        "bag", "", "Bag to play with its clock, from the moment when the node is active."
    ),
]  # fmt: skip


def generate_launch_description() -> LaunchDescription:
    return description(__file__, ARGUMENTS, _start)


def _start(given: Given) -> list[Any]:
    environment = transport(given)
    detector = _detector(given, environment)
    actions: list[Any] = [detector]
    if given["bag"]:
        actions.append(_bag(given["bag"], detector, environment))
    if given["rviz"] == "true":
        actions.append(_rviz(given, environment))
    return actions


def _detector(given: Given, environment: dict[str, str]) -> LifecycleNode:
    params_file = existing("params_file", given["params_file"])
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
            parameters[f"camera_{name}"] = number(f"camera_{name}", given[f"camera_{name}"])
    if given["weights"]:
        parameters["weights"] = existing("weights", given["weights"])
    if given["cameras"]:
        parameters["cameras"] = _names(given["cameras"]) or [""]
    parameters |= _sim_time(given, params_file)

    cameras = _cameras(given, params_file)
    prefixes = [f"{name}/" for name in cameras] or [""]
    topics = {
        "image": given["image"],
        "image/compressed": f"{given['image'].removesuffix('/compressed')}/compressed",
        "camera_info": given["camera_info"],
    }
    remappings = [
        (prefix + name, prefix + topic)
        for prefix in prefixes
        for name, topic in topics.items()
        if topic != name
    ]
    if prefixes != [""] and any(topic.startswith("/") for topic in topics.values()):
        raise ValueError(
            "with cameras, image and camera_info are names below each camera's, "
            "such as image_raw, not absolute topics"
        )
    logger = ".".join([*filter(None, given["namespace"].split("/")), "lane_detector"])
    return LifecycleNode(
        package="lane_sad_ros",
        executable="lane_detector",
        name="lane_detector",
        namespace=given["namespace"],
        parameters=[params_file, parameters],
        remappings=remappings,
        ros_arguments=["--log-level", f"{logger}:={given['log_level']}"],
        additional_env={**environment, **interpreter(given)},
        output="screen",
        respawn=given["respawn"] == "true",
        respawn_delay=1.0,
    )


def _bag(bag: str, detector: LifecycleNode, environment: dict[str, str]) -> RegisterEventHandler:
    """Plays the bag when the node is active: frames before that would be lost."""
    bag = existing("bag", bag)
    if shutil.which("ros2") is None or not _installed("ros2bag"):
        raise ValueError(
            "bag:= needs `ros2 bag` "
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


def _rviz(given: Given, environment: dict[str, str]) -> Node:
    if not _installed("rviz2"):
        raise ValueError("rviz:=true needs RViz (apt install ros-$ROS_DISTRO-rviz2)")
    params_file = existing("params_file", given["params_file"])
    camera = next(iter(_cameras(given, params_file)), "")
    node = "/".join(["", *filter(None, [given["namespace"].strip("/"), "lane_detector", camera])])
    arguments = ["-d", existing("rviz", str(RVIZ_CONFIG))]
    base_frame = given["base_frame"] or _in_file("base_frame", given, params_file)
    if base_frame:
        arguments += ["-f", base_frame]
    clock = _sim_time(given, params_file)
    return Node(
        package="rviz2",
        executable="rviz2",
        arguments=arguments,
        # The configuration names the topics of a node without namespace and cameras.
        remappings=[(f"/lane_detector/{name}", f"{node}/{name}") for name in OUTPUTS]
        if node != "/lane_detector"
        else [],
        parameters=[clock] if clock else [],
        additional_env=environment,
        output="log",
    )


def _cameras(given: Given, params_file: str) -> list[str]:
    """The names of the cameras that the node will have; none of a single one without a name."""
    if given["cameras"]:
        return _names(given["cameras"])
    names = _in_file("cameras", given, params_file) or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"{params_file}: cameras must be a list of names, such as [front, rear], not {names!r}"
        )
    return list(filter(None, names))


def _sim_time(given: Given, params_file: str) -> dict[str, bool]:
    """The parameter that takes the time from /clock; none where it is left to a launch file around
    this one (SetParameter).
    """
    if given["use_sim_time"]:
        return {"use_sim_time": given["use_sim_time"] == "true"}
    in_file = _in_file("use_sim_time", given, params_file)
    if given["bag"] or in_file is not None:
        return {"use_sim_time": bool(given["bag"] or in_file)}
    return {}


def _in_file(name: str, given: Given, params_file: str) -> Any:
    """The value that the node takes from its file; None where there is none."""
    return read_section(params_file, "lane_detector", given["namespace"]).get(name)


def _names(text: str) -> list[str]:
    return list(filter(None, (name.strip(" '\"") for name in text.strip("[] ").split(","))))


def _installed(package: str) -> bool:
    try:
        get_package_prefix(package)
    except PackageNotFoundError:
        return False
    return True
