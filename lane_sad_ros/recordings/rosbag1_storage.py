"""Files of rosbag1 (.bag)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rosbags.interfaces import ConnectionExtRosbag1
from rosbags.rosbag1 import Reader
from rosbags.rosbag1 import reader as rosbags_reader

from lane_sad_ros.recordings.storage import Stored, unpacked

# What rosbags unpacks has no limit of its own.
rosbags_reader.decompressors.update({how: partial(unpacked, how=how) for how in ("bz2", "lz4")})


@contextmanager
def rosbag1_storage(path: Path) -> Iterator[Rosbag1Storage]:
    """An open file."""
    with Reader(path) as reader:
        yield Rosbag1Storage(reader)


class Rosbag1Storage:
    """See `Storage`."""

    damage = ""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.topics = [
            Stored(c.id, c.topic, c.msgtype, c.msgcount, bool(c.ext.latching), ros1=True)
            for c in reader.connections
            if isinstance(c.ext, ConnectionExtRosbag1)
        ]

    def messages(
        self, wanted: Collection[Stored], start: int, stop: int
    ) -> Iterator[tuple[Stored, int, bytes]]:
        topics = {topic.id: topic for topic in wanted}
        connections = [c for c in self._reader.connections if c.id in topics]
        for connection, time, data in self._reader.messages(connections, start, stop):
            yield topics[connection.id], time, bytes(data)
