"""`lane_sad evaluate bag`: recorded drives with true lanes, frame by frame, without ROS."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lane_sad_ros.cli import main
from lane_sad_ros.detection import Frame, LaneDetector
from lane_sad_ros.evaluation.offline import images_of, replay_bag, replay_recording
from lane_sad_ros.formats.culane import image_names, lines_file
from lane_sad_ros.image_files import read_image
from lane_sad_ros.lanes import SLOTS_4, SLOTS_6, Lane, LaneLayout, Lanes
from lane_sad_ros.recordings import writing
from lane_sad_ros.recordings.message_types import MESSAGES, typestore
from lane_sad_ros.road.model import RoadModel

SIZE = (128, 96)
START, STEP = 10**18 + 7, 50_000_000
IMAGES, TRUTH = "/camera/image/compressed", "/truth/lanes"


@pytest.fixture
def weights(make_weights: Callable[..., Path], tiny_layout: LaneLayout) -> Path:
    """Random weights whose thresholds let every slot through."""
    decoding = dataclasses.replace(
        tiny_layout.decoding, point_threshold=0.05, existence_threshold=0.0
    )
    return make_weights(layout=dataclasses.replace(tiny_layout, decoding=decoding))


def picture(index: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(index)
    return cv2.resize(rng.integers(0, 255, (12, 16, 3), np.uint8), SIZE).astype(np.uint8)


def upright(**us: float) -> tuple[tuple[str, ...], Lanes]:
    """Names and lanes, from 96 down to 32, of columns by the slot's name."""
    vs = np.arange(92, 30, -4, dtype=np.float32)
    lanes = tuple(
        Lane(i, True, 0.8, np.stack([np.full_like(vs, u), vs, np.ones_like(vs)], axis=1))
        for i, u in enumerate(us.values())
    )
    return tuple(us), Lanes(SIZE, lanes)


Named = tuple[tuple[str, ...], Lanes]
STRAIGHT = upright(left_1=40, right_1=90)


def write_bag(
    path: Path,
    truths: dict[int, Named],
    predictions: dict[int, Named] | None = None,
    count: int = 3,
    change: Callable[[int, Any], Any] = lambda index, image: image,
    raw: bool = False,
) -> Path:
    """`count` images; lanes by the index of their frame, which need not be an image's."""
    with writing.writing_bag(path) as bag:
        for index in range(max([count, *(number + 1 for number in truths)])):
            stamp = START + index * STEP
            header = MESSAGES.header(stamp, "camera")
            if index < count:
                pixels = picture(index)
                image = typestore().types["sensor_msgs/msg/Image"](
                    header=header, height=SIZE[1], width=SIZE[0], encoding="bgr8", is_bigendian=0,
                    step=3 * SIZE[0], data=pixels.reshape(-1),
                ) if raw else MESSAGES.jpeg(pixels, header)  # fmt: skip
                bag.write(IMAGES, change(index, image), stamp + 1000)
            for topic, named in ((TRUTH, truths), ("/lane_detector/lanes", predictions or {})):
                if index in named:
                    names, lanes = named[index]
                    bag.write(topic, MESSAGES.lane_array(lanes, names, header), stamp + 2000)
    return path


def evaluate(bag: Path, *options: object) -> int:
    return main(["evaluate", "bag", str(bag), "--quiet", *map(str, options)])


def figures(bag: Path, *options: object, code: int = 0) -> dict[str, Any]:
    out = bag.parent / "figures.json"
    assert evaluate(bag, "--json", out, *options) == code
    found: dict[str, Any] = json.loads(out.read_text())
    return found


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("ending", ["mcap", "db3"])
def test_what_the_detector_answers_is_compared_with_the_truth_of_its_stamp(
    tmp_path: Path, weights: Path, ending: str, raw: bool
) -> None:
    detector = LaneDetector.from_weights(weights, device="cpu")
    truths = {}
    for index in (0, 2):  # the second image has no truth
        pixels = picture(index)
        if not raw:
            data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
            pixels = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
        (detection,) = detector.detect([Frame(pixels)])
        truths[index] = (SLOTS_4, detection.lanes)
    bag = write_bag(tmp_path / f"a.{ending}", truths, raw=raw)
    found = figures(bag, "--weights", weights, "--device", "cpu", "--no-track")
    assert found["frames"] == {"all": 3, "with_truth": 2, "answered": 3, "dropped": 0}
    assert found["tusimple"]["accuracy"] == 1.0
    assert found["culane"]["f1"] == 1.0 and found["culane"]["tp"] > 0
    assert [frame["index"] for frame in found["per_frame"]] == [0, 2]
    assert [frame["stamp_ns"] for frame in found["per_frame"]] == [START, START + 2 * STEP]
    assert found["settings"]["images"] == IMAGES and found["settings"]["tracking"] == "no"
    assert found["timing"]["latency_ms"]["median"] > 0
    assert set(found["timing"]["stages_ms"]) == {"preprocess", "network", "decode"}


def test_the_same_bag_gives_the_same_figures_twice(tmp_path: Path, weights: Path) -> None:
    bag = write_bag(tmp_path / "a.mcap", dict.fromkeys(range(3), STRAIGHT))
    texts = []
    for _ in range(2):
        found = figures(bag, "--weights", weights, "--device", "cpu")
        found.pop("timing")
        texts.append(json.dumps(found))
    assert texts[0] == texts[1]


def test_lanes_that_were_recorded_are_scored_without_detecting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Slots go by their names: the truth has two of the six that were answered."""
    empty = Lanes(SIZE, tuple(Lane(i, False, 0.1, np.zeros((0, 3), np.float32)) for i in range(6)))
    _, lanes = upright(left_1=40, right_1=93)
    by_slot = {lane.slot + 2: dataclasses.replace(lane, slot=lane.slot + 2) for lane in lanes}
    answer = Lanes(SIZE, tuple(by_slot.get(lane.slot, lane) for lane in empty))
    bag = write_bag(
        tmp_path / "a.mcap",
        dict.fromkeys(range(3), STRAIGHT),
        {0: (SLOTS_6, answer), 2: (SLOTS_6, empty)},
    )
    found = figures(bag, "--predictions-topic", "/lane_detector/lanes")
    assert found["frames"] == {"all": 3, "with_truth": 3, "answered": 2, "dropped": 1}
    assert (found["culane"]["tp"], found["culane"]["fn"]) == (1, 5)
    assert list(found["slots"]) == list(SLOTS_6)
    left, right = found["slots"]["left_1"], found["slots"]["right_1"]
    assert (left["tp"], left["fp"], left["fn"]) == (1, 0, 2)
    assert (right["tp"], right["fp"], right["fn"]) == (0, 1, 3)  # 3 of 128 pixels off
    assert left["error_px"] == pytest.approx(0, abs=0.01)
    assert found["timing"]["latency_ms"]["median"] is None
    assert "1 frames with truth were not answered" in capsys.readouterr().out


def test_a_live_run_that_was_recorded_without_its_images_is_scored(tmp_path: Path) -> None:
    named = {0: STRAIGHT, 1: STRAIGHT}
    bag = write_bag(tmp_path / "a.mcap", named, {1: STRAIGHT, 2: STRAIGHT}, count=0)
    found = figures(bag, "--predictions-topic", "/lane_detector/lanes")
    assert found["frames"] == {"all": 2, "with_truth": 2, "answered": 1, "dropped": 1}
    assert found["settings"]["images"] == "none" and found["culane"]["tp"] == 2


def test_truth_of_no_image_is_counted_and_said(
    tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = write_bag(tmp_path / "a.mcap", {1: STRAIGHT, 7: STRAIGHT, 8: STRAIGHT})
    found = figures(bag, "--weights", weights, code=1)
    said = "/truth/lanes: 2 messages have the stamp of no image, first 1000000000.350000007"
    assert said in capsys.readouterr().err
    assert found["frames"]["with_truth"] == 1
    assert any(said in note for note in found["notes"])


def test_truth_of_no_image_at_all_is_an_error(
    tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = write_bag(tmp_path / "a.mcap", {7: STRAIGHT})
    assert evaluate(bag, "--weights", weights, "--json", tmp_path / "out.json") == 1
    said = capsys.readouterr().err
    assert "a.mcap: /truth/lanes: none of its 1 messages has the stamp of an image" in said
    assert not (tmp_path / "out.json").exists()


def test_a_bag_without_truth_says_what_it_has_and_how_to_make_some(
    tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = write_bag(tmp_path / "a.mcap", {}, {0: STRAIGHT})
    assert evaluate(bag, "--weights", weights) == 1
    said = capsys.readouterr().err
    assert "no topic /truth/lanes; the bag has /lane_detector/lanes (LaneArray, 1 messages)" in said
    assert "`lane_sad bag make`" in said and said.count("\n") == 1
    assert evaluate(bag, "--weights", weights, "--truth-topic", IMAGES) == 1
    said = capsys.readouterr().err
    assert f"{IMAGES} holds sensor_msgs/msg/CompressedImage, not lane_sad_ros/msg/LaneArray" in said
    other = write_bag(tmp_path / "b.mcap", {})
    assert evaluate(other, "--weights", weights) == 1
    assert f"no topic /truth/lanes in this bag; its topics are {IMAGES}" in capsys.readouterr().err
    assert evaluate(bag, "--truth-topic", "/lane_detector/lanes", "--predictions-topic", "/a") == 1
    assert "no topic /a" in capsys.readouterr().err


def test_an_image_that_cannot_be_read_is_a_frame_without_lanes(
    tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def cut(index: int, image: Any) -> Any:
        return image if index != 1 else dataclasses.replace(image, data=image.data[:-300])

    bag = write_bag(tmp_path / "a.mcap", dict.fromkeys(range(3), STRAIGHT), change=cut)
    found = figures(bag, "--weights", weights, code=1)
    assert found["frames"] == {"all": 3, "with_truth": 3, "answered": 2, "dropped": 1}
    frame = found["per_frame"][1]
    assert not frame["answered"] and frame["counts"] == {"tp": 0, "fp": 0, "fn": 2}
    said = capsys.readouterr().err
    assert f"a.mcap: {IMAGES} message 1: not an image that is whole: the JPEG of" in said
    assert "1 problem(s)" in said


def malformed(what: str) -> Any:
    names, lanes = STRAIGHT
    message = MESSAGES.lane_array(lanes, names, MESSAGES.header(START + STEP, "camera"))
    lane = message.lanes[0]
    if what == "columns":
        lane = dataclasses.replace(lane, u=lane.u[:-1])
    elif what == "nan":
        lane = dataclasses.replace(lane, u=np.full_like(lane.u, np.nan))
    else:
        return dataclasses.replace(message, image_width=0)
    return dataclasses.replace(message, lanes=[lane, *message.lanes[1:]])


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("columns", "lane left_1: 15 columns, 16 rows"),
        ("nan", "lane left_1: a point that is not finite"),
        ("size", "its image is 0x96 pixels"),
    ],
)
def test_a_malformed_message_of_lanes_is_left_out_and_said(
    tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str], what: str, words: str
) -> None:
    bag = tmp_path / "a.mcap"
    names, lanes = STRAIGHT
    with writing.writing_bag(bag) as writer:
        for index in range(2):
            header = MESSAGES.header(START + index * STEP, "camera")
            message = malformed(what) if index else MESSAGES.lane_array(lanes, names, header)
            writer.write(IMAGES, MESSAGES.jpeg(picture(index), header), START + index * STEP)
            writer.write(TRUTH, message, START + index * STEP)
    found = figures(bag, "--weights", weights, code=1)
    assert found["frames"]["with_truth"] == 1
    assert f"a.mcap: {TRUTH} message 1: {words}" in capsys.readouterr().err


def test_what_is_left_of_a_bag_that_was_cut_short_is_scored(
    tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = write_bag(tmp_path / "a.mcap", dict.fromkeys(range(40), STRAIGHT), count=40)
    data = bag.read_bytes()
    bag.write_bytes(data[: len(data) // 2])
    found = figures(bag, "--weights", weights, code=1)
    assert 10 < found["frames"]["all"] < 40
    assert found["frames"]["all"] - found["frames"]["with_truth"] in (0, 1)
    assert capsys.readouterr().err.count("a.mcap: cut short after") == 1
    assert any("cut short" in note for note in found["notes"])


def test_what_is_left_of_a_bag_that_was_cut_short_is_detected_on(
    tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = write_bag(tmp_path / "a.mcap", {}, count=20)
    data = bag.read_bytes()
    bag.write_bytes(data[: len(data) // 2])
    out = tmp_path / "lanes.jsonl"
    arguments = ["--output", str(out), "--weights", str(weights), "--quiet"]
    assert main(["detect", str(bag), *arguments]) == 1
    assert "a.mcap: cut short after" in capsys.readouterr().err
    assert 5 < len(out.read_text().splitlines()) < 20


def test_lanes_beyond_the_slots_and_of_unknown_names_are_no_slots(tmp_path: Path) -> None:
    truth = upright(left_1=40, other_1=70, right_1=90)
    bag = write_bag(tmp_path / "a.mcap", {0: truth}, {0: upright(left_1=40, right_1=90)})
    found = figures(bag, "--predictions-topic", "/lane_detector/lanes")
    assert found["culane"] == {
        "tp": 2, "fp": 0, "fn": 1, "precision": 1.0, "recall": pytest.approx(2 / 3),
        "f1": pytest.approx(0.8),
    }  # fmt: skip
    assert [(slot["tp"], slot["fn"]) for slot in found["slots"].values()] == [(1, 0), (1, 0)]


def test_lanes_are_followed_from_frame_to_frame(tmp_path: Path, weights: Path) -> None:
    bag = write_bag(tmp_path / "a.mcap", dict.fromkeys(range(6), STRAIGHT), count=6, raw=True)
    detector = LaneDetector.from_weights(weights, device="cpu")
    replay = replay_bag(bag, detector, road=RoadModel(), on_bad=pytest.fail)
    assert replay.settings["tracking"] == "yes"
    model, moved = RoadModel(), False
    for index, frame in enumerate(replay.frames):
        (detection,) = detector.detect([Frame(picture(index))])
        expected = model.update(detection.lanes, START + index * STEP).lanes
        assert frame.prediction is not None
        for ours, theirs, single in zip(frame.prediction, expected, detection.lanes, strict=True):
            np.testing.assert_array_equal(ours.points, theirs.points)
            moved |= not np.array_equal(ours.points, single.points)
    assert moved  # or tracking did nothing, and the comparison says little


def test_the_image_of_any_frame_can_be_had_again(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "a.mcap", {0: STRAIGHT}, {0: STRAIGHT}, raw=True)
    replay = replay_recording(bag, "/lane_detector/lanes", on_bad=pytest.fail)
    image = images_of(bag, replay)
    for index in (1, 2, 0, 0):
        np.testing.assert_array_equal(image(index), picture(index))
    assert image(3) is None
    np.testing.assert_array_equal(image(1), picture(1))


def test_report_shows_the_worst_frame(tmp_path: Path) -> None:
    wrong = upright(left_1=20, right_1=60)
    predictions = {0: STRAIGHT, 1: wrong, 2: STRAIGHT}
    bag = write_bag(tmp_path / "a.mcap", dict.fromkeys(range(3), STRAIGHT), predictions)
    report = tmp_path / "out" / "report.html"
    assert evaluate(bag, "--predictions-topic", "/lane_detector/lanes", "--report", report) == 0
    text = report.read_text(encoding="utf-8")
    assert json.loads(report.with_suffix(".json").read_text())["worst"][0] == 1
    assert "Frame 1, 0.05 s" in text and "data:image/jpeg" in text


def test_a_report_beside_the_files_of_a_bag_is_written_anew(tmp_path: Path, capsys: Any) -> None:
    """A rosbag2 folder is read for its own files alone: what was left in there is no input."""
    (tmp_path / "drive").mkdir()
    bag = write_bag(tmp_path / "drive" / "drive_0.mcap", {0: STRAIGHT}, {0: STRAIGHT})
    report, figures = bag.parent / "report.html", bag.parent / "figures.json"
    outputs = ("--report", report, "--json", figures)
    for _ in range(2):
        assert evaluate(bag.parent, "--predictions-topic", "/lane_detector/lanes", *outputs) == 0
    with pytest.raises(SystemExit):
        evaluate(bag.parent, "--json", bag)
    assert "would replace the input" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--report", "report.pdf"], "ends in .html"),
        (["--report", f"{__file__}/a.html"], "test_offline.py is no folder that can be written to"),
        (["--first-row", "720"], "'720' is no row of an image of 1280x720 pixels"),
        (["--report", "a.html", "--json", "a.json"], "the report writes its numbers there"),
    ],
)
def test_outputs_that_cannot_be_are_wrong_use(
    tmp_path: Path, capsys: Any, options: list[str], complaint: str
) -> None:
    bag = write_bag(tmp_path / "a.mcap", {0: STRAIGHT})
    with pytest.raises(SystemExit) as end:
        evaluate(bag, *options)
    assert end.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("labels", "options"),
    [("label_data_0601_val.json", []), ("label_data_0313_val.json", ["--first-row", 240])],
)
def test_figures_of_a_bag_are_those_of_the_official_metric_on_its_data_set(
    data: Path, tmp_path: Path, labels: str, options: list[object]
) -> None:
    truth = tmp_path / "labels.json"  # some of its images, to save time
    records = (data / "tusimple" / labels).read_text().splitlines(keepends=True)
    truth.write_text("".join(records[-6:]))
    dataset = f"tusimple:{data / 'tusimple'}:{truth}"
    bag, predictions, out = (tmp_path / name for name in ("a.mcap", "a.json", "figures.json"))
    assert main(["bag", "make", dataset, str(bag), "--quiet"]) == 0
    found = figures(bag, "--device", "cpu", "--no-track", *options)
    files = ["--output", str(predictions), "--run-time", "1", "--device", "cpu", "--quiet"]
    assert main(["detect", dataset, *files]) == 0
    arguments = ["--truth", str(truth), "--predictions", str(predictions), "--json", str(out)]
    assert main(["evaluate", "tusimple", *arguments]) == 0
    assert found["tusimple"] == pytest.approx(json.loads(out.read_text()), abs=1e-9)


def test_figures_of_a_culane_bag_are_the_official_ones(data: Path, tmp_path: Path) -> None:
    culane = data / "culane"
    dataset = f"culane:{culane}:list/night.txt"
    bag, predictions, out = (tmp_path / name for name in ("a.mcap", "found", "figures.json"))
    assert main(["bag", "make", dataset, str(bag), "--quiet"]) == 0
    found = figures(bag, "--device", "cpu", "--no-track")
    # The lanes as they are: `detect culane:` runs them on to where CULane's labels end.
    detector = LaneDetector.from_weights(device="cpu")
    for name in image_names(culane / "list/night.txt"):
        lanes = [lane.points for lane in detector(read_image(culane / name)).present]
        text = "".join(" ".join(f"{u} {v}" for u, v, _ in lane) + "\n" for lane in lanes)
        path = predictions / lines_file(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    listing = ["--list", str(culane / "list/night.txt"), "--json", str(out)]
    folders = ["--truth", str(culane), "--predictions", str(predictions)]
    assert main(["evaluate", "culane", *folders, *listing]) == 0
    assert found["culane"] == json.loads(out.read_text())
