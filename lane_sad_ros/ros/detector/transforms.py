"""Poses of cameras out of TF, where tf2_ros is installed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time


class UnknownTransform(Exception):
    """TF does not connect two frames; the text is one line for the user."""


@dataclass(frozen=True)
class Pose:
    """Of one frame in another: (x, y, z) in metres and a quaternion (x, y, z, w).

    age: seconds between the time asked for and that of the pose; 0 where TF knows that time.
    """

    translation: tuple[float, float, float]
    quaternion: tuple[float, float, float, float]
    age: float


class Transforms:
    """Listens to /tf and /tf_static from `listen` on: there can be much to hear."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._tf2: Any = None
        self._buffer: Any = None
        self._listener: Any = None
        self._jumps: Any = None
        self._missing = ""

    def pose(self, frame: str, parent: str, stamp: Time) -> Pose:
        """The pose of `frame` in `parent` at `stamp`, or the newest where TF is behind; at once.

        Raises UnknownTransform where TF does not connect the frames (yet).
        """
        self.listen()
        if self._listener is None:
            raise UnknownTransform(self._missing)
        tf2 = self._tf2
        try:
            try:
                found, age = self._buffer.lookup_transform(parent, frame, stamp), 0.0
            except tf2.ExtrapolationException:
                found = self._buffer.lookup_transform(parent, frame, Time())
                age = abs((stamp - Time.from_msg(found.header.stamp)).nanoseconds * 1e-9)
        except tf2.TransformException as error:
            raise UnknownTransform(f"no transform from {frame} to {parent}: {error}") from error
        t, q = found.transform.translation, found.transform.rotation
        return Pose((t.x, t.y, t.z), (q.x, q.y, q.z, q.w), age)

    def close(self) -> list[Any]:
        """Forgets everything and returns the subscriptions, for the caller to destroy."""
        listener, self._listener = self._listener, None
        if listener is None:
            return []
        self._jumps.unregister()
        return [listener.tf_sub, listener.tf_static_sub]

    def listen(self) -> None:
        """Begins to listen, unless it does already or tf2_ros cannot be used."""
        if self._listener is not None or self._missing:
            return
        try:
            import tf2_ros
        except ImportError as error:
            self._missing = _missing(error)
            return
        self._tf2 = tf2_ros
        self._buffer = tf2_ros.Buffer()
        # A bag that begins anew: what TF knows of its end would stand in the way.
        self._jumps = self._node.get_clock().create_jump_callback(
            JumpThreshold(
                min_forward=None, min_backward=Duration(seconds=-1), on_clock_change=True
            ),
            post_callback=lambda _: self._buffer.clear(),
        )
        self._listener = tf2_ros.TransformListener(self._buffer, self._node)


def _missing(error: ImportError) -> str:
    """Why transforms cannot be heard."""
    if isinstance(error, ModuleNotFoundError) and error.name == "tf2_ros":
        why = "is not installed (apt install ros-$ROS_DISTRO-tf2-ros-py)"
    else:
        why = f"cannot be imported ({error})"
    return f"tf2_ros {why}, so transforms cannot be heard"
