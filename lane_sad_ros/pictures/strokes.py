"""What is drawn with: lines that narrow with the distance, dashes, tags, words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.lanes import Lanes
from lane_sad_ros.pictures.colours import Colour, opacity

Image = NDArray[np.uint8]

CASING: Colour = (20, 20, 20)

FRACTION_BITS = 4  # of the fixed-point coordinates that OpenCV draws between pixels with

FONT = cv2.FONT_HERSHEY_SIMPLEX

# The longest that figures of the ego lane and the rate become.
_WIDEST = (
    "offset 0.00 m right",
    "width 0.00 m",
    "heading 00.0 deg right",
    "radius 0000 m right",
    "000.0 Hz",
)


def check(image: Image) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(
            f"an overlay needs an H×W×3 uint8 image, not {image.dtype} of shape {image.shape}"
        )


def lines_on(lanes: Lanes, canvas: Image) -> dict[int, NDArray[np.float64]]:
    """The curves, N×2, of the lanes that exist, by slot, in pixels of the canvas."""
    scale = np.divide(canvas.shape[1::-1], lanes.image_size)
    return {
        lane.slot: smooth(lane.points[:, :2] * scale) for lane in lanes.present if len(lane.points)
    }


def smooth(points: NDArray[np.float64]) -> NDArray[np.float64]:
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


def draw_line(
    canvas: Image,
    line: NDArray[np.float64],
    colour: Colour,
    probability: float,
    is_ego: bool,
    edge: Colour = CASING,
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
    if edge != CASING:
        casing *= 2.5
    outlines = [(ribbon(line, half + casing), edge), (ribbon(line, half), colour)]
    paint(canvas, outlines, alpha=opacity(probability))


def draw_dashes(canvas: Image, line: NDArray[np.float64], between: Colour) -> None:
    """A thin line, white and another colour in turn."""
    thickness = max(1, round(usual_height(canvas) / 270))
    steps = np.linalg.norm(np.diff(line, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    dash = max(4.0, usual_height(canvas) / 45)
    stops = np.arange(0.0, along[-1] + dash, dash).clip(max=along[-1])
    for index, (start, stop) in enumerate(pairwise(stops)):
        at = np.concatenate([[start], along[(along > start) & (along < stop)], [stop]])
        corners = np.stack([np.interp(at, along, line[:, axis]) for axis in (0, 1)], axis=1)
        fixed = np.rint(corners * 2**FRACTION_BITS).astype(np.int32)
        colour = between if index % 2 else (255, 255, 255)
        cv2.polylines(canvas, [fixed], False, colour, thickness, cv2.LINE_AA, FRACTION_BITS)


def usual_height(canvas: Image) -> float:
    """The height, or half the width of a picture that is lower than usual."""
    return max(canvas.shape[0], canvas.shape[1] / 2)


def draw_tags(canvas: Image, tags: Sequence[tuple[NDArray[np.float64], str, Colour]]) -> None:
    """A text on each line near its lower end, higher up where another is in the way."""
    height, width = canvas.shape[:2]
    font_scale = max(0.3, usual_height(canvas) / 750)
    taken: list[tuple[int, int, int, int]] = []
    for line, text, colour in tags:
        (text_width, text_height), baseline = cv2.getTextSize(text, FONT, font_scale, 1)
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
                cv2.putText(canvas, text, origin, FONT, font_scale, (255,) * 3, 1, cv2.LINE_AA)
                break


def _overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    """Whether two boxes (left, top, right, bottom) have a pixel in common."""
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]


def ribbon(line: NDArray[np.float64], half: NDArray[np.float64]) -> NDArray[np.float64]:
    """The outline, M×2, of a line N×2 that is `half` pixels, N, wide to each side."""
    along = np.gradient(line, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) * half[:, None]
    return np.concatenate([line + across, (line - across)[::-1]])


def paint(canvas: Image, outlines: list[tuple[NDArray[np.float64], Colour]], alpha: float) -> None:
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
        fixed = np.rint((outline - low) * 2**FRACTION_BITS).astype(np.int32)
        cv2.fillPoly(layer, [fixed], colour, cv2.LINE_AA, FRACTION_BITS)
    part[:] = cv2.addWeighted(layer, alpha, part, 1 - alpha, 0)


def draw_words(
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
        ink = (245, 245, 245)
        cv2.putText(canvas, word, origin, FONT, shrink * font_scale, ink, thickness, cv2.LINE_AA)


def _darken(part: Image) -> None:
    part[:] = cv2.addWeighted(part, 0.3, np.full_like(part, 16), 0.7, 0)
