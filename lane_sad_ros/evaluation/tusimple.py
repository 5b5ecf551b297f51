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

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.files import read_json_lines, replacing
from lane_sad_ros.lanes import Lane, Lanes

IMAGE_SIZE = (1280, 720)
ABSENT = -2
TOLERANCE = 20.0  # pixels across the lane, widened by its slope
MATCHED_ACCURACY = 0.85
RUN_TIME_LIMIT = 200.0  # milliseconds
EXTRA_LANES = 2
_FAR_OFF = -100.0  # stands for "no point" in differences, as in the official script

TRUTH_FIELDS = ("raw_file", "lanes", "h_samples")
PREDICTION_FIELDS = ("raw_file", "lanes", "run_time")


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
    true_lanes = _lane_matrix(truth["lanes"], len(rows), "true")
    lanes = _lane_matrix(prediction["lanes"], len(rows), "predicted")
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
    for line, record in _numbered_records(truth_path, TRUTH_FIELDS):
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

    for line, record in _numbered_records(predictions_path, PREDICTION_FIELDS):
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


def read_records(
    path: str | os.PathLike[str], fields: Sequence[str] = TRUTH_FIELDS
) -> list[dict[str, Any]]:
    """The records of a label or prediction file, each with at least `fields`; blank lines skipped.

    Raises ValueError naming file and line where one is not JSON, lacks a field or holds lanes that
    do not fit its own `h_samples`; OSError where the file cannot be read.
    """
    return [record for _, record in _numbered_records(path, fields)]


def lanes_of(record: dict[str, Any]) -> list[NDArray[np.float32]]:
    """The lanes of a record that have two points or more, as polylines in its image's pixels."""
    rows = np.asarray(record["h_samples"], np.float32)
    lanes = []
    for columns in record["lanes"]:
        lane = np.stack([np.asarray(columns, np.float32), rows], axis=1)
        lane = lane[lane[:, 0] >= 0]
        if len(lane) >= 2:
            lanes.append(lane)
    return lanes


def to_record(
    lanes: Lanes, raw_file: str, h_samples: Sequence[float], run_time_ms: float
) -> dict[str, Any]:
    """The prediction record of one image.

    h_samples: rows in pixels of the same image as `lanes`. run_time_ms: of the whole image in
    milliseconds; the metric fails images above 200. Points are interpolated linearly to the rows,
    to a hundredth of a pixel; a row beyond a lane's ends or outside the image is absent. Lanes
    without a point at any row are left out.
    """
    rows = np.asarray(h_samples, dtype=np.float64)
    sampled = (_at_rows(lane, rows, lanes.image_size[0]) for lane in lanes.present)
    return {
        "raw_file": raw_file,
        "lanes": [us for us in sampled if any(u >= 0 for u in us)],
        "run_time": round(run_time_ms, 3),
    }


def write_predictions(path: str | os.PathLike[str], records: Iterable[Mapping[str, Any]]) -> None:
    """Writes records of `to_record`, one per line; the file appears when it is complete."""
    with replacing(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


def _numbered_records(
    path: str | os.PathLike[str], fields: Sequence[str]
) -> list[tuple[int, dict[str, Any]]]:
    """The records with their line numbers, counted from 1."""
    records = []
    for number, record in read_json_lines(path):
        try:
            _check(record, fields)
        except ValueError as error:
            raise ValueError(f"{path}:{number}: {error}") from error
        records.append((number, record))
    return records


def _check(record: Mapping[str, Any], fields: Sequence[str]) -> None:
    missing = [field for field in fields if field not in record]
    if missing:
        raise ValueError(f"the record lacks {', '.join(missing)}; it needs {', '.join(fields)}")
    if "raw_file" in fields and not isinstance(record["raw_file"], str):
        raise ValueError("raw_file must be a string")
    if "run_time" in fields and not _is_number(record["run_time"]):
        raise ValueError("run_time must be one number, milliseconds")
    if "h_samples" in fields and not (_is_numbers(record["h_samples"]) and record["h_samples"]):
        raise ValueError("h_samples must be a list of numbers, not empty")
    if "lanes" in fields:
        lanes = record["lanes"]
        if not (isinstance(lanes, list) and all(_is_numbers(lane) for lane in lanes)):
            raise ValueError("lanes must be a list of lists of numbers")
        if "h_samples" in fields:
            _lane_matrix(lanes, len(record["h_samples"]), "true")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(_is_number(item) for item in value)


def _lane_matrix(lanes: Sequence[Sequence[float]], rows: int, whose: str) -> NDArray[np.float64]:
    """Lanes×rows."""
    for index, lane in enumerate(lanes):
        if len(lane) != rows:
            raise ValueError(
                f"{whose} lane {index} has {len(lane)} values where h_samples has {rows} rows"
            )
    return np.array(lanes, dtype=np.float64).reshape(len(lanes), rows)


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


def _at_rows(lane: Lane, rows: NDArray[np.float64], width: int) -> list[float]:
    """The lane's u at each row, `ABSENT` beyond its ends and outside the image."""
    us, vs = lane.points[:, :2].astype(np.float64).T
    sampled = _interpolated(us, vs, rows)
    return [round(max(float(u), 0.0), 2) if -0.5 <= u < width - 0.5 else ABSENT for u in sampled]


def _interpolated(
    us: NDArray[np.float64], vs: NDArray[np.float64], rows: NDArray[np.float64]
) -> NDArray[np.float64]:
    """u at each row of the line through points in any order, nan beyond its ends."""
    if not len(us):
        return np.full(len(rows), np.nan)
    order = np.argsort(vs, kind="stable")
    us, vs = us[order], vs[order]
    # Half a pixel: rows of a scaled image come back from float arithmetic.
    within = (rows >= vs[0] - 0.5) & (rows <= vs[-1] + 0.5)
    return np.where(within, np.interp(rows, vs, us), np.nan)


def _scaled(values: Any, from_side: int, to_side: int) -> NDArray[np.float64]:
    """Coordinates on an image of another side, pixel centres being whole numbers."""
    return (np.asarray(values, dtype=np.float64) + 0.5) * (to_side / from_side) - 0.5


def _scaled_us(lane: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """A lane's u on the official image's width; the absent stay so, and no others become it."""
    us = _scaled(lane, width, IMAGE_SIZE[0]).clip(min=0.0)
    return np.where(lane >= 0, us, float(ABSENT))


def _scaled_truth(record: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    lanes = _lane_matrix(record["lanes"], len(record["h_samples"]), "true")
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
        lanes = _lane_matrix(record["lanes"], len(rows), "predicted")
        return {**record, "lanes": [_scaled_us(lane, size[0]) for lane in lanes]}
    if not _is_numbers(own_rows):
        raise ValueError("h_samples must be a list of numbers")
    vs = _scaled(own_rows, size[1], IMAGE_SIZE[1])
    resampled = []
    for lane in _lane_matrix(record["lanes"], len(own_rows), "predicted"):
        us = _scaled_us(lane, size[0])
        sampled = _interpolated(us[lane >= 0], vs[lane >= 0], rows)
        resampled.append(np.where(np.isnan(sampled), float(ABSENT), sampled))
    return {**record, "lanes": resampled}
