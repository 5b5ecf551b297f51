"""The official TuSimple metric and its files."""

import json
from pathlib import Path

import numpy as np
import pytest

from lane_sad_ros.evaluation.tusimple import evaluate, score
from lane_sad_ros.formats.tusimple import (
    PREDICTION_FIELDS,
    read_records,
    to_record,
    write_predictions,
)
from lane_sad_ros.lanes import Lane, Lanes

ROWS = list(range(160, 720, 10))


def straight(at_bottom: float, slope: float = 0.0, first: int = 8) -> list[float]:
    """A lane at `at_bottom` in row 710, `slope` pixels per row, without its `first` rows."""
    us = [at_bottom + slope * (row - 710) for row in ROWS]
    return [-2.0] * first + us[first:]


FOUR = [straight(u, s) for u, s in ((100, -1.0), (450, -0.5), (800, 0.5), (1150, 1.0))]


def figures(true, predicted, run_time=10.0):
    return score({"lanes": true, "h_samples": ROWS}, {"lanes": predicted, "run_time": run_time})


def shifted(lane, by):
    return [u + by if u >= 0 else u for u in lane]


# --- the official script's answers


def test_parity_with_the_official_script(data: Path) -> None:
    folder = data / "parity" / "tusimple"
    expected = json.loads((folder / "expected.json").read_text())
    names = json.loads((folder / "cases.json").read_text())
    predictions = {
        record["raw_file"]: record
        for record in read_records(folder / "pred.json", PREDICTION_FIELDS)
    }
    truths = read_records(folder / "gt.json")
    assert len(truths) == len(names) == len(expected["per_case"])
    for name, truth in zip(names, truths, strict=True):
        found = score(truth, predictions[truth["raw_file"]])
        assert found == pytest.approx(expected["per_case"][name], abs=1e-9), name

    total = evaluate(folder / "gt.json", folder / "pred.json")
    assert total.images == len(names)
    assert total.accuracy == pytest.approx(expected["total"]["Accuracy"], abs=1e-9)
    assert total.fp == pytest.approx(expected["total"]["FP"], abs=1e-9)
    assert total.fn == pytest.approx(expected["total"]["FN"], abs=1e-9)


# --- the rules, each by itself


def test_perfect_prediction() -> None:
    assert figures(FOUR, FOUR) == (1.0, 0.0, 0.0)


def test_rows_without_a_point_on_both_sides_count_as_right() -> None:
    half = straight(600, first=28)
    assert figures([half], [[-2.0] * len(ROWS)])[0] == 28 / 56


def test_distance_must_be_below_the_tolerance() -> None:
    lane = straight(600, first=0)
    assert figures([lane], [shifted(lane, 19.99)]) == (1.0, 0.0, 0.0)
    assert figures([lane], [shifted(lane, 20)]) == (0.0, 1.0, 1.0)


def test_tolerance_grows_with_the_slope() -> None:
    lane = straight(1000, slope=0.75, first=0)  # cos = 0.8, so 25 px
    assert figures([lane], [shifted(lane, 24.9)])[0] == 1.0
    assert figures([lane], [shifted(lane, 25.1)])[0] == 0.0


@pytest.mark.parametrize(("wrong", "missed"), [(3, 0.0), (4, 1.0)])
def test_a_lane_matches_from_85_percent(wrong: int, missed: float) -> None:
    lane = [600.0] * 20
    prediction = shifted(lane[:wrong], 30) + lane[wrong:]
    found = score(
        {"lanes": [lane], "h_samples": ROWS[:20]}, {"lanes": [prediction], "run_time": 10.0}
    )
    assert found == ((20 - wrong) / 20, missed, missed)


def test_two_true_lanes_on_one_prediction_make_fp_negative() -> None:
    lane = straight(600)
    assert figures([lane, shifted(lane, 5)], [lane]) == (1.0, -1.0, 0.0)


def test_a_fifth_lane_is_forgiven_once() -> None:
    five = [*FOUR, straight(1250, 1.5)]
    assert figures(five, FOUR) == (1.0, 0.0, 0.0)
    accuracy, fp, fn = figures(five, FOUR[:3])
    assert accuracy < 1.0
    assert (fp, fn) == (0.0, 0.25)


def test_too_many_lanes_or_too_slow_fails_the_image() -> None:
    far = [straight(300 + 10 * i, first=50) for i in range(3)]
    assert figures(FOUR, FOUR + far[:2])[0] == 1.0
    assert figures(FOUR, FOUR + far) == (0.0, 0.0, 1.0)
    assert figures(FOUR, FOUR, run_time=200.0)[0] == 1.0
    assert figures(FOUR, FOUR, run_time=200.1) == (0.0, 0.0, 1.0)


def test_nothing_predicted_and_nothing_there() -> None:
    assert figures(FOUR, []) == (0.0, 0.0, 1.0)
    assert figures([], []) == (0.0, 0.0, 0.0)
    assert figures([], FOUR[:2]) == (0.0, 1.0, 0.0)


def test_zero_is_a_column_of_the_image() -> None:
    lane = [0.0] * len(ROWS)
    assert figures([lane], [lane]) == (1.0, 0.0, 0.0)
    assert figures([lane], [[-2.0] * len(ROWS)])[0] == 0.0


def test_lanes_of_another_length() -> None:
    with pytest.raises(ValueError, match=r"predicted lane 1 has 55 values .* 56 rows"):
        figures(FOUR, [FOUR[0], FOUR[1][:-1]])


# --- files


def write_lines(path: Path, *lines: str | dict) -> Path:
    path.write_text("".join(f"{x if isinstance(x, str) else json.dumps(x)}\n" for x in lines))
    return path


def true(name: str) -> dict:
    return {"raw_file": name, "lanes": FOUR, "h_samples": ROWS}


def predicted(name: str, lanes=FOUR) -> dict:
    return {"raw_file": name, "lanes": lanes, "run_time": 10}


def test_evaluate_means_over_images_in_any_order(tmp_path: Path) -> None:
    truth = write_lines(tmp_path / "truth.json", true("a"), "", true("b"))
    found = write_lines(tmp_path / "found.json", predicted("b", []), predicted("a"))
    result = evaluate(truth, found)
    assert (result.accuracy, result.fp, result.fn, result.images) == (0.5, 0.0, 0.5, 2)


def test_absent_predictions_may_count_as_empty(tmp_path: Path) -> None:
    truth = write_lines(tmp_path / "truth.json", true("a"), true("b"))
    found = write_lines(tmp_path / "found.json", predicted("b"))
    result = evaluate(truth, found, absent_as_empty=True)
    assert (result.accuracy, result.fp, result.fn) == (0.5, 0.0, 0.5)
    assert (result.images, result.absent) == (2, 1)


def scaled(values: list[float], by: float) -> list[float]:
    return [(value + 0.5) * by - 0.5 if value >= 0 else value for value in values]


def test_predictions_on_images_of_another_size(tmp_path: Path) -> None:
    truth = write_lines(tmp_path / "truth.json", true("a"))
    half = [scaled(lane, 0.5) for lane in FOUR]
    found = write_lines(tmp_path / "found.json", predicted("a", half))
    assert evaluate(truth, found).fn > 0
    assert evaluate(truth, found, prediction_size=(640, 360)) == evaluate(
        truth, write_lines(tmp_path / "same.json", predicted("a"))
    )


def test_truth_on_images_of_another_size_keeps_the_meaning_of_the_tolerance(tmp_path) -> None:
    lane = straight(600.0)
    small = {
        "raw_file": "a",
        "lanes": [scaled(lane, 0.4)],
        "h_samples": scaled(ROWS, 0.4),
    }
    truth = write_lines(tmp_path / "truth.json", small)
    for off, fn in ((19.9, 0.0), (20.1, 1.0)):
        record = predicted("a", [scaled(shifted(lane, off), 0.4)])
        found = write_lines(tmp_path / "found.json", record)
        assert evaluate(truth, found).fn == 0.0  # 20 pixels of the small image
        assert evaluate(truth, found, image_size=(512, 288)).fn == fn
        record = predicted("a", [shifted(lane, off)])
        found = write_lines(tmp_path / "found.json", record)
        sizes = {"image_size": (512, 288), "prediction_size": (1280, 720)}
        assert evaluate(truth, found, **sizes).fn == fn


def test_predictions_at_rows_of_their_own(tmp_path: Path) -> None:
    truth = write_lines(tmp_path / "truth.json", true("a"))
    rows = list(range(240, 720, 40))  # of which 680 is the last
    lanes = [
        [np.interp(v, ROWS[8:], lane[8:]) if v >= ROWS[8] else -2 for v in rows] for lane in FOUR
    ]
    record = {**predicted("a", lanes), "h_samples": rows}
    found = write_lines(tmp_path / "found.json", record)
    result = evaluate(truth, found, prediction_size=(1280, 720))
    assert result.accuracy == pytest.approx(53 / 56)  # all but 690, 700 and 710
    with pytest.raises(ValueError, match=r"predicted lane 0 has 12 values .* 56 rows"):
        evaluate(truth, found)
    found = write_lines(tmp_path / "found.json", {**record, "h_samples": "rows"})
    with pytest.raises(ValueError, match=r"found.json:1: a: h_samples must be a list of numbers"):
        evaluate(truth, found, prediction_size=(1280, 720))


def test_a_point_in_column_zero_stays_one_when_scaled(tmp_path: Path) -> None:
    lane = [0.0] * len(ROWS)
    truth = write_lines(tmp_path / "truth.json", {**true("a"), "lanes": [lane]})
    found = write_lines(tmp_path / "found.json", predicted("a", [lane]))
    assert evaluate(truth, found, image_size=(5120, 2880)).accuracy == 1.0
    found = write_lines(tmp_path / "found.json", predicted("a", [[-2] * len(ROWS)]))
    assert evaluate(truth, found, image_size=(5120, 2880)).accuracy == 0.0


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([predicted("a")], "no prediction of 1 of the 2 images of .*truth.json, first b"),
        ([predicted("a"), predicted("c")], r"found.json:2: c is no image of .*truth.json"),
        ([predicted("a"), predicted("a")], r"found.json:2: a second record of a"),
        ([predicted("a"), '{"lanes": ['], r"found.json:2: not JSON"),
        ([predicted("a"), "[]"], r"found.json:2: a JSON object is needed, not list"),
        ([{"raw_file": "a", "lanes": []}], r"found.json:1: the record lacks run_time"),
        ([{**predicted("a"), "run_time": [1, 2]}], r"found.json:1: run_time must be one number"),
        ([predicted("a", [["x"]])], r"found.json:1: lanes must be a list of lists of numbers"),
        ([predicted("a", [[1.0, 2.0]])], r"found.json:1: a: predicted lane 0 has 2 values"),
    ],
)
def test_wrong_predictions_are_named(tmp_path: Path, lines: list, message: str) -> None:
    truth = write_lines(tmp_path / "truth.json", true("a"), true("b"))
    with pytest.raises(ValueError, match=message):
        evaluate(truth, write_lines(tmp_path / "found.json", *lines))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "truth.json: no record in this file"),
        ([true("a"), true("a")], "truth.json:2: a second record of a"),
        ([{**true("a"), "h_samples": []}], "truth.json:1: h_samples must be .* not empty"),
        ([{**true("a"), "lanes": [[1, 2]]}], "truth.json:1: true lane 0 has 2 values"),
    ],
)
def test_wrong_truth_is_named(tmp_path: Path, lines: list, message: str) -> None:
    found = write_lines(tmp_path / "found.json", predicted("a"))
    with pytest.raises(ValueError, match=message):
        evaluate(write_lines(tmp_path / "truth.json", *lines), found)


def test_not_a_text_file(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(bytes(range(256)))
    with pytest.raises(ValueError, match=r"clip\.mp4: not a text file"):
        read_records(tmp_path / "clip.mp4")


# --- from lanes to a file


def lanes_of(*points: list[tuple[float, float]], size: tuple[int, int] = (1280, 720)) -> Lanes:
    return Lanes(
        image_size=size,
        items=tuple(
            Lane(
                slot=slot,
                exists=bool(rows),
                probability=float(bool(rows)),
                points=np.array([(u, v, 0.9) for u, v in rows], dtype=np.float32).reshape(-1, 3),
            )
            for slot, rows in enumerate(points)
        ),
    )


def test_points_are_interpolated_to_the_rows_between_a_lanes_ends() -> None:
    lanes = lanes_of([(600, 700), (640, 500), (650, 400)])
    record = to_record(lanes, "a", [390, 400, 450, 600, 700, 710], run_time_ms=12.34)
    assert record == {
        "raw_file": "a",
        "lanes": [[-2, 650.0, 645.0, 620.0, 600.0, -2]],
        "run_time": 12.34,
    }


def test_absent_lanes_and_lanes_between_rows_are_left_out() -> None:
    lanes = lanes_of([], [(100, 705), (102, 703)], [(300, 700), (310, 600)])
    assert to_record(lanes, "a", [600, 700], 1.0)["lanes"] == [[310.0, 300.0]]
    assert to_record(lanes_of([], []), "a", ROWS, 1.0)["lanes"] == []


def test_points_outside_the_image_are_absent_and_column_zero_is_not() -> None:
    lanes = lanes_of([(-30.4, 710), (-0.4, 700), (29.6, 690)], [(1279, 690), (1310, 710)])
    assert to_record(lanes, "a", [690, 700, 710], 1.0)["lanes"] == [
        [29.6, 0.0, -2],  # pixel centres are whole numbers: the image begins at -0.5
        [1279.0, -2, -2],
    ]


def test_written_predictions_score_as_the_lanes_they_came_from(tmp_path: Path) -> None:
    lanes = lanes_of(
        *([(u, v) for u, v in zip(lane, ROWS, strict=True) if u >= 0][::-1] for lane in FOUR)
    )
    path = tmp_path / "found.json"
    write_predictions(path, [to_record(lanes, "a", ROWS, 10.0), predicted("b", [])])
    truth = write_lines(tmp_path / "truth.json", true("a"), true("b"))
    assert evaluate(truth, path).accuracy == 0.5
    assert read_records(path, PREDICTION_FIELDS)[0]["lanes"] == FOUR


def test_failed_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "found.json", "old")

    def records():
        yield predicted("a")
        raise RuntimeError("camera gone")

    with pytest.raises(RuntimeError, match="camera gone"):
        write_predictions(path, records())
    assert path.read_text() == "old\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["found.json"]
