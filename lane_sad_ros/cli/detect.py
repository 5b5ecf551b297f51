"""`lane_sad detect`: lanes in images, videos, bags and data sets."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from lane_sad_ros.arguments import add_quiet, add_rate, add_topic, positive
from lane_sad_ros.cli.common import (
    CommandError,
    Problems,
    add_detector_options,
    input_errors,
    make_detector,
)
from lane_sad_ros.evaluation import tusimple
from lane_sad_ros.files import below, is_among, writing_lines
from lane_sad_ros.formats import culane as culane_files
from lane_sad_ros.formats import lines
from lane_sad_ros.formats import tusimple as tusimple_files
from lane_sad_ros.formats.inputs import dataset_input, kind_of
from lane_sad_ros.frames import Frame
from lane_sad_ros.image_files import IMAGE_SUFFIXES, Image, write_image
from lane_sad_ros.lanes import LaneLayout
from lane_sad_ros.names import DETECTOR, TF_TOPIC
from lane_sad_ros.pictures.overlay import draw_lanes
from lane_sad_ros.recordings import writing
from lane_sad_ros.recordings.message_types import MESSAGES
from lane_sad_ros.recordings.projection import Projection
from lane_sad_ros.recordings.sources import (
    IMAGE_RATE,
    FrameSource,
    SourceFrame,
    image_files,
    open_frames,
)
from lane_sad_ros.recordings.storage import STORAGE_ENDINGS
from lane_sad_ros.road.model import Road, RoadModel
from lane_sad_ros.video_files import VIDEO_ENDINGS, writing_video

if TYPE_CHECKING:
    from lane_sad_ros.detection import Detection

_LINES, _OVERLAY = "lanes.jsonl", "overlay.mp4"  # in a folder

Sink = Callable[[SourceFrame, Road, "Detection"], None]
"""Takes a frame, what it tells of the road, and what was found in it alone."""

_DETECT = """\
INPUT is
  an image, a folder of images, or a video
  a bag                a rosbag1 .bag, a rosbag2 folder, .db3 or .mcap
  tusimple:ROOT:JSON   the images of a TuSimple label file JSON, below ROOT
  culane:ROOT:LIST     the images of a CULane list file LIST, below ROOT
  bdd100k:FOLDER       the images of a folder, as lane masks

The ending of OUT says what is written:
  a folder             lanes.jsonl and overlays: images for images, overlay.mp4 for a video or bag;
                       for culane:, a .lines.txt beside the place of each image, its lanes run
                       straight on to the last row, as CULane labels them: the ego lane's
                       two and the next on either side, but for short ones;
                       for bdd100k:, a mask of each image, 0 background, else 1 + lane slot
  .jsonl               lanes, one JSON object for each frame
  .mp4 .mkv .avi       overlays as a video
  .jpg .png ...        the overlay of one image
  .mcap .db3           a bag with the node's topics: lanes, existence, ego_lane, markers, points,
                       overlay/compressed; and with camera_info and /tf_static
  .json                for tusimple:, predictions in the benchmark's format

A line of lanes.jsonl: {"frame": name, "stamp": seconds, "image_size": [width, height], "lanes":
[{"slot", "name", "exists", "probability", "points": [[u, v, score], ...]}, ...]}, every slot from
left to right, points in pixels of the original image from its bottom up. On the road, lanes have
"ground" too, [x, y, z] in metres, and the frame "ego_lane".

Lanes are on the road where it is known what the camera sees (camera_info of the bag, or
--camera-info) and how it is mounted (--params-file with camera_height, camera_pitch ..., as
lane_sad calibrate writes it, or else /tf_static of the bag).
"""


def add_parser(commands: Any) -> None:
    """Adds the command to a parser's `commands`."""
    parser = commands.add_parser(
        "detect",
        help="find lanes in images, videos, bags and data sets",
        description=_DETECT,
        epilog="example: lane_sad detect drive.mp4 --output out/ --device cpu",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("input", metavar="INPUT")
    parser.add_argument("--output", required=True, metavar="OUT", help="file or folder to write")
    add_detector_options(parser)
    add_topic(parser)
    add_rate(parser, IMAGE_RATE)
    parser.add_argument(
        "--track",
        action=argparse.BooleanOptionalAction,
        help="follow lanes over time (default: in a video or bag)",
    )
    parser.add_argument(
        "--camera-info", metavar="YAML", help="calibration file of ROS's camera_calibration"
    )
    parser.add_argument(
        "--params-file",
        metavar="YAML",
        help="parameter file of the node: base_frame, camera_height, camera_pitch, ..., "
        "ground_range, marker_lifetime",
    )
    parser.add_argument(
        "--browser-video",
        action="store_true",
        help="write VP9, which browsers play but takes much longer to write, instead of MPEG-4 "
        "part 2, which players play",
    )
    parser.add_argument(
        "--run-time",
        type=positive,
        metavar="MS",
        help="for tusimple: predictions, instead of the measured run time",
    )
    add_quiet(parser)
    parser.set_defaults(run=_detect, parser=parser)


def _detect(options: argparse.Namespace) -> int:
    problems = Problems()
    with input_errors():
        source, rows = _open_input(options, problems.add)
    _check_output(options, source)
    with input_errors():
        projection = Projection(source, options.camera_info, options.params_file)
        detector = make_detector(options)
    tracking = source.kind in ("video", "bag") if options.track is None else options.track
    road_model = RoadModel(tracking)
    masks = kind_of(options.input) == "bdd100k"
    done, lanes, seconds, started = 0, 0, 0.0, time.monotonic()
    too_slow = 0
    with ExitStack() as stack:
        sinks = _sinks(options, source, rows, detector.layout, projection, stack)
        frames = tqdm(
            source, total=source.count, unit="frame", disable=options.quiet, file=sys.stderr
        )
        for frame in frames:
            try:
                (detection,) = detector.detect([Frame(frame.image, "bgr")], segmentation=masks)
                road_model.projector = projection.projector(frame)
            except ValueError as error:
                problems.add(f"{source.path}: {frame.name}: {error}")
                continue
            road = road_model.update(detection.lanes, frame.stamp_ns)
            for sink in sinks:
                sink(frame, road, detection)
            done += 1
            lanes += len(road.lanes.present)
            seconds += detection.seconds
            too_slow += 1000 * detection.seconds > tusimple.RUN_TIME_LIMIT
        if not done:
            raise CommandError(f"{source.path}: no frame that could be used; nothing is written")
    span = time.monotonic() - started
    print(
        f"{done} frames, {lanes / done:.1f} lanes each, {1000 * seconds / done:.0f} ms a frame in "
        f"the detector, {done / span:.1f} frames/s in all -> {options.output}"
    )
    if rows and too_slow and options.run_time is None:
        print(
            f"lane_sad: {too_slow} images took longer than {tusimple.RUN_TIME_LIMIT:.0f} ms, which "
            "the official metric fails; --run-time MS writes another time",
            file=sys.stderr,
        )
    if projection.note:
        print(f"lane_sad: lanes stay in pixels: {projection.note}", file=sys.stderr)
    return problems.exit_code()


def _open_input(
    options: argparse.Namespace, on_bad: Callable[[str], None]
) -> tuple[FrameSource, dict[str, list[float]]]:
    """The frames, and for TuSimple the rows wanted by name of the frame."""
    kind = kind_of(options.input)
    if kind in ("", "bdd100k"):
        path = options.input.removeprefix("bdd100k:")
        source = open_frames(path, topic=options.topic, rate=options.rate, on_bad=on_bad)
        if kind and source.kind != "folder":
            options.parser.error(f"{options.input}: this form of input is bdd100k:FOLDER")
        return source, {}
    try:
        given = dataset_input(options.input)
    except ValueError as error:
        options.parser.error(str(error))
    rows: dict[str, list[float]] = {}
    if kind == "tusimple":
        records = tusimple_files.read_records(given.listing, ("raw_file", "h_samples"))
        rows = {record["raw_file"]: record["h_samples"] for record in records}
    names = list(rows) if kind == "tusimple" else list(culane_files.image_names(given.listing))
    if not names:
        raise CommandError(f"{given.listing}: names no image")
    return image_files(given.root, names, rate=options.rate, on_bad=on_bad), rows


def _check_output(options: argparse.Namespace, source: FrameSource) -> None:
    """Refuses, as wrong use, what cannot be written for this input."""
    output, error = Path(options.output), options.parser.error
    ending = _ending(output)
    known = ("", ".json", ".jsonl", *VIDEO_ENDINGS, *STORAGE_ENDINGS, *IMAGE_SUFFIXES)
    if ending not in known:
        error(
            f"--output {output}: unknown ending {ending}; a folder, .jsonl, .mp4, .mcap, .db3, "
            "an image ending or, for tusimple:, .json is known"
        )
    if ending == ".json" and kind_of(options.input) != "tusimple":
        error(f"--output {output}: .json is for tusimple: input; lanes go to .jsonl")
    if ending != "" and kind_of(options.input) == "bdd100k":
        error(f"--output {output}: masks go to a folder")
    if ending in IMAGE_SUFFIXES and source.kind != "image":
        error(f"--output {output}: one image cannot hold a {source.kind}; name a folder or a video")
    if ending != "" and output.is_dir():
        error(f"--output {output}: a folder is in the way")
    if ending == "" and output.exists() and not output.is_dir():
        error(f"--output {output}: a file is in the way of this folder")
    folder = source.path if source.kind == "folder" else source.path.parent
    given = [options.camera_info, options.params_file, options.weights]
    if kind_of(options.input) in ("tusimple", "culane"):
        given.append(dataset_input(options.input).listing)
    written = [output] if ending else [output / name for name in (_LINES, _OVERLAY)]
    if (
        any(source.reads(path) or is_among(path, given) for path in written)
        or output.resolve() == source.path.resolve()
        or (ending == "" and source.names and output.resolve() == folder.resolve())
    ):
        error(f"--output {output}: this would replace the input")
    becomes = {"bdd100k": ".png", "culane": ".lines.txt"}.get(kind_of(options.input), "")
    places: dict[Path, str] = {}
    for name in source.names if ending == "" else ():
        with input_errors():
            place = below(output, name)
        other = places.setdefault(place.with_suffix(becomes), name) if becomes else name
        if other != name:
            error(
                f"{options.input}: {other} and {name} would both become "
                f"{Path(name).with_suffix(becomes)}; leave one of them out"
            )


def _ending(output: Path) -> str:
    return "" if output.is_dir() else output.suffix.lower()


def _sinks(
    options: argparse.Namespace,
    source: FrameSource,
    rows: dict[str, list[float]],
    layout: LaneLayout,
    projection: Projection,
    stack: ExitStack,
) -> list[Sink]:
    """What to do with each detection; files are closed, and appear, with the stack."""
    output, slots = Path(options.output), layout.slots
    ending = _ending(output)

    def place(frame: SourceFrame, suffix: str = "") -> Path:
        """Where what is made of an image belongs in the folder, with another ending or its own."""
        path = below(output, frame.name)
        path = path.with_suffix(suffix or path.suffix)
        if source.reads(path):
            raise CommandError(f"{path}: is an image of the input; name another folder")
        return path

    if ending == ".jsonl":
        return [_lines(output, slots, stack)]
    if ending == ".json":
        return [_tusimple(output, rows, options.run_time, stack)]
    if ending in VIDEO_ENDINGS:
        return [_video(output, source, options.browser_video, stack)]
    if ending in STORAGE_ENDINGS:
        return [_bag(output, slots, projection, stack)]
    if ending in IMAGE_SUFFIXES:
        return [lambda frame, road, _: write_image(output, _overlay(frame, road))]
    if kind_of(options.input) == "culane":
        return [
            lambda frame, road, _: culane_files.write_lanes(place(frame, ".lines.txt"), road.lanes)
        ]
    if kind_of(options.input) == "bdd100k":
        return [lambda frame, _, detection: _mask(place(frame, ".png"), detection, layout)]
    lines = _lines(output / _LINES, slots, stack)
    if source.kind in ("video", "bag"):
        return [
            lines,
            _video(output / _OVERLAY, source, options.browser_video, stack),
        ]

    def picture(frame: SourceFrame, road: Road, _: Detection) -> None:
        # A grey format holds no colours. Not a.png of a.pgm: there may be an image of that name.
        own = Path(frame.name).suffix
        suffix = f"{own}.png" if own.lower() == ".pgm" else ""
        write_image(place(frame, suffix), _overlay(frame, road))

    return [lines, picture]


def _overlay(frame: SourceFrame, road: Road) -> Image:
    return draw_lanes(frame.image, road.lanes, ego=road.ego)


def _lines(path: Path, slots: Sequence[str], stack: ExitStack) -> Sink:
    add = stack.enter_context(writing_lines(path))
    return lambda frame, road, _: add(
        lines.lane_record(frame.name, frame.stamp, road.lanes, slots, road.ego)
    )


def _video(path: Path, source: FrameSource, for_browsers: bool, stack: ExitStack) -> Sink:
    in_time = source.kind == "video"
    add = stack.enter_context(writing_video(path, source.rate, for_browsers=for_browsers))
    first: list[int] = []

    def sink(frame: SourceFrame, road: Road, _: Detection) -> None:
        first.extend([] if first else [frame.stamp_ns])
        add(_overlay(frame, road), 1e-9 * (frame.stamp_ns - first[0]) if in_time else None)

    return sink


def _bag(path: Path, slots: Sequence[str], projection: Projection, stack: ExitStack) -> Sink:
    bag = stack.enter_context(writing.writing_bag(path))
    parameters = projection.parameters
    first = True

    def sink(frame: SourceFrame, road: Road, _: Detection) -> None:
        nonlocal first
        lanes, stamp = road.lanes, frame.stamp_ns
        header = MESSAGES.header(stamp, frame.frame_id)
        on_road = MESSAGES.header(stamp, parameters.base_frame)
        is_ground = any(lane.ground is not None for lane in lanes)
        if first:
            for transforms in projection.static_transforms(frame):
                bag.write(TF_TOPIC, transforms, stamp)
            first = False
        messages = {
            "lanes": MESSAGES.lane_array(
                lanes, slots, header, parameters.base_frame if is_ground else ""
            ),
            "existence": MESSAGES.lane_existence(lanes, header),
            "markers": MESSAGES.markers(lanes, road.ego, on_road, parameters.marker_lifetime),
            "points": MESSAGES.point_cloud(lanes, on_road),
            "overlay/compressed": MESSAGES.jpeg(_overlay(frame, road), header),
        }
        if road.ego is not None:
            messages["ego_lane"] = MESSAGES.ego_lane(road.ego, on_road)
        for topic, message in messages.items():
            bag.write(f"{DETECTOR}/{topic}", message, stamp)
        for topic, message in projection.messages(frame).items():
            bag.write(topic, message, stamp)

    return sink


def _tusimple(
    path: Path, rows: dict[str, list[float]], run_time: float | None, stack: ExitStack
) -> Sink:
    add = stack.enter_context(writing_lines(path))

    def sink(frame: SourceFrame, road: Road, detection: Detection) -> None:
        took = 1000 * detection.seconds if run_time is None else run_time
        add(tusimple_files.to_record(road.lanes, frame.name, rows[frame.name], took))

    return sink


def _mask(path: Path, detection: Detection, layout: LaneLayout) -> None:
    from lane_sad_ros.detection import segmentation_to_image

    assert detection.segmentation is not None
    mask = segmentation_to_image(detection.segmentation, layout, detection.lanes.image_size)
    write_image(path, mask)
