from pathlib import Path

import cv2
import numpy as np
import pytest

from lane_sad_ros.files import SourceError
from lane_sad_ros.recordings import writing
from lane_sad_ros.recordings.message_types import typestore
from lane_sad_ros.recordings.sources import image_files, open_frames


def picture(shade):
    return np.full((48, 64, 3), shade, np.uint8)


def write_image(path, shade=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture(shade))
    return path


def write_video(path, count=10, rate=25.0):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), rate, (64, 48))
    for index in range(count):
        writer.write(picture(20 * index % 240))
    writer.release()
    return path


def image_message(shade, stamp_ns, encoding="bgr8"):
    types = typestore().types
    stamp = types["builtin_interfaces/msg/Time"](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    header = types["std_msgs/msg/Header"](stamp=stamp, frame_id="front")
    if encoding == "jpeg":
        data = cv2.imencode(".jpg", picture(shade))[1]
        return types["sensor_msgs/msg/CompressedImage"](header=header, format="jpeg", data=data)
    return types["sensor_msgs/msg/Image"](
        header=header,
        height=48,
        width=64,
        encoding=encoding,
        is_bigendian=0,
        step=192,
        data=picture(shade).reshape(-1),
    )


def shades(source):
    return [round(float(frame.image.mean()) / 20) for frame in source]


def test_an_image_file_is_one_frame(tmp_path):
    source = open_frames(write_image(tmp_path / "a.png", 20))
    (frame,) = source
    assert (source.kind, source.count) == ("image", 1)
    assert (frame.stamp_ns, frame.name) == (0, "a.png")
    np.testing.assert_array_equal(frame.image, picture(20))


def test_a_folder_is_read_in_natural_order_with_the_stamps_of_its_rate(tmp_path):
    for number in (10, 9, 1, 100):
        write_image(tmp_path / f"frame{number}.png", number)
    (tmp_path / "notes.txt").write_text("no image")
    source = open_frames(tmp_path, rate=10)
    assert (source.kind, source.count) == ("folder", 4)
    names = [frame.name for frame in source]
    assert names == ["frame1.png", "frame9.png", "frame10.png", "frame100.png"]
    assert [frame.stamp_ns for frame in source] == [0, 10**8, 2 * 10**8, 3 * 10**8]
    assert [frame.stamp for frame in source] == pytest.approx([0, 0.1, 0.2, 0.3])


def test_listed_images_keep_the_order_of_the_list(tmp_path):
    write_image(tmp_path / "b" / "1.png", 20)
    write_image(tmp_path / "a" / "1.png", 40)
    source = image_files(tmp_path, ["b/1.png", "a/1.png"])
    assert shades(source) == [1, 2]
    assert [frame.name for frame in source] == ["b/1.png", "a/1.png"]


def test_a_video_gives_every_frame_with_its_time(tmp_path):
    source = open_frames(write_video(tmp_path / "a.mp4"))
    assert (source.kind, source.count, source.rate) == ("video", 10, 25)
    for _ in range(2):
        frames = list(source)
        assert [frame.stamp_ns for frame in frames] == [40_000_000 * index for index in range(10)]
        assert [frame.name for frame in frames][:2] == ["000000", "000001"]
        assert shades(frames) == list(range(10))


@pytest.mark.parametrize("name", ["2026-05-01T12:30:00.mp4", "http:drive.mkv"])
def test_a_colon_in_the_name_of_a_video_is_no_protocol(tmp_path, monkeypatch, name):
    write_video(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    source = open_frames(name)
    assert len(list(source)) == 10
    assert source.path == Path(name)


@pytest.mark.parametrize("encoding", ["bgr8", "jpeg"])
def test_a_bag_gives_images_with_their_header(tmp_path, encoding):
    path = tmp_path / "a.mcap"
    with writing.writing_bag(path) as writer:
        for index in range(3):
            stamp = 10**18 + index * 50_000_001
            writer.write("/image", image_message(20 * index, stamp, encoding), stamp + 9)
    source = open_frames(path)
    assert (source.kind, source.count) == ("bag", 3)
    frames = list(source)
    assert [frame.stamp_ns for frame in frames] == [10**18 + i * 50_000_001 for i in range(3)]
    assert {frame.frame_id for frame in frames} == {"front"}
    assert shades(frames) == [0, 1, 2]


def test_a_bag_in_a_folder_is_read_for_its_own_files_alone(tmp_path):
    folder = tmp_path / "drive"
    with writing.writing_bag(folder / "drive_0.mcap") as writer:
        writer.write("/image", image_message(20, 1), 1)
    beside = folder / "calibration.yaml"
    beside.touch()
    source = open_frames(folder)
    assert source.reads(folder / "drive_0.mcap")
    assert not source.reads(beside)


def test_a_bag_without_stamps_takes_the_time_of_recording(tmp_path):
    path = tmp_path / "a.mcap"
    with writing.writing_bag(path) as writer:
        writer.write("/image", image_message(20, 0), 1234)
    assert [frame.stamp_ns for frame in open_frames(path)] == [1234]


def test_a_bad_message_is_told_and_left_out(tmp_path):
    path = tmp_path / "a.mcap"
    with writing.writing_bag(path) as writer:
        for index, encoding in enumerate(("bgr8", "nonsense", "bgr8")):
            writer.write("/image", image_message(20 * index, index + 1, encoding), index + 1)
    told = []
    assert shades(open_frames(path, on_bad=told.append)) == [0, 2]
    (line,) = told
    assert "a.mcap: /image message 1: " in line and "nonsense" in line
    with pytest.raises(SourceError, match="nonsense"):
        list(open_frames(path))


@pytest.mark.parametrize("ending", ["jpg", "png", "bmp"])
def test_a_damaged_image_is_told_and_left_out(tmp_path, ending):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    for index in range(3):
        assert cv2.imwrite(str(tmp_path / f"{index}.{ending}"), noise)
    data = (tmp_path / f"1.{ending}").read_bytes()
    (tmp_path / f"1.{ending}").write_bytes(data[: len(data) // 2])
    told = []
    names = [frame.name for frame in open_frames(tmp_path, on_bad=told.append)]
    assert names == [f"0.{ending}", f"2.{ending}"]
    assert len(told) == 1 and f"1.{ending}: not an image" in told[0] and "\n" not in told[0]
    with pytest.raises(SourceError, match=f"1.{ending}: not an image"):
        list(open_frames(tmp_path))


def test_a_video_cut_short_is_told_after_its_frames(tmp_path):
    path = write_video(tmp_path / "a.avi", count=40)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    told = []
    frames = list(open_frames(path, on_bad=told.append))
    assert 0 < len(frames) < 38
    assert told == [f"{path}: ends after {len(frames)} of 40 frames; it is cut short"]


def test_what_is_not_there_or_not_readable_is_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "text.txt").write_text("hello")
    (tmp_path / "text.mp4").write_text("hello")
    with writing.writing_bag(tmp_path / "a.mcap") as writer:
        writer.write("/image", image_message(20, 1), 1)
    wrong = {
        "missing.png": "missing.png: no such file or folder; an image, a folder",
        "empty": "empty: no image in this folder .*; looked for .jpg",
        "empty.png": "empty.png: an empty file, not an image",
        "text.jpg": "text.jpg: not an image",
        "text.txt": "text.txt: not an image, nor anything else .* needed is an image",
        "text.mp4": "text.mp4: not a whole video",
    }
    for name, words in wrong.items():
        with pytest.raises(SourceError, match=rf"^[^\n]*{words}[^\n]*$"):
            list(open_frames(tmp_path / name))
    with pytest.raises(SourceError, match=r"a\.mcap: no image topic /other; the bag has /image"):
        open_frames(tmp_path / "a.mcap", topic="/other")
    with pytest.raises(SourceError, match=r"text\.jpg: not a bag, so it has no topic /other"):
        open_frames(tmp_path / "text.jpg", topic="/other")
