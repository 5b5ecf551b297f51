"""From lane polylines to what the network learns: slots, a class map and existence flags."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

# A lane with less drawn area than this (pixels of the class map) is not worth calling present.
_MIN_AREA = 24


def assign_slots(
    lanes: Sequence[NDArray[np.float32]], slots: int, width: float, bottom: float
) -> list[NDArray[np.float32] | None]:
    """Lanes ordered around the ego lane: slot n/2-1 is the first to the left, n/2 to the right.

    lanes: polylines N×2 of (u, v). Each is continued along its lower end to the row `bottom` and
    compared there with the image's middle, width / 2. Lanes beyond the outermost slot are left out.
    """
    half = slots // 2
    left: list[tuple[float, NDArray[np.float32]]] = []
    right: list[tuple[float, NDArray[np.float32]]] = []
    for lane in lanes:
        if len(lane) < 2:
            continue
        lower = lane[np.argsort(lane[:, 1])][-max(2, len(lane) // 3) :]
        if np.ptp(lower[:, 1]) < 1e-3:
            continue
        slope, offset = np.polyfit(lower[:, 1], lower[:, 0], 1)
        distance = slope * bottom + offset - width / 2
        (right if distance >= 0 else left).append((abs(distance), lane))
    left.sort(key=lambda item: item[0])
    right.sort(key=lambda item: item[0])
    result: list[NDArray[np.float32] | None] = [None] * slots
    for order, (_, lane) in enumerate(left[:half]):
        result[half - 1 - order] = lane
    for order, (_, lane) in enumerate(right[: slots - half]):
        result[half + order] = lane
    return result


def draw_labels(
    lanes: Sequence[NDArray[np.float32] | None], size: tuple[int, int], thickness: float
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The class map H×W (0 background, 1 + slot) and the existence flags of lanes in slot order.

    size: (width, height) of the map; lanes: polylines in its pixels, None where absent;
    thickness: of the drawn lines, pixels of the map.
    """
    classes = np.zeros((size[1], size[0]), np.uint8)
    # Outer lanes first, so that the ego lanes stay whole where lanes meet near the horizon.
    middle = (len(lanes) - 1) / 2
    for slot in sorted(range(len(lanes)), key=lambda slot: -abs(slot - middle)):
        lane = lanes[slot]
        if lane is not None:
            draw_line(classes, lane, 1 + slot, thickness)
    areas = np.bincount(classes.ravel(), minlength=len(lanes) + 1)[1:]
    return classes, (areas >= _MIN_AREA).astype(np.float32)


def draw_line(
    classes: NDArray[np.uint8], lane: NDArray[np.float32], number: int, thickness: float
) -> None:
    """Draws a polyline into a class map as class `number`.

    thickness: of the line in pixels of the map, across; a line is one pixel thick at least.
    """
    start, end = lane[:-1].astype(np.float64), lane[1:].astype(np.float64)
    along = end - start
    length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-6)[:, None]
    # OpenCV fills the pixels that an outline touches too, one more across, and its own thick lines
    # have only odd widths, one or two too wide: hence one rectangle a piece, by a pixel narrower.
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) / length * max(0.0, (thickness - 1) / 2)
    corners = np.stack([start + across, end + across, end - across, start - across], axis=1)
    # Coordinates in 1/16 pixels: lines at network resolution need their fractions.
    for piece in np.round(np.clip(corners, -4000, 4000) * 16).astype(np.int32):
        cv2.fillConvexPoly(classes, piece, number, cv2.LINE_8, 4)
