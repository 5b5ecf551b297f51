"""Bags without ROS: image topics read from them, lane topics written into them.

Reads rosbag1 (.bag), and rosbag2 as a folder with its metadata.yaml or as one .db3 or .mcap file;
also those that were cut short, as far as they go.
Writes one .mcap or .db3 file, which `ros2 bag play`, RViz's and Foxglove's readers take as it is.
"""

from __future__ import annotations

import dataclasses
import os
import struct
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosbags.interfaces import (
    Connection,
    ConnectionExtRosbag1,
    QosDurability,
)
from rosbags.rosbag1 import Reader as Reader1
from rosbags.rosbag2 import Reader as Reader2

from lane_sad_ros.names import IMAGE_TYPES
from lane_sad_ros.recordings import repair
from lane_sad_ros.recordings.types import STORAGE, BagError, storage_files, typestore

BAG_SUFFIXES = (".bag", ".db3", ".mcap")


def is_bag(path: Path) -> bool:
    """Whether a path looks like a bag: by its ending, or a folder by its metadata.yaml."""
    if path.is_dir():
        return (path / "metadata.yaml").is_file() or storage_files(path) != []
    return path.suffix in BAG_SUFFIXES


@dataclass(frozen=True)
class TopicInfo:
    """A topic of a bag.

    type: such as sensor_msgs/msg/Image. latched: whether who subscribes later receives its last
    message, too.
    """

    name: str
    type: str
    count: int
    latched: bool


@dataclass(frozen=True)
class Recorded:
    """One message as it lies in a bag.

    time_ns: of its recording. data: serialized as CDR, which rclpy publishes as it is.
    """

    topic: str
    time_ns: int
    data: bytes

    @property
    def stamp_ns(self) -> int:
        """The stamp of a message that begins with a header, nanoseconds.

        Some drivers leave it at zero; the time of recording is the best there is then.
        Raises BagError for a message too short to begin with one.
        """
        if len(self.data) < 12:
            raise BagError(f"a message on {self.topic} of {len(self.data)} bytes has no header")
        seconds, nanoseconds = struct.unpack_from(_stamp_format(self.data), self.data, 4)
        return int(seconds) * 10**9 + int(nanoseconds) or self.time_ns

    def stamped(self) -> Recorded:
        """The same message, which begins with a header, with `stamp_ns` written into it."""
        data = bytearray(self.data)
        struct.pack_into(_stamp_format(self.data), data, 4, *divmod(self.stamp_ns, 10**9))
        return dataclasses.replace(self, data=bytes(data))


def topics(path: str | os.PathLike[str]) -> tuple[TopicInfo, ...]:
    """The topics of a bag, by name; of a rosbag1 those whose type is also one of ROS 2's.

    Raises BagError.
    """
    found: dict[str, TopicInfo] = {}
    with _reading(Path(path)) as reader:
        for connection in _convertible(reader):
            before = found.get(connection.topic)
            found[connection.topic] = TopicInfo(
                connection.topic,
                connection.msgtype,
                connection.msgcount + (before.count if before else 0),
                _is_latched(connection) or (before.latched if before else False),
            )
    return tuple(sorted(found.values(), key=lambda topic: topic.name))


def recorded(
    path: str | os.PathLike[str],
    names: Collection[str],
    start: int | None = None,
    stop: int | None = None,
) -> Iterator[Recorded]:
    """The messages of these topics, in the order of the recording.

    start, stop: only those recorded at start <= time < stop, nanoseconds.
    Raises BagError; of a bag that was cut short when all messages that are left have been given.
    """
    path = Path(path)
    with _reading(path) as reader:
        connections = [c for c in _convertible(reader) if c.topic in names]
        for connection, time, data in reader.messages(connections, start, stop):
            if reader.is_ros1:
                data = bytes(typestore().ros1_to_cdr(data, connection.msgtype))
            yield Recorded(connection.topic, time, bytes(data))
        if reader.damage:
            raise BagError(reader.damage)


class Topic:
    """The messages of one topic of a bag, in the order of the recording.

    Iterating gives (time of recording in nanoseconds, message); it may be done several times. Of a
    bag that was cut short, all messages that are left come first, then a BagError that says so.
    topic, type: its name, one of the types asked for. count: of messages. rate: Hz, about.
    """

    _what = "topic"

    def __init__(
        self, path: str | os.PathLike[str], topic: str | None, kinds: Sequence[str]
    ) -> None:
        """kinds: types that will do. topic: None for the only topic of such a type.

        Raises BagError if the bag cannot be read or has no such topic.
        """
        self.path = Path(path)
        with _reading(self.path) as reader:
            counts: Counter[str] = Counter()
            types_of: dict[str, str] = {}
            for connection in reader.connections:
                types_of[connection.topic] = connection.msgtype
                counts[connection.topic] += connection.msgcount
            span = 1e-9 * (reader.end_time - reader.start_time)
        fitting = [name for name in sorted(types_of) if types_of[name] in kinds]
        known = ", ".join(
            f"{name} ({types_of[name].rsplit('/', 1)[1]}, {counts[name]} messages)"
            for name in fitting
        )
        if topic is None:
            filled = [name for name in fitting if counts[name]] or fitting
            if len(filled) > 1:
                raise BagError(f"{self.path}: several {self._what}s, name one of them: {known}")
            if filled:
                topic = filled[0]
        if topic is None or (topic not in types_of and not fitting):
            held = f"its topics are {', '.join(sorted(types_of))}" if types_of else "it has none"
            named = f" {topic}" if topic else ""
            raise BagError(f"{self.path}: no {self._what}{named} in this bag; {held}")
        if topic not in types_of:
            raise BagError(f"{self.path}: no {self._what} {topic}; the bag has {known}")
        if topic not in fitting:
            raise BagError(
                f"{self.path}: {topic} holds {types_of[topic]}, not {' or '.join(kinds)}"
            )
        if not counts[topic]:
            raise BagError(f"{self.path}: no message on {topic}")
        self.topic = topic
        self.type = types_of[topic]
        self.count = counts[topic]
        # Over the whole bag: the span of the topic alone would take reading all of it.
        self.rate = (self.count - 1) / span if self.count > 1 and span > 0 else 1.0

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        for message in self.raw():
            yield message.time_ns, self.parse(message)

    def raw(self, start: int | None = None, stop: int | None = None) -> Iterator[Recorded]:
        """The messages as they are stored; see `recorded`."""
        return recorded(self.path, (self.topic,), start, stop)

    def parse(self, message: Recorded) -> Any:
        """The message that is stored so. Raises BagError if it is none of the topic's type."""
        try:
            return typestore().deserialize_cdr(message.data, self.type)
        # Wrong bytes can surface as nearly anything out of the generated parsers.
        except Exception as error:
            raise BagError(
                f"a message on {self.topic} is no {self.type} ({type(error).__name__}: {error})"
            ) from error


class ImageTopic(Topic):
    """An image topic; its type is one of IMAGE_TYPES."""

    _what = "image topic"

    def __init__(self, path: str | os.PathLike[str], topic: str | None = None) -> None:
        """topic: may be left out where the bag has one image topic only.

        Raises BagError if the bag cannot be read or has no such topic.
        """
        super().__init__(path, topic, IMAGE_TYPES)


def _stamp_format(cdr: bytes) -> str:
    """Of seconds and nanoseconds, which follow the four bytes that tell the byte order."""
    return "<iI" if cdr[1] & 1 else ">iI"


def _convertible(reader: _Joined) -> list[Any]:
    """The connections whose messages can be given as CDR."""
    known = typestore().types if reader.is_ros1 else None
    return [c for c in reader.connections if known is None or c.msgtype in known]


def _is_latched(connection: Connection) -> bool:
    if isinstance(connection.ext, ConnectionExtRosbag1):
        return bool(connection.ext.latching)
    profiles = connection.ext.offered_qos_profiles
    return any(profile.durability == QosDurability.TRANSIENT_LOCAL for profile in profiles)


@dataclass(frozen=True)
class _Joined:
    """Readers of the files of one recording, one after the other.

    damage: what is missing of it, one line; empty where nothing is.
    """

    readers: Sequence[Any]
    damage: str

    @property
    def is_ros1(self) -> bool:
        return isinstance(self.readers[0], Reader1)

    @property
    def connections(self) -> list[Any]:
        return [connection for reader in self.readers for connection in reader.connections]

    @property
    def start_time(self) -> int:
        return int(min(reader.start_time for reader in self.readers))

    @property
    def end_time(self) -> int:
        return int(max(reader.end_time for reader in self.readers))

    def messages(
        self, connections: Sequence[Any], start: int | None = None, stop: int | None = None
    ) -> Iterator[tuple[Any, int, bytes]]:
        wanted = {id(connection) for connection in connections}
        for reader in self.readers:
            own = [connection for connection in reader.connections if id(connection) in wanted]
            if own:
                yield from reader.messages(own, start, stop)


@contextmanager
def _reading(path: Path) -> Iterator[_Joined]:
    """An open reader; whatever goes wrong with the bag while it is used is a BagError."""
    if not path.exists():
        raise BagError(f"{path}: no such bag")
    try:
        with ExitStack() as stack:
            yield _open(path, stack)
    except (BagError, GeneratorExit):
        raise
    # A damaged file can surface as nearly anything out of the parsers of three formats.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BagError(
            f"{path}: not a whole bag ({reason}); if its recording was cut short, repair it with "
            + ("rosbag reindex" if path.suffix == ".bag" else "ros2 bag reindex or mcap recover")
        ) from error


def _open(path: Path, stack: ExitStack) -> _Joined:
    """A reader of a bag, or of what is left of it."""
    # A recorder writes metadata.yaml at its end; where it was killed there is none.
    cut = path.is_dir() and not (path / "metadata.yaml").is_file()
    if not (cut or repair.has_log(path)):
        try:
            reader = Reader1(path) if path.suffix == ".bag" else Reader2(path)
            return _Joined([stack.enter_context(reader)], "")
        except Exception:
            if path.suffix not in STORAGE:
                raise
            with suppress(Exception):
                left = stack.enter_context(repair.recovered(path))
                if any(connection.msgcount for connection in left.connections):
                    return _Joined([left], f"{path}: {left.damage}")
            raise
    if not cut:
        left = stack.enter_context(repair.recovered(path))
        return _Joined([left], left.damage and f"{path}: {left.damage}")
    parts: list[_Joined] = []
    unread: list[str] = []
    for file in storage_files(path):
        try:
            parts.append(_open(file, stack))
        except Exception as error:
            unread.append(f"{file}: cannot be read ({' '.join(str(error).split())})")
    if not parts:
        raise BagError("; ".join(unread))
    damage = [part.damage for part in parts if part.damage] + unread
    return _Joined([reader for part in parts for reader in part.readers], "; ".join(damage))
