"""Engines for NVIDIA GPUs: CUDA graphs of PyTorch, and TensorRT."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lane_sad_ros.detection.engines import cache
from lane_sad_ros.detection.engines.base import ByBatch, Forward, Job, Normalised
from lane_sad_ros.network.deploy import deployable

_SHAPES = 16  # graphs kept by one `Captured`; inputs of still other shapes run without


class Captured:
    """A function of CUDA tensors, captured in one CUDA graph for each shape of its inputs.

    Its outputs are overwritten by the next call with inputs of the same shape.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._graphs: dict[Any, tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...], Any]] = {}

    def __call__(self, *inputs: Tensor) -> Any:
        key = tuple((part.shape, part.dtype) for part in inputs)
        if key not in self._graphs:
            if len(self._graphs) == _SHAPES:
                return self._function(*inputs)
            self._graphs[key] = _capture(self._function, inputs)
        graph, held, outputs = self._graphs[key]
        for target, part in zip(held, inputs, strict=True):
            target.copy_(part)
        graph.replay()
        return outputs


def _capture(
    function: Callable[..., Any], inputs: tuple[Tensor, ...]
) -> tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...], Any]:
    held = tuple(part.clone() for part in inputs)
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):  # libraries choose their kernels outside the graph
            function(*held)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    # PyTorch's own capture stream is one of the first card that captured anything.
    with torch.cuda.graph(graph, stream=aside, capture_error_mode="thread_local"):
        outputs = function(*held)
    return graph, held, outputs


def _half(job: Job, precision: torch.dtype) -> Forward:
    module = Normalised(deployable(job.module()), job.layout, precision)
    return module.to(job.device, memory_format=torch.channels_last)  # type: ignore[call-overload]


fp16 = partial(_half, precision=torch.float16)
bf16 = partial(_half, precision=torch.bfloat16)


class TensorRT(ByBatch):
    """Torch-TensorRT's engine for each batch size, in fp16, made once and kept."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job
        self._module = Normalised(deployable(job.module()), job.layout, torch.float16)
        self._module.to(job.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _load(self, pixels: Tensor) -> Forward:
        import torch_tensorrt

        # What it makes fits one kind of card and one version of the libraries.
        card = torch.cuda.get_device_name(pixels.device)
        versions = torch.__version__, torch_tensorrt.__version__
        key = cache.key(self._job, "tensorrt", card, *versions, str(len(pixels)))
        kept = cache.find(key, ".ep")
        if kept is not None:
            with contextlib.suppress(Exception):  # whatever is wrong with it, another can be made
                return torch.export.load(kept).module()
        with tempfile.TemporaryDirectory(prefix="lane_sad_") as folder:
            made = Path(folder, "network.ep")
            with torch.inference_mode(False), torch.no_grad():
                example = [pixels.clone()]
                engine = torch_tensorrt.compile(
                    self._module, ir="dynamo", inputs=example, use_explicit_typing=True
                )
                with contextlib.suppress(Exception):  # what can't be kept can run
                    torch_tensorrt.save(engine, str(made), inputs=example)
                    cache.keep(key, ".ep", made.read_bytes())
        return engine
