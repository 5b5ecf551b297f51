"""Samples a second that training takes, by stage and batch, on the device of a configuration.

draw: what one reading process prepares. change: augmentation and label drawing on the device.
step: all that the device does, with batches at hand. fit: the run as it is, with its workers.
On a GPU also the share of the run in which it computes, and how often a step waits for it.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from lane_sad_ros.evaluation import speed
from lane_sad_ros.files import write_json
from training.cli.fit import add_overrides
from training.config import PRECISIONS, Config, read_config
from training.distributed import make_fabric
from training.learner import Learner
from training.samples import Samples, batches

# Batches that are at hand; steps before any is timed, which compile and choose algorithms.
_AT_HAND = 4
_WARM_UP = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmark.training_rate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", type=Path, help="YAML file, see training/configs")
    add_overrides(parser)
    parser.add_argument(
        "--batch", nargs="+", type=int, metavar="N", help="sizes (default: the configuration's)"
    )
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="for each stage (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures there")
    options = parser.parse_intermixed_args(arguments)
    try:
        config = read_config(options.config, options.overrides)
        results = []
        for batch in options.batch or [config.batch]:
            results.append(measure(dataclasses.replace(config, batch=batch), options.seconds))
            print(_in_words(results[-1]), flush=True)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.json:
        write_json(options.json, {"machine": speed.machine(), "rates": results})
    return 0


def measure(config: Config, seconds: float) -> dict[str, Any]:
    """The rates of a configuration, samples/s by stage; see the module."""
    layout, fabric = config.lane_layout(), make_fabric(config.device, PRECISIONS[config.precision])
    samples = Samples.opened(config, layout)
    on_gpu = fabric.device.type == "cuda"
    kept = samples.keep(fabric.device) if config.cache == "device" else None
    learner = Learner(config, layout, fabric, kept)
    at_hand = list(batches(samples, fabric, 0, _AT_HAND))
    steps = itertools.count(config.distillation.start)  # where all of the loss is computed

    def learn() -> None:
        step = next(steps)
        learner.learn(at_hand[step % _AT_HAND], step)

    def wait() -> None:
        if on_gpu:
            torch.cuda.synchronize(fabric.device)

    for _ in range(_WARM_UP):
        learn()
    numbers, turns = itertools.count(), itertools.cycle(at_hand)
    result: dict[str, Any] = {
        "batch": config.batch,
        "draw": _rate(lambda: samples[next(numbers)], wait, seconds),
        "change": config.batch * _rate(lambda: learner.changes(next(turns)), wait, seconds),
        "step": config.batch * _rate(learn, wait, seconds),
    }
    # As many steps as the device can do in that time.
    ahead = max(1, round(result["step"] / config.batch * seconds))
    loaded = batches(samples, fabric, 0, 1 + ahead)
    learner.learn(next(loaded), next(steps))  # when the workers have started
    wait()
    began = time.perf_counter()
    for batch in loaded:
        learner.learn(batch, next(steps))
    wait()
    result["fit"] = config.batch * ahead / (time.perf_counter() - began)
    if on_gpu:
        result |= {"busy": _busy(learn, wait), "waits": _waits(learn)}
    return result


def _rate(act: Callable[[], object], wait: Callable[[], None], seconds: float) -> float:
    """How often a second something is done, waiting for the device only at the end."""
    wait()
    began, count = time.perf_counter(), 0
    while count == 0 or time.perf_counter() - began < seconds:
        act()
        count += 1
    wait()
    return count / (time.perf_counter() - began)


def _busy(learn: Callable[[], None], wait: Callable[[], None], steps: int = 10) -> float:
    """The share of the time of some steps in which the GPU computes."""
    wait()
    began = time.perf_counter()
    for _ in range(steps):
        learn()
    wait()
    gone = time.perf_counter() - began
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:  # which takes time of its own
        for _ in range(steps):
            learn()
        wait()
    return sum(e.self_device_time_total for e in profiled.key_averages()) / 1e6 / gone


def _waits(learn: Callable[[], None]) -> int:
    """How often a step waits for the GPU."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            learn()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return len(found)


def _in_words(result: dict[str, Any]) -> str:
    stages = ", ".join(f"{name} {result[name]:.1f}" for name in ("draw", "change", "step", "fit"))
    words = f"batch {result['batch']}: {stages} samples/s"
    if "busy" in result:
        words += f"; the GPU is busy {100 * result['busy']:.0f} %, {result['waits']} waits a step"
    return words


if __name__ == "__main__":
    sys.exit(main())
