"""Networks written for other programs, after a check that they give the same."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lane_sad_ros.detection.engines import EngineError, Forward, Job, check_runs, make_engine
from lane_sad_ros.detection.engines.auto import PICTURE
from lane_sad_ros.detection.preprocess import make_preprocessor
from lane_sad_ros.files import replacing
from lane_sad_ros.frames import Frame
from lane_sad_ros.image_files import read_image
from lane_sad_ros.lanes import LaneLayout
from lane_sad_ros.network.base import LaneNetwork
from lane_sad_ros.network.onnx_file import save_onnx

_CPU = torch.device("cpu")
_TOLERANCE = 1e-3  # of logits


def export_onnx(
    path: Path, network: LaneNetwork, layout: LaneLayout, about: dict[str, Any]
) -> float:
    """Writes an ONNX file; gives how far its logits are from PyTorch's at worst.

    about: the metadata of the weights file, which goes with it. Raises EngineError where what is
    needed is not installed or the logits are not PyTorch's; then nothing is written.
    """
    job = Job(network, layout, _CPU)
    check_runs("onnx", job)
    with replacing(path) as partial:
        save_onnx(partial, network, layout, about)
        return _check(job, make_engine("onnx", Job(partial, layout, _CPU)))


def export_openvino(path: Path, network: LaneNetwork, layout: LaneLayout) -> float:
    """Writes OpenVINO's `path` (.xml) and the .bin beside it, as `export_onnx` does."""
    job = Job(network, layout, _CPU)
    off = _check(job, make_engine("openvino", job))
    import openvino

    from lane_sad_ros.detection.engines.openvino import convert

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder, path.name)
        openvino.save_model(convert(job, -1), made, compress_to_fp16=False)
        os.replace(made.with_suffix(".bin"), path.with_suffix(".bin"))
        os.replace(made, path)
    return off


def _check(job: Job, forward: Forward) -> float:
    """How far an engine's logits are from eager's, on a rendered road and on noise.

    Of the noise the median counts: where two corners of a cell are nearly equal, rounding may let
    another one win the pooling. That moves the logits of some pictures; a fault moves those of all.
    """
    eager = make_engine("eager", job)

    def off(pixels: Tensor) -> float:
        with torch.inference_mode():
            parts = zip(eager(pixels), forward(pixels), strict=True)
            return max(
                float((one - other).abs().max())
                for one, other in parts
                if one is not None and other is not None
            )

    worst = max(off(_road(job.layout)), float(np.median([*map(off, _noise(job.layout))])))
    if not worst <= _TOLERANCE:
        raise EngineError(
            f"the exported network's logits are {worst:.3g} away from PyTorch's, more than "
            f"{_TOLERANCE:g}; nothing was written, please report it"
        )
    return worst


def _road(layout: LaneLayout) -> Tensor:
    return make_preprocessor(layout, _CPU)([Frame(read_image(PICTURE))])


def _noise(layout: LaneLayout) -> Iterator[Tensor]:
    width, height = layout.input_size
    generator = torch.Generator().manual_seed(0)
    for _ in range(7):
        size = (2, height, width, 3)
        noise = torch.randint(0, 256, size, dtype=torch.uint8, generator=generator)
        yield noise.permute(0, 3, 1, 2)
