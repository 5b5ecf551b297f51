"""The road renderer: its labels are exact, its pictures repeat, its drive is continuous."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from training.scenes import (
    Camera,
    Drive,
    Marking,
    Rendering,
    Scene,
    drive_camera,
    render,
    sample_scene,
)
from training.scenes.spec import Lens, Light, Pavement, Roadside, Vehicle

CAMERA = Camera(640, 360, 500.0, 500.0, 319.5, 179.5, height_m=1.6, pitch=0.1)
PLAIN = Scene(
    seed=1,
    camera=CAMERA,
    light=Light(cover=0.0, visibility=1e6),
    pavement=Pavement(base=(0.3, 0.3, 0.3), grain=0, streaks=0, blotches=0, tracks=0, oil=0),
    roadside=Roadside(trees=0, hills=0, treeline=0),
    lens=Lens(noise=0, jpeg=100, vignette=0, metering=0),
    markings=(
        Marking(5.4, "solid"),
        Marking(1.8, "dashed", period=8, length=4),
        Marking(-1.8, "solid", width=0.15),
        Marking(-5.4, "solid", width=0.2),
    ),
)


def crossing(polyline: np.ndarray, row: float) -> float:
    """Where a polyline (bottom to top) crosses an image row."""
    return float(np.interp(-row, -polyline[:, 1], polyline[:, 0]))


def paint_errors(rendering: Rendering) -> list[float]:
    """Distances in pixels between labels and the centroid of the paint around them."""
    image = rendering.image.astype(np.float64).mean(axis=2)
    errors = []
    for lane in rendering.lanes:
        if lane is None:
            continue
        for row in range(int(lane[:, 1].min()) + 12, int(lane[:, 1].max()) - 1, 4):
            at = crossing(lane, row)
            scale = abs(crossing(lane, row + 1) - crossing(lane, row)) + 1
            reach = int(3 + 0.1 * (row - lane[:, 1].min()) * scale)
            low, high = round(at) - reach, round(at) + reach + 1
            if low < 1 or high > image.shape[1] - 1:
                continue
            part = image[row, low:high]
            ground = (part[0] + part[-1]) / 2
            excess = np.clip(part - ground - 4, 0, None)
            if excess.max() > 40 and part[0] - part[-1] < 4:
                errors.append(float((excess * np.arange(low, high)).sum() / excess.sum() - at))
    return errors


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"offset": 0.7, "heading": 0.03},
        {"curvature": 1 / 300, "curvature_rate": -2e-5},
        {"curvature": -1 / 180, "vertical": -1 / 2000},
        {"vertical": 1 / 1200, "camera": replace(CAMERA, roll=0.03, yaw=-0.04)},
    ],
)
def test_paint_lies_under_the_labels(change: dict[str, object]) -> None:
    rendering = render(replace(PLAIN, **change))  # type: ignore[arg-type]
    errors = paint_errors(rendering)
    assert len(errors) > 40
    assert np.abs(errors).max() < 0.5
    assert abs(np.mean(errors)) < 0.1


def test_labels_are_the_projected_ground_points() -> None:
    rendering = render(replace(PLAIN, curvature=1 / 400))
    for lane, ground in zip(rendering.lanes, rendering.ground, strict=True):
        assert (lane is None) == (ground is None)
        if lane is not None and ground is not None:
            np.testing.assert_allclose(CAMERA.project(ground), lane, atol=1e-2)
            assert (np.diff(lane[:, 1]) < 0).all(), "bottom to top"
            assert (lane >= 0).all() and (lane <= (639, 359)).all()


def test_a_straight_road_has_a_label_per_boundary_in_its_slot() -> None:
    rendering = render(PLAIN)
    assert [lane is not None for lane in rendering.lanes] == [False, True, True, True, True, False]
    for slot, offset in ((1, 5.4), (2, 1.8), (3, -1.8), (4, -5.4)):
        ground = rendering.ground[slot]
        assert ground is not None
        np.testing.assert_allclose(ground[:, 1], offset, atol=1e-4)
        np.testing.assert_allclose(ground[:, 2], 0, atol=1e-4)


def test_a_boundary_without_paint_or_edge_has_no_label_and_moves_no_other() -> None:
    markings = list(PLAIN.markings)
    markings[1] = Marking(1.8, "none")
    rendering = render(replace(PLAIN, markings=tuple(markings)))
    assert [lane is not None for lane in rendering.lanes] == [False, True, False, True, True, False]
    assert rendering.width is None and rendering.lateral_offset is None
    worn = replace(PLAIN.markings[1], wear=1.0)
    rendering = render(replace(PLAIN, markings=(PLAIN.markings[0], worn, *PLAIN.markings[2:])))
    assert rendering.lanes[2] is not None


def test_paint_of_another_carriageway_takes_no_slot() -> None:
    decoys = (Marking(9.0, decoy=True), Marking(3.6, decoy=True))
    plain, other = render(PLAIN), render(replace(PLAIN, markings=PLAIN.markings + decoys))
    for a, b in zip(plain.lanes, other.lanes, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_ego_lane_is_measured() -> None:
    rendering = render(replace(PLAIN, offset=0.4, heading=0.02, curvature=1 / 500))
    assert rendering.width == pytest.approx(3.6)
    assert rendering.lateral_offset == pytest.approx(0.4)
    assert rendering.heading == pytest.approx(0.02)
    assert rendering.curvature == pytest.approx(1 / (500 - 0.4))
    left, right = rendering.ground[2], rendering.ground[3]
    assert left is not None and right is not None
    # The same from the points: near the vehicle the middle lies right of it and turns right.
    near = slice(0, 40)
    fits = [np.polyfit(p[near, 0], p[near, 1], 2) for p in (left, right)]
    middle = (fits[0] + fits[1]) / 2
    assert middle[2] == pytest.approx(-0.4, abs=0.02)
    assert middle[1] == pytest.approx(-0.02, abs=0.005)
    assert middle[0] == pytest.approx(1 / 1000, rel=0.15)


def test_a_mirrored_road_has_mirrored_labels() -> None:
    markings = tuple(replace(m, offset=-m.offset) for m in PLAIN.markings)
    one = render(replace(PLAIN, curvature=1 / 300, offset=0.3, heading=-0.01))
    other = render(replace(PLAIN, markings=markings, curvature=-1 / 300, offset=-0.3, heading=0.01))
    for slot in range(6):
        a, b = one.lanes[slot], other.lanes[5 - slot]
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            low = max(a[:, 1].min(), b[:, 1].min())
            high = min(a[:, 1].max(), b[:, 1].max())
            for row in np.linspace(low, high, 9):
                assert crossing(a, row) == pytest.approx(639 - crossing(b, row), abs=0.05)


def test_a_vehicle_hides_paint_and_no_label() -> None:
    hidden = replace(PLAIN, vehicles=(Vehicle(14.0, -1.8, "van", (0.05, 0.05, 0.05)),))
    free, blocked = render(PLAIN), render(hidden)
    lane, same = free.lanes[3], blocked.lanes[3]
    assert lane is not None and same is not None
    np.testing.assert_array_equal(lane, same)
    row = int(CAMERA.project([[15.0, -1.8, 0.0]])[0, 1])
    column = round(crossing(lane, row))
    assert free.image[row, column].mean() > 150
    assert blocked.image[row, column].mean() < 90


def test_far_dashes_fade_to_their_mean() -> None:
    """Dashes shorter than a pixel's footprint look like thinner, even paint, not like flicker."""

    def paint(marking: Marking) -> np.ndarray:
        markings = (marking, *PLAIN.markings[2:])
        rendering = render(replace(PLAIN, markings=markings))
        lane = rendering.lanes[2]
        assert lane is not None
        image = rendering.image.astype(float).mean(axis=2)
        rows = range(
            int(CAMERA.project([[80.0, 0, 0]])[0, 1]), int(CAMERA.project([[60.0, 0, 0]])[0, 1])
        )
        sums = []
        for row in rows:
            at = round(crossing(lane, row))
            part = image[row, at - 4 : at + 5]
            sums.append((part - part.min()).sum())
        return np.array(sums)

    dashed = paint(Marking(1.8, "dashed", period=2.0, length=1.0))
    solid = paint(Marking(1.8, "solid"))
    assert dashed.std() < 0.2 * dashed.mean()
    assert dashed.mean() == pytest.approx(solid.mean() / 2, rel=0.2)


def test_scenes_repeat_and_vary() -> None:
    camera = replace(CAMERA, width=160, height=90, fx=125.0, fy=125.0, cx=79.5, cy=44.5)
    once = [sample_scene(np.random.default_rng(7), camera) for _ in range(2)]
    assert once[0] == once[1]
    a, b = render(once[0]), render(once[1])
    np.testing.assert_array_equal(a.image, b.image)
    assert sample_scene(np.random.default_rng(8), camera) != once[0]


def test_unmarked_roads_have_no_labels() -> None:
    camera = replace(CAMERA, width=160, height=90, fx=125.0, fy=125.0, cx=79.5, cy=44.5)
    rng = np.random.default_rng(0)
    scenes = [sample_scene(rng, camera) for _ in range(120)]
    unmarked = [scene for scene in scenes if not scene.markings]
    assert 4 <= len(unmarked) <= 20
    assert all(lane is None for lane in render(unmarked[0]).lanes)


def test_the_drive_ends() -> None:
    with pytest.raises(ValueError, match="lasts from 0 to 20 s"):
        Drive(0, drive_camera(160, 90)).frame(21.0)


def test_the_drive_repeats_and_runs_on_smoothly() -> None:
    camera = drive_camera(320, 180)
    drive = Drive(3, camera)
    np.testing.assert_array_equal(drive.frame(1.0).image, Drive(3, camera).frame(1.0).image)
    for start in (0.5, 6.0, 10.0, 16.0):
        frames = [drive.frame(start + i / 20) for i in range(3)]
        for one, other in pairwise(frames):
            change = np.abs(one.image.astype(float) - other.image).mean()
            assert 0.1 < change < 25
            for a, b in zip(one.lanes, other.lanes, strict=True):
                if a is None or b is None:
                    continue
                top = max(a[:, 1].min(), b[:, 1].min()) + 4
                for row in np.linspace(top, min(a[:, 1].max(), b[:, 1].max()), 5):
                    assert abs(crossing(a, row) - crossing(b, row)) < 8


def test_paint_stands_still_in_the_drives_world() -> None:
    """The dashes seen at one time are those seen a moment later, that much nearer."""
    drive = Drive(0, drive_camera(640, 360), speed=25.0)

    def dashes(t: float, start: float) -> np.ndarray:
        rendering = drive.frame(t)
        points = rendering.ground[2]
        assert points is not None
        ahead = np.arange(start, start + 14, 0.1)
        aside = np.interp(ahead, points[:, 0], points[:, 1])
        height = np.interp(ahead, points[:, 0], points[:, 2])
        u, v = rendering.camera.project(np.stack([ahead, aside, height], axis=1)).T
        return rendering.image[v.round().astype(int), u.round().astype(int)].mean(axis=1)

    one, later = dashes(0.5, 14.0), dashes(0.7, 9.0)
    assert np.ptp(one) > 60
    assert np.corrcoef(one, later)[0, 1] > 0.8
