"""A node's process: which exit code it ends with."""

import subprocess
import sys

import pytest

_PROGRAM = """
import time
from rclpy.node import Node
from std_msgs.msg import String
from lane_sad_ros.ros.process import run

class Task:
    exit_code = 0

    def __init__(self, stop):
        self.node = Node("ending")
        publisher = self.node.create_publisher(String, "words", 1)

        def tick():
            {tick}

        self.node.create_timer(0.01, tick)

    def finish(self, timeout):
        return True

run("ending", lambda stop, _: Task(stop), [])
"""


@pytest.mark.parametrize(
    ("tick", "code", "words"),
    [
        ("raise LookupError('no such lane')", 1, "no such lane"),
        # Under way when the process is to end, it still has its context.
        ("stop(); time.sleep(0.5); publisher.get_subscription_count()", 0, ""),
    ],
    ids=["error", "under way"],
)
def test_an_error_in_a_callback_fails_the_process_and_its_end_interrupts_none(
    tick: str, code: int, words: str
) -> None:
    program = _PROGRAM.format(tick=tick)
    command = [sys.executable, "-c", program]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert found.returncode == code, found.stderr
    assert words in found.stderr if words else not found.stderr
