"""From logits to lanes: peaks per row, their symmetry and what makes a lane."""

import dataclasses

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lane_sad_ros.detection.decode import lanes_from_peaks
from lane_sad_ros.detection.peaks import HostRowPeaks, RowPeaks
from lane_sad_ros.lanes import CULANE, TUSIMPLE, Decoding, LaneLayout, Lanes

CPU = torch.device("cpu")
BOTH = pytest.mark.parametrize(
    "make", [lambda layout: RowPeaks(layout, CPU), HostRowPeaks], ids=["any device", "host"]
)
WIDE = dataclasses.replace(TUSIMPLE, crop=(0, 160, 1280, 720), input_size=(256, 112))


def logits(layout: LaneLayout, lanes: dict[int, tuple[float, float, float]]) -> torch.Tensor:
    """Saturated logits of straight lanes: slot → (column at the top, at the bottom, width)."""
    width, height = layout.input_size
    maps = torch.full((1, 1 + len(layout.slots), height, width), -20.0)
    maps[:, 0] = 0
    columns = torch.arange(width)
    for slot, (top, bottom, wide) in lanes.items():
        for row in range(height):
            centre = top + (bottom - top) * row / (height - 1)
            maps[0, 1 + slot, row, (columns - centre).abs() <= wide / 2] = 20.0
    return maps


@pytest.mark.parametrize("layout", [TUSIMPLE, CULANE], ids=["tusimple", "culane"])
@pytest.mark.parametrize("wide", [2, 8, 16, 24, 40])
@BOTH
def test_saturated_lane_is_found_in_its_middle(make, layout: LaneLayout, wide: int) -> None:
    columns, scores = make(layout)(logits(layout, {1: (101.0, 101.0, wide)}))
    np.testing.assert_allclose(columns[0, 1], 101.0, atol=1e-3)
    assert (scores[0, 1] > 0.2).all()
    assert (scores[0, 0] < 1e-6).all()


@BOTH
def test_mirrored_maps_give_mirrored_lanes(make) -> None:
    generator = torch.Generator().manual_seed(3)
    width, height = WIDE.input_size
    maps = torch.randn(2, 7, height // 8, width // 8, generator=generator) * 6
    maps = torch.nn.functional.interpolate(maps, (height, width), mode="bilinear")
    peaks = make(WIDE)
    columns, scores = peaks(maps)
    mirrored, mirrored_scores = peaks(maps.flip(3))
    np.testing.assert_allclose(mirrored_scores, scores, atol=1e-6)
    np.testing.assert_allclose(width - 1 - mirrored, columns, atol=1e-2)


@BOTH
def test_smoothing_is_a_box_average_of_the_probabilities(make) -> None:
    generator = torch.Generator().manual_seed(5)
    width, height = 64, 48
    layout = dataclasses.replace(
        TUSIMPLE,
        image_size=(64, 48),
        crop=(0, 0, 64, 48),
        input_size=(width, height),
        decoding=Decoding(rows=(0, 48, 5), smoothing=5),
    )
    maps = torch.randn(1, 7, height // 4, width // 4, generator=generator) * 3
    maps = torch.nn.functional.interpolate(maps, (height, width), mode="bilinear")
    probability = maps.softmax(1)[0, 2].double().numpy()
    _, scores = make(layout)(maps)
    for at, row in enumerate(range(0, 48, 5)):
        rows = probability[max(0, row - 2) : row + 3]
        best = max(rows[:, max(0, x - 2) : x + 3].mean() for x in range(width))
        assert scores[0, 1, at] == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize(
    "layout",
    [WIDE, CULANE, dataclasses.replace(WIDE, decoding=Decoding(rows=(0, 720, 7), smoothing=9))],
)
def test_the_host_finds_what_other_devices_find(layout: LaneLayout) -> None:
    generator = torch.Generator().manual_seed(4)
    width, height = layout.input_size
    shape = (2, 1 + len(layout.slots), height // 8, width // 8)
    maps = torch.randn(shape, generator=generator) * 6
    maps[0, 1] = -300.0  # nothing, anywhere
    maps = torch.nn.functional.interpolate(maps, (height, width), mode="bilinear")
    for given in (maps, maps.to(memory_format=torch.channels_last)):
        for one, other in zip(
            RowPeaks(layout, CPU)(given), HostRowPeaks(layout)(given), strict=True
        ):
            torch.testing.assert_close(other, one, atol=1e-3, rtol=0)


def test_the_host_leaves_out_lanes_that_do_not_exist() -> None:
    width, height = WIDE.input_size
    generator = torch.Generator().manual_seed(5)
    maps = torch.randn(2, 1 + len(WIDE.slots), height, width, generator=generator)
    peaks_of = HostRowPeaks(WIDE)
    columns, scores = peaks_of(maps)
    existence = torch.full(scores.shape[:2], 0.9)
    existence[0, 1] = existence[1] = 0.5
    some_columns, some_scores = peaks_of(maps, existence, 0.5)
    left_out = existence <= 0.5
    assert (some_scores[left_out] == 0).all()
    assert torch.equal(some_columns[~left_out], columns[~left_out])
    assert torch.equal(some_scores[~left_out], scores[~left_out])


def test_a_crop_without_rows_to_look_in_is_refused() -> None:
    with pytest.raises(ValueError, match="rows 0 to 8 of .* holds none of the rows"):
        RowPeaks(dataclasses.replace(WIDE, crop=(0, 0, 1280, 8)), CPU)


def peaks(
    layout: LaneLayout, lanes: dict[int, NDArray[np.float64]], score: float = 0.9
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
    rows = RowPeaks(layout, CPU).rows
    columns = np.zeros((len(layout.slots), len(rows)), np.float32)
    scores = np.zeros_like(columns)
    for slot, values in lanes.items():
        columns[slot] = values
        scores[slot] = score
    return columns, scores, rows


def decode(
    columns: NDArray[np.float32],
    scores: NDArray[np.float32],
    rows: NDArray[np.float64],
    existence: float | None = 0.9,
    size: tuple[int, int] = (1280, 720),
    **changes: float,
) -> Lanes:
    decoding = dataclasses.replace(WIDE.decoding, **changes)
    flags = None if existence is None else np.full((1, len(columns)), existence, np.float32)
    (lanes,) = lanes_from_peaks(columns[None], scores[None], flags, rows, WIDE, decoding, [size])
    return lanes


STRAIGHT = np.linspace(150, 40, 56)


@pytest.mark.parametrize("size", [(1280, 720), (640, 360), (1920, 1080), (640, 480)])
def test_points_are_pixels_of_the_original_image(size: tuple[int, int]) -> None:
    columns, scores, rows = peaks(WIDE, {2: STRAIGHT})
    lane = decode(columns, scores, rows, size=size)[2]
    points = lane.points[::-1]
    # Network column c covers (c + 0.5) / 256 of the image's width, pixel centres at whole numbers.
    np.testing.assert_allclose(points[:, 0], (STRAIGHT + 0.5) / 256 * size[0] - 0.5, atol=1e-2)
    np.testing.assert_allclose(points[:, 1], (rows + 0.5) / 720 * size[1] - 0.5, atol=1e-2)


def test_lanes_run_bottom_to_top_and_absent_slots_are_there() -> None:
    columns, scores, rows = peaks(WIDE, {2: STRAIGHT})
    lanes = decode(columns, scores, rows)
    assert [lane.slot for lane in lanes] == list(range(6))
    assert [lane.exists for lane in lanes] == [slot == 2 for slot in range(6)]
    assert (np.diff(lanes[2].points[:, 1]) < 0).all()
    assert all(lane.points.shape == (0, 3) for lane in lanes if not lane.exists)


def test_thresholds_decide_points_and_existence() -> None:
    columns, scores, rows = peaks(WIDE, {2: STRAIGHT})
    scores[2, :20] = 0.4
    assert len(decode(columns, scores, rows, point_threshold=0.3)[2].points) == 56
    assert len(decode(columns, scores, rows, point_threshold=0.5)[2].points) == 36
    assert not decode(columns, scores, rows, existence=0.4)[2].exists
    assert not decode(columns, scores, rows, existence=0.5)[2].exists  # it must be above
    assert decode(columns, scores, rows, existence=0.4, existence_threshold=0.3)[2].exists
    scores[2, 3:] = 0.0
    assert not decode(columns, scores, rows, min_points=4)[2].exists
    assert decode(columns, scores, rows, min_points=3)[2].exists


def test_without_existence_head_points_decide() -> None:
    columns, scores, rows = peaks(WIDE, {1: STRAIGHT})
    lanes = decode(columns, scores, rows, existence=None)
    assert [lane.exists for lane in lanes] == [slot == 1 for slot in range(6)]
    assert lanes[1].probability == pytest.approx(0.9, abs=1e-3)
    assert lanes[0].probability == 0.0


def test_gap_is_filled_along_the_lane() -> None:
    columns, scores, rows = peaks(WIDE, {2: STRAIGHT})
    scores[2, 20:35] = 0.1
    columns[2, 20:35] = 250  # what the peaks of nothing may say
    lane = decode(columns, scores, rows)[2]
    assert len(lane.points) == 56
    expected = (STRAIGHT + 0.5) * 5 - 0.5
    np.testing.assert_allclose(lane.points[::-1, 0], expected, atol=0.5)


def test_jump_to_another_object_is_left_out() -> None:
    columns, scores, rows = peaks(WIDE, {2: STRAIGHT})
    columns[2, :6] += 90  # far rows stick to something else
    lane = decode(columns, scores, rows)[2]
    assert len(lane.points) == 50
    np.testing.assert_allclose(lane.points[::-1, 0], (STRAIGHT[6:] + 0.5) * 5 - 0.5, atol=0.5)
    assert decode(columns, scores, rows, min_points=50)[2].exists
    assert not decode(columns, scores, rows, min_points=51)[2].exists


def test_rows_outside_the_crop_give_no_points() -> None:
    layout = dataclasses.replace(WIDE, crop=(0, 300, 1280, 600))
    rows = RowPeaks(layout, CPU).rows
    assert (rows.min(), rows.max()) == (300, 590)


@BOTH
def test_weaker_second_hill_does_not_move_the_peak(make) -> None:
    maps = logits(TUSIMPLE, {1: (101.0, 101.0, 12)})
    maps[0, 2, :, 300:310] = 0.5  # far off, about 0.6 of the peak's height
    columns, _ = make(TUSIMPLE)(maps)
    np.testing.assert_allclose(columns[0, 1], 101.0, atol=1e-3)


def test_crop_shifts_points_to_where_it_lies() -> None:
    layout = dataclasses.replace(WIDE, crop=(320, 300, 960, 600))
    peaks_of = RowPeaks(layout, CPU)
    columns = np.full((6, len(peaks_of.rows)), 127.5, np.float32)  # the middle of the crop
    scores = np.ones_like(columns)
    (lanes,) = lanes_from_peaks(
        columns[None], scores[None], None, peaks_of.rows, layout, layout.decoding, [(640, 360)]
    )
    np.testing.assert_allclose(lanes[0].points[:, 0], 319.5)
    assert lanes[0].points[0, 1] == pytest.approx(590.5 / 2 - 0.5)


@pytest.mark.parametrize("mirrored", [False, True])
def test_lane_ends_where_it_leaves_the_image(mirrored: bool) -> None:
    straight = np.linspace(140, -60, 56)  # leaves through the left side
    inside = int((straight >= 0).sum())
    straight[inside:] = np.linspace(2, 6, 56 - inside)  # what the border makes of it
    columns, scores, rows = peaks(WIDE, {1: 255 - straight if mirrored else straight})
    lane = decode(columns, scores, rows)[1]
    assert abs(len(lane.points) - inside) <= 1
    ends = lane.points[0, 0]
    assert (ends > 1260) if mirrored else (ends < 20)


@pytest.mark.parametrize("mirrored", [False, True])
def test_lane_ends_where_the_side_cuts_its_hill(mirrored: bool) -> None:
    straight = np.linspace(140, -25, 56)  # leaves through the left side
    # What is left of a hill 8 wide has its middle too far inside.
    cut = np.where(straight < 4, (straight + 4) / 2, straight).clip(min=0)
    columns, scores, rows = peaks(WIDE, {1: 255 - cut if mirrored else cut})
    lane = decode(columns, scores, rows, side_margin=4.0)[1]
    assert len(lane.points) == (straight >= 3.5).sum()
    true = (straight + 0.5) * 5 - 0.5
    found = lane.points[::-1, 0]
    found = 1279 - found if mirrored else found
    np.testing.assert_allclose(found, true[: len(found)], atol=1.0)


@pytest.mark.parametrize("mirrored", [False, True])
def test_lane_that_comes_in_from_a_side_begins_at_it(mirrored: bool) -> None:
    straight = np.linspace(0.5, 30, 56)
    columns, scores, rows = peaks(WIDE, {1: 255 - straight if mirrored else straight})
    assert len(decode(columns, scores, rows, side_margin=4.0)[1].points) == 56


def test_each_image_of_a_batch_has_the_lanes_that_it_has_alone() -> None:
    leaving, jumping = np.linspace(140, -60, 56), STRAIGHT.copy()
    leaving[39:], jumping[:6] = 3, STRAIGHT[:6] + 90
    drawn = [{}, {2: jumping, 3: 255 - STRAIGHT}, {1: leaving}, {4: STRAIGHT}]
    sizes = [(1280, 720), (640, 480), (1920, 1080), (640, 360)]
    each = [peaks(WIDE, lanes) for lanes in drawn]
    columns, scores, _ = each[3]
    scores[4, :20] = scores[4, 30:33] = 0.1
    columns[4, :20] = np.linspace(30, -40, 20)  # of rows that are not the lane's
    flags = np.full((4, 6), 0.9, np.float32)
    columns, scores = (np.stack([one[part] for one in each]) for part in (0, 1))
    batch = lanes_from_peaks(columns, scores, flags, each[0][2], WIDE, WIDE.decoding, sizes)
    assert [len(lanes.present) for lanes in batch] == [0, 2, 1, 1]
    assert [len(lane.points) for lanes in batch for lane in lanes.present] == [50, 56, 39, 36]
    for found, one, size in zip(batch, each, sizes, strict=True):
        assert found.image_size == size
        for lane, alone in zip(found, decode(*one, size=size), strict=True):
            np.testing.assert_array_equal(lane.points, alone.points)


def test_spline_evens_out_noise_and_keeps_bends() -> None:
    rng = np.random.default_rng(0)
    bend = 40 + 100 * np.linspace(0, 1, 56) ** 2
    columns, scores, rows = peaks(WIDE, {2: bend + rng.normal(0, 1.0, 56)})
    found = decode(columns, scores, rows)[2].points[::-1, 0]
    error = found - ((bend + 0.5) * 5 - 0.5)
    assert np.sqrt((error**2).mean()) < 0.6 * 5.0  # of noise of one network pixel, 5 of the image's
    assert abs(error.mean()) < 1.0
