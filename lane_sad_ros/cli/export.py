"""`lane_sad weights export` and `quantise`: weights for programs other than PyTorch."""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

from lane_sad_ros.arguments import count
from lane_sad_ros.cli.common import input_errors


def add_actions(actions: Any) -> None:
    """Adds the two actions to the parser of `weights`."""
    export = actions.add_parser(
        "export",
        help="write the network as ONNX or for OpenVINO",
        description="Writes the network in another program's format, after a check that it gives "
        "what PyTorch gives. The detector runs from the .onnx alone: --weights OUT.onnx. "
        "OpenVINO's takes images as uint8 batch x height x width x 3, RGB.",
        epilog="example: lane_sad weights export onnx lanes.onnx",
    )
    export.add_argument("format", choices=("onnx", "openvino"))
    export.add_argument("out", type=Path, metavar="OUT", help="file to write (.onnx, .xml)")
    export.add_argument(
        "--weights", metavar="FILE", help="weights file (default: the shipped weights)"
    )
    export.set_defaults(run=_export, parser=export)
    quantise = actions.add_parser(
        "quantise",
        help="make 8-bit weights (int8)",
        description="Writes the network as ONNX with 8-bit layers, whose ranges are measured on "
        "the images of a folder, video or bag like those it is meant for. Engines openvino and "
        "onnx run it. It says how far its lanes are from those of the weights.",
        epilog="example: lane_sad weights quantise photos/ lanes_int8.onnx",
    )
    quantise.add_argument("images", metavar="INPUT", help="images to measure on, a hundred or so")
    quantise.add_argument("out", type=Path, metavar="OUT", help="file to write (.onnx)")
    quantise.add_argument(
        "--weights", metavar="FILE", help="weights file (default: the shipped weights)"
    )
    quantise.add_argument("--limit", type=count, default=100, help="images (default: %(default)s)")
    quantise.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="NAME",
        help="leave layers in float32 whose name contains this, such as decoder; may be repeated",
    )
    quantise.set_defaults(run=_quantise, parser=quantise)


def _suffix(options: argparse.Namespace, wanted: str) -> None:
    if options.out.suffix != wanted:
        options.parser.error(f"{options.out}: the file's name must end in {wanted}")


def _export(options: argparse.Namespace) -> int:
    _suffix(options, ".onnx" if options.format == "onnx" else ".xml")
    with input_errors():
        from lane_sad_ros.detection import export
        from lane_sad_ros.network import weights

        network, layout, about = weights.load(options.weights or weights.default_weights_path())
        if options.format == "onnx":
            off = export.export_onnx(options.out, network, layout, about)
        else:
            off = export.export_openvino(options.out, network, layout)
    print(f"{options.out}: at most {off:.1e} from PyTorch's logits")
    return 0


def _quantise(options: argparse.Namespace) -> int:
    _suffix(options, ".onnx")
    with input_errors():
        from lane_sad_ros.detection.quantisation import quantise
        from lane_sad_ros.frames import Frame
        from lane_sad_ros.network.weights import default_weights_path
        from lane_sad_ros.recordings.sources import open_frames

        path = Path(options.weights) if options.weights else default_weights_path()
        images = itertools.islice(open_frames(options.images), options.limit)
        frames = [Frame(image.image) for image in images]
        agreement = quantise(path, frames, options.images, options.out, options.keep)
    print(
        f"{options.out}: on these {len(frames)} images {agreement.flags:.2%} of the flags are "
        f"those of the weights, and 99 % of the points within {agreement.pixels():.2f} pixels"
    )
    return 0
