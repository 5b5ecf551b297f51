"""Plays a bag: its messages as they were recorded, with the time of the recording on /clock."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rclpy.clock import Clock as RosClock
from rclpy.clock import ClockType
from rclpy.duration import Duration
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy
from rclpy.time import Time
from rosgraph_msgs.msg import Clock

from lane_sad_ros.names import IMAGE_TYPES, TF_TOPIC
from lane_sad_ros.recordings import bags
from lane_sad_ros.recordings.message_types import BagError
from lane_sad_ros.ros import qos
from lane_sad_ros.ros.message_classes import message_class
from lane_sad_ros.ros.playing.session import Sent

_DEPTH = 10
_LATCHED = 100  # as TF's listeners keep: a bag has a message of each publisher of static transforms
# What a running system says of itself; a recording of it would contradict that.
_OWN = ("/clock", "/rosout", "/parameter_events")


class Pace:
    """When the moments of a recording are due, and which one is now.

    rate: seconds of the recording in a second; None: every moment is due at once, and time stands
    still between two of them.
    """

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._ended = threading.Event()
        self._from: tuple[int, float] | None = None  # a moment, and when it was due
        self._until: tuple[int, float] | None = None  # the next one, while it is waited for

    def wait(self, time_ns: int) -> None:
        """Returns when this moment of the recording is due, or at once after `end`.

        Who comes late shifts what follows: nothing is caught up with.
        """
        now = due = time.monotonic()
        if self._from is not None and self._rate is not None:
            due = max(now, self._from[1] + 1e-9 * (time_ns - self._from[0]) / self._rate)
            self._until = time_ns, due
            self._ended.wait(due - now)
        self._from, self._until = (time_ns, due), None

    def end(self) -> None:
        """Lets nobody wait, now and later; may be called from any thread."""
        self._ended.set()

    @property
    def ended(self) -> bool:
        """Whether `end` was called."""
        return self._ended.is_set()

    @property
    def now_ns(self) -> int | None:
        """The moment of the recording that is now; None before the first one."""
        start, until = self._from, self._until
        if start is None or until is None or self._rate is None:
            return start[0] if start is not None else None
        # Counted back from the moment that is waited for: it must not come before this.
        left_ns = round(1e9 * (until[1] - time.monotonic()) * self._rate)
        return max(start[0], until[0] - max(0, left_ns))


def playable(path: Path, without: tuple[str, ...] = ()) -> list[bags.TopicInfo]:
    """The topics of a bag that a running system does not have itself.

    without: beginnings of the names of topics that are left out, too. Raises bags.BagError.
    """
    return [
        topic
        for topic in bags.topics(path)
        if topic.name not in _OWN and not topic.name.startswith(without)
    ]


@dataclass(frozen=True)
class BagFrame:
    """An image of a bag: its number from 0, and its message."""

    index: int
    message: bags.Recorded


class BagPlayer:
    """Publishes the messages of a bag under their topics, and the recording's time on /clock.

    node: publishes; its callbacks have to run, as the clock is one of them.
    images: the name of the topic whose messages are the frames; None: there are none.
    without: as for `playable`.
    reliability: of all images, "reliable" or "best_effort". clock_rate: of /clock, Hz.
    Raises bags.BagError where the bag cannot be read.

    notes: sentences on what is not played. broken: why the bag could not be read to its end, empty
    where it could.
    """

    def __init__(
        self,
        node: Node,
        path: Path,
        pace: Pace,
        images: str | None = None,
        *,
        without: tuple[str, ...] = (),
        reliability: str = "reliable",
        clock_rate: float = 100.0,
    ) -> None:
        self.notes: list[str] = []
        self.broken = ""
        self._node = node
        self._path = path
        self._pace = pace
        self._name = images
        self._reliability = reliability
        self._problem = ""
        self._publishers: dict[str, Any] = {}
        self._image_publishers: list[Any] = []
        for topic in playable(path, without):
            self._add(topic)
        self._clock = node.create_publisher(Clock, "/clock", qos.output_qos(_DEPTH))
        self._publishing_clock = threading.Lock()  # or an older time could overtake a newer one
        node.create_timer(
            1 / clock_rate, self._publish_clock, clock=RosClock(clock_type=ClockType.STEADY_TIME)
        )

    @property
    def topic(self) -> str:
        """The full name of the image topic that is published, remapped or not."""
        return str(self._images.topic_name)

    @property
    def matched(self) -> bool:
        """Whether somebody subscribes to the images."""
        return bool(self._images.get_subscription_count())

    def wait_for_listeners(self, timeout: float) -> None:
        """Returns when somebody subscribes to images, after `timeout` seconds, or at the end."""
        publishers = self._image_publishers
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and not self._pace.ended:
            if any(publisher.get_subscription_count() for publisher in publishers):
                return
            time.sleep(0.02)

    def wait_until_received(self, timeout: float) -> None:
        """Returns when reliable subscribers have all messages, or after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        for publisher in self._publishers.values():
            left = max(0.0, deadline - time.monotonic())
            publisher.wait_for_all_acked(Duration(seconds=left))

    @property
    def problem(self) -> str:
        """Why a subscriber cannot receive the images, in words; empty if nothing is known."""
        return self._problem

    def frames(self) -> Iterator[BagFrame]:
        """The frames when they are due, to be published; everything else is published on the way.

        What was recorded at the same moment as a frame is published before it.
        """
        messages = bags.recorded(self._path, self._publishers)
        index = 0
        try:
            for time_ns, group in itertools.groupby(messages, key=lambda message: message.time_ns):
                together = list(group)
                self._pace.wait(time_ns)
                if self._pace.ended:
                    return
                self._publish_clock()
                for message in together:
                    if message.topic != self._name:
                        self._publishers[message.topic].publish(message.data)
                for message in together:
                    if message.topic == self._name:
                        yield BagFrame(index, message)
                        index += 1
        except BagError as error:
            self.broken = str(error)

    def publish(self, frame: BagFrame) -> Sent[BagFrame]:
        """Publishes a frame with its own stamp, or that of its recording where it has none."""
        sent = Sent(frame, frame.message.stamp_ns, time.monotonic())
        self.repeat(sent)
        return sent

    def repeat(self, sent: Sent[BagFrame]) -> None:
        """Publishes a frame once more."""
        self._images.publish(sent.frame.message.stamped().data)

    @property
    def _images(self) -> Any:
        return self._publishers[self._name or ""]

    def _add(self, topic: bags.TopicInfo) -> None:
        def mismatch(event: Any) -> None:
            words = qos.output_mismatch(publisher.topic_name, event, self._reliability)
            if topic.name == self._name:
                self._problem = words
            self._node.get_logger().warning(words)

        if topic.type in IMAGE_TYPES:
            profile = qos.image_qos(self._reliability, _DEPTH)
        else:
            profile = qos.output_qos(_DEPTH)
        # A rosbag1 and a converted bag may not tell.
        if topic.latched or topic.name.endswith(TF_TOPIC):
            profile.durability = QoSDurabilityPolicy.TRANSIENT_LOCAL
            profile.depth = _LATCHED
        try:
            kind = message_class(topic.type)
        except (ImportError, AttributeError):
            package = topic.type.partition("/")[0]
            self.notes.append(
                f"{topic.name} was not played: {package}, which has its type {topic.type}, is not "
                "installed."
            )
            return
        publisher = self._node.create_publisher(
            kind,
            topic.name,
            profile,
            event_callbacks=PublisherEventCallbacks(incompatible_qos=mismatch),
        )
        self._publishers[topic.name] = publisher
        if topic.type in IMAGE_TYPES:
            self._image_publishers.append(publisher)

    def _publish_clock(self) -> None:
        with self._publishing_clock:
            now_ns = self._pace.now_ns
            if now_ns is not None:
                self._clock.publish(Clock(clock=Time(nanoseconds=now_ns).to_msg()))
