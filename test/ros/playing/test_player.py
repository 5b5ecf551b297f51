"""The bag player: what it publishes, in which order, and the clock."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import numpy as np
import pytest
from harness import (
    PERIOD_NS,
    RECORDED_NS,
    SPARE_SECONDS,
    START_NS,
    Spinning,
    scene,
    wait_until,
    write_bag,
)
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from lane_sad_ros.recordings import writing
from lane_sad_ros.recordings.message_types import MESSAGES, typestore
from lane_sad_ros.ros.playing.player import BagPlayer, Pace

IMAGES, INFO = "/camera/image", "/camera/camera_info"


def nanoseconds(time):
    return time.sec * 10**9 + time.nanosec


@pytest.fixture
def player(ros) -> Iterator[Callable[..., BagPlayer]]:
    """A player in this process: player(bag, rate, ...)."""
    with ExitStack() as running:

        def make(path, rate=None, **options):
            node = Node("player", context=ros)
            made = BagPlayer(node, path, Pace(rate), IMAGES, **options)
            running.enter_context(Spinning(node))
            return made

        yield make


def play(player):
    for frame in player.frames():
        player.publish(frame)
    assert player.broken == ""


def test_everything_is_played_as_recorded_and_what_belongs_to_an_image_comes_first(
    player, client, tmp_path
):
    arrived = []
    listening = [
        client.node.create_subscription(kind, topic, arrived.append, 10)
        for kind, topic in ((Image, IMAGES), (CameraInfo, INFO))
    ]
    playing = player(write_bag(tmp_path / "a.mcap"))
    wait_until(lambda: all(each.get_publisher_count() for each in listening), "both ends")
    wait_until(lambda: playing.matched, "the player's listeners")
    play(playing)
    wait_until(lambda: len(arrived) == 6, "all messages")
    images = [message for message in arrived if isinstance(message, Image)]
    for index, image in enumerate(images):
        assert nanoseconds(image.header.stamp) == START_NS + index * PERIOD_NS
        assert image.header.frame_id == "camera"
        np.testing.assert_array_equal(image.data, scene(seed=index).reshape(-1))
    infos = [message for message in arrived if isinstance(message, CameraInfo)]
    assert [info.header for info in infos] == [image.header for image in images]


def test_time_runs_steadily_on_the_clock_and_not_beyond_the_next_message(player, client, tmp_path):
    client.listen(Clock, "/clock", 1000)
    client.listen(Image, IMAGES)
    playing = player(write_bag(tmp_path / "a.mcap", count=5), rate=0.5, clock_rate=200.0)
    wait_until(lambda: playing.matched and client.node.count_publishers("/clock"), "both ends")
    play(playing)
    wait_until(lambda: len(client.received[IMAGES]) == 5, "all images")
    end_ns = START_NS + 4 * PERIOD_NS + RECORDED_NS
    times = wait_until(
        lambda: (
            (times := [nanoseconds(message.clock) for message in list(client.received["/clock"])])
            and times[-1] == end_ns
            and times
        ),
        "the end on the clock",
    )
    assert times == sorted(times)
    assert times[0] >= START_NS + RECORDED_NS
    assert any((time - START_NS - RECORDED_NS) % PERIOD_NS for time in times)  # between images


def test_in_step_time_stands_still_until_the_next_frame_is_asked_for(player, client, tmp_path):
    client.listen(Clock, "/clock", 1000)
    playing = player(write_bag(tmp_path / "a.mcap"))
    wait_until(lambda: client.node.count_publishers("/clock"), "the clock")
    for index, _ in enumerate(playing.frames()):
        now = START_NS + index * PERIOD_NS + RECORDED_NS
        wait_until(
            lambda now=now: (
                [nanoseconds(m.clock) for m in list(client.received["/clock"])[-3:]] == [now] * 3
            ),
            f"time {now}",
        )


def test_an_image_without_a_stamp_gets_that_of_its_recording(player, client, tmp_path):
    client.listen(Image, IMAGES)
    playing = player(write_bag(tmp_path / "a.mcap", stamps=[0, 0, 0]))
    wait_until(lambda: playing.matched, "a listener")
    play(playing)
    images = wait_until(lambda: len(client.received[IMAGES]) == 3 and client.received[IMAGES])
    assert [nanoseconds(image.header.stamp) for image in images] == [
        START_NS + index * PERIOD_NS + RECORDED_NS for index in range(3)
    ]


def test_who_comes_late_receives_what_was_latched(player, client, tmp_path):
    """Of every publisher of static transforms that was recorded."""
    path, frames = tmp_path / "a.mcap", [f"frame{number}" for number in range(15)]
    with writing.writing_bag(path) as writer:
        for number, frame in enumerate(frames):
            writer.write("/tf_static", MESSAGES.header(START_NS, frame), START_NS + number)
    playing = player(path)
    play(playing)
    latched = QoSProfile(depth=100, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    client.listen(Header, "/tf_static", latched)
    heard = client.received["/tf_static"]
    wait_until(lambda: len(heard) == len(frames), "the latched messages")
    assert [message.frame_id for message in heard] == frames


def test_what_cannot_or_must_not_be_played_is_left_out(player, client, tmp_path):
    path = tmp_path / "a.mcap"
    types = typestore().types
    with writing.writing_bag(path) as writer:
        writer.write("/clock", MESSAGES.header(START_NS, ""), START_NS)
        writer.write("/lane_detector/lanes", MESSAGES.header(START_NS, ""), START_NS)
        odometry = types["tf2_msgs/msg/TFMessage"]([])
        writer.write("/tf", odometry, START_NS)
    playing = player(path, without=("/lane_detector/",))
    published = dict(client.node.get_publisher_names_and_types_by_node("player", "/"))
    assert "/clock" in published  # the player's own, whose type is another one
    assert published["/clock"] == ["rosgraph_msgs/msg/Clock"]
    assert "/lane_detector/lanes" not in published
    if "/tf" not in published:  # where tf2_msgs is not installed
        (note,) = playing.notes
        assert "tf2_msgs" in note


def test_a_subscriber_that_asks_for_more_is_told_apart(player, client, tmp_path):
    reliable = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.RELIABLE)
    client.listen(Image, IMAGES, reliable)
    playing = player(write_bag(tmp_path / "a.mcap"), reliability="best_effort")
    assert "RELIABILITY" in wait_until(lambda: playing.problem, "the mismatch")
    assert "best effort" in playing.problem


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "lane_sad_ros.ros.playing.node", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=SPARE_SECONDS,
    )


def test_the_program_plays_a_bag_to_its_end(client, tmp_path):
    client.listen(Image, "/front/image")
    bag = write_bag(tmp_path / "a.mcap")
    remapping = ("--ros-args", "-r", f"{IMAGES}:=/front/image")
    result = run(bag, "--rate", 10, *remapping)
    assert (result.returncode, result.stderr) == (0, "")
    wait_until(lambda: len(client.received["/front/image"]) == 3, "all images")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["/no/such.mcap"], 1, "bag_player: error: /no/such.mcap: no such bag"),
        (["a.mcap", "--rate", "0"], 2, "argument --rate: '0' is not a number above 0"),
        ([], 2, "required: BAG"),
    ],
)
def test_wrong_use_of_the_program_is_one_line(arguments, code, words):
    result = run(*arguments)
    assert result.returncode == code
    assert words in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
