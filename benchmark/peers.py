"""Our chain beside that of ENet-SAD_Pytorch, from an image in memory to lanes, on the CPU.

The checkout is the user's: `git clone https://github.com/InhwanBae/ENet-SAD_Pytorch`. Both run one
network with the same random weights at the same size. Theirs is resize, normalise, network without
gradients, softmax and its decoding for TuSimple; ours is `LaneDetector`, with thresholds of 0, so
that every lane is decoded in full.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import torch

from lane_sad_ros.arguments import count, parse_size, size_text
from lane_sad_ros.detection import Frame, LaneDetector
from lane_sad_ros.detection.engines.auto import PICTURE
from lane_sad_ros.evaluation import speed
from lane_sad_ros.files import write_json
from lane_sad_ros.image_files import Image, read_image
from lane_sad_ros.lanes import TUSIMPLE
from lane_sad_ros.names import ENGINES
from lane_sad_ros.network.weights import import_checkpoint, save_network


def main() -> None:
    options = _parser().parse_args()
    image = read_image(options.image)
    torch.manual_seed(0)
    if options.threads:
        torch.set_num_threads(options.threads)
    peer, run_peer = _peer(options.checkout, options.size, image)
    contenders = [speed.Contender("peer", run_peer)]
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, weights = Path(folder, "peer.pth"), Path(folder, "ours.safetensors")
        torch.save(peer.state_dict(), checkpoint)
        network, layout = import_checkpoint(checkpoint, options.size, TUSIMPLE)
        save_network(weights, network, layout, {}, {})
        for name in options.engine or ["eager", "auto"]:
            detector = LaneDetector.from_weights(
                weights, device="cpu", engine=name, threads=options.threads
            )
            detector.set_thresholds(existence=0.0, point=0.0)
            told = f"{name} ({detector.description['engine']})" if name == "auto" else name
            contenders.append(speed.contender(told, detector, [Frame(image)]))
        turns = speed.interleaved(contenders, options.repeats)
    result: dict[str, Any] = {"machine": speed.machine(), "size": size_text(options.size)}
    for name, taken in turns.items():
        result[name] = speed.summary(taken, 1) | {
            "of_peer": speed.ratio(taken, turns["peer"]),
            "cpu_of_peer": speed.cpu_ratio(taken, turns["peer"]),
        }
        total = result[name]["ms"]["total"]
        print(
            f"{name:>24}  {total['median']:7.2f} ms ({total['p10']:.2f}-{total['p90']:.2f})  "
            f"{result[name]['of_peer']:.3f} of the peer's; CPU time "
            f"{result[name]['cpu_ms']['median']:.1f} ms, {result[name]['cpu_of_peer']:.3f}"
        )
    if options.json:
        write_json(options.json, result)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmark.peers", description=__doc__)
    parser.add_argument("checkout", type=Path, help="checkout of ENet-SAD_Pytorch")
    parser.add_argument(
        "--size",
        type=parse_size,
        default=(640, 368),
        metavar="WxH",
        help="size of the network's input (default: 640x368)",
    )
    parser.add_argument(
        "--image", type=Path, default=PICTURE, help="picture (default: a rendered road)"
    )
    parser.add_argument(
        "--engine",
        action="append",
        choices=list(ENGINES),
        metavar="NAME",
        help="of ours, may be repeated (default: eager and auto)",
    )
    parser.add_argument(
        "--threads",
        type=count,
        default=0,
        help="CPU threads of both (default: the libraries decide)",
    )
    parser.add_argument(
        "--repeats", type=count, default=30, metavar="N", help="turns (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="write all figures")
    return parser


def _peer(
    checkout: Path, size: tuple[int, int], image: Image
) -> tuple[torch.nn.Module, Callable[[], dict[str, float]]]:
    """The peer's network, and its chain on an image."""
    sys.path.insert(0, str(checkout))
    try:
        ENet_SAD = importlib.import_module("model_ENET_SAD").ENet_SAD
        getLane = importlib.import_module("utils.prob2lines.getLane")
    except ImportError as error:
        raise SystemExit(f"{checkout}: no checkout of ENet-SAD_Pytorch ({error})") from error
    network = ENet_SAD(size, sad=False).eval()
    mean, std = (torch.tensor(of).view(3, 1, 1) for of in (TUSIMPLE.mean, TUSIMPLE.std))

    def run() -> dict[str, float]:
        marks = [time.perf_counter()]
        # What its transforms Resize, ToTensor and Normalize do; they need torchvision.
        rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        small = cv2.resize(rgb, size, interpolation=cv2.INTER_CUBIC)
        images = torch.from_numpy(small.transpose(2, 0, 1)).float() / 255.0
        images = images.sub_(mean).div_(std)[None]
        marks.append(time.perf_counter())
        with torch.no_grad():
            maps, existence = network(images)[:2]
        marks.append(time.perf_counter())
        getLane.prob2lines_tusimple(
            maps.softmax(dim=1)[0].numpy(),
            [1] * existence.shape[1],
            resize_shape=image.shape[:2],
            y_px_gap=10,
            pts=56,
        )
        marks.append(time.perf_counter())
        stages = ("preprocess", "network", "decode")
        return dict(zip(stages, (b - a for a, b in pairwise(marks)), strict=True))

    return network, run


if __name__ == "__main__":
    main()
