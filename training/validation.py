"""The official metric of a data set, through the same detector that users run."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from lane_sad_ros.detection import Detection, Frame, LaneDetector, segmentation_to_image
from lane_sad_ros.evaluation import bdd100k, culane, tusimple
from lane_sad_ros.formats import culane as culane_files
from lane_sad_ros.formats import tusimple as tusimple_files
from lane_sad_ros.formats.ends import continued_to, cut_below
from lane_sad_ros.formats.polylines import Polylines
from lane_sad_ros.image_files import read_image
from lane_sad_ros.lanes import LaneLayout, Lanes

from .datasets import LabelledDataset
from .datasets.bdd100k import BDD100K, truth
from .datasets.culane import CULane
from .datasets.labelled import scaled
from .datasets.negatives import Negatives
from .datasets.polylines import Labels, PolylineImages, with_ends
from .datasets.tusimple import TuSimple

# Frames that are read ahead and go through the network together.
_BATCH = 8


def check_measurable(dataset: LabelledDataset) -> None:
    """Raises ValueError for a data set that has no official metric, or not what it needs."""
    if not isinstance(dataset, (TuSimple, CULane, BDD100K, PolylineImages, Negatives)):
        raise ValueError(f"{dataset.description}: there is no official metric for such a set")
    if isinstance(dataset, CULane) and all(item.lines is None for item in dataset.items):
        raise ValueError(
            f"{dataset.root}: none of the {len(dataset)} images has a .lines.txt beside it, which "
            "the official metric needs; masks are for training"
        )


def validate(
    network: nn.Module,
    layout: LaneLayout,
    dataset: LabelledDataset,
    device: str = "auto",
    check: Callable[[], None] | None = None,
) -> dict[str, float]:
    """The official figures of a network on all images of a data set, at their full size.

    dataset: of `open_dataset`; its slots need not be those of the layout. The network is left as
    it is. check: called before each batch of images; what it raises ends the validation.
    Besides "images", their number, the figures are
    - TuSimple: "accuracy", "fp", "fn";
    - CULane: "f1", "precision", "recall", "tp", "fp", "fn" over all images of the list;
    - lanes: the same by CULane's rule on images scaled to its width, see `score_polylines`;
    - BDD100K: "accuracy", "iou" of lane pixels;
    - negatives: "false_images", the share of images with a lane, and "false_lanes" per image.
    """
    check_measurable(dataset)
    network = copy.deepcopy(network)
    if check is not None:
        network.register_forward_pre_hook(lambda _network, _inputs: check())
    detector = LaneDetector(network, layout, device=device)
    if isinstance(dataset, TuSimple):
        found = _tusimple(detector, dataset)
    elif isinstance(dataset, CULane):
        found = _culane(detector, dataset)
    elif isinstance(dataset, BDD100K):
        found = _bdd100k(detector, dataset)
    elif isinstance(dataset, PolylineImages):
        found = _polylines(detector, dataset)
    else:
        assert isinstance(dataset, Negatives)
        found = _negatives(detector, dataset)
    return found | {"images": len(dataset)}


def merit(figures: Mapping[str, Mapping[str, float]]) -> float | None:
    """One number to choose between checkpoints by; None without figures to take it from.

    The mean over the validation sets of F1 (CULane, lanes), IoU (BDD100K) or accuracy (TuSimple).
    """
    found = [
        next((of[key] for key in ("f1", "iou", "accuracy") if key in of), None)
        for of in figures.values()
    ]
    known = [value for value in found if value is not None]
    return float(np.mean(known)) if known else None


def _tusimple(detector: LaneDetector, dataset: TuSimple) -> dict[str, float]:
    results = [tusimple.score(*records) for records in tusimple_records(detector, dataset)]
    accuracy, fp, fn = np.mean(results, axis=0)
    return {"accuracy": float(accuracy), "fp": float(fp), "fn": float(fn)}


def tusimple_records(
    detector: LaneDetector, dataset: TuSimple
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The record of the labels and that of the prediction, for each image."""
    found = detections(detector, [image for image, _ in dataset.records])
    for (_, record), one in zip(dataset.records, found, strict=True):
        name, rows = record["raw_file"], record["h_samples"]
        yield record, tusimple_files.to_record(one.lanes, name, rows, run_time_ms=1)


def _culane(detector: LaneDetector, dataset: CULane) -> dict[str, float]:
    counts = culane.Counts(0, 0, 0)
    images = [dataset.root / item.image for item in dataset.items]
    for item, detection in zip(dataset.items, detections(detector, images), strict=True):
        counts += culane.score(dataset.true_lanes(item), culane_files.official(detection.lanes))
    return counts.as_dict()


def _polylines(detector: LaneDetector, dataset: PolylineImages) -> dict[str, float]:
    """CULane's rule on images scaled to the width of CULane's, lines running to one bottom row."""
    counts = culane.Counts(0, 0, 0)
    images = [dataset.root / record.image for record in dataset.records]
    for record, detection in zip(dataset.records, detections(detector, images), strict=True):
        counts += score_polylines(record, detection.lanes, dataset.labels)
    return counts.as_dict()


def score_polylines(record: Polylines, found: Lanes, labels: Labels) -> culane.Counts:
    """Counts of one image of a lanes file by CULane's rule, see `validate`."""
    if labels.ego_only:
        middle = len(found) // 2
        ego = (middle - 1, middle)
        found = Lanes(found.image_size, tuple(lane for lane in found if lane.slot in ego))
    width, height = culane_files.IMAGE_SIZE[0], record.size[1]
    size = (width, round(height * width / record.size[0]))
    bottom = record.size[1] * labels.bottom
    truth = [continued_to(lane, bottom) for lane in with_ends(record, labels)]
    if labels.ends == "culane":
        lanes = culane_files.official(found)
    else:
        seen = [lane.points[:, :2] for lane in found if len(lane.points) > 1]
        lanes = [continued_to(lane, bottom) for lane in seen]
    factors = np.divide(size, record.size)
    return culane.score(
        [scaled(lane, factors) for lane in truth],
        [scaled(cut_below(lane, bottom), factors) for lane in lanes],
        culane.Rules(image_size=size),
    )


def _bdd100k(detector: LaneDetector, dataset: BDD100K) -> dict[str, float]:
    results = []
    images = [item.image for item in dataset.items]
    for item, detection in zip(
        dataset.items, detections(detector, images, segmentation=True), strict=True
    ):
        assert detection.segmentation is not None
        size = detection.lanes.image_size
        lanes = segmentation_to_image(detection.segmentation, detector.layout, size)
        results.append(bdd100k.score(truth(item, size), lanes))
    accuracy, iou = np.mean(results, axis=0)
    return {"accuracy": float(accuracy), "iou": float(iou)}


def _negatives(detector: LaneDetector, dataset: Negatives) -> dict[str, float]:
    lanes = [len(found.lanes.present) for found in detections(detector, dataset.images)]
    return {
        "false_images": float(np.mean([count > 0 for count in lanes])),
        "false_lanes": float(np.mean(lanes)),
    }


def detections(
    detector: LaneDetector, images: Sequence[Path], **options: Any
) -> Iterator[Detection]:
    """What is found in each image, in order; files are read while the network is busy."""
    parts = [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]
    with ThreadPoolExecutor(2) as pool:
        ahead = [pool.submit(_read, part) for part in parts[:2]]
        for index in range(len(parts)):
            frames = ahead.pop(0).result()
            if index + 2 < len(parts):
                ahead.append(pool.submit(_read, parts[index + 2]))
            yield from detector.detect(frames, **options)


def _read(images: Sequence[Path]) -> list[Frame]:
    return [Frame(read_image(image)) for image in images]
