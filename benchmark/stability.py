"""How steady and how right lanes are over time: each frame alone beside tracked.

python -m benchmark.stability INPUT ... [--weights FILE] [--device auto] [--json OUT]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmark.steadiness import Figures, Moment, measure
from demo.rendered_drive import render_drive
from lane_sad_ros import files
from lane_sad_ros.arguments import add_weights
from lane_sad_ros.detection import LaneDetector
from lane_sad_ros.files import SourceError
from lane_sad_ros.formats import tusimple
from lane_sad_ros.formats.inputs import dataset_input
from lane_sad_ros.frames import Frame
from lane_sad_ros.lanes import Lanes
from lane_sad_ros.recordings.sources import FrameSource, image_files, open_frames
from lane_sad_ros.road.tracking import LaneTracker
from training.scenes import DURATION, RATE

_INPUTS = f"""INPUT is one of
  a video, a bag, a folder of images
  drive               the rendered drive of `make demo`, {DURATION:g} s with exact truth in each
                      frame, kept in --work
  tusimple:ROOT:JSON  the clips of a TuSimple label file: the images 1.jpg to N.jpg beside each
                      labelled N.jpg, below ROOT; what is not there in full is left out
"""

_TABLE = {
    "frames": "{:d}",
    "flips": "{:.1f}",
    "true_flips": "{:.1f}",
    "jitter": "{:.2f}",
    "jitter_rms": "{:.2f}",
    "lag": "{:+.2f}",
    "found": "{:.1%}",
    "error": "{:.2f}",
    "false_lanes": "{:.3f}",
    "missed_lanes": "{:.3f}",
    "accuracy": "{:.1%}",
    "fp": "{:.3f}",
    "fn": "{:.3f}",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmark.stability",
        description="Figures of lanes over time, each frame alone beside tracked.",
        epilog=_INPUTS + (Figures.__doc__ or ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("inputs", nargs="+", metavar="INPUT")
    add_weights(parser)
    parser.add_argument("--work", type=Path, default=Path("build/benchmark"), metavar="FOLDER")
    parser.add_argument("--json", type=Path, metavar="OUT", help="the figures, not rounded")
    options = parser.parse_args(arguments)
    try:
        detector = LaneDetector.from_weights(options.weights, device=options.device)
        results = {}
        for name in options.inputs:
            results[name] = compare(list(_sequences(name, detector, options.work)))
            print(table(name, results[name]), flush=True)
        if options.json:
            files.write_json(options.json, results)
    except (ValueError, OSError) as error:
        print(f"stability: error: {error}", file=sys.stderr)
        return 1
    return 0


def compare(sequences: Sequence[Sequence[Moment]]) -> dict[str, dict[str, Any]]:
    """The figures "alone" and "tracked" of drives, and "tracker_ms" for a frame of the latter."""
    alone = [(moments, [moment.detected for moment in moments]) for moments in sequences]
    start = time.perf_counter()
    tracked = [(moments, track(moments)) for moments in sequences]
    seconds = time.perf_counter() - start
    frames = sum(len(moments) for moments in sequences)
    return {
        "alone": asdict(measure(alone)),
        "tracked": asdict(measure(tracked)) | {"tracker_ms": 1e3 * seconds / max(frames, 1)},
    }


def track(moments: Sequence[Moment]) -> list[Lanes]:
    """The tracked lanes of a drive."""
    tracker = LaneTracker()
    return [tracker.update(moment.detected, moment.stamp_ns) for moment in moments]


def table(name: str, results: dict[str, dict[str, Any]]) -> str:
    """The figures in words."""
    lines = [f"{name:<28}{'alone':>9}{'tracked':>9}"]
    for figure, form in _TABLE.items():
        values = [results[how][figure] for how in ("alone", "tracked")]
        if None not in values:
            lines.append(
                f"  {figure:<26}" + "".join(f"{form.format(value):>9}" for value in values)
            )
    lines.append(f"  {'tracker, ms a frame':<35}{results['tracked']['tracker_ms']:>9.2f}")
    return "\n".join(lines)


def _sequences(name: str, detector: LaneDetector, work: Path) -> Iterator[list[Moment]]:
    """Raises ValueError or OSError for an input that cannot be read."""
    if name == "drive":
        drive = render_drive(work / "drive", DURATION, RATE)
        truth = {image: scene.truth for image, scene in drive.truth.items()}
        yield _detect(open_frames(drive.folder, rate=RATE), detector, truth, {})
    elif name.startswith("tusimple:"):
        given = dataset_input(name)
        whole = 0
        for record in tusimple.read_records(given.listing):
            clip = tusimple.clip_of(given.root / record["raw_file"])
            if not clip:
                raise SourceError(
                    f"{record['raw_file']}: the name of a labelled image is not its number"
                )
            if all(image.is_file() for image in clip):
                whole += 1
                frames = image_files(clip[-1].parent, [image.name for image in clip])
                yield _detect(frames, detector, {}, {clip[-1].name: record})
        if not whole:
            raise SourceError(f"{given.listing}: no clip is there in full below {given.root}")
    else:
        yield _detect(open_frames(name), detector, {}, {})


def _detect(
    frames: FrameSource,
    detector: LaneDetector,
    truth: dict[str, Lanes],
    records: dict[str, dict[str, Any]],
) -> list[Moment]:
    """truth, records: by the frames' names."""
    shown = tqdm(frames, str(frames.path), frames.count, leave=False, disable=None)
    return [
        Moment(
            frame.stamp_ns,
            detector.detect([Frame(frame.image)])[0].lanes,
            truth.get(frame.name),
            records.get(frame.name),
        )
        for frame in shown
    ]


if __name__ == "__main__":
    sys.exit(main())
