"""Types of command-line arguments, and the options that several commands share."""

from __future__ import annotations

import argparse
import contextlib
import re


def size_text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def parse_size(text: str) -> tuple[int, int]:
    with contextlib.suppress(ValueError):
        width, height = (int(side) for side in text.split("x"))
        if width > 0 and height > 0:
            return width, height
    raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT in pixels, such as 800x288")


def count(text: str) -> int:
    with contextlib.suppress(ValueError):
        if int(text) > 0:
            return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")


def positive(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < float(text) < float("inf"):
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")


def duration(text: str) -> float:
    """Seconds of a time such as 90s, 9m, 1.5h or 1h30m."""
    parts = re.fullmatch(r"(?:([\d.]+)h)?(?:([\d.]+)m)?(?:([\d.]+)s)?", text.strip())
    with contextlib.suppress(ValueError):
        hours, minutes, seconds = (float(part or 0) for part in (parts.groups() if parts else ()))
        if hours or minutes or seconds:
            return 3600 * hours + 60 * minutes + seconds
    raise argparse.ArgumentTypeError(f"{text!r} is not a time above 0, such as 90s, 9m or 1h30m")


def share(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= float(text) <= 1:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number in [0, 1]")


def add_weights(parser: argparse.ArgumentParser) -> None:
    """Adds --weights and --device."""
    parser.add_argument(
        "--weights", metavar="FILE", help="weights file (default: the shipped weights)"
    )
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)"
    )


def add_topic(parser: argparse.ArgumentParser) -> None:
    """Adds --topic."""
    parser.add_argument("--topic", help="image topic of a bag that has several")


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """Adds --quiet."""
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def add_rate(parser: argparse.ArgumentParser, default: float) -> None:
    """Adds --rate."""
    parser.add_argument(
        "--rate",
        type=positive,
        default=default,
        metavar="HZ",
        help="of images that follow on each other and have no stamps (default: %(default)g)",
    )
