"""`python -m training`: train lane networks, and make and look at what they are trained on.

Exit codes: 0 done; 1 a task failed; 2 wrong use; 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys

from . import (
    ablation,
    adapt,
    data,
    fit,
    leg,
    pack,
    plots,
    pseudo_label,
    reliability,
    synthesize,
    test,
)


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; gives the exit code. Raises SystemExit(2) for wrong use."""
    options = _parse(arguments)
    try:
        options.run(options)
    except OSError as error:
        return _failed(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except (ValueError, FloatingPointError) as error:
        return _failed(str(error))
    except KeyboardInterrupt:
        return 130
    return 0


def _failed(line: str) -> int:
    print(f"error: {line}", file=sys.stderr)
    return 1


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    description = "Train lane networks, and make and look at what they are trained on."
    parser = argparse.ArgumentParser(prog="python -m training", description=description)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (
        fit, leg, test, synthesize, data, pack, pseudo_label, adapt, reliability, ablation, plots,
    ):  # fmt: skip
        command.add_parser(commands)
    options, rest = parser.parse_known_args(arguments)
    # argparse takes words of any number in one place only; overrides may stand behind options too.
    if rest and (not hasattr(options, "overrides") or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        options.overrides += rest
    return options
