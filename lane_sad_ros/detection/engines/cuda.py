"""Engines for NVIDIA GPUs: CUDA graphs of PyTorch, and TensorRT."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lane_sad_ros.detection.engines.base import Forward, Job, Normalised
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
        shape = tuple((part.shape, part.stride(), part.dtype) for part in inputs)
        if shape not in self._graphs:
            if len(self._graphs) == _SHAPES:
                return self._function(*inputs)
            self._graphs[shape] = self._capture(inputs)
        graph, held, outputs = self._graphs[shape]
        for target, part in zip(held, inputs, strict=True):
            target.copy_(part)
        graph.replay()
        return outputs

    def _capture(self, inputs: tuple[Tensor, ...]) -> tuple[Any, tuple[Tensor, ...], Any]:
        held = tuple(part.clone() for part in inputs)
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):  # libraries choose their kernels outside the graph
                self._function(*held)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        # PyTorch's own capture stream is one of the first card that captured anything.
        with torch.cuda.graph(graph, stream=aside, capture_error_mode="thread_local"):
            outputs = self._function(*held)
        return graph, held, outputs


def _cudagraph(job: Job, precision: torch.dtype) -> Forward:
    module = Normalised(deployable(job.module()), job.layout, precision)
    return Captured(module.to(job.device, memory_format=torch.channels_last))  # type: ignore[call-overload]


fp16 = partial(_cudagraph, precision=torch.float16)
bf16 = partial(_cudagraph, precision=torch.bfloat16)


class TensorRT:
    """Torch-TensorRT's engine for each batch size, in fp16."""

    def __init__(self, job: Job) -> None:
        self._module = Normalised(deployable(job.module()), job.layout, torch.float16)
        self._module.to(job.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._by_batch: dict[int, Forward] = {}

    def __call__(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        batch = len(pixels)
        if batch not in self._by_batch:
            self._by_batch[batch] = self._made(pixels)
        return self._by_batch[batch](pixels)

    def _made(self, pixels: Tensor) -> Forward:
        import torch_tensorrt

        with torch.inference_mode(False), torch.no_grad():
            example = pixels.clone()
            return torch_tensorrt.compile(
                self._module, ir="dynamo", inputs=[example], use_explicit_typing=True
            )
