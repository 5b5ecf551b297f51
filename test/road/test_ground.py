"""Pixels to the road and back: against OpenCV's lens models and the renderer's exact truth."""

from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from lane_sad_ros.lanes import Lane, Lanes
from lane_sad_ros.recordings.message_types import MESSAGES, typestore
from lane_sad_ros.road.camera import CalibrationError, CameraModel
from lane_sad_ros.road.ground import GroundProjector, Mounting
from training.scenes import Marking, Scene, SceneCamera, truth

K = np.array([[800.0, 0, 640], [0, 810, 360], [0, 0, 1]])
LENSES = {
    "none": ("plumb_bob", ()),
    "plumb_bob 4": ("plumb_bob", (-0.3, 0.1, 1e-3, -2e-3)),
    "plumb_bob 5": ("plumb_bob", (-0.35, 0.15, 1e-3, -2e-3, -0.02)),
    "strong barrel": ("plumb_bob", (-0.42, 0.22, 0.0, 0.0, -0.045)),
    "pincushion": ("plumb_bob", (0.25, 0.05, 0.0, 0.0, 0.0)),
    "rational": ("rational_polynomial", (0.5, 0.1, 1e-4, -3e-4, 0.01, 0.8, 0.3, 0.02)),
    "fisheye": ("equidistant", (-0.02, 0.01, -0.005, 0.001)),
}
TURNED = {
    "pitch": cv2.Rodrigues(np.radians([1.0, 0, 0]))[0],
    "yaw": cv2.Rodrigues(np.radians([0, 1.0, 0]))[0],
    "all, rounded": np.round(cv2.Rodrigues(np.radians([1.0, -2, 0.5]))[0], 4),
}
FORWARD = Mounting.from_angles(height=1.5, pitch=0.06)


def camera(lens="none", k=K, size=(1280, 720)):
    model, coefficients = LENSES[lens]
    return CameraModel(*size, k, model, coefficients)


def opencv_pixels(model, points):
    zeros = np.zeros(3)
    d = np.array(model.coefficients or (0.0,) * 4)
    if model.model == "equidistant":
        return cv2.fisheye.projectPoints(points[:, None], zeros, zeros, model.k, d)[0][:, 0]
    return cv2.projectPoints(points, zeros, zeros, model.k, d)[0][:, 0]


def info(**changes):
    fields = {
        "width": 1280,
        "height": 720,
        "distortion_model": "plumb_bob",
        "d": [-0.3, 0.1, 1e-3, -2e-3, 0.0],
        "k": K.ravel(),
        "binning_x": 0,
        "binning_y": 0,
        "roi": roi(),
    }
    return SimpleNamespace(**{**fields, **changes})


def roi(left=0, top=0, width=0, height=0):
    return SimpleNamespace(x_offset=left, y_offset=top, width=width, height=height)


# --- lenses


@pytest.mark.parametrize("lens", LENSES)
def test_points_are_imaged_where_opencv_images_them(lens):
    model = camera(lens)
    points = np.random.default_rng(0).uniform([-6, -3.5, 8], [6, 3.5, 20], (2000, 3))
    pixels = model.project(points)
    assert np.isfinite(pixels).all()
    assert_allclose(pixels, opencv_pixels(model, points), atol=1e-9)


@pytest.mark.parametrize("lens", LENSES)
def test_rays_undo_what_opencv_does_to_points(lens):
    model = camera(lens)
    points = np.random.default_rng(1).uniform([-6, -3.5, 8], [6, 3.5, 20], (2000, 3))
    rays = model.rays(opencv_pixels(model, points))
    assert_allclose(rays, points / np.linalg.norm(points, axis=1, keepdims=True), atol=1e-9)


def test_rays_are_found_where_opencvs_few_iterations_do_not_reach():
    model = camera("strong barrel")
    corner = np.array([[20.0, 20.0]])
    undistorted = cv2.undistortPoints(corner[None], K, np.array(model.coefficients))[0]
    x, y, z = model.rays(corner)[0]
    again = opencv_pixels(model, np.array([[x / z, y / z, 1.0]]))
    few = opencv_pixels(model, np.append(undistorted, [[1.0]], axis=1))
    assert np.abs(few - corner).max() > 0.2
    assert_allclose(again, corner, atol=1e-6)


def test_what_a_lens_model_folds_back_is_dropped():
    model = camera("plumb_bob 5")
    axis_angles = np.radians([40, 60, 70, 85])
    points = np.stack([np.sin(axis_angles), 0 * axis_angles, np.cos(axis_angles)], axis=1)
    folded = opencv_pixels(model, points)
    assert folded[3, 0] < folded[1, 0]  # the model images 85° nearer to the axis than 60°
    pixels = model.project(points)
    assert np.isfinite(pixels[:2]).all() and np.isnan(pixels[2:]).all()
    widest = opencv_pixels(model, np.array([[np.tan(np.radians(63.1)), 0, 1]]))[0]
    assert np.isnan(model.rays(widest[None] + (200, 0))).all()


def test_a_fisheye_sees_beyond_a_right_angle():
    model = camera("fisheye")
    behind = np.array([[1.0, 0.2, -0.1]])
    (pixel,) = model.project(behind)
    assert_allclose(model.rays(pixel)[0], behind[0] / np.linalg.norm(behind), atol=1e-9)
    assert np.isnan(camera().project(behind)).all()


def test_the_axis_of_every_lens_is_its_principal_point():
    for lens in LENSES:
        model = camera(lens)
        assert_allclose(model.project([[0, 0, 5.0]]), [[640, 360]])
        assert_allclose(model.rays([[640, 360]]), [[0, 0, 1]])


# --- the road


@given(
    height=st.floats(0.5, 4),
    roll=st.floats(-0.3, 0.3),
    pitch=st.floats(-0.2, 0.5),
    yaw=st.floats(-3, 3),
    x=st.floats(-3, 3),
    lens=st.sampled_from(sorted(LENSES)),
)
@settings(deadline=None, max_examples=60)
def test_ground_points_are_seen_at_the_pixels_they_came_from(height, roll, pitch, yaw, x, lens):
    projector = GroundProjector(camera(lens), Mounting.from_angles(height, roll, pitch, yaw, x, -1))
    pixels = np.random.default_rng(0).uniform([0, 0], [1279, 719], (200, 2))
    ground = projector.to_ground(pixels)
    seen = np.isfinite(ground[:, 0])
    assert (ground[seen, 2] == 0).all()
    assert_allclose(projector.to_image(ground)[seen], pixels[seen], atol=1e-5)
    assert np.isnan(projector.to_image(ground)[~seen]).all()


def test_the_horizon_and_the_range_bound_the_road():
    projector = GroundProjector(camera(), FORWARD, max_range=60)
    horizon = 360 - 810 * np.tan(0.06)
    at_60 = projector.to_image([[60.0, 0, 0]])[0, 1]
    ground = projector.to_ground([[640, horizon - 1], [640, at_60 - 0.1], [640, at_60 + 0.1]])
    assert np.isnan(ground[:2]).all()
    assert ground[2, 0] == pytest.approx(60, abs=0.5)


RENDERED = SceneCamera(1280, 720, 1050.0, 1040.0, 640.0, 355.0, height_m=1.5, pitch=0.068)
TILTED = replace(
    RENDERED, roll=0.02, yaw=-0.03, distortion=(-0.12, 0.02, 1e-3, -5e-4, 0.003), height_m=2.0
)
MARKINGS = tuple(Marking(d, "solid") for d in (5.4, 1.8, -1.8, -5.4))


def projector_of(rendered, **mounting):
    model = CameraModel(
        rendered.width, rendered.height, rendered.k, "plumb_bob", rendered.distortion
    )
    angles = {name: getattr(rendered, name) for name in ("roll", "pitch", "yaw")}
    return GroundProjector(
        model, Mounting.from_angles(**{"height": rendered.height_m, **angles, **mounting})
    )


@pytest.mark.parametrize("rendered", [RENDERED, TILTED])
@pytest.mark.parametrize("curvature", [0.0, 1 / 400, -1 / 200])
def test_rendered_lanes_come_back_to_where_they_are_on_a_level_road(rendered, curvature):
    scene = Scene(
        seed=0, camera=rendered, markings=MARKINGS, curvature=curvature, offset=0.4, heading=0.02
    )
    exact = truth(scene)
    projector = projector_of(rendered)
    for pixels, expected in zip(exact.lanes, exact.ground, strict=True):
        if pixels is None:
            continue
        assert not expected[:, 2].any()
        found = projector.to_ground(pixels)
        for reach, allowed in ((20, 0.005), (50, 0.01)):
            near = expected[:, 0] <= reach
            # Where the line has been found, seen across it at the same distance ahead.
            lateral = np.interp(expected[near, 0], found[:, 0], found[:, 1]) - expected[near, 1]
            assert np.abs(lateral).max() < allowed


def test_a_crest_and_a_sag_move_the_lanes_as_a_flat_road_must():
    """z rises by v x²/2: seen from height h, the flat road is met h / (h − z) times as far away."""
    for vertical in (2e-4, -2e-4):
        scene = Scene(seed=0, camera=RENDERED, markings=MARKINGS, vertical=vertical)
        exact = truth(scene)
        for pixels, expected in zip(exact.lanes, exact.ground, strict=True):
            if pixels is None:
                continue
            near = expected[:, 0] < 50
            found = projector_of(RENDERED).to_ground(pixels[near])
            further = RENDERED.height_m / (RENDERED.height_m - expected[near, 2:])
            assert_allclose(found[:, :2], further * expected[near, :2], atol=0.02, rtol=1e-3)


def test_a_mounting_from_angles_is_the_renderers():
    mounting = Mounting.from_angles(1.5, roll=0.03, pitch=0.1, yaw=-0.2, x=1.0, y=0.5)
    turned = replace(RENDERED, roll=0.03, pitch=0.1, yaw=-0.2)
    assert_allclose(mounting.rotation, turned.rotation)
    assert_allclose(mounting.position, [1.0, 0.5, 1.5])


def test_a_mounting_from_a_transform_is_the_same_pose():
    by_angles = Mounting.from_angles(1.5, pitch=0.1)
    # The optical frame, (-0.5, 0.5, -0.5, 0.5), pitched about y by 0.1 rad before; times 3.
    s, c = np.sin(0.05), np.cos(0.05)
    quaternion = 1.5 * np.array([-c - s, c + s, s - c, c - s])
    by_transform = Mounting.from_transform((0, 0, 1.5), quaternion)
    assert_allclose(by_transform.rotation, by_angles.rotation, atol=1e-12)
    assert_allclose(by_transform.position, by_angles.position)


def test_lanes_get_ground_points_row_by_row():
    points = np.array([[600, 700, 1], [620, 500, 1], [640, 200, 1]], np.float32)
    lanes = Lanes((1280, 720), (Lane(0, False, 0.1, np.zeros((0, 3), np.float32)),
                                Lane(1, True, 0.9, points)))  # fmt: skip
    projector = GroundProjector(camera(), FORWARD)
    absent, present = projector.with_ground(lanes)
    assert absent.ground.shape == (0, 3)
    assert present.ground.dtype == np.float32
    assert_allclose(present.ground, projector.to_ground(points[:, :2]), rtol=1e-6)
    assert np.isnan(present.ground[2]).all()
    assert present.points is points
    other = replace(lanes, image_size=(640, 360))
    with pytest.raises(CalibrationError, match="640x360.*1280x720"):
        projector.with_ground(other)


@pytest.mark.parametrize(
    ("pitch", "sees"), [(0.06, True), (-0.2, True), (-0.7, False), (-np.pi / 2, False)]
)
def test_a_camera_that_looks_at_the_sky_sees_no_road(pitch, sees):
    projector = GroundProjector(camera(), Mounting.from_angles(1.5, pitch=pitch))
    assert projector.sees_road is sees


# --- camera_info


def test_camera_info_of_ros_2_and_of_ros_1():
    ros2 = CameraModel.from_info(info(r=TURNED["yaw"].ravel()))
    ros1 = info(r=TURNED["yaw"].ravel())
    ros1.K, ros1.D, ros1.R = ros1.k, ros1.d, ros1.r
    del ros1.k, ros1.d, ros1.r
    for model in (ros2, CameraModel.from_info(ros1)):
        assert (model.width, model.height, model.model) == (1280, 720, "plumb_bob")
        assert_allclose(model.k, K)
        assert model.coefficients == (-0.3, 0.1, 1e-3, -2e-3, 0.0)
        assert_allclose(model.r, TURNED["yaw"])


def test_camera_info_out_of_a_bag():
    classes = typestore().types
    region = classes["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    message = classes["sensor_msgs/msg/CameraInfo"](
        header=MESSAGES.header(0, "camera"), height=720, width=1280, distortion_model="equidistant",
        d=np.array(LENSES["fisheye"][1]), k=K.ravel(), r=np.eye(3).ravel(), p=np.zeros(12),
        binning_x=0, binning_y=0, roi=region,
    )  # fmt: skip
    model = CameraModel.from_info(message)
    assert_allclose(model.rays([[100, 600]]), camera("fisheye").rays([[100, 600]]))


def crop(image_pixels, window, scale):
    """Where pixels of the full image lie on its window, resized; an image's edge is at -0.5."""
    return (image_pixels + 0.5 - window) * scale - 0.5


def rectified_pixels(model, raw, r, p):
    """As image_proc rectifies: by OpenCV."""
    d = np.array(model.coefficients or (0.0,) * 4)
    until = cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 200, 1e-14
    if model.model == "equidistant":
        return cv2.fisheye.undistortPoints(raw[:, None], model.k, d, R=r, P=p, criteria=until)[:, 0]
    return cv2.undistortPointsIter(raw[:, None], model.k, d, R=r, P=p, criteria=until)[:, 0]


@pytest.mark.parametrize("lens", LENSES)
@pytest.mark.parametrize("turned", TURNED)
def test_raw_and_rectified_images_of_a_camera_see_the_same_road(lens, turned):
    model, r = camera(lens), TURNED[turned]
    p = np.array([[700.0, 0, 630, 0], [0, 700, 350, 0], [0, 0, 1, 0]])
    message = info(distortion_model=model.model, d=model.coefficients, r=r.ravel(), p=p.ravel())
    raw, rectified = (
        GroundProjector(CameraModel.from_info(message, rectified=kind), FORWARD)
        for kind in (False, True)
    )
    road = np.array([[20, 1.8, 0], [20, -1.8, 0], [8, 1.8, 0], [45, -5.5, 0]])
    pixels = raw.to_image(road)
    assert_allclose(raw.to_ground(pixels), road, atol=1e-6)
    there = rectified_pixels(model, pixels, r, p)
    assert_allclose(rectified.to_ground(there), road, atol=1e-6)
    assert_allclose(rectified.to_image(road), there, atol=1e-9)


@pytest.mark.parametrize("lens", LENSES)
@pytest.mark.parametrize("turned", TURNED)
def test_pixels_of_a_turned_lens_come_back(lens, turned):
    model = replace(camera(lens), r=TURNED[turned])
    pixels = np.random.default_rng(0).uniform([0, 0], [1279, 719], (500, 2))
    rays = model.rays(pixels)
    assert_allclose(np.linalg.norm(rays, axis=1), 1)
    assert_allclose(model.project(rays), pixels, atol=1e-9)


@pytest.mark.parametrize("r", [np.zeros(9), np.eye(3).ravel()])
@pytest.mark.parametrize("lens", LENSES)
def test_a_matrix_that_turns_nothing_changes_nothing(lens, r):
    plain = camera(lens)
    model = CameraModel.from_info(info(distortion_model=plain.model, d=plain.coefficients, r=r))
    pixels = np.random.default_rng(0).uniform([0, 0], [1279, 719], (50, 2))
    np.testing.assert_array_equal(model.rays(pixels), plain.rays(pixels))
    np.testing.assert_array_equal(
        model.project(plain.rays(pixels)), plain.project(plain.rays(pixels))
    )


@pytest.mark.parametrize(
    ("changes", "image_size", "window", "scale"),
    [
        ({}, (1280, 720), (0, 0), 1),
        ({}, (640, 360), (0, 0), 0.5),
        ({}, (1920, 1080), (0, 0), 1.5),
        ({"binning_x": 2, "binning_y": 2}, None, (0, 0), 0.5),
        ({"binning_x": 2, "binning_y": 2}, (640, 360), (0, 0), 0.5),
        ({"roi": roi(100, 240, 900, 400)}, (900, 400), (100, 240), 1),
        ({"roi": roi(100, 240, 900, 400)}, None, (100, 240), 1),
        ({"roi": roi(100, 240, 900, 400)}, (1280, 720), (0, 0), 1),
        ({"roi": roi(0, 240, 1280, 400)}, (640, 200), (0, 240), 0.5),
        ({"roi": roi(100, 240, 901, 401), "binning_x": 2, "binning_y": 2}, (450, 200),
         (100, 240), 0.5),
    ],
)  # fmt: skip
def test_scaled_cropped_and_binned_images_keep_their_rays(changes, image_size, window, scale):
    full = CameraModel.from_info(info())
    part = CameraModel.from_info(info(**changes), image_size)
    assert (part.width, part.height) == (image_size or (part.width, part.height))
    pixels = np.array([[200.0, 300], [640, 360], [900, 600]])
    assert_allclose(part.rays(crop(pixels, window, scale)), full.rays(pixels), atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"k": np.zeros(9)}, "not calibrated.*camera_calibration"),
        ({"k": [0, 0, 640, 0, 800, 360, 0, 0, 1]}, "not calibrated.*fx is 0"),
        ({"k": [800, 0, 640, 0, -800, 360, 0, 0, 1]}, "fy is -800"),
        ({"k": [np.nan, 0, 640, 0, 800, 360, 0, 0, 1]}, "not finite"),
        ({"k": [800, 0, 640, 0, 800, 360]}, "6 numbers, not 9"),
        ({"k": [800, 0, 0, 0, 800, 0, 640, 360, 1]}, "row by row"),
        ({"d": [0.1, np.inf, 0, 0, 0]}, "not finite"),
        ({"d": [0.1, 0.2, 0.3]}, "plumb_bob has 4 or 5 coefficients.*not 3"),
        ({"distortion_model": "rational_polynomial", "d": [0.1] * 6}, "has 4 or 5 or 8 .*not 6"),
        ({"distortion_model": "equidistant", "d": [0.1] * 5}, "equidistant has 4 .*not 5"),
        ({"distortion_model": "thin_prism"}, "'thin_prism'.*plumb_bob, rational_polynomial"),
        ({"r": np.eye(3).ravel()[:6]}, "r has 6 numbers, not 9"),
        ({"r": 2 * np.eye(3).ravel()}, "r is no rotation.*rows of length 1.*identity or all zero"),
        ({"r": np.diag([1.0, 1, -1]).ravel()}, "r is no rotation.*determinant 1"),
        ({"r": [1, 0, 0, 0.1, 1, 0, 0, 0, 1]}, "r is no rotation.*right angles"),
        ({"r": [np.nan] * 9}, "r is no rotation"),
        ({"r": [1e308] * 9}, "r is no rotation"),
        ({"width": 0, "height": 0}, "0x0"),
        ({"roi": roi(900, 0, 640, 400)}, "roi.*640x400 at 900, 0.*1280x720"),
        ({"binning_y": 1000}, "binning 1x1000 leaves nothing of 1280x720"),
    ],
)
def test_a_camera_info_that_describes_no_camera_is_refused_in_words(changes, said):
    with pytest.raises(CalibrationError, match=said):
        CameraModel.from_info(info(**changes))


def test_an_image_of_another_shape_than_camera_info_is_refused_in_words():
    with pytest.raises(CalibrationError, match="1280x590.*1280x720.*cropped.*roi"):
        CameraModel.from_info(info(), (1280, 590))


def test_no_distortion_may_be_said_in_every_way():
    for model, d in (("", []), ("plumb_bob", []), ("plumb_bob", [0.0] * 5), ("plumb_bob", [0] * 4)):
        plain = CameraModel.from_info(info(distortion_model=model, d=d))
        assert_allclose(plain.rays([[100, 600]]), camera().rays([[100, 600]]), atol=1e-15)


def test_a_field_of_view_is_that_of_the_image():
    model = CameraModel.from_field_of_view(960, 540, np.radians(60))
    left, right = model.rays([[-0.5, 269.5], [959.5, 269.5]])
    assert np.degrees(np.arccos(left @ right)) == pytest.approx(60)
    with pytest.raises(CalibrationError, match="200°"):
        CameraModel.from_field_of_view(960, 540, np.radians(200))


@pytest.mark.parametrize(
    "make",
    [
        lambda: GroundProjector(camera(), Mounting.from_angles(0.0)),
        lambda: GroundProjector(camera(), Mounting.from_angles(-1.5)),
        lambda: GroundProjector(camera(), FORWARD, max_range=0),
        lambda: Mounting.from_angles(1.5, pitch=np.nan),
        lambda: Mounting.from_transform((0, 0, 1.5), (0, 0, 0, 0)),
        lambda: Mounting.from_transform((0, np.nan, 1.5), (0, 0, 0, 1)),
    ],
)
def test_a_mounting_that_cannot_be_is_refused(make):
    with pytest.raises(CalibrationError):
        make()


BROWN = (-0.3, 0.1, 1e-3, -2e-3, 0.05)


@pytest.mark.parametrize(
    ("model", "coefficients", "like", "those"),
    [
        ("plumb_bob", (*BROWN, 0, 0, 0), "plumb_bob", BROWN),
        ("plumb_bob", (0,) * 12, "plumb_bob", ()),
        ("rational_polynomial", BROWN, "plumb_bob", BROWN),
        ("rational_polynomial", (*BROWN, 0.1, 0, 0, *(0,) * 6), "rational_polynomial",
         (*BROWN, 0.1, 0, 0)),
        ("equidistant", (0.1, 0.01, 0, 0, 0), "equidistant", (0.1, 0.01, 0, 0)),
        ("none", (), "plumb_bob", ()), ("None", (0,) * 5, "plumb_bob", ()),
        ("pinhole", (0,) * 4, "plumb_bob", ()),
    ],
)  # fmt: skip
def test_zeros_behind_the_coefficients_change_nothing(model, coefficients, like, those):
    pixels = [[100, 600], [640, 360], [1200, 500]]
    got = CameraModel.from_info(info(distortion_model=model, d=coefficients))
    wanted = CameraModel.from_info(info(distortion_model=like, d=those))
    assert_allclose(got.rays(pixels), wanted.rays(pixels), atol=1e-12)


@pytest.mark.parametrize(
    ("model", "coefficients", "said"),
    [
        ("plumb_bob", (*BROWN, 0.1, 0, 0), "has 4 or 5 coefficients"),
        ("rational_polynomial", (*BROWN, 0, 0, 0, 0.1, 0, 0, 0), "has 4 or 5 or 8 coefficients"),
        ("fisheye", (0.01, 0, 0, 0), "unknown distortion model 'fisheye'"),
    ],
)
def test_a_lens_that_is_not_known_is_refused_in_words(model, coefficients, said):
    with pytest.raises(CalibrationError, match=said):
        CameraModel.from_info(info(distortion_model=model, d=coefficients))
