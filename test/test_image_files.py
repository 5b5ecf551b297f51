"""Images are read by one rule: as a viewer shows them, and no larger than is stated."""

import re
import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from lane_sad_ros.files import SourceError
from lane_sad_ros.formats.drives import encoded
from lane_sad_ros.image_files import (
    BadImage,
    decode_image,
    image_header,
    image_names,
    read_image,
    write_image,
)
from lane_sad_ros.recordings.sources import open_frames
from training.datasets.labelled import read_scaled

WIDTH, HEIGHT = 96, 48


def picture() -> np.ndarray:
    """Its four corners differ."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[: HEIGHT // 2, : WIDTH // 2] = (0, 0, 255)
    pixels[: HEIGHT // 2, WIDTH // 2 :] = (0, 255, 0)
    pixels[HEIGHT // 2 :, : WIDTH // 2] = (255, 0, 0)
    return pixels


def exif(orientation: int, order: str = "<") -> bytes:
    mark = b"II" if order == "<" else b"MM"
    return mark + struct.pack(order + "HIHHHIHHI", 42, 8, 1, 0x112, 3, 1, orientation, 0, 0)


def jpeg(orientation: int, order: str = "<", fill: int = 0) -> bytes:
    _, data = cv2.imencode(".jpg", picture(), [cv2.IMWRITE_JPEG_QUALITY, 100])
    tag = b"Exif\0\0" + exif(orientation, order)
    segment = b"\xff" * (1 + fill) + b"\xe1" + struct.pack(">H", 2 + len(tag)) + tag
    return b"\xff\xd8" + segment + data.tobytes()[2:]


def png(orientation: int) -> bytes:
    data = cv2.imencode(".png", picture())[1].tobytes()
    body = b"eXIf" + exif(orientation, ">")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:33] + chunk + data[33:]


def shown(orientation: int) -> np.ndarray:
    """The picture as EXIF 2.3, section 4.6.4, says that it is to be seen."""
    stored = picture()
    return {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: np.rot90(stored, -1),
        7: np.rot90(stored, 2).transpose(1, 0, 2),
        8: np.rot90(stored),
    }[orientation]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_reader_turns_an_image_as_its_tag_says(tmp_path: Path, orientation: int) -> None:
    expected = shown(orientation)
    for path, data in (
        (tmp_path / "1.jpg", jpeg(orientation)),
        (tmp_path / "2.png", png(orientation)),
    ):
        path.write_bytes(data)
        (frame,) = open_frames(path)
        passed_on = encoded(data, "1")
        header = image_header(data)
        assert header is not None
        assert passed_on.size == header.size == (expected.shape[1], expected.shape[0])
        for pixels in (
            read_image(path),
            frame.image,
            read_scaled(path, 400)[0],
            decode_image(passed_on.data, upright=False),  # as the node reads it
        ):
            assert np.abs(pixels.astype(int) - expected).mean() < 6
        assert (passed_on.data == data) is (orientation == 1)
    half = read_scaled(tmp_path / "1.jpg", expected.shape[1] // 2)[0]
    assert half.shape[:2] == (expected.shape[0] // 2, expected.shape[1] // 2)


def test_a_jpeg_with_fill_bytes_is_passed_on_as_it_is() -> None:
    data = jpeg(1, ">", fill=3)
    assert encoded(data, "1").data == data and encoded(data, "1").size == (WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("ending", "options"),
    [
        (".jpg", []), (".jpg", [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]), (".png", []), (".bmp", []),
        (".webp", [cv2.IMWRITE_WEBP_QUALITY, 80]), (".webp", [cv2.IMWRITE_WEBP_QUALITY, 101]),
        (".tiff", []), (".ppm", []), (".pgm", []), (".gif", []),
    ],
)  # fmt: skip
def test_sizes_are_read_from_headers(ending: str, options: list[int]) -> None:
    pixels = picture() if ending != ".pgm" else picture()[:, :, 0]
    data = cv2.imencode(ending, pixels, options)[1].tobytes()
    header = image_header(data)
    assert header is not None and header.size == (WIDTH, HEIGHT)
    assert decode_image(data).shape == (HEIGHT, WIDTH, 3)
    for end in range(min(len(data), 200)):
        cut = image_header(data[:end])
        assert cut is None or cut.kind == header.kind


@pytest.mark.parametrize("progressive", [0, 1])
@pytest.mark.parametrize("behind", [b"\0" * 9, b"\xff\xda\0\x08" * 9, b"\xff\xd8\xff\xdb\0\x43"])
def test_what_lies_behind_the_end_of_a_jpeg_does_not_matter(
    progressive: int, behind: bytes
) -> None:
    data = cv2.imencode(".jpg", picture(), [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive])[1].tobytes()
    np.testing.assert_array_equal(decode_image(data + behind), decode_image(data))


@pytest.mark.parametrize("progressive", [0, 1])
@pytest.mark.parametrize("place", [rb"\xff\xdb", rb"\xff[\xc0\xc2]", rb"\xff\xc4", rb"\xff\xda"])
def test_a_cut_jpeg_is_refused_also_if_its_thumbnail_is_whole(
    progressive: int, place: bytes
) -> None:
    data = cv2.imencode(".jpg", picture(), [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive])[1].tobytes()
    thumbnail = b"JFXX\0\x10" + cv2.imencode(".jpg", picture()[:8, :8])[1].tobytes()
    segment = b"\xff\xe0" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail
    found = re.search(place, data)
    assert found
    data = data[: found.start()] + segment + data[found.start() :]
    assert decode_image(data).shape == (HEIGHT, WIDTH, 3)
    pixels = data.index(b"\xff\xda", found.start() + len(segment))
    frame = max(data.rfind(b"\xff\xc0", 0, pixels), data.rfind(b"\xff\xc2", 0, pixels))
    for end in range(frame + 9, len(data) - 1):
        with pytest.raises(BadImage, match="lacks its end"):
            decode_image(data[:end])


@pytest.mark.parametrize("kind", [2, 3, 5, 6])
@pytest.mark.parametrize("white", [255, 256, 1023, 4095, 65535])
def test_white_is_the_number_that_a_pnm_says(kind: int, white: int) -> None:
    channels = 3 if kind in (3, 6) else 1
    values = np.linspace(0, white, 7).round().astype(int)
    samples = np.repeat(values, channels)
    bodies = " ".join(map(str, samples)).encode() + b"\n"
    if kind >= 5:
        bodies = samples.astype(">u2" if white > 255 else "u1").tobytes()
    data = b"P%d # 16 9\n7 1\n# 15\n%d\n" % (kind, white) + bodies
    expected = np.repeat((values * 255 / white)[None, :, None], 3, axis=2)
    assert decode_image(data).dtype == np.uint8
    np.testing.assert_allclose(decode_image(data), expected, atol=1)
    grey = decode_image(data, cv2.IMREAD_GRAYSCALE)
    np.testing.assert_allclose(grey, expected[:, :, 0], atol=1)
    # A file of class numbers is read for the numbers.
    assert decode_image(data, cv2.IMREAD_UNCHANGED).max() == white


def test_bits_have_no_number_for_white() -> None:
    assert decode_image(b"P4\n8 5\n1023\n")[:, :, 0].tolist() == [
        [255 * (1 - (byte >> bit & 1)) for bit in range(7, -1, -1)] for byte in b"1023\n"
    ]


def test_a_picture_that_its_ending_cannot_hold_is_told(tmp_path: Path) -> None:
    path = tmp_path / "1.pgm"
    path.write_text("as it was")
    with pytest.raises(OSError, match=r"1.pgm: OpenCV cannot write this image as \.pgm; \.png"):
        write_image(path, picture())
    assert path.read_text() == "as it was"
    write_image(path, picture()[:, :, 0])
    assert read_image(path).shape == picture().shape


def bombs() -> dict[str, bytes]:
    """Small files that claim to be large."""
    sides = struct.pack(">II", 32000, 32000)
    ihdr = b"IHDR" + sides + bytes([8, 2, 0, 0, 0])
    chunk = struct.pack(">I", 13) + ihdr + struct.pack(">I", zlib.crc32(ihdr))
    huge_jpeg = jpeg(1)
    at = huge_jpeg.index(b"\xff\xc0")
    bmp = cv2.imencode(".bmp", picture())[1].tobytes()
    return {
        "jpg": huge_jpeg[: at + 5] + struct.pack(">HH", 32000, 32000) + huge_jpeg[at + 9 :],
        "png": b"\x89PNG\r\n\x1a\n" + chunk + bytes(100),
        "bmp": bmp[:18] + struct.pack("<ii", 32000, -32000) + bmp[26:],
        "ppm": b"P6 # claims\n32000 32000 255\n" + bytes(100),
        "tiff": b"II*\0" + struct.pack("<IHHHIIHHII", 8, 2, 0x100, 4, 1, 32000, 0x101, 4, 1, 32000),
        "webp": b"RIFF\x40\0\0\0WEBPVP8L\x20\0\0\0\x2f" + struct.pack("<I", 16383 << 14 | 16383),
        "gif": b"GIF89a" + struct.pack("<HH", 32000, 32000) + bytes(100),
    }


@pytest.mark.parametrize("kind", list(bombs()))
def test_a_header_that_claims_too_much_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"1.{kind}"
    path.write_bytes(bombs()[kind])
    with pytest.raises(SourceError, match=rf"1.{kind}: an image of \d+x\d+ pixels; at most 100 m"):
        read_image(path)
    with pytest.raises(BadImage) as caught:
        decode_image(bombs()[kind])
    assert caught.value.reason == "too_large"


def test_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "1.jpg"
    path.write_bytes(bombs()["jpg"])
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from lane_sad_ros.image_files import read_image\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: read_image(Path(sys.argv[1]))\n"
        "except ValueError: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert int(done.stdout) * 1024 < 20 * resource.getpagesize() * 1024


def test_a_smaller_limit_can_be_set() -> None:
    assert decode_image(jpeg(1), max_pixels=WIDTH * HEIGHT).shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(BadImage, match="96x48"):
        decode_image(jpeg(1), max_pixels=WIDTH * HEIGHT - 1)


def test_kinds_that_are_not_read_are_named(tmp_path: Path) -> None:
    for name, data in (
        ("1.jpg", b"hello"),
        ("2.png", b"\0\0\0\x18ftypheic"),
        ("3.jpg", b"\xff\xd8"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(SourceError, match=f"{name}: not an image of a kind.*JPEG, PNG"):
            read_image(tmp_path / name)


def test_names_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    names = ["2.jpg", "10.JPG", "a²b.png", "²", "x10.png", "x9.png"]
    for name in [*names, "notes.txt"]:
        (tmp_path / name).touch()
    assert image_names(tmp_path) == ["2.jpg", "10.JPG", "a²b.png", "x9.png", "x10.png"]
