"""Gathers what the node publishes: lanes and existence flags by stamp, and diagnostics."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from std_msgs.msg import Header

from lane_sad_ros import msg
from lane_sad_ros.lanes import Lanes
from lane_sad_ros.ros.messages import lanes_from_message


@dataclass
class Answer:
    """What the node said of one frame.

    slots: names of the lane slots. received: monotonic seconds at which the lanes were there.
    exists: the flags of the existence topic, None until they arrive.
    """

    lanes: Lanes
    slots: tuple[str, ...]
    received: float
    exists: tuple[bool, ...] | None = None


class Collector:
    """Subscribes to the outputs of `/lane_detector`; callbacks may run in any one thread."""

    def __init__(self, node: Node) -> None:
        self._changed = threading.Condition()
        self._answers: dict[int, Answer] = {}
        self._exists: dict[int, tuple[bool, ...]] = {}
        self._statuses: dict[str, DiagnosticStatus] = {}
        self._subscriptions = [
            node.create_subscription(msg.LaneArray, "/lane_detector/lanes", self._on_lanes, 100),
            node.create_subscription(
                msg.LaneExistence, "/lane_detector/existence", self._on_existence, 100
            ),
            node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 100),
        ]

    @property
    def matched(self) -> bool:
        """Whether a node publishes all of it."""
        return all(subscription.get_publisher_count() for subscription in self._subscriptions)

    @property
    def heard(self) -> bool:
        """Whether diagnostics of a lane_detector have arrived."""
        return bool(self._statuses)

    def wait_for(self, done: Callable[[], bool], timeout: float) -> bool:
        """Waits until something that has arrived makes `done` true; false after `timeout` s."""
        with self._changed:
            return self._changed.wait_for(done, timeout)

    def answer(self, stamp_ns: int) -> Answer | None:
        """The complete answer to the frame with this stamp, if it is there."""
        found = self._answers.get(stamp_ns)
        return found if found is not None and found.exists is not None else None

    def status(self, part: str) -> DiagnosticStatus | None:
        """The latest diagnostics of "detector" or "camera"."""
        return self._statuses.get(f"lane_detector: {part}")

    def forget_statuses(self) -> None:
        """So that `status` gives what comes from now on."""
        with self._changed:
            self._statuses.clear()

    def _on_lanes(self, message: msg.LaneArray) -> None:
        stamp_ns = _nanoseconds(message.header)
        names = tuple(lane.name for lane in message.lanes)
        answer = Answer(lanes_from_message(message), names, time.monotonic())
        with self._changed:
            answer.exists = self._exists.pop(stamp_ns, None)
            self._answers[stamp_ns] = answer
            self._changed.notify_all()

    def _on_existence(self, message: msg.LaneExistence) -> None:
        stamp_ns, exists = _nanoseconds(message.header), tuple(message.exists)
        with self._changed:
            if stamp_ns in self._answers:
                self._answers[stamp_ns].exists = exists
            else:
                self._exists[stamp_ns] = exists
            self._changed.notify_all()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        ours = {
            status.name: status
            for status in message.status
            if status.name.startswith("lane_detector: ")
        }
        with self._changed:
            self._statuses.update(ours)
            self._changed.notify_all()


def _nanoseconds(header: Header) -> int:
    return int(header.stamp.sec) * 10**9 + int(header.stamp.nanosec)
