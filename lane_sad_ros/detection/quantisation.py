"""8-bit weights by ONNX Runtime's static quantisation, for the engines that run ONNX files."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from lane_sad_ros.detection.agreement import Agreement
from lane_sad_ros.detection.detector import LaneDetector
from lane_sad_ros.detection.engines import Job, check_runs
from lane_sad_ros.detection.preprocess import Normalise, make_preprocessor
from lane_sad_ros.files import replacing
from lane_sad_ros.frames import Frame
from lane_sad_ros.lanes import LaneLayout
from lane_sad_ros.network import weights
from lane_sad_ros.network.onnx_file import annotate, save_onnx

_CPU = torch.device("cpu")


def quantise(
    path: Path, frames: Sequence[Frame], source: str, out: Path, keep: Sequence[str] = ()
) -> Agreement:
    """Writes the network of a weights file as ONNX with 8-bit layers to `out`.

    frames: the ranges of the layers' outputs are measured on them; source: their name, which is
    told in the file. keep: parts of names of layers that stay in float32.
    Returns how far its lanes are from those of the weights on the same frames.
    Raises ValueError without frames, WeightsError, EngineError where something is not installed.
    """
    network, layout, about = weights.load(path)
    check_runs("onnx", Job(network, layout, _CPU))
    if not frames:
        raise ValueError(f"{source}: no images to measure the layers' ranges on")
    with replacing(out) as partial:
        with tempfile.TemporaryDirectory() as folder:
            exported = Path(folder, "float.onnx")
            save_onnx(exported, network, layout, about)
            left_out = _quantised(exported, partial, layout, frames, keep)
        annotate(
            partial,
            precision="int8",
            calibration={"source": source, "images": len(frames)},
            float32_layers=left_out,
        )
        return _agreement(path, partial, frames)


def _quantised(
    exported: Path, out: Path, layout: LaneLayout, frames: Sequence[Frame], keep: Sequence[str]
) -> list[str]:
    """Writes the 8-bit model; gives the names of the layers left in float32."""
    import onnx
    from onnxruntime import quantization

    nodes = onnx.load(exported).graph.node
    left_out = [node.name for node in nodes if any(part in _names(node) for part in keep)]
    logging.getLogger().setLevel(logging.ERROR)  # of advice on what is done already
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantization.quantize_static(
            exported,
            out,
            _Reader(layout, frames),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "ConvTranspose", "Add"],
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=left_out,
        )
    return left_out


def _names(node: Any) -> str:
    return " ".join((node.name, *node.input))


def _reader_inputs(
    layout: LaneLayout, frames: Sequence[Frame]
) -> Iterator[dict[str, NDArray[Any]]]:
    preprocess, normalise = make_preprocessor(layout, _CPU), Normalise(layout)
    for frame in frames:
        yield {"images": normalise(preprocess([frame])).contiguous().numpy()}


class _Reader:
    """The inputs one after the other, as ONNX Runtime's calibration asks for them."""

    def __init__(self, layout: LaneLayout, frames: Sequence[Frame]) -> None:
        self._inputs = _reader_inputs(layout, frames)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        return next(self._inputs, None)


def _agreement(path: Path, quantised: Path, frames: Sequence[Frame]) -> Agreement:
    agreement = Agreement()
    eager = LaneDetector.from_weights(path, device="cpu", engine="eager")
    other = LaneDetector.from_weights(quantised, device="cpu", engine="onnx")
    for frame in frames:
        agreement.add(eager(frame), other(frame))
    return agreement
