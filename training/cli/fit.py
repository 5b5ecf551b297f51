"""`python -m training fit`: train a network from a configuration file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..config import keys, read_config


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
        "--output", type=Path, default=Path("runs/latest"), help="folder of the run (%(default)s)"
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

    fit(read_config(options.config, options.overrides), options.output)
