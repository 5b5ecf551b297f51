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
            self._resize(frame, target)
        return self._batch

    def _resize(self, frame: Frame, target: Tensor) -> None:
        """Writes uint8 3×H×W RGB."""
        left, top, right, bottom = self.layout.crop_of(frame.size)
        view = frame.pixels[top:bottom, left:right]
        if any(stride < 0 for stride in view.strides):
            view = np.ascontiguousarray(view)
        pixels = _shared(view).to(self.device, non_blocking=True)
        if pixels.ndim == 2:
            pixels = pixels[..., None]
        resize = _resize_on_host if self.device.type == "cpu" else _resize_on_device
        resize(pixels.permute(2, 0, 1), target, frame.order == "bgr")


def _resize_on_host(pixels: Tensor, target: Tensor, swap: bool) -> None:
    """Resizes uint8 C×H×W, C 3 or 1, to a 3×H×W target. swap: red and blue.

    One thread does it: several would wait for each other beside busy programs.
    """
    size = list(target.shape[1:])
    if len(pixels) == 1:
        target.copy_(F.interpolate(pixels[None], size, mode="bilinear", antialias=True)[0])
        return
    resized = torch.ops.aten._upsample_bilinear2d_aa.out
    resized(pixels[None], size, False, None, None, out=target[None])
    if swap:
        red_last = target.permute(1, 2, 0).numpy()
        blue = red_last[..., 0].copy()
        red_last[..., 0] = red_last[..., 2]
        red_last[..., 2] = blue


def _resize_on_device(pixels: Tensor, target: Tensor, swap: bool) -> None:
    """The same on other devices, which have no 8-bit kernel; ours rounds too."""
    size = list(target.shape[1:])
    resized = F.interpolate(pixels[None].float(), size, mode="bilinear", antialias=True)[0]
    resized = resized.round_().clamp_(0, 255)
    target.copy_(resized.flip(0) if swap and len(resized) == 3 else resized)


def _shared(view: NDArray[np.uint8]) -> Tensor:
    """A tensor over the memory of an array that is only read, writable or not, without a copy."""
    if view.flags.writeable:
        return torch.from_numpy(view)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the tensor must not be written to
        return torch.from_numpy(view)
