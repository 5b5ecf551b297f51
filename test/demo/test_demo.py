"""The demo over real DDS, with the node as its own process and tiny random weights."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from lane_sad_ros.detection import LaneDetector
from lane_sad_ros.formats.drives import RenderedScene
from lane_sad_ros.lanes import SLOTS_6, Lane, Lanes
from lane_sad_ros.recordings.sources import SourceFrame
from lane_sad_ros.road.camera import CameraModel
from lane_sad_ros.road.ego import EgoLane
from lane_sad_ros.road.ground import Mounting

pytest.importorskip("rclpy", exc_type=ImportError)
import rclpy

from demo.frame_player import FramePlayer
from demo.rendered_drive import render_drive
from demo.results import Results
from lane_sad_ros.ros.playing.collector import Answer
from lane_sad_ros.ros.playing.session import Sent

ROOT = Path(__file__).parents[2]
COUNT = 6


@pytest.fixture
def weights(make_weights, tiny_layout):
    """Random weights whose thresholds let every slot through."""
    decoding = dataclasses.replace(
        tiny_layout.decoding, point_threshold=0.05, existence_threshold=0.0
    )
    return make_weights(layout=dataclasses.replace(tiny_layout, decoding=decoding))


@pytest.fixture
def folder(tmp_path):
    """Six images of noise, in a folder with a space in its name."""
    path = tmp_path / "a drive"
    path.mkdir()
    rng = np.random.default_rng(0)
    for index in range(COUNT):
        image = cv2.resize(rng.integers(0, 255, (12, 16, 3), np.uint8), (128, 96))
        assert cv2.imwrite(str(path / f"{index}.png"), image)
    return path


class Demo:
    """A demo that was started; its domain is one of its own."""

    def __init__(self, *arguments):
        environment = {k: v for k, v in os.environ.items() if k != "ROS_DOMAIN_ID"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "demo", *map(str, arguments)],
            cwd=ROOT,
            env={**environment, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self):
        self.out, self.err = self.process.communicate(timeout=120)
        return self.process.returncode

    def node(self):
        """The number of the node's process."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            for child in children.read_text().split():
                if "detector.node" in Path(f"/proc/{child}/cmdline").read_text():
                    return int(child)
            time.sleep(0.05)
        raise AssertionError("the demo started no node")


def frame_count(path):
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.read()[0]:
        count += 1
    return count


def test_every_frame_is_answered_with_the_lanes_of_the_detector(weights, folder, tmp_path):
    out = tmp_path / "out"
    options = ("--no-track", "--device", "cpu", "--output", out)
    demo = Demo("--input", folder, "--weights", weights, *options)
    assert demo.finish() == 0, demo.err

    figures = json.loads((out / "summary.json").read_text())
    counts = ("frames_in", "frames_answered", "existence_answers")
    assert [figures[name] for name in counts] == [COUNT] * 3
    assert figures["existence_contradictions"] == 0
    assert (figures["frames_dropped"], figures["frames_bad"]) == (0, 0)
    assert figures["weights"] == weights.name
    assert {"preprocess", "network", "decode"} <= set(figures["stages_ms"])
    assert figures["latency_ms"]["median"] > 0
    assert f"frames in          {COUNT}" in demo.out

    detector = LaneDetector.from_weights(weights, device="cpu")
    records = [json.loads(line) for line in (out / "lanes.jsonl").read_text().splitlines()]
    assert [record["frame"] for record in records] == [f"{i}.png" for i in range(COUNT)]
    for record in records:
        lanes = detector(cv2.imread(str(folder / record["frame"])))
        assert [e["name"] for e in record["lanes"]] == list(detector.layout.slots)
        for entry, lane in zip(record["lanes"], lanes, strict=True):
            assert entry["exists"] == lane.exists
            np.testing.assert_allclose(
                np.reshape(entry["points"], (-1, 3)), np.reshape(lane.points, (-1, 3)), atol=0.01
            )
    assert figures["lanes_out"] == sum(e["exists"] for r in records for e in r["lanes"]) > 0

    assert frame_count(out / "overlay.mp4") == COUNT
    assert cv2.imread(str(out / "contact_sheet.png")) is not None
    assert "active" in (out / "node.log").read_text()


@pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")  # of a package of ROS
@pytest.mark.parametrize("in_real_time", [False, True])
def test_stamps_are_of_the_drives_own_time_unless_it_is_played_in_real_time(in_real_time):
    context = rclpy.Context()
    context.init(domain_id=1)
    try:
        node = rclpy.create_node("player", context=context)
        player = FramePlayer(node, None, in_real_time=in_real_time)
        image = np.zeros((4, 4, 3), np.uint8)
        frames = [SourceFrame(second * 10**9, str(second), image) for second in (0, 100)]
        first, last = (player.publish(frame).stamp_ns for frame in frames)
        assert (last - first == 100 * 10**9) is not in_real_time
        node.destroy_node()
    finally:
        context.try_shutdown()


def test_in_real_time_frames_may_be_left_out_but_the_video_is_whole(weights, folder, tmp_path):
    for index in range(COUNT, 60):
        (folder / f"{index}.png").write_bytes((folder / "0.png").read_bytes())
    out = tmp_path / "out"
    options = ("--real-time", "--rate", 400, "--device", "cpu", "--output", out)
    demo = Demo("--input", folder, "--weights", weights, *options)
    assert demo.finish() == 0, demo.err
    figures = json.loads((out / "summary.json").read_text())
    assert figures["frames_in"] == 60
    assert figures["pace"] == "in real time at 400 Hz"
    assert 1 <= figures["frames_answered"] <= 60
    unanswered = figures["frames_dropped"] + figures["frames_lost_on_the_way"]
    assert figures["frames_answered"] + unanswered == 60
    assert len((out / "lanes.jsonl").read_text().splitlines()) == figures["frames_answered"]
    assert frame_count(out / "overlay.mp4") == 60


def test_weights_that_cannot_be_used_end_the_demo_with_the_reason(weights, folder, tmp_path):
    weights.write_bytes(weights.read_bytes()[:1000])
    demo = Demo("--input", folder, "--weights", weights, "--output", tmp_path / "out")
    assert demo.finish() == 1
    (last,) = demo.err.splitlines()[-1:]
    assert last.startswith("demo: error: the node cannot configure: ")
    assert weights.name in last
    assert "Traceback" not in demo.err
    assert not (tmp_path / "out" / "lanes.jsonl").exists()


def test_a_node_that_dies_ends_the_demo_with_its_last_words(weights, folder, tmp_path):
    demo = Demo("--input", folder, "--weights", weights, "--output", tmp_path / "out")
    os.kill(demo.node(), signal.SIGKILL)
    assert demo.finish() == 1
    assert demo.err.splitlines()[-1] == "demo: error: the node was killed by signal 9"
    assert "the end of" in demo.err
    assert "Traceback" not in demo.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_demo_takes_the_node_with_it(weights, folder, tmp_path, number, code):
    demo = Demo("--input", folder, "--weights", weights, "--output", tmp_path / "out")
    node = demo.node()
    demo.process.send_signal(number)
    assert demo.finish() == code
    assert not Path(f"/proc/{node}").exists()
    assert "Traceback" not in demo.err


def test_input_that_is_not_there_is_one_line(tmp_path):
    demo = Demo("--input", tmp_path / "none.mp4", "--output", tmp_path / "out")
    assert demo.finish() == 1
    assert demo.err.startswith("demo: error: ")
    assert "none.mp4: no such" in demo.err
    assert demo.err.count("\n") == 1


def test_a_drive_is_rendered_once_with_its_true_lanes(tmp_path):
    drive = render_drive(tmp_path, 0.2, 10)
    images = sorted(drive.folder.glob("*.jpg"))
    assert [image.name for image in images] == list(drive.truth) == ["000000.jpg", "000001.jpg"]
    for scene in drive.truth.values():
        assert {2, 3} <= {lane.slot for lane in scene.truth.present}
        assert scene.ego.valid
        assert scene.truth.image_size == cv2.imread(str(images[0])).shape[1::-1]

    images[1].with_suffix(".json").unlink()  # as an interrupted rendering leaves it
    before = images[0].stat().st_mtime_ns
    again = render_drive(tmp_path, 0.2, 10)
    assert images[0].stat().st_mtime_ns == before
    for first, second in zip(drive.truth.values(), again.truth.values(), strict=True):
        for one, other in zip(first.truth, second.truth, strict=True):
            np.testing.assert_array_equal(one.points, other.points)

    (tmp_path / "2024-05-01").mkdir()
    (tmp_path / "2024-05-01" / "drive.bag").touch()
    with pytest.raises(ValueError, match="the drive lasts"):
        render_drive(tmp_path, 1000, 10)
    assert drive.folder.exists()
    other = render_drive(tmp_path, 0.1, 10)
    assert len(other.truth) == 1
    assert not drive.folder.exists()
    assert (tmp_path / "2024-05-01" / "drive.bag").exists()


def straight(slot, u):
    rows = np.arange(700, 300, -7, dtype=np.float32)
    points = np.stack([np.full_like(rows, u), rows, np.ones_like(rows)], axis=1)
    return Lane(slot, True, 1.0, points)


def lanes(*present):
    by_slot = {lane.slot: lane for lane in present}
    absent = np.zeros((0, 3), np.float32)
    return Lanes((1280, 720), tuple(by_slot.get(i, Lane(i, False, 0, absent)) for i in range(6)))


def figures_of(folder, answers, truth):
    """The demo's summary of frames that were answered so, each with the same truth."""
    image = np.zeros((720, 1280, 3), np.uint8)
    names = [str(index) for index in range(len(answers))]
    scenes = dict.fromkeys(names, truth)
    with Results(folder, 10, False, scenes) as result:
        for index, (name, (found, ego)) in enumerate(zip(names, answers, strict=True)):
            frame = SourceFrame(index * 10**8, name, image)
            answer = Answer(found, SLOTS_6, received=1.0 + index, ego=ego)
            result.add(Sent(frame, index * 10**8, 0.0 + index), answer)
        return result.summary("drive", "step", None, None)


def scene(truth, ego=None):
    camera = CameraModel.from_field_of_view(1280, 720, 1.0)
    return RenderedScene("0", 0, truth, camera, Mounting.from_angles(1.5), ego or UNSEEN)


UNSEEN = EgoLane(False, False, False, *[np.nan] * 4)


@pytest.mark.parametrize(
    ("found", "share"),
    [
        ([straight(2, 319), straight(3, 901)], 1.0),
        ([straight(2, 321), straight(3, 919)], 0.5),
        ([straight(1, 300)], 0.5),
        ([], 0.0),
    ],
)
def test_the_truth_counts_points_within_twenty_pixels(tmp_path, found, share):
    truth = scene(lanes(straight(2, 300), straight(3, 900)))
    figures = figures_of(tmp_path, [(lanes(*found), None)], truth)
    assert figures["truth_points_found"] == share


def test_the_ego_lane_is_compared_where_it_was_seen(tmp_path):
    truth = EgoLane(True, True, True, 3.6, 0.2, 0.01, 0.001)
    egos = [replace(truth, lateral_offset=offset) for offset in (0.1, 0.5)] + [UNSEEN, None]
    figures = figures_of(tmp_path, [(lanes(), ego) for ego in egos], scene(lanes(), truth))
    assert figures["ego_lane_answers"] == 2
    assert figures["ego_lane_errors"]["lateral_offset"] == pytest.approx(0.2)  # of 0.1 and 0.3
    assert figures["ego_lane_errors"]["width"] == 0
