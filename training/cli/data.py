"""`python -m training data`: say what is in a data set, and draw samples with their labels."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..config import Source
from ..datasets import KINDS, SPLITS


def add_parser(commands: Any) -> None:
    """Adds the command to a parser's `commands`."""
    parser = commands.add_parser(
        "data", help="say what is in a data set, and draw samples with their labels"
    )
    parser.add_argument(
        "kind",
        choices=KINDS,
        help="kind of data set; of rendered scenes: tusimple, or scenes for their recipe.json",
    )
    parser.add_argument("path", type=Path, help="label file, list or folder; see docs/datasets.md")
    parser.add_argument("--split", choices=SPLITS, help="of an official data set in folder PATH")
    parser.add_argument("--root", type=Path, help="folder that image paths start at")
    parser.add_argument("--output", type=Path, help="image file to draw samples to")
    parser.add_argument(
        "--count", type=int, default=12, help="samples to draw (default: %(default)s)"
    )
    parser.add_argument(
        "--truth", type=Path, help="folder for the masks that `evaluate bdd100k` compares with"
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from ..datasets.bdd100k import BDD100K, write_truth
    from ..datasets.inspect import inspect
    from ..datasets.packed import verify

    dataset = Source(options.path, options.kind, options.split, options.root).open()
    if options.kind == "packed":
        verify(options.path)
    inspect(dataset, options.output, options.count)
    if options.truth is not None:
        if not isinstance(dataset, BDD100K):
            raise ValueError("--truth is for BDD100K, whose metric compares masks")
        write_truth(dataset, options.truth)
