"""From a run to the paper's row: the official list, files and metric, and the paper's figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lane_sad_ros.cores import all_cores
from lane_sad_ros.detection import LaneDetector, segmentation_to_image
from lane_sad_ros.evaluation import bdd100k, culane, tusimple
from lane_sad_ros.files import below, write_json
from lane_sad_ros.formats import culane as culane_files
from lane_sad_ros.formats import tusimple as tusimple_files
from lane_sad_ros.image_files import write_image

from .config import Source, read_config
from .datasets.bdd100k import BDD100K, write_truth
from .datasets.culane import CULane
from .datasets.tusimple import TuSimple
from .validation import detections, tusimple_records

# The paper's figures of BDD100K are of its validation set; the test set's labels are not public.
_SPLITS = {"tusimple": "test", "culane": "test", "bdd100k": "val"}


@dataclass(frozen=True)
class Row:
    """A figure beside that of ENet-SAD in the paper; None where the paper has none."""

    name: str
    here: float
    paper: float | None


def score_run(
    run: Path, output: Path, folder: Path | None = None, best: bool = False, device: str = "auto"
) -> list[Row]:
    """Predict the official test set of a run's benchmark and score it.

    run: its folder. output: gets the official files of predictions and figures.json. folder: of the
    official data set, by default the one the run was trained on. best: take the weights with the
    best validation figures instead of the last. Rows are percent, but for TuSimple's FP and FN
    (shares) and CULane's crossroads (a count of FP).
    Raises FileNotFoundError or ValueError that name what is missing.
    """
    sources = [source for source in read_config(run / "config.yaml").data if source.split]
    if not sources:
        raise ValueError(f"{run}: was not trained on an official data set, so it has no row")
    kind, path = sources[0].kind, folder or sources[0].path
    dataset = Source(path, kind, _SPLITS[kind]).open()
    weights = run / ("best.safetensors" if best else "weights.safetensors")
    detector = LaneDetector.from_weights(weights, device=device)
    if isinstance(dataset, CULane):
        rows = _culane(detector, dataset, path, output)
    elif isinstance(dataset, BDD100K):
        rows = _bdd100k(detector, dataset, output)
    else:
        assert isinstance(dataset, TuSimple)
        rows = _tusimple(detector, dataset, path, output)
    write_json(output / "figures.json", {row.name: row.here for row in rows})
    return rows


def table(rows: Sequence[Row]) -> str:
    """Rows as text, a line each."""
    lines = [f"{'':<12}{'here':>10}{'paper':>10}"]
    for row in rows:
        paper = "-" if row.paper is None else f"{row.paper:.2f}"
        lines.append(f"{row.name:<12}{row.here:>10.2f}{paper:>10}")
    return "\n".join(lines)


def _jobs(dataset: CULane | BDD100K) -> int:
    """Processes to score with; starting them takes longer than a few images."""
    return all_cores() if len(dataset) > 500 else 1


def _tusimple(detector: LaneDetector, dataset: TuSimple, path: Path, output: Path) -> list[Row]:
    predictions = output / "predictions.json"
    found = (prediction for _, prediction in tusimple_records(detector, dataset))
    tusimple_files.write_predictions(predictions, found)
    here, paper = tusimple.evaluate(path / "test_label.json", predictions), tusimple.PAPER
    return [
        Row("accuracy", 100 * here.accuracy, 100 * paper.accuracy),
        Row("FP", here.fp, paper.fp),
        Row("FN", here.fn, paper.fn),
    ]


def _culane(detector: LaneDetector, dataset: CULane, path: Path, output: Path) -> list[Row]:
    images = [dataset.root / item.image for item in dataset.items]
    for item, found in zip(dataset.items, detections(detector, images), strict=True):
        culane_files.write_lanes(below(output, culane_files.lines_file(item.image)), found.lanes)
    lists = culane_files.category_lists([path / "list" / "test_split"])
    results = culane.evaluate_categories(dataset.root, output, lists, jobs=_jobs(dataset))
    results["total"] = sum(results.values(), culane.Result())
    return [
        Row(
            name,
            result.counts.fp if name == "cross" else 100 * result.counts.f1,
            culane.PAPER.get(name),
        )
        for name, result in results.items()
    ]


def _bdd100k(detector: LaneDetector, dataset: BDD100K, output: Path) -> list[Row]:
    write_truth(dataset, output / "truth")
    images = [item.image for item in dataset.items]
    for image, found in zip(images, detections(detector, images, segmentation=True), strict=True):
        assert found.segmentation is not None
        lanes = segmentation_to_image(found.segmentation, detector.layout, found.lanes.image_size)
        write_image(output / "masks" / f"{image.stem}.png", lanes)
    here = bdd100k.evaluate(output / "truth", output / "masks", jobs=_jobs(dataset))
    return [
        Row("accuracy", 100 * here.accuracy, 100 * bdd100k.PAPER["accuracy"]),
        Row("IoU", 100 * here.iou, 100 * bdd100k.PAPER["iou"]),
    ]
