"""The command line, `lane_sad` or `python -m lane_sad_ros`. It needs no ROS.

Exit codes: 0 done; 1 a task failed, or a part of the input could not be used; 2 wrong use; 130
interrupted; 143 ended by SIGTERM. What is wrong with an input is one line on the standard error
output.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence

import cv2

import lane_sad_ros
from lane_sad_ros.cli import bag, benchmark, calibrate, detect, evaluate, weights
from lane_sad_ros.cli.common import CommandError, silence_libraries

_DESCRIPTION = """\
Find lanes in images, folders of images, videos and bags, without ROS; look at weights; score
predictions. Each command has its own --help.
"""
_EXAMPLES = """\
examples:
  lane_sad detect drive.mp4 --output out/        overlay video and lanes of a video
  lane_sad detect photos/ --output lanes.jsonl   lanes of a folder of images
  lane_sad detect drive.bag --output lanes.mcap  the node's topics for a recorded drive
  lane_sad bag make tusimple:DATA:labels.json drive.mcap
                                                 a labelled drive to play and to evaluate
  lane_sad benchmark                             how fast each engine is on this machine
  lane_sad weights show                          what the shipped weights are
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; gives the exit code. Raises SystemExit(2) for wrong use."""
    # What OpenCV complains about is said in our own words.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    if arguments is None:
        silence_libraries()
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="surrogateescape")  # names of files need not be text
        signal.signal(signal.SIGTERM, _terminated)
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except (CommandError, FloatingPointError) as error:  # the latter of a network
        return _failed(str(error))
    except BrokenPipeError:  # the reader of our output has enough, as in `lane_sad ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _failed(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt:
        print("lane_sad: interrupted", file=sys.stderr)
        return 130


def _terminated(number: int, _: object) -> None:
    sys.exit(128 + number)  # by way of every clean-up


def _failed(line: str) -> int:
    print(f"lane_sad: error: {line}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lane_sad",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=lane_sad_ros.__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in (detect, calibrate, evaluate, bag, weights, benchmark):
        command.add_parser(commands)
    return parser
