"""The ego lane measured on the road, from made-up lines, exact rendered lanes and found ones."""

from dataclasses import replace

import numpy as np
import pytest

import training.scenes.drive
from lane_sad_ros.detection import Frame, LaneDetector
from lane_sad_ros.lanes import Lane, Lanes
from lane_sad_ros.road.camera import CameraModel
from lane_sad_ros.road.ego import EgoLaneEstimator
from lane_sad_ros.road.ground import GroundProjector, Mounting
from training.scenes import Drive, drive_camera
from training.scenes.render import truth_along

SECOND = 10**9
XS = np.arange(4.0, 60, 2)
FIELDS = ("width", "lateral_offset", "heading", "curvature")


def absent(slot):
    empty = np.zeros((0, 3), np.float32)
    return Lane(slot, False, 0.1, empty, empty)


def line(slot, ground, score=1.0):
    points = np.column_stack([np.zeros((len(ground), 2)), np.broadcast_to(score, len(ground))])
    return Lane(slot, True, 0.9, points.astype(np.float32), np.asarray(ground, np.float32))


def border(side, *, width=3.6, offset=0.0, heading=0.0, curvature=0.0, xs=XS):
    """A border, side 1 left or -1 right, of a lane that a vehicle sees from `offset`, `heading`."""
    slope = -np.tan(heading) + curvature * xs
    middle = -offset / np.cos(heading) - np.tan(heading) * xs + curvature * xs**2 / 2
    ys = middle + side * width / 2 * np.sqrt(1 + slope**2)
    return np.stack([xs, ys, 0 * xs], axis=1)


def lanes(left=None, right=None, slots=4):
    given = {slots // 2 - 1: left, slots // 2: right}
    made = (
        absent(slot) if given.get(slot) is None else line(slot, given[slot])
        for slot in range(slots)
    )
    return Lanes((1280, 720), tuple(made))


def straight(**changes):
    return lanes(border(1, **changes), border(-1, **changes))


def settled(frame, estimator=None, frames=40):
    estimator = estimator or EgoLaneEstimator()
    for index in range(frames):
        ego = estimator.update(frame, index * SECOND // 20)
    return ego


def assert_unknown(ego):
    assert not ego.valid
    assert all(np.isnan(getattr(ego, name)) for name in FIELDS)


@pytest.mark.parametrize(
    "expected",
    [
        {"offset": 0.5},
        {"offset": -0.8, "width": 2.9},
        {"heading": 0.05},
        {"heading": -0.05, "offset": 0.3},
        {"curvature": 1 / 300},
        {"curvature": -1 / 200, "width": 4.2, "offset": 0.2, "heading": 0.02},
    ],
)
@pytest.mark.parametrize("slots", [2, 4, 6])
def test_signs_and_sizes_are_those_of_the_message(expected, slots):
    frame = lanes(border(1, **expected), border(-1, **expected), slots)
    ego = settled(frame)
    assert ego.valid and ego.left_seen and ego.right_seen
    assert ego.width == pytest.approx(expected.get("width", 3.6), abs=0.03)
    assert ego.lateral_offset == pytest.approx(expected.get("offset", 0), abs=0.03)
    assert ego.heading == pytest.approx(expected.get("heading", 0), abs=0.003)
    assert ego.curvature == pytest.approx(expected.get("curvature", 0), abs=2e-4, rel=0.05)


def test_offset_and_heading_are_of_the_frame_alone():
    estimator = EgoLaneEstimator()
    settled(straight(offset=-1.2, heading=0.04), estimator)
    ego = estimator.update(straight(offset=1.2, heading=-0.04), 2 * SECOND)
    assert ego.lateral_offset == pytest.approx(1.2, abs=0.03)
    assert ego.heading == pytest.approx(-0.04, abs=0.003)


def test_wild_points_do_not_move_it():
    wild = border(1, offset=0.3)
    wild[3:9, 1] += np.array([2, -1.5, 2.5, 1, -2, 1.5])
    ego = settled(lanes(wild, border(-1, offset=0.3)))
    assert ego.lateral_offset == pytest.approx(0.3, abs=0.08)
    assert ego.width == pytest.approx(3.6, abs=0.12)
    assert ego.heading == pytest.approx(0, abs=0.01)


def test_doubtful_points_count_less():
    moved = np.arange(len(XS)) % 3 > 0
    left = border(1)
    left[moved, 1] += 0.5

    def width(score):
        frame = lanes(left, border(-1))
        doubt = line(1, left, np.where(moved, score, 1.0))
        frame = replace(frame, items=(frame[0], doubt, *frame[2:]))
        return EgoLaneEstimator().update(frame, 0).width

    assert width(1.0) > 3.9
    assert width(0.2) == pytest.approx(3.6, abs=0.1)


@pytest.mark.parametrize(("missing", "seen"), [("left", (False, True)), ("right", (True, False))])
def test_a_border_that_is_not_seen_is_placed_by_the_last_known_width(missing, seen):
    estimator = EgoLaneEstimator()
    settled(straight(width=3.2), estimator)
    both = {"left": border(1, width=3.2, offset=0.4), "right": border(-1, width=3.2, offset=0.4)}
    both[missing] = None
    ego = estimator.update(lanes(**both), 2 * SECOND + SECOND // 20)
    assert ego.valid and (ego.left_seen, ego.right_seen) == seen
    assert ego.width == pytest.approx(3.2, abs=0.05)
    assert ego.lateral_offset == pytest.approx(0.4, abs=0.06)


def test_one_border_is_not_enough_without_a_width_or_with_an_old_one():
    estimator = EgoLaneEstimator()
    only = lanes(border(1))
    ego = estimator.update(only, 0)
    assert_unknown(ego)
    assert (ego.left_seen, ego.right_seen) == (True, False)
    estimator.update(straight(), SECOND)
    assert estimator.update(only, 5 * SECOND).valid
    assert estimator.update(only, 10 * SECOND).valid
    assert_unknown(estimator.update(only, 12 * SECOND))


def test_without_borders_nothing_is_known():
    estimator = EgoLaneEstimator()
    settled(straight(), estimator)
    ego = estimator.update(lanes(), 2 * SECOND)
    assert_unknown(ego)
    assert not ego.left_seen and not ego.right_seen


def test_without_a_calibration_nothing_is_known():
    frame = straight()
    bare = replace(frame, items=tuple(replace(lane, ground=None) for lane in frame))
    assert_unknown(EgoLaneEstimator().update(bare, 0))


@pytest.mark.parametrize("slots", [1, 3, 5])
def test_an_odd_number_of_slots_has_no_ego_lane(slots):
    frame = Lanes((1280, 720), tuple(line(slot, border(1)) for slot in range(slots)))
    assert_unknown(EgoLaneEstimator().update(frame, 0))


@pytest.mark.parametrize("width", [1.2, 9.0, -3.6])
def test_lines_that_bound_no_lane_are_not_taken_for_one(width):
    estimator = EgoLaneEstimator()
    ego = estimator.update(straight(width=width), 0)
    assert_unknown(ego)
    assert ego.left_seen and ego.right_seen
    assert_unknown(estimator.update(lanes(border(1)), SECOND))


def test_points_off_the_road_far_away_or_few_are_no_border():
    nan = np.full((10, 3), np.nan)
    far = border(-1, xs=np.arange(50.0, 70))
    few = border(-1)[:2]
    short = border(-1, xs=np.linspace(5, 6, 10))
    for bad in (nan, far, few, short):
        assert not EgoLaneEstimator().update(lanes(border(1), bad), 0).right_seen
    distant = [border(side, xs=np.arange(32.0, 44)) for side in (1, -1)]
    assert_unknown(EgoLaneEstimator().update(lanes(*distant), 0))


def test_a_rear_camera_sees_left_and_right_swapped():
    behind = {"xs": -XS, "offset": 0.4, "heading": 0.03, "curvature": 1 / 300}
    ego = settled(lanes(border(-1, **behind), border(1, **behind)))
    assert ego.width == pytest.approx(3.6, abs=0.03)
    assert ego.lateral_offset == pytest.approx(0.4, abs=0.03)
    assert ego.heading == pytest.approx(0.03, abs=0.003)
    assert ego.curvature == pytest.approx(1 / 300, rel=0.1)
    only = EgoLaneEstimator().update(lanes(border(-1, **behind)), 0)
    assert (only.left_seen, only.right_seen) == (False, True)


def test_curvature_is_smoothed_and_a_stamp_that_jumps_back_starts_anew():
    bend = {"curvature": 1 / 250}
    estimator = EgoLaneEstimator()
    alone = estimator.update(straight(**bend), 0).curvature
    estimator.reset()
    settled(straight(), estimator)
    after_straight = estimator.update(straight(**bend), 2 * SECOND).curvature
    assert after_straight < 0.9 * alone
    assert estimator.update(straight(**bend), SECOND).curvature == pytest.approx(alone)


def projector_of(camera):
    model = CameraModel(camera.width, camera.height, camera.k)
    return GroundProjector(model, Mounting.from_angles(camera.height_m, pitch=camera.pitch))


def exact_lanes(rendering):
    def points(pixels):
        return np.column_stack([pixels, np.ones(len(pixels))]).astype(np.float32)

    size = rendering.camera.width, rendering.camera.height
    return Lanes(
        size,
        tuple(
            absent(slot) if pixels is None else Lane(slot, True, 1.0, points(pixels))
            for slot, pixels in enumerate(rendering.lanes)
        ),
    )


def errors(drive, times, find):
    """Medians of |offset|, |heading| errors and, in bends, of the relative one of curvature."""
    projector = projector_of(drive.camera)  # knows neither the hills nor how the camera nods
    estimator = EgoLaneEstimator()
    rows = []
    for t in times:
        rendering = drive.frame(t)
        ego = estimator.update(projector.with_ground(find(rendering)), round(t * SECOND))
        assert ego.valid
        bend = rendering.curvature
        rows.append(
            (
                ego.lateral_offset - rendering.lateral_offset,
                ego.heading - rendering.heading,
                (ego.curvature - bend) / bend if abs(bend) > 1e-3 else np.nan,
            )
        )
    return np.nanmedian(np.abs(rows), axis=0)


@pytest.mark.parametrize("seed", [0, 4])
def test_a_drive_with_exact_lanes_is_measured(monkeypatch, seed):
    monkeypatch.setattr(
        training.scenes.drive,
        "render_along",
        lambda scene, path, camera, *_: truth_along(scene, path, camera),
    )
    offset, heading, bend = errors(Drive(seed), np.arange(0, 20, 0.2), exact_lanes)
    assert offset < 0.03
    assert heading < np.radians(0.3)
    assert bend < 0.20


def test_a_drive_with_found_lanes_is_measured():
    detector = LaneDetector.from_weights(device="cpu")

    def find(rendering):
        (detection,) = detector.detect([Frame(rendering.image)])
        return detection.lanes

    drive = Drive(1, drive_camera(640, 360))
    offset, heading, bend = errors(drive, np.arange(2, 8, 0.25), find)
    assert offset < 0.10
    assert heading < np.radians(1)
    assert bend < 0.30
