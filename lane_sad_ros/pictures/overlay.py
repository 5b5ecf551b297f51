"""Lanes on pictures: overlays for people to look at, and sheets of them.

Images are H×W×3 uint8 in BGR order. Everything is scaled to the image, so that an overlay of a
320-pixel picture and of a full-HD one look alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.lanes import Lanes
from lane_sad_ros.pictures.colours import EGO_COLOUR, Colour, slot_colour, slot_label
from lane_sad_ros.pictures.strokes import FONT, Image, check_image, curves, draw_curve, paint
from lane_sad_ros.road.ego import EgoLane, ego_words

# The longest that the figures of the ego lane and the rate become.
_WIDEST = (
    "offset 0.00 m right",
    "width 0.00 m",
    "heading 00.0 deg right",
    "radius 0000 m right",
    "000.0 Hz",
)
_INK: Colour = (245, 245, 245)
_SHEET = 24  # grey of a contact sheet


def draw_lanes(
    image: Image,
    lanes: Lanes,
    *,
    ego: EgoLane | None = None,
    rate: float | None = None,
    copy: bool = True,
) -> Image:
    """Draws lanes and their existence flags on an image.

    image: H×W×3 uint8 BGR. It may have another size than the one `lanes` refers to: points are
        scaled.
    ego: the ego lane, whose figures stand below the flags where it is valid.
    rate: frames per second, to be told there too.
    copy: leave `image` as it is and draw on a copy; false draws into `image` and returns it.

    Every lane that exists is a line that narrows with the distance and fades with its
    probability; the ego lane between the two slots in the middle is lightly filled when both
    exist. A strip at the top shows every slot with its probability, absent ones in grey.
    Raises ValueError if `image` is not such an array.
    """
    check_image(image)
    canvas = np.array(image, order="C") if copy else image
    found = curves(lanes, canvas)
    slots = len(lanes)
    left, right = slots // 2 - 1, (slots + 1) // 2
    if left in found and right in found:
        _fill_between(canvas, found[left], found[right])
    # Outer lanes first: where lines meet towards the horizon, the ego pair lies on top.
    for lane in sorted(lanes, key=lambda lane: -abs(2 * lane.slot - slots + 1)):
        if lane.slot in found:
            draw_curve(
                canvas,
                found[lane.slot],
                slot_colour(lane.slot, slots),
                probability=lane.probability,
                is_ego=lane.slot in (left, right),
            )
    words = ego_words(ego) if ego is not None and ego.valid else []
    words += [f"{rate:.1f} Hz"] if rate is not None else [""] * bool(words)
    _draw_legend(canvas, lanes, words)
    return canvas


def contact_sheet(
    images: Sequence[Image], titles: Sequence[str], *, columns: int | None = None, width: int = 1920
) -> Image:
    """Images in a grid with a title under each, as one image.

    images: H×W×3 uint8 BGR of any sizes; all are scaled to the width of a cell.
    columns: of the grid; None chooses by the number of images.
    width: of the sheet in pixels, about.
    Raises ValueError without images or if there is not one title for each.
    """
    if not images:
        raise ValueError("a contact sheet needs at least one image")
    if len(images) != len(titles):
        raise ValueError(f"{len(images)} images need as many titles, not {len(titles)}")
    if columns is None:
        columns = min(len(images), max(1, round(math.sqrt(len(images)))))
    gap = 8
    cell_width = max(16, (width - gap) // columns - gap)
    cells = [_cell(*entry, cell_width) for entry in zip(images, titles, strict=True)]
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    heights = [max(cell.shape[0] for cell in row) + gap for row in rows]
    sheet = np.full((sum(heights) + gap, columns * (cell_width + gap) + gap, 3), _SHEET, np.uint8)
    top = gap
    for row, height in zip(rows, heights, strict=True):
        for index, cell in enumerate(row):
            left = gap + index * (cell_width + gap)
            sheet[top : top + cell.shape[0], left : left + cell_width] = cell
        top += height
    return sheet


def _cell(image: Image, title: str, width: int) -> Image:
    """An image of a sheet with its title below."""
    font_scale = width / 1100
    (_, text_height), baseline = cv2.getTextSize("Lg", FONT, font_scale, 1)
    height = max(1, round(width * image.shape[0] / image.shape[1]))
    cell = np.full((height + text_height + baseline + 8, width, 3), _SHEET, np.uint8)
    cell[:height] = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    origin = (2, height + text_height + 4)
    cv2.putText(cell, title, origin, FONT, font_scale, (225, 225, 225), 1, cv2.LINE_AA)
    return cell


def _fill_between(canvas: Image, left: NDArray[np.float64], right: NDArray[np.float64]) -> None:
    """Tints the ego lane over the rows that both its lines cover."""
    left, right = (_down_the_side(line, canvas) for line in (left, right))
    top, bottom = max(left[0, 1], right[0, 1]), min(left[-1, 1], right[-1, 1])
    if bottom <= top:
        return
    rows = np.linspace(top, bottom, 48)
    left_side = np.stack([np.interp(rows, left[:, 1], left[:, 0]), rows], axis=1)
    right_side = np.stack([np.interp(rows, right[:, 1], right[:, 0]), rows], axis=1)
    paint(canvas, [(np.concatenate([left_side, right_side[::-1]]), EGO_COLOUR)], alpha=0.2)


def _down_the_side(line: NDArray[np.float64], canvas: Image) -> NDArray[np.float64]:
    """The line from top to bottom; one that leaves the image at its side goes on along the side."""
    height, width = canvas.shape[:2]
    line = line[np.argsort(line[:, 1])]
    margin = 0.02 * width
    u, v = line[-1]
    if margin < u < width - 1 - margin:
        return line
    side = 0 if u <= margin else width - 1
    return np.concatenate([line, [(side, v), (side, height - 1)]])


def _draw_legend(canvas: Image, lanes: Lanes, words: Sequence[str]) -> None:
    """One cell for each slot, from left to right: a disc, full if the lane exists; name; chance.

    The words stand in a strip below.
    """
    height, width = canvas.shape[:2]
    cell = min(width / (len(lanes) + 0.5), width / 11, 220.0)
    font_scale = cell / 205
    thickness = max(1, round(font_scale * 1.6))
    strip_height = round(cell * 0.32)
    left, top = round((width - cell * len(lanes)) / 2), max(1, round(height / 90))
    strip = canvas[top : top + strip_height, left : left + round(cell * len(lanes))]
    if strip_height < 6 or strip.size == 0:
        return  # too small a picture to read anything
    _darken(strip)
    for index, lane in enumerate(lanes):
        colour = slot_colour(lane.slot, len(lanes)) if lane.exists else (130, 130, 130)
        centre = (round((index + 0.13) * cell), strip_height // 2)
        radius = max(2, round(cell * 0.075))
        cv2.circle(strip, centre, radius, colour, -1 if lane.exists else 1, cv2.LINE_AA)
        text = f"{slot_label(lane.slot, len(lanes))} {100 * lane.probability:.0f}%"
        origin = (round((index + 0.26) * cell), round(strip_height / 2 + font_scale * 10))
        ink = _INK if lane.exists else (150, 150, 150)
        cv2.putText(strip, text, origin, FONT, font_scale, ink, thickness, cv2.LINE_AA)
    if words:
        strip_top = top + strip_height + 1
        _draw_words(canvas, words, strip_top, strip_height, font_scale, thickness)


def _draw_words(
    canvas: Image, words: Sequence[str], top: int, height: int, font_scale: float, thickness: int
) -> None:
    """A strip of words, each in a place that is as wide as it can get, so that none dances."""
    widths = [
        cv2.getTextSize(widest + "  ", FONT, font_scale, thickness)[0][0]
        for widest in _WIDEST[-len(words) :]
    ]
    shrink = min(1.0, 0.98 * canvas.shape[1] / sum(widths))
    left = round((canvas.shape[1] - shrink * sum(widths)) / 2)
    _darken(canvas[top : top + height, left : left + round(shrink * sum(widths))])
    base = round(top + height / 2 + shrink * font_scale * 10)
    for word, place in zip(words, np.cumsum([0, *widths[:-1]]), strict=True):
        origin = (round(left + shrink * (place + 10 * font_scale)), base)
        cv2.putText(canvas, word, origin, FONT, shrink * font_scale, _INK, thickness, cv2.LINE_AA)


def _darken(part: Image) -> None:
    part[:] = cv2.addWeighted(part, 0.3, np.full_like(part, 16), 0.7, 0)
