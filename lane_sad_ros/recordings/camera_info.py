"""Camera calibrations as files of ROS's camera_calibration, and as CameraInfo messages without ROS.

Such a file is the YAML that camera_calibration writes and camera drivers load: image_width,
image_height, camera_matrix (rows, cols, data), distortion_model, distortion_coefficients,
and maybe rectification_matrix and projection_matrix.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.files import read_yaml
from lane_sad_ros.names import IMAGE_TYPES, INFO_TYPE, camera_info_topic
from lane_sad_ros.recordings import bags
from lane_sad_ros.recordings.message_types import MESSAGES, BagError
from lane_sad_ros.road.camera import CalibrationError, CameraModel


def read_camera_info(path: str | os.PathLike[str], header: Any | None = None) -> Any:
    """The sensor_msgs/CameraInfo, of `typestore()`, that a calibration file describes.

    header: of the message; by default an empty one.
    Raises CalibrationError that names the file, what is wrong with it and what would be right.
    """
    try:
        values = read_yaml(path)
    except OSError as error:
        raise CalibrationError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise CalibrationError(str(error)) from error
    try:
        r, p = (
            _matrix(values, key) if key in values else None
            for key in ("rectification_matrix", "projection_matrix")
        )
        camera = CameraModel(
            int(values["image_width"]),
            int(values["image_height"]),
            _matrix(values, "camera_matrix").reshape(3, 3),
            str(values.get("distortion_model") or "plumb_bob"),
            tuple(_matrix(values, "distortion_coefficients").tolist()),
            None if r is None else r.reshape(3, 3),
        )
        return MESSAGES.camera_info(camera, header or MESSAGES.header(0, ""), p)
    except CalibrationError as error:
        raise CalibrationError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        missing = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise CalibrationError(
            f"{path}: not a file of camera_calibration ({missing}); it needs image_width, "
            "image_height, camera_matrix and distortion_coefficients, each matrix with its data"
        ) from error


def recorded_camera_info(
    path: str | os.PathLike[str], image_topic: str, topic: str | None = None
) -> tuple[str, Any]:
    """The camera_info topic of a bag that belongs to an image topic, and its first message.

    That is `topic`, if it is given; else the one beside the images, as everywhere in ROS, or the
    only one of a bag with one camera. Raises CalibrationError where there is none, BagError.
    """
    topics = [t for t in bags.topics(path) if t.count]
    known = [t.name for t in topics if t.type == INFO_TYPE]
    cameras = {camera_info_topic(t.name) for t in topics if t.type in IMAGE_TYPES}
    name = topic or camera_info_topic(image_topic)
    if topic is None and name not in known and len(known) == len(cameras) == 1:
        (name,) = known
    if name not in known:
        raise CalibrationError(
            f"{path}: no camera_info on {name}; "
            + (f"the bag has {', '.join(known)}" if known else "the bag has none at all")
        )
    messages = bags.Topic(path, name, [INFO_TYPE])
    first = next(messages.raw())
    try:
        return name, messages.parse(first)
    except BagError as error:
        raise BagError(f"{path}: {error}") from error


def _matrix(values: dict[str, Any], name: str) -> NDArray[np.float64]:
    """The numbers of a matrix, row by row."""
    sizes = {"camera_matrix": 9, "rectification_matrix": 9, "projection_matrix": 12}
    data = np.array(values[name]["data"], np.float64).ravel()
    if name in sizes and len(data) != sizes[name]:
        raise ValueError(f"{name} has {len(data)} numbers, not {sizes[name]}")
    return data
