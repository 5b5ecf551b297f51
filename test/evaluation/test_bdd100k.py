"""The lane metric of BDD100K and its files."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from lane_sad_ros.evaluation.bdd100k import Result, evaluate, score
from lane_sad_ros.formats.bdd100k import mask_names


def mask(*columns: int, size: tuple[int, int] = (40, 20)) -> np.ndarray:
    """An image of `size` (width, height) with upright lanes one pixel wide."""
    pixels = np.zeros(size[::-1], np.uint8)
    pixels[:, list(columns)] = 255
    return pixels


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


@pytest.mark.parametrize(
    ("truth", "prediction", "accuracy", "iou"),
    [
        (mask(10, 11), mask(10, 11), 1.0, 1.0),
        (mask(10, 11), mask(11, 12, 13, 14), 1 / 2, 1 / 5),
        (mask(10, 11), mask(*range(7, 15)), 1.0, 2 / 8),  # drawn 8 wide: found, but a low IoU
        (mask(10, 11), mask(20), 0.0, 0.0),
        (mask(10, 11), mask(), 0.0, 0.0),
        (mask(), mask(10), 0.0, 0.0),
        (mask(), mask(), 0.0, 0.0),  # an image without lanes has nothing to win
        (mask(1, 2, 30, 31), mask(1, 2), 1 / 2, 1 / 2),
    ],
)
def test_accuracy_is_recall_and_iou_is_of_all_lanes_as_one(truth, prediction, accuracy, iou):
    assert score(truth, prediction) == (accuracy, iou)
    assert score(truth > 0, prediction.astype(np.int32)) == (accuracy, iou)


def test_every_value_but_0_is_lane() -> None:
    lanes = mask()
    lanes[:, 10], lanes[:, 20] = 1, 4
    assert score(mask(10, 20), lanes) == (1.0, 1.0)


def test_sizes_that_differ() -> None:
    with pytest.raises(ValueError, match=r"the truth is \(20, 40\) pixels, .* \(10, 40\)"):
        score(mask(1), mask(1)[:10])


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    truth, found = tmp_path / "truth", tmp_path / "found"
    write(truth / "a.png", mask(10, 11))
    write(truth / "night" / "b.png", mask(10, 11))
    write(found / "a.png", mask(11, 12, 13, 14))
    write(found / "night" / "b.png", mask(10, 11))
    return truth, found


def test_means_over_images_and_not_over_pixels(folders) -> None:
    truth, found = folders
    write(truth / "c.png", mask(*range(10)))
    write(found / "c.png", mask())
    assert [name.as_posix() for name in mask_names(truth)] == ["a.png", "c.png", "night/b.png"]
    result = evaluate(truth, found)
    assert result.accuracy == pytest.approx((1 / 2 + 0 + 1) / 3)
    assert result.iou == pytest.approx((1 / 5 + 0 + 1) / 3)
    assert (result.images, result.absent, result.resized) == (3, 0, 0)


def test_absent_predictions_count_as_empty_and_others_are_left_out(folders) -> None:
    truth, found = folders
    (found / "night" / "b.png").rename(found / "other.png")
    assert evaluate(truth, found) == Result(1 / 4, 1 / 10, 2, absent=1, resized=0)


def test_predictions_of_another_size_are_scaled_to_the_truth(folders) -> None:
    truth, found = folders
    write(found / "a.png", mask(5, size=(20, 10)))
    assert evaluate(truth, found) == Result(1.0, 1.0, 2, absent=0, resized=1)


def test_masks_may_have_colours_and_16_bits(folders) -> None:
    truth, found = folders
    write(found / "a.png", cv2.merge([mask(), mask(), mask(10, 11) // 255]))
    write(found / "night" / "b.png", mask(10, 11).astype(np.uint16))
    assert evaluate(truth, found) == Result(1.0, 1.0, 2, absent=0, resized=0)


def test_wrong_folders_and_files_are_named(folders, tmp_path: Path) -> None:
    truth, found = folders
    with pytest.raises(ValueError, match=r"nowhere: no mask \(\*.png\)"):
        evaluate(tmp_path / "nowhere", found)
    with pytest.raises(ValueError, match=r"nowhere: no such folder of predictions"):
        evaluate(truth, tmp_path / "nowhere")
    (found / "a.png").write_text("not a mask")
    with pytest.raises(ValueError, match=r"found/a.png: not an image"):
        evaluate(truth, found)


def test_masks_whose_background_is_not_0_are_refused(folders) -> None:
    truth, found = folders
    write(truth / "a.png", 255 - mask(10, 11))
    with pytest.raises(ValueError, match=r"truth/a.png: more than half of this mask is lane"):
        evaluate(truth, found)


def test_the_number_of_jobs_does_not_matter(tmp_path: Path) -> None:
    for index in range(260):
        write(tmp_path / "truth" / f"{index}.png", mask(1, 2, 3, size=(7, 1)))
        write(tmp_path / "found" / f"{index}.png", mask(*range(index % 7), size=(7, 1)))
    one = evaluate(tmp_path / "truth", tmp_path / "found")
    assert evaluate(tmp_path / "truth", tmp_path / "found", jobs=2) == one
