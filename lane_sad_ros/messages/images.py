"""Image messages to frames.

Frames are views of the message's bytes wherever the encoding allows it; Bayer and YUV images cost
one colour conversion, compressed ones their decoding. Encodings are named as in
sensor_msgs/image_encodings.hpp; nv12, which it does not list, is what camera drivers send.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.frames import Frame
from lane_sad_ros.image_files import MAX_PIXELS, BadImage, decode_image

if TYPE_CHECKING:  # bags are read without ROS: the messages of rosbags have the same fields
    from sensor_msgs.msg import CompressedImage, Image

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class _Packed:
    """Interleaved channels, `depth` bytes each; `order` of what remains of them."""

    channels: int
    order: str
    depth: int = 1


@dataclass(frozen=True)
class _Converted:
    """Needs one cv2.cvtColor with `code` from `channels` bytes (× depth) a pixel.

    rows: rows of the buffer per row of the image (3/2 where chroma planes follow).
    even: (width, height) must be multiples of these.
    """

    code: int
    channels: int
    depth: int = 1
    rows: float = 1.0
    even: tuple[int, int] = (1, 1)


_UYVY = _Converted(cv2.COLOR_YUV2BGR_UYVY, 2, even=(2, 1))
_YUYV = _Converted(cv2.COLOR_YUV2BGR_YUY2, 2, even=(2, 1))
# OpenCV names a Bayer pattern by its second row, second column; ROS by its first.
_BAYER = {
    "rggb": cv2.COLOR_BayerBG2BGR,
    "bggr": cv2.COLOR_BayerRG2BGR,
    "gbrg": cv2.COLOR_BayerGR2BGR,
    "grbg": cv2.COLOR_BayerGB2BGR,
}
_MOSAICS = {
    f"bayer_{pattern}{8 * depth}": _Converted(code, 1, depth)
    for pattern, code in _BAYER.items()
    for depth in (1, 2)
}
_ENCODINGS: dict[str, _Packed | _Converted] = {
    "bgr8": _Packed(3, "bgr"),
    "rgb8": _Packed(3, "rgb"),
    "bgra8": _Packed(4, "bgr"),
    "rgba8": _Packed(4, "rgb"),
    "mono8": _Packed(1, "bgr"),
    "bgr16": _Packed(3, "bgr", 2),
    "rgb16": _Packed(3, "rgb", 2),
    "bgra16": _Packed(4, "bgr", 2),
    "rgba16": _Packed(4, "rgb", 2),
    "mono16": _Packed(1, "bgr", 2),
    # OpenCV's own names for the same bytes, sent by nodes that do not say what they hold.
    "8UC1": _Packed(1, "bgr"),
    "8UC3": _Packed(3, "bgr"),
    "8UC4": _Packed(4, "bgr"),
    "uyvy": _UYVY,
    "yuv422": _UYVY,
    "yuyv": _YUYV,
    "yuv422_yuy2": _YUYV,
    "nv12": _Converted(cv2.COLOR_YUV2BGR_NV12, 1, rows=1.5, even=(2, 2)),
    "nv21": _Converted(cv2.COLOR_YUV2BGR_NV21, 1, rows=1.5, even=(2, 2)),
    **_MOSAICS,
}
ENCODINGS = tuple(_ENCODINGS)
"""The encodings read without cv_bridge."""


def frame_from_message(message: Any, max_pixels: int = MAX_PIXELS) -> Frame:
    """The frame of an image message, raw or compressed, of rclpy or of a bag. Raises BadImage."""
    if hasattr(message, "encoding"):
        return frame_from_image(message)
    return frame_from_compressed(message, max_pixels)


def frame_from_image(message: Image) -> Frame:
    """The pixels of a raw image message, padding and byte order taken care of.

    16-bit channels are represented by their high byte. The frame shares the message's memory
    unless the encoding is Bayer or YUV. An encoding that is not one of `ENCODINGS` is left to
    cv_bridge where that is installed and works. Raises BadImage.
    """
    encoding, width, height = message.encoding, message.width, message.height
    if width == 0 or height == 0:
        raise BadImage("empty_image", f"the image is {width}x{height} pixels: it holds nothing")
    kind = _ENCODINGS.get(encoding)
    if kind is None:
        return Frame(_bridged(message), "bgr")
    if isinstance(kind, _Packed):
        values = _rows(message, kind.channels, kind.depth, height)
        return Frame(_drop_alpha(values), kind.order)
    if width % kind.even[0] or height % kind.even[1]:
        raise BadImage(
            "odd_size",
            f"a {encoding} image is a multiple of {kind.even[0]}x{kind.even[1]} pixels in size, "
            f"not {width}x{height}",
        )
    values = _rows(message, kind.channels, kind.depth, int(height * kind.rows))
    return Frame(_uint8(cv2.cvtColor(values, kind.code)), "bgr")


def frame_from_compressed(message: CompressedImage, max_pixels: int = MAX_PIXELS) -> Frame:
    """The decoded pixels of a compressed image message; see `decode_image`.

    A camera image is used as sent: an orientation tag in it is ignored. One channel of a format
    such as "bayer_rggb8; png compressed" is a mosaic. Raises BadImage.
    """
    data = bytes(message.data)
    encoding = bayer_encoding(message)
    if encoding:
        mosaic = _MOSAICS.get(encoding)
        if mosaic is None:
            raise BadImage(
                "unknown_encoding",
                f"{encoding} is no Bayer pattern: one of {', '.join(_MOSAICS)} is needed",
            )
        pixels = decode_image(data, cv2.IMREAD_UNCHANGED, upright=False, max_pixels=max_pixels)
        if pixels.ndim == 2:
            values = pixels >> 8 if pixels.dtype == np.uint16 else pixels
            return Frame(_uint8(cv2.cvtColor(_uint8(values), mosaic.code)), "bgr")
    return Frame(decode_image(data, upright=False, max_pixels=max_pixels), "bgr")


def bayer_encoding(message: CompressedImage) -> str:
    """The encoding of a mosaic that a compressed message says it holds, else empty."""
    encoding = str(message.format).partition(";")[0].strip()
    return encoding if encoding.startswith("bayer_") else ""


def bgr_from_frame(frame: Frame) -> Pixels:
    """A fresh, writable and contiguous H×W×3 BGR copy of a frame."""
    pixels = frame.pixels
    if pixels.ndim == 2:
        return np.repeat(pixels[:, :, None], 3, axis=2)
    return np.array(pixels[:, :, ::-1] if frame.order == "rgb" else pixels, order="C")


def _rows(message: Image, channels: int, depth: int, rows: int) -> Pixels:
    """The message's bytes as rows×width(×channels), one byte a channel, without a copy."""
    width, step = message.width, message.step
    row = width * channels * depth
    if step < row:
        raise BadImage(
            "short_step",
            f"step is {step} bytes, but a row of {width} {message.encoding} pixels has {row}",
        )
    data = np.frombuffer(message.data, np.uint8)
    if data.size < step * rows:
        raise BadImage(
            "short_data",
            f"data has {data.size} bytes, but {message.encoding} with height {message.height} and "
            f"step {step} needs {step * rows}",
        )
    values = data[: step * rows].reshape(rows, step)[:, :row]
    if depth == 2:
        values = values[:, 0 if message.is_bigendian else 1 :: 2]
    if channels == 1:
        return values
    # Splitting the last axis of a view keeps it a view.
    return values.reshape(rows, width, channels)


def _drop_alpha(values: Pixels) -> Pixels:
    return values[:, :, :3] if values.ndim == 3 else values


def _uint8(pixels: Any) -> Pixels:
    return np.asarray(pixels, np.uint8)


def _bridged(message: Image) -> Pixels:
    """The pixels of an encoding that only cv_bridge may know."""
    convert = _cv_bridge()
    if isinstance(convert, str):
        raise BadImage(
            "unknown_encoding",
            f"encoding {message.encoding!r} is not one of {', '.join(ENCODINGS)}, and cv_bridge "
            f"cannot help: {convert}",
        )
    try:
        pixels = convert(message, "bgr8")
    # cv_bridge raises what it likes: its own errors, OpenCV's, NumPy's.
    except Exception as error:
        raise BadImage(
            "unknown_encoding", f"cv_bridge cannot make bgr8 of {message.encoding!r}: {error}"
        ) from error
    return _uint8(pixels)


@functools.cache
def _cv_bridge() -> Callable[[Image, str], Any] | str:
    """cv_bridge's conversion, or why there is none."""
    try:
        from cv_bridge import CvBridge  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        return f"it cannot be imported ({error})"
    # One that was built for NumPy 1 fails under NumPy 2 with whatever it meets first.
    except Exception as error:
        return f"it is broken ({error})"
    convert: Callable[[Image, str], Any] = CvBridge().imgmsg_to_cv2
    return convert
