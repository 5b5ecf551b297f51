"""Slots and drawn labels; random changes of images with their labels in step."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.utils.data import default_collate

from lane_sad_ros.detection.preprocess import HostPreprocessor, Normalise
from lane_sad_ros.formats.slots import ABSENT, assign_slots, evenly, slots_of
from lane_sad_ros.frames import Frame
from lane_sad_ros.lanes import SLOTS_6, TUSIMPLE, Decoding, LaneLayout
from training.augmentation import (
    NONE,
    Augmentation,
    Changes,
    Kept,
    Prepared,
    draw,
    outline,
    prepare,
    source_layout,
    source_pixels,
)
from training.datasets.drawing import draw_labels, draw_line, existence
from training.datasets.labelled import LabelledImage

Polyline = NDArray[np.float32]


def line(bottom: float, top: float, height: int = 200) -> Polyline:
    """A straight lane from column `bottom` at the lowest row to column `top` at 80."""
    return np.array([[bottom, height - 1], [top, 80]], np.float32)


def drawn(
    lanes: list[Polyline | None], size: tuple[int, int] = (300, 200), thickness: float = 5
) -> NDArray[np.uint8]:
    """The class map of one image's lanes in slot order."""
    points = np.stack([np.zeros((128, 2), np.float32) if p is None else evenly(p) for p in lanes])
    slots = torch.tensor([[ABSENT if p is None else slot for slot, p in enumerate(lanes)]])
    return draw_labels(torch.from_numpy(points)[None], slots, len(lanes), size, thickness)[
        0
    ].numpy()


# --- slots


def test_slots_are_counted_from_the_ego_lane_outwards() -> None:
    lanes = {name: line(u, 150 + (u - 150) / 8) for name, u in (
        ("far left", -350.0), ("left", -60.0), ("ego left", 90.0),
        ("ego right", 210.0), ("right", 330.0),
    )}  # fmt: skip
    order = ["right", "far left", "ego right", "left", "ego left"]
    slots = assign_slots([lanes[name] for name in order], 6, 300, 200)
    expected = ["far left", "left", "ego left", "ego right", "right", None]
    for found, name in zip(slots, expected, strict=True):
        assert found is (lanes[name] if name else None)


def test_lanes_beyond_the_last_slot_are_left_out() -> None:
    lanes = [line(u, 150 + (u - 150) / 8) for u in (-350.0, -60.0, 90.0)]
    slots = assign_slots(lanes, 4, 300, 200)
    assert slots[0] is lanes[1]
    assert slots[1] is lanes[2]
    assert slots[2:] == [None, None]


def test_lane_that_ends_early_is_judged_where_it_points_to() -> None:
    # Seen only from row 80 to 120, left of the middle there, but it meets row 200 on the right.
    short = np.array([[145.0, 80], [148.0, 120]], np.float32)
    assert assign_slots([short], 4, 300, 200)[2] is short


def test_lane_in_one_row_has_no_slot() -> None:
    flat = np.array([[20, 120], [90, 120]], np.float32)
    assert assign_slots([flat], 4, 300, 200) == [None] * 4
    assert assign_slots([], 4, 300, 200) == [None] * 4


def test_one_slot_takes_every_lane() -> None:
    lanes = torch.from_numpy(np.stack([evenly(line(u, 150)) for u in (-60, 90, 210)]))[None]
    present = torch.tensor([[True, False, True]])
    assert slots_of(lanes, present, 1, (300, 200)).tolist() == [[0, ABSENT, 0]]


# --- drawn labels


@pytest.mark.parametrize("thickness", [1.0, 2.0, 2.6, 5.0, 6.0])
@pytest.mark.parametrize("angle", [4, 20, 41, 70, 87])
def test_lines_are_as_wide_as_asked(thickness: float, angle: float) -> None:
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    # Most of the line lies outside.
    ends = np.array([[-900 * cos, -900 * sin], [900 * cos, 900 * sin]]) + 50
    classes = np.zeros((101, 101), np.uint8)
    draw_line(classes, ends.astype(np.float32), 3, thickness)
    v, u = np.nonzero(classes == 3)
    across = np.abs((u - 50) * sin - (v - 50) * cos)
    assert across.max() <= thickness / 2 + 2e-3
    assert len(u) / (101 / max(cos, sin)) == pytest.approx(thickness, rel=0.03, abs=0.05)
    assert set(np.unique(classes)) == {0, 3}


@pytest.mark.parametrize("thickness", [1, 2, 5, 6])
def test_lines_along_rows_and_columns_are_as_wide_as_asked(thickness: int) -> None:
    for at in (20.0, 20.5):
        ends = np.array([[at, -9], [at, 70]], np.float32)
        classes = np.zeros((60, 60), np.uint8)
        draw_line(classes, ends, 1, thickness)
        assert (classes.sum(axis=1) == thickness).all()
        flat = np.zeros((60, 60), np.uint8)
        draw_line(flat, ends[:, ::-1], 1, thickness)
        assert (flat == classes.T).all()


@pytest.mark.parametrize("slope", [-1.5, 0.0, 0.7, 3.0])  # columns per row
def test_what_is_drawn_lies_around_the_lane_up_to_its_ends(slope: float) -> None:
    thickness, top, bottom = 6.0, 40.0, 150.0
    lane = np.array([[400, top], [400 + slope * (bottom - top), bottom]], np.float32)
    classes = np.zeros((200, 800), np.uint8)
    draw_line(classes, lane, 1, thickness)
    rows = np.flatnonzero(classes.any(axis=1))
    assert rows[[0, -1]] == pytest.approx([top - thickness / 2, bottom + thickness / 2], abs=1)
    for row in rows:
        columns = np.flatnonzero(classes[row])
        assert columns.mean() == pytest.approx(400 + slope * (row - top), abs=0.52)


def test_an_end_along_a_row_stays_round() -> None:
    classes = np.zeros((100, 200), np.uint8)
    draw_line(classes, np.array([[50, 50], [150, 40]], np.float32), 1, 6)
    assert np.flatnonzero(classes.any(axis=0))[[0, -1]] == pytest.approx([47, 153], abs=1)


def test_class_map_and_existence() -> None:
    classes = drawn([None, line(90, 140), line(210, 160), None])
    assert existence(torch.from_numpy(classes)[None], 4).tolist() == [[0, 1, 1, 0]]
    assert set(np.unique(classes)) == {0, 2, 3}
    np.testing.assert_allclose(np.flatnonzero(classes[150] == 2).mean(), 110.6, atol=0.6)
    outside = drawn([None, line(-400, -300), None, None])
    assert not outside.any()
    corner = drawn([np.array([[0, 199], [8, 195]], np.float32), None])
    assert 0 < (corner == 1).sum() < 80
    touched = drawn([np.array([[-4, 150], [-1, 153]], np.float32), None])
    assert (touched == 1).any()  # some pixels, but too few to call it present
    assert existence(torch.from_numpy(touched)[None], 2).tolist() == [[0, 0]]


def test_ego_lanes_stay_whole_where_lanes_meet() -> None:
    lanes: list[Polyline | None] = [line(u, 150) for u in (-300, -60, 100, 200, 360, 600)]
    classes = drawn(lanes)
    for slot in (2, 3):
        alone = drawn([lane if s == slot else None for s, lane in enumerate(lanes)])
        kept = (classes == 1 + slot)[alone > 0]
        assert kept.all() or (slot == 2 and kept.mean() > 0.9)  # two ego lanes, one apex


def test_lane_that_comes_back_is_not_joined_through_the_image() -> None:
    around = np.array([[40, 150], [-900, 100], [40, -700], [1200, 40], [260, 60]], np.float32)
    classes = drawn([around])
    assert classes[145:155, :40].any() and classes[55:65, 260:].any()
    assert not classes[:, 80:220].any()


def test_lines_across_and_back_are_drawn_whole() -> None:
    hook = np.array([[20, 100], [280, 100], [280, 40], [20, 40]], np.float32)
    classes = drawn([hook])
    assert classes[100, 20:281].all() and classes[40, 20:281].all() and classes[40:101, 280].all()
    assert not classes[50:90, :270].any()


# --- the change


LAYOUT = LaneLayout(
    name="small",
    slots=SLOTS_6,
    image_size=(320, 180),
    crop=(0, 40, 320, 180),
    input_size=(160, 72),
    decoding=Decoding(rows=(80, 180, 5), smoothing=3),
)
WHOLE = dataclasses.replace(
    LAYOUT, image_size=(160, 72), crop=(0, 0, 160, 72), decoding=Decoding(rows=(30, 72, 2))
)
CPU = torch.device("cpu")
WIDTH = 8.0  # of painted and drawn lanes in reference pixels
# Blue, green and red paint on black: BGR of each lane of `painted`, from left to right.
PAINT = ((255, 0, 0), (0, 255, 0), (0, 0, 255))


def painted(scale: float = 1.0) -> LabelledImage:
    """A black image of 320·scale × 180·scale with three lanes, each in its own paint."""
    lanes = (
        np.array([[-70, 230], [30, 156], [140, 75]], np.float32),
        np.array([[95, 230], [112, 178], [148, 78]], np.float32),
        np.array([[260, 230], [215, 150], [170, 75]], np.float32),
    )
    lanes = tuple(((lane + 0.5) * scale - 0.5).astype(np.float32) for lane in lanes)
    image = np.zeros((round(180 * scale), round(320 * scale), 3), np.uint8)
    for lane, paint in zip(lanes, PAINT, strict=True):
        mask = np.zeros(image.shape[:2], np.uint8)
        draw_line(mask, lane, 1, WIDTH * scale)
        image[mask > 0] = paint
    return LabelledImage(image, lanes)


def batch_of(
    *samples: LabelledImage, ranges: Augmentation = NONE, seed: int = 0, layout: LaneLayout = LAYOUT
) -> Prepared:
    return default_collate(
        [
            prepare(sample, layout, ranges, np.random.default_rng((seed, index)))
            for index, sample in enumerate(samples)
        ]
    )


def changed(
    *samples: LabelledImage, ranges: Augmentation = NONE, seed: int = 0, layout: LaneLayout = LAYOUT
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """RGB images B×H×W×3 from 0 to 255, classes and existence."""
    batch = batch_of(*samples, ranges=ranges, seed=seed, layout=layout)
    inputs, classes, exists, _ = Changes(layout, WIDTH, CPU)(batch)
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (layout.mean, layout.std))
    pixels = ((inputs * std + mean) * 255).permute(0, 2, 3, 1)
    return pixels.numpy(), classes.numpy(), exists.numpy()


def paint_of(pixels: NDArray[np.float32]) -> list[NDArray[np.bool_]]:
    """Where each paint of `painted` is in an RGB image H×W×3: where it is the clear majority."""
    others = (pixels.sum(axis=2, keepdims=True) - pixels)[:, :, ::-1]
    own = pixels[:, :, ::-1]
    return [(own[:, :, k] > 127) & (others[:, :, k] < 127) for k in range(3)]


GEOMETRY = dataclasses.replace(Augmentation(), colour=0.0)


def check_labels_on_paint(
    pixels: NDArray[np.float32], classes: NDArray[np.int64], slots: tuple[int, ...] | None = None
) -> int:
    """Each paint and the class drawn over it coincide; returns how many lanes were compared.

    slots: that the paints must have, from left to right; None: counted around the middle.
    """
    count = 0
    for k, paint in enumerate(paint_of(pixels)):
        if paint.sum() < 60:
            continue
        inner = paint.copy()
        inner[[0, -1]] = inner[:, [0, -1]] = False
        number = np.bincount(classes[inner], minlength=1).argmax()
        assert number > 0, k
        if slots is not None:
            assert number == 1 + slots[k]
        label = classes == number
        # Paint grows and shrinks with the image, lines that are drawn do not.
        assert (paint & label).sum() > 0.66 * min(paint.sum(), label.sum()), k
        offsets = []
        for row in range(2, len(paint) - 2):
            u, w = np.flatnonzero(paint[row]), np.flatnonzero(label[row])
            if min(len(u), len(w)) <= 2 or max(len(u), len(w)) >= 9:
                continue
            # Neither cut by the image's sides nor hidden where lanes run into one another.
            if min(u[0], w[0]) > 2 and max(u[-1], w[-1]) < 157 and max(np.ptp(u), np.ptp(w)) < 9:
                offsets.append(u.mean() - w.mean())
        if len(offsets) > 8:
            assert abs(np.mean(offsets)) < 0.4 and np.mean(np.abs(offsets)) < 0.6, k
            assert np.quantile(np.abs(offsets), 0.9) <= 1.0, k
            count += 1
    return count


def test_labels_stay_on_the_paint() -> None:
    samples = [painted(1 + index % 3) for index in range(48)]
    compared = sum(
        check_labels_on_paint(pixels, classes)
        for pixels, classes in zip(*changed(*samples, ranges=GEOMETRY)[:2], strict=True)
    )
    assert compared > 80


def test_strong_rotation_keeps_labels_on_the_paint() -> None:
    ranges = dataclasses.replace(NONE, rotation=75.0, scale=(0.7, 0.9))
    samples = [painted()] * 32
    pixels, classes, _ = changed(*samples, ranges=ranges)
    for image, labels in zip(pixels, classes, strict=True):
        # Along rows or along columns, a painted pixel is where a label is.
        paint = np.any(paint_of(image), axis=0)
        grown = cv2.dilate((labels > 0).astype(np.uint8), np.ones((3, 3), np.uint8))
        assert (grown[paint] > 0).mean() > 0.95 or len(np.unique(labels)) < 4  # a lane without slot


def test_slots_are_counted_after_the_change() -> None:
    ranges = dataclasses.replace(NONE, lateral=1.3, flip=0.5)
    moved = set()
    for pixels, classes in zip(*changed(*[painted()] * 40, ranges=ranges)[:2], strict=True):
        bottom = 71
        for k, paint in enumerate(paint_of(pixels)):
            columns = np.flatnonzero(paint[bottom])
            if len(columns) < 4 or columns[0] < 2 or columns[-1] > 157:
                continue
            slot = classes[bottom, columns].max() - 1
            assert (slot >= 3) == (columns.mean() >= 79.5)
            moved.add((k, slot))
    # The middle lane has been the ego lane's left and right border.
    assert {(1, 2), (1, 3)} <= moved


def test_without_changes_the_input_is_the_preprocessors() -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (9, 16, 3), np.uint8)
    photo = cv2.resize(small, (640, 360), interpolation=cv2.INTER_CUBIC)
    for size in ((320, 180), (640, 360), (333, 190)):
        image = np.asarray(cv2.resize(photo, size), np.uint8)
        inputs, classes, exists, _ = Changes(LAYOUT, WIDTH, CPU)(batch_of(LabelledImage(image, ())))
        expected = Normalise(LAYOUT)(HostPreprocessor(LAYOUT)([Frame(image)]))
        assert inputs.shape == (1, 3, 72, 160)
        assert inputs.is_contiguous(memory_format=torch.channels_last)
        difference = (inputs - expected).abs() * 255 * 0.26  # grey levels
        assert difference.max() < 6 and difference.mean() < 0.7, size
        assert not classes.any() and not exists.any()
    # Nothing to resize: nothing to differ in.
    image = rng.integers(0, 255, (72, 160, 3), np.uint8)
    inputs = Changes(WHOLE, WIDTH, CPU)(batch_of(LabelledImage(image, ()), layout=WHOLE))[0]
    expected = Normalise(WHOLE)(HostPreprocessor(WHOLE)([Frame(image)]))
    torch.testing.assert_close(inputs, expected, atol=2e-3, rtol=0)


def test_without_changes_labels_are_the_lanes() -> None:
    sample = painted()
    _, classes, exists = changed(sample)
    lanes: list[Polyline | None] = [
        ((lane + 0.5 - (0, 40)) * (160 / 320, 72 / 140) - 0.5).astype(np.float32)
        for lane in sample.lanes
    ]
    assert (classes[0] != drawn([None, *lanes, None, None], (160, 72), WIDTH / 2)).mean() < 1e-3
    assert exists.tolist() == [[0, 1, 1, 1, 0, 0]]


def test_lanes_of_a_part_of_the_image_are_as_wide_as_asked() -> None:
    part = dataclasses.replace(LAYOUT, crop=(80, 40, 240, 180))  # a column for each pixel
    lane = np.array([[150, 179], [150, 40]], np.float32)
    _, classes, _ = changed(LabelledImage(np.zeros((180, 320, 3), np.uint8), (lane,)), layout=part)
    assert ((classes[0] > 0).sum(axis=1)[1:-1] == WIDTH).all()


def class_map(sample: LabelledImage, slots: tuple[int, ...] = (1, 2, 3)) -> NDArray[np.uint8]:
    """The paint of `painted` as classes."""
    classes = np.zeros(sample.image.shape[:2], np.uint8)
    for slot, paint in zip(slots, PAINT, strict=True):
        classes[(sample.image == paint).all(axis=2)] = 1 + slot
    return classes


def all_kinds() -> list[LabelledImage]:
    """The painted lanes with slots by position, said by the sample, and in a class map."""
    sample = painted()
    return [
        sample,
        dataclasses.replace(sample, slots=(1, 2, 3)),
        dataclasses.replace(sample, slots=(1, 2, 3), classes=class_map(sample)),
        dataclasses.replace(sample, lanes=(), classes=class_map(sample)),
    ]


def test_mirrored_image_swaps_slots_and_existence() -> None:
    samples = all_kinds()
    images, classes, exists = changed(*samples)
    mirrored, swapped, swapped_exists = changed(
        *samples, ranges=dataclasses.replace(NONE, flip=1.0)
    )
    np.testing.assert_allclose(mirrored[:, :, ::-1], images, atol=0.5)
    expected = np.where(classes > 0, 7 - classes, 0)
    for kind in range(len(samples)):
        assert exists[kind].tolist() == [0, 1, 1, 1, 0, 0]
        assert swapped_exists[kind].tolist() == [0, 0, 1, 1, 1, 0]
        assert (swapped[kind][:, ::-1] != expected[kind]).mean() < 1e-3


def test_slots_are_counted_from_the_whole_images_middle_whatever_the_crop() -> None:
    """So that a mirrored image has them swapped where the crop is nearer to one side."""
    part = dataclasses.replace(LAYOUT, crop=(100, 40, 320, 140))
    image = np.zeros((180, 320, 3), np.uint8)
    # Right of the image's middle, 159.5, at its lower border, and left of the crop's.
    sample = LabelledImage(image, (np.array([[185, 179], [172, 60]], np.float32),))
    for flip, expected in ((0.0, [0, 0, 0, 1, 0, 0]), (1.0, [0, 0, 1, 0, 0, 0])):
        ranges = dataclasses.replace(NONE, flip=flip)
        exists = changed(sample, ranges=ranges, layout=part)[2]
        assert exists[0].tolist() == expected


def test_what_nobody_labelled_is_unknown_in_mirrored_images_too() -> None:
    sample = painted()
    two = dataclasses.replace(sample, lanes=sample.lanes[:2])
    samples = [two, dataclasses.replace(two, partial=True)]
    change = Changes(LAYOUT, WIDTH, CPU)
    *_, known = change(batch_of(*samples))
    assert known.tolist() == [[True] * 6, [False, True, True, False, False, False]]
    *_, known = change(batch_of(*samples, ranges=dataclasses.replace(NONE, flip=1.0)))
    assert known.tolist() == [[True] * 6, [False, False, False, True, True, False]]


def test_cut_images_have_other_cameras_shapes_and_labels_on_the_paint() -> None:
    for shape in (1.2, 2.6):
        ranges = dataclasses.replace(NONE, cut=1.0, shapes=(shape, shape))
        whole = changed(*[painted()] * 8)[0]
        pixels, classes, _ = changed(*[painted()] * 8, ranges=ranges)
        assert np.abs(pixels - whole).max() > 100
        compared = [check_labels_on_paint(p, c) for p, c in zip(pixels, classes, strict=True)]
        assert sum(compared) > 8


def test_what_is_beyond_a_cut_has_no_label() -> None:
    """Whether the labels are lanes, which go on there, or a class map, which does not."""
    sample = painted()
    mapped = dataclasses.replace(sample, lanes=(), classes=class_map(sample, (1, 2, 3)))
    ranges = dataclasses.replace(NONE, cut=1.0, shapes=(1.2, 2.6), rotation=8.0)
    for found, of_map in zip(
        *(changed(*[kind] * 16, ranges=ranges)[1] for kind in (sample, mapped)), strict=True
    ):
        near = cv2.dilate((of_map > 0).astype(np.uint8), np.ones((5, 5), np.uint8))
        assert not ((found > 0) & (near == 0)).any()


def test_one_slot_has_nothing_to_swap() -> None:
    layout = dataclasses.replace(LAYOUT, slots=("lane",))
    sample = painted()
    samples = [sample, dataclasses.replace(sample, lanes=(), classes=class_map(sample, (0, 0, 0)))]
    classes = changed(*samples, layout=layout)[1]
    mirrored = changed(*samples, ranges=dataclasses.replace(NONE, flip=1.0), layout=layout)[1]
    assert classes.max() == 1
    assert (mirrored[:, :, ::-1] != classes).mean() < 1e-3
    assert (classes[0] != classes[1]).mean() < 0.02


def test_slots_that_are_said_are_kept() -> None:
    # Not what position says: the lanes are counted one slot further right.
    sample = painted()
    kinds = [
        dataclasses.replace(sample, slots=(2, 3, 4)),
        dataclasses.replace(sample, lanes=(), classes=class_map(sample, (2, 3, 4))),
    ]
    ranges = dataclasses.replace(GEOMETRY, flip=0.0)
    for kind in kinds:
        pixels, classes, _ = changed(*[kind] * 16, ranges=ranges)
        compared = sum(
            check_labels_on_paint(*pair, slots=(2, 3, 4))
            for pair in zip(pixels, classes, strict=True)
        )
        assert compared > 24
    # A lateral move would make other lanes the ego lanes.
    lateral = dataclasses.replace(NONE, lateral=1.3)
    said = batch_of(*[kinds[0]] * 16, ranges=lateral)
    assert not said.shift[:, 1].any()
    assert batch_of(*[sample] * 16, ranges=lateral).shift[:, 1].any()


def test_mirrored_class_maps_stay_on_the_paint() -> None:
    sample = painted()
    kind = dataclasses.replace(sample, lanes=(), classes=class_map(sample))
    ranges = dataclasses.replace(GEOMETRY, flip=1.0)
    pixels, classes, _ = changed(*[kind] * 16, ranges=ranges)
    for pair in zip(pixels, classes, strict=True):
        check_labels_on_paint(*pair, slots=(4, 3, 2))


# --- samples, batches and numbers


def test_a_sample_is_the_same_in_every_batch() -> None:
    samples = [*all_kinds(), LabelledImage(painted(2).image, ())] * 2
    batch = batch_of(*samples, ranges=Augmentation())
    change = Changes(LAYOUT, WIDTH, CPU)
    together = change(batch)
    # Each by itself and in another order, whatever the global generators say.
    for seed, index in enumerate((7, 0, 3, 9, 4, 1, 2, 6, 5, 8)):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        rng = np.random.default_rng((0, index))
        alone = default_collate([prepare(samples[index], LAYOUT, Augmentation(), rng)])
        for part, expected in zip(alone, batch, strict=True):
            assert torch.equal(part[0], expected[index])
        for part, expected in zip(change(alone), together, strict=True):
            torch.testing.assert_close(part[0], expected[index], atol=1e-5, rtol=0)


def test_pixels_that_are_kept_on_the_device_make_the_same_batch() -> None:
    ranges = dataclasses.replace(Augmentation(), hidden=1.0, cut=0.5, bonnet=0.5, light=0.7)
    for samples in (all_kinds(), [painted(1.0), painted(2.0)]):
        parts = [source_pixels(sample, LAYOUT, ranges) for sample in samples]
        images, maps = (torch.from_numpy(np.stack(part)) for part in zip(*parts, strict=True))
        has_maps = any(sample.classes is not None for sample in samples)
        change = Changes(LAYOUT, WIDTH, CPU, Kept(images, maps if has_maps else None))
        for seed in range(6):
            drawn = [
                draw(outline(sample), LAYOUT, ranges, np.random.default_rng((seed, index)), index)
                for index, sample in enumerate(samples)
            ]
            assert all(part.image.numel() == 0 for part in drawn)
            wanted = Changes(LAYOUT, WIDTH, CPU)(batch_of(*samples, ranges=ranges, seed=seed))
            for part, true in zip(change(default_collate(drawn)), wanted, strict=True):
                assert torch.equal(part, true)


def test_lanes_end_at_the_bonnet_that_mirrors_the_road() -> None:
    sample = painted()
    images, classes, _ = changed(*[sample] * 12)
    covered, cut, exists = changed(*[sample] * 12, ranges=dataclasses.replace(NONE, bonnet=1.0))
    hidden = cut != classes
    assert not cut[hidden].any()  # some of the labels go, none comes
    for index in range(12):
        rows = np.flatnonzero(hidden[index].any(axis=1))
        assert len(rows) and rows[0] > 0.65 * 72 and exists[index].sum() == 3
        changes = np.abs(covered[index] - images[index]).max(axis=2) > 1
        assert changes[hidden[index]].mean() > 0.9 and not changes[: rows[0] - 20].any()
    assert len({int(np.flatnonzero(h.any(axis=1))[0]) for h in hidden}) > 3
    one = batch_of(sample, ranges=dataclasses.replace(NONE, bonnet=1.0))
    white = one._replace(image=torch.full_like(one.image, 255))
    inputs = Changes(LAYOUT, WIDTH, CPU)(white)[0]
    paint = one.bonnet[0, 3:6] * (1 - one.bonnet[0, 6]) + 255 * one.bonnet[0, 6]
    mean, std = (torch.tensor(x) for x in (LAYOUT.mean, LAYOUT.std))
    at = (inputs[0, :, -1, int(one.bonnet[0, 1])] * std + mean) * 255
    assert at.tolist() == pytest.approx(paint.clamp(0, 255).tolist(), abs=0.1)


def test_every_sample_takes_as_many_random_numbers() -> None:
    samples = [*all_kinds(), LabelledImage(np.zeros((90, 200, 3), np.uint8), ())]
    states = set()
    for sample in samples:
        for ranges in (NONE, Augmentation(), dataclasses.replace(Augmentation(), colour=0.1)):
            rng = np.random.default_rng(5)
            prepare(sample, LAYOUT, ranges, rng)
            states.add(str(rng.bit_generator.state))
    assert len(states) == 1


def test_labels_go_on_where_lanes_are_hidden() -> None:
    samples = [painted(2)] * 12
    open_pixels, open_classes, _ = changed(*samples)
    pixels, classes, _ = changed(*samples, ranges=dataclasses.replace(NONE, hidden=1.0))
    np.testing.assert_array_equal(classes, open_classes)
    hidden = [(before.max(2) > 128) & (after.max(2) < 64)
              for before, after in zip(open_pixels, pixels, strict=True)]  # fmt: skip
    assert sum(mask.any() for mask in hidden) >= 9  # a box may lie outside, or be of paint
    # A lane's far part and not all of it.
    assert all(mask.sum() < 0.6 * (classes[0] > 0).sum() for mask in hidden)


def test_nothing_is_hidden_by_default_or_without_lanes() -> None:
    road = LabelledImage(painted(2).image, ())
    ranges = dataclasses.replace(NONE, hidden=1.0)
    np.testing.assert_array_equal(changed(road, ranges=ranges)[0], changed(road)[0])
    rare = dataclasses.replace(NONE, hidden=1e-9)
    np.testing.assert_array_equal(changed(painted(2), ranges=rare)[0], changed(painted(2))[0])


def test_colours_change_and_stay_in_range() -> None:
    ranges = dataclasses.replace(NONE, colour=1.0)
    image = np.full((180, 320, 3), 100, np.uint8)
    image[:, 160:] = 140
    pixels, classes, exists = changed(*[LabelledImage(image, painted().lanes)] * 40, ranges=ranges)
    plain = changed(LabelledImage(image, painted().lanes))
    assert np.isfinite(pixels).all()
    assert pixels.min() > -0.01 and pixels.max() < 255.01
    assert (classes == plain[1]).all() and (exists == plain[2]).all()
    brightness = pixels.mean(axis=(1, 2, 3))
    assert brightness.min() < 80 and brightness.max() > 150
    # Shadows, blur and noise, in some of the images each.
    left = pixels[:, 8:-8, 8:70]
    noisy = np.abs(np.diff(left.mean(axis=3), axis=2)).mean(axis=(1, 2)) > 0.8
    assert 6 < noisy.sum() < 28
    edge = pixels[~noisy][:, 36, 76:84].mean(axis=2)
    steps = np.abs(np.diff(edge, axis=1)) > 0.15 * np.abs(edge[:, -1:] - edge[:, :1])
    assert {1, 2} <= {min(2, count) for count in steps.sum(axis=1)}  # sharp ones, blurred ones
    shaded = np.ptp(left.mean(axis=(2, 3)), axis=1) > 3
    assert 3 < shaded.sum() < 25


def test_blur_is_gaussian() -> None:
    batch = batch_of(LabelledImage(np.zeros((72, 160, 3), np.uint8), ()), layout=WHOLE)
    batch.image[0, 36, 80] = 255
    blurred = Changes(WHOLE, WIDTH, CPU)(batch._replace(blur=torch.tensor([1.2])))[0]
    spot = (blurred - blurred[0, :, 0, 0][:, None, None])[0, 1].double()
    spot /= spot.sum()
    u, v = torch.arange(160) - 80, torch.arange(72) - 36
    assert float((spot.sum(0) * u**2).sum()) == pytest.approx(1.2**2, rel=0.02)
    assert float((spot.sum(1) * v**2).sum()) == pytest.approx(1.2**2, rel=0.02)
    assert float((spot.sum(0) * u).sum()) == pytest.approx(0, abs=1e-4)


def test_source_holds_all_that_a_change_can_show() -> None:
    layout = dataclasses.replace(LAYOUT, crop=(120, 70, 200, 110), input_size=(80, 40))
    ranges = Augmentation(0.5, 10.0, (0.8, 1.3), (0.1, 0.1), 0.0, 0.0, 0.0)
    white = LabelledImage(np.full((180, 320, 3), 255, np.uint8), ())
    pixels = changed(*[white] * 100, ranges=ranges, layout=layout)[0]
    assert pixels.min() > 254  # nowhere the border's grey
    source = source_layout(layout, ranges)
    left, top, right, bottom = source.crop
    assert 0 < left < 120 and 0 < top < 70 and 200 < right < 320 and 110 < bottom < 180
    assert source.input_size[0] >= (right - left) * 1.3
    assert source_layout(layout, NONE) == layout
    assert source_layout(TUSIMPLE, NONE) == TUSIMPLE


def test_lanes_off_the_image_and_no_lanes_at_all() -> None:
    image = np.full((180, 320, 3), 90, np.uint8)
    far = np.array([[-5000, 100], [-9000, 180]], np.float32)
    point = np.array([[40, 100], [40, 100]], np.float32)
    samples = [LabelledImage(image, ()), LabelledImage(image, (far, far + 20000, point))]
    inputs, classes, exists, _ = Changes(LAYOUT, WIDTH, CPU)(
        batch_of(*samples * 8, ranges=Augmentation())
    )
    assert torch.isfinite(inputs).all()
    assert not classes.any() and not exists.any()
    assert classes.dtype == torch.int64 and classes.shape == (16, 72, 160)
    assert exists.dtype == torch.float32 and exists.shape == (16, 6)


def test_what_cannot_be_learned_is_refused() -> None:
    sample = painted()
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="an image has 51 lanes; at most 32"):
        prepare(dataclasses.replace(sample, lanes=sample.lanes * 17), LAYOUT, NONE, rng)
    classes = class_map(sample, (0, 1, 6))
    with pytest.raises(ValueError, match="class 7; the layout small has the classes 0 to 6"):
        prepare(dataclasses.replace(sample, classes=classes), LAYOUT, NONE, rng)
    with pytest.raises(
        ValueError, match=r"slots \(0, 1, 6\); the layout small has the slots 0 to 5"
    ):
        prepare(dataclasses.replace(sample, slots=(0, 1, 6)), LAYOUT, NONE, rng)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scale": (1.2, 0.8)}, r"scale \(1.2, 0.8\) must be"),
        ({"scale": (0.0, 0.8)}, r"scale \(0.0, 0.8\) must be"),
        ({"flip": 1.5}, r"flip must lie in \[0, 1\], not 1.5"),
        ({"colour": -1.0}, r"colour must lie in \[0, 2\], not -1.0"),
        ({"hidden": 1.1}, r"hidden must lie in \[0, 1\], not 1.1"),
        ({"rotation": -3.0}, "rotation is the largest change either way, not -3.0"),
        ({"shift": (0.0, -0.1)}, "shift is the largest change either way, not -0.1"),
    ],
)
def test_ranges_that_make_no_sense_are_refused(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation(**values)
