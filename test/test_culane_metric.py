"""The official CULane metric and its files."""

import json
from pathlib import Path

import numpy as np
import pytest

from lane_sad_ros.evaluation.culane import (
    TOLERANCE_EXACT,
    Counts,
    Result,
    Rules,
    category_lists,
    evaluate,
    evaluate_categories,
    lane_ious,
    read_lanes,
    score,
    write_lanes,
)
from lane_sad_ros.lanes import Lane, Lanes


def straight(u: float, length: int = 10) -> np.ndarray:
    """An upright lane of `length` points at column u, from the bottom up."""
    return np.array([(u, 580 - 20 * i) for i in range(length)], dtype=np.float32).reshape(-1, 2)


FOUR = [straight(u) for u in (200, 600, 1000, 1400)]


# --- the official tool's answers


@pytest.mark.parametrize("iou", ["0.3", "0.5"])
def test_parity_with_the_official_tool(data: Path, iou: str) -> None:
    folder = data / "parity" / "culane"
    expected = json.loads((folder / "expected.json").read_text())
    cases = json.loads((folder / "cases.json").read_text())
    names = (folder / "list" / "test.txt").read_text().split()
    for case, name in zip(cases, names, strict=True):
        file = Path(name.lstrip("/")).with_suffix(".lines.txt")
        truth, prediction = (
            read_lanes(folder / side / file) if (folder / side / file).exists() else []
            for side in ("gt", "pred")
        )
        found = score(truth, prediction, Rules(iou=float(iou)))
        assert found == Counts(**expected["per_case"][iou][case]), case

    total = evaluate(folder / "gt", folder / "pred", folder / "list" / "test.txt", Rules(iou=float(iou)))
    assert total.counts == Counts(**expected["total"][iou])
    assert (total.images, total.absent_truths, total.absent_predictions) == (22, 0, 1)


# --- the rules, each by itself


def test_perfect_prediction_in_any_order() -> None:
    assert score(FOUR, FOUR[::-1]) == Counts(4, 0, 0)


def test_lanes_are_drawn_thirty_pixels_wide() -> None:
    # Shifted by 10 of about 31 drawn pixels: (31 - 10) / (31 + 10) = 0.51; by 11: 0.48.
    (near, far) = lane_ious([straight(600)], [straight(610), straight(611)])[0]
    assert near > 0.5 > far
    assert score([straight(600)], [straight(610)]) == Counts(1, 0, 0)
    assert score([straight(600)], [straight(611)]) == Counts(0, 1, 1)
    assert score([straight(600)], [straight(611)], Rules(width=40)) == Counts(1, 0, 0)
    assert score([straight(600)], [straight(611)], Rules(iou=0.3)) == Counts(1, 0, 0)


def test_points_are_joined_by_a_spline_from_three_on() -> None:
    bow = np.array([(400, 580), (600, 400), (400, 220)], dtype=np.float32)
    around = 2 * 180 * np.sin(np.linspace(-0.5, 0.5, 21))  # the same bow, densely
    assert lane_ious([bow], [bow[[0, 2]]])[0, 0] < 0.2
    dense = np.stack((600 - 200 * (around / around[0]) ** 2, 400 - around), axis=1)
    assert lane_ious([bow], [dense.astype(np.float32)])[0, 0] > 0.5


def test_one_point_and_none_are_lanes_that_match_nothing() -> None:
    stub, blank = straight(600, 1), straight(600, 0)
    assert score([FOUR[0]], [FOUR[0], stub, blank]) == Counts(1, 2, 0)
    assert score([FOUR[0], stub, blank], [FOUR[0]]) == Counts(1, 0, 2)
    assert score([stub], [stub]) == Counts(0, 1, 1)


def test_nothing_predicted_and_nothing_there() -> None:
    assert score(FOUR, []) == Counts(0, 0, 4)
    assert score([], FOUR) == Counts(0, 4, 0)
    assert score([], []) == Counts(0, 0, 0)


def test_a_lane_outside_the_image_has_no_iou_and_displaces_others() -> None:
    outside = straight(5000)
    assert np.isnan(lane_ious([outside], [outside])[0, 0])
    # The official tool's matching takes the two zeros for better than one and nan.
    assert score([outside, FOUR[0]], [outside, FOUR[0]]) == Counts(0, 2, 2)


def test_repeated_points_break_the_spline() -> None:
    repeated = np.concatenate((FOUR[0][:1], FOUR[0]))
    assert lane_ious([FOUR[0]], [repeated])[0, 0] < 0.1


def test_a_prediction_matches_one_truth_only() -> None:
    assert score([straight(600), straight(603)], [straight(601)]) == Counts(1, 0, 1)
    assert score([straight(600)], [straight(600), straight(603)]) == Counts(1, 1, 0)


def test_within_the_tolerance_the_order_decides_unless_exact() -> None:
    better, worse = straight(610), straight(611)
    truth = [straight(600)]
    ious = lane_ious(truth, [better, worse], width=31)[0]
    assert 0 < ious[0] - ious[1] < 0.05
    between = float(ious.mean())

    def found(prediction, **options) -> int:
        return score(truth, prediction, Rules(width=31, iou=between, **options)).tp

    assert found([better, worse]) == 1
    assert found([worse, better], tolerance=0.05) == 0
    assert found([worse, better], tolerance=TOLERANCE_EXACT) == 1


def test_the_best_matching_is_found_and_not_the_first() -> None:
    # Greedily the first truth would take the prediction that only the second can have.
    truth = [straight(600), straight(606)]
    assert score(truth, [straight(604), straight(594)]) == Counts(2, 0, 0)
    assert score(truth, [straight(594), straight(604)]) == Counts(2, 0, 0)


@pytest.mark.parametrize(
    ("counts", "precision", "recall", "f1"),
    [
        (Counts(3, 1, 0), 0.75, 1.0, 6 / 7),
        (Counts(0, 2, 3), 0.0, 0.0, 0.0),
        (Counts(0, 0, 3), -1.0, 0.0, 0.0),
        (Counts(0, 2, 0), 0.0, -1.0, 0.0),
    ],
)
def test_rates(counts, precision, recall, f1) -> None:
    assert (counts.precision, counts.recall) == (precision, recall)
    assert counts.f1 == pytest.approx(f1)


# --- files


def as_lanes(*points: np.ndarray) -> Lanes:
    lanes = (
        Lane(
            slot=slot,
            exists=bool(len(lane)),
            probability=0.9,
            points=np.pad(lane, ((0, 0), (0, 1)), constant_values=0.9),
        )
        for slot, lane in enumerate(points)
    )
    return Lanes((1640, 590), tuple(lanes))


def test_written_lanes_are_read_back_without_the_absent(tmp_path) -> None:
    path = tmp_path / "clip" / "00000.lines.txt"
    write_lanes(path, as_lanes(FOUR[0], straight(0, 0), FOUR[1] + np.float32(0.25)))
    found = read_lanes(path)
    assert len(found) == 2
    assert np.array_equal(found[0], FOUR[0])
    assert np.array_equal(found[1], FOUR[1] + np.float32(0.25))
    write_lanes(path, as_lanes(straight(0, 0)))
    assert path.read_text() == ""
    assert read_lanes(path) == []


def test_a_blank_line_is_a_lane(tmp_path) -> None:
    path = tmp_path / "a.lines.txt"
    path.write_text("1 2 3 4 \r\n\n5 6")
    assert [lane.tolist() for lane in read_lanes(path)] == [[[1, 2], [3, 4]], [], [[5, 6]]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2\n1 2 x 4\n", r"a.lines.txt:2: not numbers `u v u v ...` \(.*x"),
        ("1 2\n\n1 2 3\n", r"a.lines.txt:3: 3 numbers; u and v come in pairs"),
    ],
)
def test_malformed_lines_are_named(tmp_path, text, message) -> None:
    (tmp_path / "a.lines.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_lanes(tmp_path / "a.lines.txt")


@pytest.fixture
def benchmark(tmp_path) -> Path:
    """Two images, the second of them without a prediction."""
    for name in ("a", "b"):
        write_lanes(tmp_path / "truth" / "clip" / f"{name}.lines.txt", as_lanes(*FOUR))
    write_lanes(tmp_path / "found" / "clip" / "a.lines.txt", as_lanes(*FOUR[:3]))
    (tmp_path / "list.txt").write_text("/clip/a.jpg\n/clip/b.jpg\n")
    return tmp_path


def test_absent_files_count_as_empty_and_are_told(benchmark) -> None:
    result = evaluate(benchmark / "truth", benchmark / "found", benchmark / "list.txt")
    assert result.counts == Counts(tp=3, fp=0, fn=5)
    assert (result.images, result.absent_truths, result.absent_predictions) == (2, 0, 1)


def test_wrong_folders_and_lists_are_named(benchmark) -> None:
    with pytest.raises(ValueError, match=r"nowhere: no such folder of predictions"):
        evaluate(benchmark / "truth", benchmark / "nowhere", benchmark / "list.txt")
    with pytest.raises(ValueError, match=r"found/clip: has no lane file .* clip/a.lines.txt"):
        evaluate(benchmark / "found/clip", benchmark / "found", benchmark / "list.txt")
    (benchmark / "empty.txt").write_text("\n")
    with pytest.raises(ValueError, match=r"empty.txt: names no image"):
        evaluate(benchmark / "truth", benchmark / "found", benchmark / "empty.txt")
