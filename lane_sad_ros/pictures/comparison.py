"""What was found beside what is true, drawn into one image."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.lanes import Lanes
from lane_sad_ros.pictures.colours import Colour, slot_colour, slot_label
from lane_sad_ros.pictures.strokes import (
    CASING,
    FONT,
    Image,
    check_image,
    curves,
    draw_curve,
    draw_polyline,
)

_WHITE: Colour = (255, 255, 255)
_WRONG: Colour = (40, 40, 190)
# Of mask pixels.
_FOUND: Colour = (233, 180, 86)
_FALSE: Colour = (0, 159, 230)
_MISSED: Colour = (200, 110, 220)

Box = tuple[int, int, int, int]  # left, top, right, bottom


def draw_comparison(
    image: Image,
    truth: Lanes,
    prediction: Lanes,
    *,
    missed: Collection[int] = (),
    false: Collection[int] = (),
    named: bool = True,
) -> Image:
    """Draws true and predicted lanes on a copy of an image, so that they can be told apart.

    image: H×W×3 uint8 BGR; points are scaled to its size, as in `draw_lanes`. Predicted lanes are
    ribbons in the colours of their slots, true lanes thin lines dashed in white and black on top.
    missed: slots of true lanes that nothing was found of: their dashes are white and red.
    false: slots of predicted lanes that are not true: their ribbons have a red edge. Both have a
    tag that says so, the other predicted lanes one with the name of their slot.
    named: whether slots mean something; if not, their names are left out.
    Raises ValueError if `image` is not such an array.
    """
    check_image(image)
    canvas = np.array(image, order="C")
    found, true = curves(prediction, canvas), curves(truth, canvas)
    slots = max(len(prediction), *(slot + 1 for slot in (0, *found)))
    if not named:
        slots += slots % 2  # none in the middle, whose white is that of the truth
    for slot, curve in found.items():
        edge = _WRONG if slot in false else CASING
        draw_curve(canvas, curve, slot_colour(slot, slots), edge=edge)
    for slot, curve in true.items():
        _draw_dashes(canvas, curve, _WRONG if slot in missed else CASING)
    tags = [(true[slot], "missed", _WRONG) for slot in true if slot in missed]
    for slot, curve in found.items():
        words = [slot_label(slot, slots)] if named else []
        words += ["false"] if slot in false else []
        if words:
            tags.append((curve, " ".join(words), _WRONG if slot in false else CASING))
    tags.sort(key=lambda tag: tag[2] != _WRONG)  # what is wrong has the first choice of a place
    _draw_tags(canvas, tags)
    return canvas


def draw_masks(image: Image, truth: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> Image:
    """Paints lane pixels on a copy of an image: found blue, falsely predicted orange, missed pink.

    image: H×W×3 uint8 BGR. truth, prediction: masks of one size, scaled to the image's; a pixel of
    the picture has the colour of any that falls into it, so that thin lines stay.
    Raises ValueError if `image` is not such an array.
    """
    check_image(image)
    canvas = np.array(image, order="C")
    kinds = (
        (prediction & ~truth, _FALSE),
        (truth & ~prediction, _MISSED),
        (truth & prediction, _FOUND),
    )
    for mask, colour in kinds:
        vs, us = np.nonzero(mask)
        rows = vs * canvas.shape[0] // mask.shape[0]
        columns = us * canvas.shape[1] // mask.shape[1]
        canvas[rows, columns] = colour
    return canvas


def _draw_dashes(canvas: Image, curve: NDArray[np.float64], between: Colour) -> None:
    """A thin line, white and another colour in turn."""
    thickness = max(1, round(_usual_height(canvas) / 270))
    steps = np.linalg.norm(np.diff(curve, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    dash = max(4.0, _usual_height(canvas) / 45)
    stops = np.arange(0.0, along[-1] + dash, dash).clip(max=along[-1])
    for index, (start, stop) in enumerate(pairwise(stops)):
        at = np.concatenate([[start], along[(along > start) & (along < stop)], [stop]])
        corners = np.stack([np.interp(at, along, curve[:, axis]) for axis in (0, 1)], axis=1)
        draw_polyline(canvas, corners, between if index % 2 else _WHITE, thickness)


def _draw_tags(canvas: Image, tags: Sequence[tuple[NDArray[np.float64], str, Colour]]) -> None:
    """A text on each curve near its lower end, higher up where another is in the way."""
    height, width = canvas.shape[:2]
    font_scale = max(0.3, _usual_height(canvas) / 750)
    taken: list[Box] = []
    for curve, text, colour in tags:
        (text_width, text_height), baseline = cv2.getTextSize(text, FONT, font_scale, 1)
        half = text_width / 2 + 4
        tall = text_height + baseline + 4
        for u, v in curve[np.argsort(-curve[:, 1])]:
            left = round(min(max(u - half, 0), max(width - 2 * half, 0)))
            top = round(min(max(v - tall, 0), max(height - 1.5 * tall, 0)))
            box = (left, top, left + round(2 * half), top + tall)
            inside = 0 <= u < width and 0 <= v < 0.92 * height
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                cv2.rectangle(canvas, box[:2], box[2:], colour, cv2.FILLED)
                origin = (left + 4, top + text_height + 3)
                cv2.putText(canvas, text, origin, FONT, font_scale, _WHITE, 1, cv2.LINE_AA)
                break


def _usual_height(canvas: Image) -> float:
    """The height, or half the width of a picture that is lower than usual."""
    return max(canvas.shape[0], canvas.shape[1] / 2)


def _overlap(one: Box, other: Box) -> bool:
    """Whether two boxes have a pixel in common."""
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]
