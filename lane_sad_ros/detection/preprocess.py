"""From frames in host memory to the network's input on the device."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from lane_sad_ros.frames import Frame
from lane_sad_ros.lanes import LaneLayout


class Normalise(nn.Module):
    """Colours as the network takes them: (pixels / 255 - mean) / std, per RGB channel."""

    mean: Tensor
    scale: Tensor

    def __init__(self, layout: LaneLayout) -> None:
        super().__init__()
        shape = (3, 1, 1)
        self.register_buffer("mean", torch.tensor(layout.mean).view(shape) * 255.0)
        self.register_buffer("scale", 1.0 / (torch.tensor(layout.std).view(shape) * 255.0))

    def forward(self, pixels: Tensor) -> Tensor:
        """Of ...×3×H×W RGB, 0 to 255, of any number type: float32 in the same memory format."""
        return (pixels - self.mean) * self.scale


class Preprocessor:
    """Crop and resize (bilinear, antialiased), on the device."""

    def __init__(self, layout: LaneLayout, device: torch.device) -> None:
        self.layout = layout
        self.device = device
        self._batch = torch.empty(0)

    def __call__(self, frames: Sequence[Frame]) -> Tensor:
        """Pixels, uint8 B×3×H×W RGB in channels-last memory, of the layout's input size.

        The next call overwrites them.
        """
        width, height = self.layout.input_size
        if len(self._batch) != len(frames):
            self._batch = torch.empty(
                (len(frames), 3, height, width),
                dtype=torch.uint8,
                device=self.device,
                memory_format=torch.channels_last,
            )
        for target, frame in zip(self._batch, frames, strict=True):
            target.copy_(self._resized(frame))
        return self._batch

    def _resized(self, frame: Frame) -> Tensor:
        """uint8 3×H×W RGB or one grey channel."""
        left, top, right, bottom = self.layout.crop_of(frame.size)
        view = frame.pixels[top:bottom, left:right]
        if any(stride < 0 for stride in view.strides):
            view = np.ascontiguousarray(view)
        pixels = _shared(view).to(self.device, non_blocking=True)
        if pixels.ndim == 2:
            pixels = pixels[..., None]
        size = self.layout.input_size[::-1]
        resized = _resize(pixels.permute(2, 0, 1)[None], size)[0]
        return resized.flip(0) if frame.order == "bgr" and len(resized) == 3 else resized


def _resize(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """uint8 B×C×H×W at another (height, width)."""
    if pixels.device.type == "cpu":
        return F.interpolate(pixels, size, mode="bilinear", antialias=True)
    # The 8-bit kernel exists for the CPU only; it rounds too.
    resized = F.interpolate(pixels.float(), size, mode="bilinear", antialias=True)
    return resized.round_().clamp_(0, 255).to(torch.uint8)


def _shared(view: NDArray[np.uint8]) -> Tensor:
    """A tensor over the memory of an array that is only read, writable or not, without a copy."""
    if view.flags.writeable:
        return torch.from_numpy(view)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the tensor must not be written to
        return torch.from_numpy(view)
