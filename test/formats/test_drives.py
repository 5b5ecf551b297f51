"""`lane_sad bag make`: labelled data sets as bags."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader

from lane_sad_ros import files
from lane_sad_ros.cli import main
from lane_sad_ros.formats import lines
from lane_sad_ros.lanes import Lane, Lanes
from lane_sad_ros.recordings import bags, writing
from lane_sad_ros.recordings.message_types import MESSAGES, typestore
from lane_sad_ros.road.camera import CameraModel
from lane_sad_ros.road.ground import GroundProjector, Mounting
from training.__main__ import main as synthesize
from training.datasets.synthetic import write_drive, write_scenes

SIZE = (64, 36)
ROWS = list(range(10, 36, 2))
STEP, GAP = 50_000_000, 2_000_000_000
START = 10**9


def write_image(path: Path, shade: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((SIZE[1], SIZE[0], 3), shade, np.uint8))
    return path


def column(u: float, first: int = 0) -> list[float]:
    return [u if row >= ROWS[first] else -2 for row in ROWS]


def write_tusimple(folder: Path, labels: dict[str, list[list[float]]]) -> Path:
    lines = []
    for index, (name, lanes) in enumerate(labels.items()):
        write_image(folder / name, 20 * index)
        lines.append(json.dumps({"raw_file": name, "h_samples": ROWS, "lanes": lanes}))
    (folder / "labels.json").write_text("\n".join(lines) + "\n")
    return folder


def make(dataset: object, output: Path, *options: object) -> int:
    return main(["bag", "make", str(dataset), str(output), "--quiet", *map(str, options)])


def read(path: Path) -> dict[str, list[tuple[int, Any]]]:
    """(time of recording, message) by topic."""
    found: dict[str, list[tuple[int, Any]]] = {}
    with AnyReader([path]) as reader:
        for connection, time, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            found.setdefault(connection.topic, []).append((time, message))
    return found


def stamp(message: Any) -> int:
    return int(message.header.stamp.sec) * 10**9 + int(message.header.stamp.nanosec)


def present(message: Any) -> dict[str, list[list[float]]]:
    return {
        lane.name: [list(pair) for pair in zip(lane.u.tolist(), lane.v.tolist(), strict=True)]
        for lane in message.lanes
        if lane.exists
    }


@pytest.mark.parametrize("ending", ["mcap", "db3"])
def test_images_pass_through_and_lanes_get_their_slots(tmp_path: Path, ending: str) -> None:
    labels = {
        "clips/a/20.jpg": [column(40), column(10), column(25, first=3), column(-2)],
        "clips/b/20.jpg": [],
    }
    write_tusimple(tmp_path, labels)
    bag = tmp_path / f"out.{ending}"
    assert make(f"tusimple:{tmp_path}:labels.json", bag) == 0
    topics = read(bag)
    assert set(topics) == {"/camera/image/compressed", "/truth/lanes"}
    images, truths = topics["/camera/image/compressed"], topics["/truth/lanes"]
    for index, (name, (time, image), (_, truth)) in enumerate(
        zip(labels, images, truths, strict=True)
    ):
        assert image.data.tobytes() == (tmp_path / name).read_bytes()
        assert image.format == "jpeg" and image.header.frame_id == "camera"
        assert stamp(image) == stamp(truth) == time == START + index * GAP
        assert (truth.image_width, truth.image_height) == SIZE
        slots = [lane.name for lane in truth.lanes[:6]]
        assert slots == ["left_3", "left_2", "left_1", "right_1", "right_2", "right_3"]
    lanes = present(truths[0][1])
    assert set(lanes) == {"left_2", "left_1", "right_1", "other_1"}
    assert lanes["left_2"][0] == [10, ROWS[-1]] and lanes["left_2"][-1] == [10, ROWS[0]]
    assert len(lanes["left_1"]) == len(ROWS) - 3
    assert (
        lanes["other_1"] == []
    )  # a labelled lane without points: kept, as the benchmark counts it
    assert present(truths[1][1]) == {}


def test_no_lane_is_lost_that_no_slot_is_for(tmp_path: Path) -> None:
    write_tusimple(tmp_path, {"a.jpg": [column(u) for u in (2, 8, 14, 20, 40)]})
    assert make(f"tusimple:{tmp_path}:labels.json", tmp_path / "out.mcap") == 0
    ((_, truth),) = read(tmp_path / "out.mcap")["/truth/lanes"]
    assert {name: points[0][0] for name, points in present(truth).items()} == {
        "left_1": 20, "left_2": 14, "left_3": 8, "right_1": 40, "other_1": 2,
    }  # fmt: skip
    assert [lane.id for lane in truth.lanes] == list(range(7))


def test_clips_are_played_whole_with_a_label_on_their_last_frame(tmp_path: Path) -> None:
    write_tusimple(tmp_path, {f"clips/{clip}/5.jpg": [column(20)] for clip in "ab"})
    for clip, numbers in (("a", (1, 2, 3, 4)), ("b", (4,))):
        for number in numbers:
            write_image(tmp_path / f"clips/{clip}/{number}.jpg")
    bag = tmp_path / "out.mcap"
    assert make(f"tusimple:{tmp_path}:labels.json", bag, "--clips", "--rate", 10) == 0
    topics = read(bag)
    first = [START + index * 2 * STEP for index in range(5)]
    assert [time for time, _ in topics["/camera/image/compressed"]] == [
        *first, first[-1] + GAP, first[-1] + GAP + 2 * STEP,
    ]  # fmt: skip
    assert [time for time, _ in topics["/truth/lanes"]] == [first[-1], first[-1] + GAP + 2 * STEP]


def test_culane(tmp_path: Path) -> None:
    for name in ("00000", "00030", "00060"):
        write_image(tmp_path / f"v/{name}.jpg")
    (tmp_path / "v/00000.lines.txt").write_text("20 30 22 20 24 10\n40 12 44 20 48 30\n")
    (tmp_path / "v/00030.lines.txt").write_text("")
    (tmp_path / "list.txt").write_text("/v/00000.jpg\n/v/00030.jpg\n/v/00060.jpg\n")
    assert make(f"culane:{tmp_path}:list.txt", tmp_path / "out.mcap") == 0
    topics = read(tmp_path / "out.mcap")
    assert len(topics["/camera/image/compressed"]) == 3
    # The second has no lane; of the third nothing is known.
    first, second = (message for _, message in topics["/truth/lanes"])
    assert [lane.name for lane in first.lanes] == ["left_2", "left_1", "right_1", "right_2"]
    # Points go from the bottom of the image up, in whatever order the file has them.
    assert present(first) == {
        "left_1": [[20, 30], [22, 20], [24, 10]],
        "right_1": [[48, 30], [44, 20], [40, 12]],
    }
    assert present(second) == {}


def test_bdd100k(tmp_path: Path) -> None:
    def border(u: float) -> dict[str, Any]:
        return {
            "category": "lane/single white",
            "attributes": {"laneDirection": "parallel", "laneStyle": "solid"},
            "poly2d": [{"vertices": [[u, 700], [u, 400]], "types": "LL"}],
        }

    write_image(tmp_path / "images/a.jpg")
    labels = [{"name": "a.jpg", "labels": [border(300), border(312), border(1000)]}]
    (tmp_path / "lane_val.json").write_text(json.dumps(labels))
    dataset = f"bdd100k:{tmp_path / 'images'}:{tmp_path / 'lane_val.json'}"
    assert make(dataset, tmp_path / "out.mcap") == 0
    ((_, truth),) = read(tmp_path / "out.mcap")["/truth/lanes"]
    lanes = present(truth)
    assert set(lanes) == {"left_1", "right_1"}
    # Borders 300 and 312 of 1280 are one lane; this image is a twentieth of the labels' size.
    assert lanes["left_1"][0] == pytest.approx([306.5 / 20 - 0.5, 700.5 / 20 - 0.5], abs=1e-3)


def test_a_rendered_drive_has_its_calibration_and_its_ego_lane(tmp_path: Path) -> None:
    write_drive(tmp_path / "drive", 0.3, 10, seed=1, size=(160, 96))
    bag = tmp_path / "out.mcap"
    assert make(f"scenes:{tmp_path / 'drive'}", bag) == 0
    topics = read(bag)
    assert {topic: len(messages) for topic, messages in topics.items()} == {
        "/camera/image/compressed": 3, "/camera/camera_info": 3, "/truth/lanes": 3,
        "/truth/ego_lane": 3, "/tf_static": 1,
    }  # fmt: skip
    times = [time for time, _ in topics["/truth/lanes"]]
    assert times == [START, START + 2 * STEP, START + 4 * STEP]
    (_, tf), (_, info) = topics["/tf_static"][0], topics["/camera/camera_info"][0]
    (transform,) = tf.transforms
    assert (transform.header.frame_id, transform.child_frame_id) == ("base_link", "camera")
    pose = transform.transform
    mounting = Mounting.from_transform(
        [getattr(pose.translation, axis) for axis in "xyz"],
        [getattr(pose.rotation, axis) for axis in "xyzw"],
    )
    projector = GroundProjector(CameraModel.from_info(info), mounting)
    truth = topics["/truth/lanes"][0][1]
    assert truth.ground_frame == "base_link"
    checked = 0
    for lane in truth.lanes:
        near = [point for point in lane.ground if point.x < 15 and abs(point.z) < 0.01]
        for index, point in enumerate(near):
            found = projector.to_ground([[lane.u[index], lane.v[index]]])[0]
            # The camera nods by 2 mrad, which moves a point 15 m away by a few decimetres.
            assert found == pytest.approx([point.x, point.y, 0], abs=0.5)
            checked += 1
    assert checked > 5
    for (_, ego), record in zip(topics["/truth/ego_lane"], scenes(tmp_path / "drive"), strict=True):
        assert ego.valid and ego.left_seen and ego.right_seen
        assert ego.width == pytest.approx(record["ego_lane"]["width"])
        assert ego.lateral_offset == pytest.approx(record["ego_lane"]["lateral_offset"])
        assert ego.curvature == pytest.approx(record["ego_lane"]["curvature"])
    latched = {topic.name for topic in bags.topics(bag) if topic.latched}
    assert latched == {"/tf_static"}


def scenes(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "scenes.jsonl").read_text().splitlines()]


def test_a_drive_is_rendered_by_command_and_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["synthesize", str(tmp_path), "--rate", "10", "--size", "160x96", "--drive"]
    assert synthesize([*command, "0.1"]) == 0
    assert [record["stamp"] for record in scenes(tmp_path)] == [0.0]
    first = (tmp_path / "images/000000.jpg").stat().st_mtime_ns
    assert synthesize([*command, "0.2"]) == 0
    assert [record["stamp"] for record in scenes(tmp_path)] == [0.0, 0.1]
    assert (tmp_path / "images/000000.jpg").stat().st_mtime_ns == first
    assert synthesize([*command, "21"]) == 1
    assert "the drive lasts 20 s" in capsys.readouterr().err
    assert synthesize([*command, "-1"]) == 1


def test_scenes_that_stand_alone_have_no_pose_in_common(tmp_path: Path) -> None:
    write_scenes(tmp_path / "set", 3, seed=2, size=(160, 96))
    records = scenes(tmp_path / "set")
    records[1]["ego_lane"]["width"] = None
    text = "".join(json.dumps(record) + "\n" for record in records)
    (tmp_path / "set/scenes.jsonl").write_text(text)
    assert make(f"scenes:{tmp_path / 'set'}", tmp_path / "out.mcap", "--gap", "0.5") == 0
    topics = read(tmp_path / "out.mcap")
    assert "/tf_static" not in topics
    assert [time for time, _ in topics["/truth/lanes"]] == [START + i * GAP // 4 for i in range(3)]
    for (_, info), record in zip(topics["/camera/camera_info"], records, strict=True):
        assert info.k.tolist() == pytest.approx(record["camera"]["k"])
    unknown = topics["/truth/ego_lane"][1][1]
    assert not unknown.valid and math.isnan(unknown.width)


def lanes_file(path: Path, names: list[str], size: tuple[int, int] = SIZE) -> Path:
    points = np.array([[20, 30, 1], [22, 20, 1]], np.float32)
    lanes = Lanes(size, (Lane(0, True, 1.0, points), Lane(1, False, 0.0, points[:0])))
    with files.writing_lines(path) as add:
        for name in names:
            add(lines.lane_record(name, 0.0, lanes, ("left_1", "right_1")))
    return path


def test_a_folder_of_images_with_its_lanes_in_a_file(tmp_path: Path) -> None:
    for name in ("2.jpg", "10.jpg", "11.png"):
        write_image(tmp_path / "drive" / name)
    labels = lanes_file(tmp_path / "lanes.jsonl", ["10.jpg", "11.png"])
    calibration = tmp_path / "camera.yaml"
    calibration.write_text(
        "{image_width: 128, image_height: 72, distortion_model: plumb_bob, camera_matrix: {data: "
        "[100, 0, 63, 0, 100, 35, 0, 0, 1]}, distortion_coefficients: {data: [0, 0, 0, 0, 0]}}"
    )
    bag = tmp_path / "out.mcap"
    assert make(tmp_path / "drive", bag, "--labels", labels, "--camera-info", calibration) == 0
    topics = read(bag)
    images = topics["/camera/image/compressed"]
    assert [time for time, _ in images] == [START + index * STEP for index in range(3)]
    assert [image.format for _, image in images] == ["jpeg", "jpeg", "png"]
    assert images[2][1].data.tobytes() == (tmp_path / "drive/11.png").read_bytes()
    assert [time for time, _ in topics["/truth/lanes"]] == [START + STEP, START + 2 * STEP]
    assert present(topics["/truth/lanes"][0][1]) == {"left_1": [[20, 30], [22, 20]]}
    info = topics["/camera/camera_info"][0][1]
    assert (info.width, info.height) == (128, 72) and stamp(info) == START


def test_a_calibration_of_another_image_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "drive/0.jpg")
    calibration = tmp_path / "camera.yaml"
    calibration.write_text(
        "{image_width: 640, image_height: 480, camera_matrix: {data: [500, 0, 320, 0, 500, 240, 0, "
        "0, 1]}, distortion_coefficients: {data: []}}"
    )
    assert make(tmp_path / "drive", tmp_path / "out.mcap", "--camera-info", calibration) == 1
    said = capsys.readouterr().err
    assert "the image is 64x36 but camera_info describes 640x480" in said and said.count("\n") == 1
    assert not (tmp_path / "out.mcap").exists()


def test_a_video_and_a_bag_with_their_lanes_in_a_file(tmp_path: Path) -> None:
    video = tmp_path / "drive.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, SIZE)
    for index in range(3):
        writer.write(np.full((SIZE[1], SIZE[0], 3), 60 * index, np.uint8))
    writer.release()
    labels = lanes_file(tmp_path / "lanes.jsonl", ["000001"])
    first, second = tmp_path / "first.mcap", tmp_path / "second.mcap"
    assert make(video, first, "--labels", labels) == 0
    images = read(first)["/camera/image/compressed"]
    assert [time for time, _ in images] == [START + index * 2 * STEP for index in range(3)]
    shades: list[NDArray[np.uint8]] = [
        cv2.imdecode(image.data, cv2.IMREAD_COLOR) for _, image in images
    ]
    assert [int(shade.mean().round()) for shade in shades] == pytest.approx([0, 60, 120], abs=3)
    # A bag again, of which the stamps and the bytes are kept.
    assert make(first, second, "--labels", labels) == 0
    again = read(second)
    for (time, image), (other_time, other) in zip(
        images, again["/camera/image/compressed"], strict=True
    ):
        assert time == other_time and image.data.tobytes() == other.data.tobytes()
    assert [time for time, _ in again["/truth/lanes"]] == [START + 2 * STEP]


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_images_of_a_bag_are_as_sent_whatever_their_tag(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str, orientation: int
) -> None:
    pixels = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    pixels[: SIZE[1] // 2] = 200
    tag = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0%c\0\0\0\0\0\0" % orientation
    kinds = [cv2.IMAGE_METADATA_EXIF], [np.frombuffer(tag, np.uint8)]
    data = cv2.imencodeWithMetadata(f".{ending}", pixels, *kinds)[1].reshape(-1)
    image = typestore().types["sensor_msgs/msg/CompressedImage"](
        header=MESSAGES.header(10**18, "front"), format=ending, data=data
    )
    with writing.writing_bag(tmp_path / "sent.mcap") as writer:
        writer.write("/image/compressed", image, 10**18)
    labels = lanes_file(tmp_path / "lanes.jsonl", ["000000"])
    assert make(tmp_path / "sent.mcap", tmp_path / "out.mcap", "--labels", labels) == 0
    topics = read(tmp_path / "out.mcap")
    ((_, written),) = topics["/camera/image/compressed"]
    assert (written.data.tobytes() == data.tobytes()) is (ending != "webp")
    shown = cv2.imdecode(written.data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    np.testing.assert_allclose(shown, pixels, atol=6)
    assert len(topics["/truth/lanes"]) == 1 and not capsys.readouterr().err


def test_a_bag_of_raw_images_keeps_its_stamps(tmp_path: Path) -> None:
    types = typestore().types
    pixels = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
    with writing.writing_bag(tmp_path / "raw.db3") as writer:
        for index in range(2):
            image = types["sensor_msgs/msg/Image"](
                header=MESSAGES.header(10**18 + index, "front"), height=SIZE[1], width=SIZE[0],
                encoding="bgr8", is_bigendian=0, step=3 * SIZE[0], data=pixels.reshape(-1),
            )  # fmt: skip
            writer.write("/image", image, 10**18 + 5000 + index)
    labels = lanes_file(tmp_path / "lanes.jsonl", ["000001"])
    assert make(tmp_path / "raw.db3", tmp_path / "out.mcap", "--labels", labels) == 0
    topics = read(tmp_path / "out.mcap")
    images = topics["/camera/image/compressed"]
    assert [stamp(image) for _, image in images] == [10**18, 10**18 + 1]
    np.testing.assert_allclose(cv2.imdecode(images[0][1].data, cv2.IMREAD_COLOR), pixels, atol=2)
    assert [stamp(truth) for _, truth in topics["/truth/lanes"]] == [10**18 + 1]


def test_what_cannot_be_used_is_said_and_the_rest_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tusimple(tmp_path, {"a.jpg": [column(20)], "b.jpg": [], "c.jpg": [column(20)]})
    (tmp_path / "a.jpg").unlink()
    (tmp_path / "b.jpg").write_text("no image")
    bag = tmp_path / "out.mcap"
    assert make(f"tusimple:{tmp_path}:labels.json", bag) == 1
    said = capsys.readouterr()
    assert f"{tmp_path / 'a.jpg'}: cannot be read (No such file" in said.err
    assert f"{tmp_path / 'b.jpg'}: not an image" in said.err
    assert "1 frames, 1 with true lanes" in said.out
    # What is left out keeps its place in time.
    assert [time for time, _ in read(bag)["/truth/lanes"]] == [START + 2 * GAP]


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_an_image_that_is_cut_short_is_not_passed_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    for index in range(2):
        write_image(tmp_path / f"drive/{index}.{ending}")
    cut = tmp_path / f"drive/1.{ending}"
    cut.write_bytes(cut.read_bytes()[:-20])
    assert make(tmp_path / "drive", tmp_path / "out.mcap") == 1
    assert f"{cut}: not an image that is whole" in capsys.readouterr().err
    assert len(read(tmp_path / "out.mcap")["/camera/image/compressed"]) == 1


def test_labels_that_belong_to_no_frame_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "drive/0.jpg")
    labels = lanes_file(tmp_path / "lanes.jsonl", ["0.jpg", "7.jpg"])
    assert make(tmp_path / "drive", tmp_path / "out.mcap", "--labels", labels) == 1
    assert "has no frame of 1 of 2 labels, first 7.jpg" in capsys.readouterr().err
    other = lanes_file(tmp_path / "other.jsonl", ["0.jpg"], size=(1280, 720))
    assert make(tmp_path / "drive", tmp_path / "out.mcap", "--labels", other) == 1
    assert "0.jpg: 64x36 pixels, but its lanes lie on 1280x720" in capsys.readouterr().err
    assert "/truth/lanes" not in read(tmp_path / "out.mcap")


def test_nothing_is_written_where_nothing_can_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tusimple(tmp_path, {"a.jpg": []})
    (tmp_path / "a.jpg").unlink()
    bag = tmp_path / "out.mcap"
    bag.write_text("an older bag")
    assert make(f"tusimple:{tmp_path}:labels.json", bag) == 1
    assert "no frame that could be used" in capsys.readouterr().err
    assert bag.read_text() == "an older bag"


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ("scenes:{}", "no scenes.jsonl in this folder"),
        ("tusimple:{}:none.json", "none.json: no such JSON, nor below"),
        ("tusimple:{}:bad.json", "bad.json:1: not JSON"),
        ("culane:{}:empty.txt", "empty.txt: names no image"),
        ("bdd100k:{}:{}/masks", "no label file"),
        ("{}/none.mp4", "none.mp4: no such file"),
    ],
)
def test_wrong_input_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], dataset: str, said: str
) -> None:
    (tmp_path / "bad.json").write_text("{\n")
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "masks").mkdir()
    assert make(dataset.replace("{}", str(tmp_path)), tmp_path / "out.mcap") == 1
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (tmp_path / "out.mcap").exists()


@pytest.mark.parametrize(
    "options",
    [
        ["culane:a:b", "out.bag"],
        ["culane:a:b", "out.mcap", "--clips"],
        ["culane:a:b", "out.mcap", "--labels", "lanes.jsonl"],
        ["same.mcap", "same.mcap"],
    ],
)
def test_wrong_use(options: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["bag", "make", *options])


def test_a_damaged_scenes_file_names_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scenes(tmp_path / "set", 1, seed=0, size=(160, 96))
    file = tmp_path / "set/scenes.jsonl"
    record = scenes(tmp_path / "set")[0]
    del record["camera"]["height_m"]
    file.write_text(file.read_text() + json.dumps(record) + "\n")
    assert make(f"scenes:{tmp_path / 'set'}", tmp_path / "out.mcap") == 1
    assert "scenes.jsonl:2: not a scene (lacks 'height_m')" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "set")


def test_real_clips(data: Path, tmp_path: Path) -> None:
    dataset = f"tusimple:{data / 'tusimple'}:label_data_0601_val.json"
    assert make(dataset, tmp_path / "out.mcap", "--clips") == 0
    topics = read(tmp_path / "out.mcap")
    assert len(topics["/camera/image/compressed"]) == 101 and len(topics["/truth/lanes"]) == 6
