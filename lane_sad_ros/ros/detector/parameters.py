"""The parameters of `lane_detector`: names, defaults, what they mean and what they allow.

`DetectorParameters` is the only list of them, those of `RoadParameters` included.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lane_sad_ros.image_files import MAX_PIXELS
from lane_sad_ros.names import AUTO, engines_text
from lane_sad_ros.parameter_fields import one_of, parameter
from lane_sad_ros.road.parameters import RoadParameters

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


@dataclass(frozen=True)
class DetectorParameters(RoadParameters):
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
    engine: str = parameter(AUTO, f"How the network runs. {engines_text()}.")
    threads: int = parameter(
        0, "Threads of the CPU for the network. 0: the engine decides.", lowest=0, highest=1024
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
    max_pixels: int = parameter(
        MAX_PIXELS,
        "Compressed images that claim more pixels are refused before they take memory.",
        lowest=1,
        highest=2**31 - 1,
    )
    use_tf: bool = parameter(
        True,
        "Without camera_height, take how the camera is mounted from TF, if tf2_ros is installed.",
        change="any",
    )
    output_depth: int = parameter(
        5, "Queue length of the publishers, which are reliable.", lowest=1, highest=1000
    )
    overlay_quality: int = parameter(
        85, "JPEG quality of overlay/compressed.", change="any", lowest=1, highest=100
    )
    stale_after: float = parameter(
        2.0,
        "Seconds without a frame after which the node warns. It reports an error when one step of "
        "its work takes over half as long.",
        change="any",
        lowest=0.1,
        highest=3600.0,
    )

    def conflict(self) -> str:
        """What of the values does not go together, in words; empty where all do."""
        if self.mounting is None or len(self.cameras) == 1:
            return ""
        return (
            f"camera_height is {self.camera_height:g}: that is how one camera is mounted, not "
            f"{' and '.join(self.cameras)}; set it to 0 and let TF connect the frames of the "
            f"cameras with {self.base_frame}"
        )
