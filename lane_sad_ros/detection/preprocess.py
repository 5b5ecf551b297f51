"""From frames in host memory to the network's input on the device."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import cv2
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
    """Crop and resize (bilinear, antialiased), on any device."""

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
        self._fill([self._crop(frame) for frame in frames], [frame.order for frame in frames])
        return self._batch

    def _crop(self, frame: Frame) -> Tensor:
        """Its uint8 H×W×C, C 3 or 1, in the frame's memory."""
        left, top, right, bottom = self.layout.crop_of(frame.size)
        view = frame.pixels[top:bottom, left:right]
        if any(stride < 0 for stride in view.strides):
            view = np.ascontiguousarray(view)
        return _shared(view if view.ndim == 3 else view[..., None])

    def _fill(self, crops: Sequence[Tensor], orders: Sequence[str]) -> None:
        """Resizes crops into the batch, those of one size by one upload and one kernel."""
        alike: dict[tuple[torch.Size, str], list[int]] = {}
        for index, (crop, order) in enumerate(zip(crops, orders, strict=True)):
            alike.setdefault((crop.shape, order), []).append(index)
        for (shape, order), indices in alike.items():
            # PyTorch keeps pinned memory, and hands it out again when it has been uploaded.
            pinned = self.device.type == "cuda"
            staged = torch.empty((len(indices), *shape), dtype=torch.uint8, pin_memory=pinned)
            for target, index in zip(staged, indices, strict=True):
                np.copyto(target.numpy(), crops[index].numpy())  # by this thread alone
            images = staged.to(self.device, non_blocking=True).permute(0, 3, 1, 2).float()
            # The 8-bit kernel exists for the CPU only; it rounds too.
            size = self._batch.shape[2:]
            resized = F.interpolate(images, size, mode="bilinear", antialias=True)
            resized = resized.round_().clamp_(0, 255).to(torch.uint8)
            resized = resized.flip(1) if order == "bgr" else resized
            if len(alike) == 1:
                self._batch.copy_(resized)
            else:  # a list as index would be uploaded, and waited for
                for index, one in zip(indices, resized, strict=True):
                    self._batch[index].copy_(one)


class HostPreprocessor(Preprocessor):
    """The same on the CPU by one thread: several would wait for each other beside busy programs."""

    def __init__(self, layout: LaneLayout) -> None:
        super().__init__(layout, torch.device("cpu"))

    def _fill(self, crops: Sequence[Tensor], orders: Sequence[str]) -> None:
        resized = torch.ops.aten._upsample_bilinear2d_aa.out
        for target, crop, order in zip(self._batch, crops, orders, strict=True):
            image, size = crop.permute(2, 0, 1)[None], list(target.shape[1:])
            if len(image[0]) == 1:
                target.copy_(F.interpolate(image, size, mode="bilinear", antialias=True)[0])
                continue
            resized(image, size, False, None, None, out=target[None])
            if order == "bgr":
                pixels = target.permute(1, 2, 0).numpy()
                cv2.mixChannels([pixels.copy()], [pixels], [0, 2, 1, 1, 2, 0])


def make_preprocessor(layout: LaneLayout, device: torch.device) -> Preprocessor:
    """The fastest for a device."""
    return HostPreprocessor(layout) if device.type == "cpu" else Preprocessor(layout, device)


def _shared(view: NDArray[np.uint8]) -> Tensor:
    """A tensor over the memory of an array that is only read, writable or not, without a copy."""
    if view.flags.writeable:
        return torch.from_numpy(view)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the tensor must not be written to
        return torch.from_numpy(view)
