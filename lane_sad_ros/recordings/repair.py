"""What can still be read of a bag whose recording was cut short.

An MCAP file without its end has neither summary nor footer; its records are read one after the
other, up to the last whole one. A SQLite file that lost its end is read row by row; one whose
recorder was killed has its last messages in a second file, ending in -wal, which SQLite reads.
Nothing is written into a bag.
"""

from __future__ import annotations

import io
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosbags.interfaces import ConnectionExtRosbag2
from rosbags.rosbag2 import Reader
from rosbags.rosbag2.metadata import parse_qos

_MAGIC = b"\x89MCAP0\r\n"
# Footer without a summary: opcode, length, two offsets and a checksum of 0.
_FOOTER = b"\x02" + (20).to_bytes(8, "little") + bytes(20)
_HEAD = 9  # bytes before a record: opcode, length
_DATA_END, _CHUNK, _MESSAGE = 0x0F, 0x06, 0x05
_LAST_OPCODE = 0x0F
_CHUNK_HEAD = 28  # bytes of a chunk before the name of its compression


@dataclass(frozen=True)
class Stored:
    """One topic of a damaged file: as much of a rosbags Connection as reading takes."""

    id: int
    topic: str
    msgtype: str
    msgcount: int
    ext: ConnectionExtRosbag2


@dataclass(frozen=True)
class Recovered:
    """A reader of what is left of a file, used like a rosbags Reader.

    damage: what is missing; empty where nothing is.
    """

    connections: Sequence[Any]
    start_time: int
    end_time: int
    damage: str
    _messages: Any

    def messages(
        self, connections: Sequence[Any], start: int | None = None, stop: int | None = None
    ) -> Iterator[tuple[Any, int, bytes]]:
        """(connection, time in nanoseconds, data), in the file's order; start <= time < stop."""
        for connection, time, data in self._messages(connections):
            if (start is None or start <= time) and (stop is None or time < stop):
                yield connection, time, data


@contextmanager
def recovered(path: Path) -> Iterator[Recovered]:
    """A reader of what is left of an .mcap or .db3 file.

    Raises ValueError, or whatever the parsers raise, where nothing can be read.
    """
    with _mcap(path) if path.suffix == ".mcap" else _sqlite(path) as reader:
        yield reader


def has_log(path: Path) -> bool:
    """Whether a SQLite file's recorder was killed: messages wait in a second file."""
    log = _log(path)
    return path.suffix == ".db3" and log.is_file() and log.stat().st_size > 0


def _log(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


# --- MCAP


@contextmanager
def _mcap(path: Path) -> Iterator[Recovered]:
    with path.open("rb") as file:
        end, tail = _whole_records(file)
    size = path.stat().st_size
    storage: Any = Reader.STORAGE_PLUGINS[".mcap"](_MendedPath(path, end, tail))  # type: ignore[arg-type]
    storage.open()
    try:
        yield Recovered(
            storage.connections,
            storage.metadata.start_time,
            storage.metadata.end_time,
            f"cut short after {storage.metadata.message_count} messages, {size} bytes",
            storage.messages_scan,
        )
    finally:
        storage.close()


def _whole_records(file: io.BufferedReader) -> tuple[int, bytes]:
    """Where the last whole record ends, and the whole records inside of a chunk cut off there."""
    size = file.seek(0, io.SEEK_END)
    at = len(_MAGIC)
    while at + _HEAD <= size:
        file.seek(at)
        opcode, length = _record_head(file.read(_HEAD))
        if not 0 < opcode < _DATA_END:
            break
        if at + _HEAD + length > size:
            return at, _inside(file.read(size)) if opcode == _CHUNK else b""
        at += _HEAD + length
    return at, b""


def _record_head(head: bytes) -> tuple[int, int]:
    return head[0], int.from_bytes(head[1:_HEAD], "little")


def _inside(chunk: bytes) -> bytes:
    """The whole records at the beginning of a chunk that is not compressed."""
    name = int.from_bytes(chunk[_CHUNK_HEAD : _CHUNK_HEAD + 4], "little")
    start = _CHUNK_HEAD + 4 + name + 8
    if name or len(chunk) < start:
        return b""
    at = start
    while at + _HEAD <= len(chunk):
        _, length = _record_head(chunk[at : at + _HEAD])
        if at + _HEAD + length > len(chunk):
            break
        at += _HEAD + length
    return chunk[start:at]


@dataclass(frozen=True)
class _MendedPath:
    """Opens as the file up to `end`, then `tail`, then a footer: a whole MCAP file."""

    path: Path
    end: int
    tail: bytes

    def open(self, mode: str = "rb") -> io.BufferedReader:
        return io.BufferedReader(_Mended(self.path, self.end, self.tail + _FOOTER + _MAGIC))

    def __str__(self) -> str:
        return str(self.path)


class _Mended(io.RawIOBase):
    def __init__(self, path: Path, end: int, tail: bytes) -> None:
        self._file = path.open("rb", buffering=0)
        self._end = end
        self._tail = tail
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._end + len(self._tail)}
        self._at = start[whence] + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        if self._at < self._end:
            self._file.seek(self._at)
            count = self._file.readinto(view[: self._end - self._at]) or 0
        else:
            data = self._tail[self._at - self._end :][: len(view)]
            view[: len(data)] = data
            count = len(data)
        self._at += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


# --- SQLite


@contextmanager
def _sqlite(path: Path) -> Iterator[Recovered]:
    shared = path.with_name(f"{path.name}-shm")
    had_shared = shared.exists()
    try:
        with closing(_connect(path)) as database:
            yield _read_sqlite(path, database)
    finally:
        if not had_shared:  # SQLite made it, to read the log
            shared.unlink(missing_ok=True)


def _connect(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, and does not mind that the file is shorter than it says."""
    how = "mode=ro" if has_log(path) else "immutable=1"
    database = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True)
    database.execute("PRAGMA writable_schema=ON")
    return database


def _read_sqlite(path: Path, database: sqlite3.Connection) -> Recovered:
    topics = database.execute(
        "SELECT id, name, type, serialization_format, offered_qos_profiles FROM topics"
    ).fetchall()
    counts: Counter[int] = Counter()
    times: list[int] = []  # first and last
    damage = ""
    try:
        for topic, time in database.execute("SELECT topic_id, timestamp FROM messages ORDER BY id"):
            counts[topic] += 1
            times = [min(time, *times), max(time, *times)] if times else [time, time]
    except sqlite3.DatabaseError:
        damage = f"cut short after {counts.total()} messages, {path.stat().st_size} bytes"
    stored = {
        topic: Stored(
            topic, name, kind, counts[topic], ConnectionExtRosbag2(encoding, parse_qos(qos))
        )
        for topic, name, kind, encoding, qos in topics
    }

    def messages(connections: Sequence[Stored]) -> Iterator[tuple[Stored, int, bytes]]:
        wanted = {connection.id for connection in connections}
        rows = database.execute("SELECT topic_id, timestamp, data FROM messages ORDER BY id")
        try:
            for topic, time, data in rows:
                if topic in wanted:
                    yield stored[topic], time, data
        except sqlite3.DatabaseError:  # where the rows end; `damage` says so
            return

    start, end = (times[0], times[1] + 1) if times else (0, 0)
    return Recovered(list(stored.values()), start, end, damage, messages)
