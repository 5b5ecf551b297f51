"""One camera of the node: its images in, its lanes out, and what is told of both."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from lane_sad_ros.detection import Detection, Frame
from lane_sad_ros.image_files import BadImage
from lane_sad_ros.lanes import LaneLayout
from lane_sad_ros.messages.images import frame_from_message
from lane_sad_ros.names import is_rectified
from lane_sad_ros.road.model import Road, RoadModel
from lane_sad_ros.ros import qos
from lane_sad_ros.ros.detector import topics
from lane_sad_ros.ros.detector.camera_ground import CameraGround, NoGround
from lane_sad_ros.ros.detector.diagnostics import ERROR, CameraMonitor, Report
from lane_sad_ros.ros.detector.newest import Received
from lane_sad_ros.ros.detector.outputs import Outputs, Warn
from lane_sad_ros.ros.detector.parameters import DetectorParameters
from lane_sad_ros.ros.detector.transforms import Transforms


@dataclass
class Task:
    """One frame on its way. stages: seconds spent so far, by name."""

    camera: CameraStream
    received: Received
    frame: Frame
    stages: dict[str, float]

    @property
    def header(self) -> Header:
        return self.received.message.header

    @property
    def stamp_ns(self) -> int:
        """Of the image; of its arrival where it has none."""
        stamp = self.header.stamp
        return stamp.sec * 10**9 + stamp.nanosec or int(1e9 * self.received.time)


class CameraStream:
    """The topics of one camera: outputs from the start, the inputs while it is open."""

    def __init__(
        self,
        node: LifecycleNode,
        name: str,
        settings: DetectorParameters,
        transforms: Transforms,
        warn: Warn,
    ) -> None:
        self.name = name
        self._images = topics.image_topic(node, name, settings.image_transport)
        self.topic = self._images.name
        self.outputs = Outputs(node, name, settings, warn)
        self._node = node
        self._settings = settings
        self._warn = warn
        self._monitor = CameraMonitor(time.monotonic())
        self._road = RoadModel(settings.tracking)
        info, rectified = topics.info_topic(node, name, self.topic), is_rectified(self.topic)
        self._ground = CameraGround(node, info, settings, transforms, rectified=rectified)
        self._subscription: Any = None
        self._introduced = self._silent = False

    def apply(self, settings: DetectorParameters) -> None:
        """Takes over the parameters that may change at any time."""
        self._settings = settings
        self._road.tracking = settings.tracking
        self._ground.apply(settings)
        self.outputs.apply(settings)

    def open(self, receive: Callable[[str, Any], None]) -> None:
        """Subscribes; `receive` is called with the camera's name and each image."""
        settings = self._settings
        self._monitor = CameraMonitor(time.monotonic())
        self._introduced = self._silent = False
        self._road.reset()
        self._ground.open()

        def received(message: Any) -> None:
            self._monitor.received(time.monotonic())
            receive(self.name, message)

        def mismatch(event: Any) -> None:
            words = qos.input_mismatch(self.topic, event)
            self._monitor.qos_problem(words)
            self._warn(f"qos {self.topic}", words)

        def lost(event: Any) -> None:
            self._monitor.lost(time.monotonic(), event.total_count_change)

        self._subscription = self._node.create_subscription(
            CompressedImage if settings.image_transport == "compressed" else Image,
            self._images.asked,
            received,
            qos.image_qos(settings.image_reliability, settings.image_depth),
            event_callbacks=SubscriptionEventCallbacks(
                incompatible_qos=mismatch, message_lost=lost
            ),
        )

    def close(self) -> list[Any]:
        """Forgets the subscriptions and returns them, for the caller to destroy."""
        subscription, self._subscription = self._subscription, None
        own = [] if subscription is None else [subscription]
        return own + self._ground.close()

    def look(self, now: float) -> None:
        """To be called often: tells, once, when no image comes."""
        self._ground.look()
        why = self._why_silent(now)
        if why and not self._silent:
            self._node.get_logger().warning(
                f"no image for {self._monitor.silence(now):.1f} s: {why}"
            )
        self._silent = bool(why)

    def report(self, now: float, hint: str, stalled: str) -> Report:
        """The camera's status. hint: what helps against frames lost on the way. stalled: in what
        the detector hangs.
        """
        subscription = self._subscription
        publishers = 0 if subscription is None else subscription.get_publisher_count()
        if publishers == self._node.count_publishers(self.topic):
            self._monitor.qos_problem("")  # all that are there are heard
        report = self._monitor.report(now, self._why_silent(now), hint)
        if stalled:
            report.add(ERROR, f"frames are not answered: the detector is {stalled}")
        return report.with_values(
            {
                "topic": self.topic,
                "publishers": str(publishers),
                "subscribers of lanes": str(self.outputs.listeners),
            }
        )

    def dropped(self) -> None:
        """A newer frame replaced one that nobody had looked at."""
        self._monitor.dropped(time.monotonic())

    def take(self, received: Received) -> Task | None:
        """The frame of a message, unless nobody wants it or it is bad, which is told."""
        began = time.monotonic()
        heard = self.outputs.heard
        if not heard:
            self._monitor.unheard(began)
            if self._introduced:
                return None
        try:
            frame = _frame(received.message, self._settings.max_pixels)
        except BadImage as error:
            self.refuse(error.reason, str(error))
            return None
        stages = {"wait": began - received.time, "convert": time.monotonic() - began}
        task = Task(self, received, frame, stages)
        self._introduce(task)
        return task if heard else None

    def publish(self, task: Task, detection: Detection, layout: LaneLayout, batch: int) -> Road:
        """Publishes all but pictures. batch: how many frames were detected together."""
        began = time.monotonic()
        road = self._understand(task, detection)
        understood = time.monotonic()
        on_ground = self._road.projector is not None
        self.outputs.publish_lanes(road, layout, task.header, on_ground=on_ground)
        ended = time.monotonic()
        task.stages.update(detection.stages)
        task.stages["road"] = understood - began
        task.stages["publish"] = ended - understood
        task.stages["total"] = ended - task.received.time
        if any((task.header.stamp.sec, task.header.stamp.nanosec)):
            age = self._node.get_clock().now().nanoseconds - task.stamp_ns
            task.stages["stamp to output"] = age * 1e-9
        self._monitor.took(ended, task.stages)
        self._monitor.processed(ended, len(road.lanes.present), batch)
        return road

    def draw(self, task: Task, detection: Detection, layout: LaneLayout, road: Road) -> None:
        """Publishes the pictures."""
        began = time.monotonic()
        self.outputs.publish_pictures(
            task.frame,
            road,
            detection.segmentation,
            layout,
            task.header,
            self._monitor.rate(began),
        )
        ended = time.monotonic()
        self._monitor.took(ended, {"pictures": ended - began})

    def refuse(self, reason: str, words: str) -> None:
        """Tells that a frame cannot be used."""
        self._monitor.bad(time.monotonic(), reason, words)
        self._warn(f"{self.name} {reason}", f"bad frame on {self.topic} ({reason}): {words}")

    @contextmanager
    def failing_alone(self) -> Iterator[None]:
        """Tells what goes wrong with a frame inside; other frames deserve their chance."""
        try:
            yield
        except Exception as error:
            words = f"{type(error).__name__}: {error}"
            self._monitor.failed(time.monotonic(), words)
            self._warn(f"{self.name} failed", f"a frame of {self.topic} failed: {words}")

    def _introduce(self, task: Task) -> None:
        """Tells of the first image, and whether its lanes will lie on the road."""
        if self._introduced:
            return
        self._introduced = True
        height, width = task.frame.pixels.shape[:2]
        message = task.received.message
        kind = getattr(message, "encoding", None) or f"compressed, {message.format}"
        try:
            self._ground.projector(task.header, (width, height))
            road = f"lanes on the road by {self._ground.source}"
        except NoGround as error:
            road = str(error)
        self._node.get_logger().info(
            f"first image on {self.topic}: {width}x{height} ({kind}), frame "
            f"{task.header.frame_id or 'without a name'}; {road}"
        )

    def _why_silent(self, now: float) -> str:
        """Why no image has come for too long, empty where one has."""
        if self._monitor.silence(now) <= self._settings.stale_after:
            return ""
        return topics.why_silent(self._node, self._images, self._settings.image_transport)

    def _understand(self, task: Task, detection: Detection) -> Road:
        """The road that the lanes of a frame tell of: on the ground where it is calibrated."""
        lanes = detection.lanes
        self._road.projector = None
        if self.outputs.ground_heard:
            try:
                self._road.projector = self._ground.projector(task.header, lanes.image_size)
                self._monitor.on_ground(self._ground.source)
            except NoGround as error:
                self._monitor.no_ground(time.monotonic(), error.reason, str(error), error.wanted)
                if error.wanted:
                    self._warn(f"{self.name} ground", f"no lanes on the road: {error}")
        else:
            self._monitor.ground_unheard()
        return self._road.update(lanes, task.stamp_ns, ego=self.outputs.ego_heard)


def _frame(message: Any, max_pixels: int) -> Frame:
    """The pixels of a message with a stamp that can be. Raises BadImage."""
    if message.header.stamp.sec < 0:
        raise BadImage(
            "bad_stamp",
            f"the stamp {message.header.stamp.sec} s is negative; it must be the time of exposure",
        )
    return frame_from_message(message, max_pixels)
