"""Video files: written whole or not at all."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.files import replacing
from lane_sad_ros.image_files import Image

VIDEO_ENDINGS = (".mp4", ".mkv", ".avi")
"""What a video that is written may end in."""

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv")
"""What a video that is read may end in."""

_COUNTING = (rb"....(ftyp|moov|mdat|free|skip|wide)", rb"RIFF....AVI ")
_TIMING = (
    rb"\x1a\x45\xdf\xa3",  # Matroska, WebM
    rb"\x47.{187}\x47",  # transport streams
    rb"\0\0\x01[\xb3\xba]",  # MPEG 1 and 2
    rb"\x30\x26\xb2\x75",  # Windows media
)
_PICTURES = rb"....ftyp(hei|hev|mif1|msf1|avi[fs])"
_TABLE = 2**26  # bytes of a table of MP4 that are read at most
_HELD = 10.0  # seconds that a frame of a variable rate is shown for at most

_Span = tuple[int, int]
"""Where something of a file begins and ends."""


def counts_frames(path: str | os.PathLike[str]) -> bool | None:
    """Whether a video's container tells how many frames it holds, and not how long it lasts.

    None where its first bytes are those of no container of videos that is read here.
    """
    with open(path, "rb") as file:
        head = file.read(256)
    if re.match(_PICTURES, head, re.DOTALL):
        return None
    for kinds, counts in ((_COUNTING, True), (_TIMING, False)):
        if any(re.match(kind, head, re.DOTALL) for kind in kinds):
            return counts
    return None


def is_cut_matroska(path: str | os.PathLike[str]) -> bool:
    """Whether a Matroska or WebM file ends before its one segment, which says how long it is."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        head = file.read(1024)
    at = head.find(b"\x18\x53\x80\x67") + 4  # the segment, behind a short header
    if not head.startswith(b"\x1a\x45\xdf\xa3") or at < 5 or at >= len(head) or not head[at]:
        return False
    width = 9 - head[at].bit_length()  # of the number of bytes; its highest bit says so
    length = int.from_bytes(head[at : at + width], "big") - (1 << 7 * width)
    return length < (1 << 7 * width) - 1 and at + width + length > size  # all ones: not known


def edited_count(path: str | os.PathLike[str]) -> int | None:
    """How many frames of an MP4's first video its edit list shows; None where there is no list.

    A phone trims a video by its list alone: frames outside stay in the file and are counted there.
    """
    with open(path, "rb") as file:
        whole = 0, os.path.getsize(path)
        for movie in _boxes(file, whole, b"moov"):
            for track in _boxes(file, movie, b"trak"):
                if _content(file, track, b"mdia", b"hdlr")[8:12] == b"vide":
                    return _edited_count(file, movie, track)
    return None


def _edited_count(file: BinaryIO, movie: _Span, track: _Span) -> int | None:
    """See ISO/IEC 14496-12, 8.6."""
    listed, timed = _content(file, track, b"edts", b"elst"), (track, b"mdia", b"minf", b"stbl")
    lengths, starts, _ = _columns(listed, ">u8,>i8,>u4" if listed[:1] == b"\1" else ">u4,>i4,>u4")
    counts, steps = _columns(_content(file, *timed, b"stts"), ">u4,>u4")
    _, delays = _columns(_content(file, *timed, b"ctts"), ">u4,>i4")
    of_movie = _scale(_content(file, movie, b"mvhd"))
    of_track = _scale(_content(file, track, b"mdia", b"mdhd"))
    if not (len(lengths) and len(counts) and of_movie and of_track):
        return None
    frames, times = (np.append(0, np.cumsum(each)) for each in (counts, counts * steps))
    is_shown = starts >= 0  # others are pauses
    # Frames lie in the order of decoding, and are shown later by what the first one is.
    starts = starts[is_shown] - (delays[0] if len(delays) else 0)
    lengths = lengths[is_shown] * of_track / of_movie
    ends = np.where(lengths > 0, starts + lengths, times[-1])
    return round(np.sum(np.interp(ends, times, frames) - np.interp(starts, times, frames)))


def _boxes(file: BinaryIO, within: _Span, kind: bytes) -> Iterator[_Span]:
    """The contents of MP4's boxes of a kind."""
    at, end = within
    while at + 8 <= end:
        file.seek(at)
        size, found, long = struct.unpack(">I4sQ", file.read(16).ljust(16, b"\0"))
        head = 16 if size == 1 else 8
        size = {0: end - at, 1: long}.get(size, size)
        if size < head:
            return
        if found == kind:
            yield at + head, min(at + size, end)
        at += size


def _content(file: BinaryIO, within: _Span, *kinds: bytes) -> bytes:
    """Of the first box in the first box ...; empty where there is none."""
    for kind in kinds:
        within = next(_boxes(file, within, kind), (0, 0))
    file.seek(within[0])
    return file.read(min(within[1] - within[0], _TABLE))


def _scale(header: bytes) -> int:
    """Units of time in a second, of a movie or its track."""
    return int.from_bytes(header[20:24] if header[:1] == b"\1" else header[12:16], "big")


def _columns(table: bytes, kind: str) -> list[NDArray[np.float64]]:
    """Of the rows that follow a version and the number of rows."""
    row = np.dtype(kind)
    count = min(int.from_bytes(table[4:8], "big"), max(0, len(table) - 8) // row.itemsize)
    rows = np.frombuffer(table[8:], row, count)
    return [rows[name].astype(np.float64) for name in row.names or ()]


@contextmanager
def writing_video(
    path: str | os.PathLike[str], rate: float, *, for_browsers: bool = False
) -> Iterator[Callable[..., None]]:
    """Gives a function that adds a H×W×3 BGR frame to a video of `rate` Hz.

    It may be given a second argument, the time of the frame in seconds from the first: the frame
    before is then shown up to it, so that a drive of variable rate lasts as long as it did.

    The first frame sets the size; others are scaled to it. The codec is MPEG-4 part 2, which
    players know (VLC, mpv, QuickTime, ffmpeg) but browsers do not. for_browsers: VP9 instead, the
    only codec in OpenCV's packages that browsers play from an .mp4; it takes about 0.3 s of
    computing for a frame of 1280×720. Raises OSError where the video cannot be written.
    """
    codec = "vp09" if for_browsers else "mp4v"
    with replacing(path) as partial:
        writer = cv2.VideoWriter()
        size, count, left_out = (0, 0), 0, 0
        shown: Image = np.zeros((0, 0, 3), np.uint8)

        def add(image: Image, at: float | None = None) -> None:
            nonlocal size, count, left_out, shown
            if not writer.isOpened():
                size = image.shape[1], image.shape[0]
                code = cv2.VideoWriter.fourcc(*codec)
                if not writer.open(str(partial), cv2.CAP_FFMPEG, code, rate, size):
                    raise OSError(f"{path}: OpenCV cannot write a video of {codec} here")
            if (image.shape[1], image.shape[0]) != size:
                image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
            gap = 0 if at is None or not count else round(at * rate) - count - left_out
            held = min(max(gap, 0), round(_HELD * rate))
            left_out += max(gap, 0) - held
            for picture in [*[shown] * held, image]:
                writer.write(picture)
                count += 1
            shown = image

        try:
            yield add
        finally:
            writer.release()
        if not count:
            raise OSError(f"{path}: no frame for this video")
        _check(path, str(partial), count)


def _check(path: str | os.PathLike[str], written: str, count: int) -> None:
    """Raises OSError unless a video holds `count` frames: OpenCV is silent about a full disk."""
    capture = cv2.VideoCapture(written, cv2.CAP_FFMPEG)
    found = round(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
    # Matroska does not count frames, but tells how long it lasts; it and AVI tell so when cut, too.
    capture.set(cv2.CAP_PROP_POS_FRAMES, max(count - 2, 0))
    whole = abs(found - count) <= 1 and capture.grab()
    capture.release()
    if not whole:
        raise OSError(f"{path}: not all of its {count} frames could be written; is the disk full?")
