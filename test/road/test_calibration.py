"""The mounting of a camera, found from exact and from detected lanes of rendered drives."""

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import yaml
from straight_road import CAMERA, HEIGHT, PITCH, seen

import training.scenes.drive
from benchmark.mounting import CAMERAS, LANE_WIDTH, Straight, model_of
from lane_sad_ros import cli
from lane_sad_ros.detection import Detection, Frame, LaneDetector
from lane_sad_ros.lanes import Lane, Lanes
from lane_sad_ros.pictures.birdseye import BirdsEye
from lane_sad_ros.pictures.calibrated import draw_fit
from lane_sad_ros.pictures.colours import slot_colour
from lane_sad_ros.recordings import writing
from lane_sad_ros.recordings.message_types import MESSAGES
from lane_sad_ros.road.calibration import calibrate
from lane_sad_ros.road.camera import CalibrationError, CameraModel
from lane_sad_ros.road.ground import GroundProjector, Mounting
from training.scenes import Drive, drive_camera
from training.scenes.render import truth_along

SMALL = CAMERAS["the drive's"]


@pytest.fixture
def without_pictures(monkeypatch):
    """Drives give their labels alone, in a hundredth of the time."""
    monkeypatch.setattr(
        training.scenes.drive,
        "render_along",
        lambda scene, path, camera, *_: truth_along(scene, path, camera),
    )


def exact_lanes(rendering):
    size = rendering.camera.width, rendering.camera.height
    lanes = []
    for slot, pixels in enumerate(rendering.lanes):
        points = np.zeros((0, 3)) if pixels is None else np.insert(pixels[::2], 2, 1, axis=1)
        lanes.append(Lane(slot, pixels is not None, 1.0, points.astype(np.float32)))
    return Lanes(size, tuple(lanes))


def exact_drive(camera=SMALL, kind=Straight, seed=0, start=0.0, stop=20.0):
    drive = kind(seed, camera)
    return [exact_lanes(drive.frame(t)) for t in np.arange(start, stop, 0.4)]


def without(frames, *slots):
    empty = np.zeros((0, 3), np.float32)
    return [
        replace(
            frame,
            items=tuple(
                Lane(lane.slot, False, 0.0, empty) if lane.slot in slots else lane for lane in frame
            ),
        )
        for frame in frames
    ]


def assert_found(found, camera):
    assert found.height == pytest.approx(camera.height_m, rel=0.05)
    for name in ("pitch", "yaw", "roll"):
        error = math.degrees(getattr(found, name) - getattr(camera, name))
        assert abs(error) < 0.3, f"{name} off by {error:.2f}°"


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("name", CAMERAS)
def test_the_mounting_is_found_from_exact_lanes(name):
    camera = CAMERAS[name]
    found = calibrate(exact_drive(camera), model_of(camera), LANE_WIDTH)
    assert found.roll_seen
    assert_found(found, camera)


@pytest.mark.parametrize(
    ("height", "roll", "pitch", "yaw"), [(1.2, 8, 2, 0), (3.5, -2, 20, 5), (1.4, 3, 5, -20)]
)
def test_a_mounting_far_from_the_first_guess_is_found(height, roll, pitch, yaw):
    camera = CameraModel.from_field_of_view(1280, 720, math.radians(90))
    true = Mounting.from_angles(height, *np.radians([roll, pitch, yaw]))
    projector = GroundProjector(camera, true)
    drift = 0.3 * np.sin(np.arange(30))  # of the vehicle in its lane
    sides = LANE_WIDTH * np.array([2.5, 1.5, 0.5, -0.5, -1.5, -2.5])
    frames = [seen(sides - at, projector=projector) for at in drift]
    found = calibrate(frames, camera, LANE_WIDTH)
    assert found.roll_seen
    assert found.height == pytest.approx(height, rel=1e-3)
    angles = np.degrees([found.roll, found.pitch, found.yaw])
    np.testing.assert_allclose(angles, [roll, pitch, yaw], atol=0.02)


@pytest.mark.usefixtures("without_pictures")
def test_bends_do_not_spoil_it():
    camera = CAMERAS["high, down, barrel"]
    frames = exact_drive(camera, Drive) + exact_drive(camera, Drive, seed=1)
    found = calibrate(frames, model_of(camera), LANE_WIDTH)
    assert found.frames < 0.6 * len(frames)
    assert_found(found, camera)


def test_the_mounting_is_found_from_detected_lanes():
    detector = LaneDetector.from_weights(device="cpu")
    camera = CAMERAS["high, down, barrel"]
    drive = Straight(0, camera)
    frames = [detector.detect([Frame(drive.frame(t).image)])[0].lanes for t in np.arange(0, 9, 0.4)]
    assert_found(calibrate(frames, model_of(camera), LANE_WIDTH), camera)


@pytest.mark.usefixtures("without_pictures")
def test_the_vehicles_drift_is_no_yaw():
    """Over half of these frames show the change to the lane on the left."""
    drive = Straight(0, SMALL)
    times = np.arange(0, 20, 0.1)
    headings = np.array([drive.frame(t).heading for t in times])
    first = int(np.argmax(np.abs(headings)))
    part = slice(max(0, first - 18), first + 18)
    assert abs(np.degrees(np.median(headings[part]))) > 0.4
    frames = [exact_lanes(drive.frame(t)) for t in times[part]]
    found = calibrate(frames, model_of(SMALL), LANE_WIDTH)
    assert abs(math.degrees(found.yaw)) < 0.15


@pytest.mark.usefixtures("without_pictures")
def test_roll_needs_lanes_as_wide_on_both_sides():
    camera = CAMERAS["narrow, rolled"]
    frames = exact_drive(camera)
    for hidden in ((1,), (4,), (1, 4)):
        found = calibrate(without(frames, *hidden), model_of(camera), LANE_WIDTH)
        assert not found.roll_seen
        assert found.roll == 0
    # A shoulder instead of a lane: the line on the right is nearer than a lane is wide.
    narrow = []
    projector = GroundProjector(model_of(camera), mounting_of(camera))
    for frame in frames:
        lane = frame[4]
        if lane.exists:
            ground = projector.to_ground(lane.points[:, :2])
            ground[:, 1] += 1.5
            points = np.insert(projector.to_image(ground), 2, 1, axis=1).astype(np.float32)
            lane = replace(lane, points=points[np.isfinite(points[:, 0])])
        narrow.append(replace(frame, items=(*frame[:4], lane, frame[5])))
    found = calibrate(narrow, model_of(camera), LANE_WIDTH)
    assert not found.roll_seen
    assert found.height == pytest.approx(camera.height_m, rel=0.05)


def mounting_of(camera):
    return Mounting.from_angles(camera.height_m, camera.roll, camera.pitch, camera.yaw)


@pytest.mark.usefixtures("without_pictures")
def test_the_height_goes_with_the_lanes_width():
    frames = exact_drive()
    narrow, wide = (calibrate(frames, model_of(SMALL), width) for width in (3.0, 3.6))
    assert wide.height / narrow.height == pytest.approx(1.2, rel=0.01)
    assert wide.pitch == pytest.approx(narrow.pitch, abs=1e-3)


@pytest.mark.usefixtures("without_pictures")
def test_a_drive_that_does_not_suffice_is_refused_in_words():
    model, frames = model_of(SMALL), exact_drive()
    with pytest.raises(CalibrationError, match="12 of 12 frames .*at least 20"):
        calibrate(frames[:12], model, LANE_WIDTH)
    with pytest.raises(CalibrationError, match="0 of 50 frames show both lines"):
        calibrate(without(frames, 2), model, LANE_WIDTH)
    bend = exact_drive(kind=Drive, start=3.5, stop=7) * 3
    with pytest.raises(CalibrationError, match="the road is not straight"):
        calibrate(bend, model, LANE_WIDTH)
    with pytest.raises(CalibrationError, match="above 0"):
        calibrate(frames, model, 0.0)
    with pytest.raises(CalibrationError, match="m above the road.*lane's width"):
        calibrate(frames, model, 30.0)
    with pytest.raises(CalibrationError, match="640x360 .*1280x720"):
        calibrate(frames, CameraModel(1280, 720, drive_camera().k), LANE_WIDTH)


@pytest.mark.usefixtures("without_pictures")
def test_a_camera_that_moves_is_refused():
    rng = np.random.default_rng(0)
    frames = []
    for t in np.arange(0, 20, 0.4):
        pitch, yaw = rng.normal(0, 0.04, 2)
        loose = replace(SMALL, pitch=SMALL.pitch + pitch, yaw=yaw)
        frames.append(exact_lanes(Straight(0, loose).frame(t)))
    with pytest.raises(CalibrationError, match="contradict .*pitch .*yaw .*must not move"):
        calibrate(frames, model_of(SMALL), LANE_WIDTH)


# --- pictures


def test_the_view_from_above_has_lanes_where_they_are():
    model = model_of(SMALL)
    projector = GroundProjector(model, mounting_of(SMALL))
    image = np.full((360, 640, 3), 90, np.uint8)
    x = np.linspace(6, 40, 30)
    lanes = []
    for slot, y in enumerate((1.8, -1.8)):
        pixels = projector.to_image(np.stack([x, np.full(30, y), 0 * x], axis=1))
        points = np.insert(pixels, 2, 1, axis=1).astype(np.float32)
        lanes.append(Lane(slot, True, 1.0, points))
    view = BirdsEye(projector, 500, reach=50, side=10).draw(image, Lanes((640, 360), tuple(lanes)))
    assert view.shape == (500, 200, 3)
    for slot, y in enumerate((1.8, -1.8)):
        for distance in (8, 15, 25, 35):
            row, column = round(499.5 - 10 * distance), round(99.5 - 10 * y)
            assert np.abs(view[row, column].astype(int) - slot_colour(slot, 2)).max() < 30
    assert (view[499, 0] != 90).any()  # what the camera does not see


def test_the_view_from_above_of_a_rear_camera_is_upright():
    projector = GroundProjector(model_of(SMALL), Mounting.from_angles(1.5, pitch=0.07, yaw=math.pi))
    image = np.zeros((360, 640, 3), np.uint8)
    image[:, :320] = 200  # the left of the image is the right of the vehicle
    empty = Lane(0, False, 0.0, np.zeros((0, 3), np.float32))
    view = BirdsEye(projector, 300).draw(image, Lanes((640, 360), (empty, empty)))
    assert view[70, :50].mean() > 120 > 60 > view[70, -50:].mean()


def test_a_fit_is_drawn_with_its_horizon():
    drive = Straight(0, SMALL)
    renderings = [drive.frame(t) for t in (1.0, 1.2)]
    frames = [exact_lanes(rendering) for rendering in renderings]
    found = calibrate(frames * 10, model_of(SMALL), LANE_WIDTH)
    plain = renderings[0].image
    drawn = draw_fit(plain, frames[0], model_of(SMALL), found, LANE_WIDTH)
    assert drawn.shape[0] == 360 and drawn.shape[1] > 640
    horizon = round(SMALL.cy - SMALL.fy * math.tan(SMALL.pitch))
    row = drawn[horizon - 3 : horizon + 4, :640].max(axis=0)
    assert (row.min(axis=1) > 200).mean() > 0.9


# --- the command


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Five seconds along a straight road."""
    path = tmp_path_factory.mktemp("drive") / "straight.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 5, (640, 360))
    drive = Straight(0, CAMERAS["the drive's"])
    for t in np.arange(0, 5, 0.2):
        writer.write(drive.frame(t).image)
    writer.release()
    return path


def run(*arguments):
    options = ("--lane-width", LANE_WIDTH, "--device", "cpu", "--quiet")
    return cli.main(["calibrate", *map(str, (*arguments, *options))])


HFOV = math.degrees(2 * math.atan(320 / SMALL.fx))


def parameters(path):
    return yaml.safe_load(path.read_text())["/**"]["ros__parameters"]


def test_the_command_writes_the_nodes_parameters_and_a_picture(video, tmp_path, capsys):
    out, picture = tmp_path / "calibration.yaml", tmp_path / "fit.jpg"
    arguments = ("--hfov", HFOV, "--camera-x", 1.5, "--picture", picture)
    assert run(video, "--output", out, *arguments) == 0
    values = parameters(out)
    assert values["camera_height"] == pytest.approx(SMALL.height_m, rel=0.05)
    assert values["camera_pitch"] == pytest.approx(SMALL.pitch, abs=math.radians(0.3))
    assert (values["camera_x"], values["camera_y"]) == (1.5, 0)
    assert cv2.imread(str(picture)).shape[0] == 360
    assert f"height {values['camera_height']:.3f} m" in capsys.readouterr().out


def test_intrinsics_come_from_a_bag_or_a_file(video, tmp_path, capsys):
    bag, out = tmp_path / "drive.mcap", tmp_path / "calibration.yaml"
    model = model_of(drive_camera(1280, 720))  # of the whole sensor; the images are half as large
    capture = cv2.VideoCapture(str(video))
    with writing.writing_bag(bag) as writer:
        for index in range(25):
            header = MESSAGES.header(index * 200_000_000, "camera")
            image = MESSAGES.jpeg(capture.read()[1], header)
            writer.write("/camera/image/compressed", image, index)
            writer.write("/camera/camera_info", MESSAGES.camera_info(model, header), index)
            other = MESSAGES.camera_info(model_of(CAMERAS["low and wide"]), header)
            writer.write("/rear/camera_info", other, index)
    assert run(bag, "--output", out) == 0
    assert parameters(out)["camera_pitch"] == pytest.approx(SMALL.pitch, abs=math.radians(0.3))
    out.unlink()
    assert run(bag, "--output", out, "--camera-info", "/front/camera_info") == 1
    error = capsys.readouterr().err
    assert "/front/camera_info" in error and "/camera/camera_info, /rear/camera_info" in error
    assert not out.exists()
    file = tmp_path / "camera.yaml"
    matrix = {"rows": 3, "cols": 3, "data": SMALL.k.ravel().tolist()}
    zero = {"rows": 1, "cols": 5, "data": [0.0] * 5}
    file.write_text(
        yaml.safe_dump(
            {
                "image_width": 640,
                "image_height": 360,
                "camera_matrix": matrix,
                "distortion_model": "plumb_bob",
                "distortion_coefficients": zero,
            }
        )
    )
    assert run(video, "--output", out, "--camera-info", file) == 0
    assert parameters(out)["camera_pitch"] == pytest.approx(SMALL.pitch, abs=math.radians(0.3))


def test_a_file_is_of_the_raw_camera_whose_rectified_images_are_seen(tmp_path, monkeypatch):
    bag, file, out = (tmp_path / name for name in ("drive.mcap", "camera.yaml", "out.yaml"))
    size = CAMERA.width, CAMERA.height
    with writing.writing_bag(bag) as writer:
        image = MESSAGES.jpeg(np.zeros((*size[::-1], 3), np.uint8), MESSAGES.header(1, "camera"))
        for index in range(25):
            writer.write("/camera/image_rect/compressed", image, index)
    calibration = {
        "image_width": size[0],
        "image_height": size[1],
        "camera_matrix": {"data": (CAMERA.k * [[1.05], [1.05], [1]]).ravel().tolist()},
        "distortion_coefficients": {"data": [-0.3, 0.1, 0.0, 0.0, 0.0]},
        "projection_matrix": {"data": np.insert(CAMERA.k, 3, 0, axis=1).ravel().tolist()},
    }
    file.write_text(yaml.safe_dump(calibration))
    monkeypatch.setattr(LaneDetector, "detect", lambda *_: [Detection(seen(), None, {})])
    assert run(bag, "--output", out, "--camera-info", file) == 0
    height = HEIGHT * LANE_WIDTH / 3.6
    assert parameters(out)["camera_height"] == pytest.approx(height, abs=0.01)
    assert parameters(out)["camera_pitch"] == pytest.approx(PITCH, abs=1e-3)


def test_what_does_not_suffice_leaves_nothing(tmp_path, capsys):
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((360, 640, 3), 90, np.uint8))
    out = tmp_path / "out" / "calibration.yaml"
    assert run(tmp_path, "--output", out, "--hfov", 60) == 1
    error = capsys.readouterr().err
    assert "0 of 3 frames show both lines" in error and "nothing is written" in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_a_video_with_fewer_frames_than_it_claims_is_looked_at_all_the_same(tmp_path, capsys):
    path, out = tmp_path / "a.avi", tmp_path / "calibration.yaml"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 5, (640, 360))
    noise = np.random.default_rng(0).integers(0, 255, (360, 640, 3), np.uint8)
    for _ in range(40):
        writer.write(noise)
    writer.release()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 4])
    assert run(path, "--output", out, "--hfov", 60, "--frames", 8) == 1
    error = capsys.readouterr().err
    assert "ends after 11 of 40 frames" in error and "0 of 6 frames show both lines" in error


def test_a_video_says_nothing_of_its_camera(video, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        run(video, "--output", tmp_path / "calibration.yaml")
    assert ended.value.code == 2
    assert "--camera-info YAML or --hfov" in capsys.readouterr().err
