"""What pictures are drawn with: lane lines that narrow with the distance, outlines, polylines.

Images are H×W×3 uint8 in BGR order. Points are (u, v) in pixels, between pixels too.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.lanes import Lanes
from lane_sad_ros.pictures.colours import Colour, opacity

Image = NDArray[np.uint8]

FONT = cv2.FONT_HERSHEY_SIMPLEX
CASING: Colour = (20, 20, 20)
"""The edge of a lane line, which keeps it readable on bright ground."""

_FRACTION_BITS = 4  # of the fixed-point coordinates that OpenCV draws between pixels with
_FAR_OUT = 1e4  # pixels; further out, fixed-point coordinates overflow


def check_image(image: Image) -> None:
    """Raises ValueError for what is not an image to draw on."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(
            f"an overlay needs an H×W×3 uint8 image, not {image.dtype} of shape {image.shape}"
        )


def curves(lanes: Lanes, canvas: Image) -> dict[int, NDArray[np.float64]]:
    """The curves, N×2, of the lanes that exist, by slot, in pixels of the canvas."""
    scale = np.divide(canvas.shape[1::-1], lanes.image_size)
    return {
        lane.slot: _smooth(lane.points[:, :2] * scale) for lane in lanes.present if len(lane.points)
    }


def draw_curve(
    canvas: Image,
    curve: NDArray[np.float64],
    colour: Colour,
    *,
    probability: float = 1.0,
    is_ego: bool = True,
    edge: Colour = CASING,
) -> None:
    """Draws a curve N×2 as a ribbon that fades with the probability.

    is_ego: whether it bounds the ego lane, whose lines are wider. edge: another than `CASING`, to
    stand out, is wider too.
    """
    height = canvas.shape[0]
    near = max(2.0, height / (95 if is_ego else 150))
    casing = max(0.8, height / 600) * (1.0 if edge == CASING else 2.5)
    if len(curve) == 1:
        curve = curve + np.array([[0, -near / 2], [0, near / 2]])
    # Like the painted line, the drawn one is widest at the bottom of the image.
    share = np.clip(curve[:, 1] / height, 0.0, 1.0) ** 2
    half = 0.5 * near * (0.3 + 0.7 * share)
    outlines = [(_ribbon(curve, half + casing), edge), (_ribbon(curve, half), colour)]
    paint(canvas, outlines, alpha=opacity(probability))


def paint(canvas: Image, outlines: list[tuple[NDArray[np.float64], Colour]], alpha: float) -> None:
    """Fills anti-aliased outlines, M×2, over each other, then blends them in at `alpha`."""
    corners = np.concatenate([outline for outline, _ in outlines])
    limits = np.array(canvas.shape[1::-1])
    low = np.clip(np.floor(corners.min(axis=0)) - 2, 0, limits).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0)) + 3, 0, limits).astype(int)
    part = canvas[low[1] : high[1], low[0] : high[0]]
    if part.size == 0:
        return
    layer = part.copy()
    for outline, colour in outlines:
        cv2.fillPoly(layer, [_fixed(outline - low)], colour, cv2.LINE_AA, _FRACTION_BITS)
    part[:] = cv2.addWeighted(layer, alpha, part, 1 - alpha, 0)


def draw_polyline(
    canvas: Image, points: NDArray[np.float64], colour: Colour, thickness: int
) -> None:
    """Draws a line of one thickness through points N×2, broken where they are NaN."""
    known = np.isfinite(points).all(axis=1)
    for part in np.split(points, np.flatnonzero(~known)):
        part = part[np.isfinite(part).all(axis=1)]
        if len(part):
            fixed = _fixed(np.clip(part, -_FAR_OUT, _FAR_OUT))
            cv2.polylines(canvas, [fixed], False, colour, thickness, cv2.LINE_AA, _FRACTION_BITS)


def _fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Points N×2 in OpenCV's fixed point."""
    return np.rint(points * 2**_FRACTION_BITS).astype(np.int32)


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


def _ribbon(line: NDArray[np.float64], half: NDArray[np.float64]) -> NDArray[np.float64]:
    """The outline, M×2, of a line N×2 that is `half` pixels, N, wide to each side."""
    along = np.gradient(line, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) * half[:, None]
    return np.concatenate([line + across, (line - across)[::-1]])
