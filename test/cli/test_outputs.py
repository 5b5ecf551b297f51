"""What is written lies where it should: never out of the output folder, never over an input."""

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from lane_sad_ros import cli
from lane_sad_ros.video_files import writing_video


@pytest.fixture
def weights(make_weights):
    return make_weights()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photos" / "mine.jpg"
    path.parent.mkdir()
    cv2.imwrite(str(path), np.zeros((96, 128, 3), np.uint8))
    return path


def detect(weights: Path, *arguments: object) -> int:
    options = ["--weights", str(weights), "--device", "cpu", "--quiet"]
    try:
        return cli.main(["detect", *options, *map(str, arguments)])
    except SystemExit as ended:
        return int(ended.code or 0)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", ["{photo}", "../photos/mine.jpg", "a/../../photos/mine.jpg"])
@pytest.mark.parametrize("kind", ["tusimple", "culane"])
def test_a_name_that_leads_out_of_the_output_writes_nothing(
    weights: Path, photo: Path, tmp_path: Path, capsys, kind: str, name: str
) -> None:
    root, out = tmp_path / "data", tmp_path / "out"
    (root / "a").mkdir(parents=True)
    named = name.format(photo=photo)
    listing = root / "list"
    record = {"raw_file": named, "h_samples": [50], "lanes": []}
    listing.write_text(json.dumps(record) if kind == "tusimple" else f"{named}\n")
    before = tree(tmp_path)
    code = detect(weights, f"{kind}:{root}:list", "--output", out)
    if kind == "culane" and name == "{photo}":  # a slash in front means the root there
        assert code == 1 and "cannot be read" in capsys.readouterr().err
    else:
        assert code == 1 and "leads out of" in capsys.readouterr().err
    assert {k: v for k, v in tree(tmp_path).items() if not k.startswith("out/")} == before


def test_an_output_folder_that_is_another_name_of_the_input(
    weights: Path, photo: Path, tmp_path: Path, capsys
) -> None:
    """The root's parent, with names that lead back to the images."""
    record = {"raw_file": "photos/mine.jpg", "h_samples": [50], "lanes": []}
    (tmp_path / "labels.json").write_text(json.dumps(record))
    (tmp_path / "links").mkdir()
    os.link(photo, tmp_path / "links" / "mine.jpg")
    before = tree(tmp_path)
    shutil.copytree(tmp_path / "links", tmp_path / "out" / "photos", copy_function=os.link)
    source = f"tusimple:{tmp_path}:{tmp_path}/labels.json"
    assert detect(weights, source, "--output", tmp_path / "out") == 1
    assert "is an image of the input" in capsys.readouterr().err
    assert {k: v for k, v in tree(tmp_path).items() if not k.startswith("out/")} == before


def test_no_input_is_replaced(weights: Path, photo: Path, tmp_path: Path, capsys) -> None:
    labels, video = tmp_path / "labels.json", tmp_path / "overlay.mp4"
    labels.write_text(json.dumps({"raw_file": "mine.jpg", "h_samples": [50], "lanes": []}))
    with writing_video(video, 10) as add:
        add(np.zeros((96, 128, 3), np.uint8))
    parameters = tmp_path / "parameters.jsonl"
    parameters.write_text("/**: {ros__parameters: {camera_height: 1.5}}")
    before = tree(tmp_path)
    for arguments in (
        (f"tusimple:{photo.parent}:{labels}", "--output", labels),
        (video, "--output", tmp_path),
        (video, "--output", parameters, "--params-file", parameters),
    ):
        assert detect(weights, *arguments) == 2
        assert "would replace the input" in capsys.readouterr().err
    truth = ["--truth", str(labels), "--predictions", str(labels), "--json", str(labels)]
    with pytest.raises(SystemExit):
        cli.main(["evaluate", "tusimple", *truth])
    assert "would replace the input" in capsys.readouterr().err
    assert tree(tmp_path) == before


def test_files_beside_those_of_a_bag_are_written_anew(
    weights: Path, photo: Path, tmp_path: Path, capsys
) -> None:
    """A rosbag2 folder is read for its own files alone: what was left in there is no input."""
    bag = tmp_path / "drive" / "drive_0.mcap"
    assert cli.main(["bag", "make", str(photo), str(bag), "--labels", str(_label(tmp_path))]) == 0
    before = bag.read_bytes()
    for _ in range(2):
        assert detect(weights, bag.parent, "--output", bag.parent / "lanes.jsonl") == 0
    assert detect(weights, bag.parent, "--output", bag) == 2
    assert "would replace the input" in capsys.readouterr().err
    assert bag.read_bytes() == before


def _label(folder: Path) -> Path:
    """The lanes of `photo`: none."""
    path = folder / "labels.jsonl"
    record = {"frame": "mine.jpg", "image_size": [128, 96], "lanes": []}
    path.write_text(json.dumps(record))
    return path


@pytest.mark.parametrize(("kind", "ending"), [("bdd100k", ".png"), ("culane", ".lines.txt")])
def test_no_two_images_are_written_to_one_file(
    weights: Path, photo: Path, tmp_path: Path, capsys, kind: str, ending: str
) -> None:
    """As where masks lie beside the images that they are of."""
    assert cv2.imwrite(str(photo.with_suffix(".png")), np.zeros((96, 128), np.uint8))
    listing, out = tmp_path / "list", tmp_path / "out"
    listing.write_text("/mine.jpg\n/mine.jpg\n/mine.png\n")
    source = f"{kind}:{photo.parent}" + (f":{listing}" if kind == "culane" else "")
    assert detect(weights, source, "--output", out) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"mine.jpg and mine.png would both become mine{ending}" in said
    assert not out.exists()
    listing.write_text("/mine.jpg\n/mine.jpg\n")
    if kind == "culane":  # an image twice is one
        assert detect(weights, source, "--output", out) == 0


def test_overlays_of_grey_files_are_in_colour(weights: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "grey", tmp_path / "out"
    folder.mkdir()
    for name in ("1.pgm", "1.png", "2.PGM", "3.ppm"):
        pixels = np.full((96, 128, 3) if name == "3.ppm" else (96, 128), 90, np.uint8)
        assert cv2.imwrite(str(folder / name), pixels)
    assert detect(weights, folder, "--output", out) == 0
    overlays = {path.name: cv2.imread(str(path), -1) for path in out.iterdir()}
    assert overlays.pop("lanes.jsonl") is None
    assert set(overlays) == {"1.pgm.png", "1.png", "2.PGM.png", "3.ppm"}
    assert {overlay.shape for overlay in overlays.values()} == {(96, 128, 3)}


def test_a_grey_file_cannot_hold_an_overlay(
    weights: Path, photo: Path, tmp_path: Path, capsys
) -> None:
    assert detect(weights, photo, "--output", tmp_path / "out.pgm") == 1
    said = capsys.readouterr().err
    assert "out.pgm: OpenCV cannot write this image as .pgm" in said and said.count("\n") == 1
    assert not (tmp_path / "out.pgm").exists()
