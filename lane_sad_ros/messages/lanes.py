"""Lanes, the road and pictures as ROS messages, the same for a node and for a bag without ROS.

The message classes of rclpy and those of the bag library have equal names and fields and differ in
how empty messages and arrays of numbers are made; `Messages` is told how. `ros/message_classes.py`
and `recordings/message_types.py` hold one each.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.lanes import Lane, Lanes
from lane_sad_ros.pictures import colours
from lane_sad_ros.road.camera import CameraModel
from lane_sad_ros.road.ego import EgoLane, ego_words
from lane_sad_ros.road.ground import Mounting

POINT = np.dtype([("x", "f4"), ("y", "f4"), ("z", "f4"), ("score", "f4"), ("lane", "u4")])
"""A point of the cloud of `Messages.point_cloud`, 20 bytes."""

_LINE = 0.15  # metres: as wide as the painted ones
_MIDDLE = 0.08  # metres, of the line in the middle of the ego lane
_AHEAD = 40.0  # metres that it reaches forward
_TEXT = 0.6  # metres, the height of letters
_TEXT_ASIDE = 4.2  # metres from the right border to its middle: the lines stay free
_TEXT_AHEAD = 8.0  # metres, where the ego lane's figures stand
_LINE_STRIP, _TEXT_FACING, _ADD, _DELETE = 4, 9, 0, 2  # of visualization_msgs/Marker
_FLOAT32, _UINT32 = 7, 6  # of sensor_msgs/PointField


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

    def transform(self, mounting: Mounting, frame: str, camera: str, stamp_ns: int) -> Any:
        """A tf2_msgs/TFMessage: the pose of the optical frame `camera` in the vehicle's `frame`."""
        stamped = self._empty("geometry_msgs/msg/TransformStamped")
        stamped.header = self.header(stamp_ns, frame)
        stamped.child_frame_id = camera
        place, turn = stamped.transform.translation, stamped.transform.rotation
        place.x, place.y, place.z = mounting.position.tolist()
        turn.x, turn.y, turn.z, turn.w = mounting.quaternion
        return self._find("tf2_msgs/msg/TFMessage")(transforms=[stamped])

    def camera_info(
        self,
        camera: CameraModel,
        header: Any,
        p: NDArray[np.float64] | None = None,
    ) -> Any:
        """A sensor_msgs/CameraInfo of a camera.

        p: projection matrix, row by row; by default that of an image that is not rectified.
        """
        info = self._empty("sensor_msgs/msg/CameraInfo")
        info.header = header
        info.width, info.height = camera.width, camera.height
        info.distortion_model = camera.model
        info.d = self._numbers(np.array(camera.coefficients, np.float64))
        info.k = self._numbers(camera.k.ravel())
        info.r = self._numbers((np.eye(3) if camera.r is None else camera.r).ravel())
        straight = np.hstack([camera.k, np.zeros((3, 1))]).ravel()
        info.p = self._numbers(straight if p is None else p)
        return info

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
            lanes=[self._lane(lane, slots[lane.slot]) for lane in lanes],
        )

    def lane_existence(self, lanes: Lanes, header: Any) -> Any:
        """Which slots of `lanes` exist, as a lane_sad_ros/LaneExistence."""
        probability = np.array([lane.probability for lane in lanes], np.float32)
        return self._find("lane_sad_ros/msg/LaneExistence")(
            header=header,
            exists=self._numbers(np.array([lane.exists for lane in lanes], np.bool_)),
            probability=self._numbers(probability),
        )

    def ego_lane(self, ego: EgoLane, header: Any) -> Any:
        """A lane_sad_ros/EgoLane. header: with the stamp of the image and the ground frame."""
        return self._find("lane_sad_ros/msg/EgoLane")(
            header=header,
            valid=ego.valid,
            left_seen=ego.left_seen,
            right_seen=ego.right_seen,
            width=ego.width,
            lateral_offset=ego.lateral_offset,
            heading=ego.heading,
            curvature=ego.curvature,
        )

    def point_cloud(self, lanes: Lanes, header: Any) -> Any:
        """The lanes' points on the road, those that are finite, as a sensor_msgs/PointCloud2.

        Fields: x, y, z in metres, score, and the id of the lane. header: with the ground frame.
        """
        cloud = _cloud(lanes)
        field = self._find("sensor_msgs/msg/PointField")
        assert POINT.fields is not None
        return self._find("sensor_msgs/msg/PointCloud2")(
            header=header,
            height=1,
            width=len(cloud),
            fields=[
                field(
                    name=name,
                    offset=offset,
                    datatype=_UINT32 if kind.kind == "u" else _FLOAT32,
                    count=1,
                )
                for name, (kind, offset, *_) in POINT.fields.items()
            ],
            is_bigendian=sys.byteorder == "big",
            point_step=POINT.itemsize,
            row_step=POINT.itemsize * len(cloud),
            data=self._numbers(cloud.view(np.uint8)),
            is_dense=True,
        )

    def markers(
        self, lanes: Lanes, ego: EgoLane | None, header: Any, lifetime: float, namespace: str = ""
    ) -> Any:
        """The lanes on the road for RViz and Foxglove, as a visualization_msgs/MarkerArray.

        header: with the ground frame. lifetime: seconds after which a marker that was not renewed
        vanishes. namespace: of the camera.

        Each slot has one marker, a line in the overlay's colour that fades with its probability;
        its id is the slot. That of an absent lane deletes it. The same for the middle of the ego
        lane and its figures.
        """
        prefix = f"{namespace}/" if namespace else ""
        markers = []
        for lane in lanes:
            line = _line(lane)
            marker = self._marker(header, f"{prefix}lanes", lane.slot, lifetime)
            markers.append(marker)
            if len(line) < 2:
                marker.action = _DELETE
                continue
            colour = colours.slot_colour(lane.slot, len(lanes))
            self._make_line(marker, line, _LINE, colour, colours.opacity(lane.probability))
        middle = self._marker(header, f"{prefix}ego_lane", 0, lifetime)
        text = self._marker(header, f"{prefix}ego_lane", 1, lifetime)
        if ego is not None and ego.valid:
            x = np.arange(0, _AHEAD + 1, 2.0)
            along = np.stack([x, ego.middle(x), np.zeros_like(x)], axis=1)
            self._make_line(middle, along, _MIDDLE, colours.EGO_COLOUR, 0.9)
            text.type = _TEXT_FACING
            text.text = "\n".join(ego_words(ego)[:2])
            text.scale.z = _TEXT
            place = text.pose.position
            beside = ego.middle(np.array(_TEXT_AHEAD)).item() - ego.width / 2 - _TEXT_ASIDE
            place.x, place.y, place.z = _TEXT_AHEAD, beside, _TEXT
            self._colour(text, (255, 255, 255), 1.0)
        else:
            middle.action = text.action = _DELETE
        return self._find("visualization_msgs/msg/MarkerArray")(markers=[*markers, middle, text])

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

    def _marker(self, header: Any, namespace: str, number: int, lifetime: float) -> Any:
        """A marker with what all have, that adds nothing yet."""
        marker = self._empty("visualization_msgs/msg/Marker")
        marker.header = header
        marker.ns = namespace
        marker.id = number
        marker.action = _ADD
        marker.pose.orientation.w = 1.0
        marker.lifetime.sec = int(lifetime)
        marker.lifetime.nanosec = int(1e9 * (lifetime % 1.0))
        return marker

    def _make_line(
        self,
        marker: Any,
        line: NDArray[Any],
        width: float,
        colour: colours.Colour,
        alpha: float,
    ) -> None:
        point = self._find("geometry_msgs/msg/Point")
        marker.type = _LINE_STRIP
        marker.scale.x = width
        marker.points = [point(x=x, y=y, z=z) for x, y, z in line.tolist()]
        self._colour(marker, colour, alpha)

    def _colour(self, marker: Any, bgr: colours.Colour, alpha: float) -> None:
        marker.color.b, marker.color.g, marker.color.r = (part / 255 for part in bgr)
        marker.color.a = alpha

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


def _line(lane: Lane) -> NDArray[np.float32]:
    """The points of a lane that lie on the road, N×3; none of an absent lane."""
    if not lane.exists or lane.ground is None:
        return np.zeros((0, 3), np.float32)
    return lane.ground[np.isfinite(lane.ground).all(axis=1)]


def _cloud(lanes: Lanes) -> NDArray[Any]:
    """All lanes' points on the road, N of `POINT`."""
    parts = [np.zeros(0, POINT)]
    for lane in lanes.present:
        if lane.ground is None:
            continue
        on_road = np.isfinite(lane.ground).all(axis=1)
        part = np.zeros(int(on_road.sum()), POINT)
        part["x"], part["y"], part["z"] = lane.ground[on_road].T
        part["score"] = lane.points[on_road, 2]
        part["lane"] = lane.slot
        parts.append(part)
    return np.concatenate(parts)


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


def ego_from_message(message: Any) -> EgoLane:
    """The ego lane of a lane_sad_ros/EgoLane."""
    return EgoLane(
        message.valid,
        message.left_seen,
        message.right_seen,
        message.width,
        message.lateral_offset,
        message.heading,
        message.curvature,
    )
