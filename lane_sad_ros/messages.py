"""Lanes, the road and pictures as ROS messages, the same for a node and for a bag without ROS.

The message classes of rclpy and those of the bag library have equal names and fields and differ in
how empty messages and arrays of numbers are made; `Messages` is told how. `ros/messages.py` and
`bags.py` hold one each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.lanes import Lane, Lanes


class Messages:
    """Makes messages.

    find: the class of a name such as "std_msgs/msg/Header". empty: a message of such a name with
    all fields zero. numbers: an array with one axis as the value of a primitive array field.
    Headers are messages too; they are not copied.
    """

    def __init__(
        self,
        find: Callable[[str], Any],
        empty: Callable[[str], Any],
        numbers: Callable[[NDArray[Any]], Any],
    ) -> None:
        self._find = find
        self._empty = empty
        self._numbers = numbers

    def header(self, stamp_ns: int, frame_id: str) -> Any:
        """A std_msgs/Header; stamp_ns: nanoseconds."""
        seconds, nanoseconds = divmod(stamp_ns, 10**9)
        stamp = self._find("builtin_interfaces/msg/Time")(sec=seconds, nanosec=nanoseconds)
        return self._find("std_msgs/msg/Header")(stamp=stamp, frame_id=frame_id)

    def lane_array(
        self, lanes: Lanes, slots: Sequence[str], header: Any, ground_frame: str = ""
    ) -> Any:
        """All slots of `lanes` as a lane_sad_ros/LaneArray.

        slots: their names in the layout's order. ground_frame: of the lanes' points on the road;
        empty where they have none.
        """
        width, height = lanes.image_size
        return self._find("lane_sad_ros/msg/LaneArray")(
            header=header,
            image_width=width,
            image_height=height,
            ground_frame=ground_frame,
            lanes=[self._lane(lane, slots[lane.slot]) for lane in lanes.lanes],
        )

    def lane_existence(self, lanes: Lanes, header: Any) -> Any:
        """Which slots of `lanes` exist, as a lane_sad_ros/LaneExistence."""
        probability = np.array([lane.probability for lane in lanes.lanes], np.float32)
        return self._find("lane_sad_ros/msg/LaneExistence")(
            header=header,
            exists=self._numbers(np.array([lane.exists for lane in lanes.lanes], np.bool_)),
            probability=self._numbers(probability),
        )

    def image(self, pixels: NDArray[np.uint8], encoding: str, header: Any) -> Any:
        """A sensor_msgs/Image of H×W or H×W×C bytes."""
        height, width = pixels.shape[:2]
        return self._find("sensor_msgs/msg/Image")(
            header=header,
            height=height,
            width=width,
            encoding=encoding,
            is_bigendian=0,
            step=pixels[:1].size,
            data=self._numbers(np.ascontiguousarray(pixels).reshape(-1)),
        )

    def jpeg(self, bgr: NDArray[np.uint8], header: Any, quality: int = 85) -> Any:
        """A sensor_msgs/CompressedImage of an H×W×3 BGR picture; `quality` 1 to 100."""
        _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
        return self._find("sensor_msgs/msg/CompressedImage")(
            header=header,
            format="bgr8; jpeg compressed bgr8",
            data=self._numbers(np.asarray(data, np.uint8).reshape(-1)),
        )

    def _lane(self, lane: Lane, name: str) -> Any:
        point = self._find("geometry_msgs/msg/Point32")
        ground = [] if lane.ground is None else lane.ground.tolist()
        u, v, score = (self._numbers(np.ascontiguousarray(column)) for column in lane.points.T)
        return self._find("lane_sad_ros/msg/Lane")(
            id=lane.slot,
            name=name,
            exists=lane.exists,
            probability=lane.probability,
            u=u,
            v=v,
            score=score,
            ground=[point(x=x, y=y, z=z) for x, y, z in ground],
        )


def lanes_from_message(message: Any) -> Lanes:
    """The lanes of a lane_sad_ros/LaneArray.

    Raises ValueError where the columns, rows, scores or ground points of a lane differ in number.
    """
    lanes = []
    for lane in message.lanes:
        name = lane.name or lane.id
        if not len(lane.u) == len(lane.v) == len(lane.score):
            raise ValueError(
                f"lane {name}: {len(lane.u)} columns, {len(lane.v)} rows and {len(lane.score)} "
                "scores do not belong together"
            )
        if len(lane.ground) not in (0, len(lane.u)):
            raise ValueError(
                f"lane {name}: {len(lane.ground)} ground points do not belong to {len(lane.u)} "
                "points"
            )
        points = np.stack([lane.u, lane.v, lane.score], axis=1, dtype=np.float32)
        ground = None
        if message.ground_frame:
            ground = np.array([(p.x, p.y, p.z) for p in lane.ground], np.float32).reshape(-1, 3)
        lanes.append(Lane(lane.id, lane.exists, lane.probability, points, ground))
    return Lanes((message.image_width, message.image_height), tuple(lanes))
