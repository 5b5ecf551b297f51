"""A labelled drive as a bag: what a camera would have sent, and what is true."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lane_sad_ros.formats.drives import EncodedImage, LabelledDrive, LabelledFrame
from lane_sad_ros.names import (
    BASE_FRAME,
    CAMERA_FRAME,
    CAMERA_TOPIC,
    EGO_TOPIC,
    IMAGE_TOPIC,
    TF_TOPIC,
    TRUTH_TOPIC,
)
from lane_sad_ros.recordings import writing
from lane_sad_ros.recordings.message_types import MESSAGES, typestore
from lane_sad_ros.road.camera import CameraModel


@dataclass(frozen=True)
class Written:
    """Numbers of frames in a bag: all, and those with true lanes."""

    frames: int
    labelled: int


def write_bag(
    path: str | os.PathLike[str],
    drive: LabelledDrive,
    calibration: Any = None,
    frames: Iterable[LabelledFrame] | None = None,
) -> Written:
    """Writes the drive as one .mcap or .db3 file, which appears when it is complete.

    A frame whose stamp is not after the one before is left out, and said. calibration: CameraInfo
    message of all frames, where the drive does not say. frames: those of the drive, if they come by
    way of something else, such as a progress bar.
    Raises ValueError where there is no frame to write, or the calibration is of another image.
    """
    names = (*drive.slots, *(f"other_{number}" for number in range(1, 256 - len(drive.slots))))
    count = labelled = last = 0
    with writing.writing_bag(path) as bag:
        for frame in drive if frames is None else frames:
            if frame.stamp_ns <= last:
                drive.on_bad(
                    f"{drive.name}: {frame.name}: its stamp {1e-9 * frame.stamp_ns:.9f} is not "
                    "after that of the frame before; left out"
                )
                continue
            if not count and drive.mounting is not None:
                transform = MESSAGES.transform(
                    drive.mounting, BASE_FRAME, CAMERA_FRAME, frame.stamp_ns
                )
                bag.write(TF_TOPIC, transform, frame.stamp_ns)
            header = MESSAGES.header(frame.stamp_ns, CAMERA_FRAME)
            messages: dict[str, Any] = {}
            if frame.camera is not None:
                messages[CAMERA_TOPIC] = MESSAGES.camera_info(frame.camera, header)
            elif calibration is not None:
                CameraModel.from_info(calibration, frame.image.size)
                messages[CAMERA_TOPIC] = replace(calibration, header=header)
            messages[IMAGE_TOPIC] = _image(frame.image, header)
            if frame.truth is not None:
                on_road = any(lane.ground is not None for lane in frame.truth)
                messages[TRUTH_TOPIC] = MESSAGES.lane_array(
                    frame.truth, names, header, BASE_FRAME if on_road else ""
                )
                labelled += 1
            if frame.ego is not None:
                ground = MESSAGES.header(frame.stamp_ns, BASE_FRAME)
                messages[EGO_TOPIC] = MESSAGES.ego_lane(frame.ego, ground)
            for topic, message in messages.items():
                bag.write(topic, message, frame.stamp_ns)
            count, last = count + 1, frame.stamp_ns
        if not count:
            raise ValueError(f"{drive.name}: no frame that could be used; nothing is written")
    return Written(count, labelled)


def _image(image: EncodedImage, header: Any) -> Any:
    return typestore().types["sensor_msgs/msg/CompressedImage"](
        header=header, format=image.format, data=np.frombuffer(image.data, np.uint8)
    )
