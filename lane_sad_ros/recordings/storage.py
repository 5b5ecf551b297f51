"""What every file of a recording is read as: its topics, its messages, what is missing of it."""

from __future__ import annotations

import bz2
import io
import shutil
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Protocol

import lz4.frame
import yaml
import zstandard

from lane_sad_ros.files import natural, parse_yaml, read_yaml

MAX_CHUNK = 256 * 2**20
"""Bytes that a packed part of a recording may unpack to; recorders make parts of about 1 MB."""

METADATA = "metadata.yaml"
STORAGE_ENDINGS = (".mcap", ".db3")
"""What the files of a recording may end in."""
PACKED = ".zstd"
"""Behind that, where a recorder has packed whole files."""

_ZSTD = b"\x28\xb5\x2f\xfd"
_PIECE = 2**17  # bytes unpacked at once
_SPARE = 64 * 2**20  # bytes left free on a disk


@dataclass(frozen=True)
class Stored:
    """A topic of one file.

    id: in the file. type: such as sensor_msgs/msg/Image. latched: whether who subscribes later
    receives its last message, too. ros1: whether its messages are serialized as in ROS 1.
    """

    id: int
    topic: str
    type: str
    count: int
    latched: bool = False
    ros1: bool = False


class Storage(Protocol):
    """An open file.

    damage: what is missing of it, one line; empty where nothing is.
    """

    topics: list[Stored]
    damage: str

    def messages(
        self, wanted: Collection[Stored], start: int, stop: int
    ) -> Iterator[tuple[Stored, int, bytes]]:
        """(topic, time, data) of messages recorded at start <= time < stop, in order of time."""
        ...


def ending_of(path: Path) -> str:
    """Of a file, in small letters, without that of packing."""
    name = path.name.lower()
    return Path(name.removesuffix(PACKED)).suffix


def storage_files(folder: Path) -> list[Path]:
    """The files of a recording in their order, as metadata.yaml tells it.

    A recorder writes that at its end; where it was killed there is none, and names tell.
    Raises ValueError for a metadata.yaml that does not tell.
    """
    metadata = folder / METADATA
    if metadata.is_file():
        try:
            told = read_yaml(metadata)["rosbag2_bagfile_information"]["relative_file_paths"]
            files = [folder / PurePath(path).name for path in list(told)]
        except (KeyError, TypeError) as error:
            raise ValueError(f"{metadata}: not that of a bag ({error!r})") from error
        if wrong := [file for file in files if ending_of(file) not in STORAGE_ENDINGS]:
            raise ValueError(f"{metadata}: {wrong[0]} is no file of a recording")
        return files
    found = [file for file in folder.iterdir() if ending_of(file) in STORAGE_ENDINGS]
    # A recorder that was killed while it packed a file leaves both.
    whole = [file for file in found if file.with_suffix("") not in found]
    return sorted(whole, key=lambda file: natural(file.name))


def is_latched(profiles: str) -> bool:
    """Whether one of the QoS profiles, YAML as recorders write them, is transient local."""
    with suppress(yaml.YAMLError, AttributeError, TypeError):
        return any(
            profile.get("durability") in (1, "transient_local")
            for profile in parse_yaml(profiles) or ()
        )
    return False


def unpacked(data: bytes, how: str) -> bytes:
    """What is packed in `data`, as much of it as there is: "", "zstd", "lz4" or "bz2".

    Raises ValueError for more than `MAX_CHUNK` bytes.
    """
    if how not in _READERS:
        raise ValueError(f"packed by {how}, which is not known here")
    pieces, size = [], 0
    broken = (EOFError, RuntimeError, OSError, zstandard.ZstdError)  # where it was cut
    with suppress(*broken), _READERS[how](io.BytesIO(data)) as file:
        while size <= MAX_CHUNK and (piece := file.read(_PIECE)):
            pieces.append(piece)
            size += len(piece)
    if size > MAX_CHUNK:
        raise ValueError(
            f"{len(data)} bytes unpack to more than {MAX_CHUNK // 2**20} MB, as no recorder packs"
        )
    return b"".join(pieces)


def message_bytes(data: bytes) -> bytes:
    """A message as it was before a recorder packed it; CDR never begins as packed data does."""
    return unpacked(data, "zstd") if data.startswith(_ZSTD) else data


def unpack_file(path: Path, folder: Path) -> Path:
    """A packed file (.zstd) as one in another folder, as far as it goes.

    Raises ValueError where the disk would not hold it.
    """
    target = folder / path.stem
    with path.open("rb") as packed, target.open("wb") as file, suppress(zstandard.ZstdError):
        reader = _zstd(packed)
        while piece := reader.read(_PIECE):
            if shutil.disk_usage(folder).free < _SPARE:
                raise ValueError(f"{path}: the disk of {folder} does not hold what is in it")
            file.write(piece)
    return target


def _zstd(file: Any) -> Any:
    return zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)


_READERS: dict[str, Any] = {
    "": lambda file: file,
    "zstd": _zstd,
    "lz4": lz4.frame.open,
    "bz2": bz2.open,
}
