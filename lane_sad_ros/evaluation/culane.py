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
  gives the best matching instead;
- the total over categories is the F1 of their summed counts, crossroads included.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.evaluation.in_processes import in_parts
from lane_sad_ros.formats.culane import (
    IMAGE_SIZE,
    Points,
    image_names,
    lanes_if_present,
    lines_file,
)

LANE_WIDTH = 30  # pixels
IOU_THRESHOLD = 0.5
TOLERANCE_OFFICIAL = 1e-2
TOLERANCE_EXACT = 1e-9
_SAMPLES = 50  # of the spline between two points
_FAR_OUT = -(2.0**31)
_NEAR = 2**20  # pixels; differences of such coordinates fit into their type

# ENet-SAD in the paper (arXiv 1908.00821, table 2): F1 in per cent, for cross the number of FP.
PAPER = {
    "normal": 90.1,
    "crowd": 68.8,
    "hlight": 60.2,
    "shadow": 65.9,
    "noline": 41.6,
    "arrow": 84.0,
    "curve": 65.7,
    "cross": 1995,
    "night": 66.0,
    "total": 70.8,
}


@dataclass(frozen=True)
class Rules:
    """What a match is.

    image_size: (width, height) of the images that true lanes lie on, in pixels; what lies outside
    is not counted. width: of the drawn lanes in pixels of these images. iou: what a match must
    exceed. tolerance: `TOLERANCE_OFFICIAL` or `TOLERANCE_EXACT`, see the module's text.
    prediction_size: (width, height) of the images that predicted lanes lie on, if not the same;
    they are scaled to `image_size`, pixel centres being whole numbers.
    """

    image_size: tuple[int, int] = IMAGE_SIZE
    width: int = LANE_WIDTH
    iou: float = IOU_THRESHOLD
    tolerance: float = TOLERANCE_OFFICIAL
    prediction_size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Counts:
    """Lanes found (tp), wrongly found (fp) and missed (fn)."""

    tp: int
    fp: int
    fn: int

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

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

    def in_words(self) -> str:
        """The counts for people."""
        return f"{self.tp} found, {self.fn} missed, {self.fp} false"

    def as_dict(self) -> dict[str, float]:
        """Counts, precision, recall and f1 by these names."""
        shares = {"precision": self.precision, "recall": self.recall, "f1": self.f1}
        return {"tp": self.tp, "fp": self.fp, "fn": self.fn, **shares}


@dataclass(frozen=True)
class Result:
    """Counts over all images of a list, and how many of their files were absent."""

    counts: Counts = Counts(0, 0, 0)
    images: int = 0
    absent_truths: int = 0
    absent_predictions: int = 0

    def __add__(self, other: Result) -> Result:
        return Result(
            self.counts + other.counts,
            self.images + other.images,
            self.absent_truths + other.absent_truths,
            self.absent_predictions + other.absent_predictions,
        )


def score(
    truth: Sequence[Points], prediction: Sequence[Points], rules: Rules | None = None
) -> Counts:
    """Counts of one image.

    truth, prediction: lanes as N×2 (u, v) in pixels. rules: by default the official ones.
    """
    found = len(found_pairs(truth, prediction, rules or Rules()))
    return Counts(tp=found, fp=len(prediction) - found, fn=len(truth) - found)


def found_pairs(
    truth: Sequence[Points], prediction: Sequence[Points], rules: Rules
) -> list[tuple[int, int]]:
    """Numbers of true lanes that are found, and of the predicted lanes that they are found by."""
    if rules.prediction_size:
        scale = np.divide(rules.image_size, rules.prediction_size)
        prediction = [((lane + 0.5) * scale - 0.5).astype(np.float32) for lane in prediction]
    if not (truth and prediction):
        return []
    ious = lane_ious(truth, prediction, rules.image_size, rules.width)
    return [pair for pair in matched(ious, rules.tolerance) if ious[pair] > rules.iou]


def missed_and_false(
    truth: Sequence[Points], prediction: Sequence[Points], rules: Rules
) -> tuple[set[int], set[int]]:
    """Numbers of true lanes that are not found, and of predicted lanes that find none."""
    pairs = found_pairs(truth, prediction, rules)
    missed = set(range(len(truth))) - {i for i, _ in pairs}
    return missed, set(range(len(prediction))) - {j for _, j in pairs}


def evaluate(
    truth_folder: str | os.PathLike[str],
    predictions_folder: str | os.PathLike[str],
    list_path: str | os.PathLike[str],
    rules: Rules | None = None,
    *,
    jobs: int = 1,
    progress: Callable[[int], object] | None = None,
) -> Result:
    """Counts over the images named, one per line, in a list such as CULane's `list/test.txt`.

    For an image `/a/b.jpg` the lanes are read from `a/b.lines.txt` in both folders; an absent file
    counts as one without lanes. rules: by default the official ones. jobs: number of processes,
    which start by spawning. progress: called with numbers of images that have been done.
    Raises ValueError with file and line where a file is malformed, and where the truth folder has
    none of the images.
    """
    lists = {"": list_path}
    return evaluate_categories(
        truth_folder, predictions_folder, lists, rules, jobs=jobs, progress=progress
    )[""]


def evaluate_categories(
    truth_folder: str | os.PathLike[str],
    predictions_folder: str | os.PathLike[str],
    lists: Mapping[str, str | os.PathLike[str]],
    rules: Rules | None = None,
    *,
    jobs: int = 1,
    progress: Callable[[int], object] | None = None,
    each: Callable[[str, str, Result], object] | None = None,
) -> dict[str, Result]:
    """As `evaluate`, for several lists by the names of their categories.

    Their sum is the official total; an image in two lists counts in both.
    each: called with category, name and result of every image, in the order of the lists.
    """
    if not Path(predictions_folder).is_dir():
        raise ValueError(f"{predictions_folder}: no such folder of predictions")
    for path in lists.values():
        if next(image_names(path), None) is None:
            raise ValueError(f"{path}: names no image; one path per line is needed")
    named = ((category, name) for category, path in lists.items() for name in image_names(path))
    work = partial(_score_files, Path(truth_folder), Path(predictions_folder), rules or Rules())
    results = dict.fromkeys(lists, Result())
    for part in in_parts(work, named, jobs):
        for category, name, result in part:
            results[category] += result
            if each:
                each(category, name, result)
        if progress:
            progress(len(part))
    if all(result.absent_truths == result.images for result in results.values()):
        path = next(iter(lists.values()))
        raise ValueError(
            f"{truth_folder}: has no lane file of any image in {path}, "
            f"first {lines_file(next(image_names(path)))}"
        )
    return results


def lane_ious(
    truth: Sequence[Points],
    prediction: Sequence[Points],
    image_size: tuple[int, int] = IMAGE_SIZE,
    width: int = LANE_WIDTH,
) -> NDArray[np.float64]:
    """IoU of each true lane's drawing with each predicted lane's, truth×prediction.

    0 for lanes of fewer than two points, nan where both lie outside the image.
    """
    drawings = [_draw(lane, image_size, width) for lane in prediction]
    ious = np.zeros((len(truth), len(prediction)))
    for i, lane in enumerate(truth):
        true_drawing = _draw(lane, image_size, width)
        if true_drawing is None:
            continue
        for j, drawing in enumerate(drawings):
            if drawing is not None:
                common = true_drawing.common(drawing)
                union = true_drawing.area + drawing.area - common
                ious[i, j] = common / union if union else np.nan
    return ious


def matched(
    ious: NDArray[np.float64], tolerance: float = TOLERANCE_OFFICIAL
) -> list[tuple[int, int]]:
    """Pairs (truth, prediction) of the matching of greatest weight, one to one.

    The Hungarian method in the order of the official tool: the smaller side is matched row by row,
    columns are tried from the first, an edge is usable if its slack is below `tolerance`.
    """
    if ious.shape[0] > ious.shape[1]:
        return [(row, column) for column, row in matched(ious.T, tolerance)]
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


def _score_files(
    truth_folder: Path, predictions_folder: Path, rules: Rules, named: Sequence[tuple[str, str]]
) -> list[tuple[str, str, Result]]:
    """Category, name and result of each of the images named (category, name)."""
    results = []
    for category, name in named:
        file = lines_file(name)
        truth = lanes_if_present(truth_folder / file)
        prediction = lanes_if_present(predictions_folder / file)
        counts = score(truth or [], prediction or [], rules)
        results.append(
            (category, name, Result(counts, 1, int(truth is None), int(prediction is None)))
        )
    return results


@dataclass(frozen=True)
class _Drawing:
    """A drawn lane: 1 where it is, 0 elsewhere in its box, which begins at (left, top).

    Outside its box there is nothing of it. `area`: number of its pixels.
    """

    left: int
    top: int
    mask: NDArray[np.uint8]
    area: int

    def common(self, other: _Drawing) -> int:
        """Number of pixels in both."""
        left, top = max(self.left, other.left), max(self.top, other.top)
        right = min(self.left + self.mask.shape[1], other.left + other.mask.shape[1])
        bottom = min(self.top + self.mask.shape[0], other.top + other.mask.shape[0])
        if left >= right or top >= bottom:
            return 0
        one, two = (
            d.mask[top - d.top : bottom - d.top, left - d.left : right - d.left]
            for d in (self, other)
        )
        return int(cv2.countNonZero(cv2.bitwise_and(one, two)))


def _draw(lane: Points, image_size: tuple[int, int], width: int) -> _Drawing | None:
    """What the official tool draws of a lane; None for a lane of fewer than two points."""
    if len(lane) < 2:
        return None
    pixels = _pixels(lane if len(lane) == 2 else _spline(lane))
    left = top = 0
    right, bottom = image_size
    # A smaller canvas gives the same pixels where a shift is exact: lines are drawn in fixed point,
    # and cut, like here the box, at the borders of the image only.
    if pixels.min() > -_NEAR and pixels.max() < _NEAR:
        pixels = _without_straight_runs(pixels)
        reach = width // 2 + 2  # half the width, and the rounding of a slanted line's corners
        left, top = (max(int(low), 0) for low in pixels.min(axis=0) - reach)
        right, bottom = (
            min(int(high), size)
            for high, size in zip(pixels.max(axis=0) + reach + 1, image_size, strict=True)
        )
        if left >= right or top >= bottom:
            return _Drawing(0, 0, np.zeros((0, 0), dtype=np.uint8), 0)
        pixels = pixels - np.array((left, top), dtype=np.int32)
    mask = np.zeros((bottom - top, right - left), dtype=np.uint8)
    cv2.polylines(mask, [pixels], isClosed=False, color=1, thickness=width)
    return _Drawing(left, top, mask, cv2.countNonZero(mask))


def _pixels(curve: Points) -> NDArray[np.int32]:
    """The whole pixels of a curve, M×2 (at least 2), without idle steps but the last."""
    rounded = np.rint(curve.astype(np.float64))
    # Repeated points make nan, which the official tool turns into the smallest int32.
    rounded[np.isnan(rounded)] = _FAR_OUT
    pixels = rounded.clip(_FAR_OUT, -_FAR_OUT - 1).astype(np.int32)
    us, vs = pixels.T
    moves = (us[1:] != us[:-1]) | (vs[1:] != vs[:-1])
    # The last one twice: OpenCV draws a line that stays on its pixel, but not a single point.
    return np.concatenate((pixels[:1], pixels[1:][moves], pixels[-1:]))


def _without_straight_runs(pixels: NDArray[np.int32]) -> NDArray[np.int32]:
    """The same line without the points inside its upright and level runs.

    Such a run is drawn as the rectangle around it with a disc at each point, of which the inner
    ones lie within the rectangle and the discs at its ends.
    """
    us, vs = np.diff(pixels, axis=0).T
    inside = (us[1:] == 0) & (us[:-1] == 0) & (vs[1:] * vs[:-1] > 0)
    inside |= (vs[1:] == 0) & (vs[:-1] == 0) & (us[1:] * us[:-1] > 0)
    keep = np.ones(len(pixels), dtype=bool)
    keep[1:-1] = ~inside
    return pixels[keep]


def _spline(lane: Points) -> Points:
    """Points on the natural cubic spline over chord length through a lane of three or more.

    Where a point is repeated at once, all of them but the last are nan, as in the official tool:
    the length 0 gives a slope of nan, which reaches every piece through the curvatures.
    """
    points = lane.astype(np.float64)
    steps = np.diff(lane, axis=0).astype(np.float64)  # in float32, as the official tool
    lengths = np.sqrt((steps**2).sum(axis=1))[:, None]
    if not lengths.all():
        nothing = np.full((len(steps) * _SAMPLES, 2), np.nan, dtype=np.float32)
        return np.concatenate((nothing, lane[-1:]))
    slopes = steps / lengths
    curvatures = _curvatures(lengths[:, 0].tolist(), *slopes.T.tolist())
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


def _curvatures(
    lengths: list[float], slopes_u: list[float], slopes_v: list[float]
) -> NDArray[np.float64]:
    """Second derivatives at the points, N×2, 0 at both ends (the tridiagonal system, Thomas).

    In plain floats: for some thirty points faster than arrays.
    """
    above, right_u, right_v = [0.0], [0.0], [0.0]
    for i in range(1, len(lengths)):
        before, after = lengths[i - 1], lengths[i]
        diagonal = 2 * (before + after) - before * above[-1]
        above.append(after / diagonal)
        right_u.append((6 * (slopes_u[i] - slopes_u[i - 1]) - before * right_u[-1]) / diagonal)
        right_v.append((6 * (slopes_v[i] - slopes_v[i - 1]) - before * right_v[-1]) / diagonal)
    u = v = 0.0
    curvatures = [(u, v)]
    for i in range(len(lengths) - 1, 0, -1):
        u, v = right_u[i] - above[i] * u, right_v[i] - above[i] * v
        curvatures.append((u, v))
    curvatures.append((0.0, 0.0))
    return np.array(curvatures[::-1])
