"""What the node publishes for one camera."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CompressedImage, Image, PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from lane_sad_ros.detection import Frame, segmentation_to_image
from lane_sad_ros.lanes import LaneLayout
from lane_sad_ros.messages.images import bgr_from_frame
from lane_sad_ros.msg import EgoLane, LaneArray, LaneExistence
from lane_sad_ros.pictures.overlay import draw_lanes
from lane_sad_ros.road.model import Road
from lane_sad_ros.ros import qos
from lane_sad_ros.ros.detector.parameters import DetectorParameters
from lane_sad_ros.ros.message_classes import MESSAGES

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


class Outputs:
    """The publishers of one camera. A message is made only where somebody subscribes to it.

    name: of the camera; its topics lie below it.
    """

    def __init__(
        self, node: LifecycleNode, name: str, settings: DetectorParameters, warn: Warn
    ) -> None:
        self._name = name
        self._settings = settings
        prefix = f"~/{name}/" if name else "~/"
        self._publishers = {
            output: _publisher(node, kind, prefix + output, settings.output_depth, warn)
            for output, kind in _OUTPUTS.items()
        }

    @property
    def all(self) -> tuple[Any, ...]:
        """The publishers."""
        return tuple(self._publishers.values())

    @property
    def listeners(self) -> int:
        """How many subscribers the lanes have."""
        return int(self._publishers["lanes"].get_subscription_count())

    @property
    def heard(self) -> bool:
        """Whether anybody subscribes to any output."""
        return any(map(self._heard, self._publishers))

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

    def publish_lanes(
        self, road: Road, layout: LaneLayout, header: Header, *, on_ground: bool
    ) -> None:
        """Lanes, existence and what lies on the road. on_ground: whether the lanes do."""
        settings = self._settings
        on_road = Header(stamp=header.stamp, frame_id=settings.base_frame)
        if self._heard("lanes"):
            frame = settings.base_frame if on_ground else ""
            self._publish("lanes", MESSAGES.lane_array(road.lanes, layout.slots, header, frame))
        if self._heard("existence"):
            self._publish("existence", MESSAGES.lane_existence(road.lanes, header))
        # Not known for a listener who came while the frame was on its way.
        if road.ego is not None and self._heard("ego_lane"):
            self._publish("ego_lane", MESSAGES.ego_lane(road.ego, on_road))
        if self._heard("markers"):
            lifetime = settings.marker_lifetime
            markers = MESSAGES.markers(road.lanes, road.ego, on_road, lifetime, self._name)
            self._publish("markers", markers)
        if self._heard("points"):
            self._publish("points", MESSAGES.point_cloud(road.lanes, on_road))

    def publish_pictures(
        self,
        frame: Frame,
        road: Road,
        segmentation: NDArray[np.uint8] | None,
        layout: LaneLayout,
        header: Header,
        rate: float | None,
    ) -> None:
        """Overlay and segmentation. rate: frames per second, for the overlay, where it is known."""
        overlay, jpeg = self._heard("overlay"), self._heard("overlay/compressed")
        if overlay or jpeg:
            bgr = bgr_from_frame(frame)
            picture = draw_lanes(bgr, road.lanes, ego=road.ego, rate=rate, copy=False)
            if overlay:
                self._publish("overlay", MESSAGES.image(picture, "bgr8", header))
            if jpeg:
                quality = self._settings.overlay_quality
                self._publish("overlay/compressed", MESSAGES.jpeg(picture, header, quality))
        if segmentation is not None and self._heard("segmentation"):
            ids = segmentation_to_image(segmentation, layout, road.lanes.image_size)
            self._publish("segmentation", MESSAGES.image(ids, "mono8", header))

    def _heard(self, output: str) -> bool:
        return bool(self._publishers[output].get_subscription_count())

    def _publish(self, output: str, message: Any) -> None:
        self._publishers[output].publish(message)


def _publisher(node: LifecycleNode, kind: Any, topic: str, depth: int, warn: Warn) -> Any:
    def mismatch(event: Any) -> None:
        name = publisher.topic_name
        warn(f"qos {name}", qos.output_mismatch(name, event))

    publisher = node.create_publisher(
        kind,
        topic,
        qos.output_qos(depth),
        event_callbacks=PublisherEventCallbacks(incompatible_qos=mismatch),
    )
    return publisher
