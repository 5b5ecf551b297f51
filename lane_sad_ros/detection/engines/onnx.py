"""ONNX Runtime: runs where PyTorch is slow or not wanted, on CPU and CUDA."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lane_sad_ros.detection.engines import cache
from lane_sad_ros.detection.engines.base import EngineError, Job
from lane_sad_ros.detection.preprocess import Normalise
from lane_sad_ros.network.onnx_file import onnx_model

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxRuntime:
    """A session for all batch sizes. A PyTorch network is exported first, and the file kept."""

    def __init__(self, job: Job) -> None:
        import onnxruntime

        self._normalise = Normalise(job.layout).to(job.device)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = job.threads
        options.log_severity_level = 3  # errors
        provider = _PROVIDERS[job.device.type]
        where = {"device_id": job.device.index or 0} if job.device.type == "cuda" else {}
        self._session = onnxruntime.InferenceSession(
            _content(job), options, providers=[(provider, where)]
        )
        if provider not in self._session.get_providers():  # it falls back to the CPU without a word
            raise EngineError(
                "ONNX Runtime could not load CUDA: its CUDA and cuDNN libraries are missing"
            )

    def __call__(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        images = self._normalise(pixels).contiguous()
        outputs = {
            out.name: images.new_empty((len(images), *out.shape[1:]))
            for out in self._session.get_outputs()
        }
        binding = self._session.io_binding()
        for bind, name, part in (
            (binding.bind_input, self._session.get_inputs()[0].name, images),
            *((binding.bind_output, *output) for output in outputs.items()),
        ):
            index = part.device.index or 0
            bind(name, part.device.type, index, np.float32, tuple(part.shape), part.data_ptr())
        if images.is_cuda:  # ONNX Runtime has a stream of its own
            torch.cuda.current_stream().synchronize()
        self._session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        segmentation, *existence = outputs.values()
        return segmentation, existence[0] if existence else None


def _content(job: Job) -> bytes:
    if not isinstance(job.network, torch.nn.Module):
        return job.network.read_bytes()
    key = cache.key(job, "onnx", torch.__version__)
    kept = cache.find(key, ".onnx")
    if kept is not None:
        return kept.read_bytes()
    content: bytes = onnx_model(job.network, job.layout).SerializeToString()
    cache.keep(key, ".onnx", content)
    return content


def runs_on(device: torch.device) -> bool:
    """Whether the installed ONNX Runtime is one for the device."""
    import onnxruntime

    return _PROVIDERS[device.type] in onnxruntime.get_available_providers()
