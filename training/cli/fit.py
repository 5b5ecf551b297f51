"""`python -m training fit`: train a network from a configuration file."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from lane_sad_ros.arguments import duration

from ..clock import Clock, process_seconds
from ..config import keys, read_config
from ..legs import export_leg, import_leg


def add_parser(commands: Any) -> None:
    """Adds the command to a parser's `commands`."""
    parser = commands.add_parser(
        "fit",
        help="train a network from a configuration file",
        description="Trains a network. A run that is begun again in its folder goes on exactly\n"
        "where its last checkpoint was. On several GPUs or machines:\n"
        "torchrun ... -m training fit CONFIG, see docs/training.md.",
        epilog="keys, with type, default and meaning:\n" + _key_table(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", type=Path, help="YAML file, see training/configs")
    add_overrides(parser)
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("runs/latest"),
        help="folder of the run (default: %(default)s)",
    )
    parser.add_argument(
        "--for",
        dest="seconds",
        type=duration,
        metavar="TIME",
        help="stop cleanly before this time, such as 9m; the same command then goes on",
    )
    parser.add_argument(
        "--export-leg",
        type=Path,
        metavar="FOLDER",
        help="leave there what the next leg needs, in files of at most 16 MiB",
    )
    parser.add_argument(
        "--import-leg",
        type=Path,
        metavar="FOLDER",
        help="go on from a leg that was exported there, in a new folder of the run",
    )
    parser.set_defaults(run=_run)


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Adds the words `key=value`, which may stand before and behind any option."""
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="values that replace the file's, such as steps=100 or distillation.weight=0",
    )


def _key_table() -> str:
    """Two lines for each key; a percent sign would be a format to argparse."""
    lines = (f"  {k.name} ({k.type}) = {k.default}\n      {k.text}\n" for k in keys())
    return "".join(lines).replace("%", "%%")


def _run(options: argparse.Namespace) -> None:
    from ..fit import fit

    clock = None if options.seconds is None else Clock(options.seconds, process_seconds())
    config = read_config(options.config, options.overrides)
    # Under torchrun the other processes wait in `fit` for the first one.
    is_first = int(os.environ.get("RANK", "0")) == 0
    if options.import_leg is not None and is_first:
        import_leg(options.import_leg, options.output)
    fit(config, options.output, clock=clock)
    if options.export_leg is not None and is_first:
        files = export_leg(options.output, options.export_leg)
        print(f"{options.export_leg}: {files} files for the next leg")
