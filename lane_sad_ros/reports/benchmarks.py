"""Reports of the benchmarks that are scored from files: a page and its numbers each."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from lane_sad_ros.evaluation import bdd100k, culane, tusimple
from lane_sad_ros.files import SourceError
from lane_sad_ros.formats import bdd100k as bdd100k_files
from lane_sad_ros.formats import culane as culane_files
from lane_sad_ros.formats import tusimple as tusimple_files
from lane_sad_ros.image_files import read_image
from lane_sad_ros.lanes import Lane, Lanes
from lane_sad_ros.pictures.comparison import draw_comparison, draw_masks
from lane_sad_ros.reports.charts import Axis, Plot
from lane_sad_ros.reports.page import (
    WORST,
    Image,
    Picture,
    backdrop,
    counted,
    exactly,
    percent,
    rate,
    write_page,
)

_BINS = 20
_FAR_OUT = 1e5  # pixels
_BDD100K_SUFFIXES = (".jpg", ".jpeg", ".png")

Points = NDArray[np.float32]


@dataclass(frozen=True)
class About:
    """What a report says beside the figures.

    settings: what was compared and how, name to value. problems: sentences on what is missing.
    notes: sentences on what was assumed. images: folder that the images' names are looked up in;
    those that are not there are drawn on grey.
    """

    settings: Mapping[str, str]
    problems: Sequence[str] = ()
    notes: Sequence[str] = ()
    images: Path | None = None


@dataclass(frozen=True)
class Compared:
    """A figure beside the paper's. full: what fills its bar. write: gives its text."""

    name: str
    here: float
    paper: float
    write: Callable[[float], str] = exactly
    full: float = 1.0


def _distribution(name: str, figures: Sequence[float]) -> tuple[Markup, list[dict[str, float]]]:
    """How many images have which figure, as a histogram and as its columns."""
    heights, edges = np.histogram(figures, bins=_BINS, range=(0.0, max(1.0, *figures)))
    between = [round(edge, 6) for edge in edges.tolist()]
    columns = [
        {"from": left, "to": right, "images": images}
        for left, right, images in zip(between, between[1:], heights.tolist(), strict=False)
    ]
    plot = Plot(
        Axis(name, 0.0, float(edges[-1]), lambda share: f"{100 * share:.0f} %"),
        Axis.from_zero("images", [float(heights.max())], "{:.0f}".format),
        f"Histogram of the {name}, {counted(len(figures), 'image')}",
    )
    for column in columns:
        left, right, images = column.values()
        if images:
            text = f"{percent(left)} to {percent(right)}: {counted(images, 'image')}"
            plot.column(left, right, images, "fill-blue", text)
    return plot.drawn(), columns


# --- CULane


@dataclass(frozen=True)
class CulaneImage:
    """One image of a category with its counts."""

    category: str
    name: str
    counts: culane.Counts


def write_culane_report(
    path: str | os.PathLike[str],
    results: Mapping[str, culane.Result],
    scored: Sequence[CulaneImage],
    rules: culane.Rules,
    truth: Path,
    predictions: Path,
    about: About,
) -> None:
    """Writes the report of `culane.evaluate_categories`.

    results: by category, "" for a list without one. scored: every image. truth, predictions: the
    folders of lanes, which those of the worst images are read from.
    Raises as `page.write_page`.
    """
    total = sum(results.values(), culane.Result())
    categories = {name: result for name, result in results.items() if name}
    worst = worst_of_culane(scored, WORST)
    numbers = {
        "absent_truths": total.absent_truths,
        "absent_predictions": total.absent_predictions,
        **total.counts.as_dict(),
        "categories": {
            name: {"images": result.images, **result.counts.as_dict()}
            for name, result in categories.items()
        },
        "paper": culane.PAPER,
        "worst": [{"name": image.name, **image.counts.as_dict()} for image in worst],
    }
    _write(
        path,
        "CULane",
        total.images,
        about,
        numbers,
        rules=rules,
        counts=total.counts,
        categories={**categories, "total": total},
        paper=culane.PAPER,
        worst=[_culane_picture(about, image, truth, predictions, rules) for image in worst],
    )


def worst_of_culane(scored: Sequence[CulaneImage], count: int) -> list[CulaneImage]:
    """Images with most lanes missed or false, then with fewest found, each once."""
    once = {image.name: image for image in reversed(scored)}
    wrong = [image for image in reversed(once.values()) if image.counts.fp + image.counts.fn]
    return sorted(wrong, key=lambda i: (-i.counts.fp - i.counts.fn, i.counts.tp))[:count]


def _culane_picture(
    about: About, image: CulaneImage, truth: Path, predictions: Path, rules: culane.Rules
) -> Picture:
    file = culane_files.lines_file(image.name)
    true = culane_files.lanes_if_present(truth / file) or []
    found = culane_files.lanes_if_present(predictions / file) or []
    missed, false = culane.missed_and_false(true, found, rules)
    found_on = rules.prediction_size or rules.image_size
    lanes = _lanes(true, rules.image_size), _lanes(found, found_on)
    canvas = _backdrop(about, [image.name], rules.image_size)
    drawn = draw_comparison(canvas, *lanes, missed=missed, false=false, named=False)
    name = f"{image.name} ({image.category})" if image.category else image.name
    return Picture.of(drawn, f"{name}: {image.counts.in_words()}")


# --- TuSimple


def write_tusimple_report(
    path: str | os.PathLike[str],
    result: tusimple.Result,
    scored: Sequence[tusimple.Scored],
    about: About,
) -> None:
    """Writes the report of `tusimple.evaluate`.

    scored: every image. Raises as `page.write_page`.
    """
    paper = tusimple.PAPER
    worst = sorted(scored, key=lambda image: image.accuracy)[:WORST]
    histogram, columns = _distribution("accuracy of an image", [image.accuracy for image in scored])
    numbers = {
        "absent_predictions": result.absent,
        **_tusimple_figures(result),
        "paper": _tusimple_figures(paper),
        "distribution": columns,
        "worst": [{"name": image.name, **_tusimple_figures(image)} for image in worst],
    }
    full = max(result.fp, result.fn, paper.fp, paper.fn, 0.1)
    _write(
        path,
        "TuSimple",
        result.images,
        about,
        numbers,
        figures=[
            Compared("accuracy", result.accuracy, paper.accuracy),
            Compared("FP", result.fp, paper.fp, rate, full),
            Compared("FN", result.fn, paper.fn, rate, full),
        ],
        histogram=histogram,
        worst=[_tusimple_picture(about, image) for image in worst],
    )


def _tusimple_figures(of: tusimple.Result | tusimple.Scored) -> dict[str, float]:
    return {"accuracy": of.accuracy, "fp": of.fp, "fn": of.fn}


def _tusimple_picture(about: About, image: tusimple.Scored) -> Picture:
    right = tusimple.right_shares(image.truth, image.prediction)
    hit = right >= tusimple.MATCHED_ACCURACY
    missed, false = (set(np.flatnonzero(~hit.any(axis=axis)).tolist()) for axis in (1, 0))
    rows = np.asarray(image.truth["h_samples"], np.float32)
    true, found = (_polylines(record["lanes"], rows) for record in (image.truth, image.prediction))
    size = tusimple_files.IMAGE_SIZE
    lanes = _lanes(true, size), _lanes(found, size)
    canvas = _backdrop(about, [image.name], size)
    drawn = draw_comparison(canvas, *lanes, missed=missed, false=false, named=False)
    words = [
        f"{image.name}: accuracy {percent(image.accuracy)}, FP {rate(image.fp)}, "
        f"FN {rate(image.fn)}"
    ]
    if image.prediction["run_time"] > tusimple.RUN_TIME_LIMIT:
        words.append(f"failed for its run time of {image.prediction['run_time']:g} ms")
    if len(found) > len(true) + tusimple.EXTRA_LANES:
        words.append("failed for its number of lanes")
    return Picture.of(drawn, "; ".join(words))


def _polylines(lanes: Sequence[Any], rows: Points) -> list[Points]:
    """The points N×2 of lanes given by their columns at the rows."""
    columns = [np.asarray(lane, np.float32) for lane in lanes]
    return [np.stack([us[us >= 0], rows[us >= 0]], axis=1) for us in columns]


# --- BDD100K


def write_bdd100k_report(
    path: str | os.PathLike[str],
    result: bdd100k.Result,
    scored: Sequence[tuple[Path, bdd100k.Result]],
    truth: Path,
    predictions: Path,
    about: About,
) -> None:
    """Writes the report of `bdd100k.evaluate`.

    scored: every image. truth, predictions: the folders of masks, which those of the worst images
    are read from. Raises as `page.write_page`.
    """
    paper = bdd100k.PAPER
    with_lanes = (
        (name, figures, mask)
        for name, figures in sorted(scored, key=lambda entry: entry[1].iou)
        if (mask := bdd100k_files.read_mask(truth / name)).any()
    )
    worst = list(itertools.islice(with_lanes, WORST))
    histogram, columns = _distribution("IoU of an image", [figures.iou for _, figures in scored])
    numbers = {
        "absent_predictions": result.absent,
        "resized": result.resized,
        "accuracy": result.accuracy,
        "iou": result.iou,
        "paper": paper,
        "distribution": columns,
        "worst": [
            {"name": name.as_posix(), "accuracy": figures.accuracy, "iou": figures.iou}
            for name, figures, _ in worst
        ],
    }
    _write(
        path,
        "BDD100K",
        result.images,
        about,
        numbers,
        figures=[
            Compared("accuracy", result.accuracy, paper["accuracy"]),
            Compared("IoU", result.iou, paper["iou"]),
        ],
        histogram=histogram,
        worst=[_bdd100k_picture(about, *entry, predictions) for entry in worst],
    )


def _bdd100k_picture(
    about: About, name: Path, figures: bdd100k.Result, truth: bdd100k_files.Mask, predictions: Path
) -> Picture:
    files = [name.with_suffix(ending).as_posix() for ending in _BDD100K_SUFFIXES]
    size = truth.shape[1], truth.shape[0]
    mask = bdd100k.prediction_of(predictions / name, truth).mask
    drawn = draw_masks(_backdrop(about, files, size), truth, mask)
    words = f"accuracy {percent(figures.accuracy)}, IoU {percent(figures.iou)}"
    return Picture.of(drawn, f"{name.as_posix()}: {words}")


# --- in common


def _write(
    path: str | os.PathLike[str],
    benchmark: str,
    images: int,
    about: About,
    numbers: Mapping[str, Any],
    **values: Any,
) -> None:
    name = benchmark.lower()
    numbers = {
        "benchmark": name,
        "settings": dict(about.settings),
        "images": images,
        **numbers,
        "notes": [*about.problems, *about.notes],
    }
    write_page(path, f"{name}.html", numbers, title=benchmark, images=images, about=about, **values)


def _backdrop(about: About, files: Sequence[str], size: tuple[int, int]) -> Image:
    """The first of the image's possible files that can be read, or grey of the size."""
    for path in [about.images / name for name in files] if about.images else []:
        with suppress(SourceError):
            return backdrop(read_image(path), size)
    return backdrop(None, size)


def _lanes(polylines: Sequence[Points], size: tuple[int, int]) -> Lanes:
    """Lanes in the order of the file, which tells no slots; points far out cannot be drawn."""
    lanes = []
    for number, points in enumerate(polylines):
        near = points[(np.abs(points) < _FAR_OUT).all(axis=1)]
        scored = np.column_stack([near, np.ones(len(near), np.float32)])
        lanes.append(Lane(number, True, 1.0, scored))
    return Lanes(size, tuple(lanes))
