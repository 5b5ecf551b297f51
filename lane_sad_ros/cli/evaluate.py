"""`lane_sad evaluate`: predictions scored as the benchmarks do."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lane_sad_ros import files
from lane_sad_ros.arguments import count, parse_size, share, size_text
from lane_sad_ros.cli import evaluate_bag
from lane_sad_ros.cli.common import add_outputs, check_outputs, input_errors, progress_bar
from lane_sad_ros.cores import all_cores
from lane_sad_ros.evaluation import bdd100k, culane, tusimple
from lane_sad_ros.formats import bdd100k as bdd100k_files
from lane_sad_ros.formats import culane as culane_files
from lane_sad_ros.formats import tusimple as tusimple_files
from lane_sad_ros.reports import benchmarks


def add_parser(commands: Any) -> None:
    """Adds the command to a parser's `commands`."""
    group = commands.add_parser("evaluate", help="score predictions as a benchmark does")
    benchmarks = group.add_subparsers(title="benchmarks", required=True, metavar="BENCHMARK")
    score = benchmarks.add_parser(
        "tusimple",
        help="accuracy, FP and FN of TuSimple",
        description="TuSimple's accuracy, false-positive and false-negative rates, with the "
        "official script's rules.",
        epilog="example: lane_sad detect tusimple:DATA:test.json --output pred.json && "
        "lane_sad evaluate tusimple --truth DATA/test.json --predictions pred.json",
    )
    score.add_argument("--truth", required=True, metavar="JSON", help="label file")
    score.add_argument("--predictions", required=True, metavar="JSON", help="prediction file")
    _add_image_size(score, "1280x720; another is scaled to it")
    _add_prediction_size(score)
    score.add_argument(
        "--absent-as-empty",
        action="store_true",
        help="take an image without a prediction for one without lanes; the official script, and "
        "this command without the flag, refuse the file",
    )
    _add_outputs(score, "default: the folder of the truth")
    score.set_defaults(run=_tusimple)
    score = benchmarks.add_parser(
        "culane",
        help="TP, FP, FN and F1 of CULane",
        description="CULane's counts and F1, equal to its C++ evaluator's. Lanes are read from a "
        ".lines.txt beside each listed image's place in the two folders.",
        epilog="example: lane_sad detect culane:DATA:DATA/list/test.txt --output pred/ && "
        "lane_sad evaluate culane --truth DATA --predictions pred --list DATA/list/test.txt",
    )
    score.add_argument("--truth", required=True, metavar="DIR", help="folder of true lanes")
    score.add_argument("--predictions", required=True, metavar="DIR", help="folder of predictions")
    images = score.add_mutually_exclusive_group(required=True)
    images.add_argument("--list", metavar="FILE", help="the images, one per line")
    images.add_argument(
        "--categories",
        nargs="+",
        metavar="LIST",
        help="folder of lists (DATA/list/test_split) or list files, one for each category: a table "
        "by category and in total",
    )
    score.add_argument(
        "--width",
        type=count,
        default=culane.LANE_WIDTH,
        metavar="PX",
        help="of the drawn lanes, pixels (default: %(default)s)",
    )
    score.add_argument(
        "--iou",
        type=share,
        default=culane.IOU_THRESHOLD,
        help="what a match must exceed (default: %(default)s)",
    )
    _add_image_size(score, "1640x590", culane_files.IMAGE_SIZE)
    _add_prediction_size(score)
    score.add_argument(
        "--exact",
        action="store_true",
        help="match lanes in the best way; the official tool lets their order decide where IoUs "
        "are within 0.01",
    )
    _add_jobs(score)
    _add_outputs(score, "default: the folder of the truth")
    score.set_defaults(run=_culane)
    score = benchmarks.add_parser(
        "bdd100k",
        help="accuracy and IoU of lane pixels",
        description="Accuracy (the share of true lane pixels that is found) and IoU of lane "
        "pixels, means over the images, as the paper reports them for BDD100K. Masks are PNG files "
        "of the same names in both folders: 0 is background, all else lane. True lanes are 2 "
        "pixels wide on 1280x720.",
        epilog="example: lane_sad evaluate bdd100k --truth val_label/ --predictions masks/",
    )
    score.add_argument("--truth", required=True, metavar="DIR", help="folder of true masks")
    score.add_argument("--predictions", required=True, metavar="DIR", help="folder of predictions")
    _add_jobs(score)
    _add_outputs(score, "without it they are drawn on grey")
    score.set_defaults(run=_bdd100k)
    evaluate_bag.add_parser(benchmarks)


def _add_image_size(
    parser: argparse.ArgumentParser, said: str, default: tuple[int, int] | None = None
) -> None:
    parser.add_argument(
        "--image-size",
        type=parse_size,
        default=default,
        metavar="WxH",
        help=f"of the images that the true lanes lie on (default: {said})",
    )


def _add_prediction_size(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--prediction-size",
        type=parse_size,
        metavar="WxH",
        help="of the images that the predictions lie on (default: as the truth)",
    )


def _add_jobs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--jobs",
        type=count,
        default=all_cores(),
        metavar="N",
        help="processes; the figures do not depend on it (default: all cores, here %(default)s)",
    )


def _add_outputs(parser: argparse.ArgumentParser, images: str) -> None:
    add_outputs(parser, json="also write the figures to this file")
    parser.add_argument(
        "--images",
        type=Path,
        metavar="ROOT",
        help=f"folder of the images, for the report's pictures ({images})",
    )


def _tusimple(options: argparse.Namespace) -> int:
    check_outputs(options, [options.truth, options.predictions])
    truth_size, prediction_size = options.image_size, options.prediction_size
    scored: list[tusimple.Scored] = []
    with input_errors():
        result = tusimple.evaluate(
            options.truth,
            options.predictions,
            image_size=truth_size,
            prediction_size=prediction_size,
            absent_as_empty=options.absent_as_empty,
            each=scored.append if options.report else None,
        )
    print(
        f"accuracy {100 * result.accuracy:.2f} %, FP {result.fp:.4f}, FN {result.fn:.4f} "
        f"over {result.images} images"
    )
    problems, notes = [], []
    if result.absent:
        problems.append(
            f"{result.absent} images have no prediction and count as ones without lanes; the "
            "official script refuses such a file"
        )
    if truth_size or prediction_size:
        truth_size = truth_size or tusimple_files.IMAGE_SIZE
        notes.append(
            f"taken as: truth on {size_text(truth_size)} images, predictions on "
            f"{size_text(prediction_size or truth_size)}; both scaled to "
            f"{size_text(tusimple_files.IMAGE_SIZE)}, where the tolerance is "
            f"{tusimple.TOLERANCE:.0f} pixels"
        )
    _print(problems, notes)
    if options.json:
        figures = {"accuracy": result.accuracy, "fp": result.fp, "fn": result.fn}
        files.write_json(options.json, figures)
    if options.report:
        about = _about(options, problems, notes, Path(options.truth).parent)
        benchmarks.write_tusimple_report(options.report, result, scored, about)
    return 0


def _print(problems: Sequence[str], notes: Sequence[str]) -> None:
    for line in (*problems, *notes):
        print(line)


def _about(
    options: argparse.Namespace,
    problems: Sequence[str],
    notes: Sequence[str],
    images: Path | None,
    **settings: str,
) -> benchmarks.About:
    """images: folder of the images where the user names none."""
    compared = {"truth": str(options.truth), "predictions": str(options.predictions), **settings}
    return benchmarks.About(
        compared, _sentences(problems), _sentences(notes), options.images or images
    )


def _sentences(lines: Sequence[str]) -> list[str]:
    return [f"{line[0].upper()}{line[1:]}." for line in lines]


def _culane(options: argparse.Namespace) -> int:
    rules = culane.Rules(
        image_size=options.image_size,
        width=options.width,
        iou=options.iou,
        tolerance=culane.TOLERANCE_EXACT if options.exact else culane.TOLERANCE_OFFICIAL,
        prediction_size=options.prediction_size,
    )
    scored: list[benchmarks.CulaneImage] = []

    def each(category: str, name: str, result: culane.Result) -> None:
        scored.append(benchmarks.CulaneImage(category, name, result.counts))

    with input_errors():
        lists: dict[str, Path] = (
            culane_files.category_lists(options.categories)
            if options.categories
            else {"": options.list}
        )
        check_outputs(options, lists.values())
        images = sum(1 for path in lists.values() for _ in culane_files.image_names(path))
        with progress_bar(images) as progress:
            results = culane.evaluate_categories(
                options.truth,
                options.predictions,
                lists,
                rules,
                jobs=options.jobs,
                progress=progress,
                each=each if options.report else None,
            )
    total = sum(results.values(), culane.Result())
    if options.categories:
        print(_category_table({**results, "total": total}))
    counts = total.counts
    print(
        f"F1 {100 * counts.f1:.2f} %, precision {100 * counts.precision:.2f} %, recall "
        f"{100 * counts.recall:.2f} % (TP {counts.tp}, FP {counts.fp}, FN {counts.fn}) over "
        f"{total.images} images"
    )
    problems = [
        f"{absent} images have no file of {kind} lanes, which counts as no lanes"
        for kind, absent in (
            ("true", total.absent_truths),
            ("predicted", total.absent_predictions),
        )
        if absent
    ]
    notes = []
    if rules.image_size != culane_files.IMAGE_SIZE or rules.prediction_size:
        notes.append(
            f"taken as: truth on {size_text(rules.image_size)} images, predictions on "
            f"{size_text(rules.prediction_size or rules.image_size)} and scaled to those of "
            f"the truth, lanes {rules.width} pixels wide there (the benchmark: "
            f"{culane.LANE_WIDTH} on {size_text(culane_files.IMAGE_SIZE)})"
        )
    _print(problems, notes)
    if options.json:
        figures: dict[str, Any] = counts.as_dict()
        if options.categories:
            figures["categories"] = {
                name: result.counts.as_dict() for name, result in results.items()
            }
        files.write_json(options.json, figures)
    if options.report:
        truth, predictions = Path(options.truth), Path(options.predictions)
        about = _about(
            options,
            problems,
            notes,
            truth,
            lists=", ".join(map(str, lists.values())),
            matching="the best" if options.exact else "the official tool's",
        )
        benchmarks.write_culane_report(
            options.report, results, scored, rules, truth, predictions, about
        )
    return 0


def _category_table(results: dict[str, culane.Result]) -> str:
    """A row for each category; of crossroads, which have no lanes, the FP are the figure."""
    lines = [
        f"{'category':<10}{'images':>8}{'TP':>8}{'FP':>8}{'FN':>8}{'precision':>11}{'recall':>8}"
        f"{'F1':>8}{'ENet-SAD in the paper':>23}"
    ]
    for name, result in results.items():
        counts = result.counts
        shares = (counts.precision, counts.recall, counts.f1)
        figures = ["-", "-", "-"] if name == "cross" else [f"{100 * x:.2f}" for x in shares]
        paper = culane.PAPER.get(name)
        unit = "FP" if name == "cross" else "F1"
        beside = "-" if paper is None else f"{unit} {paper}"
        lines.append(
            f"{name:<10}{result.images:>8}{counts.tp:>8}{counts.fp:>8}{counts.fn:>8}"
            f"{figures[0]:>11}{figures[1]:>8}{figures[2]:>8}{beside:>23}"
        )
    return "\n".join(lines)


def _bdd100k(options: argparse.Namespace) -> int:
    check_outputs(options, [])
    scored: list[tuple[Path, bdd100k.Result]] = []

    def each(name: Path, result: bdd100k.Result) -> None:
        scored.append((name, result))

    with input_errors(), progress_bar(len(bdd100k_files.mask_names(options.truth))) as progress:
        result = bdd100k.evaluate(
            options.truth,
            options.predictions,
            jobs=options.jobs,
            progress=progress,
            each=each if options.report else None,
        )
    paper = bdd100k.PAPER
    print(
        f"accuracy {100 * result.accuracy:.2f} %, IoU {100 * result.iou:.2f} % over "
        f"{result.images} images (ENet-SAD in the paper: {100 * paper['accuracy']:.2f} %, "
        f"{100 * paper['iou']:.2f} %)"
    )
    problems, notes = [], []
    if result.absent:
        problems.append(f"{result.absent} true masks have no prediction, which counts as no lanes")
    if result.resized:
        notes.append(
            f"{result.resized} predictions were scaled to the size of their truth, nearest pixel"
        )
    _print(problems, notes)
    if options.json:
        files.write_json(options.json, {"accuracy": result.accuracy, "iou": result.iou})
    if options.report:
        about = _about(options, problems, notes, None)
        truth, predictions = Path(options.truth), Path(options.predictions)
        benchmarks.write_bdd100k_report(options.report, result, scored, truth, predictions, about)
    return 0
