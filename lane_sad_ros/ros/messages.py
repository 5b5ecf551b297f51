"""Lanes and pictures to messages, and lane messages back to lanes."""

from __future__ import annotations

import array
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from lane_sad_ros import msg
from lane_sad_ros.lanes import Lane, Lanes


def lane_array(lanes: Lanes, slots: Sequence[str], header: Header) -> msg.LaneArray:
    """All slots of `lanes` as a message; `slots` are their names in the layout's order."""
    width, height = lanes.image_size
    return msg.LaneArray(
        header=header,
        image_width=width,
        image_height=height,
        lanes=[_lane(lane, slots[lane.slot]) for lane in lanes.lanes],
    )


def lane_existence(lanes: Lanes, header: Header) -> msg.LaneExistence:
    """Which slots of `lanes` exist, as a message."""
    return msg.LaneExistence(
        header=header,
        exists=[lane.exists for lane in lanes.lanes],
        probability=array.array("f", (lane.probability for lane in lanes.lanes)),
    )


def lanes_from_message(message: msg.LaneArray) -> Lanes:
    """The lanes of a `LaneArray`.

    Raises ValueError where the columns, rows and scores of a lane differ in number.
    """
    lanes = []
    for lane in message.lanes:
        if not len(lane.u) == len(lane.v) == len(lane.score):
            raise ValueError(
                f"lane {lane.name or lane.id}: {len(lane.u)} columns, {len(lane.v)} rows and "
                f"{len(lane.score)} scores do not belong together"
            )
        points = np.stack([lane.u, lane.v, lane.score], axis=1, dtype=np.float32)
        lanes.append(Lane(lane.id, lane.exists, lane.probability, points))
    return Lanes((message.image_width, message.image_height), tuple(lanes))


def image_message(pixels: NDArray[np.uint8], encoding: str, header: Header) -> Image:
    """A raw image of H×W or H×W×C bytes."""
    height, width = pixels.shape[:2]
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(pixels).data.cast("B"))
    return Image(
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        step=pixels[:1].size,
        data=data,
    )


def jpeg_message(bgr: NDArray[np.uint8], quality: int, header: Header) -> CompressedImage:
    """An H×W×3 BGR picture as JPEG; `quality` 1 to 100."""
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return CompressedImage(
        header=header, format="bgr8; jpeg compressed bgr8", data=array.array("B", data.tobytes())
    )


def _lane(lane: Lane, name: str) -> msg.Lane:
    u, v, score = (array.array("f", column.tobytes()) for column in lane.points.T)
    return msg.Lane(
        id=lane.slot,
        name=name,
        exists=lane.exists,
        probability=lane.probability,
        u=u,
        v=v,
        score=score,
    )
