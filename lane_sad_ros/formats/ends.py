"""Where a labelled line ends: a convention of each data set, not of the road.

TuSimple's lines end where they leave the image or are no longer seen. CULane's run through whatever
hides them, the car's own bonnet too, to the image's last row. Labels made of the paint end with the
last dash.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Points that continue a line lie this far apart, in rows.
_STEP = 10.0

# Turns of a fit that leaves out what does not fit.
_TURNS = 5


def cut_below(lane: NDArray[np.float32], row: float) -> NDArray[np.float32]:
    """The part of a polyline N×2 of (u, v) that is not below a row; nothing of one that is."""
    upwards = _upwards(lane)
    kept = upwards[upwards[:, 1] <= row]
    if len(kept) in (0, len(upwards)) or kept[0, 1] == row:
        return kept
    below, above = upwards[len(upwards) - len(kept) - 1], kept[0]
    share = (row - above[1]) / (below[1] - above[1])
    foot = above + share * (below - above)
    return np.concatenate([foot[None], kept]).astype(np.float32)


def continued_to(lane: NDArray[np.float32], row: float) -> NDArray[np.float32]:
    """A polyline N×2 of (u, v), from its bottom up, with a straight end down, or up, to a row.

    The end has the direction of the third of the line that is nearest to it. A line that passes
    the row, or whose end lies in one row, stays as it is.
    """
    upwards = _upwards(lane)
    low, high = upwards[0, 1], upwards[-1, 1]
    if len(upwards) < 2 or high <= row <= low:
        return upwards
    down = row > low
    end, part = (upwards[0], _third(upwards)) if down else (upwards[-1], _third(upwards[::-1]))
    if np.ptp(part[:, 1]) < 1e-3:
        return upwards
    slope = np.polyfit(part[:, 1].astype(np.float64), part[:, 0].astype(np.float64), 1)[0]
    steps = max(1, int(np.ceil(abs(row - end[1]) / _STEP)))
    rows = np.linspace(end[1], row, steps + 1)[1:]
    added = np.stack([end[0] + slope * (rows - end[1]), rows], axis=1).astype(np.float32)
    return np.concatenate([added[::-1], upwards] if down else [upwards, added])


def straightened(lane: NDArray[np.float32], near: float) -> NDArray[np.float32]:
    """A polyline N×2 of (u, v) without the bends that few of its points make, as at a guessed end.

    It is the straight line that most points lie on (least squares, weights 1 / (1 + (d / near)²)
    found in turns), over the same rows; the polyline itself where half of the points lie further
    than `near` pixels from that line.
    """
    rows, columns = lane[:, 1].astype(np.float64), lane[:, 0].astype(np.float64)
    if len(lane) < 3 or np.ptp(rows) < 1:
        return lane
    away: NDArray[np.float64] = np.zeros(len(lane))
    for _ in range(_TURNS):
        line = np.polyfit(rows, columns, 1, w=1 / np.sqrt(1 + (away / near) ** 2))
        away = np.abs(np.polyval(line, rows) - columns)
    if np.median(away) > near:
        return lane
    return np.stack([np.polyval(line, rows), rows], axis=1).astype(np.float32)


def vanishing_row(lanes: Sequence[NDArray[np.float32]], height: int) -> float | None:
    """The row where the lanes' lower halves meet, the median of all pairs'.

    None where no two lanes say so, or where it is no horizon of an image of this height.
    """
    lines = []
    for lane in lanes:
        lower = lane[np.argsort(lane[:, 1])][len(lane) // 2 :]
        if len(lower) >= 3 and np.ptp(lower[:, 1]) > 0.05 * height:
            lines.append(np.polyfit(lower[:, 1], lower[:, 0], 1))
    rows = [
        (b[1] - a[1]) / (a[0] - b[0])
        for i, a in enumerate(lines)
        for b in lines[i + 1 :]
        if abs(a[0] - b[0]) > 0.2  # columns per row
    ]
    row = float(np.median(rows)) if rows else 0.0
    return row if 0.15 * height < row < 0.65 * height else None


def _upwards(lane: NDArray[np.float32]) -> NDArray[np.float32]:
    return lane[np.argsort(-lane[:, 1], kind="stable")]


def _third(line: NDArray[np.float32]) -> NDArray[np.float32]:
    return line[: max(2, len(line) // 3)]
