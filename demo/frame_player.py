"""Puts frames on the image topic, each with a stamp of its own, and the camera's calibration."""

from __future__ import annotations

import time

from rclpy.node import Node
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from lane_sad_ros.names import CAMERA_FRAME
from lane_sad_ros.recordings.sources import SourceFrame
from lane_sad_ros.road.camera import CameraModel
from lane_sad_ros.ros.message_classes import MESSAGES
from lane_sad_ros.ros.playing.session import Sent
from lane_sad_ros.ros.qos import output_qos


class FramePlayer:
    """Publishes images on the topic `image`, reliably: no frame is lost on the way.

    camera: is published on `camera_info`, before each image, where it is known. in_real_time:
    whether frames are published as they were taken, and so stamped with the present time;
    otherwise the drive goes on in its own time from the first frame on, however long each takes.
    """

    def __init__(self, node: Node, camera: CameraModel | None, *, in_real_time: bool) -> None:
        self._clock = node.get_clock()
        self._last = 0
        self._in_real_time = in_real_time
        self._start: int | None = None  # the present time at the drive's beginning
        self._camera = camera
        self._publisher = node.create_publisher(Image, "image", output_qos(10))
        self._infos = (
            node.create_publisher(CameraInfo, "camera_info", output_qos(10)) if camera else None
        )

    @property
    def topic(self) -> str:
        """The full name of the topic."""
        return self._publisher.topic_name

    @property
    def problem(self) -> str:
        """Nothing: whoever subscribes to reliable images receives them."""
        return ""

    @property
    def matched(self) -> bool:
        """Whether somebody subscribes to all of it."""
        publishers = (self._publisher, self._infos)
        return all(p.get_subscription_count() for p in publishers if p is not None)

    def publish(self, frame: SourceFrame) -> Sent[SourceFrame]:
        """Publishes a frame with a stamp of its own."""
        now = self._clock.now().nanoseconds
        if self._start is None:
            self._start = now - frame.stamp_ns
        stamp = now if self._in_real_time else self._start + frame.stamp_ns
        self._last = max(stamp, self._last + 1)
        sent = Sent(frame, self._last, time.monotonic())
        self.repeat(sent)
        return sent

    def repeat(self, sent: Sent[SourceFrame]) -> None:
        """Publishes a frame once more, with the same stamp."""
        stamp = Time(nanoseconds=sent.stamp_ns).to_msg()
        header = Header(stamp=stamp, frame_id=sent.frame.frame_id or CAMERA_FRAME)
        if self._camera is not None and self._infos is not None:
            self._infos.publish(MESSAGES.camera_info(self._camera, header))
        self._publisher.publish(MESSAGES.image(sent.frame.image, "bgr8", header))
