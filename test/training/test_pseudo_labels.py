"""Labels by a trained network: only what it is sure of, and right."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from lane_sad_ros.detection import Frame, LaneDetector
from lane_sad_ros.formats import tusimple
from lane_sad_ros.lanes import Lane, Lanes
from lane_sad_ros.recordings.sources import open_frames
from training.cli import main
from training.datasets import open_dataset
from training.datasets.polylines import Labels
from training.datasets.synthetic import write_scenes
from training.pseudo_labels import agreeing, doubt, mirrored, pseudo_label
from training.scenes import Mix

PLAIN = Mix(
    unmarked=0, sparse=0, crossroads=0, city=0, overcast=0, dusk=0, night=0, dazzle=0, shade=0,
    jam=0, symbols=0, bonnet=0, dashcam=0,
)  # fmt: skip
SIZE = (640, 360)
ROWS = np.arange(350.0, 150.0, -5.0)
BOTTOMS = {1: 100.0, 2: 250.0, 3: 420.0, 4: 560.0}


def road(moved: float = 0.0, rows: int = 40, **changed: float) -> Lanes:
    """Four lanes in six slots towards (320, 150); s2=0.1 gives slot 2 another probability."""
    lanes = []
    for slot in range(6):
        probability = changed.get(f"s{slot}", 0.99 if slot in BOTTOMS else 0.01)
        points = np.empty((0, 3), np.float32)
        if probability > 0.5:
            v = ROWS[:rows]
            u = 320 + (BOTTOMS.get(slot, 20.0) - 320) * (v - 150) / 200 + moved
            points = np.column_stack([u, v, np.ones(rows)]).astype(np.float32)
        lanes.append(Lane(slot, probability > 0.5, probability, points))
    return Lanes(SIZE, tuple(lanes))


def test_what_agrees_is_kept() -> None:
    assert doubt(road(), road(1.0), road(-1.0), 0.8) is None


@pytest.mark.parametrize(
    ("views", "reason"),
    [
        ((road(s2=0.7), road(), road()), "not sure"),
        ((road(), road(s0=0.3), road()), "not sure"),
        ((road(), road(s4=0.05), road()), "comes and goes"),
        ((road(), road(), road(s4=0.05)), "comes and goes"),
        ((road(), road(8.0), road()), "differ"),
        ((road(), road(), road(8.0)), "differ"),
        ((road(), road(rows=20), road()), "differ"),
        ((road(s2=0.05),) * 3, "gap"),
        ((road(s1=0, s2=0, s3=0, s4=0),) * 3, "without a lane"),
    ],
)
def test_what_does_not_agree_is_left_out(views: tuple[Lanes, Lanes, Lanes], reason: str) -> None:
    assert reason in (doubt(*views, 0.8) or "")


@pytest.mark.parametrize(
    ("views", "slots"),
    [
        ((road(),) * 3, [1, 2, 3, 4]),
        ((road(s3=0.7), road(), road()), [1, 2]),
        ((road(), road(s1=0.6), road(s4=0.05)), [2, 3]),
        ((road(), road(8.0), road()), []),
        ((road(s2=0.05),) * 3, [3, 4]),  # without its neighbour, 1 would get another slot
    ],
)
def test_lanes_that_agree_are_kept_alone(views: tuple[Lanes, Lanes, Lanes], slots: list) -> None:
    assert sorted(lane.slot for lane in agreeing(*views, 0.8)) == slots


def test_a_mirrored_images_lanes_are_those_of_the_image() -> None:
    detector = LaneDetector.from_weights(device="cpu")
    image = np.zeros((720, 1280, 3), np.uint8)
    image[380:] = 90
    for bottom in (120, 520, 1100):
        cv2.line(image, (640, 320), (bottom, 719), (255, 255, 255), 9)
    image[:360] = 160
    views = [Frame(image), Frame(np.ascontiguousarray(image[:, ::-1]))]
    found = [detection.lanes for detection in detector.detect(views)]
    straight, back = found[0], mirrored(found[1])
    assert [lane.slot for lane in back] == list(range(6))
    again = mirrored(back)
    for lane, twice in zip(found[1], again, strict=True):
        assert dataclasses.replace(lane, points=twice.points) == twice
        np.testing.assert_allclose(lane.points, twice.points, atol=1e-3)
    ego = [(straight[slot], back[slot]) for slot in (2, 3)]
    for one, two in ego:
        assert one.exists and two.exists
        row = 600.0
        columns = [np.interp(-row, -lane.points[:, 1], lane.points[:, 0]) for lane in (one, two)]
        assert columns[0] == pytest.approx(columns[1], abs=8)


def distance(lane: np.ndarray, other: np.ndarray) -> float:
    """Mean distance in columns on the rows that both have; infinite where these are few."""
    common = (lane[:, 1] >= other[0, 1]) & (lane[:, 1] <= other[-1, 1])
    if common.mean() < 0.7:
        return float("inf")
    columns = np.interp(lane[common, 1], other[:, 1], other[:, 0])
    return float(np.abs(columns - lane[common, 0]).mean())


def test_labels_of_rendered_roads_are_right_and_can_be_trained_on(tmp_path: Path) -> None:
    truth = write_scenes(tmp_path / "scenes", 40, 77, 1, SIZE, replace(PLAIN, unmarked=0.1))
    source = open_frames(tmp_path / "scenes" / "images")
    detector = LaneDetector.from_weights(device="cpu")
    kept, dropped = pseudo_label(source, detector, tmp_path / "out")
    assert kept >= 4
    assert kept + dropped.total() == 40
    labels = open_dataset("tusimple", tmp_path / "out/labels.json")
    assert len(labels) == kept
    true = {
        Path(record["raw_file"]).name: tusimple.lanes_of(record)
        for record in map(json.loads, truth.read_text().splitlines())
    }
    errors = []
    for line in (tmp_path / "out/labels.json").read_text().splitlines():
        record = json.loads(line)
        for lane in tusimple.lanes_of(record):
            others = true[Path(record["raw_file"]).name]
            errors.append(min(distance(lane, other) for other in others))
    assert np.median(errors) < 3


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_scenes(tmp_path / "scenes", 12, 77, 1, SIZE, PLAIN)
    images, out = str(tmp_path / "scenes/images"), tmp_path / "out"
    options = ["--every", "2", "--sure", "0.5", "--device", "cpu"]
    assert main(["pseudo-label", images, str(out), *options]) == 0
    said = capsys.readouterr().out
    count = len((out / "labels.json").read_text().splitlines())
    assert f"{count} frames in" in said and 1 <= count <= 6
    assert len(list((out / "images").iterdir())) == count
    assert main(["pseudo-label", images, str(tmp_path / "part"), "--partial", *options]) == 0
    partly = open_dataset("lanes", tmp_path / "part/lanes.json", labels=Labels(ego_only=True))
    assert len(partly) >= count and all(partly[i].partial and partly[i].lanes for i in range(count))
    assert main(["pseudo-label", images, str(out), "--every", "0"]) == 1
    assert "every must be at least 1" in capsys.readouterr().err
    assert main(["pseudo-label", images, str(out), "--sure", "0.2"]) == 1
    assert "at least 0.5" in capsys.readouterr().err
    assert main(["pseudo-label", images, str(tmp_path / "scenes")]) == 1
    assert "would replace those of" in capsys.readouterr().err


def test_a_recording_without_a_lane_gives_no_labels(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "black.png"), np.zeros((360, 640, 3), np.uint8))
    with pytest.raises(ValueError, match="no frame with lanes"):
        pseudo_label(
            open_frames(tmp_path), LaneDetector.from_weights(device="cpu"), tmp_path / "out"
        )
    assert not (tmp_path / "out/labels.json").exists()
