"""ROS for the tests: a domain of their own, a client, and the node as a process."""

from __future__ import annotations

import atexit
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from lane_sad_ros.recordings.message_types import MESSAGES, typestore

SPARE_SECONDS = 180.0  # the patience of every wait: far more than a busy machine needs
AGAIN_SECONDS = 5.0  # after which a frame that was not answered is sent again


def _own_domain() -> tuple[int, socket.socket]:
    """A ROS domain that no other test process uses, held by a socket as long as this one lives."""
    for domain in random.sample(range(1, 101), 100):
        holder = socket.socket()
        try:
            holder.bind(("127.0.0.1", 29900 + domain))
        except OSError:
            holder.close()
        else:
            return domain, holder
    raise RuntimeError("all 100 ROS domains of the tests are taken")


# Before the first import of rclpy, and inherited by the node's own processes.
_domain, _domain_holder = _own_domain()
atexit.register(_domain_holder.close)
os.environ["ROS_DOMAIN_ID"] = str(_domain)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["PYTHONUNBUFFERED"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"  # idle threads of several processes take each other's time

with warnings.catch_warnings():
    # rosidl imports its parser, which imports a deprecated module of the standard library.
    warnings.simplefilter("ignore", DeprecationWarning)
    import rosidl_generator_py  # noqa: F401

import numpy as np  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus  # noqa: E402
from lane_sad_ros.msg import LaneArray  # noqa: E402
from lifecycle_msgs.msg import Transition  # noqa: E402
from lifecycle_msgs.srv import ChangeState, GetState  # noqa: E402
from rcl_interfaces.msg import Log, SetParametersResult  # noqa: E402
from rcl_interfaces.srv import DescribeParameters, ListParameters, SetParameters  # noqa: E402
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rclpy.qos import QoSDurabilityPolicy, QoSProfile  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402

from lane_sad_ros.lanes import SLOTS_6, Decoding, LaneLayout, Lanes  # noqa: E402
from lane_sad_ros.recordings import writing  # noqa: E402
from lane_sad_ros.ros import message_classes as ros_types  # noqa: E402

TINY = LaneLayout(
    name="tiny",
    slots=SLOTS_6,
    image_size=(128, 64),
    crop=(0, 0, 128, 64),
    input_size=(64, 32),
    # With random weights every slot is about as probable as any other: keep all of them.
    decoding=Decoding(rows=(4, 64, 4), smoothing=3, point_threshold=0.05, existence_threshold=0.0),
)


def wait_until(condition: Callable[[], Any], what: str = "") -> Any:
    """The first true value of `condition`; fails the test if there is none for long."""
    deadline = time.monotonic() + SPARE_SECONDS
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {SPARE_SECONDS:.0f} s in vain for {what or condition}")
        time.sleep(0.005)
    return value


def _header(message: Any) -> Any:
    """That of a message, or of an array's first marker."""
    return message.header if hasattr(message, "header") else message.markers[0].header


class Spinning:
    """A node whose callbacks run in a thread as long as the `with` block."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        self._over = False
        self._thread = threading.Thread(target=self._spin, daemon=True)

    def __enter__(self) -> Spinning:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._thread.join(SPARE_SECONDS)
        assert not self._thread.is_alive(), "the executor hangs"
        self._executor.remove_node(self.node)
        self._executor.shutdown()
        self.node.destroy_node()

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            while not self._over:
                self._executor.spin_once(timeout_sec=0.05)


class Client:
    """What a user does from outside: publish, listen, call services, read logs and diagnostics."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.received: dict[str, list[Any]] = defaultdict(list)
        self.log: list[str] = []
        self._stamp = 0
        self._publishers: dict[str, Any] = {}
        # With what was said before this node discovered the one that said it.
        earlier = QoSProfile(depth=100, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        node.create_subscription(Log, "/rosout", self._on_log, earlier)
        self.listen(DiagnosticArray, "/diagnostics")

    def _on_log(self, message: Log) -> None:
        if message.name.endswith("lane_detector"):
            self.log.append(message.msg)

    def listen(self, kind: Any, topic: str, qos: Any = 10) -> Any:
        """Collects the messages of a topic in `received`."""
        return self.node.create_subscription(kind, topic, self.received[topic].append, qos)

    def lanes(self, topic: str = "/lane_detector/lanes") -> str:
        """Listens to lanes and waits until the node is there to publish them."""
        subscription = self.listen(LaneArray, topic)
        wait_until(subscription.get_publisher_count, f"a publisher of {topic}")
        return topic

    def publisher(self, kind: Any, topic: str, qos: QoSProfile | int = 10) -> Any:
        """A publisher that the node has subscribed to."""
        publisher = self.node.create_publisher(kind, topic, qos)
        wait_until(publisher.get_subscription_count, f"a subscriber of {topic}")
        return publisher

    def stamp(self, message: Image | CompressedImage) -> tuple[int, int]:
        """Gives a message a stamp of its own and a frame; returns the stamp."""
        self._stamp += 1
        message.header.stamp.sec = 1000 + self._stamp
        message.header.stamp.nanosec = 7 * self._stamp
        message.header.frame_id = "camera_optical"
        return message.header.stamp.sec, message.header.stamp.nanosec

    def answer(self, topic: str, stamp: tuple[int, int]) -> Any:
        """The message of a topic with this stamp, once it is there."""

        return wait_until(lambda: self._find(topic, stamp), f"the answer to {stamp} on {topic}")

    def ask(self, publisher: Any, message: Image | CompressedImage, topic: str) -> Any:
        """Publishes an image; the answer on `topic`.

        A node that has not found the listener on `topic` yet leaves the image out; it is sent
        again then.
        """
        stamp = self.stamp(message)
        due = 0.0

        def answered() -> Any:
            nonlocal due
            if time.monotonic() > due:
                publisher.publish(message)
                due = time.monotonic() + AGAIN_SECONDS
            return self._find(topic, stamp)

        return wait_until(answered, f"the answer to {stamp} on {topic}")

    def _find(self, topic: str, stamp: tuple[int, int]) -> Any:
        headers = ((_header(message), message) for message in list(self.received[topic]))
        return next((m for h, m in headers if (h.stamp.sec, h.stamp.nanosec) == stamp), None)

    def call(self, kind: Any, service: str, request: Any, *, again: bool = False) -> Any:
        """again: asks more than once, as the answer is lost if the service does not know us yet."""
        client = self.node.create_client(kind, service)
        assert client.wait_for_service(SPARE_SECONDS), f"there is no service {service}"
        asked = [client.call_async(request)]
        due = time.monotonic() + AGAIN_SECONDS

        def answered() -> Any:
            nonlocal due
            if again and time.monotonic() > due:
                asked.append(client.call_async(request))
                due = time.monotonic() + AGAIN_SECONDS
            return next((future for future in asked if future.done()), None)

        result = wait_until(answered, f"the answer of {service}").result()
        self.node.destroy_client(client)
        return result

    def change_state(self, transition: str) -> bool:
        """Asks for a transition by name; whether it succeeded."""
        request = ChangeState.Request(transition=Transition(label=transition))
        return bool(self.call(ChangeState, "/lane_detector/change_state", request).success)

    def state(self) -> str:
        service, request = "/lane_detector/get_state", GetState.Request()
        return str(self.call(GetState, service, request, again=True).current_state.label)

    def wait_for_state(self, state: str) -> None:
        wait_until(lambda: self.state() == state, f"state {state}")

    def set(self, name: str, value: Any) -> SetParametersResult:
        parameter = Parameter(name, value=value).to_parameter_msg()
        request = SetParameters.Request(parameters=[parameter])
        return self.call(SetParameters, "/lane_detector/set_parameters", request).results[0]

    def describe(self) -> dict[str, Any]:
        """The descriptors of all parameters of the node."""
        listed = self.call(
            ListParameters, "/lane_detector/list_parameters", ListParameters.Request()
        )
        names = list(listed.result.names)
        described = self.call(
            DescribeParameters,
            "/lane_detector/describe_parameters",
            DescribeParameters.Request(names=names),
        )
        return dict(zip(names, described.descriptors, strict=True))

    def status(self, ending: str = ": camera") -> Status | None:
        """The latest diagnostics whose name ends so."""
        for array in reversed(list(self.received["/diagnostics"])):
            for status in array.status:
                if status.name.endswith(ending):
                    return Status(status)
        return None

    def wait_for_status(
        self, condition: Callable[[Status], Any], what: str, ending: str = ": camera"
    ) -> Status:
        """The first diagnostics of which `condition` holds."""

        def find() -> Status | None:
            status = self.status(ending)
            return status if status is not None and condition(status) else None

        last = self.status(ending)
        found: Status = wait_until(find, f"diagnostics with {what}, last: {last}")
        return found

    def wait_for_log(self, words: str) -> str:
        def find() -> str | None:
            return next((line for line in list(self.log) if words in line), None)

        line: str = wait_until(find, f"{words!r} in the log")
        return line


class Status:
    """A diagnostic status, easier to ask."""

    def __init__(self, message: DiagnosticStatus) -> None:
        self.level = {
            DiagnosticStatus.OK: "OK",
            DiagnosticStatus.WARN: "WARN",
            DiagnosticStatus.ERROR: "ERROR",
        }[message.level]
        self.message = message.message
        self.values = {item.key: item.value for item in message.values}

    def count(self, name: str) -> int:
        return int(self.values.get(f"frames {name}", 0))

    def __repr__(self) -> str:
        return f"{self.level} {self.message!r} {self.values}"


class NodeUnderTest:
    """The node as its own process, as `ros2 run` starts it."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self._log = log
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "lane_sad_ros.ros.detector.node", "--ros-args", *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        return self._log.read_text()

    def wait_for_output(self, words: str) -> None:
        wait_until(
            lambda: words in self.output or self.process.poll() is not None,
            f"{words!r} in {self._log}",
        )
        assert words in self.output

    def end(self, *signals: signal.Signals) -> int:
        """Sends signals and returns the exit code."""
        for number in signals:
            self.process.send_signal(number)
        return self.process.wait(SPARE_SECONDS)


def scene(width: int = 128, height: int = 64, seed: int = 0) -> Any:
    """A BGR picture with structure; another one for each seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (8, 16, 3), np.uint8)
    rows = np.arange(height) * 8 // height
    columns = np.arange(width) * 16 // width
    return noise[rows][:, columns]


def bgr_image(pixels: Any) -> Image:
    return ros_types.MESSAGES.image(pixels, "bgr8", Image().header)


START_NS = 1_700_000_000 * 10**9
PERIOD_NS = 50_000_000
RECORDED_NS = 5_000_000  # after the stamp


def write_bag(
    path: Path,
    count: int = 3,
    stamps: Sequence[int] | None = None,
    truth: Lanes | None = None,
    encodings: Mapping[int, str] | None = None,
    truth_topics: Sequence[str] = ("/truth/lanes",),
) -> Path:
    """`scene`s at 20 Hz, the camera_info of each, and on request the same true lanes for each.

    stamps: of the images, nanoseconds, where they are not as regular as their recording.
    encodings: of some images by their numbers, instead of bgr8.
    """
    types = typestore().types
    region = types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    nothing = np.zeros(9)
    with writing.writing_bag(path) as writer:
        for index in range(count):
            time_ns = START_NS + index * PERIOD_NS
            header = MESSAGES.header(time_ns if stamps is None else stamps[index], "camera")
            pixels = scene(seed=index)
            image = types["sensor_msgs/msg/Image"](
                header,
                64,
                128,
                (encodings or {}).get(index, "bgr8"),
                0,
                3 * 128,
                pixels.reshape(-1),
            )
            info = types["sensor_msgs/msg/CameraInfo"](
                header,
                64,
                128,
                "plumb_bob",
                np.zeros(0),
                nothing,
                nothing,
                np.zeros(12),
                0,
                0,
                region,
            )
            writer.write("/camera/image", image, time_ns + RECORDED_NS)
            writer.write("/camera/camera_info", info, time_ns + RECORDED_NS)
            if truth is not None:
                lanes = MESSAGES.lane_array(truth, SLOTS_6, header)
                for topic in truth_topics:
                    writer.write(topic, lanes, time_ns + RECORDED_NS)
    return path
