"""One picture, without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Frame:
    """One camera image: uint8 H×W×3 or H×W (grey), possibly a strided view, never written to.

    order: of the three channels, "bgr" or "rgb".
    """

    pixels: NDArray[np.uint8]
    order: str = "bgr"

    def __post_init__(self) -> None:
        if self.pixels is None:
            raise ValueError(
                "None is no image; cv2.imread gives it for a file that is not there or no image"
            )
        shape = self.pixels.shape
        if self.pixels.dtype != np.uint8 or not (
            len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
        ):
            raise ValueError(
                f"a frame is uint8 of height x width x 3 or height x width, not "
                f"{self.pixels.dtype} of {'x'.join(map(str, shape))}"
            )
        if 0 in shape:
            raise ValueError(f"a frame of {'x'.join(map(str, shape))} holds no pixels")
        if self.order not in ("bgr", "rgb"):
            raise ValueError(f'the channel order is "bgr" or "rgb", not {self.order!r}')

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]
