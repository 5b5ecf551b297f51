"""SQLite files of rosbag2 (.db3), whole or cut short.

One that lost its end is read row by row; one whose recorder was killed has its last messages in a
second file, ending in -wal, which SQLite reads. Nothing is written into a file.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from lane_sad_ros.recordings.storage import Stored, is_latched


@contextmanager
def sqlite_storage(path: Path) -> Iterator[SqliteStorage]:
    """An open file; leaves nothing behind."""
    shared = path.with_name(f"{path.name}-shm")
    had_shared = shared.exists()
    try:
        with closing(_connect(path)) as database:
            yield SqliteStorage(path, database)
    finally:
        if not had_shared:  # SQLite made it, to read the log
            shared.unlink(missing_ok=True)


class SqliteStorage:
    """See `Storage`. Raises sqlite3.Error where nothing can be read."""

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self._database = database
        counts: Counter[int] = Counter()
        size = path.stat().st_size
        (pages,), (page_size,) = (
            database.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size")
        )
        cut = not _log(path) and pages * page_size > size
        try:
            for (topic,) in database.execute("SELECT topic_id FROM messages ORDER BY id"):
                counts[topic] += 1
        except sqlite3.DatabaseError:
            cut = True
        self.damage = f"cut short after {counts.total()} messages, {size} bytes" if cut else ""
        columns = [row[1] for row in database.execute("PRAGMA table_info(topics)")]
        profiles = "offered_qos_profiles" if "offered_qos_profiles" in columns else "''"
        self.topics = [
            Stored(id_, name, kind, counts[id_], is_latched(qos))
            for id_, name, kind, qos in database.execute(
                f"SELECT id, name, type, {profiles} FROM topics WHERE serialization_format = 'cdr'"
            )
        ]

    def messages(
        self, wanted: Collection[Stored], start: int, stop: int
    ) -> Iterator[tuple[Stored, int, bytes]]:
        topics = {topic.id: topic for topic in wanted}
        query = "SELECT topic_id, timestamp, data FROM messages"
        if self.damage:  # maybe also of the index by time
            rows = self._database.execute(f"{query} ORDER BY id")
        else:
            marks = ", ".join("?" * len(topics))
            within = f"topic_id IN ({marks}) AND timestamp >= ? AND timestamp < ?"
            rows = self._database.execute(
                f"{query} WHERE {within} ORDER BY timestamp, id", (*topics, start, stop)
            )
        try:
            for topic, time, data in rows:
                if topic in topics and start <= time < stop:
                    yield topics[topic], time, data
        except sqlite3.DatabaseError:  # where the rows end
            if not self.damage:
                raise


def _connect(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, and does not mind that the file is shorter than it says."""
    how = "mode=ro" if _log(path) else "immutable=1"
    database = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True)
    database.execute("PRAGMA writable_schema=ON")
    return database


def _log(path: Path) -> bool:
    """Whether a recorder was killed: messages wait in a second file."""
    log = path.with_name(f"{path.name}-wal")
    return log.is_file() and log.stat().st_size > 0
