"""`python -m training synthesize`: render labelled road scenes."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from lane_sad_ros.arguments import parse_size

from ..scenes.drive import DURATION, RATE
from ..scenes.mix import Mix


def add_parser(commands: Any) -> None:
    """Adds the command to a parser's `commands`."""
    parser = commands.add_parser(
        "synthesize", help="render labelled road scenes, as a data set in the TuSimple layout"
    )
    parser.add_argument("output", type=Path, help="folder to fill")
    parser.add_argument("--count", type=int, default=2000, help="scenes (default: %(default)s)")
    parser.add_argument(
        "--drive",
        type=float,
        metavar="SECONDS",
        help="instead of scenes that stand alone, the first seconds of a drive, up to "
        f"{DURATION:g}",
    )
    parser.add_argument(
        "--rate", type=float, default=RATE, help="of a drive's frames, Hz (default: %(default)g)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the first scene (default: %(default)s)"
    )
    parser.add_argument(
        "--processes", type=int, default=1, help="in parallel (default: %(default)s)"
    )
    parser.add_argument(
        "--size",
        type=parse_size,
        metavar="WxH",
        help="of all images; 1640x590 gets cameras like CULane's (scenes: a mix of 16:9, CULane's "
        "shape and 4:3; a drive: 1280x720)",
    )
    shares = parser.add_argument_group("shares of the scenes, 0 to 1")
    for share in fields(Mix):
        shares.add_argument(
            f"--{share.name}",
            type=float,
            default=share.default,
            metavar="SHARE",
            help=f"{share.metadata['help']} (default: %(default)g)",
        )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from ..datasets.synthetic import write_drive, write_scenes

    if options.drive is None:
        labels = write_scenes(
            options.output,
            options.count,
            options.seed,
            options.processes,
            options.size,
            Mix(**{share.name: getattr(options, share.name) for share in fields(Mix)}),
        )
        print(f"{options.count} scenes, labels in {labels}")
        return
    if not (options.drive > 0 and options.rate > 0):
        raise ValueError("--drive and --rate must be above 0")
    labels = write_drive(
        options.output,
        options.drive,
        options.rate,
        options.seed,
        options.processes,
        options.size or (1280, 720),
    )
    print(f"a drive of {options.drive:g} s, labels in {labels}")
