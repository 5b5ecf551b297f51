"""From a run to the paper's row, and validation of a network that finds nothing."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from lane_sad_ros.network.architectures import build_network
from lane_sad_ros.network.weights import load_network, save_network
from training.cli import main
from training.config import Config, Source, plain
from training.validation import validate

ROWS = list(range(160, 720, 10))


def image(path: Path, width: int, height: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((height, width, 3), 90, np.uint8))


@pytest.fixture
def tusimple(tmp_path: Path) -> Path:
    """One training and two test frames with two lanes each."""
    folder = tmp_path / "tusimple"
    for name, frames in (("label_data_0313", 1), ("label_data_0601", 1), ("test_label", 2)):
        records = []
        for number in range(frames):
            file = f"clips/{name}/{number}/20.jpg"
            image(folder / file, 1280, 720)
            lanes = [[500 - row // 4 for row in ROWS], [700 + row // 4 for row in ROWS]]
            records.append({"raw_file": file, "lanes": lanes, "h_samples": ROWS})
        text = "".join(json.dumps(record) + "\n" for record in records)
        (folder / f"{name}.json").write_text(text)
    return folder


@pytest.fixture
def culane(tmp_path: Path) -> Path:
    """A street with two lanes and a crossroads without any."""
    folder = tmp_path / "culane"
    for name, lanes in (("a/1", "600 590 700 300\n1000 590 900 300\n"), ("a/2", "")):
        image(folder / f"{name}.jpg", 1640, 590)
        (folder / f"{name}.lines.txt").write_text(lanes)
    (folder / "list" / "test_split").mkdir(parents=True)
    (folder / "list" / "test.txt").write_text("/a/1.jpg\n/a/2.jpg\n")
    (folder / "list" / "train.txt").write_text("/a/1.jpg\n")
    (folder / "list" / "test_split" / "test0_normal.txt").write_text("a/1.jpg\n")
    (folder / "list" / "test_split" / "test8_cross.txt").write_text("a/2.jpg\n")
    return folder


def run_that_finds(lanes: bool, folder: Path, kind: str, data: Path) -> Config:
    """A run whose network says of every slot that its lane exists, or that it does not."""
    config = Config(layout=kind, input_size=(64, 32), data=(Source(data, kind, "train"),))
    layout = config.lane_layout()
    network = build_network("enet_sad", len(layout.slots), layout.input_size)
    assert network.existence is not None
    network.existence.output.weight.data.zero_()
    network.existence.output.bias.data.fill_(9.0 if lanes else -9.0)
    save_network(folder / "weights.safetensors", network, layout, {}, {})
    (folder / "config.yaml").write_text(yaml.safe_dump(plain(config)))
    return config


def test_tusimples_row(tusimple: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_that_finds(False, tmp_path / "run", "tusimple", tusimple)
    assert main(["test", str(tmp_path / "run"), "--device", "cpu"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[-3:]]
    assert rows == [["accuracy", "0.00", "96.64"], ["FP", "0.00", "0.06"], ["FN", "1.00", "0.02"]]
    predictions = (tmp_path / "run" / "test" / "predictions.json").read_text().splitlines()
    assert [json.loads(line)["raw_file"] for line in predictions] == [
        "clips/test_label/0/20.jpg",
        "clips/test_label/1/20.jpg",
    ]
    found = json.loads((tmp_path / "run" / "test" / "figures.json").read_text())
    assert found == {"accuracy": 0.0, "FP": 0.0, "FN": 1.0}


def test_culanes_row_by_category(
    culane: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_that_finds(False, tmp_path / "run", "culane", culane)
    words = ["test", str(tmp_path / "run"), "--device", "cpu", "--output", str(tmp_path / "out")]
    assert main(words) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[-3:]]
    assert rows == [
        ["normal", "0.00", "90.10"],
        ["cross", "0.00", "1995.00"],
        ["total", "0.00", "70.80"],
    ]
    assert (tmp_path / "out" / "a" / "1.lines.txt").read_text() == ""
    assert (culane / "a" / "1.lines.txt").read_text() != ""


def test_images_without_predictions_are_missed_lanes(culane: Path, tmp_path: Path) -> None:
    config = run_that_finds(False, tmp_path / "run", "culane", culane)
    network = load_network(tmp_path / "run" / "weights.safetensors")
    dataset = Source(culane, "culane", "test").open()
    found = validate(network, config.lane_layout(), dataset, "cpu")
    assert (found["f1"], found["tp"], found["fp"], found["fn"]) == (0.0, 0, 0, 2)


def test_run_without_an_official_set_has_no_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Config(data=(Source(tmp_path / "labels.json"),))
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(plain(config)))
    assert main(["test", str(tmp_path)]) == 1
    assert "was not trained on an official data set" in capsys.readouterr().err
