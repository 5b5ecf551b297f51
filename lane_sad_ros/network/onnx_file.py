"""Networks as ONNX files that say what they are, in the same words as weights files.

The file takes `images` (B×3×H×W float32, as `LaneNetwork.forward`) and gives `segmentation` and,
with the existence head, `existence`. Its metadata holds the JSON object of the weights file under
`lane_sad`, and there under `export` how it was made: a reader needs no other file.
"""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import torch

from lane_sad_ros.files import replacing
from lane_sad_ros.lanes import LaneLayout
from lane_sad_ros.network.base import LaneNetwork
from lane_sad_ros.network.deploy import deployable
from lane_sad_ros.network.weights import WeightsError

OPSET = 18
_KEY = "lane_sad"


def onnx_model(network: torch.nn.Module, layout: LaneLayout) -> Any:
    """The ONNX model of a network, of any batch size."""
    width, height = layout.input_size
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the exporter about its own means
        example = torch.zeros(2, 3, height, width)
        outputs = network.eval()(example)
        program = torch.onnx.export(
            deployable(network),
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["segmentation", "existence"][: sum(out is not None for out in outputs)],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def save_onnx(path: Path, network: LaneNetwork, layout: LaneLayout, about: dict[str, Any]) -> None:
    """Writes a network as ONNX. about: the metadata of its weights file."""
    import onnx

    model = onnx_model(network, layout)
    export = {
        "opset": OPSET,
        "precision": "float32",
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
    }
    onnx.helper.set_model_props(model, {_KEY: json.dumps({**about, "export": export})})
    with replacing(path) as partial:
        partial.write_bytes(model.SerializeToString())


def annotate(path: Path, **facts: Any) -> None:
    """Adds facts (JSON values) to what an exported file says of its export."""
    import onnx

    metadata = read_onnx(path)[1]
    metadata["export"] |= facts
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {_KEY: json.dumps(metadata)})
    with replacing(path) as partial:
        partial.write_bytes(model.SerializeToString())


def read_onnx(path: Path) -> tuple[LaneLayout, dict[str, Any]]:
    """The layout and metadata of an exported network. Raises WeightsError."""
    try:
        import onnx
    except ImportError as error:
        raise WeightsError(
            f"{path}: ONNX files need onnx; install with: pip install 'lane_sad_ros[onnx]'"
        ) from error
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file; check the path")
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:  # a damaged file fails in any way
        raise WeightsError(f"{path}: not a complete ONNX file; get or export it again") from error
    text = next((entry.value for entry in model.metadata_props if entry.key == _KEY), None)
    try:
        metadata = json.loads(text or "")
        return LaneLayout.from_json(json.dumps(metadata["layout"])), metadata
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{path}: ONNX without the description `{_KEY}` in its metadata, so not a network of "
            "this project; make one with `lane_sad weights export onnx`"
        ) from error
