"""Gathers what a `lane_detector` publishes: lanes and existence flags by stamp, and diagnostics."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from std_msgs.msg import Header

from lane_sad_ros import msg
from lane_sad_ros.lanes import Lanes
from lane_sad_ros.messages.lanes import ego_from_message, lanes_from_message
from lane_sad_ros.names import DETECTOR
from lane_sad_ros.road.ego import EgoLane
from lane_sad_ros.ros import qos

_DEPTH = 100  # answers that may wait for this process


@dataclass
class Answer:
    """What the node said of one frame.

    slots: names of the lane slots. received: monotonic seconds at which the lanes were there.
    exists: the flags of the existence topic, ego: the ego lane; None until they arrive.
    """

    lanes: Lanes
    slots: tuple[str, ...]
    received: float
    exists: tuple[bool, ...] | None = None
    ego: EgoLane | None = None


class Collector:
    """Subscribes to the outputs of one camera of a detector; callbacks may run in any one thread.

    detector: full name of its node. camera: as in the node's parameter `cameras`. existence, ego:
    whether an answer is complete only with its existence flags and with its ego lane.
    """

    def __init__(
        self,
        node: Node,
        detector: str = DETECTOR,
        camera: str = "",
        *,
        existence: bool = True,
        ego: bool = False,
    ) -> None:
        prefix = f"{detector}/{camera}" if camera else detector
        self.topic = f"{prefix}/lanes"
        self.detector = detector
        self._camera = f"camera {camera}".rstrip()
        self._parts = [name for name, wanted in (("exists", existence), ("ego", ego)) if wanted]
        self._changed = threading.Condition()
        self._answers: dict[int, Answer] = {}
        # What has arrived before its lanes, by the stamp and its name in Answer.
        self._early: dict[int, dict[str, Any]] = {}
        self._statuses: dict[str, DiagnosticStatus] = {}
        self._problem = ""
        self._node = node
        self._subscriptions = [
            self._subscribe(msg.LaneArray, self.topic, self._on_lanes),
            self._subscribe(DiagnosticArray, "/diagnostics", self._on_diagnostics),
        ]
        if existence:
            self._subscriptions.append(
                self._subscribe(msg.LaneExistence, f"{prefix}/existence", self._on_existence)
            )
        if ego:
            self._subscriptions.append(
                self._subscribe(msg.EgoLane, f"{prefix}/ego_lane", self._on_ego_lane)
            )

    @property
    def matched(self) -> bool:
        """Whether a node publishes all of it."""
        return all(subscription.get_publisher_count() for subscription in self._subscriptions)

    @property
    def heard(self) -> bool:
        """Whether diagnostics of the detector have arrived."""
        return bool(self._statuses)

    @property
    def problem(self) -> str:
        """Why nothing can arrive, in words; empty where nothing of the kind is known."""
        return self._problem

    def wait_for(self, done: Callable[[], bool], timeout: float) -> bool:
        """Waits until something that has arrived makes `done` true; false after `timeout` s."""
        with self._changed:
            return self._changed.wait_for(done, timeout)

    def answer(self, stamp_ns: int) -> Answer | None:
        """The complete answer to the frame with this stamp, if it is there."""
        found = self._answers.get(stamp_ns)
        if found is None or any(getattr(found, part) is None for part in self._parts):
            return None
        return found

    @property
    def count(self) -> int:
        """How many frames have been answered, by their stamps."""
        return len(self._answers)

    def forget(self, stamp_ns: int) -> None:
        """So that `answer` gives what is answered to a frame with this stamp from now on."""
        with self._changed:
            self._answers.pop(stamp_ns, None)
            self._early.pop(stamp_ns, None)

    def detector_status(self) -> DiagnosticStatus | None:
        """The latest diagnostics of the detector."""
        return self._statuses.get("detector")

    def camera_status(self) -> DiagnosticStatus | None:
        """The latest diagnostics of the camera."""
        return self._statuses.get(self._camera)

    def told(self, key: str) -> int:
        """A number of the camera's latest diagnostics, such as "frames bad"; 0 without any."""
        status = self.camera_status()
        values = status.values if status is not None else ()
        return next((int(value.value) for value in values if value.key == key), 0)

    def forget_statuses(self) -> None:
        """So that the statuses are what comes from now on."""
        with self._changed:
            self._statuses.clear()

    def _subscribe(self, kind: Any, topic: str, receive: Callable[[Any], None]) -> Any:
        def mismatch(event: Any) -> None:
            with self._changed:
                self._problem = qos.listener_mismatch(topic, event)
                self._changed.notify_all()

        return self._node.create_subscription(
            kind,
            topic,
            receive,
            _DEPTH,
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=mismatch),
        )

    def _on_lanes(self, message: msg.LaneArray) -> None:
        received = time.monotonic()
        stamp_ns = nanoseconds(message.header)
        names = tuple(lane.name for lane in message.lanes)
        answer = Answer(lanes_from_message(message), names, received)
        with self._changed:
            for part, value in self._early.pop(stamp_ns, {}).items():
                setattr(answer, part, value)
            self._answers[stamp_ns] = answer
            self._changed.notify_all()

    def _on_existence(self, message: msg.LaneExistence) -> None:
        self._add(message.header, "exists", tuple(message.exists))

    def _on_ego_lane(self, message: msg.EgoLane) -> None:
        self._add(message.header, "ego", ego_from_message(message))

    def _add(self, header: Header, part: str, value: Any) -> None:
        """A part of the answer to the frame with this header."""
        stamp_ns = nanoseconds(header)
        with self._changed:
            if stamp_ns in self._answers:
                setattr(self._answers[stamp_ns], part, value)
            else:
                self._early.setdefault(stamp_ns, {})[part] = value
            self._changed.notify_all()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        prefix = f"{self.detector.removeprefix('/')}: "
        ours = {
            status.name.removeprefix(prefix): status
            for status in message.status
            if status.name.startswith(prefix)
        }
        with self._changed:
            self._statuses.update(ours)
            self._changed.notify_all()


def nanoseconds(header: Header) -> int:
    """The stamp of a header."""
    return int(header.stamp.sec) * 10**9 + int(header.stamp.nanosec)
