"""Recorded drives on the road: calibrations of bags and files, and what `detect` makes of them."""

import dataclasses
import json
import sqlite3
from contextlib import closing

import cv2
import numpy as np
import pytest
import yaml
from straight_road import CAMERA, HEIGHT, LINES, PITCH, PROJECTOR, SIZE, seen

from lane_sad_ros import cli
from lane_sad_ros.detection import Detection, LaneDetector
from lane_sad_ros.lanes import Lane, Lanes
from lane_sad_ros.messages.lanes import POINT
from lane_sad_ros.parameter_fields import ParameterError
from lane_sad_ros.recordings import bags, writing
from lane_sad_ros.recordings.message_types import MESSAGES, BagError, typestore
from lane_sad_ros.recordings.projection import Projection
from lane_sad_ros.recordings.sources import open_frames
from lane_sad_ros.road.camera import CalibrationError
from lane_sad_ros.road.ground import Mounting
from lane_sad_ros.road.parameters import RoadParameters
from lane_sad_ros.ros.detector.parameters import DetectorParameters

START, STEP = 1_700_000_000_000_000_000, 50_000_000
MOUNTING = Mounting.from_angles(HEIGHT, pitch=PITCH)
PARAMETERS = f"/**:\n  ros__parameters:\n    camera_height: {HEIGHT}\n    camera_pitch: {PITCH}\n"


def write_bag(
    path,
    *,
    info=True,
    k=None,
    transforms=(("base_link", "front", MOUNTING),),
    count=3,
    frame_id="front",
):
    with writing.writing_bag(path) as bag:
        for index in range(count):
            stamp = START + index * STEP
            header = MESSAGES.header(stamp, frame_id)
            picture = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
            if info:
                message = MESSAGES.camera_info(CAMERA, header)
                if k is not None:
                    message.k = np.asarray(k, np.float64)
                bag.write("/cam/camera_info", message, stamp)
            if index == 0:
                for parent, child, pose in transforms:
                    bag.write("/tf_static", MESSAGES.transform(pose, parent, child, stamp), stamp)
            bag.write("/cam/image_raw/compressed", MESSAGES.jpeg(picture, header), stamp)
    return path


def write_image(path):
    bgr = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    path.write_bytes(bytes(MESSAGES.jpeg(bgr, MESSAGES.header(0, "")).data))
    return path


def project(path, **options):
    source = open_frames(path)
    projection = Projection(source, **options)
    frame = next(iter(source))
    return projection, frame, projection.projector(frame)


def assert_lines_lie_in_place(projector):
    for lane, side in zip(projector.with_ground(seen()), LINES, strict=True):
        np.testing.assert_allclose(lane.ground[:, 1], side, atol=0.02)


def test_a_bag_says_all_that_is_needed(tmp_path):
    projection, frame, projector = project(write_bag(tmp_path / "drive.mcap"))
    assert_lines_lie_in_place(projector)
    assert projection.note == ""
    ((topic, message),) = projection.messages(frame).items()
    assert topic == "/cam/camera_info"
    assert message.header == MESSAGES.header(START, "front")
    np.testing.assert_array_equal(message.k, CAMERA.k.ravel())
    assert projection.projector(frame) is projector


@pytest.mark.parametrize(("cameras", "known"), [(["/front"], True), (["/front", "/rear"], False)])
def test_the_calibration_of_another_camera_is_not_taken(tmp_path, cameras, known):
    path = tmp_path / "drive.mcap"
    header = MESSAGES.header(START, "front")
    picture = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    with writing.writing_bag(path) as bag:
        bag.write("/rear/camera_info", MESSAGES.camera_info(CAMERA, header), START)
        for camera in cameras:
            for topic in (f"{camera}/image", f"{camera}/image/compressed"):
                bag.write(topic, MESSAGES.jpeg(picture, header), START)
    source = open_frames(path, topic="/front/image/compressed")
    assert (Projection(source).info is not None) == known


def test_frames_are_connected_through_their_common_ancestor(tmp_path):
    turned = Mounting(np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]), np.array([1.0, 2, 0.5]))
    body = Mounting(np.eye(3), np.array([0.0, 0.0, 0.4]))
    # odom -> base_link -> mast -> front: the camera stands on a mast that is turned by 90 degrees.
    on_mast = Mounting(
        turned.rotation.T @ MOUNTING.rotation, turned.rotation.T @ (MOUNTING.position - [1, 2, 0.5])
    )
    transforms = (("odom", "base_link", body), ("base_link", "mast", turned))
    transforms += (("mast", "front", on_mast),)
    path = write_bag(tmp_path / "drive.mcap", transforms=transforms)
    assert_lines_lie_in_place(project(path)[2])


def test_names_of_frames_may_begin_with_a_slash_as_in_ros_1(tmp_path):
    transforms = (("/base_link", "/front", MOUNTING),)
    path = write_bag(tmp_path / "drive.mcap", transforms=transforms, frame_id="/front")
    assert_lines_lie_in_place(project(path)[2])


@pytest.mark.parametrize(("child", "known"), [("gps", True), ("base_link", True), ("front", False)])
def test_a_transform_without_a_rotation_is_left_out(tmp_path, child, known):
    """As tf2 does; it is said only where the camera needs it."""
    path = tmp_path / "drive.mcap"
    with writing.writing_bag(path) as bag:
        header = MESSAGES.header(START, "front")
        bag.write("/cam/camera_info", MESSAGES.camera_info(CAMERA, header), START)
        if known:
            pose = MESSAGES.transform(MOUNTING, "base_link", "front", START)
            bag.write("/tf_static", pose, START)
        broken = MESSAGES.transform(MOUNTING, "odom", child, START)
        turn = broken.transforms[0].transform.rotation
        turn.x = turn.y = turn.z = turn.w = 0.0
        bag.write("/tf_static", broken, START)
        picture = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
        bag.write("/cam/image_raw/compressed", MESSAGES.jpeg(picture, header), START)
    projection, _, projector = project(path)
    if known:
        assert_lines_lie_in_place(projector)
        assert projection.note == ""
    else:
        assert projector is None
        assert "/tf_static, front in odom: " in projection.note
        assert "its rotation is all zero" in projection.note


def test_a_camera_need_not_hang_below_the_base_frame(tmp_path):
    """Both hang below the chassis, in which base_link is turned by 90 degrees and moved."""
    turn, shift = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]), np.array([1.0, 2.0, 0.5])
    base = Mounting(turn, shift)
    camera = Mounting.from_angles(HEIGHT, pitch=PITCH, x=1.0, y=0.5)
    front = Mounting(turn @ camera.rotation, turn @ camera.position + shift)
    transforms = (("chassis", "base_link", base), ("chassis", "front", front))
    path = write_bag(tmp_path / "drive.mcap", transforms=transforms)
    lines = project(path)[2].with_ground(seen())
    np.testing.assert_allclose(lines[1].ground[:, 1], LINES[1] + 0.5, atol=0.02)


def test_parameters_come_before_the_transforms_of_the_bag(tmp_path):
    parameters = tmp_path / "mine.yaml"
    parameters.write_text(PARAMETERS + "    camera_y: 1.0\n    base_frame: footprint\n")
    path = write_bag(tmp_path / "drive.mcap")
    projection, frame, projector = project(path, params_file=str(parameters))
    np.testing.assert_allclose(projector.with_ground(seen())[1].ground[:, 1], 2.6, atol=0.02)
    (message,) = projection.static_transforms(frame)
    (stamped,) = message.transforms
    assert (stamped.header.frame_id, stamped.child_frame_id) == ("footprint", "front")


def test_a_video_or_folder_needs_both_files(tmp_path):
    image = write_image(tmp_path / "a.jpg")
    parameters = tmp_path / "mine.yaml"
    parameters.write_text(PARAMETERS)
    info = tmp_path / "camera.yaml"
    info.write_text(
        f"image_width: {SIZE[0]}\nimage_height: {SIZE[1]}\ndistortion_model: plumb_bob\n"
        f"camera_matrix: {{rows: 3, cols: 3, data: {CAMERA.k.ravel().tolist()}}}\n"
        "distortion_coefficients: {rows: 1, cols: 5, data: [0, 0, 0, 0, 0]}\n"
    )
    projector = project(image, camera_info=str(info), params_file=str(parameters))[2]
    assert_lines_lie_in_place(projector)
    with pytest.raises(CalibrationError, match="a.jpg.*--camera-info"):
        project(image, params_file=str(parameters))
    with pytest.raises(CalibrationError, match="--params-file"):
        project(image, camera_info=str(info))


@pytest.mark.parametrize(
    ("options", "note"),
    [
        ({"info": False, "transforms": ()}, ""),
        ({"transforms": ()}, ""),
        ({"k": [0] * 9}, "not calibrated"),
        ({"transforms": (("base_link", "rear", MOUNTING),)}, "from front to base_link"),
        ({"transforms": (("base_link", "front", Mounting.from_angles(-1)),)}, "above the road"),
        ({"transforms": (("base_link", "front", Mounting.from_angles(1, pitch=-1)),)}, "horizon"),
    ],
)
def test_a_bag_that_says_too_little_leaves_lanes_in_pixels(tmp_path, options, note):
    projection, _, projector = project(write_bag(tmp_path / "drive.mcap", **options))
    assert projector is None
    assert note in projection.note
    assert bool(note) == bool(projection.note)


def damage(path, topic, only=""):
    """Leaves 40 bytes of the messages of a topic."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "UPDATE messages SET data = substr(data, 1, 40) "
            f"WHERE topic_id = (SELECT id FROM topics WHERE name = ?) {only}",
            [topic],
        )


def test_a_damaged_camera_info_is_told_and_leaves_lanes_in_pixels(tmp_path):
    path = write_bag(tmp_path / "drive.db3")
    damage(path, "/cam/camera_info")
    projection, _, projector = project(path)
    assert projector is None
    said = f"{path}: a message on /cam/camera_info is no sensor_msgs/msg/CameraInfo"
    assert projection.note.startswith(said)
    parameters = tmp_path / "mine.yaml"
    parameters.write_text(PARAMETERS)
    with pytest.raises(BagError, match="/cam/camera_info is no"):
        project(path, params_file=str(parameters))


def test_a_damaged_transform_is_left_out(tmp_path):
    transforms = (("base_link", "gps", MOUNTING), ("base_link", "front", MOUNTING))
    path = write_bag(tmp_path / "drive.db3", transforms=transforms)
    damage(path, "/tf_static", "AND id = 2")
    projection, _, projector = project(path)
    assert_lines_lie_in_place(projector)
    assert len(projection.transforms) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read"),
        ("- 1", "not a parameter file"),
        ("/**: 3", "not a parameter file"),
        ("a: [", "not a parameter file"),
        ("/**: {ros__parameters: {camera_height: high}}", "camera_height is 'high'; a number"),
        ("/**: {ros__parameters: {camera_height: 200}}", "between 0 and 100"),
        ("/**: {ros__parameters: {camera_pitch: .nan}}", "between -1.58 and 1.58"),
        ("/**: {ros__parameters: {base_frame: /base}}", "without /"),
        ("/**: {ros__parameters: {base_frame: []}}", "base_frame is \\[\\]; a string"),
        ("/**: {ros__parameters: {camera_hight: 1.5}}", "did you mean camera_height"),
        ("/**: {ros__parameters: {camera_heigth: 1.5}}", "did you mean camera_height"),
        ("slam: {ros__parameters: {base_frame: base}}", "is for /slam; a section lane_detector"),
        (
            "a: {lane_detector: {ros__parameters: {}}}\n/b/lane_detector: {ros__parameters: {}}",
            "several nodes: /a/lane_detector, /b/lane_detector",
        ),
    ],
)
def test_a_parameter_file_that_is_none_is_named(tmp_path, text, words):
    path = tmp_path / "mine.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ParameterError, match=words) as caught:
        RoadParameters.from_file(path)
    assert str(path) in str(caught.value)


def test_a_parameter_file_may_hold_whole_numbers_and_other_parameters(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("lane_detector: {ros__parameters: {camera_height: 2, device: cpu}}")
    assert RoadParameters.from_file(path) == RoadParameters(camera_height=2.0)


@pytest.mark.parametrize("name", ["lane_detector", "/veh/lane_detector", "veh:\n  lane_detector"])
def test_of_a_parameter_file_for_many_nodes_the_detector_s_section_counts(tmp_path, name):
    path = tmp_path / "bringup.yaml"
    own = "{ros__parameters: {camera_height: 1.5}}"
    path.write_text(
        f"/**: {{ros__parameters: {{camera_height: 2.5, camera_x: 1}}}}\n{name}: {own}\n"
        "rear_lane_detector: {ros__parameters: {camera_height: 0.9, camera_y: 3.0}}\n"
        "slam_toolbox: {ros__parameters: {base_frame: base_footprint}}\n"
    )
    assert RoadParameters.from_file(path) == RoadParameters(camera_height=1.5, camera_x=1.0)


def test_of_two_sections_that_count_the_one_further_down_does_as_for_the_node(tmp_path):
    path = tmp_path / "bringup.yaml"
    path.write_text(
        "lane_detector: {ros__parameters: {camera_height: 1.5, camera_x: 2}}\n"
        "/**: {ros__parameters: {camera_height: 2.5}}\n"
    )
    assert RoadParameters.from_file(path) == RoadParameters(camera_height=2.5, camera_x=2.0)


def test_no_parameter_of_the_node_is_taken_for_a_misspelt_one(tmp_path):
    path = tmp_path / "all.yaml"
    given = {item.name: item.default for item in dataclasses.fields(DetectorParameters)}
    given |= {"cameras": [""], "crop": [0.0] * 4}
    path.write_text(yaml.safe_dump({"lane_detector": {"ros__parameters": given}}))
    assert RoadParameters.from_file(path) == RoadParameters()


# --- detect


@pytest.fixture
def straight(monkeypatch):
    """A detector that sees a straight road, whatever the image."""
    empty = np.zeros((0, 3), np.float32)
    lanes = [Lane(0, False, 0.05, empty), *seen(), Lane(5, False, 0.05, empty)]
    lanes = tuple(
        Lane(s, lane.exists, lane.probability, lane.points) for s, lane in enumerate(lanes)
    )

    def detect(_, frames, **__):
        return [Detection(Lanes(SIZE, lanes), None, {}) for _ in frames]

    monkeypatch.setattr(LaneDetector, "detect", detect)


def messages_of(path):
    found = {}
    for topic in bags.topics(path):
        messages = bags.recorded(path, [topic.name])
        found[topic.name] = [typestore().deserialize_cdr(m.data, topic.type) for m in messages]
    return found


def detect(*arguments):
    return cli.main(["detect", *map(str, arguments), "--device", "cpu", "--quiet"])


def test_a_bag_becomes_a_bag_of_all_that_the_node_tells(tmp_path, straight):
    out = tmp_path / "out.mcap"
    assert detect(write_bag(tmp_path / "drive.mcap"), "--output", out) == 0
    told = messages_of(out)
    ours = ("lanes", "existence", "ego_lane", "markers", "points", "overlay/compressed")
    assert {f"/lane_detector/{name}" for name in ours} <= set(told)
    assert set(told) - {f"/lane_detector/{name}" for name in ours} == {
        "/cam/camera_info",
        "/tf_static",
    }
    assert next(t for t in bags.topics(out) if t.name == "/tf_static").latched
    assert len(told["/cam/camera_info"]) == len(told["/lane_detector/lanes"]) == 3
    lanes = told["/lane_detector/lanes"][2]
    assert lanes.ground_frame == "base_link"
    np.testing.assert_allclose([p.y for p in lanes.lanes[2].ground], LINES[1], atol=0.03)
    cloud = told["/lane_detector/points"][2]
    assert cloud.header == MESSAGES.header(START + 2 * STEP, "base_link")
    assert len(np.frombuffer(cloud.data.tobytes(), POINT)) == cloud.width > 50
    ego = told["/lane_detector/ego_lane"][2]
    assert ego.valid
    assert ego.width == pytest.approx(3.6, abs=0.1)
    markers = told["/lane_detector/markers"][2].markers
    assert {(m.ns, m.id) for m in markers if m.action == m.ADD} == {
        *(("lanes", slot) for slot in range(1, 5)),
        ("ego_lane", 0),
        ("ego_lane", 1),
    }


def test_lines_tell_of_the_road(tmp_path, straight):
    out = tmp_path / "lanes.jsonl"
    assert detect(write_bag(tmp_path / "drive.mcap"), "--output", out) == 0
    record = json.loads(out.read_text().splitlines()[2])
    lane = record["lanes"][2]
    assert len(lane["ground"]) == len(lane["points"])
    np.testing.assert_allclose(np.array(lane["ground"])[:, 1], LINES[1], atol=0.03)
    assert record["ego_lane"]["valid"] is True
    assert record["ego_lane"]["width"] == pytest.approx(3.6, abs=0.1)


def test_without_a_calibration_a_bag_holds_pixels_and_a_file_that_is_wrong_fails(
    tmp_path, straight, capsys
):
    out = tmp_path / "out.mcap"
    path = write_bag(tmp_path / "drive.mcap", k=[0] * 9)
    assert detect(path, "--output", out) == 0
    assert "lanes stay in pixels: camera_info is not calibrated" in capsys.readouterr().err
    told = messages_of(out)
    assert told["/lane_detector/lanes"][0].ground_frame == ""
    assert not told["/lane_detector/ego_lane"][0].valid
    assert detect(path, "--output", out, "--params-file", tmp_path / "none.yaml") == 1
    assert "none.yaml: cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "option", "stays"),
    [
        ("bag", [], True),
        ("bag", ["--no-track"], False),
        ("folder", [], False),
        ("folder", ["--track"], True),
    ],
)
def test_lanes_are_followed_in_drives_and_not_from_picture_to_picture(
    tmp_path, straight, monkeypatch, kind, option, stays
):
    """A lane that one frame misses."""
    see, count = LaneDetector.detect, 0

    def detect_most(self, frames, **options):
        nonlocal count
        count += 1
        (found,) = see(self, frames, **options)
        if count < 3:
            return [found]
        lanes = list(found.lanes)
        lanes[2] = Lane(2, False, 0.4, np.zeros((0, 3), np.float32))
        return [Detection(Lanes(SIZE, tuple(lanes)), None, {})]

    monkeypatch.setattr(LaneDetector, "detect", detect_most)
    if kind == "bag":
        source = write_bag(tmp_path / "drive.mcap")
    else:
        source = tmp_path / "pictures"
        source.mkdir()
        for index in range(3):
            write_image(source / f"{index}.jpg")
    out = tmp_path / "lanes.jsonl"
    assert detect(source, "--output", out, *option) == 0
    last = json.loads(out.read_text().splitlines()[2])
    assert last["lanes"][2]["exists"] is stays


@pytest.mark.parametrize("topic", ["/cam/image_rect", "/cam/image_rect_color/compressed"])
def test_rectified_images_are_seen_by_the_left_of_p_without_a_lens(tmp_path, topic):
    """image_proc publishes no camera_info of its own: that of the raw camera lies beside it."""
    bent = dataclasses.replace(
        CAMERA, k=CAMERA.k * [[1.02], [1.02], [1]], coefficients=(-0.3, 0.1, 0, 0, 0)
    )
    p = np.column_stack([CAMERA.k, np.zeros(3)]).ravel()
    path = tmp_path / "drive.mcap"

    def write(name):
        with writing.writing_bag(path) as bag:
            header = MESSAGES.header(START, "front")
            bag.write("/cam/camera_info", MESSAGES.camera_info(bent, header, p=p), START)
            pose = MESSAGES.transform(MOUNTING, "base_link", "front", START)
            bag.write("/tf_static", pose, START)
            bag.write(name, MESSAGES.jpeg(np.zeros((*SIZE[::-1], 3), np.uint8), header), START)
        return project(path)[2]

    assert_lines_lie_in_place(write(topic))
    assert write("/cam/image_direct").camera.coefficients == bent.coefficients


def test_rectified_images_are_so_for_a_calibration_file_too(tmp_path):
    path, file, mount = (tmp_path / name for name in ("drive.mcap", "camera.yaml", "mount.yaml"))
    with writing.writing_bag(path) as bag:
        picture = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
        header = MESSAGES.header(START, "front")
        bag.write("/cam/image_rect/compressed", MESSAGES.jpeg(picture, header), START)
    matrices = {
        "camera_matrix": CAMERA.k * [[1.02], [1.02], [1]],
        "distortion_coefficients": np.array([-0.3, 0.1, 0, 0, 0]),
        "projection_matrix": np.column_stack([CAMERA.k, np.zeros(3)]),
    }
    calibration = {"image_width": SIZE[0], "image_height": SIZE[1]}
    calibration |= {name: {"data": matrix.ravel().tolist()} for name, matrix in matrices.items()}
    file.write_text(yaml.safe_dump(calibration))
    mount.write_text(PARAMETERS)
    assert_lines_lie_in_place(project(path, camera_info=str(file), params_file=str(mount))[2])


@pytest.mark.parametrize("topic", ["/cam/image_raw/compressed", "/cam/image_rect/compressed"])
def test_raw_and_rectified_images_of_a_stereo_camera_lie_in_one_frame(tmp_path, topic):
    """Both are of frame front, where the rectified camera looks along the axis."""
    r = cv2.Rodrigues(np.radians([1.0, 1.0, 0]))[0]
    path = tmp_path / "drive.mcap"
    with writing.writing_bag(path) as bag:
        header = MESSAGES.header(START, "front")
        info = MESSAGES.camera_info(dataclasses.replace(CAMERA, r=r), header)
        bag.write("/cam/camera_info", info, START)
        pose = MESSAGES.transform(MOUNTING, "base_link", "front", START)
        bag.write("/tf_static", pose, START)
        bag.write(topic, MESSAGES.jpeg(np.zeros((*SIZE[::-1], 3), np.uint8), header), START)
    projector = project(path)[2]
    ahead = np.array([[20.0, 1.8, 0.0], [20.0, -1.8, 0.0]])
    pixels = PROJECTOR.to_image(ahead)
    if "raw" in topic:
        turn = CAMERA.k @ r.T @ np.linalg.inv(CAMERA.k)
        pixels = cv2.perspectiveTransform(pixels[:, None], turn)[:, 0]
    np.testing.assert_allclose(projector.to_ground(pixels), ahead, atol=1e-6)
