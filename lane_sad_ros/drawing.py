"""Lanes on pictures: overlays for people to look at, and sheets of them.

Images are H×W×3 uint8 in BGR order. Everything is scaled to the image, so that an overlay of a
320-pixel picture and of a full-HD one look alike.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.ego import EgoLane
from lane_sad_ros.lanes import Lane, Lanes

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

# Colours of Okabe and Ito's palette, told apart by colour-blind readers too; BGR. The ego pair,
# first in each row, has the two that stand out most from asphalt by day and by night.
_LEFT: tuple[Colour, ...] = ((255, 200, 40), (115, 190, 0), (200, 114, 0))
_RIGHT: tuple[Colour, ...] = ((0, 159, 255), (200, 110, 220), (66, 228, 240))
_MIDDLE: Colour = (255, 255, 255)
EGO_COLOUR: Colour = (150, 220, 120)
"""Of the ego lane between its borders, BGR."""
_CASING: Colour = (20, 20, 20)
_WRONG: Colour = (40, 40, 190)
_FOUND: Colour = (233, 180, 86)
_FALSE: Colour = (0, 159, 230)
_MISSED: Colour = (200, 110, 220)
_FRACTION_BITS = 4  # of the fixed-point coordinates that OpenCV draws between pixels with
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_STRAIGHT = 3000.0  # metres of radius from which on a lane looks straight
# The longest that figures of the ego lane and the rate become.
_WIDEST = (
    "offset 0.00 m right",
    "width 0.00 m",
    "heading 00.0 deg right",
    "radius 0000 m right",
    "000.0 Hz",
)


def slot_colour(slot: int, slots: int) -> Colour:
    """The BGR colour of lane slot `slot` of `slots`, counted from the left.

    The colour tells the side and the distance from the ego lane, so that right_1 looks the same
    with four slots and with six. The middle of an odd number of slots is white.
    """
    if not 0 <= slot < slots:
        raise ValueError(f"slot {slot} is not one of {slots} slots")
    if slots % 2 and slot == slots // 2:
        return _MIDDLE
    if slot < slots // 2:
        return _LEFT[(slots // 2 - 1 - slot) % len(_LEFT)]
    return _RIGHT[(slot - (slots + 1) // 2) % len(_RIGHT)]


def slot_label(slot: int, slots: int) -> str:
    """The short name of a slot: L1 and R1 bound the ego lane, L2, L3 ... lie further out."""
    if not 0 <= slot < slots:
        raise ValueError(f"slot {slot} is not one of {slots} slots")
    if slots % 2 and slot == slots // 2:
        return "M"
    if slot < slots // 2:
        return f"L{slots // 2 - slot}"
    return f"R{slot - (slots + 1) // 2 + 1}"


def opacity(probability: float) -> float:
    """How opaque a lane of this probability is drawn, 0.25 to 1."""
    return float(np.clip(0.25 + 0.75 * probability, 0.25, 1.0))


def ego_words(ego: EgoLane) -> list[str]:
    """The figures of a valid ego lane: offset, width, heading and radius, a few words each."""
    bend = f"radius {1 / abs(ego.curvature):.0f} m {_side(ego.curvature)}"
    return [
        f"offset {abs(ego.lateral_offset):.2f} m {_side(ego.lateral_offset)}",
        f"width {ego.width:.2f} m",
        f"heading {abs(math.degrees(ego.heading)):.1f} deg {_side(ego.heading)}",
        bend if abs(ego.curvature) * _STRAIGHT > 1 else "straight",
    ]


def _side(value: float) -> str:
    return "left" if value > 0 else "right"


def draw_lanes(
    image: Image,
    lanes: Lanes,
    *,
    ego: EgoLane | None = None,
    rate: float | None = None,
    copy: bool = True,
) -> Image:
    """Draw lanes and their existence flags on an image.

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
    _check(image)
    canvas = np.array(image, order="C") if copy else image
    lines = _lines(lanes, canvas)
    slots = len(lanes.lanes)

    left, right = slots // 2 - 1, (slots + 1) // 2
    if left in lines and right in lines:
        _fill_between(canvas, lines[left], lines[right])
    # Outer lanes first: where lines meet towards the horizon, the ego pair lies on top.
    for lane in sorted(lanes.lanes, key=lambda lane: -abs(2 * lane.slot - slots + 1)):
        if lane.slot in lines:
            is_ego = lane.slot in (left, right)
            colour = slot_colour(lane.slot, slots)
            _draw_line(canvas, lines[lane.slot], colour, lane.probability, is_ego)
    words = ego_words(ego) if ego is not None and ego.valid else []
    words += [f"{rate:.1f} Hz"] if rate is not None else [""] * bool(words)
    _draw_legend(canvas, lanes.lanes, words)
    return canvas


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
    _check(image)
    canvas = np.array(image, order="C")
    found, true = _lines(prediction, canvas), _lines(truth, canvas)
    slots = max(len(prediction.lanes), *(slot + 1 for slot in (0, *found)))
    if not named:
        slots += slots % 2  # none in the middle, whose white is that of the truth
    for slot, line in found.items():
        edge = _WRONG if slot in false else _CASING
        _draw_line(canvas, line, slot_colour(slot, slots), 1.0, is_ego=True, edge=edge)
    for slot, line in true.items():
        _draw_dashes(canvas, line, _WRONG if slot in missed else _CASING)
    tags = [(true[slot], "missed", _WRONG) for slot in true if slot in missed]
    for slot, line in found.items():
        words = [slot_label(slot, slots)] if named else []
        words += ["false"] if slot in false else []
        if words:
            tags.append((line, " ".join(words), _WRONG if slot in false else _CASING))
    tags.sort(key=lambda tag: tag[2] != _WRONG)  # what is wrong has the first choice of a place
    _draw_tags(canvas, tags)
    return canvas


def draw_masks(image: Image, truth: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> Image:
    """Paint lane pixels on a copy of an image: found blue, falsely predicted orange, missed pink.

    image: H×W×3 uint8 BGR. truth, prediction: masks of one size, scaled to the image's; a pixel of
    the picture has the colour of any that falls into it, so that thin lines stay.
    Raises ValueError if `image` is not such an array.
    """
    _check(image)
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
    font_scale = cell_width / 1100
    (_, text_height), baseline = cv2.getTextSize("Lg", _FONT, font_scale, 1)
    title_height = text_height + baseline + 8
    cells = []
    for image, title in zip(images, titles, strict=True):
        cell_height = max(1, round(cell_width * image.shape[0] / image.shape[1]))
        picture = cv2.resize(image, (cell_width, cell_height), interpolation=cv2.INTER_AREA)
        cell = np.full((cell_height + title_height, cell_width, 3), 24, np.uint8)
        cell[:cell_height] = picture
        origin = (2, cell_height + text_height + 4)
        cv2.putText(cell, title, origin, _FONT, font_scale, (225, 225, 225), 1, cv2.LINE_AA)
        cells.append(cell)
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    heights = [max(cell.shape[0] for cell in row) + gap for row in rows]
    sheet = np.full((sum(heights) + gap, columns * (cell_width + gap) + gap, 3), 24, np.uint8)
    top = gap
    for row, height in zip(rows, heights, strict=True):
        for index, cell in enumerate(row):
            left = gap + index * (cell_width + gap)
            sheet[top : top + cell.shape[0], left : left + cell_width] = cell
        top += height
    return sheet


def _check(image: Image) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(
            f"an overlay needs an H×W×3 uint8 image, not {image.dtype} of shape {image.shape}"
        )


def _lines(lanes: Lanes, canvas: Image) -> dict[int, NDArray[np.float64]]:
    """The curves, N×2, of the lanes that exist, by slot, in pixels of the canvas."""
    scale = np.divide(canvas.shape[1::-1], lanes.image_size)
    return {
        lane.slot: _smooth(lane.points[:, :2] * scale) for lane in lanes.present if len(lane.points)
    }


def _smooth(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """N×2 points with up to 7 more between two of them, on a Catmull-Rom curve."""
    if len(points) < 3:
        return points
    first, last = 2 * points[:1] - points[1:2], 2 * points[-1:] - points[-2:-1]
    padded = np.concatenate([first, points, last])
    before, start, stop, after = (padded[i : len(padded) - 3 + i, None] for i in range(4))
    longest = float(np.abs(np.diff(points, axis=0)).max())
    parts = int(np.clip(math.ceil(longest / 6), 1, 8))
    t = np.arange(parts)[None, :, None] / parts
    slope = stop - before
    bend = 2 * before - 5 * start + 4 * stop - after
    twist = 3 * (start - stop) + after - before
    curve = start + 0.5 * t * (slope + t * (bend + t * twist))
    return np.concatenate([curve.reshape(-1, 2), points[-1:]])


def _draw_line(
    canvas: Image,
    line: NDArray[np.float64],
    colour: Colour,
    probability: float,
    is_ego: bool,
    edge: Colour = _CASING,
) -> None:
    """A ribbon along the line with an edge, whose dark keeps it readable on bright ground."""
    height = canvas.shape[0]
    near = max(2.0, height / (95 if is_ego else 150))
    casing = max(0.8, height / 600)
    if len(line) == 1:
        line = line + np.array([[0, -near / 2], [0, near / 2]])
    # Like the painted line, the drawn one is widest at the bottom of the image.
    share = np.clip(line[:, 1] / height, 0.0, 1.0) ** 2
    half = 0.5 * near * (0.3 + 0.7 * share)
    if edge != _CASING:
        casing *= 2.5
    outlines = [(_ribbon(line, half + casing), edge), (_ribbon(line, half), colour)]
    _paint(canvas, outlines, alpha=opacity(probability))


def _draw_dashes(canvas: Image, line: NDArray[np.float64], between: Colour) -> None:
    """A thin line, white and another colour in turn."""
    thickness = max(1, round(_usual_height(canvas) / 270))
    steps = np.linalg.norm(np.diff(line, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    dash = max(4.0, _usual_height(canvas) / 45)
    stops = np.arange(0.0, along[-1] + dash, dash).clip(max=along[-1])
    for index, (start, stop) in enumerate(pairwise(stops)):
        at = np.concatenate([[start], along[(along > start) & (along < stop)], [stop]])
        corners = np.stack([np.interp(at, along, line[:, axis]) for axis in (0, 1)], axis=1)
        fixed = np.rint(corners * 2**_FRACTION_BITS).astype(np.int32)
        colour = between if index % 2 else (255, 255, 255)
        cv2.polylines(canvas, [fixed], False, colour, thickness, cv2.LINE_AA, _FRACTION_BITS)


def _usual_height(canvas: Image) -> float:
    """The height, or half the width of a picture that is lower than usual."""
    return max(canvas.shape[0], canvas.shape[1] / 2)


def _draw_tags(canvas: Image, tags: Sequence[tuple[NDArray[np.float64], str, Colour]]) -> None:
    """A text on each line near its lower end, higher up where another is in the way."""
    height, width = canvas.shape[:2]
    font_scale = max(0.3, _usual_height(canvas) / 750)
    taken: list[tuple[int, int, int, int]] = []
    for line, text, colour in tags:
        (text_width, text_height), baseline = cv2.getTextSize(text, _FONT, font_scale, 1)
        half = text_width / 2 + 4
        tall = text_height + baseline + 4
        for u, v in line[np.argsort(-line[:, 1])]:
            left = round(min(max(u - half, 0), max(width - 2 * half, 0)))
            top = round(min(max(v - tall, 0), max(height - 1.5 * tall, 0)))
            box = (left, top, left + round(2 * half), top + tall)
            inside = 0 <= u < width and 0 <= v < 0.92 * height
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                cv2.rectangle(canvas, box[:2], box[2:], colour, cv2.FILLED)
                origin = (left + 4, top + text_height + 3)
                cv2.putText(canvas, text, origin, _FONT, font_scale, (255,) * 3, 1, cv2.LINE_AA)
                break


def _overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    """Whether two boxes (left, top, right, bottom) have a pixel in common."""
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]


def _ribbon(line: NDArray[np.float64], half: NDArray[np.float64]) -> NDArray[np.float64]:
    """The outline, M×2, of a line N×2 that is `half` pixels, N, wide to each side."""
    along = np.gradient(line, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) * half[:, None]
    return np.concatenate([line + across, (line - across)[::-1]])


def _fill_between(canvas: Image, left: NDArray[np.float64], right: NDArray[np.float64]) -> None:
    """Tint the ego lane over the rows that both its lines cover."""
    left, right = (_down_the_side(line, canvas) for line in (left, right))
    top, bottom = max(left[0, 1], right[0, 1]), min(left[-1, 1], right[-1, 1])
    if bottom <= top:
        return
    rows = np.linspace(top, bottom, 48)
    left_side = np.stack([np.interp(rows, left[:, 1], left[:, 0]), rows], axis=1)
    right_side = np.stack([np.interp(rows, right[:, 1], right[:, 0]), rows], axis=1)
    _paint(canvas, [(np.concatenate([left_side, right_side[::-1]]), EGO_COLOUR)], alpha=0.2)


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


def _paint(canvas: Image, outlines: list[tuple[NDArray[np.float64], Colour]], alpha: float) -> None:
    """Fill anti-aliased outlines, M×2 of (u, v), over each other, then blend them in at `alpha`."""
    corners = np.concatenate([outline for outline, _ in outlines])
    limits = np.array(canvas.shape[1::-1])
    low = np.clip(np.floor(corners.min(axis=0)) - 2, 0, limits).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0)) + 3, 0, limits).astype(int)
    part = canvas[low[1] : high[1], low[0] : high[0]]
    if part.size == 0:
        return
    layer = part.copy()
    for outline, colour in outlines:
        fixed = np.rint((outline - low) * 2**_FRACTION_BITS).astype(np.int32)
        cv2.fillPoly(layer, [fixed], colour, cv2.LINE_AA, _FRACTION_BITS)
    part[:] = cv2.addWeighted(layer, alpha, part, 1 - alpha, 0)


def _draw_legend(canvas: Image, lanes: Sequence[Lane], words: Sequence[str]) -> None:
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
        ink = (245, 245, 245) if lane.exists else (150, 150, 150)
        cv2.putText(strip, text, origin, _FONT, font_scale, ink, thickness, cv2.LINE_AA)
    if words:
        strip_top = top + strip_height + 1
        _draw_words(canvas, words, strip_top, strip_height, font_scale, thickness)


def _draw_words(
    canvas: Image, words: Sequence[str], top: int, height: int, font_scale: float, thickness: int
) -> None:
    """A strip of words, each in a place that is as wide as it can get, so that none dances."""
    widths = [
        cv2.getTextSize(widest + "  ", _FONT, font_scale, thickness)[0][0]
        for widest in _WIDEST[-len(words) :]
    ]
    shrink = min(1.0, 0.98 * canvas.shape[1] / sum(widths))
    left = round((canvas.shape[1] - shrink * sum(widths)) / 2)
    _darken(canvas[top : top + height, left : left + round(shrink * sum(widths))])
    base = round(top + height / 2 + shrink * font_scale * 10)
    for word, place in zip(words, np.cumsum([0, *widths[:-1]]), strict=True):
        origin = (round(left + shrink * (place + 10 * font_scale)), base)
        ink = (245, 245, 245)
        cv2.putText(canvas, word, origin, _FONT, shrink * font_scale, ink, thickness, cv2.LINE_AA)


def _darken(part: Image) -> None:
    part[:] = cv2.addWeighted(part, 0.3, np.full_like(part, 16), 0.7, 0)
