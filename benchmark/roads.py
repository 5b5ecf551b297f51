"""Weights on real roads of many kinds, in one table: `python -m benchmark.roads WEIGHTS...`.

SET is a TuSimple label file, or a file `lanes.json` (docs/datasets.md), by default those of
`LANE_SAD_DATA` that are kept for validation. A TuSimple set gives the official accuracy, FP and FN.
A lanes file gives F1 by CULane's official rule: images are scaled to its width of 1640, lines drawn
30 wide and matched at an IoU of 0.5, and run straight on to the last row; with `--ends culane`, as
for the set of `LANE_SAD_DATA`, lanes are what `lane_sad detect culane:` writes. One image of that
set is left out, for the shipped weights have learnt from it. Where the images of a lanes file lie
in several folders, each folder is a category. A category without true lines gives the number of
false ones.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import torch
from tqdm import tqdm

import training
from lane_sad_ros.detection import Frame, LaneDetector
from lane_sad_ros.evaluation import tusimple
from lane_sad_ros.evaluation.culane import Counts
from lane_sad_ros.image_files import read_image
from training.datasets.polylines import Labels, PolylineImages
from training.datasets.tusimple import TuSimple
from training.validation import score_polylines, tusimple_records

DATA = Path(os.environ.get("LANE_SAD_DATA", "data"))
SETS = (
    DATA / "tusimple" / "label_data_0313_val.json",
    DATA / "tusimple" / "label_data_0601_val.json",
    DATA / "culane_val" / "lanes.json",
)

_LEARNT = Path(training.__file__).parent / "configs/shipped/lists/culane_val_learnt.txt"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmark.roads",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "weights",
        nargs="*",
        type=Path,
        default=[None],
        metavar="WEIGHTS",
        help="files (default: the shipped weights)",
    )
    parser.add_argument(
        "--set",
        nargs="+",
        type=Path,
        default=SETS,
        metavar="SET",
        dest="sets",
        help="files (default: those of LANE_SAD_DATA)",
    )
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)"
    )
    lists = parser.add_argument_group("of the lanes files")
    lists.add_argument("--include", nargs="+", type=Path, default=(), help="lists of images")
    lists.add_argument("--exclude", nargs="+", type=Path, default=(), help="lists of images")
    lists.add_argument("--ego-only", action="store_true", help="the ego lane alone is labelled")
    lists.add_argument(
        "--ends", default="labelled", help="see docs/datasets.md (default: %(default)s)"
    )
    lists.add_argument("--bottom", type=float, default=1.0, help="lines end at this share of rows")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    labels = Labels(
        tuple(options.include),
        tuple(options.exclude),
        ego_only=options.ego_only,
        ends=options.ends,
        bottom=options.bottom,
    )
    try:
        sets = [_open(path, labels) for path in options.sets]
        for weights in options.weights:
            detector = LaneDetector.from_weights(weights, device=options.device)
            print(detector.description["weights"], flush=True)
            for path, dataset in zip(options.sets, sets, strict=True):
                print(f"  {measure(detector, path, dataset)}", flush=True)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _open(path: Path, labels: Labels) -> PolylineImages | TuSimple:
    if path.name != "lanes.json":
        return TuSimple(path)
    if path in SETS:
        labels = dataclasses.replace(labels, ends="culane", exclude=(*labels.exclude, _LEARNT))
    return PolylineImages(path, labels=labels)


def measure(detector: LaneDetector, path: Path, dataset: PolylineImages | TuSimple) -> str:
    """The figures of a detector on a data set, for people; in one line."""
    began = time.monotonic()
    if isinstance(dataset, TuSimple):
        name, words = path.stem, _tusimple(detector, dataset)
    else:
        name, words = path.parent.name, _by_category(detector, dataset)
    return f"{name}: {words} ({len(dataset)} images, {time.monotonic() - began:.0f} s)"


def _tusimple(detector: LaneDetector, dataset: TuSimple) -> str:
    found = tqdm(tusimple_records(detector, dataset), total=len(dataset), disable=None, leave=False)
    results = [tusimple.score(*records) for records in found]
    accuracy, fp, fn = (sum(values) / len(results) for values in zip(*results, strict=True))
    return f"accuracy {100 * accuracy:.2f}, FP {fp:.3f}, FN {fn:.3f}"


def _by_category(detector: LaneDetector, dataset: PolylineImages) -> str:
    counts: dict[str, Counts] = defaultdict(lambda: Counts(0, 0, 0))
    for category, found in tqdm(
        _counts(detector, dataset), total=len(dataset), disable=None, leave=False
    ):
        counts[category] += found
    total = sum(counts.values(), Counts(0, 0, 0))
    words = f"F1 {100 * total.f1:.1f} ({total.in_words()})"
    if len(counts) > 1:
        words += ": " + ", ".join(f"{name} {_in_words(counts[name])}" for name in sorted(counts))
    return words


def _counts(detector: LaneDetector, dataset: PolylineImages) -> Iterator[tuple[str, Counts]]:
    for record in dataset.records:
        (found,) = detector.detect([Frame(read_image(dataset.root / record.image))])
        yield (
            PurePosixPath(record.image).parent.name,
            score_polylines(record, found.lanes, dataset.labels),
        )


def _in_words(counts: Counts) -> str:
    if counts.tp + counts.fn == 0:
        return f"{counts.fp} false"
    return f"{100 * counts.f1:.1f}"


if __name__ == "__main__":
    sys.exit(main())
