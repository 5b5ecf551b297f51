"""One camera of the node: its subscription, its outputs and what they cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from lane_sad_ros import drawing
from lane_sad_ros.detection import Detection, Frame, segmentation_to_image
from lane_sad_ros.images import bgr_from_frame
from lane_sad_ros.lanes import LaneLayout
from lane_sad_ros.msg import LaneArray, LaneExistence
from lane_sad_ros.ros import messages, qos
from lane_sad_ros.ros.diagnostics import CameraMonitor
from lane_sad_ros.ros.parameters import Settings

Warn = Callable[[str, str], None]
"""Tells the user something: (subject for throttling, words)."""


class Camera:
    """The topics of one camera: outputs from the start, the input while it is open."""

    def __init__(self, node: LifecycleNode, name: str, settings: Settings, warn: Warn) -> None:
        self.name = name
        self.monitor = CameraMonitor(time.monotonic())
        self.subscription: Any = None
        self._node = node
        self._settings = settings
        self._warn = warn
        self.topic = _input_topic(node, name, settings.image_transport)
        prefix = f"~/{name}/" if name else "~/"
        self._lanes = self._publisher(LaneArray, f"{prefix}lanes")
        self._existence = self._publisher(LaneExistence, f"{prefix}existence")
        self._overlay = self._publisher(Image, f"{prefix}overlay")
        self._overlay_jpeg = self._publisher(CompressedImage, f"{prefix}overlay/compressed")
        self._segmentation = self._publisher(Image, f"{prefix}segmentation")

    @property
    def outputs(self) -> tuple[Any, ...]:
        """All publishers."""
        return (
            self._lanes,
            self._existence,
            self._overlay,
            self._overlay_jpeg,
            self._segmentation,
        )

    @property
    def heard(self) -> bool:
        """Whether anybody subscribes to any output."""
        return any(_heard(publisher) for publisher in self.outputs)

    @property
    def segmentation_heard(self) -> bool:
        """Whether anybody subscribes to the segmentation."""
        return _heard(self._segmentation)

    def open(self, receive: Callable[[str, Any], None]) -> None:
        """Subscribes; `receive` is called with the camera's name and each message."""
        settings = self._settings
        self.monitor = CameraMonitor(time.monotonic())

        def received(message: Any) -> None:
            self.monitor.received(time.monotonic())
            receive(self.name, message)

        def mismatch(event: Any) -> None:
            words = qos.input_mismatch(self.topic, event)
            self.monitor.qos_problem(words)
            self._warn("qos", words)

        def lost(event: Any) -> None:
            self.monitor.lost(time.monotonic(), event.total_count_change)

        self.subscription = self._node.create_subscription(
            CompressedImage if settings.image_transport == "compressed" else Image,
            self.topic,
            received,
            qos.image_qos(settings.image_reliability, settings.image_depth),
            event_callbacks=SubscriptionEventCallbacks(
                incompatible_qos=mismatch, message_lost=lost
            ),
        )

    def close(self) -> Any:
        """Forgets the subscription and returns it, for the caller to destroy."""
        subscription, self.subscription = self.subscription, None
        return subscription

    @property
    def publishers(self) -> int:
        """How many publishers the input topic has."""
        return 0 if self.subscription is None else self.subscription.get_publisher_count()

    def publish_lanes(self, detection: Detection, layout: LaneLayout, header: Header) -> None:
        """Lanes and existence, where somebody listens."""
        if _heard(self._lanes):
            self._lanes.publish(messages.lane_array(detection.lanes, layout.slots, header))
        if _heard(self._existence):
            self._existence.publish(messages.lane_existence(detection.lanes, header))

    def publish_pictures(
        self, frame: Frame, detection: Detection, layout: LaneLayout, quality: int, header: Header
    ) -> None:
        """Overlay and segmentation, where somebody listens."""
        overlay, jpeg = _heard(self._overlay), _heard(self._overlay_jpeg)
        if overlay or jpeg:
            picture = drawing.draw_lanes(bgr_from_frame(frame), detection.lanes, copy=False)
            if overlay:
                self._overlay.publish(messages.image_message(picture, "bgr8", header))
            if jpeg:
                self._overlay_jpeg.publish(messages.jpeg_message(picture, header, quality))
        if detection.segmentation is not None and _heard(self._segmentation):
            ids = segmentation_to_image(detection.segmentation, layout, detection.lanes.image_size)
            self._segmentation.publish(messages.image_message(ids, "mono8", header))

    def _publisher(self, message_type: Any, topic: str) -> Any:
        def mismatch(event: Any) -> None:
            self._warn("qos", qos.output_mismatch(publisher.topic_name, event))

        publisher = self._node.create_publisher(
            message_type,
            topic,
            qos.output_qos(self._settings.output_depth),
            event_callbacks=PublisherEventCallbacks(incompatible_qos=mismatch),
        )
        return publisher


def _heard(publisher: Any) -> bool:
    return bool(publisher.get_subscription_count())


def _input_topic(node: LifecycleNode, name: str, transport: str) -> str:
    """The full name of the input topic.

    The compressed topic follows where the raw one is remapped to, as with image_transport, unless
    it is remapped itself.
    """
    base = f"{name}/image" if name else "image"
    if transport == "raw":
        return str(node.resolve_topic_name(base))
    compressed = f"{base}/compressed"
    resolved = str(node.resolve_topic_name(compressed))
    if resolved != node.resolve_topic_name(compressed, only_expand=True):
        return resolved
    return f"{node.resolve_topic_name(base)}/compressed"
