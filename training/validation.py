"""The official metric on a labelled set, through the same detector that users run."""

from __future__ import annotations

import copy
from pathlib import Path

import cv2
import numpy as np

from lane_sad_ros.detection import Frame, LaneDetector
from lane_sad_ros.evaluation.tusimple import read_records, score, to_record
from lane_sad_ros.lanes import LaneLayout
from lane_sad_ros.network.enet import ENetSAD


def tusimple_figures(network: ENetSAD, layout: LaneLayout, labels: Path) -> dict[str, float]:
    """Official TuSimple accuracy, fp and fn of a network on the frames of a label file.

    The images are found relative to the label file. The network is left as it is.
    """
    detector = LaneDetector(copy.deepcopy(network), layout, device="auto")
    results = []
    for truth in read_records(labels):
        image = cv2.imread(str(labels.parent / truth["raw_file"]), cv2.IMREAD_COLOR)
        if image is None:
            raise ValueError(f"{labels.parent / truth['raw_file']}: not a readable image")
        detection = detector.detect([Frame(np.asarray(image, np.uint8))])[0]
        record = to_record(detection.lanes, truth["raw_file"], truth["h_samples"], run_time_ms=1)
        results.append(score(truth, record))
    accuracy, fp, fn = np.mean(results, axis=0)
    return {"accuracy": float(accuracy), "fp": float(fp), "fn": float(fn), "images": len(results)}
