"""`lane_sad bag`: bags made of labelled data sets."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lane_sad_ros.arguments import add_quiet, add_rate, add_topic, positive
from lane_sad_ros.cli.common import Problems, input_errors
from lane_sad_ros.files import is_among
from lane_sad_ros.formats.bag import write_bag
from lane_sad_ros.formats.drives import GAP, open_drive
from lane_sad_ros.formats.inputs import dataset_input, kind_of
from lane_sad_ros.names import (
    BASE_FRAME,
    CAMERA_FRAME,
    CAMERA_TOPIC,
    EGO_TOPIC,
    IMAGE_TOPIC,
    TF_TOPIC,
    TRUTH_TOPIC,
)
from lane_sad_ros.recordings.bags import files_read, is_bag
from lane_sad_ros.recordings.camera_info import read_camera_info
from lane_sad_ros.recordings.sources import IMAGE_RATE
from lane_sad_ros.recordings.storage import STORAGE_ENDINGS

_MAKE = f"""\
Makes a bag of a labelled data set, to be played to the node or evaluated with `lane_sad evaluate
bag`. DATASET is
  tusimple:ROOT:JSON    the images of a TuSimple label file JSON, below ROOT
  culane:ROOT:LIST      the images of a CULane list file LIST, with their .lines.txt, below ROOT
  bdd100k:IMAGES:LABELS the images of a BDD100K label file, or a folder of them
  scenes:FOLDER         what `python -m training synthesize` has rendered, scenes or a drive
  a video, a folder of images, an image or a bag, with its lanes in --labels

OUT.mcap (or .db3) gets, with equal header stamps,
  {IMAGE_TOPIC:<24}  sensor_msgs/CompressedImage: JPEG and PNG files as they are
  {TRUTH_TOPIC:<24}  lane_sad_ros/LaneArray, of the frames that have labels
  {CAMERA_TOPIC:<24}  sensor_msgs/CameraInfo: of rendered scenes, or of --camera-info
  {EGO_TOPIC:<24}  lane_sad_ros/EgoLane: of rendered scenes
  {TF_TOPIC:<24}  {BASE_FRAME} to {CAMERA_FRAME}: of a rendered drive

Lanes that no slot is for, as a fourth one to the left, come behind the slots, as other_1 and so on.
"""


def add_parser(commands: Any) -> None:
    """Adds the command to a parser's `commands`."""
    group = commands.add_parser("bag", help="make bags of labelled data sets")
    actions = group.add_subparsers(title="actions", required=True, metavar="ACTION")
    parser = actions.add_parser(
        "make",
        help="images and true lanes of a data set as a bag",
        description=_MAKE,
        epilog="example: lane_sad bag make tusimple:TUSIMPLE:label_data_0531.json drive.mcap",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dataset", metavar="DATASET")
    parser.add_argument("output", metavar="OUT", help="bag to write, .mcap or .db3")
    parser.add_argument(
        "--clips",
        action="store_true",
        help="tusimple: also the frames of each clip before its labelled one, where they are there",
    )
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="JSONL",
        help="true lanes of a video, folder or bag, in the form that `lane_sad detect` writes",
    )
    parser.add_argument(
        "--camera-info",
        type=Path,
        metavar="YAML",
        help="calibration of the camera, as camera_calibration writes it",
    )
    add_rate(parser, IMAGE_RATE)
    parser.add_argument(
        "--gap",
        type=positive,
        default=GAP,
        metavar="S",
        help="seconds between frames that do not follow on each other, such as a data set's single "
        "images (default: %(default)g)",
    )
    add_topic(parser)
    add_quiet(parser)
    parser.set_defaults(run=_make, parser=parser)


def _make(options: argparse.Namespace) -> int:
    problems = Problems()
    output = Path(options.output)
    if output.suffix.lower() not in STORAGE_ENDINGS:
        options.parser.error(f"{output}: a bag to write must end in .mcap or .db3")
    if options.clips and not options.dataset.startswith("tusimple:"):
        options.parser.error("--clips is for tusimple:")
    if options.labels and (kind_of(options.dataset) or options.dataset.startswith("scenes:")):
        options.parser.error(f"--labels: {options.dataset} has labels of its own")
    given, dataset = [options.labels, options.camera_info], Path(options.dataset)
    if kind_of(options.dataset):
        with input_errors():
            given.append(dataset_input(options.dataset).listing)
    if dataset.is_file() or (dataset.is_dir() and is_bag(dataset)):
        with input_errors():
            given += files_read(dataset)
    if output.resolve() == dataset.resolve() or is_among(output, given):
        options.parser.error(f"{output}: this would replace the input")
    with input_errors():
        drive = open_drive(
            options.dataset,
            problems.add,
            labels=options.labels,
            clips=options.clips,
            rate=options.rate,
            gap=options.gap,
            topic=options.topic,
        )
        calibration = read_camera_info(options.camera_info) if options.camera_info else None
        frames = tqdm(
            drive, total=drive.count, unit="frame", disable=options.quiet, file=sys.stderr
        )
        written = write_bag(output, drive, calibration, frames)
    print(f"{written.frames} frames, {written.labelled} with true lanes -> {output}")
    return problems.exit_code()
