"""`python -m training pseudo-label`: label a recording by trained weights."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lane_sad_ros.arguments import add_weights, share


def add_parser(commands: Any) -> None:
    """Adds the command to a parser's `commands`."""
    parser = commands.add_parser(
        "pseudo-label",
        help="label a recording by trained weights",
        description="Labels frames of a recording without labels by trained weights, for "
        "self-training: the folder is then a data set of kind tusimple. Kept are frames in which "
        "the network sees the same lanes in the image, in its mirror image and, in a video or bag, "
        "over time. Look at them (python -m training data tusimple OUTPUT/labels.json --output "
        "samples.jpg --count 60) and take out the lines of labels.json that are wrong.",
    )
    parser.add_argument("input", help="a folder of images, a video or a bag")
    parser.add_argument("output", type=Path, help="folder to write images and labels.json to")
    add_weights(parser)
    parser.add_argument(
        "--every",
        type=int,
        default=1,
        metavar="N",
        help="take every Nth frame (default: %(default)s)",
    )
    parser.add_argument(
        "--sure",
        type=share,
        default=0.8,
        metavar="P",
        help="drop frames with a lane whose probability is neither above P nor below 1 - P "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--partial",
        action="store_true",
        help="keep each frame with a sure lane, in lanes.json: a data set of kind lanes for the "
        "option ego_only, which learns nothing of other slots",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from lane_sad_ros.detection import LaneDetector
    from lane_sad_ros.recordings.sources import open_frames

    from ..pseudo_labels import left_out, pseudo_label

    detector = LaneDetector.from_weights(options.weights, device=options.device)
    source = open_frames(options.input, on_bad=tqdm.write)
    kept, dropped = pseudo_label(
        source, detector, options.output, options.every, options.sure, options.partial
    )
    print(f"{kept} frames in {options.output}; {left_out(dropped)}")
