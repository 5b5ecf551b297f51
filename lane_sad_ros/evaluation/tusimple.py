"""TuSimple lane files and the benchmark's official metric, equal to it in its odd rules too.

Source: the evaluation script and the page "TuSimple Lane Detection Challenge" of the benchmark's
repository, TuSimple/tusimple-benchmark. A file holds one JSON object per line; a lane is one u per
row of `h_samples`, in pixels of the image, negative (-2) where the lane has no point.

What surprises in the official rules, and is kept:
- a row where truth and prediction both have no point counts as right;
- the distance must be strictly below the tolerance;
- two true lanes may match the same predicted lane, so the false-positive rate can be negative;
- with five or more true lanes the worst is left out of the accuracy and one miss is forgiven;
- without true lanes the accuracy is 0, even where nothing is predicted;
- more than two lanes too many, or a run time above 200 ms, make accuracy 0, FP 0 and FN 1.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.formats.tusimple import (
    ABSENT,
    IMAGE_SIZE,
    PREDICTION_FIELDS,
    TRUTH_FIELDS,
    interpolated,
    is_numbers,
    lane_matrix,
    numbered_records,
)

TOLERANCE = 20.0  # pixels across the lane, widened by its slope
MATCHED_ACCURACY = 0.85
RUN_TIME_LIMIT = 200.0  # milliseconds
EXTRA_LANES = 2
_FAR_OFF = -100.0  # stands for "no point" in differences, as in the official script


@dataclass(frozen=True)
class Result:
    """Means over the images: accuracy in [0, 1], false-positive and false-negative rates.

    fp has no lower bound (see the module's text), fn lies in [0, 1]. `images` is their number,
    `absent` how many of them have no prediction.
    """

    accuracy: float
    fp: float
    fn: float
    images: int
    absent: int = 0


# ENet-SAD in the paper (arXiv 1908.00821, table 1), on the 2,782 test images.
PAPER = Result(accuracy=0.9664, fp=0.0602, fn=0.0205, images=2782)


@dataclass(frozen=True)
class Scored:
    """One image with its figures, as it was compared.

    truth, prediction: records of `lanes` and `h_samples` (the truth's), in pixels of 1280×720 where
    the files were scaled to it, else of the images as they are; the prediction has `run_time`, in
    milliseconds.
    """

    name: str
    truth: Mapping[str, Any]
    prediction: Mapping[str, Any]
    accuracy: float
    fp: float
    fn: float


def score(truth: Mapping[str, Any], prediction: Mapping[str, Any]) -> tuple[float, float, float]:
    """Accuracy, false-positive rate and false-negative rate of one image.

    truth: a record with `lanes` and `h_samples`. prediction: a record with `lanes`, one u per row
    of the truth's `h_samples`, and `run_time` in milliseconds.
    Raises ValueError where a lane has another number of rows.
    """
    right = right_shares(truth, prediction)
    true_lanes, lanes = right.shape
    if prediction["run_time"] > RUN_TIME_LIMIT or lanes > true_lanes + EXTRA_LANES:
        return 0.0, 0.0, 1.0
    best = right.max(axis=1, initial=0.0)
    matched = int((best >= MATCHED_ACCURACY).sum())
    missed = true_lanes - matched
    total = float(best.sum())
    if true_lanes > 4:
        missed = max(missed - 1, 0)
        total -= float(best.min())
    counted = max(min(true_lanes, 4), 1)
    fp = (lanes - matched) / lanes if lanes else 0.0
    return total / counted, fp, missed / counted


def right_shares(truth: Mapping[str, Any], prediction: Mapping[str, Any]) -> NDArray[np.float64]:
    """The share of rows that are right of each true lane in each predicted one, true×predicted.

    truth, prediction: as for `score`; a lane is found from `MATCHED_ACCURACY` on.
    """
    rows = np.asarray(truth["h_samples"], dtype=np.float64)
    if not len(rows):
        raise ValueError("h_samples of the truth is empty")
    true_lanes = lane_matrix(truth["lanes"], len(rows), "true")
    lanes = lane_matrix(prediction["lanes"], len(rows), "predicted")
    tolerances = TOLERANCE / np.cos([_angle(lane, rows) for lane in true_lanes])
    # Axes: true lane, predicted lane, row.
    distances = np.abs(_far_off(lanes)[None] - _far_off(true_lanes)[:, None])
    return np.asarray((distances < tolerances[:, None, None]).mean(axis=2))


def evaluate(
    truth_path: str | os.PathLike[str],
    predictions_path: str | os.PathLike[str],
    *,
    image_size: tuple[int, int] | None = None,
    prediction_size: tuple[int, int] | None = None,
    absent_as_empty: bool = False,
    each: Callable[[Scored], object] | None = None,
) -> Result:
    """The official figures of a file of predictions, which holds every image of the truth once.

    image_size, prediction_size: (width, height) of the images that the truth and the predictions
    were made on, the official 1280×720 and the size of the truth if not given. With either, both
    are scaled to 1280×720 (pixel centres being whole numbers), so that 20 pixels mean what they
    mean there. A prediction is then taken at its own `h_samples` if it has any, interpolated to the
    truth's rows; else its rows are those of the truth. Without either, the files are compared as
    they are, as the official script does.
    absent_as_empty: take an image without a prediction for one where nothing was found.
    each: called with every image, in the order of the predictions, the absent ones last.

    Raises ValueError with file and line where a line is not a record, and with the image's
    `raw_file` where its prediction is missing (the official script refuses such a file as well),
    stands there twice or belongs to no true image.
    """
    truth_size = image_size or IMAGE_SIZE
    scaled = image_size is not None or prediction_size is not None
    truths: dict[str, Mapping[str, Any]] = {}
    for line, record in numbered_records(truth_path, TRUTH_FIELDS):
        if record["raw_file"] in truths:
            raise ValueError(f"{truth_path}:{line}: a second record of {record['raw_file']}")
        truths[record["raw_file"]] = _scaled_truth(record, truth_size) if scaled else record
    if not truths:
        raise ValueError(f"{truth_path}: no record in this file")

    figures: dict[str, tuple[float, float, float]] = {}

    def add(name: str, record: Mapping[str, Any]) -> None:
        figures[name] = score(truths[name], record)
        if each:
            each(Scored(name, truths[name], record, *figures[name]))

    for line, record in numbered_records(predictions_path, PREDICTION_FIELDS):
        name = record["raw_file"]
        if name not in truths:
            raise ValueError(
                f"{predictions_path}:{line}: {name} is no image of {truth_path}; "
                "raw_file must be written as there"
            )
        if name in figures:
            raise ValueError(f"{predictions_path}:{line}: a second record of {name}")
        try:
            if scaled:
                rows = truths[name]["h_samples"]
                record = _scaled_prediction(record, prediction_size or truth_size, rows)
            add(name, record)
        except ValueError as error:
            raise ValueError(f"{predictions_path}:{line}: {name}: {error}") from error
    missing = [name for name in truths if name not in figures]
    if missing and not absent_as_empty:
        raise ValueError(
            f"{predictions_path}: no prediction of {len(missing)} of the {len(truths)} images of "
            f"{truth_path}, first {missing[0]}; an image without lanes needs a record with "
            '"lanes": []'
        )
    for name in missing:
        add(name, {"lanes": [], "run_time": 0.0})
    accuracy, fp, fn = np.mean(list(figures.values()), axis=0)
    return Result(float(accuracy), float(fp), float(fn), len(truths), len(missing))


def _far_off(lanes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(lanes >= 0, lanes, _FAR_OFF)


def _angle(lane: NDArray[np.float64], rows: NDArray[np.float64]) -> float:
    """The angle of the line fitted through a lane's points, radians from the vertical."""
    us, vs = lane[lane >= 0], rows[lane >= 0]
    if len(us) < 2:
        return 0.0
    # The official fit solves the same centred least-squares problem; a closed form would differ in
    # the last bit and so decide points exactly at the tolerance otherwise.
    slope = np.linalg.lstsq((vs - vs.mean())[:, None], us - us.mean(), rcond=None)[0]
    return float(np.arctan(slope[0]))


def _scaled(values: Any, from_side: int, to_side: int) -> NDArray[np.float64]:
    """Coordinates on an image of another side, pixel centres being whole numbers."""
    return (np.asarray(values, dtype=np.float64) + 0.5) * (to_side / from_side) - 0.5


def _scaled_us(lane: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """A lane's u on the official image's width; the absent stay so, and no others become it."""
    us = _scaled(lane, width, IMAGE_SIZE[0]).clip(min=0.0)
    return np.where(lane >= 0, us, float(ABSENT))


def _scaled_truth(record: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    lanes = lane_matrix(record["lanes"], len(record["h_samples"]), "true")
    return {
        "lanes": [_scaled_us(lane, size[0]) for lane in lanes],
        "h_samples": _scaled(record["h_samples"], size[1], IMAGE_SIZE[1]),
    }


def _scaled_prediction(
    record: Mapping[str, Any], size: tuple[int, int], rows: NDArray[np.float64]
) -> dict[str, Any]:
    """rows: the truth's, on the official image."""
    own_rows = record.get("h_samples")
    if own_rows is None:
        lanes = lane_matrix(record["lanes"], len(rows), "predicted")
        return {**record, "lanes": [_scaled_us(lane, size[0]) for lane in lanes]}
    if not is_numbers(own_rows):
        raise ValueError("h_samples must be a list of numbers")
    vs = _scaled(own_rows, size[1], IMAGE_SIZE[1])
    resampled = []
    for lane in lane_matrix(record["lanes"], len(own_rows), "predicted"):
        us = _scaled_us(lane, size[0])
        sampled = interpolated(us[lane >= 0], vs[lane >= 0], rows)
        resampled.append(np.where(np.isnan(sampled), float(ABSENT), sampled))
    return {**record, "lanes": resampled}
