"""The parameters of `lane_evaluator`: names, defaults, what they mean and what they allow."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lane_sad_ros.evaluation.scores import FIRST_ROW
from lane_sad_ros.names import DETECTOR, TRUTH_TOPIC
from lane_sad_ros.parameter_fields import one_of, parameter

PACES = ("step", "real_time")
PLAYERS = ("auto", "own", "ros2_bag", "external")


def _check_node(name: str) -> str:
    if re.fullmatch(r"(/[A-Za-z_][A-Za-z0-9_]*)+", name):
        return ""
    return "must be the full name of a node, such as /lane_detector"


@dataclass(frozen=True)
class EvaluatorParameters:
    """The values of all parameters of `lane_evaluator`. None changes after start-up."""

    bag: str = parameter(
        "", "Bag to play: rosbag1, a rosbag2 folder, .db3 or .mcap.", change="never"
    )
    image_topic: str = parameter(
        "", "Topic of the images in the bag. Empty: the only one there is.", change="never"
    )
    truth_topic: str = parameter(
        TRUTH_TOPIC,
        "Topic of the true lanes in the bag (lane_sad_ros/LaneArray). Empty: time alone is "
        "measured.",
        change="never",
    )
    detector: str = parameter(
        DETECTOR,
        "Full name of the detector's node.",
        change="never",
        check=_check_node,
        constraints="a full name, such as /lane_detector",
    )
    camera: str = parameter(
        "",
        "The detector's camera that the images are for. Empty: the one without a name.",
        change="never",
    )
    first_row: int = parameter(
        FIRST_ROW,
        "TuSimple's figures are taken from this row of 1280x720 on, as in the labels.",
        change="never",
        lowest=0,
        highest=710,
    )
    report: str = parameter(
        "lane_evaluation",
        "Folder for what was found: report.html, report.json and lanes.jsonl.",
        change="never",
    )
    pace: str = parameter(
        "step",
        "step: an image is played when the one before is answered, so that none is dropped. "
        "real_time: images are played as they were recorded.",
        change="never",
        check=one_of(*PACES),
        constraints=" or ".join(PACES),
    )
    player: str = parameter(
        "auto",
        "What plays the bag. own: this node. ros2_bag: a ros2 bag play started here, in "
        "real time only. external: somebody else. auto: ros2_bag in real time where it is "
        "installed, else own.",
        change="never",
        check=one_of(*PLAYERS),
        constraints=", ".join(PLAYERS),
    )
    rate: float = parameter(
        1.0,
        "Seconds of the recording that are played in a second, in real time.",
        change="never",
        lowest=0.01,
        highest=100.0,
    )
    clock_rate: float = parameter(
        100.0, "Rate of /clock in Hz.", change="never", lowest=1.0, highest=1000.0
    )
    image_reliability: str = parameter(
        "reliable",
        "Reliability of the images that are played. reliable loses none on the way to a reliable "
        "subscriber; best_effort is what many cameras do.",
        change="never",
        check=one_of("best_effort", "reliable"),
        constraints="best_effort or reliable",
    )
    deadline: float = parameter(
        0.0,
        "Seconds after which an answer is late. 0: the time to the next image.",
        change="never",
        lowest=0.0,
        highest=3600.0,
    )
    start_timeout: float = parameter(
        180.0,
        "Seconds that the detector gets to be there and active, and an external player to begin.",
        change="never",
        lowest=0.1,
        highest=3600.0,
    )
    answer_timeout: float = parameter(
        10.0,
        "Seconds that the detector gets for one image.",
        change="never",
        lowest=0.01,
        highest=3600.0,
    )
    idle_timeout: float = parameter(
        10.0,
        "Seconds without an image or an answer after which a bag that is played by external, or "
        "was by ros2_bag, counts as over.",
        change="never",
        lowest=0.1,
        highest=3600.0,
    )
    exit_with_parent: bool = parameter(
        False,
        "End the node when the process that started it is gone, as after killing ros2 launch.",
        change="never",
    )
