"""What the commands share: errors for the user, types of arguments, progress."""

from __future__ import annotations

import argparse
import faulthandler
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from lane_sad_ros.arguments import add_weights, count, share
from lane_sad_ros.files import is_among
from lane_sad_ros.names import AUTO, engines_text
from lane_sad_ros.reports.page import check_report_path

if TYPE_CHECKING:  # PyTorch takes seconds to import: only for the commands that compute
    from lane_sad_ros.detection import LaneDetector


def silence_libraries() -> None:
    """Ours alone is the standard error output: what libjpeg and FFmpeg write there is lost."""
    sys.stderr.flush()
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8", errors="replace")
    faulthandler.enable(sys.stderr)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


class CommandError(Exception):
    """A task that failed for a reason the user can mend; the text is one line."""


class Problems:
    """Parts of the input that cannot be used: each is told at once, the command goes on."""

    def __init__(self) -> None:
        self._count = 0

    def add(self, line: str) -> None:
        """Tells one, beside a progress bar if there is one."""
        self._count += 1
        tqdm.write(f"lane_sad: {line}", file=sys.stderr)

    def exit_code(self) -> int:
        """1 if there was any, which is said once more, else 0."""
        if self._count:
            print(f"lane_sad: {self._count} problem(s) with the input, see above", file=sys.stderr)
        return 1 if self._count else 0


@contextmanager
def input_errors() -> Iterator[None]:
    """Errors that speak of the user's input: their text is all the user needs."""
    try:
        yield
    except ValueError as error:
        raise CommandError(str(error)) from error


def add_detector_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that `make_detector` takes."""
    add_weights(parser)
    parser.add_argument(
        "--engine",
        default=AUTO,
        help=f"how the network runs (default: %(default)s). {engines_text()}",
    )
    parser.add_argument(
        "--threads",
        type=count,
        default=0,
        metavar="N",
        help="CPU threads (default: the engine decides)",
    )
    for name in ("existence", "point"):
        parser.add_argument(
            f"--{name}-threshold",
            type=share,
            metavar="P",
            help=f"{name} threshold in [0, 1] instead of that of the weights",
        )


def make_detector(options: argparse.Namespace) -> LaneDetector:
    """The detector of a command's options. Raises ValueError that says what is wrong with them."""
    from lane_sad_ros.detection import LaneDetector

    detector = LaneDetector.from_weights(
        options.weights, device=options.device, engine=options.engine, threads=options.threads
    )
    detector.set_thresholds(existence=options.existence_threshold, point=options.point_threshold)
    return detector


def add_outputs(parser: argparse.ArgumentParser, json: str) -> None:
    """Adds the options for files of figures. json: help on what is special about that of --json."""
    parser.add_argument("--json", type=Path, metavar="OUT", help=json)
    parser.add_argument(
        "--report",
        type=_report_path,
        metavar="OUT.html",
        help="also write a page with the figures, charts and the worst pictures, in one file, and "
        "its numbers beside it as OUT.json",
    )
    parser.set_defaults(parser=parser)


def check_outputs(options: argparse.Namespace, inputs: Iterable[str | Path | None]) -> None:
    """Wrong use where both options of `add_outputs` would write one file, or one of the inputs."""
    report = options.report and (options.report, options.report.with_suffix(".json"))
    for path in filter(None, (options.json, *(report or ()))):
        if is_among(path, inputs):
            options.parser.error(f"{path}: this would replace the input")
    if options.report and options.json and options.report.with_suffix(".json") == options.json:
        options.parser.error(f"--json {options.json}: the report writes its numbers there")


@contextmanager
def progress_bar(images: int) -> Iterator[Callable[[int], object]]:
    """A bar on a terminal, nothing elsewhere."""
    with tqdm(total=images, unit="image", file=sys.stderr, disable=None, leave=False) as bar:
        yield bar.update


def _report_path(text: str) -> Path:
    try:
        return check_report_path(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
