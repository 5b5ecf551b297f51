"""Bags whose recording was cut short: what is left of them is read, and what is missing is said."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from numpy.typing import NDArray

from lane_sad_ros.recordings import bags, writing
from lane_sad_ros.recordings.message_types import MESSAGES, BagError, typestore

COUNT = 30
STEP = 50_000_000
START = 10**18
TOPIC = "/camera/image/compressed"
KIND = "sensor_msgs/msg/CompressedImage"


def payload(index: int) -> NDArray[np.uint8]:
    """What cannot be compressed, so that chunks of MCAP, 1 MiB each, hold about ten."""
    return np.random.default_rng(index).integers(0, 256, 100_000, np.uint8)


def message(index: int) -> object:
    return typestore().types[KIND](
        header=MESSAGES.header(START + index * STEP, "camera"), format="jpeg", data=payload(index)
    )


def write_bag(path: Path, count: int = COUNT) -> Path:
    with writing.writing_bag(path) as writer:
        for index in range(count):
            writer.write("/other", MESSAGES.header(START, ""), START + index * STEP)
            writer.write(TOPIC, message(index), START + index * STEP)
    return path


def read(path: Path) -> tuple[list[int], str]:
    """Indices of the whole, right messages that are left, and what is said of the rest."""
    found: list[int] = []
    try:
        for time, image in bags.ImageTopic(path):
            index = (time - START) // STEP
            assert image.header.stamp.sec * 10**9 + image.header.stamp.nanosec == time
            np.testing.assert_array_equal(image.data, payload(index))
            found.append(index)
    except BagError as error:
        return found, str(error)
    return found, ""


def cut(path: Path, size: int) -> Path:
    with path.open("r+b") as file:
        file.truncate(size)
    return path


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.77, 0.95])
def test_mcap_is_read_up_to_the_cut_also_inside_of_a_chunk(tmp_path: Path, share: float) -> None:
    path = write_bag(tmp_path / "a.mcap")
    size = int(share * path.stat().st_size)
    found, said = read(cut(path, size))
    assert found == list(range(len(found)))
    # A message is lost only if some of its bytes are.
    assert len(found) >= size // 100_300 - 1
    if found:
        assert said == f"{path}: cut short after {2 * len(found) + 1} messages, {size} bytes" or (
            said == f"{path}: cut short after {2 * len(found)} messages, {size} bytes"
        )
    else:
        assert said.startswith(f"{path}: ")


@pytest.mark.parametrize("lost", [1, 9, 100, 700])
def test_mcap_without_its_end_has_lost_no_message(tmp_path: Path, lost: int) -> None:
    path = write_bag(tmp_path / "a.mcap")
    found, said = read(cut(path, path.stat().st_size - lost))
    assert found == list(range(COUNT)) and "cut short after 60 messages" in said


def test_mcap_with_zeros_where_its_end_should_be(tmp_path: Path) -> None:
    """As file systems leave it after a power failure."""
    path = write_bag(tmp_path / "a.mcap")
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(bytes(size - size // 2))
    with pytest.raises(BagError, match=r"a\.mcap: "):
        list(bags.ImageTopic(path))
    topic, found = bags.ImageTopic(path), []
    for recorded in topic.raw():
        image = topic.parse(recorded)
        if not np.array_equal(image.data, payload(len(found))):
            break  # the message that the zeros begin in
        found.append((recorded.time_ns - START) // STEP)
    assert found == list(range(len(found))) and len(found) >= 13


def packed_mcap(path: Path, packing: str) -> Path:
    """Chunks of about ten messages, packed by the reference writer."""
    with path.open("wb") as file:
        writer = McapWriter(file, 2**20, CompressionType[packing])
        writer.start("ros2", "test")
        schema = writer.register_schema(KIND, "ros2msg", b"")
        channel = writer.register_channel(TOPIC, "cdr", schema)
        for index in range(COUNT):
            data = bytes(typestore().serialize_cdr(message(index), KIND))
            time = START + index * STEP
            writer.add_message(channel, time, data, time)
        header = writer.register_schema("std_msgs/msg/Header", "ros2msg", b"")
        data = bytes(typestore().serialize_cdr(MESSAGES.header(START, ""), "std_msgs/msg/Header"))
        writer.add_message(writer.register_channel("/late", "cdr", header), time, data, time)
        writer.finish()
    return path


@pytest.mark.parametrize("packing", ["ZSTD", "LZ4", "NONE"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_a_packed_chunk_is_read_up_to_the_cut(tmp_path: Path, packing: str, share: float) -> None:
    path = packed_mcap(tmp_path / "a.mcap", packing)
    assert read(path) == (list(range(COUNT)), "")
    size = int(share * path.stat().st_size)
    found, said = read(cut(path, size))
    assert found == list(range(len(found))) and f"cut short after {len(found)} messages" in said
    # Packed blocks hold up to 128 kB, a message or two.
    assert len(found) >= size // 100_300 - 4


@pytest.mark.parametrize("lost", [0, 100], ids=["whole", "cut"])
@pytest.mark.parametrize("packing", ["ZSTD", "LZ4", "NONE"])
def test_a_chunk_with_a_flipped_byte_is_left_out(tmp_path: Path, packing: str, lost: int) -> None:
    path = packed_mcap(tmp_path / "a.mcap", packing)
    content = bytearray(path.read_bytes()[: -lost or None])
    content[len(content) // 2] ^= 1  # within the pixels of a message of the second chunk
    path.write_bytes(content)
    found, said = read(path)
    assert found == [index for index in range(COUNT) if not 11 <= index < 22]
    assert said.startswith(f"{path}: the chunk at byte ") and "is damaged (check sum)" in said


def test_chunks_without_the_topic_are_not_read(tmp_path: Path) -> None:
    path = packed_mcap(tmp_path / "a.mcap", "ZSTD")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert len(list(bags.recorded(path, ["/late"]))) == 1


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_sqlite_is_read_up_to_the_cut(tmp_path: Path, share: float) -> None:
    path = write_bag(tmp_path / "a.db3")
    found, said = read(cut(path, int(share * path.stat().st_size)))
    assert found == list(range(len(found)))
    assert len(found) >= share * COUNT - 2
    assert said.startswith(f"{path}: cut short after ")


@contextmanager
def killed(path: Path) -> Iterator[None]:
    """The last third of a bag's messages waits in a log, as a killed recorder leaves it."""
    rows = slice(2 * COUNT // 3, COUNT)
    with closing(sqlite3.connect(path)) as database:
        database.execute("pragma journal_mode=wal")
        database.execute("pragma wal_autocheckpoint=0")
        kind = typestore()
        for index in range(COUNT)[rows]:
            data = kind.serialize_cdr(message(index), KIND)
            database.execute(
                "insert into messages (topic_id, timestamp, data) "
                "select id, ?, ? from topics where name = ?",
                (START + index * STEP, bytes(data), TOPIC),
            )
        database.commit()
        copies = [shutil.copy(file, tmp) for file, tmp in backups(path)]
        assert copies
    for file, tmp in backups(path):
        shutil.copy(tmp, file)
    yield


def backups(path: Path) -> list[tuple[Path, Path]]:
    return [(path.with_name(path.name + end), path.with_name(f"copy{end}")) for end in ("", "-wal")]


def test_messages_in_the_log_of_a_killed_recorder_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "recording"
    folder.mkdir()
    path = write_bag(folder / "a.db3", 2 * COUNT // 3)
    with killed(path):
        before = {file.name: file.read_bytes() for file in folder.iterdir()}
        assert read(path) == (list(range(COUNT)), "")
        # Nothing was written, and nothing is left behind.
        assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_a_folder_whose_recorder_was_killed_is_read_file_by_file(tmp_path: Path) -> None:
    folder = tmp_path / "drive"
    folder.mkdir()
    whole = write_bag(tmp_path / "whole.mcap")
    # Two files, the second one cut; ten comes after nine.
    for name in ("drive_9.mcap", "drive_10.mcap"):
        shutil.copy(whole, folder / name)
    cut(folder / "drive_10.mcap", whole.stat().st_size // 2)
    found, said = read(folder)
    assert found[:COUNT] == list(range(COUNT)) and found[COUNT:] == list(range(len(found) - COUNT))
    assert len(found) - COUNT in (14, 15) and "drive_10.mcap: cut short after" in said
    assert bags.ImageTopic(folder).count == len(found)
    (folder / "drive_10.mcap").write_text("nothing of a bag")
    with pytest.raises(BagError, match=r"drive_10\.mcap: cannot be read"):
        list(bags.ImageTopic(folder))


def test_a_part_of_a_cut_bag_can_be_asked_for(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "a.mcap")
    topic = bags.ImageTopic(cut(path, path.stat().st_size - 100))
    messages = topic.raw(START + 3 * STEP, START + 5 * STEP)
    assert [next(messages).time_ns, next(messages).time_ns] == [START + 3 * STEP, START + 4 * STEP]
    with pytest.raises(BagError, match="cut short"):
        next(messages)
