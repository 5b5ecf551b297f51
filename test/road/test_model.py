"""Tracker, projection and ego lane in one chain, on lines whose place on the road is known."""

from dataclasses import replace

import numpy as np
import pytest
from straight_road import CAMERA, LINES, PITCH, PROJECTOR, seen

from lane_sad_ros.road.camera import CalibrationError
from lane_sad_ros.road.ground import GroundProjector, Mounting
from lane_sad_ros.road.model import RoadModel

SECOND = 10**9


def test_lanes_come_out_on_the_road_with_the_ego_lane():
    road = RoadModel(projector=PROJECTOR)
    for index in range(20):
        told = road.update(seen(), index * SECOND // 20)
    for lane, side in zip(told.lanes, LINES, strict=True):
        assert lane.ground.shape == lane.points.shape
        np.testing.assert_allclose(lane.ground[:, 1], side, atol=0.02)
        np.testing.assert_allclose(lane.ground, PROJECTOR.to_ground(lane.points[:, :2]), atol=1e-4)
    assert told.ego.valid
    assert told.ego.width == pytest.approx(3.6, abs=0.03)
    assert told.ego.lateral_offset == pytest.approx(0.2, abs=0.03)


def test_without_a_calibration_lanes_stay_in_pixels():
    told = RoadModel().update(seen(), SECOND)
    assert all(lane.ground is None for lane in told.lanes)
    assert len(told.lanes.present) == 4
    assert not told.ego.valid


def test_the_ego_lane_is_left_out_where_nobody_asks():
    told = RoadModel(projector=PROJECTOR).update(seen(), SECOND, ego=False)
    assert told.ego is None
    assert told.lanes[1].ground is not None


def test_tracking_can_be_switched_at_any_time():
    road, gone = RoadModel(), (5.2, 1.6, None, -5.6)
    for index in range(10):
        road.update(seen(), index * SECOND // 20)
    assert road.update(seen(gone), 10 * SECOND // 20).lanes[2].exists  # it coasts
    road.tracking = False
    raw = seen(gone)
    assert road.update(raw, 11 * SECOND // 20).lanes is raw
    road.tracking = True
    # What it knew before is not taken up again.
    assert not road.update(raw, 12 * SECOND // 20).lanes[2].exists


def test_the_projector_can_change_between_frames():
    road = RoadModel(tracking=False, projector=PROJECTOR)
    near = road.update(seen(), SECOND).lanes[1].ground
    road.projector = GroundProjector(CAMERA, Mounting.from_angles(3.0, pitch=PITCH))
    far = road.update(seen(), 2 * SECOND).lanes[1].ground
    np.testing.assert_allclose(far[:5, :2], 2 * near[:5, :2], rtol=1e-4)


def test_a_reset_forgets_the_past():
    fresh = RoadModel(projector=PROJECTOR).update(seen(), SECOND)
    road = RoadModel(projector=PROJECTOR)
    for index in range(10):
        road.update(seen([side + 0.5 for side in LINES]), index * SECOND // 20)
    road.reset()
    again = road.update(seen(), SECOND)
    assert again.ego == fresh.ego
    for lane, other in zip(again.lanes, fresh.lanes, strict=True):
        np.testing.assert_array_equal(lane.points, other.points)


def test_lanes_of_another_size_are_refused_in_words():
    lanes = replace(seen(), image_size=(640, 360))
    with pytest.raises(CalibrationError, match="640x360"):
        RoadModel(projector=PROJECTOR).update(lanes, SECOND)
