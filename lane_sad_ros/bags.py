"""Bags without ROS: image topics read from them, lane topics written into them.

Reads rosbag1 (.bag), and rosbag2 as a folder with its metadata.yaml or as one .db3 or .mcap file;
also those that were cut short, as far as they go.
Writes one .mcap or .db3 file, which `ros2 bag play`, RViz's and Foxglove's readers take as it is.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import struct
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
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

from lane_sad_ros import bag_repair
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
                data = bytes(types().ros1_to_cdr(data, connection.msgtype))
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
            return types().deserialize_cdr(message.data, self.type)
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
camera_info = _messages.camera_info
lane_array = _messages.lane_array
lane_existence = _messages.lane_existence
ego_lane = _messages.ego_lane
point_cloud = _messages.point_cloud
markers = _messages.markers
transform = _messages.transform
jpeg = _messages.jpeg


def _stamp_format(cdr: bytes) -> str:
    """Of seconds and nanoseconds, which follow the four bytes that tell the byte order."""
    return "<iI" if cdr[1] & 1 else ">iI"


def _convertible(reader: _Joined) -> list[Any]:
    """The connections whose messages can be given as CDR."""
    known = types().types if reader.is_ros1 else None
    return [c for c in reader.connections if known is None or c.msgtype in known]


def _is_latched(connection: Connection) -> bool:
    if isinstance(connection.ext, ConnectionExtRosbag1):
        return bool(connection.ext.latching)
    profiles = connection.ext.offered_qos_profiles
    return any(profile.durability == QosDurability.TRANSIENT_LOCAL for profile in profiles)


def _storage_files(folder: Path) -> list[Path]:
    return sorted(
        (file for file in folder.iterdir() if file.suffix in _STORAGE),
        key=lambda file: [int(n) if n.isdigit() else n for n in re.split(r"(\d+)", file.name)],
    )


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
    if not (cut or bag_repair.has_log(path)):
        try:
            reader = Reader1(path) if path.suffix == ".bag" else Reader2(path)
            return _Joined([stack.enter_context(reader)], "")
        except Exception:
            if path.suffix not in _STORAGE:
                raise
            with suppress(Exception):
                left = stack.enter_context(bag_repair.recovered(path))
                if any(connection.msgcount for connection in left.connections):
                    return _Joined([left], f"{path}: {left.damage}")
            raise
    if not cut:
        left = stack.enter_context(bag_repair.recovered(path))
        return _Joined([left], left.damage and f"{path}: {left.damage}")
    parts: list[_Joined] = []
    unread: list[str] = []
    for file in _storage_files(path):
        try:
            parts.append(_open(file, stack))
        except Exception as error:
            unread.append(f"{file}: cannot be read ({' '.join(str(error).split())})")
    if not parts:
        raise BagError("; ".join(unread))
    damage = [part.damage for part in parts if part.damage] + unread
    return _Joined([reader for part in parts for reader in part.readers], "; ".join(damage))
