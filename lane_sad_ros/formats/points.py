"""Numbers out of label files as points."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_BOUND = 1e9  # pixels or metres


def points(values: Any, axes: int) -> NDArray[np.float32]:
    """Numbers, in whatever nesting, as N×axes float32.

    Raises ValueError or TypeError where they are no numbers, not finite, or do not make points.
    """
    numbers = np.asarray(values, np.float64)
    if not (np.abs(numbers) < _BOUND).all():
        raise ValueError("a number that is not finite, or beyond 1e9")
    return numbers.astype(np.float32).reshape(-1, axes)
