"""`python -m training adapt`: fit weights to a road of one's own."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lane_sad_ros.arguments import count, share


def add_parser(commands: Any) -> None:
    """Adds the command to a parser's `commands`."""
    parser = commands.add_parser(
        "adapt",
        help="fit weights to a road of your own, from a recording without labels",
        description="Labels the frames of a recording that the weights are sure of, lays out the "
        "doubtful ones for labelme, goes on training, and measures before and after on stretches "
        "that are held out. With --review it stops before training: look at review.html, correct "
        "frames in OUTPUT/doubtful, write wrong ones into OUTPUT/struck.txt, and call it again "
        "without --review. See docs/adapt.md.",
    )
    parser.add_argument("recording", help="a folder of images, a video or a bag")
    parser.add_argument("--output", type=Path, required=True, help="folder for all of it")
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="weights file (default: the shipped weights)"
    )
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)"
    )
    parser.add_argument(
        "--every",
        type=count,
        default=5,
        metavar="N",
        help="take every Nth frame (default: %(default)s)",
    )
    parser.add_argument(
        "--sure", type=share, default=0.8, metavar="P",
        help="a lane whose probability is between 1 - P and P is doubtful (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--steps", type=count, default=1000, help="steps of 8 images each (default: %(default)s)"
    )
    parser.add_argument("--review", action="store_true", help="stop before training")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from lane_sad_ros.detection import LaneDetector
    from lane_sad_ros.network.weights import default_weights_path
    from lane_sad_ros.recordings.sources import open_frames

    from ..adapt import adapt, check_recording, collect

    weights = options.weights or default_weights_path()
    check_recording(options.output, options.recording)
    if not (options.output / "kept.json").exists():
        source = open_frames(options.recording, on_bad=tqdm.write)
        detector = LaneDetector.from_weights(weights, device=options.device)
        found = collect(source, detector, options.output, options.every, options.sure)
        print(
            f"{found.kept} frames kept; in {options.output / 'doubtful'}: {found.doubtful} "
            f"doubtful, {found.empty} without a lane"
        )
    if options.review:
        print(f"look at {options.output / 'review.html'}, then call again without --review")
        return
    figures = adapt(options.output, weights, steps=options.steps, device=options.device)
    for name, values in figures.items():
        print(f"{name}: F1 {values['f1']:.3f} on {values['images']:.0f} frames held out")
    print(f"written: {options.output / 'weights.safetensors'}, {options.output / 'report.html'}")
