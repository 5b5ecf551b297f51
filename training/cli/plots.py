"""`python -m training plots`: pictures of what distillation does."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_parser(commands: Any) -> None:
    """Adds the command to a parser's `commands`."""
    parser = commands.add_parser(
        "plots",
        help="plot attention maps and learning curves of runs",
        description="Draws the attention maps of each block of one network, or of several for "
        "comparison (attention.jpg), those that each mapping function gives of the last network "
        "(mappings.jpg), and learning curves of the runs by the start of distillation "
        "(starts.png); see docs/distillation.md.",
    )
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="folders of runs, or weights files; the one without distillation first",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for the pictures")
    parser.add_argument(
        "--images",
        nargs="+",
        type=Path,
        default=(),
        metavar="PATH",
        help="image files or folders of them to look at; without any, rendered scenes",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from ..plots import draw

    draw(options.runs, options.output, options.images)
