"""Where a frame's time goes on a device, beside the floor that its memory and arithmetic set.

The floor of the network: bytes of weights and of what its layers write and read again over the
bandwidth measured by a copy, and multiply-adds over the speed measured by a matrix product.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from lane_sad_ros.arguments import add_weights
from lane_sad_ros.detection import Frame, LaneDetector
from lane_sad_ros.detection.devices import find_device
from lane_sad_ros.detection.engines.auto import PICTURE
from lane_sad_ros.evaluation import speed
from lane_sad_ros.files import write_json
from lane_sad_ros.image_files import read_image
from lane_sad_ros.network.weights import default_weights_path, load_network


def main() -> None:
    options = _parser().parse_args()
    device = find_device(options.device)
    detector = LaneDetector.from_weights(options.weights, device=options.device, engine="eager")
    frame = Frame(read_image(PICTURE))
    detector.warm_up()
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as profiled:
        for _ in range(5):
            detector.detect([frame])
    order = "self_cuda_time_total" if device.type == "cuda" else "self_cpu_time_total"
    print(profiled.key_averages().table(sort_by=order, row_limit=15))
    result = {"machine": speed.machine(), "floor": _floor(options.weights, device)}
    print(result["floor"])
    if options.json:
        write_json(options.json, result)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmark.profile_stages", description=__doc__)
    add_weights(parser)
    parser.add_argument("--json", type=Path, metavar="OUT")
    return parser


def _floor(weights: str | None, device: torch.device) -> dict[str, Any]:
    network = load_network(weights or default_weights_path()).to(device)
    width, height = network.input_size
    work = {"multiply_adds": 0.0, "bytes": 0.0}

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            taps = module.weight[0, 0].numel() * module.weight.shape[1]
            places = inputs[0] if isinstance(module, nn.ConvTranspose2d) else output
            channels = module.in_channels if places is inputs[0] else module.out_channels
            work["multiply_adds"] += taps * channels * places[0, 0].numel()
            work["bytes"] += 4.0 * (inputs[0].numel() + output.numel() + module.weight.numel())

    for module in network.modules():
        module.register_forward_hook(count)
    with torch.inference_mode():
        network(torch.zeros(1, 3, height, width, device=device))
    large = torch.empty(1 << 26, device=device)
    side = 2048
    square = torch.randn(side, side, device=device)
    bandwidth = 8.0 * large.numel() / _seconds(lambda: large.clone(), device)
    arithmetic = side**3 / _seconds(lambda: square @ square, device)
    return {
        **work,
        "bytes_per_second": bandwidth,
        "multiply_adds_per_second": arithmetic,
        "floor_ms": 1e3 * max(work["bytes"] / bandwidth, work["multiply_adds"] / arithmetic),
    }


def _seconds(run: Callable[[], Tensor], device: torch.device) -> float:
    """The least of several turns."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    main()
