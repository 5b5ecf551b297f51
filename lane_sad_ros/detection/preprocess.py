"""From frames in host memory to the network's input on the device."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lane_sad_ros.frames import Frame
from lane_sad_ros.lanes import LaneLayout


class Normalise:
    """Colours as the network takes them: (pixels / 255 - mean) / std, per RGB channel."""

    def __init__(self, layout: LaneLayout, device: torch.device) -> None:
        shape = (3, 1, 1)
        self._mean = torch.tensor(layout.mean, device=device).view(shape) * 255.0
        self._scale = 1.0 / (torch.tensor(layout.std, device=device).view(shape) * 255.0)

    def __call__(self, pixels: Tensor, out: Tensor) -> Tensor:
        """Write the normalised `pixels` to `out` and return it.

        pixels: ...×3×H×W RGB (or one grey channel), 0 to 255, of any number type; out: ...×3×H×W
        float32, in the memory format that is wanted.
        """
        return torch.sub(pixels, self._mean, out=out).mul_(self._scale)


class Preprocessor:
    """Crop, resize (bilinear, antialiased) and normalise, on the device."""

    def __init__(self, layout: LaneLayout, device: torch.device) -> None:
        self.layout = layout
        self.device = device
        self._normalise = Normalise(layout, device)

    def __call__(self, frames: Sequence[Frame]) -> Tensor:
        """B×3×H×W float32 RGB in channels-last memory, of the layout's input size."""
        width, height = self.layout.input_size
        batch = torch.empty(
            (len(frames), 3, height, width),
            device=self.device,
            memory_format=torch.channels_last,
        )
        for target, frame in zip(batch, frames, strict=True):
            self._normalise(self._resized(frame), out=target)
        return batch

    def _resized(self, frame: Frame) -> Tensor:
        """C×H×W RGB or one grey channel, 0 to 255."""
        left, top, right, bottom = self.layout.crop_of(frame.size)
        view = frame.pixels[top:bottom, left:right]
        if any(stride < 0 for stride in view.strides):
            view = np.ascontiguousarray(view)
        pixels = _shared(view).to(self.device, non_blocking=True)
        if pixels.ndim == 2:
            pixels = pixels[..., None]
        if self.device.type != "cpu":
            pixels = pixels.float()  # the 8-bit kernel exists for the CPU only
        width, height = self.layout.input_size
        resized = F.interpolate(
            pixels.permute(2, 0, 1)[None], (height, width), mode="bilinear", antialias=True
        )[0]
        return resized.flip(0) if frame.order == "bgr" and len(resized) == 3 else resized


def _shared(view: NDArray[np.uint8]) -> Tensor:
    """A tensor over the memory of an array that is only read, writable or not, without a copy."""
    if view.flags.writeable:
        return torch.from_numpy(view)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the tensor must not be written to
        return torch.from_numpy(view)
