"""Plays a bag in simulated time to lane_detector and leaves a report of how well it answered.

Everything ends with the evaluation. `--show-args` describes the arguments; those that are left
empty are not handed on, so the nodes' parameters come from their files and nowhere else.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_prefix
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    EmitEvent,
    GroupAction,
    IncludeLaunchDescription,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import Node

from lane_sad_ros.names import IMAGE_TYPES
from lane_sad_ros.parameter_fields import read_section
from lane_sad_ros.ros.launch_files import (
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

PROGRAMS = Path(get_package_prefix("lane_sad_ros")) / "lib" / "lane_sad_ros"
DETECT = SHARE / "launch" / "detect.launch.py"
EVALUATOR_PARAMS = SHARE / "config" / "evaluator.yaml"
TRANSPORTS = dict(zip(IMAGE_TYPES, ("raw", "compressed"), strict=True))
NUMBERS = ("rate", "deadline")

ARGUMENTS = [
    argument("bag", None, "Bag to play: rosbag1, a rosbag2 folder, .db3 or .mcap."),
    argument(
        "image_topic",
        "",
        "Topic of the images in the bag. Empty: as in evaluator_params_file, else the only one "
        "there is.",
    ),
    argument(
        "camera_info",
        "",
        "Topic of the calibration in the bag. Empty: camera_info beside the images.",
    ),
    argument(
        "truth",
        "",
        "Topic of the true lanes in the bag (lane_sad_ros/LaneArray). none: time alone is "
        "measured. Empty: as in evaluator_params_file (/truth/lanes).",
    ),
    argument(
        "report",
        "",
        "Folder for report.html, report.json and lanes.jsonl. Empty: as in evaluator_params_file "
        "(lane_evaluation).",
    ),
    argument(
        "pace",
        "",
        "step: an image is played when the one before is answered, so that none is dropped. "
        "real_time: as recorded. Empty: as in evaluator_params_file.",
        ["", "step", "real_time"],
    ),
    argument(
        "player",
        "",
        "What plays the bag: own (the evaluator), ros2_bag (ros2 bag play, in real time only), "
        "external (somebody else), or auto. Empty: as in evaluator_params_file.",
        ["", "auto", "own", "ros2_bag", "external"],
    ),
    argument(
        "rate",
        "",
        "Seconds of the recording in a second, in real time. Empty: as in evaluator_params_file.",
    ),
    argument(
        "deadline",
        "",
        "Seconds after which an answer is late; 0: the time to the next image. Empty: as in "
        "evaluator_params_file.",
    ),
    argument(
        "evaluator_params_file",
        str(EVALUATOR_PARAMS),
        "YAML file with the parameters of lane_evaluator.",
    ),
    *DETECTOR,
]  # fmt: skip


def generate_launch_description() -> LaunchDescription:
    return description(__file__, ARGUMENTS, _start)


def _start(given: Given) -> list[Any]:
    environment = {**transport(given), **interpreter(given)}
    bag = existing("bag", given["bag"])
    topics = _topics(bag, {**os.environ, **environment})
    params_file = existing("evaluator_params_file", given["evaluator_params_file"])
    evaluator = _evaluator(given, bag, params_file)
    detector = _detector(given, read_section(params_file, "lane_evaluator", ""), topics)

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


def _detector(given: Given, file: dict[str, Any], topics: dict[str, str]) -> GroupAction:
    """The detector as detect.launch.py starts it, listening to the bag's images.

    file: the parameters of the evaluator that were not given here.
    """
    if file.get("camera"):
        raise ValueError(
            f"evaluator_params_file: camera is {file['camera']}, but the detector that is started "
            "here has one camera, without a name; leave it empty"
        )
    images = _images(given["image_topic"] or file.get("image_topic", ""), topics)
    transport = TRANSPORTS[topics[images]]
    ending = "/compressed" if transport == "compressed" else ""
    if not images.endswith(ending):
        raise ValueError(
            f"compressed images on a topic that ends in {ending} are needed, not on {images}"
        )
    image = images.removesuffix(ending)
    configurations = {
        "image": image,
        "image_transport": transport,
        "camera_info": given["camera_info"] or "camera_info",
        "use_sim_time": "true",
        "cameras": "[]",  # one without a name, whatever params_file says
        "bag": "",  # played here, not there
    }
    in_step = (given["pace"] or file.get("pace")) != "real_time"
    if in_step and file.get("image_reliability") != "best_effort":
        configurations["image_reliability"] = "reliable"  # in step no image may get lost
    include = IncludeLaunchDescription(PythonLaunchDescriptionSource(str(DETECT)))
    return GroupAction([include], launch_configurations=configurations)


def _evaluator(given: Given, bag: str, params_file: str) -> Node:
    # Without the last one the node would outlive a ros2 launch ended by SIGTERM or SIGKILL.
    parameters: dict[str, Any] = {"bag": bag, "exit_with_parent": True}
    if given["truth"]:  # ros2 launch takes no empty arguments
        parameters["truth_topic"] = "" if given["truth"] == "none" else given["truth"]
    if given["report"]:
        parameters["report"] = str(Path(given["report"]).expanduser().absolute())
    if given["namespace"]:
        parameters["detector"] = f"/{given['namespace'].strip('/')}/lane_detector"
    parameters |= {name: given[name] for name in ("image_topic", "pace", "player") if given[name]}
    parameters |= {name: number(name, given[name]) for name in NUMBERS if given[name]}
    return Node(
        package="lane_sad_ros",
        executable="lane_evaluator",
        name="lane_evaluator",
        parameters=[params_file, parameters],
        output="screen",
    )


def _images(wanted: str, topics: dict[str, str]) -> str:
    """The topic with the images."""
    known = [name for name, kind in topics.items() if kind in TRANSPORTS]
    chosen = [wanted] if wanted else known
    if len(chosen) != 1 or chosen[0] not in known:
        named = (
            f"image_topic:={wanted} is not one of" if wanted else "name with image_topic:= one of"
        )
        raise ValueError(f"{named} the image topics of the bag: {', '.join(known) or 'none'}")
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
        raise ValueError(last)
    rows = (line.split() for line in listed.stdout.splitlines())
    return {name: kind for name, kind, count in rows if count != "0"}
