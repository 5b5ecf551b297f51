"""`python -m training leg`: one leg of a run that goes on in legs, maybe on other machines."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lane_sad_ros.arguments import duration

from ..clock import Clock, process_seconds
from ..config import read_config
from ..legs import MANIFEST, export_leg, import_newer
from .fit import add_overrides


def add_parser(commands: Any) -> None:
    """Adds the command to a parser's `commands`."""
    parser = commands.add_parser(
        "leg",
        help="train for some minutes, and leave what the next leg needs, here or elsewhere",
        description="Goes on from the leg in FOLDER, if there is one, trains until the time is "
        "nearly up, validates, and leaves in FOLDER what the next leg needs, weights and history "
        "included, in files of at most 16 MiB, and the learning curves as curves.png.",
    )
    parser.add_argument(
        "config", type=Path, metavar="CONFIG", help="YAML file, see training/configs"
    )
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="folder that legs are handed on in"
    )
    add_overrides(parser)
    parser.add_argument(
        "--for",
        dest="seconds",
        type=duration,
        default=540.0,
        metavar="TIME",
        help="time of the leg (default: 9m)",
    )
    parser.add_argument(
        "--run",
        dest="output",
        type=Path,
        help="folder of the run on this machine (default: run in FOLDER)",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    clock = Clock(options.seconds, process_seconds())
    from ..fit import fit
    from ..history import read_history
    from ..plots import plot_starts, start_of

    run = options.output or options.folder / "run"
    if (options.folder / MANIFEST).exists():
        import_newer(options.folder, run)
    fit(read_config(options.config, options.overrides), run, clock=clock)
    files = export_leg(run, options.folder)
    drawn = plot_starts({start_of(run): [read_history(run)]}, options.folder / "curves.png")
    curves = "curves.png" if drawn else "no curves yet: nothing was logged"
    print(f"{options.folder}: {files} files for the next leg, {curves}")
