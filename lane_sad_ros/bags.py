"""Bags without ROS: image topics read from them, lane topics written into them.

Reads rosbag1 (.bag), and rosbag2 as a folder with its metadata.yaml or as one .db3 or .mcap file.
Writes one .mcap or .db3 file, which `ros2 bag play`, RViz's and Foxglove's readers take as it is.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import struct
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.interfaces import (
    Connection,
    ConnectionExtRosbag1,
    Nodetype,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag1 import Reader as Reader1
from rosbags.rosbag2 import Reader as Reader2
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from lane_sad_ros.messages import Messages

BAG_SUFFIXES = (".bag", ".db3", ".mcap")
IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
_STORAGE = {".mcap": StoragePlugin.MCAP, ".db3": StoragePlugin.SQLITE3}
STORAGE_ENDINGS = tuple(_STORAGE)
"""What a bag that is written may end in."""
_NO_TIME = QosTime(0, 0)
_LATCHED = Qos(
    QosHistory.KEEP_LAST,
    1,
    QosReliability.RELIABLE,
    QosDurability.TRANSIENT_LOCAL,
    _NO_TIME,
    _NO_TIME,
    QosLiveliness.AUTOMATIC,
    _NO_TIME,
    False,
)
_QOS = {"/tf_static": (_LATCHED,)}  # who comes late needs it too


class BagError(ValueError):
    """A bag that cannot be read or written; the text is one line for the user."""


def is_bag(path: Path) -> bool:
    """Whether a path looks like a bag: by its ending, or a folder by its metadata.yaml."""
    if path.is_dir():
        return (path / "metadata.yaml").is_file() or _storage_files(path) != []
    return path.suffix in BAG_SUFFIXES


def message_folder() -> Path:
    """The folder with this package's .msg files, of an installation or of the source tree.

    Raises BagError where there is none.
    """
    package = Path(__file__).parent
    places = [package.parent / "msg"]
    places += [parent / "share" / package.name / "msg" for parent in package.parents]
    for place in places:
        if any(place.glob("*.msg")):
            return place
    raise BagError(
        f"no message definitions of {package.name} beside {package} or in a share folder above it; "
        "install the whole package"
    )


@functools.cache
def types() -> Typestore:
    """The ROS 2 message types, with those of this package; `types().types[name]` is a class."""
    store = get_typestore(Stores.ROS2_JAZZY)
    definitions: dict[str, Any] = {}
    for file in sorted(message_folder().glob("*.msg")):
        name = f"{Path(__file__).parent.name}/msg/{file.stem}"
        definitions.update(get_types_from_msg(file.read_text(encoding="utf-8"), name))
    store.register(definitions)
    return store


class ImageTopic:
    """The messages of one image topic of a bag, in the order of the recording.

    Iterating gives (time of recording in nanoseconds, message); it may be done several times.
    topic, type: its name, one of IMAGE_TYPES. count: of messages. rate: Hz, about.
    """

    def __init__(self, path: str | os.PathLike[str], topic: str | None = None) -> None:
        """topic: may be left out where the bag has one image topic only.

        Raises BagError if the bag cannot be read or has no such topic.
        """
        self.path = Path(path)
        with _reading(self.path) as reader:
            counts: dict[str, int] = {}
            kinds: dict[str, str] = {}
            for connection in reader.connections:
                if connection.msgtype in IMAGE_TYPES:
                    kinds[connection.topic] = connection.msgtype
                    counts[connection.topic] = counts.get(connection.topic, 0) + connection.msgcount
            span = 1e-9 * (reader.end_time - reader.start_time)
            others = sorted({connection.topic for connection in reader.connections})
        known = ", ".join(
            f"{name} ({kinds[name].rsplit('/', 1)[1]}, {counts[name]} messages)"
            for name in sorted(kinds)
        )
        if not kinds:
            held = f"its topics are {', '.join(others)}" if others else "it has no topics at all"
            raise BagError(f"{self.path}: no image topic in this bag; {held}")
        if topic is None:
            filled = [name for name in kinds if counts[name]] or list(kinds)
            if len(filled) > 1:
                raise BagError(f"{self.path}: several image topics, name one of them: {known}")
            topic = filled[0]
        if topic not in kinds:
            raise BagError(f"{self.path}: no image topic {topic}; the bag has {known}")
        if not counts[topic]:
            raise BagError(f"{self.path}: no message on {topic}")
        self.topic = topic
        self.type = kinds[topic]
        self.count = counts[topic]
        # Over the whole bag: the span of the topic alone would take reading all of it.
        self.rate = (self.count - 1) / span if self.count > 1 and span > 0 else 1.0

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        is_ros1 = self.path.suffix == ".bag"
        with _reading(self.path) as reader:
            connections = [c for c in reader.connections if c.topic == self.topic]
            for connection, time, data in reader.messages(connections):
                yield time, _deserialize(data, connection, is_ros1)


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
        """The stamp of a message that begins with a header, as `stamp_of` gives it."""
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


def recorded(path: str | os.PathLike[str], names: Collection[str]) -> Iterator[Recorded]:
    """The messages of these topics, in the order of the recording. Raises BagError."""
    path = Path(path)
    with _reading(path) as reader:
        connections = [c for c in _convertible(reader) if c.topic in names]
        # None at all would mean all of them to the reader.
        for connection, time, data in reader.messages(connections) if connections else ():
            if isinstance(reader, Reader1):
                data = bytes(types().ros1_to_cdr(data, connection.msgtype))
            yield Recorded(connection.topic, time, bytes(data))


class BagWriter:
    """Adds messages to a bag that `writing_bag` has opened."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._connections: dict[str, Connection] = {}

    def write(self, topic: str, message: Any, time_ns: int) -> None:
        """Adds a message made of a class of `types()`; time_ns is that of its recording."""
        name = message.__msgtype__
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic, name, typestore=types(), offered_qos_profiles=_QOS.get(topic, ())
            )
        data = types().serialize_cdr(message, name)
        self._writer.write(self._connections[topic], time_ns, data)


@contextmanager
def writing_bag(path: str | os.PathLike[str]) -> Iterator[BagWriter]:
    """Writes one .mcap or .db3 file, which appears under its name when the block has ended.

    Where the block raises, nothing is left of it. Raises BagError for another ending.
    """
    path = Path(path)
    if path.suffix not in _STORAGE:
        raise BagError(f"{path}: a bag to write must end in .mcap or .db3")
    path.parent.mkdir(parents=True, exist_ok=True)
    # rosbags makes a folder with one storage file in it; the file alone is a bag as well.
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        bag = Path(folder, "bag")
        plugin = _STORAGE[path.suffix]
        with Writer(bag, version=Writer.VERSION_LATEST, storage_plugin=plugin) as writer:
            yield BagWriter(writer)
        (written,) = _storage_files(bag)
        os.replace(written, path)


def stamp_of(message: Any, time_ns: int) -> int:
    """The stamp of a message's header in nanoseconds, or the time of its recording.

    Some drivers leave the stamp at zero; the time of recording is the best there is then.
    """
    stamp = message.header.stamp
    return stamp.sec * 10**9 + stamp.nanosec or time_ns


def _empty(name: str) -> Any:
    """A message with all fields zero; the classes of `types()` have no defaults of their own."""
    fields = types().fielddefs[name][1]
    return types().types[name](**{field: _zero(kind) for field, kind in fields})


def _zero(kind: Any) -> Any:
    nature, detail = kind
    if nature == Nodetype.NAME:
        return _empty(detail)
    if nature == Nodetype.BASE:
        return {"string": "", "bool": False}.get(detail[0], 0)
    (nature, item), count = detail
    if nature == Nodetype.BASE and item[0] != "string":
        return np.zeros(count if kind[0] == Nodetype.ARRAY else 0, item[0])
    return [_zero((nature, item)) for _ in range(count if kind[0] == Nodetype.ARRAY else 0)]


_messages = Messages(lambda name: types().types[name], _empty, np.asarray)
header = _messages.header
lane_array = _messages.lane_array
lane_existence = _messages.lane_existence
jpeg = _messages.jpeg


def _stamp_format(cdr: bytes) -> str:
    """Of seconds and nanoseconds, which follow the four bytes that tell the byte order."""
    return "<iI" if cdr[1] & 1 else ">iI"


def _convertible(reader: Reader1 | Reader2) -> list[Connection]:
    """The connections whose messages can be given as CDR."""
    known = types().types if isinstance(reader, Reader1) else None
    return [c for c in reader.connections if known is None or c.msgtype in known]


def _is_latched(connection: Connection) -> bool:
    if isinstance(connection.ext, ConnectionExtRosbag1):
        return bool(connection.ext.latching)
    profiles = connection.ext.offered_qos_profiles
    return any(profile.durability == QosDurability.TRANSIENT_LOCAL for profile in profiles)


def _storage_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix in _STORAGE)


@contextmanager
def _reading(path: Path) -> Iterator[Reader1 | Reader2]:
    """An open reader; whatever goes wrong with the bag while it is used is a BagError."""
    if not path.exists():
        raise BagError(f"{path}: no such bag")
    if path.is_dir() and not (path / "metadata.yaml").is_file():
        raise BagError(
            f"{path}: no metadata.yaml beside {_storage_files(path)[0].name}; name that file, or "
            f"run ros2 bag reindex {path}"
        )
    try:
        with Reader1(path) if path.suffix == ".bag" else Reader2(path) as reader:
            yield reader
    except (BagError, GeneratorExit):
        raise
    # A damaged file can surface as nearly anything out of the parsers of three formats.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BagError(
            f"{path}: not a whole bag ({reason}); if its recording was cut short, repair it with "
            + ("rosbag reindex" if path.suffix == ".bag" else "ros2 bag reindex or mcap recover")
        ) from error


@functools.cache
def _ros1_types() -> Typestore:
    return get_typestore(Stores.ROS1_NOETIC)


def _deserialize(data: bytes, connection: Connection, is_ros1: bool) -> Any:
    if is_ros1:
        return _ros1_types().deserialize_ros1(data, connection.msgtype)
    return types().deserialize_cdr(data, connection.msgtype)
