"""Files that appear whole or not at all; lines of JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path beside `path` to write to, with the same ending, that takes its place at the end.

    Where the block raises, what it wrote is removed and a file that was at `path` stays as it was.
    Makes the folder if need be.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.stem}.{os.getpid()}.partial{target.suffix}")
    try:
        yield partial
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def read_json_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The JSON objects of a file with one on each line, and their line numbers from 1.

    Blank lines are skipped. Raises ValueError naming file and line where one is no JSON object.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file of JSON lines ({error.reason})") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{path}:{number}: not JSON ({error.msg} at column {error.colno}); "
                "each line must be one JSON object"
            ) from error
        if not isinstance(record, dict):
            raise ValueError(
                f"{path}:{number}: a JSON object is needed, not {type(record).__name__}"
            )
        yield number, record


Image = NDArray[np.uint8]

VIDEO_ENDINGS = (".mp4", ".mkv", ".avi")


@contextmanager
def writing_lines(path: str | os.PathLike[str]) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Gives a function that adds one JSON object as a line of the file."""
    with replacing(path) as partial, partial.open("w", encoding="utf-8") as file:
        yield lambda record: print(json.dumps(record), file=file)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes one JSON value, indented."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def write_image(path: str | os.PathLike[str], image: Image) -> None:
    """Writes an image in the format of the ending. Raises OSError where that cannot be done."""
    ending = Path(path).suffix
    options = [cv2.IMWRITE_JPEG_QUALITY, 92] if ending.lower() in (".jpg", ".jpeg") else []
    try:
        _, data = cv2.imencode(ending, image, options)
    except cv2.error as error:
        raise OSError(f"{path}: OpenCV cannot write images as {ending or 'nothing'}") from error
    with replacing(path) as partial:
        partial.write_bytes(data.tobytes())


@contextmanager
def writing_video(
    path: str | os.PathLike[str], rate: float, *, for_browsers: bool = False
) -> Iterator[Callable[[Image], None]]:
    """Gives a function that adds H×W×3 BGR frames to a video of `rate` Hz.

    The first frame sets the size; others are scaled to it. The codec is MPEG-4 part 2, which
    players know (VLC, mpv, QuickTime, ffmpeg) but browsers do not. for_browsers: VP9 instead, the
    only codec in OpenCV's packages that browsers play from an .mp4; it takes about 0.3 s of
    computing for a frame of 1280×720. Raises OSError where the video cannot be written.
    """
    codec = "vp09" if for_browsers else "mp4v"
    with replacing(path) as partial:
        writer = cv2.VideoWriter()
        size = (0, 0)

        def add(image: Image) -> None:
            nonlocal size
            if not writer.isOpened():
                size = image.shape[1], image.shape[0]
                code = cv2.VideoWriter.fourcc(*codec)
                if not writer.open(str(partial), cv2.CAP_FFMPEG, code, rate, size):
                    raise OSError(f"{path}: OpenCV cannot write a video of {codec} here")
            if (image.shape[1], image.shape[0]) != size:
                image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
            writer.write(image)

        try:
            yield add
        finally:
            writer.release()
        if not partial.exists():
            raise OSError(f"{path}: no frame for this video")


class SourceError(ValueError):
    """Input that cannot be read; the text is one line for the user."""


def read_image(path: Path) -> Image:
    """An image file as H×W×3 uint8 BGR. Raises SourceError naming the file."""
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror})") from error
    if not data.size:
        raise SourceError(f"{path}: an empty file, not an image")
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    if image is None:
        raise SourceError(f"{path}: not an image that OpenCV can read, or cut short")
    return np.asarray(image, np.uint8)


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) that a JPEG's frame header says; None of anything else."""
    at = 2 if data.startswith(b"\xff\xd8") else len(data)
    while at + 9 <= len(data):
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        # C0 to CF begin a frame, but for C4, C8 and CC, which hold tables.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = (int.from_bytes(data[at + i : at + i + 2], "big") for i in (5, 7))
            return width, height
        at += 2 + length
    return None
