"""The live evaluation: a bag played to the detector over DDS, matched, timed, scored and left."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from harness import (
    PERIOD_NS,
    SPARE_SECONDS,
    START_NS,
    Spinning,
    bgr_image,
    scene,
    wait_until,
    write_bag,
)
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image

from lane_sad_ros.detection import Frame, LaneDetector
from lane_sad_ros.evaluation.offline import replay_bag
from lane_sad_ros.evaluation.replay import Replay
from lane_sad_ros.evaluation.scores import score
from lane_sad_ros.lanes import Lane, Lanes
from lane_sad_ros.recordings import bags
from lane_sad_ros.recordings.message_types import BagError
from lane_sad_ros.road.model import RoadModel
from lane_sad_ros.ros.evaluator.node import LaneEvaluatorNode
from lane_sad_ros.ros.evaluator.parameters import EvaluatorParameters
from lane_sad_ros.ros.playing.external import Ros2BagPlay

ROOT = Path(__file__).parents[3]
IMAGES = "/camera/image"
LISTENING = ["-r", f"image:={IMAGES}"]
DETECTOR = {"image_reliability": "reliable", "image_depth": 100, "use_sim_time": True}


def true_lanes() -> Lanes:
    """Two lanes on an image of 128×64."""
    rows = np.arange(62, 10, -4, dtype=np.float32)
    lanes = []
    for slot in range(6):
        points = np.stack([np.full_like(rows, 20 * slot + 8), rows, np.ones_like(rows)], axis=1)
        exists = slot in (2, 3)
        lanes.append(Lane(slot, exists, float(exists), points if exists else points[:0]))
    return Lanes((128, 64), tuple(lanes))


@pytest.fixture
def bag(tmp_path) -> Path:
    """Ten images with true lanes, which some detector is said to have found before."""
    topics = ("/truth/lanes", "/lane_detector/lanes")
    return write_bag(tmp_path / "drive.mcap", 10, truth=true_lanes(), truth_topics=topics)


@pytest.fixture
def detector(start_node) -> Callable[..., Any]:
    """Starts a detector that listens to the bag's images."""
    return lambda **values: start_node(arguments=LISTENING, **{**DETECTOR, **values})


@dataclasses.dataclass
class Result:
    """What an evaluation left."""

    node: LaneEvaluatorNode
    folder: Path

    @property
    def exit_code(self) -> int:
        return self.node.exit_code

    @property
    def problems(self) -> str:
        return "\n".join(self.node.problems)

    @property
    def replay(self) -> Replay:
        assert self.node.replay is not None
        return self.node.replay

    @property
    def answered(self) -> list[bool]:
        return [frame.prediction is not None for frame in self.replay.frames]

    @property
    def report(self) -> Any:
        return json.loads((self.folder / "report.json").read_text())


@pytest.fixture
def evaluate(ros, tmp_path) -> Callable[..., Result]:
    """Evaluates a bag: evaluate(bag, what to do meanwhile, parameter=value, ...)."""

    def run(path: Path, meanwhile: Callable[[], Any] = lambda: None, **values: Any) -> Result:
        folder, over = tmp_path / "report", threading.Event()
        values = {
            "bag": str(path),
            "report": str(folder),
            "start_timeout": SPARE_SECONDS,
            "answer_timeout": SPARE_SECONDS,
            **values,
        }
        node = LaneEvaluatorNode(
            over.set,
            context=ros,
            parameter_overrides=[Parameter(name, value=value) for name, value in values.items()],
        )
        with Spinning(node):
            meanwhile()
            assert over.wait(SPARE_SECONDS), "the evaluation does not end"
            assert node.finish(SPARE_SECONDS)
        return Result(node, folder)

    return run


def offline(bag: Path, weights: Path, road: RoadModel | None, **options: Any) -> Replay:
    """What `lane_sad evaluate bag` finds."""
    detector = LaneDetector.from_weights(weights, device="cpu")
    return replay_bag(bag, detector, road=road, on_bad=pytest.fail, **options)


def assert_equal(one: Lanes, other: Lanes) -> None:
    """To the last bit: lanes go through messages as the float32 that they are."""
    assert one.image_size == other.image_size
    for lane, wanted in zip(one, other, strict=True):
        assert (lane.slot, lane.exists) == (wanted.slot, wanted.exists)
        assert np.float32(lane.probability) == np.float32(wanted.probability)
        np.testing.assert_array_equal(lane.points, wanted.points)


def test_in_step_every_image_is_answered_as_without_ros(
    detector, evaluate, bag, tiny_weights, capfd
):
    detector()
    result = evaluate(bag)
    assert (result.exit_code, result.problems) == (0, "")
    summary = capfd.readouterr().out
    assert "10 frames, 10 with true lanes, 10 answered, 0 not" in summary
    assert "from image to lanes: " in summary
    assert "played live, in step" in summary
    assert str(result.folder) in summary
    expected = offline(bag, tiny_weights, RoadModel())
    assert sum(len(frame.prediction.present) for frame in expected.frames) > 10
    for frame, other in zip(result.replay.frames, expected.frames, strict=True):
        assert (frame.index, frame.stamp_ns) == (other.index, other.stamp_ns)
        assert_equal(frame.prediction, other.prediction)
        assert_equal(frame.truth, other.truth)
        assert frame.latency > 0
    figures = json.loads(json.dumps(score(expected).as_dict()))
    for name in set(figures) - {"timing", "notes"}:
        assert result.report[name] == figures[name], name
    lines = (result.folder / "lanes.jsonl").read_text().splitlines()
    assert [json.loads(line)["frame"] for line in lines] == [f"{i:06d}" for i in range(10)]


def test_images_of_equal_stamps_keep_their_own_answers(detector, evaluate, tmp_path, tiny_weights):
    """As where a recording was looped, or a driver counts from zero again."""
    stamps = [START_NS + (index % 3) * PERIOD_NS for index in range(6)]
    bag = write_bag(tmp_path / "a.mcap", 6, stamps, true_lanes())
    detector(tracking=False)
    result = evaluate(bag)
    assert (result.exit_code, result.problems) == (0, "")
    detector = LaneDetector.from_weights(tiny_weights, device="cpu")
    for index, frame in enumerate(result.replay.frames):
        (detection,) = detector.detect([Frame(scene(seed=index))])
        assert_equal(frame.prediction, detection.lanes)


def test_in_real_time_images_that_come_too_fast_are_dropped_and_counted(
    detector, evaluate, client, tmp_path
):
    detector(image_depth=5)
    bag = write_bag(tmp_path / "a.mcap", 60, truth=true_lanes())
    result = evaluate(bag, pace="real_time", player="own", rate=100.0, deadline=1e-6)
    assert (result.exit_code, result.problems) == (0, "")
    counts = result.report["frames"]
    assert counts["all"] == counts["with_truth"] == 60
    assert 0 < counts["answered"] < 60
    assert counts["answered"] + counts["dropped"] == 60
    assert counts["answered"] == sum(result.answered) == result.report["timing"]["late"]
    # Not answered counts as nothing found.
    scored = result.report["culane"]
    assert scored["tp"] + scored["fn"] == 2 * 60


def test_true_lanes_that_are_not_there_are_said_and_time_is_measured(detector, evaluate, tmp_path):
    detector()
    bag = write_bag(tmp_path / "a.mcap")
    result = evaluate(bag)
    assert result.exit_code == 1
    assert "/truth/lanes" in result.problems
    assert result.report["timing"]["latency_ms"]["median"] > 0
    assert evaluate(bag, truth_topic="").exit_code == 0


def test_figures_are_told_before_they_are_written(detector, evaluate, bag, monkeypatch, capfd):
    """As on a full disk: measuring them again would take as long as the drive."""

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device", "report.html")

    detector()
    monkeypatch.setattr("lane_sad_ros.ros.evaluator.node.write_report", full)
    result = evaluate(bag)
    assert result.exit_code == 1
    assert "No space left on device" in result.problems
    assert "10 frames, 10 with true lanes, 10 answered, 0 not" in capfd.readouterr().out


def test_no_detector(evaluate, bag):
    result = evaluate(bag, start_timeout=0.1)
    assert result.exit_code == 1
    assert result.problems == "waited 0.1 s in vain: there is no detector /lane_detector"
    assert not result.folder.exists()


def test_a_detector_that_cannot_be_configured_ends_it_at_once(detector, evaluate, bag):
    detector(weights="/no/such/weights.safetensors")
    result = evaluate(bag)
    assert result.exit_code == 1
    assert "cannot configure: /no/such/weights.safetensors" in result.problems


def test_a_detector_that_listens_elsewhere(start_node, evaluate, bag, client):
    start_node()
    client.wait_for_state("active")
    result = evaluate(bag, start_timeout=1.0)
    assert result.exit_code == 1
    assert f"the detector does not subscribe to {IMAGES}" in result.problems


@pytest.mark.parametrize(
    ("transition", "words"),
    [
        ("deactivate", "the node answered none of 3 frames in a row within 0.2 s each"),
        ("shutdown", "nobody publishes /lane_detector/lanes any more"),
    ],
)
def test_a_detector_that_stops_leaves_what_was_measured(
    detector, evaluate, client, tmp_path, transition, words
):
    detector()
    topic = client.lanes()

    def stop() -> None:
        wait_until(lambda: len(client.received[topic]) > 3, "some answers")
        assert client.change_state(transition)

    bag = write_bag(tmp_path / "long.mcap", 600, truth=true_lanes())
    result = evaluate(bag, stop, answer_timeout=0.2 if transition == "deactivate" else 60.0)
    assert result.exit_code == 1
    assert words in result.problems
    played = len(result.answered)
    # Whoever heard the fourth answer knows that the third was in time for the evaluator.
    assert 3 <= sum(result.answered) < played < 600
    assert result.report["frames"]["answered"] == sum(result.answered)
    assert f"{600 - played} of the bag's 600 images were not played." in result.replay.notes


def test_an_image_that_cannot_be_used_costs_no_patience(detector, evaluate, tmp_path):
    detector()
    path = write_bag(tmp_path / "a.mcap", 4, truth=true_lanes(), encodings={1: "nonsense"})
    result = evaluate(path)  # whose patience is longer than the test's
    assert result.answered == [True, False, True, True]
    assert result.exit_code == 1
    assert result.problems == "1 of 4 images were not answered"
    assert any("1 bad" in note for note in result.replay.notes)


def test_bad_frames_of_before_are_not_those_of_the_bag(detector, evaluate, bag, client):
    detector()
    client.lanes()
    other = client.publisher(Image, IMAGES)
    other.publish(Image(encoding="nonsense"))
    client.wait_for_status(lambda s: s.count("bad") == 1, "the bad frame")
    client.node.destroy_publisher(other)
    result = evaluate(bag)
    assert all(result.answered)
    assert result.exit_code == 0


def test_a_bag_that_was_cut_short_is_evaluated_as_far_as_it_goes(detector, evaluate, tmp_path):
    detector()
    path = write_bag(tmp_path / "whole.mcap", 10, truth=true_lanes())
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    result = evaluate(cut)
    assert result.exit_code == 1
    assert str(cut) in result.problems
    assert 0 < sum(result.answered) < 10
    assert result.report["frames"]["answered"] == sum(result.answered)


def test_a_bag_that_is_none(evaluate, tmp_path):
    (tmp_path / "a.mcap").write_bytes(b"nonsense")
    result = evaluate(tmp_path / "a.mcap")
    assert result.exit_code == 1
    assert str(tmp_path / "a.mcap") in result.problems


def test_best_effort_images_and_a_reliable_detector_are_told_apart(detector, evaluate, bag):
    detector()
    result = evaluate(bag, image_reliability="best_effort")
    assert result.exit_code == 1
    assert "asks for a RELIABILITY policy that is not offered" in result.problems


def test_images_of_somebody_else_on_the_topic_are_refused(detector, evaluate, bag, client):
    detector()
    other = client.publisher(Image, IMAGES)
    other.publish(bgr_image(scene()))
    result = evaluate(bag)
    assert result.exit_code == 1
    assert f"{IMAGES} is published by another node, too" in result.problems


# --- Played by somebody else


def test_what_is_played_again_is_evaluated_once(detector, evaluate, bag, client):
    detector()

    def play_on() -> None:
        """The last image never comes, the first ones again."""
        camera = client.publisher(Image, IMAGES)
        wait_until(lambda: camera.get_subscription_count() == 2, "detector and evaluator")
        topic = client.lanes()
        for index in (0, 1, 2, 0):
            image = bgr_image(scene(seed=index))
            image.header.stamp.sec = START_NS // 10**9
            image.header.stamp.nanosec = index * PERIOD_NS
            before = len(client.received[topic])
            camera.publish(image)
            wait_until(lambda before=before: len(client.received[topic]) > before, "the answer")

    result = evaluate(bag, play_on, pace="real_time", player="external", idle_timeout=3600.0)
    assert (result.exit_code, result.problems) == (0, "")
    assert result.answered == [True] * 3 + [False] * 7
    assert "The bag was played again from its beginning; once was evaluated." in result.replay.notes


def test_nobody_plays(detector, evaluate, bag):
    detector()
    result = evaluate(bag, pace="real_time", player="external", start_timeout=2.0)
    assert result.exit_code == 1
    assert f"nobody played images on {IMAGES} within 2 s" in result.problems


def test_a_detector_that_is_not_active_is_waited_for(start_node, evaluate, bag, client):
    start_node(arguments=LISTENING, **DETECTOR, autostart=False)
    assert client.change_state("configure")
    result = evaluate(bag, pace="real_time", player="external", start_timeout=2.0)
    assert result.exit_code == 1
    assert "in vain: the detector is not active" in result.problems


def test_a_bag_without_an_image_that_can_be_read(detector, evaluate, bag, monkeypatch):
    def damaged(*_):
        raise BagError("its one chunk is damaged")

    detector()
    monkeypatch.setattr(bags, "recorded", damaged)
    result = evaluate(bag, pace="real_time", player="external", truth_topic="")
    assert result.exit_code == 1
    assert result.problems == "its one chunk is damaged\nno image of the bag can be read"


@pytest.fixture
def ros2_bag(tmp_path, monkeypatch) -> Callable[[str], Path]:
    """Puts a `ros2` that is a script of ours in reach, and a package ros2bag; gives its record."""

    def install(script: str) -> Path:
        record = tmp_path / "arguments.json"
        prefix = tmp_path / "prefix"
        index = prefix / "share" / "ament_index" / "resource_index" / "packages"
        index.mkdir(parents=True)
        (index / "ros2bag").touch()
        (prefix / "bin").mkdir()
        program = prefix / "bin" / "ros2"
        text = (
            f"import json, os, sys\njson.dump(sys.argv[1:], open({str(record)!r}, 'w'))\n{script}\n"
        )
        # Not Python's own path behind #!, in which there must be no space.
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c {shlex.quote(text)} "$@"\n')
        program.chmod(0o755)
        for name, value in (("AMENT_PREFIX_PATH", prefix), ("PATH", prefix / "bin")):
            monkeypatch.setenv(name, f"{value}{os.pathsep}{os.environ[name]}")
        return record

    return install


def test_in_real_time_ros2_bag_play_is_taken_where_it_is_installed(
    detector, evaluate, bag, ros2_bag
):
    """Our player in its place: it has to be called in a way that the real one understands."""
    ours = "[sys.executable, '-m', 'lane_sad_ros.ros.playing.node', sys.argv[3]]"
    record = ros2_bag(f"os.execv(sys.executable, {ours})")
    detector()
    result = evaluate(bag, pace="real_time", rate=2.0)
    assert (result.exit_code, result.problems) == (0, "")
    assert result.replay.settings["player"] == "ros2_bag"
    assert result.replay.mode == "live, in real time"
    assert len(result.answered) == 10
    assert result.answered[-1]
    for frame in result.replay.frames:
        assert (frame.latency is not None) == (frame.prediction is not None)
    arguments = json.loads(record.read_text())
    assert arguments[:3] == ["bag", "play", str(bag)]
    assert arguments[arguments.index("--rate") + 1] == "2.0"
    assert arguments[arguments.index("--clock") + 1] == "100.0"
    topics = arguments[arguments.index("--topics") + 1 :]
    assert topics == ["/camera/camera_info", IMAGES, "/truth/lanes"]


def test_a_pause_of_the_drive_is_not_its_end_while_ros2_bag_play_goes_on(
    detector, evaluate, tmp_path, ros2_bag
):
    ours = "[sys.executable, '-m', 'lane_sad_ros.ros.playing.node', sys.argv[3], '--rate', '0.05']"
    ros2_bag(f"os.execv(sys.executable, {ours})")
    detector()
    bag = write_bag(tmp_path / "a.mcap", 3, truth=true_lanes())  # an image a second
    result = evaluate(bag, pace="real_time", rate=0.05, idle_timeout=0.3)
    assert (result.exit_code, result.problems) == (0, "")
    assert result.answered == [True] * 3


def test_a_ros2_bag_play_that_fails_ends_it(detector, evaluate, bag, ros2_bag):
    ros2_bag("sys.exit(3)")
    detector()
    result = evaluate(bag, pace="real_time", player="ros2_bag")
    assert result.exit_code == 1
    assert "ros2 bag play failed with exit code 3" in result.problems


# --- As a process


class Process:
    """The node as its own process, as `ros2 run` starts it."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lane_sad_ros.ros.evaluator.node", "--ros-args", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self) -> tuple[int, str]:
        output, _ = self.process.communicate(timeout=SPARE_SECONDS)
        return self.process.returncode, output


def test_signals_end_it_in_order_with_what_was_measured(detector, client, tmp_path):
    """Two of them, as a group's Ctrl-C comes under ros2 launch."""
    detector()
    topic = client.lanes()
    bag = write_bag(tmp_path / "long.mcap", 600, truth=true_lanes())
    evaluation = Process("-p", f"bag:={bag}", "-p", f"report:={tmp_path / 'report'}")
    # Of the last one the evaluator may not have heard.
    wait_until(lambda: len(client.received[topic]) > 4, "some answers")
    for number in (signal.SIGINT, signal.SIGINT):
        evaluation.process.send_signal(number)
    code, output = evaluation.finish()
    assert code == 1
    assert "interrupted" in output
    assert "Traceback" not in output
    figures = json.loads((tmp_path / "report" / "report.json").read_text())
    assert 3 < figures["frames"]["answered"] < 600


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "parameter bag: name the bag"),
        (["-p", "bag:=a.mcap", "-p", "player:=external"], "plays in real time only"),
        pytest.param(
            ["-p", "bag:=a.mcap", "-p", "pace:=real_time", "-p", "player:=ros2_bag"],
            "parameter player: ros2_bag needs ros2 bag",
            marks=pytest.mark.skipif(Ros2BagPlay.installed(), reason="ros2 bag is there"),
        ),
        (["-p", "bag:=a.mcap", "-p", "pace:=slow"], "pace: must be one of step, real_time"),
        (["-p", "bag:=a.mcap", "-p", "detector:=lane_detector"], "full name of a node"),
        (["-p", "bag:=a.mcap", "-p", f"report:={__file__}/a"], "parameter report: "),
        (["--", "a.mcap"], "unknown argument a.mcap"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(arguments, words):
    code, output = Process(*arguments).finish()
    assert code == 2
    (line,) = [line for line in output.splitlines() if line.startswith("lane_evaluator: ")]
    assert words in line
    assert "Traceback" not in output


def test_the_configuration_file_holds_every_parameter_at_its_default():
    file = ROOT / "config" / "evaluator.yaml"
    assert yaml.safe_load(file.read_text())["/**"]["ros__parameters"] == dataclasses.asdict(
        EvaluatorParameters()
    )


def test_every_parameter_is_described_and_stays():
    for item in dataclasses.fields(EvaluatorParameters):
        assert item.metadata["description"], item.name
        assert item.metadata["change"] == "never", item.name
        if type(item.default) in (int, float):
            assert None not in item.metadata["range"], item.name
