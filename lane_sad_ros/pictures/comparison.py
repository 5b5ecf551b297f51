"""What was found beside what is true, drawn into one image."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.lanes import Lanes
from lane_sad_ros.pictures.colours import Colour, slot_colour, slot_label
from lane_sad_ros.pictures.strokes import (
    CASING,
    Image,
    check,
    draw_dashes,
    draw_line,
    draw_tags,
    lines_on,
)

_WRONG: Colour = (40, 40, 190)

_FOUND: Colour = (233, 180, 86)

_FALSE: Colour = (0, 159, 230)

_MISSED: Colour = (200, 110, 220)


def draw_comparison(
    image: Image,
    truth: Lanes,
    prediction: Lanes,
    *,
    missed: Collection[int] = (),
    false: Collection[int] = (),
    named: bool = True,
) -> Image:
    """Draw true and predicted lanes on a copy of an image, so that they can be told apart.

    image: H×W×3 uint8 BGR; points are scaled to its size, as in `draw_lanes`. Predicted lanes are
    ribbons in the colours of their slots, true lanes thin lines dashed in white and black on top.
    missed: slots of true lanes that nothing was found of: their dashes are white and red.
    false: slots of predicted lanes that are not true: their ribbons have a red edge. Both have a
    tag that says so, the other predicted lanes one with the name of their slot.
    named: whether slots mean something; if not, their names are left out.
    Raises ValueError if `image` is not such an array.
    """
    check(image)
    canvas = np.array(image, order="C")
    found, true = lines_on(prediction, canvas), lines_on(truth, canvas)
    slots = max(len(prediction), *(slot + 1 for slot in (0, *found)))
    if not named:
        slots += slots % 2  # none in the middle, whose white is that of the truth
    for slot, line in found.items():
        edge = _WRONG if slot in false else CASING
        draw_line(canvas, line, slot_colour(slot, slots), 1.0, is_ego=True, edge=edge)
    for slot, line in true.items():
        draw_dashes(canvas, line, _WRONG if slot in missed else CASING)
    tags = [(true[slot], "missed", _WRONG) for slot in true if slot in missed]
    for slot, line in found.items():
        words = [slot_label(slot, slots)] if named else []
        words += ["false"] if slot in false else []
        if words:
            tags.append((line, " ".join(words), _WRONG if slot in false else CASING))
    tags.sort(key=lambda tag: tag[2] != _WRONG)  # what is wrong has the first choice of a place
    draw_tags(canvas, tags)
    return canvas


def draw_masks(image: Image, truth: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> Image:
    """Paint lane pixels on a copy of an image: found blue, falsely predicted orange, missed pink.

    image: H×W×3 uint8 BGR. truth, prediction: masks of one size, scaled to the image's; a pixel of
    the picture has the colour of any that falls into it, so that thin lines stay.
    Raises ValueError if `image` is not such an array.
    """
    check(image)
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
