"""Puts frames on the image topic, each with a stamp of its own."""

from __future__ import annotations

import time

from rclpy.node import Node
from rclpy.time import Time
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from lane_sad_ros.ros.messages import image_message
from lane_sad_ros.ros.qos import output_qos
from lane_sad_ros.ros.session import Sent
from lane_sad_ros.sources import SourceFrame


class Player:
    """Publishes images on the topic `image`, reliably: no frame is lost on the way."""

    def __init__(self, node: Node) -> None:
        self._clock = node.get_clock()
        self._last = 0
        self._publisher = node.create_publisher(Image, "image", output_qos(10))

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
        """Whether somebody subscribes."""
        return bool(self._publisher.get_subscription_count())

    def publish(self, frame: SourceFrame) -> Sent[SourceFrame]:
        """Publishes a frame, stamped with the present time."""
        self._last = max(self._clock.now().nanoseconds, self._last + 1)
        sent = Sent(frame, self._last, time.monotonic())
        self.repeat(sent)
        return sent

    def repeat(self, sent: Sent[SourceFrame]) -> None:
        """Publishes a frame once more, with the same stamp."""
        stamp = Time(nanoseconds=sent.stamp_ns).to_msg()
        header = Header(stamp=stamp, frame_id=sent.frame.frame_id or "camera")
        self._publisher.publish(image_message(sent.frame.image, "bgr8", header))
