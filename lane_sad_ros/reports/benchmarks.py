"""Reports of the benchmarks that are scored from files: a page and its numbers, as in `report`."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.evaluation import bdd100k, culane, tusimple
from lane_sad_ros.formats import bdd100k as bdd100k_files
from lane_sad_ros.formats import culane as culane_files
from lane_sad_ros.formats import tusimple as tusimple_files
from lane_sad_ros.lanes import Lane, Lanes
from lane_sad_ros.pictures.comparison import draw_comparison, draw_masks
from lane_sad_ros.reports.charts import Axis, Part, Plot, bar
from lane_sad_ros.reports.page import (
    WORST,
    Html,
    Image,
    backdrop,
    counted,
    defined,
    element,
    exactly,
    figure,
    items,
    joined,
    page,
    pairs,
    paragraph,
    percent,
    picture,
    section,
    side_by_side,
    table,
    tile,
    tiles,
    verdict,
    write_page,
)

_BINS = 20
_FAR_OUT = 1e5  # pixels
_BDD100K_SUFFIXES = (".jpg", ".jpeg", ".png")


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
    counts = total.counts
    worst = worst_of_culane(scored, WORST)
    text = page(
        "CULane",
        f"{counted(total.images, 'image')}, lanes {rules.width} pixels wide, IoU above "
        f"{rules.iou:g}.",
        _verdict(total.images, about),
        tiles(
            [
                tile("F1", exactly(counts.f1), f"ENet-SAD in the paper: {culane.PAPER['total']} %"),
                tile("Precision", exactly(defined(counts.precision)), f"{counts.fp:,} false"),
                tile("Recall", exactly(defined(counts.recall)), f"{counts.fn:,} missed"),
                tile("Lanes found", f"{counts.tp:,}", f"of {counts.tp + counts.fn:,} true ones"),
            ]
        ),
        section("By category", _categories(results, total)),
        _worst(
            [
                _drawn(
                    about,
                    image.name.lstrip("/"),
                    *_culane_lanes(image.name, truth, predictions, rules),
                    caption=f"{image.name} ({image.category})" if image.category else image.name,
                    figures=image.counts.in_words(),
                )
                for image in worst
            ],
            "Images with most lanes that are missed or false.",
        ),
        _used(about),
    )
    numbers = {
        "benchmark": "culane",
        "settings": dict(about.settings),
        "images": total.images,
        "absent_truths": total.absent_truths,
        "absent_predictions": total.absent_predictions,
        **counts.as_dict(),
        "categories": {
            name: {"images": result.images, **result.counts.as_dict()}
            for name, result in results.items()
            if name
        },
        "paper": culane.PAPER,
        "worst": [{"name": image.name, **image.counts.as_dict()} for image in worst],
        "notes": [*about.problems, *about.notes],
    }
    write_page(path, text, numbers)


def worst_of_culane(scored: Sequence[CulaneImage], count: int) -> list[CulaneImage]:
    """Images with most lanes missed or false, then with fewest found, each once."""
    once = {image.name: image for image in reversed(scored)}
    wrong = [image for image in reversed(once.values()) if image.counts.fp + image.counts.fn]
    return sorted(wrong, key=lambda i: (-i.counts.fp - i.counts.fn, i.counts.tp))[:count]


def _categories(results: Mapping[str, culane.Result], total: culane.Result) -> Html:
    shown = {name: result for name, result in results.items() if name}
    rows = []
    for name, result in {**shown, "total": total}.items():
        counts, paper = result.counts, culane.PAPER.get(name)
        crossing = name == "cross"
        marked = None if crossing or paper is None else paper / 100
        beside = None if paper is None else f"{paper} FP" if crossing else f"{paper} %"
        title = f"{name}: F1 {exactly(counts.f1)}"
        rows.append(
            (
                name,
                "" if crossing else bar([Part(counts.f1, "fill-blue", title)], 1.0, marked),
                f"{counts.fp} FP" if crossing else exactly(counts.f1),
                beside,
                None if crossing else exactly(defined(counts.precision)),
                None if crossing else exactly(defined(counts.recall)),
                *(f"{number:,}" for number in (counts.tp, counts.fn, counts.fp, result.images)),
            )
        )
    head = ("category", "", "F1", "paper", "precision", "recall", "found", "missed", "false")
    return joined(
        [
            table((*head, "images"), rows),
            paragraph(
                "The upright line in a bar, and the column beside the F1: ENet-SAD in the paper. "
                "Crossroads have no lanes: their figure is the number of false positives, which "
                "grows with the number of images (the whole test list has 34,680).",
                class_="note",
            ),
        ]
    )


def _culane_lanes(
    name: str, truth: Path, predictions: Path, rules: culane.Rules
) -> tuple[Lanes, Lanes, set[int], set[int]]:
    """True and predicted lanes of an image, and the numbers of those missed and false."""
    file = culane_files.lines_file(name)
    true = culane_files.lanes_if_present(truth / file) or []
    found = culane_files.lanes_if_present(predictions / file) or []
    missed, false = set(range(len(true))), set(range(len(found)))
    for i, j in culane.found_pairs(true, found, rules):
        missed.discard(i)
        false.discard(j)
    size = rules.prediction_size or rules.image_size
    return _lanes(true, rules.image_size), _lanes(found, size), missed, false


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
    heights, edges = np.histogram(
        [image.accuracy for image in scored],
        bins=_BINS,
        range=(0.0, max(1.0, *(image.accuracy for image in scored))),
    )
    text = page(
        "TuSimple",
        f"{counted(result.images, 'image')}.",
        _verdict(result.images, about),
        tiles(
            [
                tile("Accuracy", exactly(result.accuracy), f"paper {exactly(paper.accuracy)}"),
                tile("FP", f"{result.fp:.4f}", f"paper {paper.fp:.4f}"),
                tile("FN", f"{result.fn:.4f}", f"paper {paper.fn:.4f}"),
            ]
        ),
        section(
            "Beside the paper",
            table(
                ("figure", "", "here", "ENet-SAD in the paper"),
                [
                    (
                        name,
                        bar([Part(max(0.0, here), "fill-blue", f"{name} {text}")], full, there),
                        text,
                        written(there),
                    )
                    for name, here, there, full, written in (
                        ("accuracy", result.accuracy, paper.accuracy, 1.0, exactly),
                        ("FP", result.fp, paper.fp, _rates(result), "{:.4f}".format),
                        ("FN", result.fn, paper.fn, _rates(result), "{:.4f}".format),
                    )
                    for text in (written(here),)
                ],
            ),
            paragraph(
                "The upright line in a bar is the paper's figure, of the 2,782 test images. FP and "
                "FN are shares of lanes, better where lower.",
                class_="note",
            ),
            _distribution("accuracy of an image", heights, edges),
        ),
        _worst([_tusimple_picture(about, image) for image in worst], "Images of least accuracy."),
        _used(about),
    )
    numbers = {
        "benchmark": "tusimple",
        "settings": dict(about.settings),
        "images": result.images,
        "absent_predictions": result.absent,
        "accuracy": result.accuracy,
        "fp": result.fp,
        "fn": result.fn,
        "paper": {"accuracy": paper.accuracy, "fp": paper.fp, "fn": paper.fn},
        "distribution": _bins(heights, edges),
        "worst": [
            {"name": image.name, "accuracy": image.accuracy, "fp": image.fp, "fn": image.fn}
            for image in worst
        ],
        "notes": [*about.problems, *about.notes],
    }
    write_page(path, text, numbers)


def _rates(result: tusimple.Result) -> float:
    """What fills a bar of FP or FN."""
    return max(result.fp, result.fn, tusimple.PAPER.fp, tusimple.PAPER.fn, 0.1)


def _tusimple_picture(about: About, image: tusimple.Scored) -> Html:
    right = tusimple.right_shares(image.truth, image.prediction)
    hit = right >= tusimple.MATCHED_ACCURACY
    missed, false = (set(np.flatnonzero(~hit.any(axis=axis)).tolist()) for axis in (1, 0))
    rows = np.asarray(image.truth["h_samples"], np.float32)
    true, found = (_polylines(lanes["lanes"], rows) for lanes in (image.truth, image.prediction))
    reasons = []
    if image.prediction["run_time"] > tusimple.RUN_TIME_LIMIT:
        reasons.append(f"; failed for its run time of {image.prediction['run_time']:g} ms")
    if len(found) > len(true) + tusimple.EXTRA_LANES:
        reasons.append("; failed for its number of lanes")
    return _drawn(
        about,
        image.name,
        _lanes(true, tusimple_files.IMAGE_SIZE),
        _lanes(found, tusimple_files.IMAGE_SIZE),
        missed,
        false,
        caption=image.name,
        figures=f"accuracy {percent(image.accuracy)}, FP {image.fp:.4f}, FN {image.fn:.4f}"
        + "".join(reasons),
    )


def _polylines(lanes: Sequence[Any], rows: NDArray[np.float32]) -> list[NDArray[np.float32]]:
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
    ordered = sorted(scored, key=lambda entry: entry[1].iou)
    with_lanes = (
        (name, figures, mask)
        for name, figures in ordered
        if (mask := bdd100k_files.read_mask(truth / name)).any()
    )
    worst = list(itertools.islice(with_lanes, WORST))
    heights, edges = np.histogram(
        [figures.iou for _, figures in scored], bins=_BINS, range=(0.0, 1.0)
    )
    here = {"accuracy": result.accuracy, "iou": result.iou}
    names = {"accuracy": "accuracy", "iou": "IoU"}
    text = page(
        "BDD100K",
        f"{counted(result.images, 'image')}.",
        _verdict(result.images, about),
        tiles(
            tile(names[key], exactly(share), f"ENet-SAD in the paper: {exactly(paper[key])}")
            for key, share in here.items()
        ),
        section(
            "Beside the paper",
            table(
                ("figure", "", "here", "ENet-SAD in the paper"),
                [
                    (
                        names[key],
                        bar(
                            [Part(share, "fill-blue", f"{names[key]} {exactly(share)}")],
                            1.0,
                            paper[key],
                        ),
                        exactly(share),
                        exactly(paper[key]),
                    )
                    for key, share in here.items()
                ],
            ),
            paragraph(
                "The upright line in a bar is the paper's figure. Images without true lanes score "
                "0 in both, as in the code published with the paper.",
                class_="note",
            ),
            _distribution("IoU of an image", heights, edges),
        ),
        _worst(
            [
                _masks_drawn(about, name, figures, mask, predictions / name)
                for name, figures, mask in worst
            ],
            "Images with true lanes of least IoU. Blue: found. Orange: false. Pink: missed.",
            "",
        ),
        _used(about),
    )
    numbers = {
        "benchmark": "bdd100k",
        "settings": dict(about.settings),
        "images": result.images,
        "absent_predictions": result.absent,
        "resized": result.resized,
        **here,
        "paper": paper,
        "distribution": _bins(heights, edges),
        "worst": [
            {"name": name.as_posix(), "accuracy": figures.accuracy, "iou": figures.iou}
            for name, figures, _ in worst
        ],
        "notes": [*about.problems, *about.notes],
    }
    write_page(path, text, numbers)


def _masks_drawn(
    about: About, name: Path, figures: bdd100k.Result, truth: bdd100k_files.Mask, prediction: Path
) -> Html:
    found = (
        (about.images / name.with_suffix(ending) for ending in _BDD100K_SUFFIXES)
        if about.images
        else ()
    )
    image = next((image for path in found if (image := _read(path)) is not None), None)
    size = truth.shape[1], truth.shape[0]
    mask = bdd100k.prediction_of(prediction, truth).mask
    drawn = draw_masks(backdrop(image, size), truth, mask)
    return _captioned(
        drawn,
        name.as_posix(),
        f"accuracy {percent(figures.accuracy)}, IoU {percent(figures.iou)}",
    )


# --- in common


def _verdict(images: int, about: About) -> Html:
    if about.problems:
        return verdict("bad", "Something is missing.", about.problems)
    return verdict("good", f"All {counted(images, 'image')} have truth and a prediction.")


def _distribution(name: str, heights: NDArray[Any], edges: NDArray[Any]) -> Html:
    plot = Plot(
        Axis(name, float(edges[0]), float(edges[-1]), lambda share: f"{100 * share:.0f} %"),
        Axis.from_zero("images", [float(heights.max())], "{:.0f}".format),
        f"Histogram of the {name}, {counted(int(heights.sum()), 'image')}",
    )
    for height, left, right in zip(heights, edges, edges[1:], strict=False):
        if height:
            text = f"{percent(left)} to {percent(right)}: {counted(int(height), 'image')}"
            plot.column(left, right, float(height), "fill-blue", text)
    return figure("How the images differ", plot.drawn())


def _bins(heights: NDArray[Any], edges: NDArray[Any]) -> list[dict[str, float]]:
    return [
        {"from": round(float(left), 6), "to": round(float(right), 6), "images": int(height)}
        for height, left, right in zip(heights, edges, edges[1:], strict=False)
    ]


_LINES = (
    "Dashed, white on black: the true lanes. In colour: the predicted ones. A tag marks a true "
    "lane that was missed and a predicted lane that is false; one too far beside its place is both."
)


def _worst(pictures: Sequence[Html], which: str, legend: str = _LINES) -> Html:
    if not pictures:
        return section("The worst images", paragraph("There is none with anything wrong."))
    return section("The worst images", paragraph(which, legend), side_by_side(*pictures))


def _drawn(
    about: About,
    file: str,
    truth: Lanes,
    prediction: Lanes,
    missed: set[int],
    false: set[int],
    *,
    caption: str,
    figures: str,
) -> Html:
    image = _read(about.images / file) if about.images else None
    canvas = backdrop(image, truth.image_size)
    drawn = draw_comparison(canvas, truth, prediction, missed=missed, false=false, named=False)
    return _captioned(drawn, caption, figures)


def _captioned(drawn: Image, name: str, figures: str) -> Html:
    caption = f"{name}: {figures}"
    return element(
        "figure", joined([picture(drawn, caption), element("figcaption", caption)]), class_="worst"
    )


def _read(path: Path) -> Image | None:
    return cv2.imread(str(path), cv2.IMREAD_COLOR) if path.is_file() else None


def _lanes(polylines: Sequence[NDArray[np.float32]], size: tuple[int, int]) -> Lanes:
    """Lanes in the order of the file, which tells no slots; points far out cannot be drawn."""
    lanes = []
    for number, points in enumerate(polylines):
        near = points[(np.abs(points) < _FAR_OUT).all(axis=1)]
        scored = np.column_stack([near, np.ones(len(near), np.float32)])
        lanes.append(Lane(number, True, 1.0, scored))
    return Lanes(size, tuple(lanes))


def _used(about: About) -> Html:
    parts: list[Html] = [pairs(about.settings.items())]
    if about.notes:
        parts += [element("h3", "What was assumed"), items(about.notes)]
    return section("What was compared", *parts)
