"""Bags written without ROS; a bag appears when it is complete."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer

from lane_sad_ros.names import TF_TOPIC
from lane_sad_ros.recordings.bags import topics
from lane_sad_ros.recordings.message_types import BagError, typestore

_PLUGINS = {".mcap": StoragePlugin.MCAP, ".db3": StoragePlugin.SQLITE3}

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

_QOS = {TF_TOPIC: (_LATCHED,)}  # who comes late needs it too


class BagWriter:
    """Adds messages to a bag that `writing_bag` has opened. count: of messages so far."""

    def __init__(self, writer: Writer, path: Path) -> None:
        self.count = 0
        self._writer = writer
        self._path = path
        self._connections: dict[str, Connection] = {}

    def write(self, topic: str, message: Any, time_ns: int) -> None:
        """Adds a message made of a class of `typestore()`; time_ns is that of its recording."""
        name = message.__msgtype__
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic, name, typestore=typestore(), offered_qos_profiles=_QOS.get(topic, ())
            )
        data = typestore().serialize_cdr(message, name)
        with _write_errors(self._path):
            self._writer.write(self._connections[topic], time_ns, data)
        self.count += 1


@contextmanager
def writing_bag(path: str | os.PathLike[str]) -> Iterator[BagWriter]:
    """Writes one .mcap or .db3 file, which appears under its name when the block has ended.

    It is read back first. Where the block raises, nothing is left of it. Raises BagError for
    another ending, OSError naming the file where not all of it could be written.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in _PLUGINS:
        raise BagError(f"{path}: a bag to write must end in .mcap or .db3")
    path.parent.mkdir(parents=True, exist_ok=True)
    # rosbags makes a folder with one storage file in it; the file alone is a bag as well.
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        bag = Path(folder, "bag")
        with _write_errors(path):
            writer = Writer(bag, version=Writer.VERSION_LATEST, storage_plugin=_PLUGINS[ending])
            writer.open()
        added = BagWriter(writer, path)
        try:
            yield added
            with _write_errors(path):
                writer.close()
        except BaseException:
            with suppress(Exception):
                writer.abort()
            raise
        with _write_errors(path):
            (written,) = bag.glob(f"*{ending}")
            if sum(topic.count for topic in topics(written)) != added.count:
                raise OSError(f"only a part of {added.count} messages is there")
            os.replace(written, path)


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    """What goes wrong with a file being written is an OSError that names it."""
    try:
        yield
    # The writers of two formats raise their own errors on a full disk.
    except Exception as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise OSError(f"{path}: cannot be written ({reason})") from error
