"""The command line, `lane_sad` or `python -m lane_sad_ros`. It needs no ROS.

Exit codes: 0 done; 1 a task failed, or a part of the input could not be used; 2 wrong use; 130
interrupted. What is wrong with an input is one line on the standard error output.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
from tqdm import tqdm

import lane_sad_ros
from lane_sad_ros import bags, outputs
from lane_sad_ros.drawing import draw_lanes
from lane_sad_ros.evaluation import bdd100k, culane, tusimple
from lane_sad_ros.evaluation.parallel import all_cores
from lane_sad_ros.lanes import LAYOUTS
from lane_sad_ros.sources import (
    IMAGE_RATE,
    IMAGE_SUFFIXES,
    FrameSource,
    SourceFrame,
    image_files,
    open_frames,
)

if TYPE_CHECKING:  # PyTorch takes seconds to import: only for the commands that compute
    from lane_sad_ros.detection import Detection, LaneDetector

Sink = Callable[[SourceFrame, "Detection"], None]
TOPICS = "/lane_detector"

_DESCRIPTION = """\
Find lanes in images, folders of images, videos and bags, without ROS; look at weights; score
predictions. Each command has its own --help.
"""
_EXAMPLES = """\
examples:
  lane_sad detect drive.mp4 --output out/        overlay video and lanes of a video
  lane_sad detect photos/ --output lanes.jsonl   lanes of a folder of images
  lane_sad detect drive.bag --output lanes.mcap  the node's topics for a recorded drive
  lane_sad weights show                          what the shipped weights are
"""
_DETECT = """\
INPUT is
  an image, a folder of images, or a video
  a bag                a rosbag1 .bag, a rosbag2 folder, .db3 or .mcap
  tusimple:ROOT:JSON   the images of a TuSimple label file JSON, below ROOT
  culane:ROOT:LIST     the images of a CULane list file LIST, below ROOT

The ending of OUT says what is written:
  a folder             lanes.jsonl and overlays: images for images, overlay.mp4 for a video or bag;
                       for culane:, a .lines.txt beside the place of each image
  .jsonl               lanes, one JSON object for each frame
  .mp4 .mkv .avi       overlays as a video
  .jpg .png ...        the overlay of one image
  .mcap .db3           a bag with the node's topics: lanes, existence, overlay/compressed
  .json                for tusimple:, predictions in the benchmark's format

A line of lanes.jsonl: {"frame": name, "stamp": seconds, "image_size": [width, height], "lanes":
[{"slot", "name", "exists", "probability", "points": [[u, v, score], ...]}, ...]}, every slot from
left to right, points in pixels of the original image from its bottom up.
"""


class CommandError(Exception):
    """A task that failed for a reason the user can mend; the text is one line."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; gives the exit code. Raises SystemExit(2) for wrong use."""
    # What OpenCV complains about is said in our own words.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except CommandError as error:
        return _failed(str(error))
    except BrokenPipeError:  # the reader of our output has enough, as in `lane_sad ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _failed(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt:
        print("lane_sad: interrupted", file=sys.stderr)
        return 130


def _failed(line: str) -> int:
    print(f"lane_sad: error: {line}", file=sys.stderr)
    return 1


@contextmanager
def _input_errors() -> Iterator[None]:
    """Errors that speak of the user's input: their text is all the user needs."""
    try:
        yield
    except ValueError as error:
        raise CommandError(str(error)) from error


# --- detect


def _detect(options: argparse.Namespace) -> int:
    bad: list[str] = []

    def on_bad(line: str) -> None:
        bad.append(line)
        tqdm.write(f"lane_sad: {line}", file=sys.stderr)

    with _input_errors():
        source, rows = _open_input(options, on_bad)
    _check_output(options, source)
    with _input_errors():
        detector = _detector(options)
    done, lanes, seconds, started = 0, 0, 0.0, time.monotonic()
    too_slow = 0
    with ExitStack() as stack:
        sinks = _sinks(options, source, rows, detector.layout.slots, stack)
        frames = tqdm(
            source, total=source.count, unit="frame", disable=options.quiet, file=sys.stderr
        )
        from lane_sad_ros.detection import Frame

        for frame in frames:
            try:
                (detection,) = detector.detect([Frame(frame.image, "bgr")])
            except ValueError as error:
                on_bad(f"{source.path}: {frame.name}: {error}")
                continue
            for sink in sinks:
                sink(frame, detection)
            done += 1
            lanes += len(detection.lanes.present)
            took = sum(detection.stages.values())
            seconds += took
            too_slow += 1000 * took > tusimple.RUN_TIME_LIMIT
        if not done:
            raise CommandError(f"{source.path}: no frame that could be used; nothing is written")
    span = time.monotonic() - started
    print(
        f"{done} frames, {lanes / done:.1f} lanes each, {1000 * seconds / done:.0f} ms a frame in "
        f"the detector, {done / span:.1f} frames/s in all -> {options.output}"
    )
    if rows and too_slow and options.run_time is None:
        print(
            f"lane_sad: {too_slow} images took longer than {tusimple.RUN_TIME_LIMIT:.0f} ms, which "
            "the official metric fails; --run-time MS writes another time",
            file=sys.stderr,
        )
    if bad:
        print(f"lane_sad: {len(bad)} problem(s) with the input, see above", file=sys.stderr)
    return 1 if bad else 0


def _open_input(
    options: argparse.Namespace, on_bad: Callable[[str], None]
) -> tuple[FrameSource, dict[str, list[float]]]:
    """The frames, and for TuSimple the rows wanted by name of the frame."""
    kind, _, rest = options.input.partition(":")
    if kind not in ("tusimple", "culane"):
        source = open_frames(options.input, topic=options.topic, rate=options.rate, on_bad=on_bad)
        return source, {}
    root, _, listing = rest.rpartition(":")
    if not root or not listing:
        form = "JSON" if kind == "tusimple" else "LIST"
        options.parser.error(f"{options.input}: this form of input is {kind}:ROOT:{form}")
    file = Path(listing)
    if not file.exists() and Path(root, listing).exists():
        file = Path(root, listing)
    if kind == "tusimple":
        rows = {record["raw_file"]: record["h_samples"] for record in _records(file)}
        names = list(rows)
    else:
        lines = file.read_text(encoding="utf-8").splitlines()
        names = [line.split()[0].lstrip("/") for line in lines if line.strip()]
        rows = {}
    if not names:
        raise CommandError(f"{file}: names no image")
    return image_files(Path(root), names, rate=options.rate, on_bad=on_bad), rows


def _records(file: Path) -> list[dict[str, Any]]:
    return tusimple.read_records(file, ("raw_file", "h_samples"))


def _detector(options: argparse.Namespace) -> LaneDetector:
    from lane_sad_ros.detection import LaneDetector

    detector = LaneDetector.from_weights(
        options.weights, device=options.device, engine=options.engine
    )
    thresholds = {
        name: value
        for name, value in (
            ("existence", options.existence_threshold),
            ("point", options.point_threshold),
        )
        if value is not None
    }
    if thresholds:
        detector.set_thresholds(**thresholds)
    return detector


def _check_output(options: argparse.Namespace, source: FrameSource) -> None:
    """Refuses, as wrong use, what cannot be written for this input."""
    output, error = Path(options.output), options.parser.error
    ending = _ending(output)
    known = ("", ".json", ".jsonl", *outputs.VIDEO_ENDINGS, *bags.STORAGE_ENDINGS, *IMAGE_SUFFIXES)
    if ending not in known:
        error(
            f"--output {output}: unknown ending {ending}; a folder, .jsonl, .mp4, .mcap, .db3, "
            "an image ending or, for tusimple:, .json is known"
        )
    if ending == ".json" and not options.input.startswith("tusimple:"):
        error(f"--output {output}: .json is for tusimple: input; lanes go to .jsonl")
    if ending in IMAGE_SUFFIXES and source.kind != "image":
        error(f"--output {output}: one image cannot hold a {source.kind}; name a folder or a video")
    if ending != "" and output.is_dir():
        error(f"--output {output}: a folder is in the way")
    if ending == "" and output.exists() and not output.is_dir():
        error(f"--output {output}: a file is in the way of this folder")
    folder = source.path if source.kind == "folder" else source.path.parent
    if output.resolve() == source.path.resolve() or (
        ending == "" and source.kind in ("folder", "image") and output.resolve() == folder.resolve()
    ):
        error(f"--output {output}: this would replace the input")


def _ending(output: Path) -> str:
    return "" if output.is_dir() else output.suffix.lower()


def _sinks(
    options: argparse.Namespace,
    source: FrameSource,
    rows: dict[str, list[float]],
    slots: Sequence[str],
    stack: ExitStack,
) -> list[Sink]:
    """What to do with each detection; files are closed, and appear, with the stack."""
    output = Path(options.output)
    ending = _ending(output)
    if ending == ".jsonl":
        return [_lines(output, slots, stack)]
    if ending == ".json":
        return [_tusimple(output, rows, options.run_time, stack)]
    if ending in outputs.VIDEO_ENDINGS:
        return [_video(output, source.rate, options.browser_video, stack)]
    if ending in bags.STORAGE_ENDINGS:
        return [_bag(output, slots, stack)]
    if ending in IMAGE_SUFFIXES:
        return [lambda frame, detection: outputs.write_image(output, _overlay(frame, detection))]
    if options.input.startswith("culane:"):
        return [lambda frame, detection: _culane(output, frame, detection)]
    lines = _lines(output / "lanes.jsonl", slots, stack)
    if source.kind in ("video", "bag"):
        return [
            lines,
            _video(output / "overlay.mp4", source.rate, options.browser_video, stack),
        ]
    return [
        lines,
        lambda frame, detection: outputs.write_image(
            output / frame.name, _overlay(frame, detection)
        ),
    ]


def _overlay(frame: SourceFrame, detection: Detection) -> outputs.Image:
    return draw_lanes(frame.image, detection.lanes)


def _lines(path: Path, slots: Sequence[str], stack: ExitStack) -> Sink:
    add = stack.enter_context(outputs.writing_lines(path))
    return lambda frame, detection: add(
        outputs.lane_record(frame.name, frame.stamp, detection.lanes, slots)
    )


def _video(path: Path, rate: float, for_browsers: bool, stack: ExitStack) -> Sink:
    add = stack.enter_context(outputs.writing_video(path, rate, for_browsers=for_browsers))
    return lambda frame, detection: add(_overlay(frame, detection))


def _bag(path: Path, slots: Sequence[str], stack: ExitStack) -> Sink:
    bag = stack.enter_context(bags.writing_bag(path))

    def sink(frame: SourceFrame, detection: Detection) -> None:
        header = bags.header(frame.stamp_ns, frame.frame_id)
        messages = {
            "lanes": bags.lane_array(detection.lanes, slots, header),
            "existence": bags.lane_existence(detection.lanes, header),
            "overlay/compressed": bags.jpeg(_overlay(frame, detection), header),
        }
        for topic, message in messages.items():
            bag.write(f"{TOPICS}/{topic}", message, frame.stamp_ns)

    return sink


def _tusimple(
    path: Path, rows: dict[str, list[float]], run_time: float | None, stack: ExitStack
) -> Sink:
    add = stack.enter_context(outputs.writing_lines(path))

    def sink(frame: SourceFrame, detection: Detection) -> None:
        took = 1000 * sum(detection.stages.values()) if run_time is None else run_time
        add(tusimple.to_record(detection.lanes, frame.name, rows[frame.name], took))

    return sink


def _culane(folder: Path, frame: SourceFrame, detection: Detection) -> None:
    path = folder / Path(frame.name).with_suffix(".lines.txt")
    culane.write_lanes(path, detection.lanes)


# --- weights


def _weights_show(options: argparse.Namespace) -> int:
    from lane_sad_ros.network import weights

    with _input_errors():
        path = options.file or weights.default_weights_path()
        network, layout, metadata = weights.load(path)
    built = [
        f"{name} {'yes' if value else 'no'}"
        for name, value in metadata["network"].items()
        if name != "arch"
    ]
    lines = {
        "file": f"{path} ({Path(path).stat().st_size / 1e6:.2f} MB, format {metadata['format']})",
        "network": f"{network.arch} ({', '.join(built)}), "
        f"{sum(parameter.numel() for parameter in network.parameters()):,} parameters",
        "layout": f"{layout.name}: {', '.join(layout.slots)}",
        "camera": f"{_size(layout.image_size)}, crop {layout.crop} (left, top, right, bottom)",
        "network input": f"{_size(layout.input_size)}, RGB mean {layout.mean}, std {layout.std}",
        "decoding": f"rows {layout.decoding.rows} (start, stop, step), smoothing "
        f"{layout.decoding.smoothing}, point threshold {layout.decoding.point_threshold}, "
        f"existence threshold {layout.decoding.existence_threshold}",
        "training": metadata["training"] or "not told",
        "figures": metadata["figures"] or "none measured",
    }
    for name, value in lines.items():
        _show(name, value, 0)
    return 0


def _show(name: str, value: Any, depth: int) -> None:
    label = f"{'  ' * depth}{name}:"
    if isinstance(value, dict):
        print(label)
        for key, entry in value.items():
            _show(key, entry, depth + 1)
    else:
        print(f"{label:<15} {value}")


def _weights_import(options: argparse.Namespace) -> int:
    from lane_sad_ros.network import weights

    with _input_errors():
        network, layout = weights.import_checkpoint(
            options.file, options.input_size, LAYOUTS[options.layout]
        )
        training = {"imported from": f"{Path(options.file).name}, ENet-SAD_Pytorch"}
        Path(options.out).parent.mkdir(parents=True, exist_ok=True)
        weights.save_network(options.out, network, layout, training, {})
    print(f"{len(layout.slots)} lanes at {_size(layout.input_size)} -> {options.out}")
    return 0


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


# --- evaluate


def _evaluate_tusimple(options: argparse.Namespace) -> int:
    truth_size, prediction_size = options.image_size, options.prediction_size
    with _input_errors():
        result = tusimple.evaluate(
            options.truth,
            options.predictions,
            image_size=truth_size,
            prediction_size=prediction_size,
            absent_as_empty=options.absent_as_empty,
        )
    print(
        f"accuracy {100 * result.accuracy:.2f} %, FP {result.fp:.4f}, FN {result.fn:.4f} "
        f"over {result.images} images"
    )
    if result.absent:
        print(
            f"{result.absent} images have no prediction and count as ones without lanes; the "
            "official script refuses such a file"
        )
    if truth_size or prediction_size:
        truth_size = truth_size or tusimple.IMAGE_SIZE
        print(
            f"taken as: truth on {_size(truth_size)} images, predictions on "
            f"{_size(prediction_size or truth_size)}; both scaled to {_size(tusimple.IMAGE_SIZE)}, "
            f"where the tolerance is {tusimple.TOLERANCE:.0f} pixels"
        )
    if options.json:
        figures = {"accuracy": result.accuracy, "fp": result.fp, "fn": result.fn}
        outputs.write_json(options.json, figures)
    return 0


def _evaluate_culane(options: argparse.Namespace) -> int:
    rules = culane.Rules(
        image_size=options.image_size,
        width=options.width,
        iou=options.iou,
        tolerance=culane.TOLERANCE_EXACT if options.exact else culane.TOLERANCE_OFFICIAL,
        prediction_size=options.prediction_size,
    )
    with _input_errors():
        lists: dict[str, Path] = (
            culane.category_lists(options.categories) if options.categories else {"": options.list}
        )
        images = sum(1 for path in lists.values() for _ in culane.image_names(path))
        with _progress(images) as progress:
            results = culane.evaluate_categories(
                options.truth,
                options.predictions,
                lists,
                rules,
                jobs=options.jobs,
                progress=progress,
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
    for kind, absent in (("true", total.absent_truths), ("predicted", total.absent_predictions)):
        if absent:
            print(f"{absent} images have no file of {kind} lanes, which counts as no lanes")
    if rules.image_size != culane.IMAGE_SIZE or rules.prediction_size:
        print(
            f"taken as: truth on {_size(rules.image_size)} images, predictions on "
            f"{_size(rules.prediction_size or rules.image_size)} and scaled to those of the truth, "
            f"lanes {rules.width} pixels wide there (the benchmark: {culane.LANE_WIDTH} on "
            f"{_size(culane.IMAGE_SIZE)})"
        )
    if options.json:
        figures = _culane_figures(counts)
        if options.categories:
            figures["categories"] = {
                name: _culane_figures(result.counts) for name, result in results.items()
            }
        outputs.write_json(options.json, figures)
    return 0


def _culane_figures(counts: culane.Counts) -> dict[str, Any]:
    return {
        **dataclasses.asdict(counts),
        "precision": counts.precision,
        "recall": counts.recall,
        "f1": counts.f1,
    }


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


def _evaluate_bdd100k(options: argparse.Namespace) -> int:
    with _input_errors(), _progress(len(bdd100k.mask_names(options.truth))) as progress:
        result = bdd100k.evaluate(
            options.truth, options.predictions, jobs=options.jobs, progress=progress
        )
    print(
        f"accuracy {100 * result.accuracy:.2f} %, IoU {100 * result.iou:.2f} % over "
        f"{result.images} images (ENet-SAD in the paper: 36.56 %, 16.02 %)"
    )
    if result.absent:
        print(f"{result.absent} true masks have no prediction, which counts as no lanes")
    if result.resized:
        print(f"{result.resized} predictions were scaled to the size of their truth, nearest pixel")
    if options.json:
        outputs.write_json(options.json, {"accuracy": result.accuracy, "iou": result.iou})
    return 0


@contextmanager
def _progress(images: int) -> Iterator[Callable[[int], object]]:
    """A bar on a terminal, nothing elsewhere."""
    with tqdm(total=images, unit="image", file=sys.stderr, disable=None, leave=False) as bar:
        yield bar.update


# --- the parser


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lane_sad",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=lane_sad_ros.__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_detect(commands)

    group = commands.add_parser("weights", help="look at weights, import those of others")
    actions = group.add_subparsers(title="actions", required=True, metavar="ACTION")
    show = actions.add_parser("show", help="what a weights file says of itself")
    show.add_argument("file", nargs="?", metavar="FILE", help="default: the shipped weights")
    show.set_defaults(run=_weights_show)
    convert = actions.add_parser(
        "import",
        help="make a weights file of a checkpoint of ENet-SAD_Pytorch",
        description="Makes a weights file of a PyTorch checkpoint of ENet-SAD_Pytorch, whose "
        "network then gives the same output.",
        epilog="example: lane_sad weights import exp10_best.pth mine.safetensors "
        "--input-size 800x288",
    )
    convert.add_argument("file", metavar="FILE", help="its checkpoint or state_dict (.pth)")
    convert.add_argument("out", metavar="OUT", help="weights file to write (.safetensors)")
    convert.add_argument(
        "--input-size",
        type=parse_size,
        required=True,
        metavar="WxH",
        help="network input it was trained at, for example 800x288 (CULane), 640x368 (TuSimple)",
    )
    convert.add_argument(
        "--layout",
        choices=sorted(LAYOUTS),
        default="culane",
        help="camera and decoding to use it with (default: %(default)s)",
    )
    convert.set_defaults(run=_weights_import)

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
    _add_json(score)
    score.set_defaults(run=_evaluate_tusimple)
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
        type=_count,
        default=culane.LANE_WIDTH,
        metavar="PX",
        help="of the drawn lanes, pixels (default: %(default)s)",
    )
    score.add_argument(
        "--iou",
        type=_share,
        default=culane.IOU_THRESHOLD,
        help="what a match must exceed (default: %(default)s)",
    )
    _add_image_size(score, "1640x590", culane.IMAGE_SIZE)
    _add_prediction_size(score)
    score.add_argument(
        "--exact",
        action="store_true",
        help="match lanes in the best way; the official tool lets their order decide where IoUs "
        "are within 0.01",
    )
    _add_jobs(score)
    _add_json(score)
    score.set_defaults(run=_evaluate_culane)
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
    _add_json(score)
    score.set_defaults(run=_evaluate_bdd100k)
    return parser


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
        type=_count,
        default=all_cores(),
        metavar="N",
        help="processes; the figures do not depend on it (default: all cores, here %(default)s)",
    )


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", metavar="OUT", help="also write the figures to this file")


def _add_detect(commands: Any) -> None:
    parser = commands.add_parser(
        "detect",
        help="find lanes in images, videos, bags and data sets",
        description=_DETECT,
        epilog="example: lane_sad detect drive.mp4 --output out/ --device cpu",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("input", metavar="INPUT")
    parser.add_argument("--output", required=True, metavar="OUT", help="file or folder to write")
    parser.add_argument("--weights", metavar="FILE", help="default: the shipped weights")
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda, cuda:1 ... (default: %(default)s)"
    )
    parser.add_argument("--engine", default="eager", help="how to compute (default: %(default)s)")
    parser.add_argument("--topic", help="image topic of a bag that has several")
    parser.add_argument(
        "--rate",
        type=_positive,
        default=IMAGE_RATE,
        metavar="HZ",
        help="for the stamps of a folder's images (default: %(default)g)",
    )
    for name in ("existence", "point"):
        parser.add_argument(
            f"--{name}-threshold",
            type=_share,
            metavar="P",
            help=f"{name} threshold in [0, 1] instead of that of the weights",
        )
    parser.add_argument(
        "--browser-video",
        action="store_true",
        help="write VP9, which browsers play but takes much longer to write, instead of MPEG-4 "
        "part 2, which players play",
    )
    parser.add_argument(
        "--run-time",
        type=_positive,
        metavar="MS",
        help="for tusimple: predictions, instead of the measured run time",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=_detect, parser=parser)


def parse_size(text: str) -> tuple[int, int]:
    with contextlib.suppress(ValueError):
        width, height = (int(side) for side in text.split("x"))
        if width > 0 and height > 0:
            return width, height
    raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT in pixels, such as 800x288")


def _count(text: str) -> int:
    with contextlib.suppress(ValueError):
        if int(text) > 0:
            return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")


def _positive(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < float(text) < float("inf"):
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")


def _share(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= float(text) <= 1:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number in [0, 1]")
