"""Videos: which are whole, which last as long as the drive, and what is never opened as one."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from lane_sad_ros.files import SourceError
from lane_sad_ros.recordings.sources import open_frames
from lane_sad_ros.video_files import counts_frames, edited_count, writing_video

RATE = 25


def frame(index: int) -> np.ndarray:
    return np.full((48, 64, 3), 8 * index % 256, np.uint8)


def element(name: str, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return bytes.fromhex(name) + (len(content) | 1 << 56).to_bytes(8, "big") + content


def number(value: int) -> bytes:
    return value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")


def write_matroska(path: Path, times: list[int], duration: float, rate: int | None = RATE) -> Path:
    """A video of JPEGs at these times, milliseconds; a container that does not count frames."""
    versions = (("4286", 1), ("42F7", 1), ("42F2", 4), ("42F3", 8), ("4287", 4), ("4285", 2))
    kind = element("4282", b"matroska")
    head = element("1A45DFA3", kind, *(element(name, number(value)) for name, value in versions))
    scale, lasts = element("2AD7B1", number(10**6)), element("4489", struct.pack(">d", duration))
    video = element("E0", element("B0", number(64)), element("BA", number(48)))
    settings = [("D7", 1), ("73C5", 1), ("83", 1)]
    settings += [("23E383", 10**9 // rate)] if rate else []
    track = element(
        "AE", *(element(*(n, number(v))) for n, v in settings), element("86", b"V_MJPEG"), video
    )
    blocks = [
        element("A3", b"\x81", struct.pack(">h", time - times[0]), b"\x80", jpeg.tobytes())
        for index, time in enumerate(times)
        for jpeg in [cv2.imencode(".jpg", frame(index))[1]]
    ]
    info, tracks = element("1549A966", scale, lasts), element("1654AE6B", track)
    cluster = element("1F43B675", element("E7", number(times[0])), *blocks)
    path.write_bytes(head + element("18538067", info, tracks, cluster))
    return path


EVEN = [40 * index for index in range(20)]


@pytest.mark.parametrize(
    ("times", "duration"),
    [
        (EVEN, 800), (EVEN, 1000), ([5000 + time for time in EVEN], 5800),
        ([time + 60 * (time > 400) for time in EVEN], 860),
    ],
    ids=["plain", "sound lasts longer", "starts at 5 s", "variable rate"],
)  # fmt: skip
def test_a_whole_matroska_is_not_called_cut(
    tmp_path: Path, times: list[int], duration: float
) -> None:
    told: list[str] = []
    frames = list(
        open_frames(write_matroska(tmp_path / "a.mkv", times, duration), on_bad=told.append)
    )
    assert len(frames) == len(times) and told == []
    stamps = [frame.stamp_ns for frame in frames]
    assert [s - stamps[0] for s in stamps] == [(t - times[0]) * 10**6 for t in times]


def test_where_no_rate_is_told_the_first_frames_tell_it(tmp_path: Path) -> None:
    """OpenCV says 1000 Hz then, and as many frames as milliseconds."""
    steps = np.random.default_rng(0).integers(25, 45, 300)
    times = [0, *np.cumsum(steps).tolist()]
    path = write_matroska(tmp_path / "a.mkv", times, times[-1] + 35, rate=None)
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS) == 1000
    source = open_frames(path)
    assert source.rate == pytest.approx(1000 / 34.5, rel=0.1)
    assert source.count == pytest.approx(len(times), rel=0.1)
    assert len(list(source)) == len(times)


def test_a_rate_that_is_told_holds_where_frames_are_missing(tmp_path: Path) -> None:
    times = [40 * index for index in range(100) if index % 3]
    assert open_frames(write_matroska(tmp_path / "a.mkv", times, 4000)).rate == RATE


def write_edited(path: Path, start: int, length: int, count: int = 200) -> Path:
    """An MP4 of so many frames whose edit list shows `length` of them."""
    with writing_video(path, RATE) as add:
        for index in range(count):
            add(frame(index))
    data = bytearray(path.read_bytes())
    movie, track = (
        int.from_bytes(data[at : at + 4], "big")
        for at in (data.find(b"mvhd") + 16, data.find(b"mdhd") + 16)
    )
    edit = struct.pack(">II", length * movie // RATE, start * track // RATE)
    at = data.find(b"elst") + 12
    data[at : at + 8] = edit
    path.write_bytes(data)
    return path


def test_a_trimmed_video_is_not_called_cut(tmp_path: Path) -> None:
    told: list[str] = []
    source = open_frames(write_edited(tmp_path / "a.mp4", 50, 60), on_bad=told.append)
    assert (source.count, len(list(source)), told) == (60, 60, [])


def test_a_trimmed_video_that_is_cut_is_told(tmp_path: Path) -> None:
    path = write_edited(tmp_path / "a.mp4", 50, 120)
    data = bytearray(path.read_bytes())
    begin, end = data.find(b"mdat") + 4, data.find(b"moov") - 4
    middle = (begin + end) // 2
    data[middle:end] = bytes(end - middle)
    path.write_bytes(data)
    told: list[str] = []
    count = len(list(open_frames(path, on_bad=told.append)))
    assert 30 < count < 70
    assert told == [f"{path}: ends after {count} of 120 frames; it is cut short"]


def box(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def table(kind: bytes, rows: list[tuple[int, ...]], row: str, version: int = 0) -> bytes:
    """A box of rows."""
    head = struct.pack(">B3xI", version, len(rows))
    return box(kind, head, *(struct.pack(row, *values) for values in rows))


PAUSE = (500, -1, 1 << 16)


@pytest.mark.parametrize(
    ("edits", "runs", "delay", "shown"),
    [
        ([(4000, 0, 1 << 16)], [(100, 400)], None, 100),
        ([(4000, 800, 1 << 16)], [(100, 400)], 800, 100),
        ([(1000, 8800, 1 << 16)], [(100, 400)], 800, 25),
        ([PAUSE, (1000, 0, 1 << 16), (400, 20_000, 1 << 16)], [(100, 400)], None, 35),
        ([(800, 36_000, 1 << 16)], [(50, 400), (50, 800)], None, 10),
        ([(0, 20_000, 1 << 16)], [(100, 400)], None, 50),
        ([(1000, 0, 1 << 16)], [], None, None),
        ([], [(100, 400)], None, None),
    ],
    ids=["all", "decoded early", "trimmed", "parts", "slower", "to the end", "elsewhere", "none"],
)  # fmt: skip
@pytest.mark.parametrize("version", [0, 1])
def test_frames_that_an_edit_list_shows_are_counted(
    tmp_path: Path,
    edits: list[tuple[int, ...]],
    runs: list[tuple[int, ...]],
    delay: int | None,
    shown: int | None,
    version: int,
) -> None:
    """The movie's time is in milliseconds, the track's in tenths of them."""

    def scale(kind: bytes, units: int) -> bytes:
        return box(kind, struct.pack(">B3x", version), bytes(16 if version else 8), number4(units))

    def number4(value: int) -> bytes:
        return struct.pack(">I", value)

    def track(kind: bytes, *more: bytes) -> bytes:
        media = box(b"hdlr", bytes(8), kind), scale(b"mdhd", 10_000)
        return box(b"trak", *more[:1], box(b"mdia", *media, *more[1:]))

    listed = box(b"edts", table(b"elst", edits, ">QqI" if version else ">IiI", version))
    tables = [table(b"stts", runs, ">II")]
    tables += [] if delay is None else [table(b"ctts", [(1, delay), (99, 1)], ">Ii")]
    picture = track(b"vide", listed, box(b"minf", box(b"stbl", *tables)))
    media = struct.pack(">I4sQ", 1, b"mdat", 16 + 5) + bytes(5)
    path = tmp_path / "a.mp4"
    movie = box(b"moov", scale(b"mvhd", 1000), track(b"soun"), picture)
    path.write_bytes(box(b"ftyp", b"isom") + media + movie)
    assert edited_count(path) == shown


def test_a_cut_matroska_is_told(tmp_path: Path) -> None:
    path = write_matroska(tmp_path / "a.webm", EVEN, 800)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    told: list[str] = []
    count = len(list(open_frames(path, on_bad=told.append)))
    assert 5 < count < 20 and told == [f"{path}: ends after {count} frames; it is cut short"]


def test_a_video_of_variable_rate_lasts_as_long_as_its_frames(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    times = [0.0, 0.04, 0.08, 0.5, 0.54, 1.0]
    with writing_video(path, RATE) as add:
        for index, at in enumerate(times):
            add(frame(3 * index), at)
    shades = [int(f.image.mean()) for f in open_frames(path)]
    assert len(shades) == 26
    assert shades[11] == pytest.approx(48, abs=6) and shades[13] == pytest.approx(72, abs=6)


def test_of_a_long_gap_ten_seconds_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with writing_video(path, 5.0) as add:
        for index, at in enumerate([0.0, 60.0, 60.2, 60.4]):
            add(frame(3 * index), at)
    assert len(list(open_frames(path))) == 1 + 50 + 3


def test_a_video_whose_frames_are_lost_does_not_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.mp4"
    path.write_text("as it was")

    real = cv2.VideoWriter

    class Full:
        """A disk that is full after some frames: OpenCV does not say so."""

        fourcc = cv2.VideoWriter.fourcc

        def __init__(self) -> None:
            self.writer, self.count = real(), 0

        def __getattr__(self, name: str) -> object:
            return getattr(self.writer, name)

        def write(self, image: np.ndarray) -> None:
            self.count += 1
            if self.count <= 5:
                self.writer.write(image)

    def write_all() -> None:
        with writing_video(path, 25) as add:
            for index in range(20):
                add(frame(index))

    monkeypatch.setattr("lane_sad_ros.video_files.cv2.VideoWriter", Full)
    with pytest.raises(OSError, match=r"a\.mp4: not all of its 20 frames"):
        write_all()
    assert path.read_text() == "as it was" and [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.heic", b"\0\0\0\x18ftypheic", "HEIC and AVIF"),
        ("a.mp4", b"\0\0\0\x18ftypheic\0\0\0\0", "not a whole video"),
        ("a.mp4", b"#EXTM3U\nhttp://localhost:1/secret\n", "not a whole video"),
        ("a.mp4", b"ffconcat version 1.0\nfile other.mp4\n", "not a whole video"),
        ("a.xyz", b"\0\0\0\x18ftypisom", "not an image, nor anything else"),
        ("a", b"RIFF0000AVI ", "not an image, nor anything else"),
    ],
)
def test_what_is_no_video_never_goes_to_the_decoder(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=rf"{name}: {words}"):
        open_frames(tmp_path / name)


@pytest.mark.parametrize(("ending", "counts"), [("mp4", True), ("avi", True), ("mkv", False)])
def test_endings_are_known_without_regard_to_case(
    tmp_path: Path, ending: str, counts: bool
) -> None:
    with writing_video(tmp_path / f"a.{ending}", RATE) as add:
        for index in range(10):
            add(frame(index))
    upper = (tmp_path / f"a.{ending}").rename(tmp_path / f"A.{ending.upper()}")
    assert counts_frames(upper) is counts
    told: list[str] = []
    assert len(list(open_frames(upper, on_bad=told.append))) == 10 and told == []


def test_pictures_of_phones_in_a_folder_are_told(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.jpg"), frame(1))
    (tmp_path / "IMG_2.HEIC").touch()
    told: list[str] = []
    assert [f.name for f in open_frames(tmp_path, on_bad=told.append)] == ["1.jpg"]
    assert len(told) == 1 and "1 left out, such as IMG_2.HEIC" in told[0]


def test_a_folder_of_pictures_of_phones_alone_says_so(tmp_path: Path) -> None:
    (tmp_path / "IMG_2.HEIC").touch()
    told: list[str] = []
    with pytest.raises(SourceError, match="no image in this folder"):
        open_frames(tmp_path, on_bad=told.append)
    assert len(told) == 1 and "HEIC and AVIF" in told[0]
