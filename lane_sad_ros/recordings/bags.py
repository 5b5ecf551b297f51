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
from functools import cached_property
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lane_sad_ros.names import IMAGE_TYPES
from lane_sad_ros.recordings.mcap_storage import McapStorage
from lane_sad_ros.recordings.message_types import BagError, typestore
from lane_sad_ros.recordings.rate import FIRST, rate_of
from lane_sad_ros.recordings.rosbag1_storage import rosbag1_storage
from lane_sad_ros.recordings.sqlite_storage import sqlite_storage
from lane_sad_ros.recordings.storage import (
    METADATA,
    PACKED,
    Storage,
    Stored,
    ending_of,
    message_bytes,
    storage_files,
    unpack_file,
)

BAG_SUFFIXES = (".bag", ".db3", ".mcap")


def is_bag(path: Path) -> bool:
    """Whether a path looks like a bag: by its ending, or a folder by what lies in it."""
    if path.is_dir():
        return (path / METADATA).is_file() or storage_files(path) != []
    return ending_of(path) in BAG_SUFFIXES


def files_read(path: Path) -> list[Path]:
    """What is read of an input: of a bag that is a folder its own files, not what lies beside them.

    Raises ValueError for a metadata.yaml that is not one of a bag.
    """
    if path.is_dir() and is_bag(path):
        return [path / METADATA, *storage_files(path)]
    return [path]


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
        for topic in filter(_is_convertible, reader.topics):
            before = found.get(topic.topic, TopicInfo(topic.topic, topic.type, 0, False))
            found[topic.topic] = TopicInfo(
                topic.topic,
                topic.type,
                topic.count + before.count,
                topic.latched or before.latched,
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
    Raises BagError; of a bag that was cut short or is damaged when all messages that are left have
    been given.
    """
    path = Path(path)
    with _reading(path) as reader:
        first = -(2**63) if start is None else start
        last = 2**63 - 1 if stop is None else stop
        for topic, time, packed in reader.messages(names, first, last):
            data = message_bytes(packed)
            if topic.ros1:
                data = bytes(typestore().ros1_to_cdr(data, topic.type))
            yield Recorded(topic.topic, time, data)
        if damage := reader.damage or next(filter(None, (f.damage for f in reader.files)), ""):
            raise BagError(damage if reader.damage else f"{path}: {damage}")


class Topic:
    """The messages of one topic of a bag, in the order of the recording.

    Iterating gives (time of recording in nanoseconds, message); it may be done several times. Of a
    bag that was cut short, all messages that are left come first, then a BagError that says so.
    topic, type: its name, one of the types asked for. count: of messages.
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
            for found in reader.topics:
                types_of[found.topic] = found.type
                counts[found.topic] += found.count
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

    @cached_property
    def rate(self) -> float:
        """Hz, by the first messages; 1 where none is later than another."""
        stamps: list[int] = []
        times: list[int] = []
        with suppress(BagError):  # who reads the messages is told
            for message in islice(self.raw(), FIRST):
                times.append(message.time_ns)
                with suppress(BagError):
                    stamps.append(message.stamp_ns)
        return rate_of(stamps) or rate_of(times) or 1.0

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


@dataclass(frozen=True)
class _Joined:
    """The files of one recording, one after the other.

    damage: what is missing of it, one line; empty where nothing is.
    """

    files: Sequence[Storage]
    damage: str

    @property
    def topics(self) -> list[Stored]:
        """Those of each file."""
        return [topic for file in self.files for topic in file.topics]

    def messages(
        self, names: Collection[str], start: int, stop: int
    ) -> Iterator[tuple[Stored, int, bytes]]:
        for file in self.files:
            wanted = [t for t in file.topics if t.topic in names and _is_convertible(t)]
            if wanted:
                yield from file.messages(wanted, start, stop)


def _is_convertible(topic: Stored) -> bool:
    """Whether messages of a topic can be given as CDR."""
    return not topic.ros1 or topic.type in typestore().types


@contextmanager
def _reading(path: Path) -> Iterator[_Joined]:
    """An open bag; whatever goes wrong with it while it is used is a BagError."""
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
        is_old = path.suffix.lower() == ".bag"
        remedy = "; rosbag reindex repairs one that was cut short" if is_old else ""
        raise BagError(f"{path}: not a whole bag ({reason}){remedy}") from error


def _open(path: Path, stack: ExitStack) -> _Joined:
    """A bag, or what is left of it."""
    if not path.is_dir():
        file = _open_file(path, stack)
        if file.damage and not any(topic.count for topic in file.topics):
            raise ValueError(file.damage)
        return _Joined([file], file.damage and f"{path}: {file.damage}")
    parts: list[_Joined] = []
    unread: list[str] = []
    for file_path in storage_files(path):
        try:
            parts.append(_open(file_path, stack))
        except Exception as error:
            reason = " ".join(str(error).split())
            unread.append(f"{file_path}: cannot be read ({reason})")
    if not parts:
        raise BagError("; ".join(unread) or f"{path}: none of its files is there")
    damage = [part.damage for part in parts if part.damage] + unread
    return _Joined([file for part in parts for file in part.files], "; ".join(damage))


def _open_file(path: Path, stack: ExitStack) -> Storage:
    if path.suffix.lower() == PACKED:
        path = unpack_file(path, Path(stack.enter_context(TemporaryDirectory())))
    ending = ending_of(path)
    if ending == ".bag":
        return stack.enter_context(rosbag1_storage(path))
    if ending == ".mcap":
        return McapStorage(path, stack.enter_context(path.open("rb")))
    return stack.enter_context(sqlite_storage(path))
