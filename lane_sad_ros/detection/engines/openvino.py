"""OpenVINO: the fastest on CPUs of Intel and AMD."""

from __future__ import annotations

import contextlib
import functools
import io
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lane_sad_ros.detection.engines import cache
from lane_sad_ros.detection.engines.base import Job
from lane_sad_ros.network.deploy import deployable


class OpenVino:
    """A compiled model for each batch size, kept on disk, on the CPU.

    precision: "f32" or "bf16". The network's int8 layers stay int8.
    """

    def __init__(self, job: Job, precision: str) -> None:
        import openvino

        self._job = job
        self._core = _core()
        self._settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "PERFORMANCE_HINT": "LATENCY",
            # Threads that are bound to a core wait for whatever else runs there.
            "ENABLE_CPU_PINNING": False,
            **({"INFERENCE_NUM_THREADS": job.threads} if job.threads else {}),
        }
        self._key = (f"openvino {openvino.get_version()}", precision)
        self._by_batch: dict[int, Any] = {}

    def __call__(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        batch = len(pixels)
        if batch not in self._by_batch:
            self._by_batch[batch] = self._compiled(batch).create_infer_request()
        # OpenVINO reads and writes the memory that is there: no copies.
        found = self._by_batch[batch].infer(
            [pixels.permute(0, 2, 3, 1).numpy()], share_inputs=True, share_outputs=True
        )
        segmentation, *existence = (torch.from_numpy(found[index]) for index in range(len(found)))
        return segmentation, existence[0] if existence else None

    def _compiled(self, batch: int) -> Any:
        key = cache.key(self._job, *self._key, str(batch))
        kept = cache.find(key, ".blob")
        if kept is not None:
            with contextlib.suppress(RuntimeError):
                return self._core.import_model(kept.read_bytes(), "CPU", self._settings)
        compiled = self._core.compile_model(convert(self._job, batch), "CPU", self._settings)
        blob = io.BytesIO()
        compiled.export_model(blob)
        cache.keep(key, ".blob", blob.getvalue())
        return compiled


@functools.cache
def _core() -> Any:
    """The one core of this process, which stays.

    A core changes the thread's stack for signals, and at its end gives back the one before: where
    that was of a core that has ended, the next signal would kill the process.
    """
    import openvino

    return openvino.Core()


def convert(job: Job, batch: int) -> Any:
    """The OpenVINO model of a job's network, from uint8 B×H×W×3 RGB; batch: -1 for any."""
    import openvino
    from openvino.preprocess import PrePostProcessor

    width, height = job.layout.input_size
    model = _converted(cache.fingerprint(job), job.network, job.layout.input_size).clone()
    model.reshape([batch, 3, height, width])
    steps = PrePostProcessor(model)
    pixels = steps.input()
    pixels.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    pixels.model().set_layout(openvino.Layout("NCHW"))
    pixels.preprocess().convert_element_type(openvino.Type.f32).mean(
        [255.0 * value for value in job.layout.mean]
    ).scale([255.0 * value for value in job.layout.std])
    return steps.build()


def _use_cells(model: Any) -> None:
    """Makes `to_cells` and `from_cells` one operation each, which is faster."""
    from openvino import opset13 as operations

    kinds = {
        (0, 3, 5, 1, 2, 4): operations.space_to_depth,
        (0, 3, 4, 1, 5, 2): operations.depth_to_space,
    }
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Transpose":
            continue
        order = node.input_value(1).get_node()
        kind = kinds.get(tuple(order.get_data())) if order.get_type_name() == "Constant" else None
        if kind is not None:
            # It stands between two reshapes; exporters merge these with the ones beside them.
            before = node.input_value(0).get_node()
            (after,) = (target.get_node() for target in node.output(0).get_target_inputs())
            features = before.input_value(0)
            shape = features.get_partial_shape()
            if len(shape) != 4:
                sizes = [0, -1, *(side.get_length() for side in list(shape)[-2:])]
                features = operations.reshape(features, sizes, special_zero=True).output(0)
            cells = kind(features, "blocks_first", 2).output(0)
            after.input(0).replace_source_output(cells)


@functools.lru_cache(maxsize=1)  # for all batch sizes and both precisions
def _converted(
    fingerprint: str, network: torch.nn.Module | Path, input_size: tuple[int, int]
) -> Any:
    """fingerprint: of the network, whose file may have been replaced."""
    import openvino

    if isinstance(network, Path):
        model = openvino.convert_model(network)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the check of the images' size is not converted
            example = torch.zeros(1, 3, *input_size[::-1])
            traced = torch.jit.trace(_Tensors(network).eval(), example, check_trace=False)
            # A frozen one is converted four times as fast as the module.
            model = openvino.convert_model(torch.jit.freeze(traced), example_input=example)
    _use_cells(model)
    return model


class _Tensors(torch.nn.Module):
    """A network that gives no None in place of what it has no head for."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = deployable(network)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(part for part in self.network(images) if part is not None)


def has_bf16(_: torch.device) -> bool:
    """Whether the CPU computes with bfloat16."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


fp32: Any = partial(OpenVino, precision="f32")
bf16: Any = partial(OpenVino, precision="bf16")
