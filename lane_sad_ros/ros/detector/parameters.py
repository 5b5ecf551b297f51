"""The parameters of `lane_detector`: names, defaults, what they mean and what they allow.

`DetectorParameters` is the only list of them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from lane_sad_ros.messages.lanes import MARKER_LIFETIME
from lane_sad_ros.names import BASE_FRAME
from lane_sad_ros.road.ground import MAX_RANGE
from lane_sad_ros.ros.declare import one_of, parameter

FROM_WEIGHTS = -1.0
"""A threshold of this value is the one that the weights file names."""


def _check_cameras(names: Sequence[str]) -> str:
    for name in names:
        if name and not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*(/[A-Za-z][A-Za-z0-9_]*)*", name):
            return (
                f"camera {name!r} cannot be part of a topic name: letters, digits and "
                "underscores, beginning with a letter"
            )
    if not names:
        return "at least one camera is needed; [''] is a single one without a name"
    if len(set(names)) < len(names):
        return "the same camera is named twice"
    return ""


def _check_threshold(value: float) -> str:
    if value == FROM_WEIGHTS or 0.0 <= value <= 1.0:
        return ""
    return f"must lie between 0 and 1, or be {FROM_WEIGHTS} for the weights' own"


def _check_crop(value: Sequence[float]) -> str:
    if len(value) != 4:
        return f"needs four numbers (left, top, right, bottom), not {len(value)}"
    left, top, right, bottom = value
    if not any(value):
        return ""
    if not (0.0 <= left < right <= 1.0 and 0.0 <= top < bottom <= 1.0):
        return (
            "must be fractions of the image with 0 <= left < right <= 1 and "
            "0 <= top < bottom <= 1, or four zeros for the weights' own"
        )
    return ""


def _check_finite(value: float) -> str:
    return "" if math.isfinite(value) else "must be a finite number"


def _check_frame(value: str) -> str:
    return "" if value and not value.startswith("/") else "must be the name of a frame, without /"


def _mounting(description: str, lowest: float, highest: float) -> float:
    """A number of how the camera is mounted."""
    return parameter(
        0.0, description, change="any", lowest=lowest, highest=highest, check=_check_finite
    )


@dataclass(frozen=True)
class DetectorParameters:
    """The values of all parameters of `lane_detector`."""

    autostart: bool = parameter(
        True,
        "Configure and activate at start-up. Without it a lifecycle manager does.",
        change="never",
    )
    exit_with_parent: bool = parameter(
        False,
        "End the node when the process that started it is gone, as after killing ros2 launch.",
        change="never",
    )
    weights: str = parameter(
        "", "Weights file (safetensors). Empty: the weights that come with the package."
    )
    device: str = parameter(
        "auto",
        "Where the network runs: auto, cpu, cuda or cuda:N. auto takes a GPU if there is one.",
    )
    engine: str = parameter(
        "eager", "How the network runs, see lane_sad_ros.detection. eager works everywhere."
    )
    crop: tuple[float, ...] = parameter(
        (0.0, 0.0, 0.0, 0.0),
        "Part of the image that the network sees: left, top, right, bottom as fractions of the "
        "image. Four zeros: the part that the weights were trained on.",
        check=_check_crop,
        constraints="0 <= left < right <= 1, 0 <= top < bottom <= 1, or four zeros",
    )
    existence_threshold: float = parameter(
        FROM_WEIGHTS,
        "A lane exists if its probability is above. -1: the weights' own threshold.",
        change="any",
        lowest=-1.0,
        highest=1.0,
        check=_check_threshold,
        constraints="0 to 1, or -1",
    )
    point_threshold: float = parameter(
        FROM_WEIGHTS,
        "A row of a lane gives a point if its score is above. -1: the weights' own threshold.",
        change="any",
        lowest=-1.0,
        highest=1.0,
        check=_check_threshold,
        constraints="0 to 1, or -1",
    )
    tracking: bool = parameter(
        True,
        "Follow lanes over time: they are steadier, and stay for a moment where one frame misses "
        "them.",
        change="any",
    )
    cameras: tuple[str, ...] = parameter(
        ("",),
        "Names of the cameras. Camera front is read from front/image and answers under ~/front/. "
        "One empty name is a single camera read from image that answers under ~/.",
        check=_check_cameras,
        constraints="different names of letters, digits and underscores",
    )
    image_transport: str = parameter(
        "raw",
        "Subscribe to raw images (image) or to compressed ones (image/compressed).",
        check=one_of("raw", "compressed"),
        constraints="raw or compressed",
    )
    image_reliability: str = parameter(
        "best_effort",
        "Reliability of the image subscription. best_effort receives from every camera, reliable "
        "loses no frame but receives only from reliable publishers.",
        check=one_of("best_effort", "reliable"),
        constraints="best_effort or reliable",
    )
    image_depth: int = parameter(
        5,
        "Queue length of the image subscription. Only the newest frame is processed in any case.",
        lowest=1,
        highest=100,
    )
    base_frame: str = parameter(
        BASE_FRAME,
        "Frame of points on the road: x forward, y left, its plane z = 0 is the road. Where "
        "base_link is above the road, base_footprint is meant.",
        check=_check_frame,
    )
    camera_height: float = _mounting(
        "Metres of the camera above the road. Above 0, this and the other camera_... numbers say "
        "how the camera is mounted; 0: TF says it. Of one camera only: several need TF.",
        0.0,
        100.0,
    )
    camera_pitch: float = _mounting("Radians that the camera looks down.", -1.58, 1.58)
    camera_roll: float = _mounting("Radians that the camera's right side is lowered.", -3.15, 3.15)
    camera_yaw: float = _mounting("Radians that the camera looks to the left.", -3.15, 3.15)
    camera_x: float = _mounting("Metres of the camera ahead of base_frame.", -100.0, 100.0)
    camera_y: float = _mounting("Metres of the camera to the left of base_frame.", -100.0, 100.0)
    use_tf: bool = parameter(
        True,
        "Without camera_height, take how the camera is mounted from TF, if tf2_ros is installed.",
        change="any",
    )
    ground_range: float = parameter(
        MAX_RANGE,
        "Metres from the camera up to which points are taken to the road.",
        change="any",
        lowest=1.0,
        highest=1000.0,
        check=_check_finite,
    )
    marker_lifetime: float = parameter(
        MARKER_LIFETIME,
        "Seconds after which a marker that is not renewed vanishes. 0: never.",
        change="any",
        lowest=0.0,
        highest=3600.0,
        check=_check_finite,
    )
    output_depth: int = parameter(
        5, "Queue length of the publishers, which are reliable.", lowest=1, highest=1000
    )
    overlay_quality: int = parameter(
        85, "JPEG quality of overlay/compressed.", change="any", lowest=1, highest=100
    )
    stale_after: float = parameter(
        2.0,
        "Seconds without a frame, or in one step of the work, after which diagnostics warn.",
        change="any",
        lowest=0.1,
        highest=3600.0,
    )
