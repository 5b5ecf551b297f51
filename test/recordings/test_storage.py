"""Recordings of other kinds: ROS 1 in MCAP, packed by recorders, files that unpack to too much."""

import bz2
import os
from pathlib import Path

import numpy as np
import pytest
import zstandard
from mcap.data_stream import RecordBuilder
from mcap.reader import make_reader
from mcap.records import Chunk, Statistics
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from lane_sad_ros.recordings import bags, storage, writing
from lane_sad_ros.recordings.message_types import MESSAGES, BagError, typestore
from lane_sad_ros.recordings.sources import open_frames

KIND = "sensor_msgs/msg/Image"
TOPIC = "/camera/image"
COUNT = 4


def image(index: int) -> object:
    pixels = np.full((4, 6, 3), 10 * index, np.uint8)
    return MESSAGES.image(pixels, "bgr8", MESSAGES.header(10**9 * (index + 1), "front"))


def shades(path: Path) -> list[int]:
    return [int(frame.image[0, 0, 0]) for frame in open_frames(path)]


EXPECTED = [10 * index for index in range(COUNT)]


def write_mcap(path: Path, profile: str, encoding: str, schema: tuple[str, str]) -> Path:
    """As `mcap convert drive.bag drive.mcap` does for ROS 1."""
    with path.open("wb") as file:
        writer = McapWriter(file, compression=CompressionType.LZ4)
        writer.start(profile, "test")
        channel = writer.register_channel(TOPIC, encoding, writer.register_schema(*schema, b""))
        for index in range(COUNT):
            data = typestore().serialize_cdr(image(index), KIND)
            if encoding == "ros1":
                data = typestore().cdr_to_ros1(data, KIND)
            writer.add_message(channel, index, bytes(data), index)
        writer.finish()
    return path


def test_an_mcap_of_ros_1_is_read(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / "a.mcap", "ros1", "ros1", ("sensor_msgs/Image", "ros1msg"))
    assert shades(path) == EXPECTED
    (topic,) = bags.topics(path)
    assert (topic.name, topic.type, topic.count) == (TOPIC, KIND, COUNT)


def test_an_mcap_of_something_else_is_named(tmp_path: Path) -> None:
    schema = ("foxglove.CompressedImage", "protobuf")
    path = write_mcap(tmp_path / "a.mcap", "", "protobuf", schema)
    with pytest.raises(BagError, match=r"^[^\n]*a\.mcap: [^\n]*not those of ROS.*protobuf"):
        bags.topics(path)


def test_an_mcap_without_the_counts_of_its_channels_is_not_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The specification leaves them to the writer."""
    write = Statistics.write

    def without_counts(self: Statistics, builder: RecordBuilder) -> None:
        self.channel_message_counts = {}
        write(self, builder)

    monkeypatch.setattr(Statistics, "write", without_counts)
    path = write_mcap(tmp_path / "a.mcap", "ros2", "cdr", (KIND, "ros2msg"))
    with path.open("rb") as file:
        summary = make_reader(file).get_summary()
    assert summary and summary.statistics and not summary.statistics.channel_message_counts
    assert shades(path) == EXPECTED
    assert [topic.count for topic in bags.topics(path)] == [COUNT]


@pytest.mark.parametrize("plugin", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE])
@pytest.mark.parametrize("metadata", [True, False])
def test_packed_recordings_are_read_also_without_their_metadata(
    tmp_path: Path, plugin: StoragePlugin, mode: CompressionMode, metadata: bool
) -> None:
    folder = tmp_path / "drive"
    writer = Writer(folder, version=8, storage_plugin=plugin)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection(TOPIC, KIND, typestore=typestore())
        for index in range(COUNT):
            writer.write(connection, index, typestore().serialize_cdr(image(index), KIND))
    if not metadata:
        (folder / "metadata.yaml").unlink()
    assert shades(folder) == EXPECTED
    (file,) = storage.storage_files(folder)
    assert shades(file) == EXPECTED


def test_endings_are_known_without_regard_to_case(tmp_path: Path) -> None:
    with writing.writing_bag(tmp_path / "a.mcap") as writer:
        writer.write(TOPIC, image(1), 1)
    (tmp_path / "a.mcap").rename(tmp_path / "A.MCAP")
    assert shades(tmp_path / "A.MCAP") == [10]


def test_a_file_that_metadata_names_and_is_gone_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "drive"
    with Writer(folder, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection(TOPIC, KIND, typestore=typestore())
        writer.write(connection, 1, typestore().serialize_cdr(image(1), KIND))
    text = (folder / "metadata.yaml").read_text()
    (folder / "metadata.yaml").write_text(text.replace("- drive.mcap", "- drive.mcap\n  - b.mcap"))
    told: list[str] = []
    assert [frame.stamp_ns for frame in open_frames(folder, on_bad=told.append)] == [2 * 10**9]
    assert len(told) == 1 and "b.mcap: cannot be read" in told[0]


# --- bombs


def bomb(kind: str, size: int) -> bytes:
    """Zeros, packed small; the zstd header tells of another size, or of none."""
    if kind == "bz2":
        return bz2.compress(bytes(size), 9)
    packer = zstandard.ZstdCompressor(19, write_content_size=kind == "zstd").compressobj(
        **({"size": size} if kind == "zstd" else {})
    )
    piece = bytes(2**20)
    pieces = [packer.compress(piece) for _ in range(size // len(piece))]
    return b"".join([*pieces, packer.flush()])


@pytest.mark.parametrize("kind", ["zstd", "zstd of unknown size"])
def test_a_chunk_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "MAX_CHUNK", 2**22)
    data = bomb(kind, 2**24)
    assert len(data) < 2**14
    path = tmp_path / "a.mcap"
    with path.open("wb") as file:
        file.write(b"\x89MCAP0\r\n")
        chunk = Chunk("zstd", data, 1, 0, 0, 1000)  # it claims to be small
        builder = RecordBuilder()
        chunk.write(builder)
        file.write(builder.end())
    with pytest.raises(BagError, match=r"^[^\n]*a\.mcap: [^\n]*unpack to more than 4 MB"):
        bags.topics(path)


def test_a_message_that_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "MAX_CHUNK", 2**20)
    with pytest.raises(ValueError, match="more than 1 MB"):
        storage.message_bytes(bomb("zstd", 2**22))
    with pytest.raises(ValueError, match="more than 1 MB"):
        storage.unpacked(bomb("bz2", 2**22), "bz2")


def test_metadata_whose_aliases_multiply_is_refused(tmp_path: Path) -> None:
    rows = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))
    (tmp_path / "metadata.yaml").write_text(f"a0: &a0 [x, y]\n{rows}\n")
    with pytest.raises(BagError, match="aliases stand for more than"):
        bags.topics(tmp_path)


@pytest.mark.parametrize("ending", ["db3", "mcap"])
def test_no_handle_stays_open(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    with writing.writing_bag(path) as writer:
        writer.write(TOPIC, image(1), 1)
    shades(path)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        shades(path)
    assert len(os.listdir("/proc/self/fd")) == before
