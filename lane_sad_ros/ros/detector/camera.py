"""One camera of the node: its subscription, its outputs and what they cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CompressedImage, Image, PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from lane_sad_ros.detection import Frame, segmentation_to_image
from lane_sad_ros.lanes import LaneLayout
from lane_sad_ros.messages.images import bgr_from_frame
from lane_sad_ros.msg import EgoLane, LaneArray, LaneExistence
from lane_sad_ros.pictures.overlay import draw_lanes
from lane_sad_ros.road.model import Road, RoadModel
from lane_sad_ros.ros import qos
from lane_sad_ros.ros.detector.diagnostics import CameraMonitor
from lane_sad_ros.ros.detector.ground import CameraGround
from lane_sad_ros.ros.detector.parameters import DetectorParameters
from lane_sad_ros.ros.detector.transforms import Transforms
from lane_sad_ros.ros.types import MESSAGES

Warn = Callable[[str, str], None]
"""Tells the user something: (subject for throttling, words)."""


_OUTPUTS = {
    "lanes": LaneArray,
    "existence": LaneExistence,
    "ego_lane": EgoLane,
    "markers": MarkerArray,
    "points": PointCloud2,
    "overlay": Image,
    "overlay/compressed": CompressedImage,
    "segmentation": Image,
}
_WITH_EGO = ("ego_lane", "markers", "overlay", "overlay/compressed")
_WITH_GROUND = ("lanes", "points", *_WITH_EGO)


class Camera:
    """The topics of one camera: outputs from the start, the inputs while it is open.

    road: what the camera's lanes become. calibration: where its pixels lie on the road.
    """

    def __init__(
        self,
        node: LifecycleNode,
        name: str,
        settings: DetectorParameters,
        transforms: Transforms,
        warn: Warn,
    ) -> None:
        self.name = name
        self.monitor = CameraMonitor(time.monotonic())
        self.road = RoadModel(settings.tracking)
        self.subscription: Any = None
        self._node = node
        self._settings = settings
        self._warn = warn
        self.topic = _input_topic(node, name, settings.image_transport)
        self.calibration = CameraGround(node, _info_topic(node, name), settings, transforms)
        prefix = f"~/{name}/" if name else "~/"
        self._outputs = {
            output: self._publisher(kind, prefix + output) for output, kind in _OUTPUTS.items()
        }

    @property
    def outputs(self) -> tuple[Any, ...]:
        """All publishers."""
        return tuple(self._outputs.values())

    @property
    def heard(self) -> bool:
        """Whether anybody subscribes to any output."""
        return any(map(self._heard, self._outputs))

    @property
    def segmentation_heard(self) -> bool:
        """Whether anybody subscribes to the segmentation."""
        return self._heard("segmentation")

    @property
    def ego_heard(self) -> bool:
        """Whether anybody subscribes to something that tells of the ego lane."""
        return any(map(self._heard, _WITH_EGO))

    @property
    def ground_heard(self) -> bool:
        """Whether anybody subscribes to something that tells of the road."""
        return any(map(self._heard, _WITH_GROUND))

    def apply(self, settings: DetectorParameters) -> None:
        """Takes over the parameters that may change at any time."""
        self._settings = settings
        self.road.tracking = settings.tracking
        self.calibration.apply(settings)

    def open(self, receive: Callable[[str, Any], None]) -> None:
        """Subscribes; `receive` is called with the camera's name and each image."""
        settings = self._settings
        self.monitor = CameraMonitor(time.monotonic())
        self.road.reset()
        self.calibration.open()

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

    def close(self) -> list[Any]:
        """Forgets the subscriptions and returns them, for the caller to destroy."""
        closed = [self.subscription, self.calibration.close()]
        self.subscription = None
        return [subscription for subscription in closed if subscription is not None]

    @property
    def publishers(self) -> int:
        """How many publishers the input topic has."""
        return 0 if self.subscription is None else self.subscription.get_publisher_count()

    @property
    def listeners(self) -> int:
        """How many subscribers the lanes have."""
        return int(self._outputs["lanes"].get_subscription_count())

    def publish_lanes(self, road: Road, layout: LaneLayout, header: Header) -> None:
        """Lanes, existence and what lies on the road, where somebody listens."""
        settings = self._settings
        is_ground = self.road.projector is not None
        frame = settings.base_frame if is_ground else ""
        if self._heard("lanes"):
            self._publish("lanes", MESSAGES.lane_array(road.lanes, layout.slots, header, frame))
        if self._heard("existence"):
            self._publish("existence", MESSAGES.lane_existence(road.lanes, header))
        on_road = Header(stamp=header.stamp, frame_id=settings.base_frame)
        # Not known for a listener who came while the frame was on its way.
        if road.ego is not None and self._heard("ego_lane"):
            self._publish("ego_lane", MESSAGES.ego_lane(road.ego, on_road))
        if self._heard("markers"):
            self._publish(
                "markers",
                MESSAGES.markers(
                    road.lanes, road.ego, on_road, settings.marker_lifetime, self.name
                ),
            )
        if self._heard("points"):
            self._publish("points", MESSAGES.point_cloud(road.lanes, on_road))

    def publish_pictures(
        self,
        frame: Frame,
        road: Road,
        segmentation: NDArray[np.uint8] | None,
        layout: LaneLayout,
        header: Header,
    ) -> None:
        """Overlay and segmentation, where somebody listens."""
        overlay, jpeg = self._heard("overlay"), self._heard("overlay/compressed")
        if overlay or jpeg:
            picture = draw_lanes(
                bgr_from_frame(frame),
                road.lanes,
                ego=road.ego,
                rate=self.monitor.rate(time.monotonic()),
                copy=False,
            )
            if overlay:
                self._publish("overlay", MESSAGES.image(picture, "bgr8", header))
            if jpeg:
                quality = self._settings.overlay_quality
                self._publish("overlay/compressed", MESSAGES.jpeg(picture, header, quality))
        if segmentation is not None and self._heard("segmentation"):
            ids = segmentation_to_image(segmentation, layout, road.lanes.image_size)
            self._publish("segmentation", MESSAGES.image(ids, "mono8", header))

    def _heard(self, output: str) -> bool:
        return bool(self._outputs[output].get_subscription_count())

    def _publish(self, output: str, message: Any) -> None:
        self._outputs[output].publish(message)

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


def _info_topic(node: LifecycleNode, name: str) -> str:
    """The full name of the calibration's topic.

    As everywhere in ROS it lies beside that of the raw images, unless it is remapped itself.
    """
    own = f"{name}/camera_info" if name else "camera_info"
    resolved = str(node.resolve_topic_name(own))
    if resolved != node.resolve_topic_name(own, only_expand=True):
        return resolved
    image = str(node.resolve_topic_name(f"{name}/image" if name else "image"))
    return f"{image.rpartition('/')[0]}/camera_info"
