"""Existence probabilities: how right they are, and how they are corrected."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from lane_sad_ros.lanes import LAYOUTS, LaneLayout
from lane_sad_ros.network.enet import ENetSAD
from lane_sad_ros.network.weights import default_weights_path, load
from training import reliability
from training.cli import main
from training.config import Source
from training.datasets import Reading
from training.reliability import Answers, answers, apply, bins, calibration_error, fitted


def sure(scale: float, shift: float, count: int = 20_000) -> Answers:
    """A network that is right, seen through logits that are scaled and shifted away from it."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, count)
    exists = rng.random(count) < 1 / (1 + np.exp(-logits))
    return Answers((logits - shift) / scale, exists)


def test_bins_hold_what_they_say() -> None:
    said = np.array([0.05, 0.12, 0.18, 0.95, 1 - 1e-12])
    logits = np.log(said / (1 - said))
    found = Answers(logits, np.array([False, False, True, True, True]))
    assert [(part.count, part.share) for part in bins(found)] == [(1, 0), (2, 0.5), (2, 1)]
    error = (0.05 + 2 * abs(0.15 - 0.5) + 2 * abs((0.95 + 1) / 2 - 1)) / 5
    assert calibration_error(found) == pytest.approx(error)


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (0.4, 0.0), (0.5, -1.0), (2.0, 0.7)])
def test_too_sure_a_network_is_corrected(scale: float, shift: float) -> None:
    found = sure(scale, shift)
    assert fitted(found) == pytest.approx((scale, shift), abs=0.05)
    assert calibration_error(found.changed(*fitted(found))) < 0.01


def test_a_network_that_is_never_wrong_stays_finite() -> None:
    logits = np.tile([-4.0, -3.0, 3.0, 4.0], 10)
    scale, shift = fitted(Answers(logits, logits > 0))
    assert 0 < scale < 10
    assert abs(shift) < 1
    with pytest.raises(ValueError, match="both kinds"):
        fitted(Answers(np.zeros(3), np.ones(3, bool)))


def test_the_network_says_the_corrected_probabilities() -> None:
    torch.manual_seed(0)
    network = ENetSAD(4, (64, 48)).eval()
    images = torch.randn(2, 3, 48, 64)
    with torch.no_grad():
        maps, before = network(images)
        apply(network, 0.5, -0.25)
        same, after = network(images)
    torch.testing.assert_close(after, 0.5 * before - 0.25)
    torch.testing.assert_close(same, maps)


def test_slots_of_another_layout_are_refused(tmp_path: Path) -> None:
    """Masks of CULane number four slots: their first is not the first of six."""
    for name in ("a.jpg", "laneseg_label_w16/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), np.zeros((60, 160), np.uint8))
    (tmp_path / "list.txt").write_text("/a.jpg\n")
    masked = Source(tmp_path / "list.txt", "culane").open()
    network = ENetSAD(6, (64, 48))
    six, four = (
        dataclasses.replace(LAYOUTS[name], input_size=(64, 48)) for name in ("tusimple", "culane")
    )
    with pytest.raises(ValueError, match="number 4 slots, the layout tusimple has 6; take a layou"):
        answers(network, six, [masked])
    assert len(answers(ENetSAD(4, (64, 48)), four, [masked]).logits) == 4


def test_halves_are_of_different_images() -> None:
    found = Answers(np.arange(6.0), np.array([True, False] * 3), np.array([0, 0, 1, 1, 2, 2]))
    one, other = found.halves()
    assert one.logits.tolist() == [0, 1, 4, 5]
    assert other.logits.tolist() == [2, 3]
    assert reliability.Answers(one.logits, one.exists).probabilities.max() < 1


def test_images_are_read_as_wide_as_the_network_sees_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Reading] = []

    def opened(source: Source, reading: Reading | None = None) -> None:
        assert reading is not None
        asked.append(reading)
        raise ValueError("enough")

    monkeypatch.setattr(Source, "open", opened)
    config = tmp_path / "run.yaml"
    config.write_text("validation: [{path: a.json}]")
    assert main(["reliability", str(config)]) == 1
    layout: LaneLayout = load(default_weights_path())[1]
    assert [reading.max_width for reading in asked] == [Reading.for_layout(layout).max_width]
    config.write_text("data: [{path: a.json}]")
    capsys.readouterr()
    assert main(["reliability", str(config)]) == 1
    assert "names no validation sets" in capsys.readouterr().err
