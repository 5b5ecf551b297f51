"""The node `lane_evaluator`: how well a running detector answers a bag in simulated time."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

from rclpy.node import Node

from lane_sad_ros import files
from lane_sad_ros.evaluation.offline import images_of
from lane_sad_ros.evaluation.replay import Replay
from lane_sad_ros.evaluation.scores import in_words, score
from lane_sad_ros.formats import lines
from lane_sad_ros.parameter_fields import ParameterError
from lane_sad_ros.recordings.message_types import BagError
from lane_sad_ros.reports.drive_report import write_report
from lane_sad_ros.reports.page import check_report_path
from lane_sad_ros.ros import declare, process
from lane_sad_ros.ros.evaluator.live import LiveReplay
from lane_sad_ros.ros.evaluator.parameters import EvaluatorParameters
from lane_sad_ros.ros.playing.external import Ros2BagPlay
from lane_sad_ros.ros.playing.player import Pace
from lane_sad_ros.ros.playing.session import SessionError

_PAGE = "report.html"
_WRITING = 8.0  # seconds that a result in the making gets at the end; ros2 launch kills after ten


class LaneEvaluatorNode(Node):
    """Plays a bag to a detector that runs, or lets it be played, and leaves a report.

    The work begins at once, in a thread of its own, and ends by calling `stop`. Then there are
    replay: what was played and answered, if anything was. problems: what went wrong, a sentence
    each. exit_code: 0 where nothing did. options: as for rclpy's Node.
    Raises `ParameterError` for a parameter that cannot be used.
    """

    def __init__(self, stop: process.Stop = lambda: None, **options: Any) -> None:
        super().__init__("lane_evaluator", **options)
        declare.declare(self, EvaluatorParameters)
        self._settings = declare.read(self, EvaluatorParameters)
        for line in declare.unknown_overrides(self, EvaluatorParameters, self._parameter_overrides):
            self.get_logger().warning(line)
        if not self._settings.bag:
            raise ParameterError("parameter bag: name the bag, as in -p bag:=drive.mcap")
        if self._settings.pace == "step" and self._settings.player in ("ros2_bag", "external"):
            raise ParameterError(
                f"parameter player: {self._settings.player} plays in real time only; set pace to "
                "real_time"
            )
        if self._settings.player == "ros2_bag" and not Ros2BagPlay.installed():
            raise ParameterError(
                "parameter player: ros2_bag needs ros2 bag (apt install ros-$ROS_DISTRO-ros2bag "
                "ros-$ROS_DISTRO-rosbag2-transport); own plays the bag without"
            )
        self._folder = Path(self._settings.report).expanduser()
        try:
            check_report_path(self._folder / _PAGE)
        except ValueError as error:
            raise ParameterError(f"parameter report: {error}") from error
        if self._settings.exit_with_parent:
            process.end_with_parent(self, stop)
        self.exit_code = 1
        self.problems: list[str] = []
        self.replay: Replay | None = None
        self._stop = stop
        self._interrupted = False
        self._pace = Pace(self._settings.rate if self._settings.pace == "real_time" else None)
        self._thread = threading.Thread(target=self._work, name="evaluation", daemon=True)
        self._thread.start()

    @property
    def node(self) -> Node:
        """The node itself, for `process.run`."""
        return self

    def finish(self, timeout: float) -> bool:
        """Ends playing and writes what was measured; false if that takes too long."""
        self._interrupted = True
        self._pace.end()
        self._thread.join(max(timeout, _WRITING))
        return not self._thread.is_alive()

    def _work(self) -> None:
        try:
            live = LiveReplay(self, self._settings, self._pace, self._check)
            self.replay = live.run()
            if self.replay.frames:
                self._leave(self.replay)
            self.problems = live.problems
            self.exit_code = int(bool(live.problems))
        except (BagError, OSError, ImportError) as error:
            self.problems = [str(error)]
        finally:
            for line in self.problems:
                self.get_logger().error(line)
            self._stop()

    def _check(self) -> None:
        if self._interrupted:
            raise SessionError("interrupted")

    def _leave(self, replay: Replay) -> None:
        """Prints the summary and writes everything."""
        scores = score(replay, self._settings.first_row)
        print(in_words(scores, "from image to lanes"), flush=True)
        with files.writing_lines(self._folder / "lanes.jsonl") as add:
            for frame in replay.frames:
                if frame.prediction is not None:
                    name, stamp = f"{frame.index:06d}", frame.stamp_ns * 1e-9
                    add(lines.lane_record(name, stamp, frame.prediction, replay.slots))
        path = Path(self._settings.bag).expanduser()
        title = f"Lanes of {path.name}, {replay.mode}"
        image = images_of(path, replay)
        write_report(self._folder / _PAGE, replay, scores, title=title, image=image)
        print(
            f"played {replay.mode}: {scores.timing.late} late; left in {self._folder}{os.sep}",
            flush=True,
        )


def main(args: list[str] | None = None) -> int:
    """Runs the node until the bag is over, or SIGINT or SIGTERM.

    The process ends with 0 where everything could be measured, 1 where not; wrong use returns 2.
    """

    def create(stop: process.Stop, arguments: list[str]) -> LaneEvaluatorNode:
        process.no_arguments(arguments)
        return LaneEvaluatorNode(stop)

    return process.run("lane_evaluator", create, args)


if __name__ == "__main__":
    sys.exit(main())
