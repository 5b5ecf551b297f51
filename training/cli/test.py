"""`python -m training test`: a run's figures on the official test set, beside the paper's."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_parser(commands: Any) -> None:
    """Adds the command to a parser's `commands`."""
    parser = commands.add_parser(
        "test",
        help="a run's figures on the official test set, beside the paper's",
        description="Predicts the official test list of the benchmark that a run was trained for "
        "(BDD100K: its validation set, as in the paper), writes the official files, scores them by "
        "the official metric and prints the row beside that of ENet-SAD in the paper.",
    )
    parser.add_argument("folder", type=Path, metavar="RUN", help="folder of the run")
    parser.add_argument("--data", type=Path, help="official data set, if not where the run had it")
    parser.add_argument("--output", type=Path, help="folder for the files (RUN/test)")
    parser.add_argument("--best", action="store_true", help="best weights instead of the last")
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)"
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from ..official import score_run, table

    output = options.output or options.folder / "test"
    rows = score_run(options.folder, output, options.data, options.best, options.device)
    print(table(rows))
