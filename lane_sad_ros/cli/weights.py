"""`lane_sad weights`: what a weights file is, imports of others' checkpoints, means of several."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lane_sad_ros.arguments import parse_size, size_text
from lane_sad_ros.cli import export
from lane_sad_ros.cli.common import input_errors
from lane_sad_ros.lanes import LAYOUTS


def add_parser(commands: Any) -> None:
    """Adds the command to a parser's `commands`."""
    group = commands.add_parser(
        "weights", help="look at weights; export, import, average, quantise them"
    )
    actions = group.add_subparsers(title="actions", required=True, metavar="ACTION")
    show = actions.add_parser("show", help="what a weights file says of itself")
    show.add_argument(
        "file", nargs="?", metavar="FILE", help="weights file (default: the shipped weights)"
    )
    show.set_defaults(run=_run_show)
    convert = actions.add_parser(
        "import",
        help="make a weights file of a checkpoint of ENet-SAD_Pytorch",
        description="Makes a weights file of a PyTorch checkpoint of ENet-SAD_Pytorch, whose "
        "network then gives the same output.",
        epilog="example: lane_sad weights import exp10_best.pth mine.safetensors "
        "--input-size 800x288",
    )
    convert.add_argument("file", metavar="FILE", help="its checkpoint or state_dict (.pth)")
    convert.add_argument("out", metavar="OUT", help="weights file to write (.safetensors)")
    convert.add_argument(
        "--input-size",
        type=parse_size,
        required=True,
        metavar="WxH",
        help="network input it was trained at, for example 800x288 (CULane), 640x368 (TuSimple)",
    )
    convert.add_argument(
        "--layout",
        choices=sorted(LAYOUTS),
        default="culane",
        help="camera and decoding to use it with (default: %(default)s)",
    )
    convert.set_defaults(run=_import)
    export.add_actions(actions)
    mean = actions.add_parser(
        "average",
        help="make the mean of the weights of several runs",
        description="Makes the mean, tensor by tensor, of weights files of one network and one "
        "layout. Of runs that went on from one another it is often better than each. Its figures "
        "are still to be measured.",
    )
    mean.add_argument("files", nargs="+", metavar="FILE", help="weights files, at least two")
    mean.add_argument("out", metavar="OUT", help="weights file to write (.safetensors)")
    mean.set_defaults(run=_average, parser=mean)


def _run_show(options: argparse.Namespace) -> int:
    from lane_sad_ros.network import weights

    with input_errors():
        path = Path(options.file or weights.default_weights_path())
        if path.suffix.lower() == ".onnx":
            from lane_sad_ros.network.onnx_file import read_onnx

            layout, metadata = read_onnx(path)
            parameters = metadata["export"]["parameters"]
        else:
            network, layout, metadata = weights.load(path)
            parameters = sum(parameter.numel() for parameter in network.parameters())
    built = [
        f"{name} {'yes' if value else 'no'}"
        for name, value in metadata["network"].items()
        if name != "arch"
    ]
    lines = {
        "file": f"{path} ({path.stat().st_size / 1e6:.2f} MB, format {metadata['format']})",
        "network": f"{metadata['network']['arch']} ({', '.join(built)}), {parameters:,} parameters",
        "layout": f"{layout.name}: {', '.join(layout.slots)}",
        "camera": f"{size_text(layout.image_size)}, crop {layout.crop} (left, top, right, bottom)",
        "network input": f"{size_text(layout.input_size)}, RGB mean {layout.mean}, "
        f"std {layout.std}",
        "decoding": f"rows {layout.decoding.rows} (start, stop, step), smoothing "
        f"{layout.decoding.smoothing}, point threshold {layout.decoding.point_threshold}, "
        f"existence threshold {layout.decoding.existence_threshold}, side margin "
        f"{layout.decoding.side_margin:g}",
        "training": metadata["training"] or "not told",
        "figures": metadata["figures"] or "none measured",
        **({"export": metadata["export"]} if "export" in metadata else {}),
    }
    for name, value in lines.items():
        _show(name, value, 0)
    return 0


def _show(name: str, value: Any, depth: int) -> None:
    label = f"{'  ' * depth}{name}:"
    if isinstance(value, dict):
        print(label)
        for key, entry in value.items():
            _show(key, entry, depth + 1)
    elif isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        print(label)
        for entry in value:
            print(f"{'  ' * depth}  - {', '.join(f'{key} {part}' for key, part in entry.items())}")
    elif isinstance(value, float):
        print(f"{label:<15} {value:.6g}")
    else:
        print(f"{label:<15} {value}")


def _import(options: argparse.Namespace) -> int:
    from lane_sad_ros.network import weights

    with input_errors():
        network, layout = weights.import_checkpoint(
            options.file, options.input_size, LAYOUTS[options.layout]
        )
        training = {"imported from": f"{Path(options.file).name}, ENet-SAD_Pytorch"}
        Path(options.out).parent.mkdir(parents=True, exist_ok=True)
        weights.save_network(options.out, network, layout, training, {})
    print(f"{len(layout.slots)} lanes at {size_text(layout.input_size)} -> {options.out}")
    return 0


def _average(options: argparse.Namespace) -> int:
    from lane_sad_ros.network import weights

    if len(options.files) < 2:
        options.parser.error("a mean needs at least two weights files before OUT")
    if Path(options.out).resolve() in [Path(file).resolve() for file in options.files]:
        options.parser.error(f"{options.out}: one of the files to average; name another for OUT")
    with input_errors():
        network, layout, training = weights.average(options.files)
        weights.save_network(options.out, network, layout, training, {})
    print(f"mean of {len(options.files)} files -> {options.out}")
    return 0
