"""Image messages to frames: encodings, padding, byte order, and what is wrong with bad ones."""

from __future__ import annotations

import array

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

from lane_sad_ros.messages import images
from lane_sad_ros.messages.images import (
    ENCODINGS,
    BadImage,
    bgr_from_frame,
    frame_from_compressed,
    frame_from_image,
    frame_from_message,
)

WIDTH, HEIGHT = 12, 8
Bytes = NDArray[np.uint8]


def picture() -> Bytes:
    """An image in which every pixel and channel differs from its neighbours."""
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def smooth_picture() -> Bytes:
    """An image that survives the loss of colour resolution in Bayer and YUV images."""
    u, v = np.meshgrid(np.linspace(0, 1, 48), np.linspace(0, 1, 32))
    return (np.stack([60 + 120 * u, 80 + 60 * v, 200 - 100 * u], axis=2)).astype(np.uint8)


def image(rows: Bytes, encoding: str, *, width: int, height: int, padding: int = 0) -> Image:
    """A message of rows×bytes with `padding` bytes of rubbish after each row."""
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xA5)
    return Image(
        height=height,
        width=width,
        encoding=encoding,
        step=padded.shape[1],
        data=array.array("B", padded.tobytes()),
    )


def packed(pixels: Bytes, encoding: str, padding: int = 0) -> Image:
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, -1)
    return image(rows, encoding, width=width, height=height, padding=padding)


def wide(pixels: Bytes, *, bigendian: bool) -> Bytes:
    """16-bit channels with the pixels in the high byte and rubbish in the low one."""
    low = np.full_like(pixels, 0x5A)
    return np.stack([pixels, low] if bigendian else [low, pixels], axis=-1)


def alpha(pixels: Bytes) -> Bytes:
    return np.dstack([pixels, np.full(pixels.shape[:2], 9, np.uint8)])


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize(
    ("encoding", "arrange"),
    [
        ("bgr8", lambda bgr: bgr),
        ("8UC3", lambda bgr: bgr),
        ("rgb8", lambda bgr: bgr[:, :, ::-1]),
        ("bgra8", alpha),
        ("8UC4", alpha),
        ("rgba8", lambda bgr: alpha(bgr[:, :, ::-1])),
        ("bgr16", lambda bgr: wide(bgr, bigendian=False)),
        ("rgb16", lambda bgr: wide(bgr[:, :, ::-1], bigendian=False)),
        ("bgra16", lambda bgr: wide(alpha(bgr), bigendian=False)),
        ("rgba16", lambda bgr: wide(alpha(bgr[:, :, ::-1]), bigendian=False)),
    ],
)
def test_colour_encodings_keep_every_pixel_without_a_copy(encoding, arrange, padding):
    message = packed(np.ascontiguousarray(arrange(picture())), encoding, padding)
    frame = frame_from_image(message)
    np.testing.assert_array_equal(bgr_from_frame(frame), picture())
    assert np.shares_memory(frame.pixels, np.frombuffer(message.data, np.uint8))


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("encoding", ["mono8", "8UC1", "mono16"])
def test_grey_encodings_keep_every_pixel_without_a_copy(encoding, padding):
    grey = picture()[:, :, 0]
    values = wide(grey, bigendian=False) if encoding == "mono16" else grey
    message = packed(values, encoding, padding)
    frame = frame_from_image(message)
    np.testing.assert_array_equal(frame.pixels, grey)
    np.testing.assert_array_equal(bgr_from_frame(frame), np.dstack([grey] * 3))
    assert np.shares_memory(frame.pixels, np.frombuffer(message.data, np.uint8))


@pytest.mark.parametrize("encoding", ["mono16", "bgr16"])
def test_big_endian_images_give_their_high_byte(encoding):
    pixels = picture() if encoding == "bgr16" else picture()[:, :, 0]
    message = packed(wide(pixels, bigendian=True), encoding)
    message.is_bigendian = 1
    np.testing.assert_array_equal(frame_from_image(message).pixels, pixels)


def test_big_endian_does_not_touch_single_bytes():
    message = packed(picture(), "bgr8")
    message.is_bigendian = 1
    np.testing.assert_array_equal(frame_from_image(message).pixels, picture())


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_images_get_their_colours(pattern, depth):
    bgr = smooth_picture()
    mosaic = np.empty(bgr.shape[:2], np.uint8)
    for index, colour in enumerate(pattern):
        part = (slice(index // 2, None, 2), slice(index % 2, None, 2))
        mosaic[part] = bgr[:, :, "bgr".index(colour)][part]
    values = wide(mosaic, bigendian=False) if depth == 16 else mosaic
    frame = frame_from_image(packed(values, f"bayer_{pattern}{depth}", padding=4))
    inside = (slice(2, -2), slice(2, -2))
    difference = bgr_from_frame(frame)[inside].astype(int) - bgr[inside]
    assert np.abs(difference).max() <= 4


def chroma(bgr: Bytes) -> tuple[Bytes, Bytes, Bytes]:
    """Y, U and V of ITU-R BT.601 in studio range, as cameras send them, at full resolution."""
    b, g, r = (bgr[:, :, channel].astype(float) for channel in range(3))
    y = 16 + (65.481 * r + 128.553 * g + 24.966 * b) / 255
    u = 128 + (-37.797 * r - 74.203 * g + 112.0 * b) / 255
    v = 128 + (112.0 * r - 93.786 * g - 18.214 * b) / 255
    y, u, v = (np.rint(plane).astype(np.uint8) for plane in (y, u, v))
    return y, u, v


def interleaved(bgr: Bytes, order: str) -> Bytes:
    """Rows of 4:2:2 with the bytes of two pixels in `order`."""
    y, u, v = chroma(bgr)
    planes = {"u": [u[:, ::2]], "v": [v[:, ::2]], "y": [y[:, ::2], y[:, 1::2]]}
    columns = [planes[name].pop(0) for name in order]
    return np.stack(columns, axis=2).reshape(bgr.shape[0], -1)


def semiplanar(bgr: Bytes, order: str) -> Bytes:
    """Rows of 4:2:0: all of Y, then U and V alternating in `order`."""
    y, u, v = chroma(bgr)
    both = {"u": u[::2, ::2], "v": v[::2, ::2]}
    pairs = np.stack([both[name] for name in order], axis=2).reshape(y.shape[0] // 2, -1)
    return np.vstack([y, pairs])


@pytest.mark.parametrize("padding", [0, 8])
@pytest.mark.parametrize(
    ("encoding", "rows"),
    [
        ("uyvy", interleaved(smooth_picture(), "uyvy")),
        ("yuv422", interleaved(smooth_picture(), "uyvy")),
        ("yuyv", interleaved(smooth_picture(), "yuyv")),
        ("yuv422_yuy2", interleaved(smooth_picture(), "yuyv")),
        ("nv12", semiplanar(smooth_picture(), "uv")),
        ("nv21", semiplanar(smooth_picture(), "vu")),
    ],
)
def test_yuv_images_get_their_colours(encoding, rows, padding):
    bgr = smooth_picture()
    height, width = bgr.shape[:2]
    frame = frame_from_image(image(rows, encoding, width=width, height=height, padding=padding))
    assert np.abs(bgr_from_frame(frame).astype(int) - bgr).max() <= 6


def test_every_encoding_is_covered_above():
    colours = {f"{order}{depth}" for order in ("bgr", "rgb", "bgra", "rgba") for depth in (8, 16)}
    bayer = {f"bayer_{p}{d}" for p in ("rggb", "bggr", "gbrg", "grbg") for d in (8, 16)}
    yuv = {"uyvy", "yuv422", "yuyv", "yuv422_yuy2", "nv12", "nv21"}
    assert set(ENCODINGS) == colours | bayer | yuv | {"mono8", "mono16", "8UC1", "8UC3", "8UC4"}


def spoiled(**changes: object) -> Image:
    message = packed(picture(), "bgr8")
    for name, value in changes.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    ("message", "reason", "words"),
    [
        (spoiled(width=0), "empty_image", "0x8"),
        (spoiled(height=0), "empty_image", "12x0"),
        (spoiled(step=WIDTH * 3 - 1), "short_step", "step is 35 bytes.*has 36"),
        (spoiled(data=array.array("B", bytes(287))), "short_data", "287 bytes.*needs 288"),
        (spoiled(data=array.array("B")), "short_data", "0 bytes"),
        (
            spoiled(encoding="nv12", step=20, data=array.array("B", bytes(239))),
            "short_data",
            "240",
        ),
        (spoiled(encoding="mono16", step=WIDTH), "short_step", "has 24"),
        (spoiled(encoding="yuv422", width=11), "odd_size", "multiple of 2x1"),
        (spoiled(encoding="nv12", height=7), "odd_size", "multiple of 2x2"),
        (spoiled(encoding="BGR8"), "unknown_encoding", "'BGR8' is not one of bgr8"),
        (spoiled(encoding=""), "unknown_encoding", "''"),
    ],
    ids=lambda value: value if isinstance(value, str) and "_" in value else None,
)
def test_bad_images_are_refused_with_the_reason(message, reason, words, without_cv_bridge):
    with pytest.raises(BadImage, match=words) as caught:
        frame_from_image(message)
    assert caught.value.reason == reason


def test_more_data_than_needed_is_fine():
    message = spoiled()
    message.data.extend(bytes(100))
    np.testing.assert_array_equal(frame_from_image(message).pixels, picture())


def compressed(data: bytes, kind: str = "bgr8; jpeg compressed bgr8") -> CompressedImage:
    return CompressedImage(format=kind, data=array.array("B", data))


def encoded(suffix: str) -> bytes:
    return bytes(cv2.imencode(suffix, smooth_picture())[1])


def test_compressed_images_are_decoded():
    lossless = frame_from_compressed(compressed(encoded(".png"), "png"))
    np.testing.assert_array_equal(bgr_from_frame(lossless), smooth_picture())
    lossy = frame_from_compressed(compressed(encoded(".jpg")))
    assert np.abs(bgr_from_frame(lossy).astype(int) - smooth_picture()).max() < 12


def test_padding_after_a_jpeg_is_fine():
    frame = frame_from_compressed(compressed(encoded(".jpg") + bytes(50)))
    assert frame.pixels.shape == smooth_picture().shape


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty_image"),
        (b"no picture at all", "corrupt_data"),
        (encoded(".jpg")[:-2], "corrupt_data"),
        (encoded(".jpg")[:400], "corrupt_data"),
        (encoded(".png")[:100], "corrupt_data"),
    ],
)
def test_corrupt_compressed_images_are_refused(data, reason):
    with pytest.raises(BadImage) as caught:
        frame_from_compressed(compressed(data))
    assert caught.value.reason == reason


@pytest.fixture
def cv_bridge_source(tmp_path, monkeypatch):
    """Puts a cv_bridge of the given source in front of whatever is installed."""

    def install(source: str) -> None:
        monkeypatch.delitem(__import__("sys").modules, "cv_bridge", raising=False)
        (tmp_path / "cv_bridge").mkdir()
        (tmp_path / "cv_bridge" / "__init__.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
        images._cv_bridge.cache_clear()

    yield install
    __import__("sys").modules.pop("cv_bridge", None)
    images._cv_bridge.cache_clear()


@pytest.fixture
def without_cv_bridge(cv_bridge_source):
    cv_bridge_source("raise ImportError('No module named cv_bridge')")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("raise ImportError('numpy.core.multiarray failed to import')", "cannot be imported"),
        ("raise AttributeError('_ARRAY_API not found')", "broken.*_ARRAY_API"),
    ],
)
def test_a_broken_cv_bridge_is_a_bad_image_not_a_crash(source, words, cv_bridge_source):
    cv_bridge_source(source)
    with pytest.raises(BadImage, match=words):
        frame_from_image(spoiled(encoding="32FC1"))
    np.testing.assert_array_equal(frame_from_image(spoiled()).pixels, picture())


def test_cv_bridge_is_asked_for_encodings_that_are_not_known():
    cv_bridge = pytest.importorskip("cv_bridge", exc_type=ImportError)
    values = np.zeros((HEIGHT, WIDTH, 2), np.uint8)
    message = packed(values, "nv24")
    try:
        expected = cv_bridge.CvBridge().imgmsg_to_cv2(message, "bgr8")
    except Exception as error:
        pytest.skip(f"cv_bridge cannot convert nv24: {error}")
    np.testing.assert_array_equal(frame_from_image(message).pixels, expected)


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_compressed_mosaic_is_the_picture_of_the_raw_one(pattern: str, bits: int):
    values = np.random.default_rng(0).integers(0, 2**bits, (8, 12)).astype(f"uint{bits}")
    raw = Image(
        encoding=f"bayer_{pattern}{bits}",
        width=12,
        height=8,
        step=12 * bits // 8,
        data=array.array("B", values.tobytes()),
    )
    png = cv2.imencode(".png", values)[1].tobytes()
    for kind in (f"bayer_{pattern}{bits}; png compressed ", f"bayer_{pattern}{bits};png"):
        frame = frame_from_message(compressed(png, kind))
        np.testing.assert_array_equal(frame.pixels, frame_from_message(raw).pixels)
    grey = frame_from_message(compressed(png, "mono8; png compressed "))
    assert (grey.pixels == grey.pixels[:, :, :1]).all()


def test_a_mosaic_without_a_known_pattern_is_refused():
    png = cv2.imencode(".png", np.zeros((8, 12), np.uint8))[1].tobytes()
    with pytest.raises(BadImage, match="bayer_xxxx8 is no Bayer pattern: one of bayer_rggb8, "):
        frame_from_message(compressed(png, "bayer_xxxx8; png compressed "))


def test_colours_of_a_bayer_camera_stay_as_they_are():
    message = compressed(encoded(".png"), "bayer_rggb8; png compressed bgr8")
    np.testing.assert_array_equal(frame_from_message(message).pixels, smooth_picture())


def test_a_bomb_is_refused_by_its_header():
    message = compressed(encoded(".png"), "png")
    pixels = smooth_picture().size // 3
    assert frame_from_message(message, max_pixels=pixels).size == smooth_picture().shape[1::-1]
    with pytest.raises(BadImage, match="at most") as caught:
        frame_from_message(message, max_pixels=pixels - 1)
    assert caught.value.reason == "too_large"
