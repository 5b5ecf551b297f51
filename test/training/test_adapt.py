"""Weights fitted to a recording of one's own."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from lane_sad_ros.detection import LaneDetector
from lane_sad_ros.lanes import TUSIMPLE
from lane_sad_ros.network.weights import default_weights_path, load
from lane_sad_ros.recordings.sources import open_frames
from training.adapt import adapt, collect, labels
from training.cli import main
from training.scenes import Drive, drive_camera


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames of a rendered drive, and two without a road."""
    folder = tmp_path_factory.mktemp("drive")
    frames = Drive(0, drive_camera(640, 360))
    for index in range(12):
        cv2.imwrite(str(folder / f"{index:02d}.jpg"), frames.frame(0.5 * index).image)
    for index in (12, 13):
        cv2.imwrite(str(folder / f"{index:02d}.jpg"), np.full((360, 640, 3), 90, np.uint8))
    return folder


@pytest.fixture(scope="module")
def collected(drive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("adapted")
    detector = LaneDetector.from_weights(device="cpu")
    found = collect(open_frames(drive), detector, output, sure=0.5)
    assert found.kept + found.doubtful + found.empty == 14
    assert found.kept == len(list((output / "images").glob("*.jpg"))) > 3
    laid_out = len(list((output / "doubtful").glob("*.json")))
    assert found.doubtful + found.empty == laid_out
    page = (output / "review.html").read_text()
    assert page.count("data:image/jpeg") == 14
    assert all(image.name in page for image in (output / "images").iterdir())  # for struck.txt
    return output


def test_a_folder_is_of_one_recording(
    drive: Path, collected: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--output", str(collected), "--review"]
    assert main(["adapt", str(drive), *words]) == 0
    assert main(["adapt", str(tmp_path), *words]) == 1
    assert f"holds frames of {drive}; name another --output" in capsys.readouterr().err


def test_struck_frames_are_left_out_and_checked_ones_taken(collected: Path) -> None:
    before = labels(collected)
    assert before.checked == 0
    name = Path(before.train[0]["image"]).name
    (collected / "struck.txt").write_text(f"{name}\n")
    after = labels(collected)
    assert name not in [Path(record["image"]).name for record in after.train]
    assert len(after.train) == len(before.train) - 1
    (collected / "struck.txt").write_text("nothing.jpg\n")
    with pytest.raises(ValueError, match=r"struck\.txt: nothing\.jpg is no frame"):
        labels(collected)
    (collected / "struck.txt").unlink()


def test_corrections_stay_where_the_weights_are_sure_of_no_frame(
    drive: Path, tmp_path: Path
) -> None:
    def collected() -> int:
        detector = LaneDetector.from_weights(device="cpu")
        return collect(open_frames(drive), detector, tmp_path, every=2, sure=1.0).kept

    assert collected() == 0
    with pytest.raises(ValueError, match=r"0 frames to learn from.*doubtful in labelme"):
        labels(tmp_path)
    for path in (tmp_path / "doubtful").glob("*.json"):
        path.write_text(path.read_text().replace('"checked": false', '"checked": true'))
    found = labels(tmp_path)
    assert (found.checked, len(found.train), len(found.held_out)) == (7, 6, 1)
    assert collected() == 0
    assert labels(tmp_path) == found


def test_what_a_person_has_checked_is_the_measure(collected: Path) -> None:
    held = labels(collected).held_out[0]
    (collected / "struck.txt").write_text(Path(held["image"]).name)  # the checked one is instead
    image = cv2.imread(str(collected / held["image"]))
    doubtful = collected / "doubtful"
    doubtful.mkdir(exist_ok=True)
    path = doubtful / f"{held['number']:06d}.json"
    cv2.imwrite(str(path.with_suffix(".jpg")), image)
    record = {
        "flags": {"checked": False},
        "shapes": [{"shape_type": "linestrip", "points": [[10, 350], [300, 150]]}],
        "imagePath": f"{path.stem}.jpg", "imageWidth": 640, "imageHeight": 360,
    }  # fmt: skip
    path.write_text(json.dumps(record))
    assert labels(collected).checked == 0
    assert held["image"] not in [entry["image"] for entry in labels(collected).held_out]
    record["flags"]["checked"] = True
    path.write_text(json.dumps(record))
    found = labels(collected)
    assert found.checked == 1
    assert [entry["image"] for entry in found.held_out] == [f"doubtful/{path.stem}.jpg"]
    assert found.held_out[0]["lanes"] == [[[10, 350], [300, 150]]]
    path.unlink()
    (collected / "struck.txt").unlink()


def test_the_weights_go_on_and_the_report_says_what_was_gained(collected: Path) -> None:
    figures = adapt(
        collected, default_weights_path(), steps=2, scenes=2, device="cpu", batch=2, workers=0
    )
    assert set(figures) == {"before", "after"}
    assert figures["before"]["f1"] > 0.9  # against its own labels
    network, layout, metadata = load(collected / "weights.safetensors")
    shipped, wanted, _ = load(default_weights_path())
    assert layout == wanted
    assert layout.name == TUSIMPLE.name
    changed = dict(network.state_dict())
    assert any((changed[name] != value).any() for name, value in shipped.state_dict().items())
    assert metadata["figures"] == figures
    report = (collected / "report.html").read_text()
    assert "Nobody has checked a frame" in report
    LaneDetector.from_weights(collected / "weights.safetensors", device="cpu")


def test_more_corrections_are_learnt_from(collected: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def weights(folder: Path = collected) -> bytes:
        adapt(folder, default_weights_path(), steps=1, scenes=0, device="cpu", batch=1, workers=0)
        return (collected / "weights.safetensors").read_bytes()

    before = weights()
    monkeypatch.chdir(collected.parent)
    assert weights(Path(collected.name)) == before  # nothing is new
    name = Path(labels(collected).train[0]["image"]).name
    (collected / "struck.txt").write_text(f"{name}\n")
    assert weights() != before
    (collected / "struck.txt").unlink()
