"""Whether every engine finds the lanes that eager finds: on a labelled set, a drive, a folder.

For each engine: the share of slots whose flags are eager's, the 99th percentile of the distance of
points in the same row, and the official TuSimple accuracy beside eager's.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from lane_sad_ros.arguments import add_weights
from lane_sad_ros.detection import ENGINES, EngineError, Frame, LaneDetector
from lane_sad_ros.detection.agreement import FLAGS, Agreement
from lane_sad_ros.evaluation import tusimple as metric
from lane_sad_ros.files import write_json
from lane_sad_ros.formats import tusimple
from lane_sad_ros.image_files import read_image
from lane_sad_ros.recordings.sources import open_frames

_ACCURACY = 0.001  # that an engine may lose


def main() -> None:
    options = _parser().parse_args()
    detectors = _detectors(options)
    agreements = {name: Agreement() for name in detectors}
    accuracies = _labelled(options.tusimple, detectors, agreements) if options.tusimple else {}
    for path in options.frames:
        for image in open_frames(path):
            _compare(detectors, agreements, Frame(image.image))
    rows = [_row(name, agreements[name], accuracies) for name in detectors]
    print("| engine | flags equal | points, px (99 %) | TuSimple accuracy | within its bound |")
    print("|---|---|---|---|---|")
    for row in rows:
        accuracy = f"{row['accuracy']:.2%}" if "accuracy" in row else "–"
        within = "yes" if row["within"] else "no"
        print(
            f"| `{row['engine']}` | {row['flags_equal']:.2%} | {row['pixels_99']:.3f} | "
            f"{accuracy} | {within} |"
        )
    if options.json:
        write_json(options.json, rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmark.same_lanes", description=__doc__)
    parser.add_argument("frames", nargs="*", help="folders, videos or bags without labels")
    parser.add_argument("--tusimple", type=Path, metavar="JSON", help="labels beside their clips/")
    parser.add_argument("--engine", action="append", choices=list(ENGINES), metavar="NAME")
    parser.add_argument("--int8", type=Path, help="weights of `lane_sad weights quantise`")
    parser.add_argument("--json", type=Path, metavar="OUT")
    add_weights(parser)
    return parser


def _detectors(options: argparse.Namespace) -> dict[str, LaneDetector]:
    """Eager first, and those that run here."""
    names = ["eager", *(name for name in options.engine or ENGINES if name != "eager")]
    detectors = {}
    for name in names:
        try:
            detectors[name] = LaneDetector.from_weights(
                options.weights, device=options.device, engine=name
            )
        except EngineError as error:
            print(f"left out: {error}")
    if options.int8:
        detectors["int8"] = LaneDetector.from_weights(options.int8, device="cpu", engine="openvino")
    return detectors


def _compare(
    detectors: dict[str, LaneDetector], agreements: dict[str, Agreement], frame: Frame
) -> dict[str, Any]:
    found = {name: detector(frame) for name, detector in detectors.items()}
    for name, agreement in agreements.items():
        agreement.add(found["eager"], found[name])
    return found


def _labelled(
    labels: Path, detectors: dict[str, LaneDetector], agreements: dict[str, Agreement]
) -> dict[str, float]:
    """The official accuracy of each."""
    records: dict[str, list[dict[str, Any]]] = {name: [] for name in detectors}
    for truth in tusimple.read_records(labels):
        frame = Frame(read_image(labels.parent / truth["raw_file"]))
        for name, lanes in _compare(detectors, agreements, frame).items():
            rows = truth["h_samples"]
            records[name].append(tusimple.to_record(lanes, truth["raw_file"], rows, 0.0))
    accuracies = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, found in records.items():
            predictions = Path(folder, f"{name}.json")
            tusimple.write_predictions(predictions, found)
            accuracies[name] = metric.evaluate(labels, predictions).accuracy
    return accuracies


def _row(name: str, agreement: Agreement, accuracies: dict[str, float]) -> dict[str, Any]:
    bound = (ENGINES[name].bound or 0.5) if name in ENGINES else 1.0
    row: dict[str, Any] = {
        "engine": name,
        "flags_equal": agreement.flags,
        "pixels_99": agreement.pixels(),
        "within": agreement.flags >= FLAGS and agreement.pixels() <= bound,
    }
    if accuracies:
        row["accuracy"] = accuracies[name]
        row["within"] &= accuracies[name] >= accuracies["eager"] - _ACCURACY
    return row


if __name__ == "__main__":
    main()
