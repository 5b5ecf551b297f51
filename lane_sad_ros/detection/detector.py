"""All of inference in one class."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, overload

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lane_sad_ros.detection.decode import lanes_from_peaks
from lane_sad_ros.detection.devices import device_name, find_device
from lane_sad_ros.detection.engines import (
    AUTO,
    ENGINES,
    EngineError,
    Forward,
    Job,
    check_engine,
    make_engine,
)
from lane_sad_ros.detection.engines.auto import choose, failure, named
from lane_sad_ros.detection.engines.cuda import Captured
from lane_sad_ros.detection.peaks import RowPeaks, make_row_peaks
from lane_sad_ros.detection.preprocess import make_preprocessor
from lane_sad_ros.frames import Frame
from lane_sad_ros.lanes import LaneLayout, Lanes
from lane_sad_ros.network.onnx_file import read_onnx
from lane_sad_ros.network.weights import default_weights_path, load

Picture = Frame | NDArray[np.uint8]


@dataclass(frozen=True)
class Detection:
    """What was found in one frame.

    segmentation: uint8 h×w of 0 (background) or 1 + slot, at network resolution and of the
    layout's crop only (see `segmentation_to_image`); None if it was not asked for.
    stages: seconds that "preprocess", "network" and "decode" took for the whole batch.
    """

    lanes: Lanes
    segmentation: NDArray[np.uint8] | None
    stages: dict[str, float]

    @property
    def seconds(self) -> float:
        """What the whole batch took."""
        return sum(self.stages.values())


class LaneDetector:
    """Finds the lanes in camera frames with one network on one device.

    Not to be used by two threads at once, but for `set_thresholds`.
    """

    def __init__(
        self,
        network: nn.Module | Path,
        layout: LaneLayout,
        *,
        device: str = "auto",
        engine: str = "eager",
        crop: tuple[float, float, float, float] | None = None,
        threads: int = 0,
        weights: Path | None = None,
    ) -> None:
        """A detector for a network whose lanes and input size are those of the layout.

        network: any whose `forward` is that of `network.base.LaneNetwork`, or the path of one as
        ONNX file. device: "auto" (a GPU, where there is one and the engine runs on it), "cpu",
        "cuda", "cuda:1" or "mps".
        engine: one of `engines.ENGINES`, or "auto" for the fastest one here with the same lanes.
        crop: (left, top, right, bottom) as shares of the image in [0, 1], in place of the
        layout's own, for a camera that sees the road elsewhere. threads: of the CPU that the
        engine uses; 0 leaves it to the engine's library. weights: only named in `description`.
        Raises DeviceError for a device that is not there, EngineError for an engine that can't run
        here, ValueError for an unknown engine or a bad crop.
        """
        if crop is not None:
            layout = _with_crop(layout, crop)
        self.layout = layout
        self.thresholds = layout.decoding
        check_engine(engine)
        why = "asked for"
        if engine == AUTO:
            engine, why = named()
        job = Job(network, layout, find_device(device), threads)
        if device == "auto" and not _suits(engine, job):
            job = _on_cpu(job)
        if engine == AUTO:
            engine, why, works = choose(job)
            if not works and device == "auto" and job.device.type != "cpu":
                of_cpu, reason, works = choose(_on_cpu(job))
                if works:  # else it is not the GPU that they fail for
                    job, engine, why = _on_cpu(job), of_cpu, f"{reason}; on {job.device}: {why}"
        try:
            self._set_up(engine, job)
        except RuntimeError as error:
            if job.device.type == "cpu":
                raise
            fault = f"engine {engine} on {job.device} {failure(error)}"
            if device != "auto" or not _suits(engine, _on_cpu(job)):
                raise EngineError(f"{fault}; use device cpu") from error
            self._set_up(engine, _on_cpu(job))
            why = f"{why}; {fault}"
        self.description: dict[str, Any] = {
            "weights": str(weights) if weights else "",
            "device": device_name(self._device),
            "engine": engine,
            "engine_reason": why,
            "input_size": layout.input_size,
            "layout": layout.name,
        }
        if isinstance(network, nn.Module):
            self.description["parameters"] = sum(p.numel() for p in network.parameters())

    def _set_up(self, engine: str, job: Job) -> None:
        self._device = job.device
        self._forward = make_engine(engine, job)
        self._preprocess = make_preprocessor(job.layout, job.device)
        self._peaks = make_row_peaks(job.layout, job.device)
        whole = partial(_from_pixels, self._forward, self._peaks)
        self._captured = Captured(whole) if ENGINES[engine].captures else None

    @classmethod
    def from_weights(
        cls,
        path: str | Path | None = None,
        *,
        device: str = "auto",
        engine: str = AUTO,
        crop: tuple[float, float, float, float] | None = None,
        threads: int = 0,
    ) -> LaneDetector:
        """A detector from a weights file, the one shipped with the package if none is named.

        path: safetensors, or ONNX of `lane_sad weights export onnx`.
        Raises WeightsError for a file that is missing or not right, else as the constructor.
        """
        path = Path(path) if path else default_weights_path()
        find_device(device)  # before the work of reading the file
        check_engine(engine)
        network: nn.Module | Path
        if path.suffix.lower() == ".onnx":
            network, layout = path, read_onnx(path)[0]
        else:
            network, layout, _ = load(path)
        return cls(
            network,
            layout,
            device=device,
            engine=engine,
            crop=crop,
            threads=threads,
            weights=path,
        )

    def set_thresholds(self, *, existence: float | None = None, point: float | None = None) -> None:
        """Change thresholds, each in [0, 1], from the next frame on; None keeps one."""
        now = self.thresholds
        self.thresholds = dataclasses.replace(
            now,
            existence_threshold=now.existence_threshold if existence is None else existence,
            point_threshold=now.point_threshold if point is None else point,
        )

    def warm_up(self, batch: int = 1) -> None:
        """Run once on black frames, so that the first batch of that size does not pay set-up."""
        width, height = self.layout.image_size
        black = Frame(np.zeros((height, width, 3), np.uint8))
        self.detect([black] * batch, segmentation=True)

    @overload
    def __call__(self, images: Picture) -> Lanes: ...
    @overload
    def __call__(self, images: Sequence[Picture]) -> list[Lanes]: ...
    def __call__(self, images: Picture | Sequence[Picture]) -> Lanes | list[Lanes]:
        """The lanes of an image, or a list with those of each image of a sequence, as one batch.

        images: a `Frame`, or an array that is one: uint8 H×W×3 in OpenCV's order (BGR), or H×W.
        Raises ValueError where one is not, or is too small for the layout's crop.
        """
        if images is None or isinstance(images, (Frame, np.ndarray)):
            return self([images])[0]
        frames = [image if isinstance(image, Frame) else Frame(image) for image in images]
        return [detection.lanes for detection in self.detect(frames)]

    @torch.inference_mode()
    def detect(self, frames: Sequence[Frame], *, segmentation: bool = False) -> list[Detection]:
        """The lanes of each frame, all run as one batch; frames may differ in size.

        Raises ValueError for a frame that is too small for the layout's crop, FloatingPointError
        where the network overflows.
        """
        if not frames:
            return []
        # Streams, events and graphs are those of the current card, which is the first otherwise.
        cuda = self._device.type == "cuda"
        with torch.cuda.device(self._device) if cuda else contextlib.nullcontext():
            return self._detect(frames, segmentation)

    def _detect(self, frames: Sequence[Frame], segmentation: bool) -> list[Detection]:
        clock = _Clock(self._device)
        decoding = self.thresholds
        pixels = self._preprocess(frames)
        clock.mark("preprocess")
        if self._captured:
            reduced, logits = self._captured(pixels)
            clock.mark("network")
        else:
            logits, existence = self._forward(pixels)
            clock.mark("network")
            reduced = _numbers(self._peaks, decoding.existence_threshold, logits, existence)
        # All that leaves the device, at once.
        numbers = reduced.cpu().numpy()
        if not np.isfinite(numbers).all():
            raise FloatingPointError(
                "the network's output is infinite or not a number; if its weights are whole, they "
                "need the range of float32: use engine eager"
            )
        maps = logits.argmax(dim=1).to(torch.uint8).cpu().numpy() if segmentation else None
        shape = (len(frames), len(self.layout.slots), len(self._peaks.rows))
        columns, scores, existences = np.split(
            numbers, [shape[1] * shape[2], 2 * shape[1] * shape[2]], axis=1
        )
        found = lanes_from_peaks(
            columns.reshape(shape),
            scores.reshape(shape),
            existences if existences.size else None,
            self._peaks.rows,
            self.layout,
            decoding,
            [frame.size for frame in frames],
        )
        clock.mark("decode")
        stages = clock.seconds()
        return [
            Detection(lanes, maps[index] if maps is not None else None, stages)
            for index, lanes in enumerate(found)
        ]

    def answers(self) -> bool:
        """Whether the device still works. Once CUDA has failed, it has failed for the process."""
        try:
            if self._device.type == "cuda":
                torch.cuda.synchronize(self._device)
        except RuntimeError:
            return False
        return True


def _on_cpu(job: Job) -> Job:
    return dataclasses.replace(job, device=torch.device("cpu"))


def _suits(engine: str, job: Job) -> bool:
    """Whether the job's device is one for an engine; for "auto": for any of those it tries."""
    if engine == AUTO:
        return any(one.bound and not one.fault(job) for one in ENGINES.values())
    return engine not in ENGINES or job.device.type in ENGINES[engine].devices


def _numbers(peaks: RowPeaks, least: float, logits: Tensor, existence: Tensor | None) -> Tensor:
    """Columns, scores and existence probabilities of each image, one after the other."""
    existence = None if existence is None else existence.sigmoid()
    parts = [part.flatten(1) for part in peaks(logits, existence, least)]
    return torch.cat(parts if existence is None else [*parts, existence], dim=1)


def _from_pixels(forward: Forward, peaks: RowPeaks, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """What is captured: `_numbers`, and the logits. Not the resizing, or each mix of cameras' sizes
    would need a graph of its own, which `warm_up` can't know.

    A function, as a method would keep the detector and its memory in a cycle.
    """
    logits, existence = forward(pixels)
    return _numbers(peaks, 0.0, logits, existence), logits


def _with_crop(layout: LaneLayout, crop: tuple[float, float, float, float]) -> LaneLayout:
    """The layout with a crop that is given in shares of the image."""
    width, height = layout.image_size
    left, top, right, bottom = crop
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise ValueError(
            f"crop {tuple(crop)} is not (left, top, right, bottom) in shares of the image, "
            "0 <= left < right <= 1 and 0 <= top < bottom <= 1"
        )
    box = (
        round(left * width),
        round(top * height),
        round(right * width),
        round(bottom * height),
    )
    return dataclasses.replace(layout, crop=box)


def segmentation_to_image(
    segmentation: NDArray[np.uint8], layout: LaneLayout, image_size: tuple[int, int]
) -> NDArray[np.uint8]:
    """A `Detection.segmentation` in the original image, H×W, 0 outside the crop.

    layout: the detector's; image_size: (width, height) of the frame.
    """
    left, top, right, bottom = layout.crop_of(image_size)
    full = np.zeros((image_size[1], image_size[0]), np.uint8)
    full[top:bottom, left:right] = cv2.resize(
        segmentation, (right - left, bottom - top), interpolation=cv2.INTER_NEAREST
    )
    return full


class _Clock:
    """Times stages without making the host wait for the device between them."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._marks: list[tuple[str, Any]] = []
        self.mark("")

    def mark(self, stage: str) -> None:
        if self._cuda:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._marks.append((stage, event))
        else:
            self._marks.append((stage, time.perf_counter()))

    def seconds(self) -> dict[str, float]:
        if self._cuda:
            torch.cuda.synchronize()
        result = {}
        for (_, before), (stage, after) in zip(self._marks, self._marks[1:], strict=False):
            result[stage] = before.elapsed_time(after) / 1e3 if self._cuda else after - before
        return result
