"""Engines that PyTorch itself brings: eager and compiled."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from pathlib import Path

import torch
from torch import Tensor

from lane_sad_ros.detection.engines import cache
from lane_sad_ros.detection.engines.base import ByBatch, Forward, Job, Normalised
from lane_sad_ros.network.deploy import deployable


def eager(job: Job) -> Forward:
    """The network as it is: the reference that the other engines are held to."""
    _set_threads(job)
    network = job.module().eval()
    return Normalised(network, job.layout).to(  # type: ignore[call-overload]
        job.device, memory_format=torch.channels_last
    )


class Compiled(ByBatch):
    """Machine code for each batch size, made by PyTorch's ahead-of-time compiler and kept."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        _set_threads(job)
        self._job = job
        self._module = Normalised(deployable(job.module()), job.layout).to(  # type: ignore[call-overload]
            job.device, memory_format=torch.channels_last
        )

    def _load(self, pixels: Tensor) -> Forward:
        import torch._inductor  # costs a second and 70 MB

        key = cache.key(self._job, "compiled", torch.__version__, str(len(pixels)))
        kept = cache.find(key, ".pt2")
        if kept is not None:
            return torch._inductor.aoti_load_package(str(kept))
        with tempfile.TemporaryDirectory(prefix="lane_sad_") as folder:
            made = Path(folder, "network.pt2")
            with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the compiler about its own means
                program = torch.export.export(self._module, (pixels.clone(),))
                torch._inductor.aoti_compile_and_package(program, package_path=str(made))
            cache.keep(key, ".pt2", made.read_bytes())
            return torch._inductor.aoti_load_package(str(made))


def has_compiler(_: torch.device) -> bool:
    """Whether there is what `Compiled` calls."""
    known = torch.torch_version.TorchVersion(torch.__version__) >= "2.6"
    return known and any(shutil.which(name) for name in ("g++", "c++", "clang++"))


_threads_before = 0  # those of the process, while a job's own number stands in their place


def _set_threads(job: Job) -> None:
    global _threads_before
    if job.threads:
        _threads_before = _threads_before or torch.get_num_threads()
        torch.set_num_threads(job.threads)
    elif _threads_before:
        torch.set_num_threads(_threads_before)
        _threads_before = 0
