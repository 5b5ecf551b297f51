"""Weights fitted to a road of one's own, from a recording of it without labels.

Frames that the weights are sure of label themselves, a person corrects as many of the doubtful ones
as he likes, and the weights go on learning from both and from rendered scenes, lest they forget.
Every fifth stretch of the recording is held out: what is gained is measured there.

The folder, of which a person may change the two files that are marked:

    recording.txt          which recording it is of
    review.html            what was kept, is doubtful or shows no lane
    images/                frames that were kept
    doubtful/*.jpg, *.json the others, without a lane too, to be corrected in labelme (*)
    struck.txt             names of kept frames that are wrong, one on each line (*)
    train.json, held_out.json  what is learnt from, and what is measured on
    scenes/, run_*/        rendered scenes, the training run of these labels
    weights.safetensors, report.html
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.detection import LaneDetector
from lane_sad_ros.files import read_json_lines, read_text, write_text, writing_lines
from lane_sad_ros.formats.labelme import read_annotation, write_annotation
from lane_sad_ros.formats.polylines import to_record
from lane_sad_ros.image_files import write_image
from lane_sad_ros.lanes import LAYOUTS, LaneLayout
from lane_sad_ros.network.base import LaneNetwork
from lane_sad_ros.network.weights import load, save_network
from lane_sad_ros.pictures.overlay import draw_lanes
from lane_sad_ros.recordings.sources import FrameSource
from lane_sad_ros.reports.page import Picture, backdrop, write_page

from .augmentation import Augmentation
from .config import Config, Optimizer, Source
from .datasets.synthetic import write_scenes
from .fit import fit
from .pseudo_labels import NO_LANE, Look, looks
from .validation import validate

STEPS = 1000
_STRETCHES = 10
_EVERY, _HELD_OUT = 5, 2  # of five stretches the third
_SCENES = 300
_SHOWN = 40  # pictures of each kind on the page
Record = dict[str, Any]


@dataclass(frozen=True)
class Collected:
    """How many frames of a recording were kept, are doubtful, and show no lane."""

    kept: int
    doubtful: int
    empty: int


def check_recording(folder: Path, recording: str) -> None:
    """Notes that a folder is of a recording. Raises ValueError where it is of another one."""
    path, own = folder / "recording.txt", str(Path(recording).resolve())
    if path.exists() and read_text(path) != own:
        raise ValueError(
            f"{folder}: holds frames of {read_text(path)}; name another --output for {own}"
        )
    write_text(path, own)


def collect(
    source: FrameSource, detector: LaneDetector, folder: Path, every: int = 1, sure: float = 0.8
) -> Collected:
    """Labels the frames of a recording that the detector is sure of, and lays the others out.

    every, sure: as for `pseudo_labels.pseudo_label`. Frames that a person has checked stay so.
    """
    kept: list[Record] = []
    shown: dict[str, list[Picture]] = {"kept": [], "doubtful": [], "empty": []}
    counts = dict.fromkeys(shown, 0)
    for number, look in enumerate(looks(source, detector, every, sure)):
        kind = "kept" if look.doubt is None else "empty" if look.doubt == NO_LANE else "doubtful"
        counts[kind] += 1
        if kind == "kept":
            kept.append(_record(look, number, folder))
        else:
            _lay_out(look, folder / "doubtful", number)
        if counts[kind] <= _SHOWN:
            shown[kind].append(_picture(look, number))
    _write(folder / "kept.json", kept)
    page = {"title": f"Frames of {source.path.name}", "shown": shown, "counts": counts}
    write_page(folder / "review.html", "review.html", counts, **page)
    return Collected(**counts)


def _write(path: Path, records: Iterable[Record]) -> None:
    with writing_lines(path) as add:
        for record in records:
            add(record)


def _record(look: Look, number: int, folder: Path) -> Record:
    name = f"images/{number:06d}.jpg"
    write_image(folder / name, look.frame.image)
    return _lanes_record(
        name, look.lanes.image_size, [lane.points for lane in look.lanes.present], number
    )


def _lanes_record(
    image: str, size: tuple[int, int], lanes: Iterable[NDArray[np.float32]], number: int
) -> Record:
    return {**to_record(image, size, lanes), "number": number}


def _lay_out(look: Look, folder: Path, number: int) -> None:
    name, annotation = f"{number:06d}.jpg", folder / f"{number:06d}.json"
    if annotation.exists() and read_annotation(annotation).checked:
        return
    write_image(folder / name, look.frame.image)
    lanes = [lane.points for lane in look.lanes.present]
    write_annotation(annotation, name, look.lanes.image_size, lanes)


def _picture(look: Look, number: int) -> Picture:
    image = draw_lanes(backdrop(look.frame.image, look.lanes.image_size), look.lanes)
    why = f": {look.doubt}" if look.doubt else ""
    return Picture.of(image, f"{number:06d}.jpg ({look.frame.name}){why}")


@dataclass(frozen=True)
class Split:
    """The labels of a folder: what is learnt from and what is measured on.

    checked: how many of both a person has looked at.
    """

    train: list[Record]
    held_out: list[Record]
    checked: int


def labels(folder: Path) -> Split:
    """The frames that were kept and not struck out, and those that a person has corrected.

    Of the held-out stretches, frames that a person has checked are the measure where there are
    any: the weights' own labels can only say how alike the answers stay.
    Raises ValueError that names the file at fault.
    """
    kept = [record for _, record in read_json_lines(folder / "kept.json")]
    struck = _struck(folder / "struck.txt", {Path(record["image"]).name for record in kept})
    kept = [record for record in kept if Path(record["image"]).name not in struck]
    checked = list(_checked(folder / "doubtful"))
    train, held = _split([*kept, *checked])
    held = [record for record in held if record in checked] or held
    if not train or not held:
        raise ValueError(
            f"{folder}: {len(train)} frames to learn from, {len(held)} to measure on; correct more "
            f"of those in {folder / 'doubtful'} in labelme, or begin with a longer recording"
        )
    return Split(train, held, len(checked))


def _split(records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """The records outside and inside of the held-out stretches, in order of time."""
    train: list[Record] = []
    held: list[Record] = []
    stretch = max(1, len(records) // _STRETCHES)
    for place, record in enumerate(sorted(records, key=lambda record: int(record["number"]))):
        (held if place // stretch % _EVERY == _HELD_OUT else train).append(record)
    return train, held


def _struck(path: Path, known: set[str]) -> set[str]:
    if not path.is_file():
        return set()
    names = {Path(line.strip()).name for line in path.read_text().splitlines() if line.strip()}
    if names - known:
        raise ValueError(f"{path}: {min(names - known)} is no frame that was kept")
    return names


def _checked(folder: Path) -> Iterator[Record]:
    for path in sorted(folder.glob("*.json")):
        found = read_annotation(path)
        if found.checked:
            lanes, size = found.polylines.lanes, found.polylines.size
            yield _lanes_record(f"doubtful/{path.stem}.jpg", size, lanes, int(path.stem))


def adapt(
    folder: Path, weights: Path, *, steps: int = STEPS, scenes: int = _SCENES, **settings: Any
) -> dict[str, dict[str, float]]:
    """Goes on training weights on the labels of a folder, and writes weights and a report.

    settings: others of `Config`, such as device or precision. Returns the figures on the held-out
    stretches "before" and "after", see `validation.validate`. Begun again it goes on where it was,
    with other labels, weights or steps anew.
    """
    folder, weights = folder.resolve(), weights.resolve()  # the run's settings name them
    found = labels(folder)
    for name, records in (("train", found.train), ("held_out", found.held_out)):
        _write(folder / f"{name}.json", records)
    network, layout, metadata = load(weights)
    sources = [Source(folder / "train.json", "lanes", share=0.7)]
    if scenes:
        write_scenes(folder / "scenes", scenes, seed=0)
        sources.append(Source(folder / "scenes" / "labels.json", share=0.3))
    config = _config(network, layout, weights, sources, steps, **settings)
    given = (folder / "train.json").read_bytes() + weights.read_bytes() + str(steps).encode()
    run = folder / f"run_{hashlib.sha256(given).hexdigest()[:8]}"
    fit(config, run)
    adapted, _, trained = load(run / "weights.safetensors")
    held_out = Source(folder / "held_out.json", "lanes").open()
    figures = {
        "before": validate(network, layout, held_out, config.device),
        "after": validate(adapted, layout, held_out, config.device),
    }
    training = {"phases": [metadata["training"], trained["training"]]}
    save_network(folder / "weights.safetensors", adapted, layout, training, figures)
    page = {"title": f"Weights adapted in {folder.name}", "labels": found, "figures": figures}
    write_page(folder / "report.html", "adapted.html", figures, **page)
    return figures


def _config(
    network: LaneNetwork,
    layout: LaneLayout,
    weights: Path,
    data: Sequence[Source],
    steps: int,
    **settings: Any,
) -> Config:
    if layout.name not in LAYOUTS:
        raise ValueError(f"{weights}: its layout {layout.name!r} is not one of {list(LAYOUTS)}")
    values: dict[str, Any] = {
        "layout": layout.name,
        "crop": layout.crop,
        "input_size": layout.input_size,
        "point_threshold": layout.decoding.point_threshold,
        "side_margin": layout.decoding.side_margin,
        "arch": network.arch,
        "shared_encoder": network.options.get("shared_encoder", False),
        "existence": network.existence is not None,
        "dropout": False,
        "initial": weights,
        "data": tuple(data),
        "augmentation": Augmentation(hidden=0.2),
        "lane_width": 18.0,
        "optimizer": Optimizer(learning_rate=5e-4),
        "steps": steps,
        "average": 0.99,
        "validate_every": steps,
    }
    return dataclasses.replace(Config(), **(values | settings))
