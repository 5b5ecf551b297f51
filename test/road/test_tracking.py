"""Lanes over time, on made-up roads whose every line is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from lane_sad_ros.lanes import Lane, Lanes
from lane_sad_ros.road.tracking import LaneTracker, TrackerSettings

SIZE = (1280, 720)
RATE = 20.0
STEP = round(1e9 / RATE)
HORIZON = 250.0
# Sideways places of six lane lines in lane widths from the vehicle's middle.
ROAD = (-2.5, -1.5, -0.5, 0.5, 1.5, 2.5)


def lane(slot: int, place: float | None, *, size=SIZE, probability=0.95, rows=range(300, 720, 10)):
    """The line at `place` on a flat road; absent if that is None."""
    if place is None:
        return Lane(slot, False, 0.02, np.empty((0, 3), np.float32))
    v = np.array(rows, np.float64)[::-1]
    u = 639.5 + place * 1.5 * (v - HORIZON)
    inside = (u >= 0) & (u <= 1279)
    points = np.stack([u, v, np.full(len(v), 0.9)], axis=1)[inside]
    scale = size[0] / SIZE[0]
    points[:, :2] = (points[:, :2] + 0.5) * scale - 0.5
    exists = len(points) > 1
    return Lane(slot, exists, probability, points[: len(points) * exists].astype(np.float32))


def frame(places: Sequence[float | None], **options) -> Lanes:
    size = options.get("size", SIZE)
    return Lanes(size, tuple(lane(slot, place, **options) for slot, place in enumerate(places)))


def ego(place: float | None, **options) -> Lanes:
    """Only right_1 of six slots."""
    return frame([None, None, None, place, None, None], **options)


def run(frames: Sequence[Lanes], tracker: LaneTracker | None = None, step: int = STEP):
    tracker = tracker or LaneTracker()
    return [tracker.update(lanes, index * step) for index, lanes in enumerate(frames)]


def gone(lanes: Lanes, slot: int, probability: float) -> Lanes:
    """The frame with a slot's lane not found."""
    absent = Lane(slot, False, probability, np.empty((0, 3), np.float32))
    changed = [absent if lane.slot == slot else lane for lane in lanes]
    return Lanes(lanes.image_size, tuple(changed))


def errors(found: Lane, true: Lane) -> np.ndarray:
    assert np.array_equal(found.points[:, 1], true.points[:, 1])
    return found.points[:, 0] - true.points[:, 0]


def same(a: Lanes, b: Lanes) -> bool:
    return a.image_size == b.image_size and all(
        (x.slot, x.exists, x.probability) == (y.slot, y.exists, y.probability)
        and np.array_equal(x.points, y.points)
        for x, y in zip(a, b, strict=True)
    )


def test_the_first_frame_is_as_detected() -> None:
    detected = frame([None, -1.5, -0.5, 0.5, None, None])
    (tracked,) = run([detected])
    for found, true in zip(tracked, detected, strict=True):
        assert (found.slot, found.exists) == (true.slot, true.exists)
        np.testing.assert_allclose(found.points, true.points)


def test_noise_becomes_less_and_the_lane_stays_in_place() -> None:
    rng = np.random.default_rng(1)
    true = ego(0.5)
    noisy = []
    for _ in range(200):
        points = true[3].points.copy()
        points[:, 0] += rng.normal(0, 2)  # a lane's points err alike
        noisy.append(Lanes(SIZE, (*true[:3], Lane(3, True, 0.95, points), *true[4:])))
    tracked = run(noisy)
    at = [(lanes[3].points[20, 0], raw[3].points[20, 0])
          for lanes, raw in zip(tracked, noisy, strict=True)]  # fmt: skip
    out, raw = np.array(at[20:]).T
    assert np.diff(out, 2).std() < 0.6 * np.diff(raw, 2).std()
    assert abs(out.mean() - true[3].points[20, 0]) < 0.5


@pytest.mark.parametrize("rate", [10.0, 20.0, 60.0])
def test_a_lane_of_constant_velocity_is_followed_without_bias(rate: float) -> None:
    times = np.arange(0, 3, 1 / rate)
    frames = [ego(0.3 + 0.25 * t) for t in times]
    tracked = run(frames, step=round(1e9 / rate))
    for found, true in zip(tracked[-5:], frames[-5:], strict=True):
        assert np.abs(errors(found[3], true[3])).max() < 0.2


def test_one_outlier_does_not_move_the_lane() -> None:
    frames = [ego(0.5)] * 15 + [ego(0.62)] + [ego(0.5)] * 5
    for found in run(frames):
        assert np.abs(errors(found[3], frames[0][3])).max() < 0.5


def test_a_lane_that_stays_elsewhere_is_there_a_frame_later() -> None:
    tracked = run([ego(0.5)] * 15 + [ego(0.7)] * 3)
    assert np.abs(errors(tracked[15][3], ego(0.5)[3])).max() < 0.5
    for found in tracked[16:]:
        assert np.abs(errors(found[3], ego(0.7)[3])).max() < 0.5


def test_existence_does_not_flicker_with_its_probability() -> None:
    sure, unsure = ego(0.5), ego(0.5, probability=0.6)
    missed = gone(sure, 3, 0.4)
    tracked = run([sure] * 5 + [unsure, missed] * 60)
    assert all(lanes[3].exists for lanes in tracked)
    # The other way: what was not there does not flicker either.
    tracked = run([gone(sure, 3, 0.05)] * 5 + [unsure, missed] * 60)
    assert not any(lanes[3].exists for lanes in tracked)


def test_what_the_detector_finds_below_a_half_is_found() -> None:
    # With its threshold lowered to 0.2, say.
    tracked = run([ego(None)] * 10 + [ego(0.5, probability=0.3)] * 20)
    assert all(lanes[3].exists for lanes in tracked[24:])


def test_a_probability_of_one_can_be_unlearnt() -> None:
    tracked = run([ego(0.5, probability=1.0)] * 10 + [gone(ego(0.5), 3, 0.0)] * 5)
    assert tracked[9][3].exists
    assert not tracked[-1][3].exists


def test_a_clear_lane_comes_and_goes_in_few_frames() -> None:
    tracked = run([ego(None)] * 10 + [ego(0.5)] * 10 + [ego(None)] * 10)
    exists = [lanes[3].exists for lanes in tracked]
    assert not any(exists[:11])
    assert all(exists[12:20])
    assert not any(exists[23:])


def test_a_short_gap_is_bridged_along_the_lanes_path() -> None:
    places = 0.3 + 0.01 * np.arange(40)
    frames = [ego(place) for place in places]
    gap = range(30, 34)
    tracked = run([gone(lanes, 3, 0.4) if i in gap else lanes for i, lanes in enumerate(frames)])
    assert all(lanes[3].exists for lanes in tracked)
    probabilities = [tracked[index][3].probability for index in range(29, 34)]
    assert probabilities == sorted(probabilities, reverse=True)
    assert probabilities[0] > probabilities[-1]
    for index in gap:
        found = tracked[index][3].points
        expected = 639.5 + places[index] * 1.5 * (found[:, 1] - HORIZON)
        assert len(found) > 30
        assert np.abs(found[:, 0] - expected).max() < 3


def test_a_lane_that_is_not_seen_moves_like_the_others() -> None:
    places = [0.0] * 15 + [0.02 * index for index in range(7)]  # the vehicle begins to move over
    frames = [frame(np.array(ROAD) - place) for place in places]
    tracked = run([gone(lanes, 3, 0.4) if i >= 15 else lanes for i, lanes in enumerate(frames)])
    found = tracked[-1][3].points
    expected = 639.5 + (0.5 - places[-1]) * 1.5 * (found[:, 1] - HORIZON)
    still = 639.5 + 0.5 * 1.5 * (found[:, 1] - HORIZON)
    assert np.abs(found[:, 0] - expected).max() < 0.65 * np.abs(still - expected).max()


@pytest.mark.parametrize(
    ("settings", "coast"), [(TrackerSettings(), 0.4), (TrackerSettings(coast=0.2), 0.2)]
)
@pytest.mark.parametrize("rate", [10.0, 40.0])
def test_a_lane_is_not_continued_for_longer_than_it_may_be(
    rate: float, settings: TrackerSettings, coast: float
) -> None:
    missing = gone(ego(0.5), 3, 0.5)  # the network does not know
    frames = [ego(0.5)] * 10 + [missing] * round(rate)
    tracked = run(frames, LaneTracker(settings), step=round(1e9 / rate))
    after = (np.arange(len(frames)) - 9) / rate
    exists = np.array([lanes[3].exists for lanes in tracked])
    assert exists[after < coast - 0.01].all()
    assert not exists[after > coast + 0.01].any()
    assert not len(tracked[-1][3].points)


def test_a_continued_lane_stays_inside_the_image() -> None:
    places = 0.5 + 0.06 * np.arange(12)
    frames = [ego(place) for place in places]
    tracked = run(frames[:8] + [gone(lanes, 3, 0.45) for lanes in frames[8:]])
    for lanes in tracked:
        columns = lanes[3].points[:, 0]
        assert np.isfinite(columns).all()
        assert (columns >= 0).all() and (columns <= SIZE[0] - 1).all()
    assert len(tracked[-1][3].points) < len(tracked[7][3].points)


def test_lanes_stay_inside_the_image_when_they_stop_moving() -> None:
    places = np.concatenate([0.5 + 0.05 * np.arange(10), np.full(5, 0.95)])
    for place in np.linspace(0, 0.02, 8):
        for lanes in run([ego(p + place) for p in places]):
            columns = lanes[3].points[:, 0]
            assert (columns >= 0).all() and (columns <= SIZE[0] - 1).all()


def test_rows_that_come_into_view_move_like_the_others() -> None:
    frames = [ego(0.3 + 0.02 * i, rows=range(300, 500 + 10 * i, 10)) for i in range(20)]
    for found, true in zip(run(frames)[10:], frames[10:], strict=True):
        assert np.abs(errors(found[3], true[3])).max() < 0.5


def crossing(direction: int) -> list[Lanes]:
    """A vehicle that moves over by a lane in 3 s; the lines are named by the side they are on."""
    frames = []
    for index in range(90):
        move = direction * float(np.interp(index, [15, 75], [0, 1]))
        lines = sorted(place - move for place in np.arange(-5.5, 6))
        left = [place for place in lines if place < 0][-3:]
        right = [place for place in lines if place >= 0][:3]
        frames.append(frame([*left, *right]))
    return frames


@pytest.mark.parametrize("direction", [-1, 1])
def test_tracks_go_with_their_markings_when_the_vehicle_changes_lanes(direction: int) -> None:
    frames = crossing(direction)
    for index, (found, true) in enumerate(zip(run(frames), frames, strict=True)):
        for slot in range(6):
            assert found[slot].exists, (index, slot)
            assert np.abs(errors(found[slot], true[slot])).max() < 4, (index, slot)


def test_a_marking_is_not_in_two_slots_while_it_is_crossed() -> None:
    frames = crossing(1)
    changed = next(
        index
        for index in range(1, 90)
        if abs(frames[index][3].points[0, 0] - frames[index - 1][3].points[0, 0]) > 300
    )
    # The network sees the crossed marking on both sides for some frames more.
    for index in range(changed, changed + 4):
        before = frames[index]
        double = before[2]
        lanes = (*before[:3], Lane(3, True, 0.95, double.points), *before[4:])
        frames[index] = Lanes(SIZE, lanes)
    for lanes in run(frames)[changed : changed + 4]:
        left, right = lanes[2], lanes[3]
        assert left.exists
        if right.exists:
            assert right.points[:5, 0].mean() - left.points[:5, 0].mean() > 300


def test_noise_does_not_rename_lanes() -> None:
    rng = np.random.default_rng(3)
    frames = [frame(np.array(ROAD) + rng.normal(0, 0.01)) for _ in range(60)]
    for found, true in zip(run(frames), frames, strict=True):
        for slot in (2, 3):
            assert np.abs(errors(found[slot], true[slot])).max() < 25


@pytest.mark.parametrize("stamp", [5 * STEP, 0, 19 * STEP + 2 * 10**9, 19 * STEP + 3600 * 10**9])
def test_a_bag_that_starts_again_or_pauses_is_a_new_drive(stamp: int) -> None:
    tracker = LaneTracker()
    run([frame([None, None, -0.5, None, None, None])] * 20, tracker)
    detected = ego(0.9, probability=0.6)
    anew = tracker.update(detected, stamp)
    assert [lane.exists for lane in anew] == [lane.exists for lane in detected]
    assert np.abs(errors(anew[3], detected[3])).max() < 1e-3


def test_stamps_that_stand_still_do_not_freeze_the_lanes() -> None:
    tracker = LaneTracker()
    for place in (0.5, 0.6, 0.7):
        found = tracker.update(ego(place), 0)
        assert np.abs(errors(found[3], ego(place)[3])).max() < 1e-3


def test_another_image_size_or_number_of_slots_starts_anew() -> None:
    tracker = LaneTracker()
    run([ego(0.5)] * 5, tracker)
    small = ego(0.7, size=(640, 360))
    assert np.abs(errors(tracker.update(small, 5 * STEP)[3], small[3])).max() < 1e-3
    four = frame([None, -0.5, 0.5, None], size=(640, 360))
    found = tracker.update(four, 6 * STEP)
    assert [lane.exists for lane in found] == [False, True, True, False]


def test_images_of_any_size_are_tracked_alike() -> None:
    places = 0.5 + 0.05 * np.sin(np.arange(30))
    large = run([ego(place) for place in places])
    small = run([ego(place, size=(320, 180)) for place in places])
    for a, b in zip(large, small, strict=True):
        scaled = (b[3].points[:, 0] + 0.5) * 4 - 0.5
        assert np.abs(a[3].points[:, 0] - scaled).max() < 0.01


def test_rows_may_differ_from_frame_to_frame() -> None:
    frames = [ego(0.5, rows=range(300 + 3 * (index % 4), 720, 10)) for index in range(20)]
    for found, true in zip(run(frames), frames, strict=True):
        assert np.abs(errors(found[3], true[3])).max() < 0.01


def test_reset_forgets() -> None:
    tracker = LaneTracker()
    (first,) = run([ego(0.5)], LaneTracker())
    run([ego(0.5)] * 3, tracker)
    tracker.reset()
    assert same(tracker.update(ego(0.5), 3 * STEP), first)


def mirrored(lanes: Lanes) -> Lanes:
    width, count = lanes.image_size[0], len(lanes)
    turned = []
    for slot in range(count):
        lane = lanes[count - 1 - slot]
        points = lane.points * np.array([-1, 1, 1], np.float32)
        points[:, 0] += width - 1
        turned.append(Lane(slot, lane.exists, lane.probability, points))
    return Lanes(lanes.image_size, tuple(turned))


def test_mirrored_drives_have_mirrored_lanes() -> None:
    rng = np.random.default_rng(5)
    frames = []
    for lanes in crossing(1):
        for slot in np.flatnonzero(rng.random(6) < 0.1):
            lanes = gone(lanes, int(slot), float(rng.uniform(0.1, 0.5)))
        frames.append(lanes)
    straight = run(frames)
    turned = run([mirrored(lanes) for lanes in frames])
    for a, b in zip(straight, turned, strict=True):
        for x, y in zip(a, mirrored(b), strict=True):
            assert x.exists == y.exists
            assert x.probability == pytest.approx(y.probability)
            np.testing.assert_allclose(x.points, y.points, atol=0.01)


def test_frames_without_lanes_are_fine() -> None:
    empty = frame([None] * 6)
    tracked = run([empty] * 5 + [ego(0.5)] * 5 + [empty] * 30 + [empty])
    assert not any(lanes.present for lanes in tracked[:5])
    assert tracked[9][3].exists
    assert not tracked[-1].present


def test_the_same_frames_give_the_same_lanes_and_are_left_as_they_are() -> None:
    frames = crossing(-1)
    copies = crossing(-1)
    assert all(same(a, b) for a, b in zip(run(frames), run(frames), strict=True))
    assert all(same(a, b) for a, b in zip(frames, copies, strict=True))


def test_what_was_given_out_does_not_change_later() -> None:
    tracker = LaneTracker()
    first = tracker.update(ego(0.5), 0)
    columns = first[3].points.copy()
    tracker.update(ego(0.55), STEP)
    tracker.update(gone(ego(0.5), 3, 0.5), 2 * STEP)
    assert np.array_equal(first[3].points, columns)


def test_a_network_without_existence_head_is_tracked_too() -> None:
    # One slot; the probability is the points' mean score, and 0 where there is no lane.
    there = Lanes(SIZE, (lane(0, 0.5, probability=0.7),))
    absent = Lanes(SIZE, (Lane(0, False, 0.0, np.empty((0, 3), np.float32)),))
    tracked = run([there] * 10 + [absent] + [there] * 3 + [absent] * 10)
    assert all(lanes[0].exists for lanes in tracked[:14])
    assert not tracked[-1][0].exists
