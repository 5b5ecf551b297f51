"""A running node with a camera before it and a listener behind it, to be measured."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from numpy.typing import NDArray
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from lane_sad_ros.msg import LaneArray
from lane_sad_ros.ros.message_classes import MESSAGES
from lane_sad_ros.ros.node_process import NodeProcess

T = TypeVar("T")
Pixels = NDArray[np.uint8]

PATIENCE = 180.0
"""Seconds that anything gets to happen."""

_RELIABLE = QoSProfile(depth=5, reliability=QoSReliabilityPolicy.RELIABLE)


class Failed(Exception):
    """Something did not happen as it should; the text says what."""


def until(condition: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """The first true value of `condition`. Raises Failed after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise Failed(f"waited {seconds:g} s for {what}")
        time.sleep(0.005)
    return value


class Rig:
    """The node as a process of its own, publishers of its cameras and a listener of its lanes.

    answers: of each camera, when lanes came (seconds of the steady clock) and the stamp of their
    image in nanoseconds.
    """

    def __init__(self, node: Node, process: NodeProcess, cameras: Sequence[str]) -> None:
        self.node, self.process = node, process
        self.answers: dict[str, list[tuple[float, int]]] = defaultdict(list)
        self._statuses: dict[str, DiagnosticStatus] = {}
        self.cameras = {name: self.publisher(name) for name in cameras}
        for name in cameras:
            self.listen(name)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def publisher(self, camera: str = "", kind: type = Image, topic: str = "image") -> Any:
        """A publisher of a camera's images, or of another of its inputs."""
        return self.node.create_publisher(kind, _below(camera, topic), _RELIABLE)

    def listen(self, camera: str = "", depth: int = 10) -> Any:
        """A subscription to a camera's lanes that fills `answers`."""

        def heard(message: LaneArray) -> None:
            stamp = message.header.stamp
            answer = time.monotonic(), stamp.sec * 10**9 + stamp.nanosec
            self.answers[camera].append(answer)

        topic = f"/lane_detector/{_below(camera, 'lanes')}"
        return self.node.create_subscription(LaneArray, topic, heard, depth)

    def send(
        self, pixels: Pixels, camera: str = "", encoding: str = "bgr8", stamp_ns: int | None = None
    ) -> int:
        """Publishes an image; its stamp, by default the time, in nanoseconds."""
        stamp_ns = time.time_ns() if stamp_ns is None else stamp_ns
        header = Header(frame_id="camera")
        header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, 10**9)
        publisher = self.cameras[camera]
        packed = publisher.msg_type is CompressedImage
        publisher.publish(
            MESSAGES.jpeg(pixels, header) if packed else MESSAGES.image(pixels, encoding, header)
        )
        return stamp_ns

    def answered(
        self, pixels: Pixels, camera: str = "", patience: float = PATIENCE, **options: Any
    ) -> float:
        """Seconds until an image is answered, which is sent anew twice a second.

        Raises Failed after `patience` seconds.
        """
        began = time.monotonic()
        sent: set[int] = set()
        due = 0.0

        def found() -> bool:
            nonlocal due
            if time.monotonic() > due:
                sent.add(self.send(pixels, camera, **options))
                due = time.monotonic() + 0.5
            return any(stamp in sent for _, stamp in self.answers[camera][-20:])

        until(found, f"lanes of camera {camera or 'image'}", patience)
        return time.monotonic() - began

    def heard(self, sent: Mapping[str, int]) -> bool:
        """Whether the lanes of these images, stamps by camera, have come."""
        return all(
            any(stamp == answer for _, answer in self.answers[name]) for name, stamp in sent.items()
        )

    def drive(self, pixels: Pixels, seconds: float, rate: float) -> list[float]:
        """Sends images at a rate; the seconds until lanes came, of those that were answered."""
        before = len(self.answers[""])
        began = time.monotonic()
        for index in range(round(seconds * rate)):
            self.send(pixels)
            time.sleep(max(0.0, began + (index + 1) / rate - time.monotonic()))
        time.sleep(1.0)
        offset = time.time_ns() * 1e-9 - time.monotonic()
        return [at + offset - stamp * 1e-9 for at, stamp in self.answers[""][before:]]

    def status(self, ending: str) -> DiagnosticStatus | None:
        """The newest diagnostics whose name ends so."""
        found = [name for name in self._statuses if name.endswith(ending)]
        return self._statuses[found[0]] if found else None

    def change_state(self, transition: int) -> bool:
        """Asks for a lifecycle transition; whether it was made. Raises Failed without an answer."""
        client = self.node.create_client(ChangeState, "/lane_detector/change_state")
        until(client.service_is_ready, "the lifecycle service")
        future = client.call_async(ChangeState.Request(transition=Transition(id=transition)))
        until(future.done, "the transition")
        self.node.destroy_client(client)
        return bool(future.result().success)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self._statuses[status.name] = status


@contextmanager
def running(
    log: Path,
    parameters: dict[str, Any],
    cameras: Sequence[str] = ("",),
    program: Sequence[str] | None = None,
) -> Iterator[Rig]:
    """A rig as long as the `with` block. program: as of `NodeProcess`."""
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("lane_sad_rig")
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def spin() -> None:
        with contextlib.suppress(ExternalShutdownException):
            executor.spin()

    thread = threading.Thread(target=spin, name="executor", daemon=True)
    parameters = {"exit_with_parent": True, **parameters}  # also where this process is killed
    if list(cameras) != [""]:
        parameters["cameras"] = list(cameras)
    try:
        with NodeProcess(log, parameters, program) as process:
            rig = Rig(node, process, cameras)
            thread.start()
            yield rig
    finally:
        rclpy.try_shutdown()
        thread.join()


def _below(camera: str, name: str) -> str:
    return f"{camera}/{name}" if camera else name
