"""`python -m demo`: see `--help`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from tqdm import tqdm

from demo.frame_player import FramePlayer
from demo.rendered_drive import render_drive
from demo.results import Results, in_words
from lane_sad_ros import files
from lane_sad_ros.arguments import add_topic, add_weights, positive
from lane_sad_ros.files import SourceError
from lane_sad_ros.formats.drives import RenderedScene
from lane_sad_ros.recordings.sources import FrameSource, SourceFrame, open_frames
from lane_sad_ros.road.camera import CameraModel
from lane_sad_ros.road.ground import GroundProjector, Mounting
from lane_sad_ros.ros.node_process import NodeProcess
from lane_sad_ros.ros.playing.collector import Collector
from lane_sad_ros.ros.playing.player import Pace
from lane_sad_ros.ros.playing.session import Session, SessionError, check_alone
from training.scenes import drive_camera

_ROOT = Path(__file__).resolve().parent.parent
_START = 180.0  # seconds the node gets until it is ready; importing torch can take long
_FRESH_DIAGNOSTICS = 3.0  # seconds to wait for one more; they come every second

_DESCRIPTION = """\
Plays a drive to the real lane_detector node, a process of its own, through DDS, and leaves in the
output folder:
  overlay.mp4        the drive with the lanes that the node found
  contact_sheet.png  some of its frames
  road.png           some of the rendered drive's with the road from above
  lanes.jsonl        the lanes, one JSON object for each frame
  summary.json       the figures that are printed at the end
  node.log           what the node printed
"""
_EPILOG = """\
Without --input a drive is rendered, whose true lanes are known exactly; rendered once, it is kept
in the output folder. By default each frame is sent when the one before is answered, so that every
frame is in the result however slow the machine; --real-time sends them as a camera does, and the
node leaves out what it is too slow for.
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs the demo; gives the exit code: 0 done, 1 failed, 130 interrupted."""
    options = _parser().parse_args(arguments)
    output = Path(options.output)
    signal.signal(signal.SIGTERM, _terminated)
    try:
        return _run(options, output)
    except (SourceError, SessionError, OSError, ValueError) as error:
        print(f"demo: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
        return 130


def _terminated(number: int, _: object) -> None:
    sys.exit(128 + number)  # by way of every clean-up


@dataclass(frozen=True)
class _Input:
    """What is played.

    truth: what is true by the frames' names, where it is known. camera: that of the frames, and
    mounting: the node's parameters of how it sits on the vehicle, where they are known.
    """

    frames: FrameSource
    name: str
    truth: dict[str, RenderedScene] = field(default_factory=dict)
    camera: CameraModel | None = None
    mounting: dict[str, float] = field(default_factory=dict)


def _run(options: argparse.Namespace, output: Path) -> int:
    bad: list[str] = []

    def on_bad(line: str) -> None:
        bad.append(line)
        tqdm.write(f"demo: {line}", file=sys.stderr)

    played = _open_input(options, output, on_bad)
    _set_up_middleware()
    figures = _play(options, played, output)
    files.write_json(output / "summary.json", figures)
    print(in_words(figures, output))
    unanswered = figures["frames_in"] - figures["frames_answered"]
    if bad or (unanswered and not options.real_time):
        print(f"demo: {unanswered} frames unanswered, {len(bad)} unreadable", file=sys.stderr)
        return 1
    return 0


def _open_input(options: argparse.Namespace, output: Path, on_bad: Callable[[str], None]) -> _Input:
    if options.input:
        frames = open_frames(options.input, topic=options.topic, rate=options.rate, on_bad=on_bad)
        return _Input(frames, str(options.input))
    drive = render_drive(output / "drive", options.duration, options.rate)
    name = f"rendered drive, {options.duration:g} s at {options.rate:g} Hz"
    camera = drive_camera()
    return _Input(
        open_frames(drive.folder, rate=options.rate),
        name,
        drive.truth,
        CameraModel(camera.width, camera.height, camera.k),
        {"camera_height": camera.height_m, "camera_pitch": camera.pitch},
    )


def _play(options: argparse.Namespace, played: _Input, output: Path) -> dict[str, Any]:
    """Starts the node, plays everything to it and gives the figures."""
    parameters: dict[str, Any] = {
        "image_reliability": "reliable",
        "exit_with_parent": True,
        "device": options.device,
        "tracking": not options.no_track,
        **played.mounting,
    }
    if options.weights:
        parameters["weights"] = str(Path(options.weights).resolve())
    domain = os.environ["ROS_DOMAIN_ID"]
    with _ros_node() as node:
        collector = Collector(node, ego=True)
        check_alone(collector, domain)
        print(f"starting lane_detector (ROS_DOMAIN_ID={domain}) ...", flush=True)
        with NodeProcess(output / "node.log", parameters) as process:
            session = Session(
                FramePlayer(node, played.camera, in_real_time=options.real_time),
                collector,
                process.check,
                options.patience,
            )
            try:
                session.wait_until_ready(_START)
                return _collect(options, played, session, collector, output)
            except SessionError:
                print(f"demo: the end of {process.log}:\n{process.log_tail()}", file=sys.stderr)
                raise


def _collect(
    options: argparse.Namespace,
    played: _Input,
    session: Session[SourceFrame],
    collector: Collector,
    output: Path,
) -> dict[str, Any]:
    rate = played.frames.rate
    if options.real_time:
        frames = _in_time(played.frames, rate)
        answers, pace = session.in_real_time(frames), f"in real time at {rate:g} Hz"
    else:
        answers, pace = session.in_step(played.frames), "each sent when the one before was answered"
    results = Results(output, rate, options.browser_video, played.truth, _projector(played))
    with results:
        for sent, answer in tqdm(answers, total=played.frames.count, desc="driving", unit="frame"):
            results.add(sent, answer)
        if not results.answered:
            raise SessionError(f"{played.name}: no frame was answered")
    results.write_sheets()
    # The next diagnostics know of the last frames too.
    collector.forget_statuses()
    collector.wait_for(lambda: collector.camera_status() is not None, _FRESH_DIAGNOSTICS)
    figures = results.summary(
        played.name, pace, collector.detector_status(), collector.camera_status()
    )
    if not options.real_time:
        figures["stages_ms"].pop("stamp to output", None)  # stamps are of the drive's own time
    return figures


def _projector(played: _Input) -> GroundProjector | None:
    """To the road, where the input says how."""
    if played.camera is None:
        return None
    height, pitch = played.mounting["camera_height"], played.mounting["camera_pitch"]
    return GroundProjector(played.camera, Mounting.from_angles(height, pitch=pitch))


def _in_time(frames: FrameSource, rate: float) -> Iterator[SourceFrame]:
    """Each frame when it is due at `rate` Hz."""
    pace = Pace(1.0)
    for index, frame in enumerate(frames):
        pace.wait(round(index * 1e9 / rate))
        yield frame


def _set_up_middleware() -> None:
    """A domain of the demo's own on this machine, and memory enough for images; asked for or not.

    What the user has set stays.
    """
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    if os.environ.get("FASTDDS_BUILTIN_TRANSPORTS"):  # which the profile would cancel
        return
    for variable in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        os.environ.setdefault(variable, str(_ROOT / "config" / "fastdds.xml"))


@contextmanager
def _ros_node() -> Iterator[Node]:
    """A node whose callbacks run in a thread."""
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("lane_sad_demo")
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def spin() -> None:
        with suppress(ExternalShutdownException):
            executor.spin()

    thread = threading.Thread(target=spin, name="executor", daemon=True)
    thread.start()
    try:
        yield node
    finally:
        rclpy.try_shutdown()
        thread.join()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m demo",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--input", metavar="INPUT", help="a video, a folder of images, an image or a bag"
    )
    parser.add_argument(
        "--output", default="build/demo", metavar="DIR", help="folder (default: %(default)s)"
    )
    add_weights(parser)
    add_topic(parser)
    parser.add_argument(
        "--real-time", action="store_true", help="send frames at their rate, as a camera does"
    )
    parser.add_argument(
        "--rate",
        type=positive,
        default=10.0,
        metavar="HZ",
        help="of the rendered drive or of a folder's images (default: %(default)g)",
    )
    parser.add_argument(
        "--duration",
        type=positive,
        default=20.0,
        metavar="S",
        help="of the rendered drive in seconds (default: %(default)g)",
    )
    parser.add_argument(
        "--no-track", action="store_true", help="lanes of each frame alone, not followed over time"
    )
    parser.add_argument(
        "--patience",
        type=positive,
        default=30.0,
        metavar="S",
        help="seconds the node gets for a frame (default: %(default)g)",
    )
    parser.add_argument(
        "--browser-video",
        action="store_true",
        help="VP9, which browsers play, instead of MPEG-4 part 2, which players play; slow",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
