"""Ways to run the network on a device.

To add one: write what makes a `Forward` of a `Job`, name it in `ENGINES`, and give it a line of
help in `names.ENGINES`. Everything before and after the network is the same for all engines.
"""

from __future__ import annotations

import platform
from dataclasses import replace

from lane_sad_ros.detection.engines import cuda, onnx, openvino, pytorch
from lane_sad_ros.detection.engines.base import Engine, EngineError, Forward, Job
from lane_sad_ros.names import AUTO

__all__ = [
    "AUTO",
    "ENGINES",
    "EngineError",
    "Forward",
    "Job",
    "check_engine",
    "check_runs",
    "make_engine",
]

_FP32, _HALF = 0.5, 1.0  # pixels that lanes may be away from eager's

_OPENVINO = Engine(
    openvino.fp32, ("cpu",), needs=("openvino",), extra="openvino", bound=_FP32, onnx=True
)
_CUDAGRAPH = Engine(cuda.fp16, ("cuda",), bound=_HALF, captures=True)

ENGINES: dict[str, Engine] = {
    "eager": Engine(pytorch.eager, ("cpu", "cuda", "mps"), bound=_FP32),
    "compiled": Engine(
        pytorch.Compiled,
        ("cpu",),
        works=pytorch.has_compiler,
        lacks="needs a C++ compiler and PyTorch 2.6; install g++",
    ),
    "openvino": _OPENVINO,
    "openvino-bf16": replace(
        _OPENVINO,
        make=openvino.bf16,
        works=openvino.has_bf16,
        lacks="needs a CPU with bfloat16 instructions; use openvino",
        bound=_HALF,
    ),
    "onnx": replace(
        _OPENVINO,
        make=onnx.OnnxRuntime,
        devices=("cpu", "cuda"),
        needs=("onnxruntime", "onnx", "onnxscript"),
        extra="onnx",
        # By half, on each of the CPUs where both were measured; its export takes long.
        slower_than="openvino" if platform.machine() in ("x86_64", "AMD64") else "",
        works=onnx.runs_on,
        lacks="needs the ONNX Runtime for CUDA; install onnxruntime-gpu in place of onnxruntime",
    ),
    "cudagraph": _CUDAGRAPH,
    "cudagraph-bf16": replace(_CUDAGRAPH, make=cuda.bf16),
    "tensorrt": Engine(cuda.TensorRT, ("cuda",), needs=("torch_tensorrt",), extra="tensorrt"),
}


def check_engine(name: str) -> None:
    """Raises ValueError for a name that is neither an engine's nor `auto`."""
    if name != AUTO and name not in ENGINES:
        raise ValueError(f"engine {name!r} is not one of {', '.join([AUTO, *ENGINES])}")


def make_engine(name: str, job: Job) -> Forward:
    """The engine of that name. Raises EngineError where it can't run the job."""
    check_runs(name, job)
    return ENGINES[name].make(job)


def check_runs(name: str, job: Job) -> None:
    """Raises EngineError where the engine of that name can't run the job."""
    check_engine(name)
    fault = ENGINES[name].fault(job)
    if fault:
        raise EngineError(f"engine {name} {fault}")
