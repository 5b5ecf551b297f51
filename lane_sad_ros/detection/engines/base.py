"""What an engine is: a way to run the network on a device."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from lane_sad_ros.detection.preprocess import Normalise
from lane_sad_ros.lanes import LaneLayout

Forward = Callable[[Tensor], tuple[Tensor, "Tensor | None"]]
"""From pixels (uint8 B×3×H×W RGB in channels-last memory, on the engine's device) to segmentation
logits B×(1+lanes)×H×W and existence logits B×lanes, float32, None without that head.

The result may be overwritten by the next call.
"""


class EngineError(ValueError):
    """The engine can't run here; the message says why and what to do."""


@dataclass(frozen=True)
class Job:
    """What an engine is to run, and where.

    network: one whose `forward` is that of `network.base.LaneNetwork`, on the CPU in evaluation
    mode, or the path of a network exported to ONNX. layout: its own.
    threads: of the CPU; 0 leaves the number to the engine's library.
    """

    network: nn.Module | Path
    layout: LaneLayout
    device: torch.device
    threads: int = 0

    def module(self) -> nn.Module:
        """The network. Raises EngineError where it is an ONNX file."""
        if isinstance(self.network, Path):
            raise EngineError(
                f"{self.network}: this engine takes weights as safetensors; "
                "run an .onnx file with engine openvino or onnx"
            )
        return self.network


@dataclass(frozen=True)
class Engine:
    """One way to run the network.

    devices: types it runs on. needs: modules that must be importable.
    extra: of the package, which installs them. bound: how far its lanes may be from those of
    `eager`, pixels at the 99th percentile, to be offered by `auto`; 0 leaves it to be asked for.
    slower_than: an engine beside which `auto` does not try this one.
    onnx: runs ONNX files too. captures: all from pixels to the rows' peaks is one CUDA graph, see
    `cuda.Captured`. works: whether this machine can; lacks: what it needs if not.
    """

    make: Callable[[Job], Forward]
    devices: tuple[str, ...]
    needs: tuple[str, ...] = ()
    extra: str = ""
    bound: float = 0.0
    slower_than: str = ""
    onnx: bool = False
    captures: bool = False
    works: Callable[[torch.device], bool] = lambda _: True
    lacks: str = ""

    def fault(self, job: Job) -> str:
        """Why it can't run a job, empty if it can."""
        if job.device.type not in self.devices:
            return f"runs on {' or '.join(self.devices)} only, not on {job.device}"
        missing = [name for name in self.needs if importlib.util.find_spec(name) is None]
        if missing:
            return (
                f"needs {' and '.join(missing)}; install with: "
                f"pip install 'lane_sad_ros[{self.extra}]'"
            )
        if isinstance(job.network, Path) and not self.onnx:
            return f"takes weights as safetensors, not {job.network.name}"
        return "" if self.works(job.device) else self.lacks


class Normalised(nn.Module):
    """A network that takes pixels instead of normalised images, as `Forward` says.

    precision: of the network's arithmetic; what comes out is float32.
    """

    def __init__(
        self, network: nn.Module, layout: LaneLayout, precision: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.normalise = Normalise(layout)
        self.network = network.to(precision)
        self.precision = precision

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        segmentation, existence = self.network(self.normalise(pixels).to(self.precision))
        return segmentation.float(), None if existence is None else existence.float()


class ByBatch(ABC):
    """A `Forward` that has another one for each batch size."""

    def __init__(self) -> None:
        self._by_batch: dict[int, Forward] = {}

    def __call__(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        batch = len(pixels)
        if batch not in self._by_batch:
            self._by_batch[batch] = self._load(pixels)
        return self._by_batch[batch](pixels)

    @abstractmethod
    def _load(self, pixels: Tensor) -> Forward:
        """The one for pixels of this shape."""
