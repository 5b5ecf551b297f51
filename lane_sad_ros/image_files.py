"""Images out of files and compressed messages, by one rule.

An image is what a viewer shows: an orientation tag (EXIF) turns it. Its kind and size are read from
its header first; what claims to be larger than `MAX_PIXELS` takes no memory.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.files import SourceError, natural, replacing

Image = NDArray[np.uint8]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
MAX_PIXELS = 100_000_000
"""Of an image that is decoded: 300 MB in colour."""

_EXIF = b"Exif\0\0"
_WIDTH, _HEIGHT, _ORIENTATION = (0x100, 0x101, 0x112)
_SIDES = {_WIDTH, _HEIGHT}
_TILE_WIDTH, _TILE_HEIGHT, _TILE = (0x142, 0x143, 2**24)


class BadImage(ValueError):
    """An image that cannot be used.

    `reason` is one short word pair for counting: empty_image, too_large, unknown_encoding,
    odd_size, short_step, short_data or corrupt_data. The text says what is wrong and what would be
    right.
    """

    def __init__(self, reason: str, words: str) -> None:
        super().__init__(words)
        self.reason = reason


@dataclass(frozen=True)
class ImageHeader:
    """What the bytes of an image say before its pixels.

    kind: such as "JPEG". stored: (width, height) of the pixels. orientation: EXIF's, 1 to 8; 1 is
    upright. whole: whether it has its end, as far as that is looked at. white: the number that
    stands for it where that is neither of 8 bits nor the greatest of 16.
    """

    kind: str
    stored: tuple[int, int]
    orientation: int = 1
    whole: bool = True
    white: int | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) as a viewer shows it."""
        return self.stored[::-1] if self.orientation >= 5 else self.stored


def read_bytes(path: Path) -> bytes:
    """The bytes of a file. Raises SourceError naming it."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror})") from error


def read_image(path: Path, flags: int = cv2.IMREAD_COLOR, data: bytes | None = None) -> Image:
    """An image file as `decode_image` gives it. Raises SourceError naming the file.

    data: of the file, where it is at hand.
    """
    try:
        return decode_image(read_bytes(path) if data is None else data, flags)
    except BadImage as error:
        raise SourceError(f"{path}: {error}") from error


def write_image(path: str | os.PathLike[str], image: Image) -> None:
    """Writes an image in the format of the ending. Raises OSError where that cannot be done."""
    ending = Path(path).suffix
    options = [cv2.IMWRITE_JPEG_QUALITY, 92] if ending.lower() in (".jpg", ".jpeg") else []
    try:
        written, data = cv2.imencode(ending, image, options)
    except cv2.error as error:
        raise OSError(f"{path}: OpenCV cannot write images as {ending or 'nothing'}") from error
    if not written:
        raise OSError(f"{path}: OpenCV cannot write this image as {ending}; .png holds any")
    with replacing(path) as partial:
        partial.write_bytes(data.tobytes())


def image_names(folder: str | os.PathLike[str]) -> list[str]:
    """The names of the images in a folder, 2.jpg before 10.jpg; may be none."""
    names = (file.name for file in Path(folder).iterdir() if is_image_name(file.name))
    return sorted(names, key=natural)


def is_image_name(name: str | os.PathLike[str]) -> bool:
    """Whether a file name ends like an image, without regard to case."""
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


def decode_image(
    data: bytes,
    flags: int = cv2.IMREAD_COLOR,
    *,
    upright: bool = True,
    max_pixels: int = MAX_PIXELS,
) -> Image:
    """The pixels of an encoded image, by default H×W×3 uint8 BGR.

    flags: OpenCV's. upright: turned as its orientation tag says. Raises BadImage: empty_image,
    too_large or corrupt_data, the latter also for a JPEG that was cut short, which decoders fill up
    with grey.
    """
    if not data:
        raise BadImage("empty_image", "an empty file, not an image")
    header = image_header(data)
    if header is None:
        raise BadImage(
            "corrupt_data", f"not an image of a kind that is read here: {', '.join(_KINDS)}"
        )
    width, height = header.stored
    if width * height > max_pixels:
        raise BadImage(
            "too_large",
            f"an image of {width}x{height} pixels; at most {max_pixels / 1e6:g} million are read",
        )
    if not header.whole:
        raise BadImage(
            "corrupt_data",
            f"not an image that is whole: the {header.kind} of {len(data)} bytes lacks its end",
        )
    # The numbers themselves are wanted by those who ask for them, others want what they show.
    white = None if flags & cv2.IMREAD_ANYDEPTH else header.white
    if flags != cv2.IMREAD_UNCHANGED:
        flags |= cv2.IMREAD_IGNORE_ORIENTATION | (cv2.IMREAD_ANYDEPTH if white else 0)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise BadImage("corrupt_data", f"not an image that is whole: broken {header.kind}")
    if white:
        pixels = cv2.convertScaleAbs(pixels, alpha=255 / white)
    return _turned(np.asarray(pixels), header.orientation) if upright else np.asarray(pixels)


def _turned(pixels: Image, orientation: int) -> Image:
    """The stored pixels as EXIF's orientation, 1 to 8, wants them shown."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def image_header(data: bytes) -> ImageHeader | None:
    """The header of an encoded image; None of what is none, or of a kind that is not read."""
    for kind, (magic, read) in _KINDS.items():
        if re.match(magic, data, re.DOTALL):
            try:
                return read(kind, data)
            except IndexError:  # it ends inside of its header
                return None
    return None


def _number(data: bytes, at: int, size: int = 2, order: Literal["little", "big"] = "little") -> int:
    if at + size > len(data):
        raise IndexError(at)
    return int.from_bytes(data[at : at + size], order)


def _jpeg(kind: str, data: bytes) -> ImageHeader | None:
    stored, orientation, whole = None, 1, False
    for marker, at, end in _segments(data):
        # C0 to CF begin a frame, but for C4, C8 and CC, which hold tables.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and stored is None:
            stored = _number(data, at + 5, order="big"), _number(data, at + 3, order="big")
        elif marker == 0xE1 and data.startswith(_EXIF, at + 2):
            orientation = _orientation(data[at + 2 + len(_EXIF) : end])
        elif marker == 0xDA:
            # FF D9 ends a JPEG. Encoded pixels cannot contain it, what lies before and behind can:
            # a thumbnail, a phone's short video, what a driver's buffer held.
            whole = data.rfind(b"\xff\xd9", end) >= 0  # mostly the very end
    return None if stored is None else ImageHeader(kind, stored, orientation, whole)


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, begin and end of the segments of a JPEG, to that before its first pixels.

    They begin at their lengths. One that is cut short is the last.
    """
    at, marker = 2, 0
    while marker != 0xDA and (at := data.find(b"\xff", at)) >= 0:
        while data.startswith(b"\xff", at):  # any number of them fills up before a marker
            at += 1
        if at + 3 > len(data):
            return
        marker, at = data[at], at + 1
        if marker <= 0x01 or 0xD0 <= marker <= 0xD8:  # no length follows
            continue
        end = at + _number(data, at, order="big")
        yield marker, at, end
        at = end


def _png(kind: str, data: bytes) -> ImageHeader | None:
    stored = _number(data, 16, 4, "big"), _number(data, 20, 4, "big")
    orientation, at, name = 1, 8, b""
    while name != b"IEND" and at + 12 <= len(data):
        length, name = _number(data, at, 4, "big"), data[at + 4 : at + 8]
        if name == b"eXIf":
            orientation = _orientation(data[at + 8 : at + 8 + length])
        at += 12 + length
    # OpenCV takes as much memory as a chunk claims: all must lie within.
    return ImageHeader(kind, stored, orientation, name == b"IEND" and at <= len(data))


def _webp(kind: str, data: bytes) -> ImageHeader | None:
    if data.startswith(b"VP8X", 12):
        stored = 1 + _number(data, 24, 3), 1 + _number(data, 27, 3)
    elif data.startswith(b"VP8L", 12):
        sides = _number(data, 21, 4)
        stored = 1 + (sides & 0x3FFF), 1 + (sides >> 14 & 0x3FFF)
    else:
        stored = _number(data, 26) & 0x3FFF, _number(data, 28) & 0x3FFF
    orientation, at = 1, 12
    while at + 8 <= len(data):
        length = _number(data, at + 4, 4)
        if data.startswith(b"EXIF", at):
            orientation = _orientation(data[at + 8 : at + 8 + length].removeprefix(_EXIF))
        at += 8 + length + length % 2
    return ImageHeader(kind, stored, orientation)


def _bmp(kind: str, data: bytes) -> ImageHeader | None:
    if _number(data, 14, 4) == 12:  # the first kind of header
        return ImageHeader(kind, (_number(data, 18), _number(data, 20)))
    height = _number(data, 22, 4)  # negative: from top to bottom
    return ImageHeader(kind, (_number(data, 18, 4), min(height, 2**32 - height)))


def _gif(kind: str, data: bytes) -> ImageHeader | None:
    return ImageHeader(kind, (_number(data, 6), _number(data, 8)))


def _pnm(kind: str, data: bytes) -> ImageHeader | None:
    found = re.match(rb"P[1-6](?:\s|#[^\n]*\n)+([0-9]{1,9})(?:\s|#[^\n]*\n)+([0-9]{1,9})\s", data)
    if not found:
        return None
    white = 0
    if data[1:2] not in b"14":  # bits alone
        last = re.compile(rb"(?:\s|#[^\n]*\n)*([0-9]{1,5})\s").match(data, found.end())
        white = int(last[1]) if last else 0
    stored = int(found[1]), int(found[2])
    return ImageHeader(kind, stored, white=white if 255 < white < 65535 else None)


def _tiff(kind: str, data: bytes) -> ImageHeader | None:
    tags = _tags(data)
    # OpenCV's reader of this kind heeds the tag itself, whatever it is asked for.
    if not tags.keys() >= _SIDES or tags.get(_TILE_WIDTH, 0) * tags.get(_TILE_HEIGHT, 0) > _TILE:
        return None
    return ImageHeader(kind, (tags[_WIDTH], tags[_HEIGHT]))


def _orientation(exif: bytes) -> int:
    try:
        orientation = _tags(exif).get(_ORIENTATION, 1)
    except IndexError:  # a broken tag turns nothing
        return 1
    return orientation if 1 <= orientation <= 8 else 1


def _tags(tiff: bytes) -> dict[int, int]:
    """The numbers in the first folder of a TIFF file, which EXIF is too."""
    order: Literal["little", "big"] = "little" if tiff.startswith(b"II") else "big"
    number = functools.partial(_number, tiff, order=order)
    start = number(4, 4)
    entries = [start + 2 + 12 * index for index in range(number(start))]
    sizes = {3: 2, 4: 4}  # of the kinds of numbers: short, long
    return {
        number(at): number(at + 8, sizes[number(at + 2)])
        for at in entries
        if number(at + 2) in sizes
    }


_KINDS = {
    "JPEG": (rb"\xff\xd8", _jpeg),
    "PNG": (rb"\x89PNG\r\n\x1a\n....IHDR", _png),
    "BMP": (rb"BM", _bmp),
    "WebP": (rb"RIFF....WEBPVP8[ XL]", _webp),
    "TIFF": (rb"II\*\0|MM\0\*", _tiff),
    "PNM": (rb"P[1-6][\s#]", _pnm),
    "GIF": (rb"GIF8", _gif),
}
