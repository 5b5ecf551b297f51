"""The figures of lanes over time, on sequences whose answers are known."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmark import stability
from benchmark.steadiness import Moment, measure
from lane_sad_ros.lanes import Lane, Lanes

SIZE = (640, 360)  # half of the size that figures are given for
STEP = 50_000_000


def line(u: float | None) -> Lanes:
    """One slot with an upright line at a column of a 1280×720 image, or nothing."""
    points = np.empty((0, 3), np.float32)
    if u is not None:
        v = np.arange(350.0, 150.0, -5.0)
        points = np.stack([np.full(40, (u + 0.5) / 2 - 0.5), v, np.ones(40)], 1).astype(np.float32)
    return Lanes(SIZE, (Lane(0, u is not None, 0.9 if u is not None else 0.05, points),))


def moments(
    detected: Sequence[float | None], truth: Sequence[float | None] | None = None
) -> list[Moment]:
    return [
        Moment(index * STEP, line(u), line(truth[index]) if truth is not None else None)
        for index, u in enumerate(detected)
    ]


def figures(detected: Sequence[float | None], truth: Sequence[float | None] | None = None):
    sequence = moments(detected, truth)
    return measure([(sequence, [moment.detected for moment in sequence])])


def test_flips_are_counted_for_a_hundred_frames() -> None:
    found = figures([500.0] * 40 + [None] * 20 + [500.0] * 41, [500.0] * 101)
    assert found.frames == 101
    assert found.flips == pytest.approx(2.0)
    assert found.true_flips == 0
    assert found.missed_lanes == pytest.approx(20 / 101)
    assert found.false_lanes == 0
    assert found.found == pytest.approx(81 / 101)


def test_jitter_is_the_second_difference_of_the_same_lane_only() -> None:
    zigzag = [500.0 + 3.0 * (index % 2) for index in range(20)]
    assert figures(zigzag).jitter == pytest.approx(6.0, abs=1e-3)
    assert figures(zigzag).jitter_rms == pytest.approx(6.0, abs=1e-3)
    assert figures([500.0 + 3.0 * index for index in range(20)]).jitter < 1e-3
    # Half-way through, the slot gets another marking: no jitter.
    assert figures([500.0] * 10 + [800.0] * 10).jitter_rms < 1e-3
    assert figures([500.0, None] * 10).jitter == 0.0


@pytest.mark.parametrize("late", [0, 1, 2])
def test_lag_is_that_of_the_truth_some_frames_ago(late: int) -> None:
    path = 600 + 150 * np.sin(np.arange(200) * 2 * np.pi / 60)
    found = figures(np.roll(path, late)[late:].tolist(), path[late:].tolist())
    assert found.lag == pytest.approx(late, abs=0.1)


def test_lag_without_truth_is_that_behind_the_detections() -> None:
    path = (600 + 150 * np.sin(np.arange(200) * 2 * np.pi / 60)).tolist()
    sequence = moments(path)
    late = [sequence[max(index - 1, 0)].detected for index in range(200)]
    assert measure([(sequence, late)]).lag == pytest.approx(1, abs=0.1)


def test_what_stands_still_has_no_lag() -> None:
    assert figures([500.0] * 20, [500.0] * 20).lag is None


def test_tracking_is_steadier_on_a_noisy_lane_that_flickers() -> None:
    rng = np.random.default_rng(2)
    path = 600 + 150 * np.sin(np.arange(200) * 2 * np.pi / 100)
    seen = [None if index % 20 == 7 else u + rng.normal(0, 2) for index, u in enumerate(path)]
    results = stability.compare([moments(seen, path.tolist())])
    alone, tracked = results["alone"], results["tracked"]
    assert tracked["flips"] == 0 < alone["flips"]
    assert tracked["jitter"] < 0.7 * alone["jitter"]
    assert tracked["missed_lanes"] == 0 < alone["missed_lanes"]
    assert tracked["found"] == 1 > alone["found"]
    assert abs(tracked["lag"]) < 0.5
    text = stability.table("made up", results)
    assert "flips" in text and "accuracy" not in text


def test_the_command_reads_clips_and_says_what_it_cannot_read(
    tmp_path: Path, make_weights: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    clip = tmp_path / "clips/a"
    clip.mkdir(parents=True)
    for number in (1, 2, 3):
        cv2.imwrite(str(clip / f"{number}.jpg"), np.full((96, 128, 3), 90, np.uint8))
    record = {"raw_file": "clips/a/3.jpg", "lanes": [[60, 62]], "h_samples": [60, 70]}
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps(record) + "\n")
    common = ["--weights", str(make_weights()), "--device", "cpu"]

    given = f"tusimple:{tmp_path}:{labels}"
    out = tmp_path / "figures.json"
    assert stability.main([given, str(clip), "--json", str(out), *common]) == 0
    figures = json.loads(out.read_text())
    assert figures[given]["tracked"]["frames"] == 3
    assert figures[given]["alone"]["accuracy"] is not None
    assert figures[str(clip)]["alone"]["accuracy"] is None

    (clip / "2.jpg").unlink()
    assert stability.main([given, *common]) == 1
    assert "no clip is there in full" in capsys.readouterr().err
