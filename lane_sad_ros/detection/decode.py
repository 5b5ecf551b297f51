"""From the peaks of sampled rows (`peaks`) to lanes."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.lanes import Decoding, Lane, LaneLayout, Lanes

# A lane does not move further than this between two rows, as a share of the crop's width per
# share of its height; more is a jump to another object.
_MAX_SLOPE = 6.0
# Two pieces of a lane belong together if the gap's slope is this near to that of either piece.
_MAX_BEND = 1.5
# Of the spline through a lane's points: it evens out wiggles of less than about five rows.
_STIFFNESS = 30.0


def lanes_from_peaks(
    columns: NDArray[np.float32],
    scores: NDArray[np.float32],
    existence: NDArray[np.float32] | None,
    rows: NDArray[np.float64],
    layout: LaneLayout,
    decoding: Decoding,
    image_size: tuple[int, int],
) -> Lanes:
    """The lanes of one image.

    columns, scores: lanes×rows as of `RowPeaks`, rows its reference rows; existence: probabilities
    per lane, or None for a network without the head. There a lane exists if it has enough points,
    and its probability is the mean score of its points, 0 if it is absent.
    """
    left, top, right, bottom = layout.crop_of(image_size)
    us = left + (columns.astype(np.float64) + 0.5) * (right - left) / layout.input_size[0] - 0.5
    vs = (rows + 0.5) * image_size[1] / layout.image_size[1] - 0.5
    aspect = (right - left) / (bottom - top)
    margin = decoding.side_margin * (right - left) / layout.input_size[0]
    sides = (left + margin, right - margin)
    lanes = []
    for slot in range(len(layout.slots)):
        probability = float(existence[slot]) if existence is not None else 1.0
        points: NDArray[np.float32] = np.empty((0, 3), np.float32)
        if probability > decoding.existence_threshold or existence is None:
            points = _lane_points(us[slot], vs, scores[slot], decoding, sides, aspect)
        exists = len(points) >= decoding.min_points
        if existence is None:
            probability = float(points[:, 2].mean()) if exists else 0.0
        lanes.append(Lane(slot, exists, probability, points if exists else points[:0]))
    return Lanes(image_size, tuple(lanes))


def _lane_points(
    us: NDArray[np.float64],
    vs: NDArray[np.float64],
    scores: NDArray[np.float32],
    decoding: Decoding,
    sides: tuple[float, float],
    aspect: float,
) -> NDArray[np.float32]:
    """N×3 of (u, v, score), bottom to top, one a row, from the lane's first row to its last."""
    found = np.flatnonzero(scores > decoding.point_threshold)
    if len(found) < decoding.min_points:
        return np.empty((0, 3), np.float32)
    found = _connected(found, us, vs, scores, aspect)
    found = found[: _rows_inside(us[found], vs[found], sides)]
    rows = slice(found[0], found[-1] + 1)
    weights = np.zeros(len(us))
    weights[found] = scores[found]
    columns = _spline(us[rows], weights[rows])
    points = np.column_stack([columns, vs[rows], scores[rows]]).astype(np.float32)
    return points[::-1]


def _spline(us: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The paper's spline through the columns of consecutive rows, a smoothing one.

    It minimises sum(weights * (spline - us)²) + STIFFNESS * sum(second differences²), so that rows
    without a peak (weight 0) are filled in. The first and last weight are not 0.
    """
    if len(us) < 3:
        return us
    terms = np.diag(weights) + _bends(len(us))
    return np.asarray(np.linalg.solve(terms, weights * us), np.float64)


@functools.lru_cache
def _bends(rows: int) -> NDArray[np.float64]:
    """STIFFNESS * sum(second differences²) as a square matrix."""
    bends = np.diff(np.eye(rows), 2, axis=0)
    return np.asarray(_STIFFNESS * bends.T @ bends, np.float64)


def _rows_inside(
    us: NDArray[np.float64], vs: NDArray[np.float64], sides: tuple[float, float]
) -> int:
    """How many points, from the top, come before the lane runs out through one of the sides.

    Below, the crop's border cuts the maps, and their peaks run down along it.
    """
    if len(us) < 5:
        return len(us)
    slopes = (us[3:-1] - us[:-4]) / (vs[3:-1] - vs[:-4])  # of the three rows before each
    expected = us[3:-1] + slopes * (vs[4:] - vs[3:-1])
    # A lane that comes in from a side may begin beyond the margin.
    leaves_left = (expected < sides[0] - 0.5) & (slopes < 0)
    leaves_right = (expected > sides[1] - 0.5) & (slopes > 0)
    outside = np.flatnonzero(leaves_left | leaves_right)
    return 4 + int(outside[0]) if len(outside) else len(us)


def _connected(
    found: NDArray[np.intp],
    us: NDArray[np.float64],
    vs: NDArray[np.float64],
    scores: NDArray[np.float32],
    aspect: float,
) -> NDArray[np.intp]:
    """The rows of the strongest unbroken piece of a lane and of the pieces that continue it."""
    slopes = np.diff(us[found]) / np.diff(vs[found])
    breaks = np.flatnonzero(np.abs(slopes) > _MAX_SLOPE * aspect)
    pieces = np.split(found, breaks + 1)
    if len(pieces) == 1:
        return found
    strongest = int(np.argmax([scores[piece].sum() for piece in pieces]))
    kept = pieces[strongest]
    for piece in pieces[strongest + 1 :]:
        if _continues(kept[-4:], piece[:4], us, vs, aspect):
            kept = np.concatenate([kept, piece])
    for piece in pieces[:strongest][::-1]:
        if _continues(piece[-4:], kept[:4], us, vs, aspect):
            kept = np.concatenate([piece, kept])
    return kept


def _continues(
    upper: NDArray[np.intp],
    lower: NDArray[np.intp],
    us: NDArray[np.float64],
    vs: NDArray[np.float64],
    aspect: float,
) -> bool:
    """Whether the step between two pieces has the slope of both their ends."""
    step = (us[lower[0]] - us[upper[-1]]) / (vs[lower[0]] - vs[upper[-1]])
    ends = [
        (us[piece[-1]] - us[piece[0]]) / (vs[piece[-1]] - vs[piece[0]])
        for piece in (upper, lower)
        if len(piece) > 1
    ]
    return bool(ends) and all(abs(step - end) < _MAX_BEND * aspect for end in ends)
