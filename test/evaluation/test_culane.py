"""The official CULane metric and its files."""

import json
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from lane_sad_ros.evaluation.culane import (
    TOLERANCE_EXACT,
    Counts,
    Result,
    Rules,
    evaluate,
    evaluate_categories,
    lane_ious,
    score,
)
from lane_sad_ros.evaluation.in_processes import in_parts
from lane_sad_ros.formats.culane import category_lists, official, read_lanes, write_lanes
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

    total = evaluate(
        folder / "gt", folder / "pred", folder / "list" / "test.txt", Rules(iou=float(iou))
    )
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


def drawn_in_full(lane: np.ndarray, image_size: tuple[int, int], width: int) -> np.ndarray:
    """Line after line on the whole image, as the official tool does for lanes of two points."""
    mask = np.zeros(image_size[::-1], np.uint8)
    for one, two in pairwise(lane):
        cv2.line(mask, np.rint(one).astype(int), np.rint(two).astype(int), 1, width)
    return mask > 0


@pytest.mark.parametrize("width", [1, 2, 3, 30, 31])
def test_small_canvases_change_no_pixel(width: int) -> None:
    size = (160, 90)
    random = np.random.default_rng(width)
    lanes = [random.uniform(-60, 200, (2, 2)).astype(np.float32) for _ in range(30)]
    lanes += [np.repeat(random.uniform(0, 80, (1, 2)), 2, axis=0).astype(np.float32)]
    masks = [drawn_in_full(lane, size, width) for lane in lanes]
    expected = [[(a & b).sum() / max((a | b).sum(), 1) for b in masks] for a in masks]
    np.testing.assert_array_equal(np.nan_to_num(lane_ious(lanes, lanes, size, width)), expected)


@pytest.mark.parametrize("slope", [0, 0.2, 1, 4])
def test_straight_runs_of_a_spline_change_no_pixel(slope: float) -> None:
    # Points on whole pixels whose spline is their straight line: the tool draws it pixel by pixel.
    v = np.arange(520, 99, -60)
    lane = np.stack((300 + slope * (520 - v) // 1, v), axis=1).astype(np.float32)
    samples = np.concatenate(
        [*(np.linspace(a, b, 50, endpoint=False) for a, b in pairwise(lane)), lane[-1:]]
    )
    size = (2600, 590)
    mask = drawn_in_full(samples.astype(np.float32), size, 30)
    other = lane[:2] + np.float32(5)
    common = (mask & (other_mask := drawn_in_full(other, size, 30))).sum()
    expected = common / (mask | other_mask).sum()
    assert lane_ious([lane], [other], size)[0, 0] == expected


def test_predictions_on_images_of_another_size_are_scaled() -> None:
    by = np.array([4, 2], dtype=np.float32)
    small = [(lane + np.float32(0.5)) / by - np.float32(0.5) for lane in FOUR]
    assert score(FOUR, small).tp == 0
    # Pixel centres are whole numbers: not a pixel is off.
    exactly = Rules(prediction_size=(410, 295), iou=0.9999)
    assert score(FOUR, small, exactly) == Counts(4, 0, 0)


def test_the_image_may_have_another_size() -> None:
    lane = np.array([(300, 700), (300, 650)], dtype=np.float32)
    assert score([lane], [lane]) == Counts(0, 1, 1)  # below an image of 590 rows
    assert score([lane], [lane], Rules(image_size=(1280, 720))) == Counts(1, 0, 0)


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
    np.testing.assert_allclose(found[0][1:], FOUR[0], atol=2e-3)
    np.testing.assert_allclose(found[1][1:], FOUR[1] + np.float32(0.25), atol=2e-3)
    write_lanes(path, as_lanes(straight(0, 0)))
    assert path.read_text() == ""
    assert read_lanes(path) == []


def test_written_lanes_run_straight_to_the_last_row_as_culanes_labels_do(tmp_path) -> None:
    path = tmp_path / "00000.lines.txt"
    rows = np.arange(450, 300, -10)
    seen = np.stack([850 - rows, rows], axis=1).astype(np.float32)
    write_lanes(path, as_lanes(seen))
    (found,) = read_lanes(path)
    np.testing.assert_allclose(found[-len(seen) :], seen, atol=2e-3)
    assert found[0] == pytest.approx([260, 590])
    assert np.abs(np.diff(found[:, 0]) + np.diff(found[:, 1])).max() < 1e-2


def test_written_lanes_lose_a_bent_end_and_keep_a_curve(tmp_path) -> None:
    path = tmp_path / "00000.lines.txt"
    rows = np.arange(450, 250, -10)
    columns = 850.0 - rows
    hooked = np.where(rows > 420, columns + 2 * (rows - 420), columns)
    curved = 900 + (450 - rows) ** 2 / 100.0
    lanes = (np.stack([u, rows], axis=1).astype(np.float32) for u in (hooked, curved))
    write_lanes(path, as_lanes(*lanes))
    straight_on, found = read_lanes(path)
    assert straight_on[0] == pytest.approx([260, 590], abs=4)
    np.testing.assert_allclose(found[-len(rows) :, 0], curved, atol=2e-3)


def test_written_lanes_are_the_four_around_the_ego_lane_that_are_seen_well(tmp_path) -> None:
    path = tmp_path / "00000.lines.txt"
    six = [straight(u) for u in (100, 300, 600, 900, 1200, 1500)]
    write_lanes(path, as_lanes(*six))
    assert [lane[0, 0] for lane in read_lanes(path)] == [300, 600, 900, 1200]
    write_lanes(path, as_lanes(straight(300, 5), straight(600, 6)))  # 80 and 100 rows of 590
    assert [lane[0, 0] for lane in read_lanes(path)] == [600]
    assert len(official(as_lanes(straight(700)))) == 1  # a layout of one slot


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
    (benchmark / "list.png").write_bytes(bytes(range(256)))
    with pytest.raises(ValueError, match=r"list.png: not a text file"):
        evaluate(benchmark / "truth", benchmark / "found", benchmark / "list.png")


# --- categories


@pytest.fixture
def splits(benchmark) -> Path:
    """The images "a" of a straight road and "cross", a crossroad without a true lane."""
    folder = benchmark / "list" / "test_split"
    folder.mkdir(parents=True)
    (folder / "test0_normal.txt").write_text("/clip/a.jpg\n")
    (folder / "test7_cross.txt").write_text("/clip/cross.jpg\n\n")
    write_lanes(benchmark / "truth" / "clip" / "cross.lines.txt", as_lanes(straight(0, 0)))
    write_lanes(benchmark / "found" / "clip" / "cross.lines.txt", as_lanes(*FOUR[:2]))
    return folder


def test_categories_and_their_sum(benchmark, splits) -> None:
    lists = category_lists([splits])
    assert list(lists) == ["normal", "cross"]
    done: list[int] = []
    results = evaluate_categories(
        benchmark / "truth", benchmark / "found", lists, progress=done.append
    )
    assert results == {
        "normal": Result(Counts(3, 0, 1), 1, 0, 0),
        "cross": Result(Counts(0, 2, 0), 1, 0, 0),
    }
    assert sum(done) == 2
    total = sum(results.values(), Result())
    assert total.counts == Counts(3, 2, 1)
    assert total.counts.f1 == pytest.approx(2 * 0.6 * 0.75 / 1.35)


def test_lists_of_categories_that_are_wrong(tmp_path, splits) -> None:
    with pytest.raises(ValueError, match=r"no list of a category \(\*.txt\)"):
        category_lists([tmp_path / "truth"])
    (tmp_path / "normal.txt").write_text("/clip/a.jpg\n")
    with pytest.raises(ValueError, match=r"normal.txt: category normal is that of .*test0_normal"):
        category_lists([splits, tmp_path / "normal.txt"])


# --- many images


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Path:
    """Enough images that several processes start: every third without a prediction."""
    folder = tmp_path_factory.mktemp("many")
    for side in ("truth", "found"):
        (folder / side).mkdir()
    lane = " ".join(f"{u:g} {v:g}" for u, v in FOUR[0][:2])
    far = " ".join(f"{u:g} {v:g}" for u, v in FOUR[2][:2])
    for index in range(300):
        (folder / "truth" / f"{index}.lines.txt").write_text(lane + "\n")
        if index % 3:
            (folder / "found" / f"{index}.lines.txt").write_text(f"{lane}\n{far}\n" * (index % 3))
    (folder / "list.txt").write_text("".join(f"/{index}.jpg\n" for index in range(300)))
    return folder


def test_the_number_of_jobs_does_not_matter(many) -> None:
    done: list[int] = []
    arguments = (many / "truth", many / "found", many / "list.txt")
    one = evaluate(*arguments)
    assert one == Result(Counts(tp=200, fp=100 + 300, fn=100), 300, 0, 100)
    assert evaluate(*arguments, jobs=2, progress=done.append) == one
    assert done == [64, 64, 64, 64, 44]


def test_images_are_taken_as_they_are_needed() -> None:
    taken = []
    items = (taken.append(index) or index for index in range(64 * 40 + 1))
    sizes = in_parts(len, items, jobs=2)
    assert next(sizes) == 64
    assert len(taken) < 64 * 10  # memory does not grow with their number
    assert list(sizes) == [64] * 39 + [1]


def test_an_error_in_another_process_is_told_as_in_this_one(many, tmp_path) -> None:
    for name, text in (("1", "1 2\n1 x\n"), ("299", "y")):
        (tmp_path / f"{name}.lines.txt").write_text(text)
    with pytest.raises(ValueError, match=r"/1.lines.txt:2: not numbers"):
        evaluate(many / "truth", tmp_path, many / "list.txt", jobs=2)
