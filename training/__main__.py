"""`python -m training`: render scenes, train a lane network."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from training.datasets.synthetic import write_scenes
from training.fit import fit, read_config


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 failed, 2 wrong use."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    command = commands.add_parser("fit", help="train a network from a configuration file")
    command.add_argument("config", type=Path, help="YAML file, see training/configs")
    command.add_argument(
        "overrides", nargs="*", metavar="key=value", help="values that replace the file's"
    )
    command.add_argument(
        "--output", type=Path, default=Path("runs/latest"), help="folder of the run (%(default)s)"
    )

    command = commands.add_parser(
        "synthesize", help="render labelled road scenes, as a data set in the TuSimple layout"
    )
    command.add_argument("output", type=Path, help="folder to fill")
    command.add_argument("--count", type=int, default=2000, help="scenes (%(default)s)")
    command.add_argument("--seed", type=int, default=0, help="of the first scene (%(default)s)")
    command.add_argument("--processes", type=int, default=1, help="in parallel (%(default)s)")

    options = parser.parse_args(arguments)
    try:
        if options.command == "fit":
            fit(read_config(options.config, options.overrides), options.output)
        else:
            labels = write_scenes(options.output, options.count, options.seed, options.processes)
            print(f"{options.count} scenes, labels in {labels}")
    except (OSError, ValueError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
