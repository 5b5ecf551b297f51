"""The lane metric that the paper reports for BDD100K: accuracy and IoU of lane pixels.

Source: arXiv 1908.00821, section 4 ("pixel accuracy and IoU of lanes"), whose formula stands only
in the code published with it (cardwing/Codes-for-Lane-Detection, ENet-BDD100K-Torch). For each
image, over the pixels of the 1280×720 image, where lane is one class for all lanes:

- accuracy = lane pixels found / true lane pixels. It is a recall: lane pixels that are found where
  there is no lane do not lower it;
- IoU = lane pixels found / pixels that are lane in the truth, the prediction or both.

Both are 0 for an image without true lanes, also where none is predicted. The figures are means over
images, not over pixels. True lanes are the centre lines of the labelled borders, 2 pixels wide for
testing (8 for training), so that a network that draws them wider cannot reach a high IoU.

Truth and predictions are masks as PNG files of the same relative names in two folders; 0 is
background and every other value is lane.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.evaluation.in_processes import in_parts
from lane_sad_ros.formats.bdd100k import Mask, mask_names, read_mask


@dataclass(frozen=True)
class Result:
    """Means over `images`, in [0, 1], and what was done to the files.

    absent: true masks without a prediction, which counts as one without lanes. resized: predictions
    of another size than their truth, scaled to it by the nearest pixel.
    """

    accuracy: float
    iou: float
    images: int
    absent: int
    resized: int


# ENet-SAD in the paper (arXiv 1908.00821, table 3).
PAPER = {"accuracy": 0.3656, "iou": 0.1602}


def score(truth: NDArray[np.generic], prediction: NDArray[np.generic]) -> tuple[float, float]:
    """Accuracy and IoU of one image.

    truth, prediction: H×W of the same size, any number type; what is not 0 is lane.
    Raises ValueError where the sizes differ.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"the truth is {truth.shape} pixels, the prediction {prediction.shape}")
    true, lane = truth != 0, prediction != 0
    found = np.count_nonzero(true & lane)
    either = np.count_nonzero(true | lane)
    there = np.count_nonzero(true)
    return found / there if there else 0.0, found / either if either else 0.0


def evaluate(
    truth_folder: str | os.PathLike[str],
    predictions_folder: str | os.PathLike[str],
    *,
    jobs: int = 1,
    progress: Callable[[int], object] | None = None,
    each: Callable[[Path, Result], object] | None = None,
) -> Result:
    """The figures over every PNG in the folder of truth and the folders within.

    jobs: number of processes, which start by spawning. progress: called with numbers of images
    that have been done. each: called with the name and the result of every image, in order.
    Raises ValueError where there is no truth, no folder of predictions, where a file is no image,
    and where most of a true mask is lane, which means another encoding.
    """
    names = mask_names(truth_folder)
    if not names:
        raise ValueError(f"{truth_folder}: no mask (*.png) in this folder")
    if not Path(predictions_folder).is_dir():
        raise ValueError(f"{predictions_folder}: no such folder of predictions")
    accuracy = iou = 0.0
    absent = resized = 0
    work = partial(_score_files, Path(truth_folder), Path(predictions_folder))
    for part in in_parts(work, names, jobs):
        for name, figures in part:
            if each:
                each(name, figures)
            accuracy, iou = accuracy + figures.accuracy, iou + figures.iou
            absent, resized = absent + figures.absent, resized + figures.resized
        if progress:
            progress(len(part))
    return Result(accuracy / len(names), iou / len(names), len(names), absent, resized)


def _score_files(
    truth_folder: Path, predictions_folder: Path, names: Sequence[Path]
) -> list[tuple[Path, Result]]:
    """Name and result of each image, so that sums do not depend on how images were shared out."""
    results = []
    for name in names:
        truth = read_mask(truth_folder / name)
        if truth.mean() > 0.5:
            raise ValueError(
                f"{truth_folder / name}: more than half of this mask is lane; background must be 0 "
                "(in BDD100K's own lane masks it is 255)"
            )
        prediction = prediction_of(predictions_folder / name, truth)
        figures = score(truth, prediction.mask)
        result = Result(*figures, 1, int(prediction.absent), int(prediction.resized))
        results.append((name, result))
    return results


@dataclass(frozen=True)
class Prediction:
    """A predicted mask at the size of its truth, and what was done for that."""

    mask: Mask
    absent: bool
    resized: bool


def prediction_of(path: Path, truth: Mask) -> Prediction:
    """The predicted mask of a file: empty where there is none, scaled where it is not of a size.

    Raises ValueError where the file is not an image.
    """
    if not path.is_file():
        return Prediction(np.zeros_like(truth), absent=True, resized=False)
    mask = read_mask(path)
    if mask.shape == truth.shape:
        return Prediction(mask, absent=False, resized=False)
    size = truth.shape[::-1]
    pixels = cv2.resize(mask.view(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    return Prediction(pixels.astype(bool), absent=False, resized=True)
