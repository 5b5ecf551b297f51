"""How many frames come in a second, by their own times."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

FIRST = 100
"""How many frames are looked at."""


def rate_of(times_ns: Sequence[int]) -> float | None:
    """Hz, by the median step between times in nanoseconds; None where none is later."""
    steps = [after - before for before, after in pairwise(times_ns) if after > before]
    return 1e9 / median(steps) if steps else None
