"""The program `bag_player`: plays a bag to whoever listens, where there is no `ros2 bag play`."""

from __future__ import annotations

import argparse
import sys
import threading
from pathlib import Path

from rclpy.node import Node

from lane_sad_ros.arguments import positive
from lane_sad_ros.recordings import bags
from lane_sad_ros.recordings.message_types import BagError
from lane_sad_ros.ros import process
from lane_sad_ros.ros.playing.player import BagPlayer, Pace

_DESCRIPTION = """\
Plays a bag (.bag, .db3, .mcap or a rosbag2 folder): its messages under their topics at the pace of
the recording, and the recording's time on /clock.
"""

_LAST = 2.0  # seconds that listeners get to receive the last messages


class PlayerTask:
    """Plays a bag from its first message to its last, then asks for the end.

    Raises bags.BagError where the bag cannot be read.
    """

    def __init__(self, stop: process.Stop, options: argparse.Namespace) -> None:
        self.node = Node("bag_player")
        self.exit_code = 0
        self._stop = stop
        self._wait: float = options.wait
        self._pace = Pace(options.rate)
        self._player = BagPlayer(
            self.node,
            options.bag,
            self._pace,
            reliability="best_effort" if options.best_effort else "reliable",
            clock_rate=options.clock,
        )
        for note in self._player.notes:
            self.node.get_logger().warning(note)
        self._thread = threading.Thread(target=self._play, name="player", daemon=True)
        self._thread.start()

    def finish(self, timeout: float) -> bool:
        """Ends playing; false if it goes on after `timeout` seconds."""
        self._pace.end()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _play(self) -> None:
        self._player.wait_for_listeners(self._wait)
        for _ in self._player.frames():
            pass
        self._player.wait_until_received(_LAST)
        if self._player.broken:
            self.node.get_logger().error(self._player.broken)
            self.exit_code = 1
        self._stop()


def main(args: list[str] | None = None) -> int:
    """Plays a bag; ends the process with 0 at its end or by a signal, 1 if it cannot be read."""

    def create(stop: process.Stop, arguments: list[str]) -> PlayerTask:
        options = _parser().parse_args(arguments)
        try:
            if options.list:
                for topic in bags.topics(options.bag):
                    print(topic.name, topic.type, topic.count)
                sys.exit(0)
            return PlayerTask(stop, options)
        except BagError as error:
            print(f"bag_player: error: {error}", file=sys.stderr)
            sys.exit(1)

    return process.run("bag_player", create, args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bag_player",
        description=_DESCRIPTION,
        epilog="Remappings and the like follow --ros-args.",
    )
    parser.add_argument("bag", type=Path, metavar="BAG", help="file or folder")
    parser.add_argument(
        "--list",
        action="store_true",
        help="print the topics with their types and numbers of messages, and play nothing",
    )
    parser.add_argument(
        "--rate", type=positive, default=1.0, metavar="N", help="times as fast (%(default)g)"
    )
    parser.add_argument(
        "--clock", type=positive, default=100.0, metavar="HZ", help="of /clock (%(default)g)"
    )
    parser.add_argument(
        "--wait",
        type=positive,
        default=10.0,
        metavar="S",
        help="seconds to wait for a subscriber of the images (%(default)g)",
    )
    parser.add_argument(
        "--best-effort", action="store_true", help="images may get lost, as those of a camera"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
