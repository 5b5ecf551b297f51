"""`python -m training ablation`: compare kinds of distillation, several runs of each."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..ablation import CONFIG, VARIANTS, run_ablation
from ..config import read_config
from .fit import add_overrides


def add_parser(commands: Any) -> None:
    """Adds the command to a parser's `commands`."""
    parser = commands.add_parser(
        "ablation",
        help="compare kinds of distillation, several runs of each",
        description="Trains without distillation and with several kinds of it, and compares them; "
        "see docs/ablation.md. Begun again in its folder, it goes on where it was. The tables "
        "ablation.md and ablation.json there are written anew after every run.",
    )
    parser.add_argument("output", type=Path, help="folder of the runs and of the tables")
    add_overrides(parser)
    parser.add_argument(
        "--config",
        type=Path,
        default=CONFIG,
        help="what all runs share (default: training/configs/ablation.yaml)",
    )
    parser.add_argument(
        "--seeds", type=int, default=3, help="runs of each kind (default: %(default)s)"
    )
    kinds = "; ".join(f"{variant.name}: {variant.description}" for variant in VARIANTS[1:])
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="NAME",
        help=f"kinds to run beside the one without distillation (default: all): {kinds}",
    )
    parser.set_defaults(run=_run, parser=parser)


def _run(options: argparse.Namespace) -> None:
    only = [word for word in options.only if "=" not in word]
    known = [variant.name for variant in VARIANTS]
    unknown = [name for name in only if name not in known]
    if unknown:
        options.parser.error(f"--only: no kind {', '.join(unknown)}; known are {', '.join(known)}")
    overrides = options.overrides + [word for word in options.only if "=" in word]
    run_ablation(read_config(options.config, overrides), options.output, options.seeds, only)
