"""From the peaks of sampled rows (`peaks`) to lanes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.lanes import Decoding, Lane, LaneLayout, Lanes

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

# A lane does not move further than this between two rows, as a share of the crop's width per
# share of its height; more is a jump to another object.
_MAX_SLOPE = 6.0
# Two pieces of a lane belong together if the gap's slope is this near to that of either piece.
_MAX_BEND = 1.5
# Of the spline through a lane's points: it evens out wiggles of less than about five rows.
_STIFFNESS = 30.0
_NO_POINTS = np.empty((0, 3), np.float32)


def lanes_from_peaks(
    columns: NDArray[np.float32],
    scores: NDArray[np.float32],
    existence: NDArray[np.float32] | None,
    rows: Floats,
    layout: LaneLayout,
    decoding: Decoding,
    image_sizes: Sequence[tuple[int, int]],
) -> list[Lanes]:
    """The lanes of each image of a batch.

    columns, scores: images×lanes×rows as of `RowPeaks`, rows its reference rows; existence:
    probabilities images×lanes, or None for a network without the head. There a lane exists if it
    has enough points, and its probability is the mean score of its points, 0 if it is absent.
    image_sizes: (width, height) of each image.
    """
    found = scores > decoding.point_threshold
    if existence is not None:
        found &= (existence > decoding.existence_threshold)[..., None]
    chosen = np.nonzero(found.sum(axis=-1) >= decoding.min_points)
    points: dict[tuple[int, int], NDArray[np.float32]] = {}  # by image and slot
    if len(chosen[0]):
        scores = scores[chosen]
        lines = _lines(columns[chosen].astype(np.float64), scores, found[chosen], layout, decoding)
        sizes = np.array(image_sizes)[chosen[0], :, None]
        crops = np.array([layout.crop_of(size) for size in image_sizes])[chosen[0], :, None]
        scale = (crops[:, 2] - crops[:, 0]) / layout.input_size[0]
        whole = np.empty((*lines.rows.shape, 3), np.float32)
        whole[..., 0] = crops[:, 0] + (lines.columns + 0.5) * scale - 0.5
        whole[..., 1] = (rows[lines.rows] + 0.5) * sizes[:, 1] / layout.image_size[1] - 0.5
        whole[..., 2] = scores[np.arange(len(scores))[:, None], lines.rows]
        for image, slot, line, length in zip(*chosen, whole, lines.lengths, strict=True):
            points[image, slot] = line[:length][::-1]
    result = []
    for index, size in enumerate(image_sizes):
        lanes = []
        for slot in range(len(layout.slots)):
            its = points.get((index, slot), _NO_POINTS)
            exists = len(its) >= decoding.min_points
            if existence is None:
                probability = float(its[:, 2].mean()) if exists else 0.0
            else:
                probability = float(existence[index, slot])
            lanes.append(Lane(slot, exists, probability, its if exists else _NO_POINTS))
        result.append(Lanes(size, tuple(lanes)))
    return result


class _Lines(NamedTuple):
    """Lanes as columns of consecutive rows.

    columns: float64 lanes×N, of the network; rows: lanes×N, top to bottom, which of those sampled;
    lengths: how many of the N are the lane's.
    """

    columns: Floats
    rows: Indices
    lengths: Indices


def _lines(
    us: Floats,
    scores: NDArray[np.float32],
    found: NDArray[np.bool_],
    layout: LaneLayout,
    decoding: Decoding,
) -> _Lines:
    """From a lane's first row to its last, one point a row.

    us, scores, found: lanes×rows, network columns of the peaks, and which rows have one: at least
    one of each lane. All lanes of a batch are computed at once: most of the time that one takes is
    NumPy's for a call.
    """
    width = layout.input_size[0]
    _, top, _, bottom = layout.crop
    # Columns a row, of a slope of one width of the crop per height of it.
    unit = width * decoding.rows[2] / (bottom - top)
    all_lanes = np.arange(len(us))[:, None]
    at, counts = _gathered(found)
    columns = us[all_lanes, at]
    steps = np.abs(columns[:, 1:] - columns[:, :-1]) > _MAX_SLOPE * unit * (at[:, 1:] - at[:, :-1])
    broken = (steps & (np.arange(1, at.shape[1]) < counts[:, None])).any(axis=1)
    for lane in np.flatnonzero(broken):
        kept = _connected(at[lane, : counts[lane]], us[lane], scores[lane], unit)
        found[lane] = False
        found[lane, kept] = True
    if broken.any():
        at, counts = _gathered(found)
        columns = us[all_lanes, at]
    counts = _counts_inside(columns, at, counts, width, decoding.side_margin)
    first = at[:, 0]
    lengths = at[all_lanes[:, 0], counts - 1] - first + 1
    offsets = np.arange(lengths.max())
    rows = np.minimum(first[:, None] + offsets, us.shape[1] - 1)
    used = found[all_lanes, rows] & (offsets < lengths[:, None])
    weights = np.where(used, scores[all_lanes, rows], 0.0)
    return _Lines(_splines(us[all_lanes, rows], weights, lengths), rows, lengths)


def _gathered(found: NDArray[np.bool_]) -> tuple[Indices, Indices]:
    """The indices of true values, those of each row in front, and their numbers."""
    counts = found.sum(axis=1)
    return np.argsort(~found, axis=1, kind="stable")[:, : counts.max()], counts


def _splines(us: Floats, weights: Floats, lengths: Indices) -> Floats:
    """The paper's spline through each lane's columns of consecutive rows, a smoothing one.

    It minimises sum(weights * (spline - us)²) + STIFFNESS * sum(second differences²) over the first
    `lengths` columns, so that rows without a peak (weight 0) are filled in. Of these the first and
    last weight are not 0.
    """
    lanes, rows = us.shape
    # 1 for each three rows that a lane has, between two zeros on either side.
    bends = np.zeros((lanes, rows + 4))
    bends[:, 2:-2] = _STIFFNESS * (np.arange(rows) < lengths[:, None] - 2)
    terms = np.zeros((lanes, rows * rows))
    diagonal = terms[:, :: rows + 1]
    diagonal += weights + bends[:, 2:-2] + 4 * bends[:, 1:-3] + bends[:, :-4]
    diagonal += np.arange(rows) >= lengths[:, None]  # whatever it is, the equations have a solution
    beside = -2 * (bends[:, 2:-3] + bends[:, 1:-4])
    terms[:, 1 :: rows + 1] = terms[:, rows :: rows + 1] = beside
    beside = bends[:, 2:-4]
    terms[:, 2 : rows * (rows - 2) : rows + 1] = terms[:, 2 * rows :: rows + 1] = beside
    solved = np.linalg.solve(terms.reshape(lanes, rows, rows), (weights * us)[..., None])
    return np.asarray(solved[..., 0], np.float64)


def _counts_inside(us: Floats, at: Indices, counts: Indices, width: int, margin: float) -> Indices:
    """How many points, from the top, come before each lane runs out through one of the sides.

    us: columns in rows `at`, lanes×N, of which `counts` are points. Below, the crop's border cuts
    the maps, and their peaks run down along it.
    """
    if us.shape[1] < 5:
        return counts
    slopes = (us[:, 3:-1] - us[:, :-4]) / (at[:, 3:-1] - at[:, :-4])  # of the three rows before
    expected = us[:, 3:-1] + slopes * (at[:, 4:] - at[:, 3:-1]) + 0.5
    # A lane that comes in from a side may begin beyond the margin.
    leaves = (expected < margin) & (slopes < 0) | (expected > width - margin) & (slopes > 0)
    leaves &= np.arange(4, us.shape[1]) < counts[:, None]
    return np.where(leaves.any(axis=1), 4 + leaves.argmax(axis=1), counts)


def _connected(found: Indices, us: Floats, scores: NDArray[np.float32], unit: float) -> Indices:
    """The rows of the strongest unbroken piece of a lane and of the pieces that continue it.

    found: rows with a peak; us, scores: of all rows. unit: columns a row at a slope of 1.
    """
    slopes = np.diff(us[found]) / np.diff(found)
    breaks = np.flatnonzero(np.abs(slopes) > _MAX_SLOPE * unit)
    pieces = np.split(found, breaks + 1)
    strongest = int(np.argmax([scores[piece].sum() for piece in pieces]))
    kept = pieces[strongest]
    for piece in pieces[strongest + 1 :]:
        if _continues(kept[-4:], piece[:4], us, unit):
            kept = np.concatenate([kept, piece])
    for piece in pieces[:strongest][::-1]:
        if _continues(piece[-4:], kept[:4], us, unit):
            kept = np.concatenate([piece, kept])
    return kept


def _continues(upper: Indices, lower: Indices, us: Floats, unit: float) -> bool:
    """Whether the step between two pieces has the slope of both their ends."""
    step = (us[lower[0]] - us[upper[-1]]) / (lower[0] - upper[-1])
    ends = [
        (us[piece[-1]] - us[piece[0]]) / (piece[-1] - piece[0])
        for piece in (upper, lower)
        if len(piece) > 1
    ]
    return bool(ends) and all(abs(step - end) < _MAX_BEND * unit for end in ends)
