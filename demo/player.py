"""Puts frames on the image topic, each with a stamp of its own."""

from __future__ import annotations

import time
from dataclasses import dataclass

from rclpy.node import Node
from rclpy.time import Time
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from lane_sad_ros.ros.messages import image_message
from lane_sad_ros.ros.qos import output_qos
from lane_sad_ros.sources import SourceFrame


@dataclass(frozen=True)
class Sent:
    """A frame that was published: with which stamp, and when on the monotonic clock in seconds."""

    frame: SourceFrame
    stamp_ns: int
    time: float


class Player:
    """Publishes images on the topic `image`, reliably: no frame is lost on the way."""

    def __init__(self, node: Node) -> None:
        self._clock = node.get_clock()
        self._last = 0
        self._publisher = node.create_publisher(Image, "image", output_qos(10))

    @property
    def matched(self) -> bool:
        """Whether somebody subscribes."""
        return bool(self._publisher.get_subscription_count())

    def publish(self, frame: SourceFrame) -> Sent:
        """Publishes a frame, stamped with the present time."""
        self._last = max(self._clock.now().nanoseconds, self._last + 1)
        sent = Sent(frame, self._last, time.monotonic())
        self.repeat(sent)
        return sent

    def repeat(self, sent: Sent) -> None:
        """Publishes a frame once more, with the same stamp."""
        stamp = Time(nanoseconds=sent.stamp_ns).to_msg()
        header = Header(stamp=stamp, frame_id=sent.frame.frame_id or "camera")
        self._publisher.publish(image_message(sent.frame.image, "bgr8", header))
