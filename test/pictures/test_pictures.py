from dataclasses import replace

import numpy as np
import pytest

from lane_sad_ros.lanes import Lane, Lanes
from lane_sad_ros.pictures.birdseye import BirdsEye
from lane_sad_ros.pictures.colours import slot_colour, slot_label
from lane_sad_ros.pictures.overlay import contact_sheet, draw_lanes
from lane_sad_ros.recordings.message_types import MESSAGES
from lane_sad_ros.road.camera import CameraModel
from lane_sad_ros.road.ego import EgoLane, ego_words
from lane_sad_ros.road.ground import GroundProjector, Mounting

SIZE = (320, 180)


def grey(size=SIZE):
    return np.full((size[1], size[0], 3), 90, np.uint8)


def line(slot, bottom_u, top_u, probability=1.0, size=SIZE):
    rows = np.arange(size[1] - 1, size[1] // 3, -10, dtype=np.float32)
    us = np.interp(rows, [size[1] / 3, size[1] - 1], [top_u, bottom_u])
    points = np.stack([us, rows, np.ones_like(rows)], axis=1).astype(np.float32)
    return Lane(slot, True, probability, points)


def absent(slot):
    return Lane(slot, False, 0.1, np.zeros((0, 3), np.float32))


def six(*present, size=SIZE):
    lanes = {lane.slot: lane for lane in present}
    return Lanes(size, tuple(lanes.get(slot, absent(slot)) for slot in range(6)))


def below_legend(image):
    return image[image.shape[0] // 4 :]


def test_a_lane_is_drawn_in_its_colour_through_its_points():
    lane = line(2, 40, 150)
    drawn = draw_lanes(grey(), six(lane))
    for u, v, _ in lane.points[1:-1]:
        assert (
            np.abs(drawn[round(float(v)), round(float(u))].astype(int) - slot_colour(2, 6)).max()
            < 12
        )
    touched = np.argwhere((below_legend(drawn) != 90).any(axis=2))
    rows = touched[:, 0] + SIZE[1] // 4
    expected = np.interp(rows, [SIZE[1] / 3, SIZE[1] - 1], [150, 40])
    assert np.abs(touched[:, 1] - expected).max() < 12


def test_absent_lanes_draw_nothing_but_the_legend():
    drawn = draw_lanes(grey(), six())
    assert (below_legend(drawn) == 90).all()
    assert (drawn[: SIZE[1] // 4] != 90).any()


def test_a_lane_that_does_not_exist_is_not_drawn_even_with_points():
    ghost = Lane(2, False, 0.4, line(2, 40, 150).points)
    assert (below_legend(draw_lanes(grey(), six(ghost))) == 90).all()


def test_less_probable_lanes_are_fainter():
    sure, unsure = (draw_lanes(grey(), six(line(1, 40, 150, p))) for p in (1.0, 0.5))
    v, u = 120, round(float(np.interp(120, [60, 179], [150, 40])))
    assert abs(int(unsure[v, u, 1]) - 90) < abs(int(sure[v, u, 1]) - 90)


def test_the_ego_lane_is_filled_only_between_both_its_lines():
    left, right = line(2, 60, 150), line(3, 260, 170)
    both = draw_lanes(grey(), six(left, right))
    only = draw_lanes(grey(), six(left))
    assert (both[140, 160] != 90).any()
    assert (both[140, 20] == 90).all() and (both[140, 300] == 90).all()
    assert (only[140, 160] == 90).all()


def test_the_mirrored_scene_is_drawn_mirrored_with_colours_of_the_other_side():
    drawn = draw_lanes(grey(), six(line(1, 60, 150)))
    mirrored = draw_lanes(grey(), six(line(4, SIZE[0] - 1 - 60, SIZE[0] - 1 - 150)))
    there = (below_legend(drawn) != 90).any(axis=2)
    back = (below_legend(mirrored) != 90).any(axis=2)[:, ::-1]
    assert (there != back).mean() < 0.01
    assert slot_colour(1, 6) != slot_colour(4, 6)


@pytest.mark.parametrize("slots", [1, 2, 4, 5, 6])
def test_slots_have_different_colours_and_names(slots):
    assert len({slot_colour(slot, slots) for slot in range(slots)}) == slots
    assert len({slot_label(slot, slots) for slot in range(slots)}) == slots


def test_ego_slots_look_alike_in_four_and_six_slot_layouts():
    assert slot_colour(1, 4) == slot_colour(2, 6)
    assert [slot_label(slot, 4) for slot in range(4)] == ["L2", "L1", "R1", "R2"]
    with pytest.raises(ValueError, match="slot 4"):
        slot_colour(4, 4)


def test_points_are_scaled_to_the_image_drawn_on():
    large = (1280, 720)
    drawn = draw_lanes(grey(), six(line(2, 160, 600, size=large), size=large))
    v, u = 120, round(float(np.interp(480, [240, 719], [600, 160])) / 4)
    assert np.abs(drawn[v, u].astype(int) - slot_colour(2, 6)).max() < 40


def test_the_input_is_kept_or_drawn_into_as_asked():
    image = grey()
    draw_lanes(image, six(line(2, 40, 150)))
    assert (image == 90).all()
    assert draw_lanes(image, six(line(2, 40, 150)), copy=False) is image
    assert (image != 90).any()


@pytest.mark.parametrize("size", [(8, 8), (40, 30), (1640, 590)])
def test_any_size_of_image_and_points_beyond_it_can_be_drawn(size):
    lane = line(2, -3 * size[0], 4 * size[0], size=size)
    single = Lane(3, True, 0.9, np.array([[5, 5, 1]], np.float32))
    assert draw_lanes(grey(size), six(lane, single, size=size)).shape == (size[1], size[0], 3)


@pytest.mark.parametrize(
    "image",
    [np.zeros((5, 5), np.uint8), np.zeros((5, 5, 3), np.float32), np.zeros((0, 5, 3), np.uint8)],
)
def test_what_is_no_bgr_image_is_refused(image):
    with pytest.raises(ValueError, match="H×W×3 uint8"):
        draw_lanes(image, six())


def test_a_contact_sheet_shows_every_image_in_reading_order():
    images = [np.full((90, 160, 3), shade, np.uint8) for shade in (50, 100, 150, 200, 250)]
    sheet = contact_sheet(images, [f"frame {i}" for i in range(5)], columns=2, width=640)
    shades = []
    for row in range(3):
        for column in range(2):
            cell = sheet[row * sheet.shape[0] // 3 + 40, column * sheet.shape[1] // 2 + 80]
            shades.append(int(cell[0]))
    assert shades == [50, 100, 150, 200, 250, 24]


def test_a_contact_sheet_needs_images_and_a_title_for_each():
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([], [])
    with pytest.raises(ValueError, match="as many titles"):
        contact_sheet([grey()], [])


EGO = EgoLane(True, True, True, 3.6, -0.251, 0.02, 1 / 400)


def test_figures_of_the_ego_lane_in_words():
    words = ["offset 0.25 m right", "width 3.60 m", "heading 1.1 deg left", "radius 400 m left"]
    assert ego_words(EGO) == words
    for curvature in (-1e-4, 0.0):
        assert ego_words(replace(EGO, curvature=curvature))[-1] == "straight"
    assert ego_words(replace(EGO, curvature=-1 / 500))[-1] == "radius 500 m right"


@pytest.mark.parametrize("size", [(320, 180), (1280, 720)])
def test_figures_stand_below_the_flags_where_they_are_known(size):
    plain = draw_lanes(grey(size), six(size=size))
    unknown = replace(EGO, valid=False)
    np.testing.assert_array_equal(draw_lanes(grey(size), six(size=size), ego=unknown), plain)
    told = draw_lanes(grey(size), six(size=size), ego=EGO, rate=12.5)
    rows, columns = np.nonzero((told != plain).any(axis=2))
    assert rows.min() > size[1] / 30
    assert rows.max() < size[1] / 6
    assert columns.min() >= 0.01 * size[0] and columns.max() <= 0.99 * size[0]
    # In its place, whatever the other figures are.
    longer = replace(EGO, lateral_offset=1.0, heading=-0.3)
    other = draw_lanes(grey(size), six(size=size), ego=longer, rate=12.5)
    right = round(0.75 * size[0])
    np.testing.assert_array_equal(other[:, right:], told[:, right:])


def test_rviz_and_the_view_from_above_show_the_same_middle_of_the_lane():
    """An ego lane that is oblique enough for the formulas' second order to be seen."""
    ego = EgoLane(True, True, True, 3.6, lateral_offset=1.5, heading=0.4, curvature=1 / 40)
    header = MESSAGES.header(0, "base_link")
    markers = MESSAGES.markers(six(), ego, header, 0.5).markers
    middle = np.array([(p.x, p.y) for p in next(m for m in markers if m.ns == "ego_lane").points])
    camera = CameraModel.from_field_of_view(*SIZE, np.radians(60))
    projector = GroundProjector(camera, Mounting.from_angles(1.5, pitch=0.1))
    view = BirdsEye(projector, 1000, reach=50, side=10)
    tinted = view.draw(grey(), six(), ego) != view.draw(grey(), six())
    for x, y in middle[(middle[:, 0] > 2) & (middle[:, 0] < 35)]:
        columns = np.flatnonzero(tinted[round(999.5 - 20 * x)].any(axis=1))
        assert (199.5 - columns.mean()) / 20 == pytest.approx(y, abs=0.3)
