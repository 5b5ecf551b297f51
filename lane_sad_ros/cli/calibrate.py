"""`lane_sad calibrate`: how a camera is mounted, from a drive on a straight road."""

from __future__ import annotations

import argparse
import math
import sys
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lane_sad_ros.arguments import add_quiet, add_topic, add_weights, count, positive
from lane_sad_ros.cli.common import CommandError, Problems, input_errors
from lane_sad_ros.files import is_among, write_text
from lane_sad_ros.frames import Frame
from lane_sad_ros.image_files import is_image_name, write_image
from lane_sad_ros.lanes import Lanes
from lane_sad_ros.names import is_rectified
from lane_sad_ros.pictures.calibrated import calibration_words, draw_fit
from lane_sad_ros.recordings.camera_info import read_camera_info, recorded_camera_info
from lane_sad_ros.recordings.sources import FrameSource, open_frames
from lane_sad_ros.road.calibration import Calibration, calibrate
from lane_sad_ros.road.camera import CalibrationError, CameraModel

_DESCRIPTION = """\
Finds how a camera is mounted from the lanes of a drive along a straight, level, well-marked road:
pitch and yaw from the point where the lane lines meet, the height from the lane's width, the roll
where there are lanes of the same width on both sides (else it is taken as 0). DRIVE is a video, a
folder of images or a bag.

What the camera itself does to directions is not found here; it is taken from
  the camera_info of a bag,
  --camera-info        a file of ROS's camera_calibration, or a camera_info topic of the bag, or
  --hfov               the horizontal field of view of a lens without distortion.

Writes the parameters camera_height, camera_pitch, camera_roll, camera_yaw, camera_x and camera_y of
the node, to be passed with params_file:=OUT. The height is proportional to --lane-width: measure
it, or look it up (between the middles of the lines; often 3.5 to 3.75 m on motorways).

Ends with code 1 and says what the drive lacks if it does not suffice.
"""
_EPILOG = """\
example: lane_sad calibrate drive.mp4 --hfov 62 --lane-width 3.65 --output calibration.yaml \
--picture fit.jpg
"""


def add_parser(commands: Any) -> None:
    """Adds the command to a parser's `commands`."""
    parser = commands.add_parser(
        "calibrate",
        help="find how a camera is mounted from a drive on a straight road",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("drive", metavar="DRIVE")
    parser.add_argument(
        "--output", required=True, type=Path, metavar="YAML", help="parameters to write"
    )
    parser.add_argument(
        "--lane-width",
        required=True,
        type=positive,
        metavar="M",
        help="metres between the middles of the ego lane's lines",
    )
    parser.add_argument("--picture", type=Path, metavar="IMAGE", help="also draw the fit")
    intrinsics = parser.add_mutually_exclusive_group()
    intrinsics.add_argument(
        "--camera-info", metavar="YAML", help="the camera's own calibration; or a topic of the bag"
    )
    intrinsics.add_argument(
        "--hfov", type=positive, metavar="DEG", help="horizontal field of view, degrees"
    )
    for name, direction in (("x", "ahead of"), ("y", "to the left of")):
        parser.add_argument(
            f"--camera-{name}",
            type=float,
            default=0.0,
            metavar="M",
            help=f"where the camera is, metres {direction} the vehicle frame's origin "
            "(default: %(default)g)",
        )
    parser.add_argument(
        "--frames",
        type=count,
        default=300,
        metavar="N",
        help="frames to look at, spread over the drive (default: %(default)s)",
    )
    add_weights(parser)
    add_topic(parser)
    add_quiet(parser)
    parser.set_defaults(run=_run, parser=parser)


def _run(options: argparse.Namespace) -> int:
    for path in filter(None, (options.output, options.picture)):
        if path.is_dir():
            options.parser.error(f"{path}: a folder is in the way")
    if options.picture and not is_image_name(options.picture):
        options.parser.error(f"--picture {options.picture}: must end in .jpg, .png ...")
    problems = Problems()
    with input_errors():
        source = open_frames(options.drive, topic=options.topic, on_bad=problems.add)
        for path in filter(None, (options.output, options.picture)):
            if source.reads(path) or is_among(path, (options.camera_info, options.weights)):
                options.parser.error(f"{path}: this would replace the input")
        info = _camera_info(options, source)
        frames, camera = _detect(options, source, info)
        try:
            found = calibrate(frames.values(), camera, options.lane_width)
        except CalibrationError as error:
            raise CommandError(f"{source.path}: {error}; nothing is written") from error
    _write_parameters(options, found)
    if options.picture:
        place = list(frames)[found.typical]
        again = open_frames(options.drive, topic=options.topic, on_bad=lambda line: None)
        frame = next(islice(again, place, None))
        picture = draw_fit(frame.image, frames[place], camera, found, options.lane_width)
        write_image(options.picture, picture)
    print("\n".join(calibration_words(found)))
    written = [str(path) for path in (options.output, options.picture) if path]
    print(f"-> {', '.join(written)}")
    return problems.exit_code()


def _camera_info(options: argparse.Namespace, source: FrameSource) -> Any | None:
    """The camera_info to use; None with a field of view."""
    if options.hfov:
        if options.hfov >= 180:
            options.parser.error(f"--hfov {options.hfov:g}: must be below 180")
        return None
    name = options.camera_info
    if name and (source.kind != "bag" or Path(name).is_file()):
        return read_camera_info(name)
    if source.kind != "bag":
        options.parser.error(
            f"a {source.kind} does not say what its camera sees: --camera-info YAML or --hfov is "
            "needed"
        )
    try:
        return recorded_camera_info(source.path, source.topic, name)[1]
    except CalibrationError as error:
        raise CommandError(f"{error}: --camera-info YAML or TOPIC, or --hfov, is needed") from error


def _detect(
    options: argparse.Namespace, source: FrameSource, info: Any | None
) -> tuple[dict[int, Lanes], CameraModel]:
    """The lanes of frames spread over the drive, by their place in it, and their camera."""
    from lane_sad_ros.detection import LaneDetector

    detector = LaneDetector.from_weights(options.weights, device=options.device)
    step = 1
    found: dict[int, Lanes] = {}
    camera = None
    progress = tqdm(
        source, total=source.count, unit="frame", disable=options.quiet, file=sys.stderr
    )
    for place, frame in enumerate(progress):
        if place % step:
            continue
        size = frame.image.shape[1], frame.image.shape[0]
        if camera is None:
            camera = _camera(options, source, info, size)
        if size != (camera.width, camera.height):
            raise CommandError(
                f"{source.path}: {frame.name} is {size[0]}x{size[1]}, the frames before "
                f"{camera.width}x{camera.height}; one drive of one camera is needed"
            )
        (detection,) = detector.detect([Frame(frame.image, "bgr")])
        found[place] = detection.lanes
        if len(found) > options.frames:  # how many frames come, a container may not know
            step *= 2
            found = {at: lanes for at, lanes in found.items() if at % step == 0}
    if camera is None:
        raise CommandError(f"{source.path}: no frame that could be used; nothing is written")
    return found, camera


def _camera(
    options: argparse.Namespace, source: FrameSource, info: Any | None, size: tuple[int, int]
) -> CameraModel:
    if info is None:
        return CameraModel.from_field_of_view(*size, math.radians(options.hfov))
    return CameraModel.from_info(info, size, rectified=is_rectified(source.topic))


def _write_parameters(options: argparse.Namespace, found: Calibration) -> None:
    values = {
        "height": found.height,
        "pitch": found.pitch,
        "roll": found.roll,
        "yaw": found.yaw,
        "x": options.camera_x,
        "y": options.camera_y,
    }
    intrinsics = f"--hfov {options.hfov:g}" if options.hfov else options.camera_info or "the bag"
    lines = [
        "# How the camera is mounted: pass this file to the node with params_file:=FILE (launch)",
        "# or --ros-args --params-file FILE (run). Metres and radians; pitch > 0 looks down,",
        "# yaw > 0 looks left, roll > 0 lowers the right side.",
        f"# Found by lane_sad calibrate from {Path(options.drive).name} for lanes of "
        f"{options.lane_width:g} m, intrinsics from {intrinsics}:",
        *(f"#   {line}" for line in calibration_words(found)),
        "/**:",
        "  ros__parameters:",
        *(f"    camera_{name}: {value:.5f}" for name, value in values.items()),
    ]
    write_text(options.output, "\n".join(lines) + "\n")
