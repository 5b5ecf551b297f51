"""`lane_sad evaluate bag`: a recorded drive with true lanes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from lane_sad_ros import files
from lane_sad_ros.arguments import add_quiet, add_topic, size_text
from lane_sad_ros.cli.common import (
    Problems,
    add_detector_options,
    add_outputs,
    check_outputs,
    input_errors,
    make_detector,
)
from lane_sad_ros.evaluation.offline import images_of, replay_bag, replay_recording
from lane_sad_ros.evaluation.replay import Replay
from lane_sad_ros.evaluation.scores import FIRST_ROW, in_words, score
from lane_sad_ros.formats.tusimple import IMAGE_SIZE
from lane_sad_ros.names import DETECTOR, TRUTH_TOPIC
from lane_sad_ros.recordings.bags import files_read
from lane_sad_ros.reports.drive_report import write_report
from lane_sad_ros.road.model import RoadModel

if TYPE_CHECKING:
    from lane_sad_ros.recordings.bags import Recorded

_DESCRIPTION = """\
The figures of TuSimple and CULane over a bag of images and true lanes, such as `lane_sad bag make`
makes: every image is read, in the order of the recording, so the same bag gives the same figures.
True lanes (lane_sad_ros/LaneArray) belong to the image with an equal header stamp. A frame that
cannot be read counts as one where no lane was found.
"""


def add_parser(benchmarks: Any) -> None:
    """Adds the command to a parser's `benchmarks`."""
    parser = benchmarks.add_parser(
        "bag",
        help="a recorded drive with true lanes, by the rules of TuSimple and CULane",
        description=_DESCRIPTION,
        epilog="example: lane_sad bag make tusimple:DATA:labels.json drive.mcap && "
        "lane_sad evaluate bag drive.mcap --report report.html",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bag", type=Path, metavar="BAG", help=".mcap, .db3, .bag or a folder")
    add_detector_options(parser)
    add_topic(parser)
    parser.add_argument(
        "--truth-topic",
        default=TRUTH_TOPIC,
        metavar="TOPIC",
        help="of the true lanes (default: %(default)s)",
    )
    parser.add_argument(
        "--predictions-topic",
        metavar="TOPIC",
        help=f"score the lanes of this topic of the bag, such as {DETECTOR}/lanes, instead of "
        "detecting",
    )
    parser.add_argument(
        "--track",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="follow lanes over time, as the node does by default (default: %(default)s)",
    )
    parser.add_argument(
        "--first-row",
        type=_row,
        default=FIRST_ROW,
        metavar="V",
        help="TuSimple's figures are taken from this row of 1280x720 on (default: %(default)s, as "
        "in most of its labels; those of session 0313 begin at 240)",
    )
    add_outputs(
        parser,
        json="also write all figures to this file; all but those under timing are the same each "
        "time",
    )
    add_quiet(parser)
    parser.set_defaults(run=_bag)


def _row(text: str) -> int:
    if text.isdecimal() and int(text) < IMAGE_SIZE[1]:
        return int(text)
    raise argparse.ArgumentTypeError(
        f"{text!r} is no row of an image of {size_text(IMAGE_SIZE)} pixels"
    )


def _bag(options: argparse.Namespace) -> int:
    problems = Problems()
    with input_errors():
        check_outputs(options, [*files_read(options.bag), options.weights])
        replay = _replay(options, problems.add)
        scores = score(replay, options.first_row)
    print(in_words(scores, "in the detector"))
    if options.json:
        about = {"mode": replay.mode, "settings": replay.settings}
        files.write_json(options.json, about | scores.as_dict())
    if options.report:
        title, image = f"Lanes of {options.bag.name}", images_of(options.bag, replay)
        write_report(options.report, replay, scores, title=title, image=image)
    return problems.exit_code()


def _replay(options: argparse.Namespace, on_bad: Callable[[str], None]) -> Replay:
    if options.predictions_topic:
        return replay_recording(
            options.bag,
            options.predictions_topic,
            topic=options.topic,
            truth_topic=options.truth_topic,
            on_bad=on_bad,
        )

    def progress(messages: Iterable[Recorded], count: int) -> Iterable[Recorded]:
        bar: Iterable[Recorded] = tqdm(
            messages, total=count, unit="frame", disable=options.quiet, file=sys.stderr
        )
        return bar

    return replay_bag(
        options.bag,
        make_detector(options),
        topic=options.topic,
        truth_topic=options.truth_topic,
        road=RoadModel() if options.track else None,
        on_bad=on_bad,
        progress=progress,
    )
