"""From frames in host memory to the network's input on the device."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

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

    def __call__(self, frames: Sequence[Frame]) -> Tensor:
        """Pixels, uint8 B×3×H×W RGB in channels-last memory, of the layout's input size.

        The next call may overwrite them.
        """
        alike: dict[tuple[tuple[int, ...], str], list[int]] = {}
        for index, frame in enumerate(frames):
            alike.setdefault((frame.pixels.shape, frame.order), []).append(index)
        resized = [torch.empty(0)] * len(frames)
        for (_, order), indices in alike.items():
            images = self._resize(self.upload([frames[index] for index in indices]), order)
            for index, image in zip(indices, images, strict=True):
                resized[index] = image
        return torch.stack(resized).contiguous(memory_format=torch.channels_last)

    def upload(self, frames: Sequence[Frame]) -> Tensor:
        """The crops of frames of one shape on the device, uint8 B×H×W×C, C 3 or 1."""
        crops = [self._crop(frame) for frame in frames]
        pinned = self.device.type == "cuda"
        # PyTorch keeps pinned memory, and hands it out again when it has been uploaded.
        staged = torch.empty((len(crops), *crops[0].shape), dtype=torch.uint8, pin_memory=pinned)
        images = torch.empty_like(staged, device=self.device)
        copy = map if len(crops) == 1 else self._threads.map
        copies = copy(np.copyto, staged.numpy(), crops)
        for image, source, _ in zip(images, staged, copies, strict=True):
            image.copy_(source, non_blocking=pinned)
        return images

    def _resize(self, images: Tensor, order: str) -> Tensor:
        # The 8-bit kernel exists for the CPU only; it rounds too. CUDA's would copy what is in
        # channels-last memory before and after.
        planes = images.permute(0, 3, 1, 2)
        planes = planes.to(torch.float32, memory_format=torch.contiguous_format)
        size = self.layout.input_size[::-1]
        planes = F.interpolate(planes, size, mode="bilinear", antialias=True)
        planes = planes.round_().clamp_(0, 255).to(torch.uint8).expand(-1, 3, -1, -1)
        return planes.flip(1) if order == "bgr" else planes

    @functools.cached_property
    def _threads(self) -> ThreadPoolExecutor:
        """One alone does not fill the bandwidth of the memory."""
        return ThreadPoolExecutor(4, "lane_sad_upload")

    def _crop(self, frame: Frame) -> NDArray[np.uint8]:
        """Its H×W×C, C 3 or 1, in the frame's memory."""
        left, top, right, bottom = self.layout.crop_of(frame.size)
        view = frame.pixels[top:bottom, left:right]
        return view if view.ndim == 3 else view[..., None]


class HostPreprocessor(Preprocessor):
    """The same on the CPU by one thread: several would wait for each other beside busy programs."""

    def __init__(self, layout: LaneLayout) -> None:
        super().__init__(layout, torch.device("cpu"))
        self._batch = torch.empty(0)

    def __call__(self, frames: Sequence[Frame]) -> Tensor:
        width, height = self.layout.input_size
        if len(self._batch) != len(frames):
            self._batch = torch.empty(
                (len(frames), 3, height, width),
                dtype=torch.uint8,
                memory_format=torch.channels_last,
            )
        resized = torch.ops.aten._upsample_bilinear2d_aa.out
        for target, frame in zip(self._batch, frames, strict=True):
            image, size = _shared(self._crop(frame)).permute(2, 0, 1)[None], [height, width]
            if len(image[0]) == 1:
                target.copy_(F.interpolate(image, size, mode="bilinear", antialias=True)[0])
                continue
            resized(image, size, False, None, None, out=target[None])
            if frame.order == "bgr":
                pixels = target.permute(1, 2, 0).numpy()
                cv2.mixChannels([pixels.copy()], [pixels], [0, 2, 1, 1, 2, 0])
        return self._batch


def make_preprocessor(layout: LaneLayout, device: torch.device) -> Preprocessor:
    """The fastest for a device."""
    return HostPreprocessor(layout) if device.type == "cpu" else Preprocessor(layout, device)


def _shared(view: NDArray[np.uint8]) -> Tensor:
    """A tensor over the memory of an array that is only read, writable or not, without a copy."""
    if any(stride < 0 for stride in view.strides):
        view = np.ascontiguousarray(view)
    if view.flags.writeable:
        return torch.from_numpy(view)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the tensor must not be written to
        return torch.from_numpy(view)
