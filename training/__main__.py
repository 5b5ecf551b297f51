"""`python -m training`: train lane networks, and make and look at what they are trained on."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lane_sad_ros.arguments import parse_size

from . import ablation, plots, pseudo_labels
from .config import Source, read_config
from .datasets import KINDS, SPLITS
from .datasets.bdd100k import BDD100K, write_truth
from .datasets.inspect import inspect
from .datasets.synthetic import write_drive, write_scenes
from .fit import fit
from .scenes.drive import DURATION, RATE


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 failed, 2 wrong use."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    command = commands.add_parser(
        "fit",
        help="train a network from a configuration file",
        description="Trains a network. A run that is begun again in its folder goes on exactly "
        "where its last checkpoint was. On several GPUs or machines: torchrun ... -m training fit "
        "CONFIG, see docs/training.md.",
    )
    command.add_argument("config", type=Path, help="YAML file, see training/configs")
    command.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="values that replace the file's, such as steps=100 or distillation.weight=0",
    )
    command.add_argument(
        "--output", type=Path, default=Path("runs/latest"), help="folder of the run (%(default)s)"
    )

    command = commands.add_parser(
        "synthesize", help="render labelled road scenes, as a data set in the TuSimple layout"
    )
    command.add_argument("output", type=Path, help="folder to fill")
    command.add_argument("--count", type=int, default=2000, help="scenes (%(default)s)")
    command.add_argument(
        "--drive",
        type=float,
        metavar="SECONDS",
        help="instead of scenes that stand alone, the first seconds of a drive, up to "
        f"{DURATION:g}",
    )
    command.add_argument(
        "--rate", type=float, default=RATE, help="of a drive's frames, Hz (%(default)g)"
    )
    command.add_argument("--seed", type=int, default=0, help="of the first scene (%(default)s)")
    command.add_argument("--processes", type=int, default=1, help="in parallel (%(default)s)")
    command.add_argument(
        "--size",
        type=parse_size,
        metavar="WxH",
        help="of the images; 1640x590 gets cameras like CULane's (640x360; a drive 1280x720)",
    )
    for name, roads in (("unmarked", "without any marking"), ("sparse", "with few markings")):
        command.add_argument(
            f"--{name}", type=float, default=0.1, help=f"share of roads {roads} (%(default)s)"
        )

    command = commands.add_parser(
        "data", help="say what is in a data set, and draw samples with their labels"
    )
    command.add_argument("kind", choices=KINDS, help="rendered scenes are of kind tusimple")
    command.add_argument("path", type=Path, help="label file, list or folder; see docs/datasets.md")
    command.add_argument("--split", choices=SPLITS, help="of an official data set in folder PATH")
    command.add_argument("--root", type=Path, help="folder that image paths start at")
    command.add_argument("--output", type=Path, help="image file to draw samples to")
    command.add_argument("--count", type=int, default=12, help="samples to draw (%(default)s)")
    command.add_argument(
        "--truth", type=Path, help="folder for the masks that `evaluate bdd100k` compares with"
    )

    pseudo_labels.add_arguments(
        commands.add_parser("pseudo-label", help="label a recording by trained weights")
    )
    ablation.add_arguments(
        commands.add_parser("ablation", help="compare kinds of distillation, several runs of each")
    )
    plots.add_arguments(
        commands.add_parser("plots", help="plot attention maps and learning curves of runs")
    )

    options = parser.parse_args(arguments)
    try:
        if options.command == "fit":
            fit(read_config(options.config, options.overrides), options.output)
        elif options.command == "synthesize":
            _synthesize(options)
        elif options.command == "data":
            source = Source(options.path, options.kind, options.split, options.root)
            dataset = source.open()
            inspect(dataset, options.output, options.count)
            if options.truth is not None:
                if not isinstance(dataset, BDD100K):
                    raise ValueError("--truth is for BDD100K, whose metric compares masks")
                write_truth(dataset, options.truth)
        else:
            options.run(options)
    except (OSError, ValueError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _synthesize(options: argparse.Namespace) -> None:
    if options.drive is None:
        labels = write_scenes(
            options.output,
            options.count,
            options.seed,
            options.processes,
            options.size or (640, 360),
            options.unmarked,
            options.sparse,
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


if __name__ == "__main__":
    sys.exit(main())
