"""MCAP files, whole or cut short.

A whole one has an index at its end. Without it, records are read one after the other, up to the
last whole one, also inside of a chunk that was cut, packed or not. Nothing is written into a file.
"""

from __future__ import annotations

import heapq
import io
import struct
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.reader import SeekingReader
from mcap.records import Channel, Chunk, Header, McapRecord, Message, Schema
from mcap.stream_reader import StreamReader

from lane_sad_ros.recordings.message_types import BagError
from lane_sad_ros.recordings.storage import MAX_CHUNK, Stored, is_latched, unpacked

_MAGIC = b"\x89MCAP0\r\n"
_HEAD = 9  # bytes before a record: opcode, length
_PART = 2**20  # bytes of records outside of chunks that are read at once
_OPEN = 4 * MAX_CHUNK  # bytes of chunks that overlap in time


@dataclass
class _Part:
    """Some records of a file: a chunk, or what lies between two.

    start, end: times of messages. channels: that have messages in it, None where nobody knows.
    """

    at: int
    length: int
    start: int = 2**63
    end: int = -1
    channels: Collection[int] | None = None


class McapStorage:
    """See `Storage`. Raises BagError or ValueError where nothing can be read."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._file = file
        self._size = path.stat().st_size
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ValueError("it does not begin as MCAP")
        self.damage = ""
        self._open = 0
        self._schemas: dict[int, Schema] = {}
        self._channels: dict[int, Channel] = {}
        self._counts: Counter[int] = Counter()
        self._parts: list[_Part] = []
        self._has_index = self._read_index()
        if not self._has_index:
            self._walk()
        self.topics = [
            topic for channel in self._channels.values() if (topic := self._stored(channel))
        ]
        if self._channels and not self.topics:
            kinds = sorted({channel.message_encoding for channel in self._channels.values()})
            raise BagError(
                f"{path}: an MCAP whose messages are not those of ROS (profile "
                f"{self._profile()!r}, messages as {', '.join(kinds)}), which are needed"
            )

    def messages(
        self, wanted: Collection[Stored], start: int, stop: int
    ) -> Iterator[tuple[Stored, int, bytes]]:
        topics = {topic.id: topic for topic in wanted}
        parts = [
            self._messages(part, topics, start, stop)
            for part in self._parts
            if part.start < stop
            and part.end >= start
            and (part.channels is None or not topics.keys().isdisjoint(part.channels))
        ]
        for time, message in heapq.merge(*parts, key=lambda pair: pair[0]):
            if message is not None:
                yield topics[message.channel_id], time, message.data

    def _messages(
        self, part: _Part, topics: Collection[int], start: int, stop: int
    ) -> Iterator[tuple[int, Message | None]]:
        """In order of time; None first, so that a part is not read before its time has come."""
        yield part.start, None
        data = self._bytes(part)
        self._open += len(data)
        if self._open > _OPEN:
            raise ValueError(f"its chunks hold more than {_OPEN // 2**20} MB of one time")
        found = [
            record
            for record in _records(data)
            if isinstance(record, Message)
            and record.channel_id in topics
            and start <= record.log_time < stop
        ]
        yield from ((m.log_time, m) for m in sorted(found, key=lambda m: m.log_time))
        self._open -= len(data)

    def _bytes(self, part: _Part) -> bytes:
        """The records of a part, unpacked; of a damaged chunk none, which `damage` tells."""
        self._file.seek(part.at)
        data = self._file.read(min(part.length, MAX_CHUNK))
        if data[:1] != bytes([Opcode.CHUNK]):
            return data
        chunk = Chunk.read(ReadDataStream(io.BytesIO(data[_HEAD:])))
        records = unpacked(chunk.data, chunk.compression)
        # The last one of a file without its end is whole up to somewhere.
        is_cut = not self._has_index and part is self._parts[-1]
        sums = (0, zlib.crc32(records))  # 0: the recorder has made none
        if is_cut or (len(records) == chunk.uncompressed_size and chunk.uncompressed_crc in sums):
            return records
        self.damage = f"the chunk at byte {part.at} is damaged (check sum); it is left out"
        return b""

    def _read_index(self) -> bool:
        """Whether there is one that tells all."""
        self._file.seek(-len(_MAGIC), io.SEEK_END)
        if self._file.read() != _MAGIC:
            return False
        self._file.seek(0)  # where the reader looks for the magic bytes
        try:
            found = SeekingReader(self._file, record_size_limit=self._size).get_summary()
        except Exception:  # nearly anything can surface out of a broken index
            return False
        numbers = found.statistics if found else None
        if not (found and numbers and len(found.chunk_indexes) == numbers.chunk_count):
            return False
        counts = Counter(numbers.channel_message_counts)
        if counts.keys() - found.channels.keys() or (counts.total() and not found.chunk_indexes):
            return False
        if counts.total() != numbers.message_count:  # a writer may leave the counts out
            return False
        self._schemas, self._channels, self._counts = found.schemas, found.channels, counts
        self._parts = [
            _Part(
                c.chunk_start_offset,
                c.chunk_length,
                c.message_start_time,
                c.message_end_time,
                # Empty where the writer was told to leave it out.
                c.message_index_offsets or None,
            )
            for c in found.chunk_indexes
        ]
        return True

    def _walk(self) -> None:
        """Finds all records, up to where the file was cut."""
        at, head, loose = len(_MAGIC), b"", None
        while at + _HEAD <= self._size:
            self._file.seek(at)
            head = self._file.read(_HEAD)
            is_chunk, length = head[0] == Opcode.CHUNK, _HEAD + int.from_bytes(head[1:], "little")
            if not 0 < head[0] < Opcode.DATA_END or (at + length > self._size and not is_chunk):
                break
            if is_chunk or loose is None or loose.length > _PART:
                part = _Part(at, 0)
                self._parts.append(part)
            loose = None if is_chunk else part
            part.length += length
            at += length
        for part in self._parts:
            for record in _records(self._bytes(part)):
                self._note(record, part)
        self._parts = [part for part in self._parts if part.end >= 0]
        self._file.seek(-len(_MAGIC), io.SEEK_END)
        if head[:1] != bytes([Opcode.DATA_END]) or self._file.read() != _MAGIC:
            self.damage = (
                self.damage
                or f"cut short after {self._counts.total()} messages, {self._size} bytes"
            )

    def _note(self, record: McapRecord, part: _Part) -> None:
        if isinstance(record, Schema):
            self._schemas[record.id] = record
        elif isinstance(record, Channel):
            self._channels[record.id] = record
        elif isinstance(record, Message) and record.channel_id in self._channels:
            self._counts[record.channel_id] += 1
            part.start = min(part.start, record.log_time)
            part.end = max(part.end, record.log_time)

    def _stored(self, channel: Channel) -> Stored | None:
        """The topic of a channel; None where its messages are not those of ROS."""
        schema = self._schemas.get(channel.schema_id)
        if schema is None or channel.message_encoding not in ("cdr", "ros1"):
            return None
        package, _, name = schema.name.partition("/")
        return Stored(
            channel.id,
            channel.topic,
            f"{package}/msg/{name.removeprefix('msg/')}",
            self._counts[channel.id],
            is_latched(channel.metadata.get("offered_qos_profiles", "")),
            channel.message_encoding == "ros1",
        )

    def _profile(self) -> str:
        self._file.seek(len(_MAGIC))
        first = next(_records(self._file.read(_PART)), None)
        return first.profile if isinstance(first, Header) else ""


def _records(data: bytes) -> Iterator[McapRecord]:
    """The whole records at the beginning of some bytes."""
    reader = StreamReader(io.BytesIO(data), skip_magic=True, emit_chunks=True)
    with suppress(McapError, ValueError, struct.error):
        yield from reader.records
