"""`python -m training reliability`: existence probabilities that mean what they say."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..config import read_config


def add_parser(commands: Any) -> None:
    """Adds the command to a parser's `commands`."""
    parser = commands.add_parser(
        "reliability",
        help="measure how right existence probabilities are, and correct them",
        description="Compares the existence probabilities of trained weights with the labels of "
        "the validation sets of a configuration. With --output, the probabilities are corrected on "
        "every second image, measured on the others, and written as weights.",
    )
    parser.add_argument("config", type=Path, help="YAML file, whose validation sets are used")
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="weights file (default: the shipped weights)"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="corrected weights to write")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="reliability diagram to write")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from lane_sad_ros.network.weights import default_weights_path, load, save_network

    from .. import reliability
    from ..datasets import Reading

    weights = options.weights or default_weights_path()
    network, layout, metadata = load(weights)
    config = read_config(options.config)
    if not config.validation:
        raise ValueError(f"{options.config}: names no validation sets, which are what is measured")
    sets = [source.open(Reading.for_layout(layout, 0)) for source in config.validation]
    found = reliability.answers(network, layout, sets)
    fit, rest = found.halves()
    scale, shift = reliability.fitted(fit)
    after = rest.changed(scale, shift)
    print(f"{len(found.logits)} lane slots of {sum(map(len, sets))} images")
    before = reliability.calibration_error(rest)
    print(f"expected calibration error on every second image: {before:.4f}")
    error = reliability.calibration_error(after)
    print(f"with logits x {scale:.3f} {shift:+.3f}, fitted on the others: {error:.4f}")
    if options.plot:
        reliability.plot(rest, after, options.plot)
    if options.output:
        reliability.apply(network, scale, shift)
        training = {**metadata["training"], "existence": {"scale": scale, "shift": shift}}
        save_network(options.output, network, layout, training, metadata["figures"])
        print(f"written: {options.output}")
