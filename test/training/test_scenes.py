"""The road renderer: its labels are exact, its pictures repeat, its drive is continuous."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from training.__main__ import main
from training.datasets.synthetic import SIZES, scene_record, tusimple_record, write_scenes
from training.scenes import (
    Drive,
    Marking,
    Mix,
    Rendering,
    Scene,
    SceneCamera,
    drive_camera,
    render,
    sample_camera,
    sample_scene,
    truth,
)
from training.scenes.glyphs import ARROWS, WORDS, glyph
from training.scenes.spec import Barrier, Lens, Light, Patch, Pavement, Roadside, Vehicle

CAMERA = SceneCamera(640, 360, 500.0, 500.0, 319.5, 179.5, height_m=1.6, pitch=0.1)
BARREL = replace(CAMERA, distortion=(-0.2, 0.04, 1e-3, -1e-3, 0.0), roll=0.02, yaw=0.02)
PINCUSHION = replace(CAMERA, distortion=(0.08, -0.01, 0.0, 0.0, 0.01))
WIDE = SceneCamera(
    820, 295, 620.0, 610.0, 400.0, 150.0, 1.25, 0.02, distortion=(-0.1, 0.0, 0, 0, 0)
)
MARKED = Mix(unmarked=0, sparse=0, crossroads=0)
UNMARKED = Mix(unmarked=1, sparse=0, crossroads=0)
SPARSE = Mix(unmarked=0, sparse=1, crossroads=0)
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
        {"vertical": -1 / 500, "vertical_rate": 1e-5, "camera": BARREL},
        {"camera": BARREL, "curvature": 1 / 250},
        {"camera": PINCUSHION, "vertical": 1 / 900, "offset": -0.6},
        {"camera": WIDE, "curvature": -1 / 400, "vertical": -1 / 1500},
    ],
)
def test_paint_lies_under_the_labels(change: dict[str, object]) -> None:
    rendering = render(replace(PLAIN, **change))  # type: ignore[arg-type]
    errors = paint_errors(rendering)
    assert len(errors) > 40
    # The bound is for slanting lines near the camera, whose middle in a row is not their centre.
    assert np.abs(errors).max() < 0.7
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


def test_the_lens_is_the_one_its_coefficients_name() -> None:
    """The same pixels as OpenCV's, and back: a pixel's ray meets the road where it came from."""
    points = np.random.default_rng(0).uniform((4, -8, -1), (80, 8, 3), (200, 3))
    for camera in (CAMERA, BARREL, PINCUSHION, WIDE):
        turn = camera.rotation.T
        expected, _ = cv2.projectPoints(
            points, cv2.Rodrigues(turn)[0], turn @ (0.0, 0.0, -camera.height_m), camera.k,
            np.array(camera.distortion),
        )  # fmt: skip
        found = camera.project(points)
        inside = ((found >= 0) & (found <= (camera.width - 1, camera.height - 1))).all(axis=1)
        assert inside.sum() > 50
        np.testing.assert_allclose(found[inside], expected[inside, 0], atol=1e-6)
        left, up = camera.slopes()
        rays = np.stack([np.ones_like(left), left, up], axis=-1).reshape(-1, 3)
        seen = camera.project(rays * 20.0 + (0, 0, camera.height_m))
        rows, columns = np.indices(left.shape).reshape(2, -1)
        assert np.abs(seen - np.stack([columns, rows], axis=1)).max() < 0.02


def test_what_lies_far_outside_a_lens_stays_outside() -> None:
    """The polynomial of a barrel lens folds back far out; nothing appears from there."""
    aside = np.stack([np.full(50, 1.0), np.linspace(2, 60, 50), np.zeros(50)], axis=1)
    assert (WIDE.project(aside)[:, 0] < 0).all()


def test_a_crest_ends_the_labels_and_a_sag_does_not() -> None:
    level, crest, sag = (
        truth(replace(PLAIN, vertical=v)).ground[3] for v in (0.0, -1 / 500, 1 / 900)
    )
    assert level is not None and crest is not None and sag is not None
    assert level[-1, 0] == pytest.approx(90, abs=0.5) == sag[-1, 0]
    # The line of sight that touches a crest of 1/500 meets it sqrt(2 * 1.6 * 500) metres ahead.
    assert crest[-1, 0] == pytest.approx(np.sqrt(2 * 1.6 * 500), abs=3.0)
    assert crest[-1, 2] < -1 and sag[-1, 2] > 1


def test_truth_needs_no_picture() -> None:
    scene = replace(PLAIN, curvature=1 / 300, offset=0.3)
    alone, drawn = truth(scene), render(scene)
    assert scene_record(alone, "a") == scene_record(drawn, "a")


def test_shares_of_unmarked_and_sparse_roads() -> None:
    def labelled(**shares: float) -> np.ndarray:
        rng = np.random.default_rng(0)
        mix = Mix(crossroads=0.0, **shares)
        scenes = [sample_scene(rng, mix=mix) for _ in range(60)]
        return np.array([sum(lane is not None for lane in truth(s).lanes) for s in scenes])

    assert (labelled(unmarked=1.0, sparse=0.0) == 0).all()
    assert (labelled(unmarked=0.0, sparse=0.0) >= 1).all()
    few = labelled(unmarked=0.0, sparse=1.0)
    assert set(few) <= {0, 1, 2, 3}
    assert (few == 1).sum() > 30
    assert 0.05 < (labelled() == 0).mean() < 0.2


def test_the_edges_of_a_country_road_are_no_lanes() -> None:
    """A centre line alone is labelled in the slot beside the vehicle, whatever the edges show."""
    rng = np.random.default_rng(1)
    seen = 0
    for _ in range(60):
        scene = sample_scene(rng, mix=SPARSE)
        painted = [m.offset for m in scene.markings if m.kind != "none"]
        found = truth(scene)
        for lane in found.ground:
            if lane is not None:
                aside = scene.offset + lane[0, 1] / np.cos(scene.heading)
                assert min(abs(aside - offset) for offset in painted) < 1.5
        if len(painted) == 1:
            seen += 1
            assert [lane is not None for lane in found.lanes].count(True) <= 1
    assert seen > 20


def test_the_record_of_a_scene_says_where_its_lanes_are_in_metres() -> None:
    scene = replace(PLAIN, camera=BARREL, curvature=1 / 300, vertical=1 / 1500, offset=0.3)
    record = json.loads(json.dumps(scene_record(truth(scene), "images/a.jpg")))
    assert record["raw_file"] == "images/a.jpg"
    assert [lane["slot"] for lane in record["lanes"]] == ["left_2", "left_1", "right_1", "right_2"]
    camera = record["camera"]
    assert camera["distortion_model"] == "plumb_bob"
    read = SceneCamera(
        camera["width"], camera["height"], camera["k"][0], camera["k"][4], camera["k"][2],
        camera["k"][5], camera["height_m"], camera["pitch"], camera["roll"], camera["yaw"],
        tuple(camera["d"]),
    )  # fmt: skip
    assert read == BARREL
    labels = tusimple_record(truth(scene), "images/a.jpg")
    assert len(labels["lanes"]) == 4  # type: ignore[arg-type]
    for lane, columns in zip(record["lanes"], labels["lanes"], strict=True):  # type: ignore[call-overload]
        pixels = np.array(lane["pixels"])
        np.testing.assert_allclose(read.project(lane["ground"]), pixels, atol=0.05)
        rows = np.array(labels["h_samples"])
        held = np.array(columns) >= 0
        assert held.sum() > 10
        along = np.interp(-rows[held], -pixels[:, 1], pixels[:, 0])
        # Between points the sidecar's polyline is straight, the lane is not.
        np.testing.assert_allclose(np.array(columns)[held], along, atol=1.0)
    ego = record["ego_lane"]
    assert ego["width"] == pytest.approx(3.6)
    assert ego["lateral_offset"] == pytest.approx(0.3)
    assert ego["curvature"] == pytest.approx(1 / (300 - 0.3))


def test_a_written_set_has_images_labels_and_ground_truth(tmp_path: Path) -> None:
    labels = write_scenes(tmp_path, 3, seed=11, size=(164, 59), mix=MARKED)
    assert labels == tmp_path / "labels.json"
    records = [json.loads(line) for line in labels.read_text().splitlines()]
    scenes = [json.loads(line) for line in (tmp_path / "scenes.jsonl").read_text().splitlines()]
    assert [r["raw_file"] for r in records] == [s["raw_file"] for s in scenes]
    for record, scene in zip(records, scenes, strict=True):
        image = cv2.imread(str(tmp_path / record["raw_file"]))
        assert image.shape == (59, 164, 3)
        assert (scene["camera"]["width"], scene["camera"]["height"]) == (164, 59)
        assert len(record["lanes"]) == len(scene["lanes"]) > 0
    # What is there is kept, unless another mix of roads is asked for.
    first = tmp_path / records[0]["raw_file"]
    before = first.read_bytes()
    first.write_bytes(b"kept")
    write_scenes(tmp_path, 1, seed=11, size=(164, 59), mix=MARKED)
    assert first.read_bytes() == b"kept"
    write_scenes(tmp_path, 1, seed=11, size=(164, 59), mix=UNMARKED)
    assert first.read_bytes() not in (b"kept", before)


def only(**shares: float) -> Mix:
    """Marked roads by day with nothing else, but for these shares."""
    none = dict.fromkeys((share.name for share in fields(Mix)), 0.0)
    return Mix(**(none | shares))


SIGNS: dict[str, Callable[[Scene], bool]] = {
    "crossroads": lambda scene: scene.pavement.cross is not None,
    "city": lambda scene: scene.roadside.buildings > 0,
    "overcast": lambda scene: scene.light.sun < 0.1 and not scene.light.headlights,
    "dusk": lambda scene: scene.light.headlights > 0 and scene.light.ambient > 0.1,
    "night": lambda scene: scene.light.sun == 0 and scene.light.ambient < 0.06,
    "dazzle": lambda scene: scene.light.glare > 0,
    "shade": lambda scene: scene.pavement.tree_shade > 0 or scene.pavement.dapple > 0,
    "symbols": lambda scene: any(patch.paint for patch in scene.pavement.patches),
    "bonnet": lambda scene: scene.lens.bonnet > 0,
    "dashcam": lambda scene: bool(
        scene.lens.stamp or scene.lens.sharpen or scene.lens.detail < 1 or scene.lens.jpeg < 61
    ),
}


@pytest.mark.parametrize("name", SIGNS)
def test_a_share_says_how_often_its_condition_comes(name: str) -> None:
    def often(share: float) -> float:
        rng = np.random.default_rng(3)
        mix = only(**{name: share})
        return float(np.mean([SIGNS[name](sample_scene(rng, mix=mix)) for _ in range(60)]))

    chance = 0.5 if name == "dashcam" else 0.05  # a good camera may compress as much
    assert often(0.0) <= chance
    assert often(1.0) >= (0.7 if name == "shade" else 0.95)  # chance leaves some without a tree
    assert 0.25 < often(0.5) - often(0.0) * 0.5 < 0.75


def test_wet_roads_are_a_share_of_bad_weather() -> None:
    rng = np.random.default_rng(0)
    for weather in ("overcast", "night"):
        lights = [sample_scene(rng, mix=only(**{weather: 1, "wet": 1})).light for _ in range(20)]
        assert all(light.wet > 0 for light in lights)
    assert not any(sample_scene(rng, mix=only(wet=1)).light.wet for _ in range(20))


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ({"night": 1.5}, "night: 1.5 is not a share"),
        ({"jam": -0.1}, "jam: -0.1 is not"),
        ({"unmarked": 0.7, "sparse": 0.5}, r"unmarked \+ sparse \+ crossroads: 1.26"),
    ],
)
def test_an_impossible_mix_is_refused(shares: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Mix(**shares)


def test_crossroads_have_no_lanes() -> None:
    rng = np.random.default_rng(2)
    for _ in range(60):
        scene = sample_scene(rng, mix=only(crossroads=1))
        assert not any(lane is not None for lane in truth(scene).lanes)
    # Nor is there paint before the far side of the crossing.
    start = scene.seed % 977
    assert all(marking.start > start + 14 for marking in scene.markings)


HOODED = replace(
    PLAIN, lens=replace(PLAIN.lens, bonnet=0.2, bonnet_colour=(0.03, 0.03, 0.03), gloss=0.5)
)


def test_no_line_of_the_tusimple_labels_lies_on_the_bonnet() -> None:
    free, hooded = tusimple_record(truth(PLAIN), ""), tusimple_record(truth(HOODED), "")
    edge = truth(HOODED).bonnet
    assert edge is not None and truth(PLAIN).bonnet is None
    ended = 0
    for one, other in zip(free["lanes"], hooded["lanes"], strict=True):  # type: ignore[call-overload]
        for row, column, cut in zip(hooded["h_samples"], one, other, strict=True):  # type: ignore[call-overload]
            below = column >= 0 and row >= edge[round(column)]
            assert cut == (-2 if below else column)
            ended += below
    assert ended > 20


def test_the_record_keeps_the_whole_line_and_tells_the_bonnets_edge() -> None:
    record, free = scene_record(truth(HOODED), "a"), scene_record(truth(PLAIN), "a")
    assert record["lanes"] == free["lanes"] and free["bonnet"] is None
    columns, rows = np.array(record["bonnet"]).T
    assert columns[0] == 0 and columns[-1] == 639
    assert rows.min() == pytest.approx(360 * 0.8, abs=1) and (rows <= 360).all()


def test_the_bonnet_covers_paint_and_leaves_the_rest_as_it_is() -> None:
    free, hooded = render(PLAIN).image, render(HOODED).image
    edge = truth(HOODED).bonnet
    assert edge is not None
    rows = np.arange(360)[:, None]
    np.testing.assert_array_equal(free[:270], hooded[:270])
    lane = truth(PLAIN).lanes[3]
    assert lane is not None
    row = 345
    column = round(crossing(lane, row))
    assert rows[row] > edge[column]
    assert free[row, column].mean() > 180 and hooded[row, column].mean() < 120


def test_nothing_beside_or_between_the_lines_is_labelled() -> None:
    kinds = ("concrete", "rail", "wall", "kerb", "striped kerb", "fence", "panels")
    start = float(PLAIN.seed)
    words = tuple(Patch(start + 6 + 8 * i, start + 10 + 8 * i, -0.8, 0.8, 1, 0.9, name)
                  for i, name in enumerate(("ahead left", "SLOW", "rhombus")))  # fmt: skip
    crowded = replace(
        PLAIN,
        barriers=tuple(Barrier(side * (6.5 + i), kind) for i, kind in enumerate(kinds)
                       for side in (-1, 1)),
        pavement=replace(PLAIN.pavement, patches=words),
        roadside=replace(PLAIN.roadside, buildings=1.0, posts=30.0),
    )  # fmt: skip
    plain, full = render(PLAIN), render(crowded)
    for a, b in zip(plain.lanes, full.lanes, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (plain.image != full.image).mean() > 0.2


def test_a_glyph_is_painted_where_its_rectangle_lies() -> None:
    start = float(PLAIN.seed)
    arrow = Patch(start + 8, start + 14, -0.8, 0.8, 1, 1.0, "left")
    with_arrow = render(replace(PLAIN, pavement=replace(PLAIN.pavement, patches=(arrow,)))).image
    change = np.abs(with_arrow.astype(int) - render(PLAIN).image).max(axis=2) > 30
    corners = CAMERA.project([[8, 0.8, 0], [8, -0.8, 0], [14, 0.8, 0], [14, -0.8, 0]])
    (u0, v0), (u1, v1) = corners.min(axis=0) - 1, corners.max(axis=0) + 1
    rows, columns = np.nonzero(change)
    assert len(rows) > 100
    assert u0 <= columns.min() and columns.max() <= u1 and v0 <= rows.min() and rows.max() <= v1
    far = rows < CAMERA.project([[11.5, 0, 0]])[0, 1]
    assert (columns[far] < 319).sum() > 2 * (columns[far] > 321).sum()  # its head points left


def test_every_glyph_is_readable_paint() -> None:
    for name in (*ARROWS, *WORDS, "diamond", "rhombus"):
        paint = glyph(name)[0]
        assert 0.05 < paint.mean() < 0.8 and paint.min() == 0 and paint.max() > 0.95
    assert np.abs(glyph("left")[0] - glyph("right")[0][:, ::-1]).mean() < 0.05


DARK = replace(PLAIN, light=Light(sun=0, ambient=0.01, cover=0, visibility=1e6, headlights=0.8,
                                  reach=20.0, zenith=(0, 0, 0), horizon=(0, 0, 0)))  # fmt: skip


def ground_at(image: np.ndarray, x: float, y: float) -> float:
    """Mean brightness around a point of the road."""
    u, v = np.round(CAMERA.project([[x, y, 0.0]])[0]).astype(int)
    return float(image[v - 1 : v + 2, u - 2 : u + 3].mean())


def test_headlights_leave_the_rest_of_the_night_dark() -> None:
    image = render(DARK).image
    assert ground_at(image, 11.0, 0.5) > 40
    assert ground_at(image, 45.0, 0.5) < 8
    assert ground_at(image, 11.0, 8.0) < 12


def test_a_wet_road_mirrors_the_lights_ahead() -> None:
    car = Vehicle(22.0, 0.0, "car", (0.1, 0.1, 0.1), braking=True)

    def redness(wet: float) -> float:
        light = replace(DARK.light, headlights=0.05, wet=wet)
        image = render(replace(DARK, light=light, vehicles=(car,))).image.astype(float)
        u, v = np.round(CAMERA.project([[18.0, 0.0, 0.0]])[0]).astype(int)
        part = image[v : v + 20, u - 30 : u + 30]
        return float((part[..., 2] - part[..., 0]).mean())

    assert redness(1.0) > redness(0.0) + 2


def test_leaves_throw_patches_of_shade() -> None:
    sunny = replace(PLAIN, light=replace(PLAIN.light, sun=0.8, ambient=0.2), markings=())
    shaded = replace(sunny, pavement=replace(sunny.pavement, dapple=0.5))

    def road(scene: Scene) -> np.ndarray:
        views = [render(replace(scene, seed=seed)).image[260:350, 100:540] for seed in range(6)]
        return np.stack(views).mean(axis=3)

    bright, patchy = road(sunny).mean(), road(shaded)
    assert np.quantile(patchy, 0.9) > 0.9 * bright
    assert np.quantile(patchy, 0.1) < 0.5 * bright


def test_a_queue_hides_paint_and_no_label() -> None:
    rng = np.random.default_rng(1)
    near = 0
    for _ in range(20):
        scene = sample_scene(rng, CAMERA, only(jam=1))
        near += sum(vehicle.s < 40 for vehicle in scene.vehicles)
        empty = truth(replace(scene, vehicles=()))
        for a, b in zip(truth(scene).lanes, empty.lanes, strict=True):
            np.testing.assert_array_equal(a, b)
    assert near / 20 > 6


def test_a_cheap_recorder_stamps_sharpens_and_loses_detail() -> None:
    def recorded(**lens: Any) -> np.ndarray:
        return render(replace(PLAIN, lens=replace(PLAIN.lens, **lens))).image.astype(float)

    plain = recorded()
    stamped = np.abs(recorded(stamp=12345) - plain).max(axis=2) > 60
    rows, columns = np.nonzero(stamped)
    assert len(rows) > 100 and (np.all(rows < 40) or np.all(rows > 320))
    assert np.ptp(columns) < 400
    edges = [
        np.abs(np.diff(image, axis=1)).mean()
        for image in (recorded(detail=0.4), plain, recorded(sharpen=1.5))
    ]
    assert edges[0] < edges[1] < edges[2]


def test_a_set_mixes_shapes_of_images(tmp_path: Path) -> None:
    write_scenes(tmp_path, 10, seed=1, mix=only())
    scenes = [json.loads(line) for line in (tmp_path / "scenes.jsonl").read_text().splitlines()]
    shapes = set()
    for scene in scenes:
        image = cv2.imread(str(tmp_path / scene["raw_file"]))
        assert image.shape[:2] == (scene["camera"]["height"], scene["camera"]["width"])
        shapes.add(image.shape[1::-1])
    assert len(shapes) > 1 and shapes <= set(SIZES)


def test_the_command_takes_every_share(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["synthesize", str(tmp_path), "--count", "1", "--size", "160x96"]
    assert main([*command, "--unmarked", "1", "--sparse", "0", "--crossroads", "0"]) == 0
    assert json.loads((tmp_path / "labels.json").read_text())["lanes"] == []
    assert main([*command, "--night", "2"]) == 1
    assert "night: 2 is not a share" in capsys.readouterr().err


def measures(record: dict[str, object]) -> dict[str, float]:
    """What a TuSimple record of 1280x720 says of road and camera; columns at row 648."""
    rows = np.array(record["h_samples"], float)
    lanes = [np.array(lane, float) for lane in record["lanes"]]  # type: ignore[attr-defined]
    lanes = [lane for lane in lanes if (lane >= 0).sum() >= 3]
    out = {"lanes": float(len(lanes))}
    lines = []
    for lane in lanes:
        held = lane >= 0
        v, u = rows[held], lane[held]
        low = v >= v[0] + 0.4 * (v[-1] - v[0])
        slope, start = np.polyfit(v[low], u[low], 1)
        middle, chord = len(v) // 2, np.hypot(u[-1] - u[0], v[-1] - v[0])
        bow = (np.interp(v[middle], v[[0, -1]], u[[0, -1]]) - u[middle]) * (v[-1] - v[0]) / chord
        lines.append((slope * 648 + start, slope, start, bow / chord, v[0]))
    lines.sort()
    left = [line for line in lines if line[0] < 640]
    right = [line for line in lines if line[0] >= 640]
    if left and right:
        (at_left, a, b, bow_left, _), (at_right, c, d, bow_right, _) = left[-1], right[0]
        out |= {"left_1": at_left, "right_1": at_right, "top": min(line[4] for line in lines)}
        out |= {"bow_left": bow_left, "bow_right": bow_right}
        if c - a > 0.2:
            out |= {"vanishing_row": (b - d) / (c - a), "spread": c - a}
    return out


def test_rendered_geometry_spreads_as_wide_as_real(data: Path) -> None:
    """Between the 2nd and 98th percentile of every measure; the sampler's priors."""
    files = sorted((data / "tusimple_labels").glob("*.json"))
    if not files:
        pytest.skip("the folder of real data has no tusimple_labels")
    lines = [line for file in files for line in file.read_text().splitlines()[::6]]
    real = [measures(json.loads(line)) for line in lines]
    rng = np.random.default_rng(0)
    rendered = []
    for _ in range(500):
        record = tusimple_record(truth(sample_scene(rng, sample_camera(rng, 1280, 720))), "")
        rendered.append(measures(record))
    slack = {"lanes": 0, "bow_left": 0.02, "bow_right": 0.02, "spread": 0.1}
    for name in ("lanes", "top", "left_1", "right_1", "vanishing_row", "spread", "bow_left",
                 "bow_right"):  # fmt: skip
        one, other = (
            np.quantile([m[name] for m in group if name in m], [0.02, 0.98])
            for group in (real, rendered)
        )
        allowed = slack.get(name, 12)
        assert other[0] <= one[0] + allowed, (name, one, other)
        assert other[1] >= one[1] - allowed, (name, one, other)


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
