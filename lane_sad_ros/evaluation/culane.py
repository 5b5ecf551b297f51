"""CULane lane files and the benchmark's official metric, equal to its tool in its odd rules too.

Source: the C++ evaluator published with "Spatial As Deep" (SCNN, arXiv 1712.06080, section 4).
A `.lines.txt` file holds one lane per line as `u v u v ...` in pixels of the image. Lanes are drawn
30 pixels wide, true and predicted lanes are matched one to one by the IoU of their drawings, and a
pair above the IoU threshold is a true positive.

What surprises in the official rules, and is kept:
- a lane of one point, and a blank line, is a lane that matches nothing;
- a file that is absent counts as an empty one;
- points are rounded to float32 and splines, sampled 50 times per piece, to whole pixels;
- the matching takes weights within 0.01 for equal, so that where IoUs are that close the order of
  lanes decides, and a pair below the threshold may be taken before one above it. `TOLERANCE_EXACT`
  gives the best matching instead.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.files import replacing
from lane_sad_ros.lanes import Lanes

IMAGE_SIZE = (1640, 590)
LANE_WIDTH = 30  # pixels
IOU_THRESHOLD = 0.5
TOLERANCE_OFFICIAL = 1e-2
TOLERANCE_EXACT = 1e-9
_SAMPLES = 50  # of the spline between two points
_FAR_OUT = -(2.0**31)

Points = NDArray[np.float32]


@dataclass(frozen=True)
class Counts:
    """Lanes found (tp), wrongly found (fp) and missed (fn)."""

    tp: int
    fp: int
    fn: int

    @property
    def precision(self) -> float:
        """In [0, 1], or -1 where nothing was predicted."""
        return self.tp / (self.tp + self.fp) if self.tp + self.fp else -1.0

    @property
    def recall(self) -> float:
        """In [0, 1], or -1 where there is no true lane."""
        return self.tp / (self.tp + self.fn) if self.tp + self.fn else -1.0

    @property
    def f1(self) -> float:
        """In [0, 1]; 0 where precision and recall are, which the official tool gives as nan.

        Where one of them is -1 it enters the official formula as such.
        """
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


@dataclass(frozen=True)
class Result:
    """Counts over all images of a list, and how many of their files were absent."""

    counts: Counts
    images: int
    absent_truths: int
    absent_predictions: int


def score(
    truth: Sequence[Points],
    prediction: Sequence[Points],
    *,
    image_size: tuple[int, int] = IMAGE_SIZE,
    width: int = LANE_WIDTH,
    iou: float = IOU_THRESHOLD,
    tolerance: float = TOLERANCE_OFFICIAL,
) -> Counts:
    """Counts of one image.

    truth, prediction: lanes as N×2 (u, v) in pixels of an image of `image_size` (width, height).
    width: of the drawn lanes in pixels. iou: what a match must exceed. tolerance: see the module's
    text; `TOLERANCE_OFFICIAL` or `TOLERANCE_EXACT`.
    """
    found = 0
    if truth and prediction:
        ious = lane_ious(truth, prediction, image_size, width)
        found = sum(bool(ious[pair] > iou) for pair in _matched(ious, tolerance))
    return Counts(tp=found, fp=len(prediction) - found, fn=len(truth) - found)


def evaluate(
    truth_folder: str | os.PathLike[str],
    predictions_folder: str | os.PathLike[str],
    list_path: str | os.PathLike[str],
    *,
    image_size: tuple[int, int] = IMAGE_SIZE,
    width: int = LANE_WIDTH,
    iou: float = IOU_THRESHOLD,
    tolerance: float = TOLERANCE_OFFICIAL,
) -> Result:
    """Counts over the images named, one per line, in a list such as CULane's `list/test.txt`.

    For an image `/a/b.jpg` the lanes are read from `a/b.lines.txt` in both folders; an absent file
    counts as one without lanes. Raises ValueError with file and line where a file is malformed,
    and where the truth folder has none of the images.
    """
    names = [line.split()[0] for line in _lines(Path(list_path)) if line.strip()]
    if not names:
        raise ValueError(f"{list_path}: names no image; one path per line is needed")
    if not Path(predictions_folder).is_dir():
        raise ValueError(f"{predictions_folder}: no such folder of predictions")
    tp = fp = fn = absent_truths = absent_predictions = 0
    for name in names:
        relative = Path(name.lstrip("/")).with_suffix(".lines.txt")
        truth = _lanes_if_present(Path(truth_folder) / relative)
        prediction = _lanes_if_present(Path(predictions_folder) / relative)
        absent_truths += truth is None
        absent_predictions += prediction is None
        counts = score(
            truth or [],
            prediction or [],
            image_size=image_size,
            width=width,
            iou=iou,
            tolerance=tolerance,
        )
        tp, fp, fn = tp + counts.tp, fp + counts.fp, fn + counts.fn
    if absent_truths == len(names):
        raise ValueError(
            f"{truth_folder}: has no lane file of any image in {list_path}, "
            f"first {Path(names[0].lstrip('/')).with_suffix('.lines.txt')}"
        )
    return Result(Counts(tp, fp, fn), len(names), absent_truths, absent_predictions)


def read_lanes(path: str | os.PathLike[str]) -> list[Points]:
    """The lanes of a `.lines.txt` file, N×2 (u, v) each; a blank line is a lane without points.

    Raises ValueError naming file and line where one is not made of pairs of numbers.
    """
    lanes: list[NDArray[np.float32]] = []
    for number, line in enumerate(_lines(Path(path)), start=1):
        try:
            values = np.array(line.split(), dtype=np.float64).astype(np.float32)
        except ValueError as error:
            raise ValueError(f"{path}:{number}: not numbers `u v u v ...` ({error})") from error
        if len(values) % 2:
            raise ValueError(f"{path}:{number}: {len(values)} numbers; u and v come in pairs")
        lanes.append(values.reshape(-1, 2))
    return lanes


def write_lanes(path: str | os.PathLike[str], lanes: Lanes) -> None:
    """Writes the lanes that have points, to a thousandth of a pixel.

    The file is empty where there is none: the metric would take a blank line for a wrong lane.
    """
    lines = [
        " ".join(f"{u:.3f} {v:.3f}" for u, v, _ in lane.points) + "\n"
        for lane in lanes.lanes
        if len(lane.points)
    ]
    with replacing(path) as partial:
        partial.write_text("".join(lines), encoding="utf-8")


def lane_ious(
    truth: Sequence[Points],
    prediction: Sequence[Points],
    image_size: tuple[int, int] = IMAGE_SIZE,
    width: int = LANE_WIDTH,
) -> NDArray[np.float64]:
    """IoU of each true lane's drawing with each predicted lane's, truth×prediction.

    0 for lanes of fewer than two points, nan where both lie outside the image.
    """
    true_masks = [_mask(lane, image_size, width) for lane in truth]
    masks = [_mask(lane, image_size, width) for lane in prediction]
    areas = [0 if mask is None else cv2.countNonZero(mask) for mask in masks]
    ious = np.zeros((len(truth), len(prediction)))
    for i, true_mask in enumerate(true_masks):
        if true_mask is None:
            continue
        area = cv2.countNonZero(true_mask)
        for j, mask in enumerate(masks):
            if mask is not None:
                common = cv2.countNonZero(cv2.bitwise_and(true_mask, mask))
                union = area + areas[j] - common
                ious[i, j] = common / union if union else np.nan
    return ious


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file ({error.reason})") from error
    return lines[:-1] if not lines[-1] else lines


def _lanes_if_present(path: Path) -> list[Points] | None:
    return read_lanes(path) if path.is_file() else None


def _mask(lane: Points, image_size: tuple[int, int], width: int) -> NDArray[np.uint8] | None:
    """The drawn lane, H×W, 1 where it is; None for a lane of fewer than two points."""
    if len(lane) < 2:
        return None
    curve = lane if len(lane) == 2 else _spline(lane)
    # Repeated points make nan, which the official tool turns into the smallest int32.
    pixels = np.nan_to_num(np.rint(curve.astype(np.float64)), nan=_FAR_OUT)
    pixels = pixels.clip(_FAR_OUT, -_FAR_OUT - 1).astype(np.int32)
    changes = np.any(pixels[1:] != pixels[:-1], axis=1)
    pixels = np.concatenate((pixels[:1], pixels[1:][changes], pixels[-1:]))
    mask = np.zeros((image_size[1], image_size[0]), dtype=np.uint8)
    cv2.polylines(mask, [pixels], isClosed=False, color=1, thickness=width)
    return mask


def _spline(lane: Points) -> Points:
    """Points on the natural cubic spline over chord length through a lane of three or more."""
    points = lane.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.diff(lane, axis=0).astype(np.float64)  # in float32, as the official tool
        lengths = np.sqrt((steps**2).sum(axis=1))[:, None]
        slopes = steps / lengths
        curvatures = _curvatures(lengths, slopes)
        first, second = curvatures[:-1], curvatures[1:]
        linear = slopes - (2 * lengths * first + lengths * second) / 6
        cubic = (second - first) / (6 * lengths)
        # Axes: piece, sample, (u, v).
        t = (lengths / _SAMPLES * np.arange(_SAMPLES))[:, :, None]
        curve = (
            points[:-1, None]
            + linear[:, None] * t
            + (first / 2)[:, None] * t**2
            + cubic[:, None] * t**3
        )
    return np.concatenate((curve.reshape(-1, 2).astype(np.float32), lane[-1:]))


def _curvatures(lengths: NDArray[np.float64], slopes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Second derivatives at the points, zero at both ends (the tridiagonal system, Thomas)."""
    pieces = len(lengths)
    right = 6 * np.diff(slopes, axis=0)
    above = np.zeros(pieces - 1)
    for i in range(pieces - 1):
        before = lengths[i, 0]
        diagonal = 2 * (lengths[i, 0] + lengths[i + 1, 0])
        if i:
            diagonal -= before * above[i - 1]
            right[i] -= before * right[i - 1]
        above[i] = lengths[i + 1, 0] / diagonal
        right[i] /= diagonal
    curvatures = np.zeros((pieces + 1, 2))
    for i in reversed(range(pieces - 1)):
        curvatures[i + 1] = right[i] - above[i] * curvatures[i + 2]
    return curvatures


def _matched(ious: NDArray[np.float64], tolerance: float) -> list[tuple[int, int]]:
    """Pairs (truth, prediction) of the matching of greatest weight, one to one.

    The Hungarian method in the order of the official tool: the smaller side is matched row by row,
    columns are tried from the first, an edge is usable if its slack is below `tolerance`.
    """
    if ious.shape[0] > ious.shape[1]:
        return [(row, column) for column, row in _matched(ious.T, tolerance)]
    rows, columns = ious.shape
    # The price of a row and of a column together is at least the weight; nan compares as nothing.
    row_price = [max((w for w in row if not np.isnan(w)), default=-1e5) for row in ious]
    column_price = [0.0] * columns
    row_of: list[int | None] = [None] * columns

    def slack(row: int, column: int) -> float:
        return float(row_price[row] + column_price[column] - ious[row, column])

    def augment(row: int, seen_rows: set[int], seen_columns: set[int]) -> bool:
        seen_rows.add(row)
        for column in range(columns):
            if column in seen_columns or not abs(slack(row, column)) < tolerance:
                continue
            seen_columns.add(column)
            holder = row_of[column]
            if holder is None or augment(holder, seen_rows, seen_columns):
                row_of[column] = row
                return True
        return False

    def pairs() -> list[tuple[int, int]]:
        return [(row, column) for column, row in enumerate(row_of) if row is not None]

    for row in range(rows):
        seen_rows: set[int] = set()
        seen_columns: set[int] = set()
        while not augment(row, seen_rows, seen_columns):
            slacks = [
                slack(i, j) for i in seen_rows for j in range(columns) if j not in seen_columns
            ]
            finite = [value for value in slacks if not np.isnan(value)]
            if not finite:
                return pairs()
            step = min(finite)
            for i in seen_rows:
                row_price[i] -= step
            for j in seen_columns:
                column_price[j] += step
            seen_rows, seen_columns = set(), set()
    return pairs()
