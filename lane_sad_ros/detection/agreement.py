"""How far the lanes of one engine are from those of another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.lanes import Lane, Lanes

FLAGS = 0.995
"""The share of slots that must exist or not in both."""


class Agreement:
    """Collects pairs of the same frames' lanes."""

    def __init__(self) -> None:
        self._equal: list[bool] = []
        self._distances: list[NDArray[np.float64]] = []

    def add(self, reference: Lanes, lanes: Lanes) -> None:
        """Compares the lanes of one frame, slot by slot."""
        for expected, found in zip(reference, lanes, strict=True):
            self._equal.append(expected.exists == found.exists)
            if expected.exists and found.exists:
                self._distances.append(_distances(expected, found))

    @property
    def flags(self) -> float:
        """The share of slots that exist or not in both; 1 without slots."""
        return float(np.mean(self._equal)) if self._equal else 1.0

    def pixels(self, percentile: float = 99) -> float:
        """That percentile of the distances of points in the same row, pixels; 0 without any."""
        distances = np.concatenate([np.zeros(0), *self._distances])
        return float(np.percentile(distances, percentile)) if len(distances) else 0.0

    def within(self, bound: float, percentile: float = 99) -> bool:
        """Whether the flags agree and the points are within `bound` pixels."""
        return self.flags >= FLAGS and self.pixels(percentile) <= bound


def _distances(expected: Lane, found: Lane) -> NDArray[np.float64]:
    """Of points in rows that both lanes have."""
    rows, mine, theirs = np.intersect1d(
        expected.points[:, 1].round(3), found.points[:, 1].round(3), return_indices=True
    )
    if len(rows) == 0:
        return np.full(1, np.inf)  # two lanes that have no row in common are not the same
    return np.abs(expected.points[mine, 0].astype(np.float64) - found.points[theirs, 0])
