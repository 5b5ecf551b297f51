"""TuSimple's JSON lines of labels and predictions."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.files import read_json_lines, replacing
from lane_sad_ros.lanes import Lane, Lanes

IMAGE_SIZE = (1280, 720)

ABSENT = -2

TRUTH_FIELDS = ("raw_file", "lanes", "h_samples")

PREDICTION_FIELDS = ("raw_file", "lanes", "run_time")


def read_records(
    path: str | os.PathLike[str], fields: Sequence[str] = TRUTH_FIELDS
) -> list[dict[str, Any]]:
    """The records of a label or prediction file, each with at least `fields`; blank lines skipped.

    Raises ValueError naming file and line where one is not JSON, lacks a field or holds lanes that
    do not fit its own `h_samples`; OSError where the file cannot be read.
    """
    return [record for _, record in numbered_records(path, fields)]


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


def clip_of(labelled: Path) -> list[Path]:
    """The names of the images of a clip, from 1.jpg to its labelled one, such as 20.jpg.

    Empty where that is not named by its number, or one that no clip has.
    """
    name = labelled.stem
    numbered = re.fullmatch("[0-9]{1,4}", name) is not None
    return [labelled.with_stem(str(n)) for n in range(1, int(name) + 1)] if numbered else []


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


def numbered_records(
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
    if "run_time" in fields and not is_number(record["run_time"]):
        raise ValueError("run_time must be one number, milliseconds")
    if "h_samples" in fields and not (is_numbers(record["h_samples"]) and record["h_samples"]):
        raise ValueError("h_samples must be a list of numbers, not empty")
    if "lanes" in fields:
        lanes = record["lanes"]
        if not (isinstance(lanes, list) and all(is_numbers(lane) for lane in lanes)):
            raise ValueError("lanes must be a list of lists of numbers")
        if "h_samples" in fields:
            lane_matrix(lanes, len(record["h_samples"]), "true")


def is_number(value: Any) -> bool:
    """Whether it is a number such as pixels and milliseconds are: no nan, not beyond all bounds."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -1e9 < value < 1e9


def is_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(is_number(item) for item in value)


def lane_matrix(lanes: Sequence[Sequence[float]], rows: int, whose: str) -> NDArray[np.float64]:
    """Lanes×rows."""
    for index, lane in enumerate(lanes):
        if len(lane) != rows:
            raise ValueError(
                f"{whose} lane {index} has {len(lane)} values where h_samples has {rows} rows"
            )
    return np.array(lanes, dtype=np.float64).reshape(len(lanes), rows)


def _at_rows(lane: Lane, rows: NDArray[np.float64], width: int) -> list[float]:
    """The lane's u at each row, `ABSENT` beyond its ends and outside the image."""
    us, vs = lane.points[:, :2].astype(np.float64).T
    sampled = interpolated(us, vs, rows)
    return [round(max(float(u), 0.0), 2) if -0.5 <= u < width - 0.5 else ABSENT for u in sampled]


def interpolated(
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
