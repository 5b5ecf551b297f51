"""The values: lanes, layouts and their geometry."""

import dataclasses
import json

import numpy as np
import pytest

from lane_sad_ros.lanes import (
    BDD100K,
    CULANE,
    LAYOUTS,
    TUSIMPLE,
    Decoding,
    Lane,
    LaneLayout,
    Lanes,
)


def lane(slot: int, exists: bool) -> Lane:
    points = np.zeros((2 if exists else 0, 3), dtype=np.float32)
    return Lane(slot=slot, exists=exists, probability=0.9 if exists else 0.1, points=points)


def test_present_lanes_keep_their_order() -> None:
    lanes = Lanes((1280, 720), tuple(lane(slot, slot in (1, 3)) for slot in range(4)))
    assert [found.slot for found in lanes.present] == [1, 3]


def test_lanes_on_the_image_at_another_size() -> None:
    points = np.array([[0, 95, 1.0], [127, 0, 0.5]], np.float32)
    lanes = Lanes((128, 96), (Lane(0, True, 0.9, points), lane(1, False)))
    twice = lanes.scaled_to((256, 288))
    # The middle of the first pixel of two is half a pixel in, of three it is the second one.
    np.testing.assert_allclose(twice[0].points, [[0.5, 286, 1], [254.5, 1, 0.5]])
    assert twice.image_size == (256, 288) and len(twice) == 2
    np.testing.assert_allclose(twice.scaled_to((128, 96))[0].points, points, atol=1e-4)
    assert lanes.scaled_to((128, 96)) is lanes


def test_values_are_frozen() -> None:
    for value, field in ((lane(0, True), "slot"), (TUSIMPLE, "name"), (TUSIMPLE.decoding, "rows")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, field, None)


# --- the layouts of the datasets


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_layouts_survive_json(layout: LaneLayout) -> None:
    assert LaneLayout.from_json(layout.to_json()) == layout


@pytest.mark.parametrize("layout", [TUSIMPLE, CULANE], ids=lambda layout: layout.name)
def test_slots_mirror_around_the_ego_lane(layout: LaneLayout) -> None:
    swapped = {"left": "right", "right": "left"}
    mirrored = [
        "_".join((swapped[side], number))
        for side, number in (slot.split("_") for slot in reversed(layout.slots))
    ]
    assert mirrored == list(layout.slots)


def test_tusimple_decodes_the_rows_of_its_labels() -> None:
    assert list(range(*TUSIMPLE.decoding.rows)) == list(range(160, 711, 10))
    assert (TUSIMPLE.decoding.smoothing, TUSIMPLE.decoding.point_threshold) == (5, 0.2)
    assert (TUSIMPLE.input_size, len(TUSIMPLE.slots)) == ((640, 368), 6)


def test_culane_decodes_18_rows_of_its_crop() -> None:
    assert len(range(*CULANE.decoding.rows)) == 18
    assert (CULANE.decoding.smoothing, CULANE.decoding.point_threshold) == (9, 0.3)
    assert (CULANE.input_size, CULANE.crop) == ((976, 208), (0, 240, 1640, 590))


def test_bdd100k_tells_no_lanes_apart() -> None:
    assert BDD100K.slots == ("lane",)
    assert (BDD100K.image_size, BDD100K.crop) == ((1280, 720), (0, 0, 1280, 720))
    assert BDD100K.input_size == (640, 360)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_colours_are_those_that_imported_checkpoints_were_trained_with(layout: LaneLayout) -> None:
    """Mean and deviation of CULane, RGB, as in ENet-SAD_Pytorch."""
    assert layout.mean == (0.3598, 0.3653, 0.3662)
    assert layout.std == (0.2573, 0.2663, 0.2756)


# --- geometry


@pytest.mark.parametrize(
    ("image_size", "crop"),
    [
        ((1640, 590), (0, 240, 1640, 590)),
        ((820, 295), (0, 120, 820, 295)),
        ((1640, 1180), (0, 480, 1640, 1180)),
        ((1000, 500), (0, 203, 1000, 500)),
    ],
)
def test_crop_scales_with_the_image(image_size, crop) -> None:
    assert CULANE.crop_of(image_size) == crop


def test_crop_of_an_image_too_small_for_it() -> None:
    layout = dataclasses.replace(CULANE, crop=(0, 588, 1640, 590))
    with pytest.raises(ValueError, match="an image of 16x10 pixels is too small for the crop"):
        layout.crop_of((16, 10))


def test_another_input_size() -> None:
    assert dataclasses.replace(TUSIMPLE, input_size=(320, 184)).input_size == (320, 184)
    with pytest.raises(ValueError, match="multiples of 8"):
        dataclasses.replace(TUSIMPLE, input_size=(320, 180))


# --- what is refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"crop": (0, 0, 1281, 720)}, r"crop .* does not lie inside the 1280x720 image"),
        ({"crop": (-1, 0, 1280, 720)}, "does not lie inside"),
        ({"crop": (640, 0, 640, 720)}, "does not lie inside"),
        ({"input_size": (640, 360 + 1)}, "must be multiples of 8"),
        ({"input_size": (8, 368)}, "at least 16"),
        ({"slots": ()}, "at least one lane slot"),
    ],
)
def test_layouts_that_cannot_be(change, message) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TUSIMPLE, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"smoothing": 4}, "smoothing must be odd and positive, not 4"),
        ({"smoothing": -1}, r"smoothing must be a whole number in \[1, 16384\], not -1"),
        ({"rows": (700, 160, 10)}, "name no row"),
        ({"point_threshold": 1.5}, r"point_threshold must be a number in \[0, 1\], not 1.5"),
        ({"existence_threshold": -0.1}, r"existence_threshold must be a number in \[0, 1\]"),
        ({"smoothing": 5.0}, r"smoothing must be a whole number in .*, not 5.0"),
        ({"rows": (160, 720)}, r"rows must be 3 whole numbers in .*, not \(160, 720\)"),
        ({"rows": (160, 720, 0)}, "name no row"),
        ({"rows": (0, 10**12, 1)}, "rows must be 3 whole numbers"),
        ({"point_threshold": float("nan")}, "point_threshold must be a number"),
        ({"existence_threshold": True}, "existence_threshold must be a number"),
        ({"min_points": 0}, "min_points must be a whole number in .*, not 0"),
        ({"min_points": "2"}, "min_points must be a whole number in .*, not '2'"),
        ({"side_margin": -1.0}, r"side_margin must be a number in \[0, 16384\], not -1.0"),
    ],
)
def test_decoding_that_cannot_be(change, message) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(Decoding(rows=(160, 720, 10)), **change)


def test_layout_of_a_file_from_before_the_side_margin_is_read() -> None:
    values = json.loads(TUSIMPLE.to_json())
    del values["decoding"]["side_margin"]
    assert LaneLayout.from_json(json.dumps(values)) == TUSIMPLE


def without(field: str) -> str:
    values = json.loads(TUSIMPLE.to_json())
    del values[field]
    return json.dumps(values)


def with_extra(**fields: object) -> str:
    return json.dumps({**json.loads(TUSIMPLE.to_json()), **fields})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (without("crop"), "not a lane layout: .*crop"),
        (without("decoding"), "not a lane layout: .*decoding"),
        (with_extra(gamma=2), "not a lane layout: .*gamma"),
        (with_extra(decoding={"rows": [160, 720, 10], "blur": 3}), "not a lane layout: .*blur"),
        (with_extra(name=5), "name of a layout .* must be a text"),
        (with_extra(slots=["a", "a"]), "slots must be at most 64 names that differ"),
        (with_extra(slots=[str(i) for i in range(100)]), "slots must be at most 64 names"),
        (with_extra(slots=7), "not a lane layout"),
        (with_extra(image_size=[1280, "720"]), "image_size must be 2 whole numbers"),
        (with_extra(image_size=[1280, 400]), "crop .* does not lie inside the 1280x400 image"),
        (with_extra(image_size=[1280, 10**9]), "image_size must be 2 whole numbers"),
        (with_extra(crop=[0, 0, 1280.5, 720]), "crop must be 4 whole numbers"),
        (with_extra(input_size=[1 << 40, 368]), "input_size must be 2 whole numbers"),
        (with_extra(mean=[0.4, 0.4]), "mean must be 3 numbers"),
        (with_extra(std=[0.2, 0, 0.2]), "std must be 3 numbers"),
        (with_extra(decoding={"rows": [160, 730, 10]}), "rows .* go beyond the image's 720 rows"),
        ("[" * 100_000, "not a lane layout"),
        (with_extra(input_size=[640, 100]), "input_size .* must be multiples of 8"),
        ("[1, 2]", "not a lane layout"),
        ("{", "property name"),
    ],
)
def test_json_that_is_no_layout(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LaneLayout.from_json(text)
