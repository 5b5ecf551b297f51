"""`lane_sad benchmark`: how fast each engine is on this machine, and whether it finds the same."""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lane_sad_ros.arguments import add_weights, count, positive
from lane_sad_ros.cli.common import CommandError, input_errors
from lane_sad_ros.files import replacing, write_json
from lane_sad_ros.names import AUTO, ENGINES

if TYPE_CHECKING:
    from lane_sad_ros.detection import Frame, LaneDetector

_STAGES = ("preprocess", "network", "decode")
_LIVE = ("engine", "sent", "answered", "median ms", "90 % ms", "CPU ms", "MB")
_COLUMNS = ("engine", "batch", *_STAGES, "total ms", "10-90 %", "CPU ms", "images/s", "of eager")


def add_parser(commands: Any) -> None:
    """Adds the command to a parser's `commands`."""
    parser = commands.add_parser(
        "benchmark",
        help="how fast each engine is on this machine",
        description="Measures from an image in memory to lanes, stage by stage. The engines take "
        "turns, so that other programs slow them down alike; it prints medians, with the 10th and "
        "90th percentile. With several images it also tells how far the lanes are from eager's.",
        epilog="example: lane_sad benchmark --engine eager --engine openvino --batch 1 --batch 4",
    )
    add_weights(parser)
    parser.add_argument(
        "--engine",
        action="append",
        choices=list(ENGINES),
        metavar="NAME",
        help="may be repeated (default: eager and all others that run here but compiled)",
    )
    parser.add_argument(
        "--batch",
        action="append",
        type=count,
        metavar="N",
        help="images at once; may be repeated (default: 1)",
    )
    parser.add_argument(
        "--threads",
        type=count,
        default=0,
        metavar="N",
        help="CPU threads (default: the engine decides)",
    )
    parser.add_argument(
        "--input",
        metavar="INPUT",
        help="image, folder, video or bag (default: a rendered road, 1280x720)",
    )
    parser.add_argument("--limit", type=count, default=100, help="images (default: %(default)s)")
    parser.add_argument("--repeats", type=count, default=50, help="turns (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write all figures")
    parser.add_argument("--plot", type=Path, metavar="OUT.png", help="draw them (needs matplotlib)")
    parser.add_argument(
        "--live",
        type=positive,
        metavar="HZ",
        help="start the node instead and send it the rendered road so often, through DDS: from "
        "publishing to lanes, images without an answer, CPU time of an image, peak memory (needs "
        "ROS 2)",
    )
    parser.add_argument(
        "--seconds", type=positive, default=20.0, help="of --live (default: %(default)g)"
    )
    parser.set_defaults(run=_run, parser=parser)


def _run(options: argparse.Namespace) -> int:
    if options.live:
        return _run_live(options)
    from lane_sad_ros.evaluation import speed

    with input_errors():
        frames = _frames(options)
        detectors = _detectors(options)
    figures: list[dict[str, Any]] = []
    for batch in options.batch or [1]:
        images = list(itertools.islice(itertools.cycle(frames), batch))
        contenders = [speed.contender(name, one, images) for name, one in detectors.items()]
        turns = speed.interleaved(contenders, options.repeats)
        for name in detectors:
            entry = {"engine": name, "batch": batch, **speed.summary(turns[name], batch)}
            if "eager" in turns:
                entry["of_eager"] = speed.ratio(turns[name], turns["eager"])
            figures.append(entry)
    result = {
        "machine": speed.machine(),
        "threads": options.threads,
        "input": options.input or "rendered road",
        "network": detectors[next(iter(detectors))].description,
        "speed": figures,
        "lanes": _agreements(detectors, frames),
    }
    print(_text(result))
    if options.json:
        write_json(options.json, result)
    if options.plot:
        _plot(options.plot, result)
    return 0


def _run_live(options: argparse.Namespace) -> int:
    """Measures the node with one engine after the other."""
    if options.plot or options.input or options.batch:
        options.parser.error("--live goes with neither --plot, --input nor --batch")
    if importlib.util.find_spec("rclpy") is None:
        raise CommandError("--live starts the node, which needs ROS 2 (rclpy); source its setup")
    figures = {name: _live(options, name) for name in options.engine or [AUTO]}
    rows = [_LIVE, *(_live_row(name, found) for name, found in figures.items())]
    print(_table(rows))
    if options.json:
        write_json(options.json, figures)
    return 0


def _live(options: argparse.Namespace, engine: str) -> dict[str, Any]:
    """What `ros.live` finds; a process of its own, as the commands need no ROS."""
    parameters = {
        "engine": engine,
        "threads": options.threads,
        "weights": options.weights or "",
        "device": options.device,
    }
    done = subprocess.run(
        [sys.executable, "-m", "lane_sad_ros.ros.live", str(options.live), str(options.seconds)],
        input=json.dumps(parameters),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise CommandError(f"engine {engine}: {(done.stderr.splitlines() or ['no answer'])[-1]}")
    return json.loads(done.stdout)


def _live_row(engine: str, found: dict[str, Any]) -> tuple[str, ...]:
    return (
        engine,
        str(found["sent"]),
        str(found["answered"]),
        f"{found['ms']['median']:.1f}",
        f"{found['ms']['p90']:.1f}",
        f"{found['cpu_ms']:.1f}",
        f"{found['memory_mb']:.0f}",
    )


def _frames(options: argparse.Namespace) -> list[Frame]:
    from lane_sad_ros.detection.engines.auto import PICTURE
    from lane_sad_ros.frames import Frame
    from lane_sad_ros.recordings.sources import open_frames

    images = itertools.islice(open_frames(options.input or PICTURE), options.limit)
    frames = [Frame(image.image) for image in images]
    if not frames:
        raise CommandError(f"{options.input}: no images to measure with")
    return frames


def _detectors(options: argparse.Namespace) -> dict[str, LaneDetector]:
    """Of the engines asked for, or of those that run here."""
    from lane_sad_ros.detection import EngineError, LaneDetector

    detectors = {}
    others = [name for name in ENGINES if name not in ("auto", "compiled")]
    for name in options.engine or others:
        try:
            detectors[name] = LaneDetector.from_weights(
                options.weights, device=options.device, engine=name, threads=options.threads
            )
        except EngineError as error:
            if options.engine:
                raise
            print(f"left out: {error}")
    if not detectors:
        raise CommandError("no engine runs these weights here; install one, see --help")
    return detectors


def _agreements(
    detectors: dict[str, LaneDetector], frames: list[Frame]
) -> dict[str, dict[str, float]]:
    """How far each engine's lanes are from eager's."""
    from lane_sad_ros.detection.agreement import Agreement

    if "eager" not in detectors:
        return {}
    agreements = {name: Agreement() for name in detectors}
    for frame in frames:
        reference = detectors["eager"](frame)
        for name, agreement in agreements.items():
            agreement.add(reference, detectors[name](frame))
    return {
        name: {"flags_equal": one.flags, "pixels_99": one.pixels()}
        for name, one in agreements.items()
    }


def _text(result: dict[str, Any]) -> str:
    about = result["machine"]
    rows = [_COLUMNS, *(_row(entry) for entry in result["speed"])]
    lines = [
        f"{about.get('gpu', about['processor'])}, {about['cores']} cores, load {about['load']:.1f}"
    ]
    lines.append(_table(rows))
    lines += [
        f"{name}: {one['flags_equal']:.2%} of the flags are eager's, 99 % of the points within "
        f"{one['pixels_99']:.2f} pixels"
        for name, one in result["lanes"].items()
        if name != "eager"
    ]
    return "\n".join(lines)


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.rjust, row, widths)) for row in rows)


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    total = entry["ms"]["total"]
    return (
        entry["engine"],
        str(entry["batch"]),
        *(f"{entry['ms'][stage]['median']:.2f}" for stage in _STAGES),
        f"{total['median']:.2f}",
        f"{total['p10']:.2f}-{total['p90']:.2f}",
        f"{entry['cpu_ms']['median']:.1f}",
        f"{entry['images_per_second']:.1f}",
        f"{entry['of_eager']:.2f}" if "of_eager" in entry else "",
    )


def _plot(path: Path, result: dict[str, Any]) -> None:
    """Bars of the stages' medians, one for each engine and batch."""
    try:
        import matplotlib
    except ImportError as error:
        raise CommandError(f"{path}: a plot needs matplotlib; install it with pip") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    labels = [f"{entry['engine']} × {entry['batch']}" for entry in result["speed"]]
    figure, axes = pyplot.subplots(figsize=(8, 1 + 0.4 * len(labels)), layout="constrained")
    start = [0.0] * len(labels)
    for stage in _STAGES:
        lengths = [entry["ms"][stage]["median"] / entry["batch"] for entry in result["speed"]]
        axes.barh(labels, lengths, left=start, label=stage)
        start = [one + other for one, other in zip(start, lengths, strict=True)]
    axes.invert_yaxis()
    axes.set_xlabel("ms an image, median")
    axes.set_title(result["machine"].get("gpu", result["machine"]["processor"]))
    axes.legend()
    with replacing(path) as partial:
        figure.savefig(partial)
    pyplot.close(figure)
