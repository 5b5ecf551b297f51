import json
import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
import torch
from rosbags.highlevel import AnyReader

from lane_sad_ros import cli
from lane_sad_ros.detection import Frame, LaneDetector
from lane_sad_ros.network.weights import load, save_network
from lane_sad_ros.recordings.message_types import MESSAGES


@pytest.fixture
def weights(make_weights):
    """Random weights that find something: thresholds at zero let every slot through."""
    return make_weights()


@pytest.fixture
def picture(tmp_path):
    """A 128×96 image."""
    pixels = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    path = tmp_path / "in" / "picture.png"
    path.parent.mkdir()
    assert cv2.imwrite(str(path), pixels)
    return path


@pytest.fixture
def folder(picture):
    """Three images."""
    for index in (1, 2):
        image = cv2.imread(str(picture))[:, ::-1]
        assert cv2.imwrite(str(picture.parent / f"{index}.png"), image)
    return picture.parent


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "drive.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (128, 96))
    for index in range(4):
        writer.write(np.full((96, 128, 3), 40 * index, np.uint8))
    writer.release()
    return path


def detect(weights, *arguments):
    zero = ["--existence-threshold", "0", "--point-threshold", "0"]
    options = ["--weights", str(weights), "--device", "cpu", "--quiet", *zero]
    return cli.main(["detect", *options, *map(str, arguments)])


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def frame_count(path):
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.read()[0]:
        count += 1
    return count


def wrong_use(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        cli.main([str(argument) for argument in arguments])
    assert ended.value.code == 2
    return capsys.readouterr().err


def failure(capsys, code):
    """The one line that a failed command leaves."""
    assert code == 1
    error = capsys.readouterr().err
    assert error.startswith("lane_sad: error: ")
    assert error.count("\n") == 1
    return error


def test_lines_of_an_image_are_what_the_detector_finds(weights, picture, tmp_path, capsys):
    out = tmp_path / "lanes.jsonl"
    assert detect(weights, picture, "--output", out) == 0
    assert "1 frames" in capsys.readouterr().out
    (record,) = lines(out)
    detector = LaneDetector.from_weights(weights, device="cpu")
    detector.set_thresholds(existence=0, point=0)
    (found,) = detector.detect([Frame(cv2.imread(str(picture)))])
    assert (record["frame"], record["stamp"], record["image_size"]) == ("picture.png", 0, [128, 96])
    assert [lane["name"] for lane in record["lanes"]] == list(detector.layout.slots)
    for entry, lane in zip(record["lanes"], found.lanes, strict=True):
        assert (entry["slot"], entry["exists"]) == (lane.slot, lane.exists)
        assert entry["probability"] == pytest.approx(lane.probability, abs=1e-4)
        np.testing.assert_allclose(
            np.reshape(entry["points"], (-1, 3)), np.reshape(lane.points, (-1, 3)), atol=0.01
        )
    assert any(entry["points"] for entry in record["lanes"])


def test_a_folder_becomes_overlays_and_lines(weights, folder, tmp_path):
    out = tmp_path / "out"
    assert detect(weights, folder, "--output", out, "--rate", 10) == 0
    assert [record["frame"] for record in lines(out / "lanes.jsonl")] == [
        "1.png",
        "2.png",
        "picture.png",
    ]
    assert [record["stamp"] for record in lines(out / "lanes.jsonl")] == [0, 0.1, 0.2]
    for name in ("1.png", "2.png", "picture.png"):
        before, after = cv2.imread(str(folder / name)), cv2.imread(str(out / name))
        assert before.shape == after.shape
        assert (before != after).any()


def test_an_image_becomes_one_overlay(weights, picture, tmp_path):
    assert detect(weights, picture, "--output", tmp_path / "a.jpg") == 0
    assert cv2.imread(str(tmp_path / "a.jpg")).shape == (96, 128, 3)


def test_a_video_becomes_a_video_of_its_rate_and_lines(weights, video, tmp_path):
    out = tmp_path / "out"
    assert detect(weights, video, "--output", out) == 0
    assert frame_count(out / "overlay.mp4") == 4
    assert cv2.VideoCapture(str(out / "overlay.mp4")).get(cv2.CAP_PROP_FPS) == 10
    assert [record["stamp"] for record in lines(out / "lanes.jsonl")] == [0, 0.1, 0.2, 0.3]
    assert sorted(file.name for file in out.iterdir()) == ["lanes.jsonl", "overlay.mp4"]


@pytest.mark.parametrize("options", [[], ["--browser-video"]])
def test_a_video_alone(weights, video, tmp_path, options):
    assert detect(weights, video, "--output", tmp_path / "a.mp4", *options) == 0
    assert frame_count(tmp_path / "a.mp4") == 4


@pytest.mark.parametrize("ending", ["mcap", "db3"])
def test_a_bag_has_the_topics_of_the_node(weights, video, tmp_path, ending):
    out = tmp_path / f"lanes.{ending}"
    assert detect(weights, video, "--output", out) == 0
    assert detect(weights, video, "--output", tmp_path / "lanes.jsonl") == 0
    arrays, topics = [], {}
    with AnyReader([out]) as reader:
        for connection, time_ns, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            markers = getattr(message, "markers", None)
            stamp = (markers[0] if markers else message).header.stamp
            assert stamp.sec * 10**9 + stamp.nanosec == time_ns
            topics.setdefault(connection.topic, set()).add(connection.msgtype)
            if connection.topic == "/lane_detector/lanes":
                arrays.append(message)
    assert topics == {
        "/lane_detector/lanes": {"lane_sad_ros/msg/LaneArray"},
        "/lane_detector/existence": {"lane_sad_ros/msg/LaneExistence"},
        "/lane_detector/ego_lane": {"lane_sad_ros/msg/EgoLane"},
        "/lane_detector/markers": {"visualization_msgs/msg/MarkerArray"},
        "/lane_detector/points": {"sensor_msgs/msg/PointCloud2"},
        "/lane_detector/overlay/compressed": {"sensor_msgs/msg/CompressedImage"},
    }
    for record, array in zip(lines(tmp_path / "lanes.jsonl"), arrays, strict=True):
        assert [lane.exists for lane in array.lanes] == [e["exists"] for e in record["lanes"]]
        for entry, lane in zip(record["lanes"], array.lanes, strict=True):
            assert lane.name == entry["name"]
            np.testing.assert_allclose(
                np.stack([lane.u, lane.v], axis=1),
                np.reshape(entry["points"], (-1, 3))[:, :2],
                atol=0.01,
            )


def test_a_bag_that_was_written_is_input_too(weights, video, tmp_path):
    detect(weights, video, "--output", tmp_path / "a.mcap")
    assert detect(weights, tmp_path / "a.mcap", "--output", tmp_path / "lanes.jsonl") == 0
    assert len(lines(tmp_path / "lanes.jsonl")) == 4


def test_tusimple_images_are_predicted_and_scored(weights, folder, tmp_path, capsys):
    rows = list(range(40, 96, 10))
    truth = folder / "truth.json"
    names = ["picture.png", "1.png"]
    truth.write_text(
        "".join(
            json.dumps({"raw_file": name, "lanes": [[30] * len(rows)], "h_samples": rows}) + "\n"
            for name in names
        )
    )
    predictions = tmp_path / "pred.json"
    dataset = f"tusimple:{folder}:truth.json"
    assert detect(weights, dataset, "--output", predictions, "--run-time", 5) == 0
    assert [record["raw_file"] for record in lines(predictions)] == names
    assert {record["run_time"] for record in lines(predictions)} == {5}
    assert all(len(us) == len(rows) for record in lines(predictions) for us in record["lanes"])

    capsys.readouterr()
    arguments = ["evaluate", "tusimple", "--truth", str(truth), "--json", str(tmp_path / "f.json")]
    assert cli.main([*arguments, "--predictions", str(predictions)]) == 0
    assert capsys.readouterr().out.startswith("accuracy ")
    assert set(json.loads((tmp_path / "f.json").read_text())) == {"accuracy", "fp", "fn"}

    perfect = tmp_path / "perfect.json"
    perfect.write_text("".join(json.dumps({**r, "run_time": 1}) + "\n" for r in lines(truth)))
    assert cli.main([*arguments, "--predictions", str(perfect)]) == 0
    assert json.loads((tmp_path / "f.json").read_text()) == {"accuracy": 1, "fp": 0, "fn": 0}


def test_culane_images_become_lines_files(weights, folder, tmp_path):
    (folder / "list.txt").write_text("/1.png\n/picture.png 1 1 0 0\n")
    assert detect(weights, f"culane:{folder}:{folder}/list.txt", "--output", tmp_path / "out") == 0
    detect(weights, folder / "1.png", "--output", tmp_path / "lanes.jsonl")
    (record,) = lines(tmp_path / "lanes.jsonl")
    expected = [lane["points"] for lane in record["lanes"] if lane["exists"]]
    written = (tmp_path / "out" / "1.lines.txt").read_text().splitlines()
    for line, points in zip(written, expected, strict=True):
        found = np.reshape([float(word) for word in line.split()], (-1, 2))
        assert found[0, 1] == 96  # CULane's lanes run to the last row
        np.testing.assert_allclose(
            found[-len(points) :],
            np.array(points)[:, :2],
            atol=0.01,
        )
    assert (tmp_path / "out" / "picture.lines.txt").exists()


def test_bdd100k_images_become_masks_of_what_the_network_sees(weights, folder, tmp_path):
    masks = tmp_path / "masks"
    assert detect(weights, f"bdd100k:{folder}", "--output", masks) == 0
    assert sorted(path.name for path in masks.iterdir()) == ["1.png", "2.png", "picture.png"]
    detector = LaneDetector.from_weights(weights, device="cpu")
    image = cv2.imread(str(folder / "1.png"))
    (detection,) = detector.detect([Frame(image, "bgr")], segmentation=True)
    mask = cv2.imread(str(masks / "1.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (96, 128) and not mask[:24].any()  # the crop begins at row 24
    seen = mask[24:].reshape(72, 128)
    expected = cv2.resize(detection.segmentation, (128, 72), interpolation=cv2.INTER_NEAREST)
    np.testing.assert_array_equal(seen, expected)
    assert set(np.unique(mask)) <= set(range(5)) and len(np.unique(mask)) > 2


def test_a_folder_may_have_a_data_sets_name(weights, folder, tmp_path, monkeypatch):
    folder.rename(tmp_path / "bdd100k")
    monkeypatch.chdir(tmp_path)
    assert detect(weights, "bdd100k", "--output", "lanes.jsonl") == 0
    assert len(lines(tmp_path / "lanes.jsonl")) == 3


@pytest.mark.parametrize(
    ("source", "output", "message"),
    [("in", "masks.jsonl", "masks go to a folder"), ("in/1.png", "masks", "bdd100k:FOLDER")],
)
def test_bdd100k_is_a_folder_to_a_folder(
    weights, folder, tmp_path, capsys, source, output, message
):
    with pytest.raises(SystemExit) as left:
        detect(weights, f"bdd100k:{folder.parent / source}", "--output", tmp_path / output)
    assert left.value.code == 2
    assert message in capsys.readouterr().err


def test_a_damaged_image_is_told_and_the_rest_done(weights, folder, tmp_path, capsys):
    (folder / "1.png").write_bytes((folder / "2.png").read_bytes()[:500])
    assert detect(weights, folder, "--output", tmp_path / "lanes.jsonl") == 1
    error = capsys.readouterr().err
    assert "1.png: not an image" in error
    assert "1 problem(s)" in error
    assert len(lines(tmp_path / "lanes.jsonl")) == 2


def test_without_a_good_frame_an_old_result_stays(weights, picture, tmp_path, capsys):
    out = tmp_path / "lanes.jsonl"
    out.write_text("old\n")
    picture.write_bytes(picture.read_bytes()[:500])
    assert detect(weights, picture, "--output", out) == 1
    assert "no frame that could be used" in capsys.readouterr().err
    assert out.read_text() == "old\n"
    assert sorted(file.name for file in tmp_path.iterdir() if file.is_file()) == [
        "lanes.jsonl",
        weights.name,
    ]


def test_bad_input_is_one_line_that_names_it(weights, picture, tmp_path, capsys):
    out = tmp_path / "lanes.jsonl"
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(weights.read_bytes()[:1000])
    assert "missing.mp4: no such" in failure(
        capsys, detect(weights, "missing.mp4", "--output", out)
    )
    assert "gone.st: no such" in failure(capsys, detect("gone.st", picture, "--output", out))
    assert "cut.safetensors: not a" in failure(capsys, detect(cut, picture, "--output", out))
    no_device = detect(weights, picture, "--output", out, "--device", "cuda:77")
    assert "device 'cuda:77' is not there" in failure(capsys, no_device)
    no_engine = detect(weights, picture, "--output", out, "--engine", "steam")
    assert "engine 'steam' is not one of" in failure(capsys, no_engine)
    in_a_file = detect(weights, picture, "--output", picture / "lanes.jsonl")
    assert str(picture) in failure(capsys, in_a_file)
    no_list = detect(weights, "culane:here:none.txt", "--output", tmp_path / "out")
    assert "none.txt: no such LIST" in failure(capsys, no_list)
    not_json = detect(weights, f"tusimple:{tmp_path}:{picture}", "--output", tmp_path / "a.json")
    assert "picture.png" in failure(capsys, not_json)
    arguments = ["evaluate", "tusimple", "--truth", "none.json", "--predictions", "none.json"]
    assert "none.json: No such file" in failure(capsys, cli.main(arguments))
    assert "cut.safetensors" in failure(capsys, cli.main(["weights", "show", str(cut)]))


def test_weights_that_overflow_are_one_line(weights, picture, tmp_path, capsys):
    network, layout, _ = load(weights)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1e30)
    save_network(weights, network, layout, training={}, figures={})
    out = tmp_path / "lanes.jsonl"
    assert "infinite or not a number" in failure(capsys, detect(weights, picture, "--output", out))
    assert not out.exists()


def test_wrong_use_exits_with_two(folder, picture, tmp_path, capsys):
    assert "COMMAND" in wrong_use(capsys)
    assert "--output" in wrong_use(capsys, "detect", picture)

    def refused(source, output, *more):
        return wrong_use(capsys, "detect", source, "--output", output, *more)

    assert "unknown ending .xyz" in refused(picture, "a.xyz")
    assert "for tusimple:" in refused(picture, "a.json")
    assert "one image cannot hold a folder" in refused(folder, "a.png")
    assert "replace the input" in refused(folder, folder)
    assert "replace the input" in refused(picture, folder)
    assert "replace the input" in refused(picture, picture)
    assert "a file is in the way" in refused(folder, weights_like(tmp_path))
    assert "tusimple:ROOT:JSON" in refused("tusimple:here", "a.json")
    assert "not a number in [0, 1]" in refused(picture, "a.jsonl", "--point-threshold", "2")
    assert "not a number above 0" in refused(picture, "a.jsonl", "--rate", "0")
    imported = ("weights", "import", "a.pth", "b.safetensors", "--input-size", "800")
    assert "WIDTHxHEIGHT" in wrong_use(capsys, *imported)


def weights_like(folder):
    path = folder / "file"
    path.touch()
    return path


def test_weights_show_tells_network_layout_and_training(weights, tiny_layout, capsys):
    assert cli.main(["weights", "show", str(weights)]) == 0
    shown = capsys.readouterr().out
    for word in (str(weights), "enet_sad", "parameters", *tiny_layout.slots, "64x48", "seed"):
        assert word in shown


def test_weights_import_needs_a_checkpoint(tmp_path, capsys):
    (tmp_path / "a.pth").write_text("no checkpoint")
    out = tmp_path / "out.safetensors"
    arguments = ["weights", "import", str(tmp_path / "a.pth"), str(out), "--input-size", "800x288"]
    assert "a.pth" in failure(capsys, cli.main(arguments))
    assert not out.exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_leaves_no_half_written_file(weights, folder, tmp_path, number, code):
    for index in range(400):
        (folder / f"more{index}.png").write_bytes((folder / "1.png").read_bytes())
    out = tmp_path / "out.jsonl"
    command = [sys.executable, "-m", "lane_sad_ros", "detect", str(folder), "--output", str(out)]
    process = subprocess.Popen(
        [*command, "--weights", str(weights), "--device", "cpu"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".out.*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in error
    assert not list(tmp_path.glob("*out.*"))


def test_the_module_runs_as_a_program():
    command = [sys.executable, "-m", "lane_sad_ros", "--version"]
    assert subprocess.run(command, capture_output=True, check=True).stdout
    command = [sys.executable, "-m", "lane_sad_ros", "detect"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "usage: lane_sad detect" in ended.stderr


def test_a_name_of_other_bytes_than_utf_8_is_printed_as_it_is(weights, picture, tmp_path):
    out = os.path.join(os.fsencode(tmp_path), b"\xe9.jsonl")
    command = [sys.executable, "-m", "lane_sad_ros", "detect", picture, "--output", out]
    ended = subprocess.run(
        [*command, "--weights", weights, "--device", "cpu", "--quiet"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},  # as under a locale such as en_GB
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout.rstrip().endswith(out)
    assert os.path.exists(out)


def test_bag_headers_carry_nanoseconds():
    header = MESSAGES.header(1_700_000_000_123_456_789, "front")
    assert (header.stamp.sec, header.stamp.nanosec) == (1_700_000_000, 123_456_789)
    assert header.frame_id == "front"


def test_culane_figures_are_the_official_ones(data, tmp_path, capsys):
    folder = data / "parity" / "culane"
    official = json.loads((folder / "expected.json").read_text())["total"]
    arguments = ["evaluate", "culane", "--truth", folder / "gt", "--predictions", folder / "pred"]
    arguments += ["--list", folder / "list" / "test.txt", "--json", tmp_path / "f.json"]
    for iou, counts in official.items():
        assert cli.main([*map(str, arguments), "--iou", iou]) == 0
        figures = json.loads((tmp_path / "f.json").read_text())
        assert {name: figures[name] for name in counts} == counts
    assert "which counts as no lanes" in capsys.readouterr().out


@pytest.fixture
def culane_files(tmp_path):
    """A road with two lanes of which one is found, and a crossroad with one found too many."""
    lanes = ["200 580 200 400", "800 580 800 400"]
    for side, name, found in (
        ("truth", "a", lanes),
        ("found", "a", lanes[:1]),
        ("truth", "b", []),
        ("found", "b", lanes[:1]),
    ):
        path = tmp_path / side / f"{name}.lines.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f"{lane}\n" for lane in found))
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "test0_normal.txt").write_text("/a.jpg\n")
    (tmp_path / "lists" / "test7_cross.txt").write_text("/b.jpg\n")
    return ["--truth", str(tmp_path / "truth"), "--predictions", str(tmp_path / "found")]


def test_culane_categories_beside_the_paper(culane_files, tmp_path, capsys):
    arguments = ["evaluate", "culane", *culane_files, "--categories", str(tmp_path / "lists")]
    assert cli.main([*arguments, "--json", str(tmp_path / "f.json")]) == 0
    captured = capsys.readouterr()
    rows = [line.split() for line in captured.out.splitlines()]
    assert rows[1:4] == [
        ["normal", "1", "1", "0", "1", "100.00", "50.00", "66.67", "F1", "90.1"],
        ["cross", "1", "0", "1", "0", "-", "-", "-", "FP", "1995"],
        ["total", "2", "1", "1", "1", "50.00", "50.00", "50.00", "F1", "70.8"],
    ]
    assert captured.err == ""  # no bar where there is no terminal
    figures = json.loads((tmp_path / "f.json").read_text())
    normal, cross = (figures["categories"][name] for name in ("normal", "cross"))
    assert (figures["tp"], figures["fp"], figures["fn"], figures["f1"]) == (1, 1, 1, 0.5)
    assert (normal["tp"], normal["fn"], normal["f1"]) == (1, 1, pytest.approx(2 / 3))
    assert (cross["tp"], cross["fp"], cross["fn"], cross["recall"]) == (0, 1, 0, -1)


def test_culane_sizes_are_told(culane_files, tmp_path, capsys):
    lists = [str(path) for path in sorted((tmp_path / "lists").iterdir())]
    arguments = ["evaluate", "culane", *culane_files, "--categories", *lists]
    assert cli.main([*arguments, "--image-size", "1280x720", "--prediction-size", "640x360"]) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == (
        "taken as: truth on 1280x720 images, predictions on 640x360 and scaled to those of the "
        "truth, lanes 30 pixels wide there (the benchmark: 30 on 1640x590)"
    )


def test_culane_images_come_from_one_list_or_from_categories(culane_files, capsys):
    assert "--list" in wrong_use(capsys, "evaluate", "culane", *culane_files)
    both = ("--list", "a.txt", "--categories", "b.txt")
    assert "not allowed with" in wrong_use(capsys, "evaluate", "culane", *culane_files, *both)
    none = ("--list", "a.txt", "--jobs", "0")
    assert "whole number above 0" in wrong_use(capsys, "evaluate", "culane", *culane_files, *none)


def test_tusimple_sizes_and_absent_predictions_are_told(tmp_path, capsys):
    truth, found = tmp_path / "truth.json", tmp_path / "found.json"
    rows, lane = [100, 200, 300], [49.5, 59.5, 69.5]
    records = [{"raw_file": name, "lanes": [lane], "h_samples": rows} for name in ("a", "b")]
    truth.write_text("".join(json.dumps(record) + "\n" for record in records))
    half = {"raw_file": "a", "lanes": [[24.5, 29.5, 34.5]], "run_time": 1}
    found.write_text(json.dumps(half))
    arguments = ["evaluate", "tusimple", "--truth", str(truth), "--predictions", str(found)]
    assert "first b" in failure(capsys, cli.main(arguments))
    assert cli.main([*arguments, "--absent-as-empty", "--prediction-size", "640x360"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "accuracy 50.00 %, FP 0.0000, FN 0.5000 over 2 images",
        "1 images have no prediction and count as ones without lanes; the official script refuses "
        "such a file",
        "taken as: truth on 1280x720 images, predictions on 640x360; both scaled to 1280x720, "
        "where the tolerance is 20 pixels",
    ]


def test_bdd100k_figures(tmp_path, capsys):
    for side, name, columns in (
        ("truth", "a", (4, 5)),
        ("found", "a", (5, 6, 7, 8)),
        ("truth", "b", (4, 5)),
    ):
        pixels = np.zeros((10, 20), np.uint8)
        pixels[:, columns] = 255
        (tmp_path / side).mkdir(exist_ok=True)
        assert cv2.imwrite(str(tmp_path / side / f"{name}.png"), pixels)
    folders = ["--truth", str(tmp_path / "truth"), "--predictions", str(tmp_path / "found")]
    arguments = ["evaluate", "bdd100k", *folders, "--json", str(tmp_path / "f.json")]
    assert cli.main(arguments) == 0
    out = capsys.readouterr().out
    assert out.startswith("accuracy 25.00 %, IoU 10.00 % over 2 images")
    assert "1 true masks have no prediction" in out
    assert json.loads((tmp_path / "f.json").read_text()) == {"accuracy": 0.25, "iou": 0.1}
    swapped = [folders[0], folders[3], folders[2], folders[3]]
    (tmp_path / "found" / "a.png").unlink()
    assert "no mask (*.png)" in failure(capsys, cli.main(["evaluate", "bdd100k", *swapped]))


def test_culane_list_that_is_missing(tmp_path, capsys):
    arguments = ["evaluate", "culane", "--truth", ".", "--predictions", ".", "--list", "none.txt"]
    assert cli.main(arguments) == 1
    assert "none.txt" in capsys.readouterr().err
