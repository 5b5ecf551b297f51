"""Rendered scenes and drives written as data sets in the TuSimple layout, exact labels included.

Beside the TuSimple labels stand `scenes.jsonl`, each picture's camera and its lanes in metres, and,
for scenes, `recipe.json`, from which they can be rendered again.
"""

from __future__ import annotations

import json
import multiprocessing
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from lane_sad_ros.cores import all_cores
from lane_sad_ros.evaluation.in_processes import prepare_process
from lane_sad_ros.files import parse_json, read_json_lines, read_text, replacing, write_json
from lane_sad_ros.image_files import write_image
from lane_sad_ros.lanes import SLOTS_6

from ..scenes import Drive, Mix, Rendering, SceneCamera, Truth, render, sample_camera, sample_scene
from ..scenes.drive import DURATION, RATE, drive_camera
from ..scenes.sampling import EVERY

# Row spacing of the labels, as in TuSimple: every tenth row of 720.
_ROWS_PER_IMAGE = 72
_POINTS_PER_LANE = 64  # in scenes.jsonl

RECIPE = "recipe.json"

SIZES = {(640, 360): 0.55, (820, 295): 0.3, (480, 360): 0.15}
"""Shares of image sizes in a set of scenes: 16:9, CULane's wide shape, 4:3."""


@dataclass(frozen=True)
class _Job(ABC):
    """A picture to render; `name` is its file's without ending."""

    output: Path
    seed: int
    index: int
    size: tuple[int, int]

    @property
    @abstractmethod
    def name(self) -> str: ...

    @property
    @abstractmethod
    def wanted(self) -> list[float]:
        """What else than its name tells this picture from another."""

    @abstractmethod
    def render(self) -> Rendering: ...

    def stamp(self) -> dict[str, float]:
        """When it was taken, if at any time."""
        return {}

    @property
    def image(self) -> str:
        return f"images/{self.name}.jpg"

    @property
    def place(self) -> Path:
        """Where its record is kept, which says that the image is complete."""
        return self.output / f"images/{self.name}.json"

    def record(self) -> dict[str, Any] | None:
        """The record that is kept; None where there is none, or one of another picture."""
        if not self.place.exists():
            return None
        kept: dict[str, Any] = json.loads(self.place.read_text(encoding="utf-8"))
        return kept if kept.get("of") == self.wanted else None


@dataclass(frozen=True)
class _SceneJob(_Job):
    mix: Mix

    @property
    def name(self) -> str:
        return f"{self.seed}_{self.index:06d}"

    @property
    def wanted(self) -> list[float]:
        return [*self.size, *astuple(self.mix)]

    def render(self) -> Rendering:
        rng = np.random.default_rng((self.seed, self.index))
        camera = sample_camera(rng, *self.size)
        return render(sample_scene(rng, camera, self.mix))


@dataclass(frozen=True)
class _DriveJob(_Job):
    rate: float

    @property
    def name(self) -> str:
        return f"{self.index:06d}"

    @property
    def wanted(self) -> list[float]:
        return [*self.size, self.rate, self.seed]

    def render(self) -> Rendering:
        return _drive(self.seed, self.size).frame(self.index / self.rate)

    def stamp(self) -> dict[str, float]:
        return {"stamp": self.index / self.rate}


@lru_cache(maxsize=1)
def _drive(seed: int, size: tuple[int, int]) -> Drive:
    return Drive(seed, drive_camera(*size))


def _size(seed: int, index: int) -> tuple[int, int]:
    rng = np.random.default_rng((seed, index, 1))
    return tuple(SIZES)[int(rng.choice(len(SIZES), p=list(SIZES.values())))]


def write_scenes(
    output: Path,
    count: int,
    seed: int,
    processes: int = 1,
    size: tuple[int, int] | None = None,
    mix: Mix = EVERY,
) -> Path:
    """Render `count` scenes into `output`: images/, labels.json (TuSimple) and scenes.jsonl.

    size: (width, height) in pixels of all images, by default each one's is drawn from SIZES; an
    image more than twice as wide as high gets cameras like CULane's. mix: shares of conditions.
    Scene i of a seed is always the same one. An image that is already there is kept, so that an
    interrupted call goes on where it was. Returns the label file.
    """
    labels = _write(output, _scene_jobs(output, count, seed, size, mix), processes, "scene")
    write_json(output / RECIPE, {"count": count, "seed": seed, "size": size, "mix": asdict(mix)})
    return labels


def _scene_jobs(
    output: Path, count: int, seed: int, size: tuple[int, int] | None, mix: Mix
) -> list[_SceneJob]:
    return [
        _SceneJob(output, seed, index, size or _size(seed, index), mix) for index in range(count)
    ]


def rendered(recipe: Path) -> Path:
    """The label file of the scenes of a recipe, beside it, rendered by all cores if need be.

    Raises FileNotFoundError or ValueError that name the file at fault.
    """
    labels = recipe.parent / "labels.json"
    right = "recipe.json of `python -m training synthesize` is right"
    if not recipe.is_file():
        raise FileNotFoundError(f"{recipe}: no such file; {right}")
    found = parse_json(read_text(recipe), str(recipe), right)
    try:
        size, mix = found["size"], Mix(**found["mix"])
        count, seed = int(found["count"]), int(found["seed"])
        size = None if size is None else (int(size[0]), int(size[1]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{recipe}: not the recipe of scenes ({error}); {right}") from error
    if labels.exists():
        there = [record.get("raw_file") for _, record in read_json_lines(labels)]
        if there == [job.image for job in _scene_jobs(recipe.parent, count, seed, size, mix)]:
            return labels
    processes = all_cores() if count > 50 else 1  # which take a while to start
    return write_scenes(recipe.parent, count, seed, processes, size, mix)


def write_drive(
    output: Path,
    duration: float,
    rate: float = RATE,
    seed: int = 0,
    processes: int = 1,
    size: tuple[int, int] = (1280, 720),
) -> Path:
    """Render the first `duration` seconds of a drive at `rate` Hz, laid out like `write_scenes`.

    Each record of scenes.jsonl also has its "stamp", seconds from the start of the drive. What is
    there already is kept. Returns the label file. Raises ValueError for more seconds than the drive
    has.
    """
    count = max(1, round(duration * rate))
    if (count - 1) / rate > DURATION:
        raise ValueError(f"a drive of {duration:g} s: the drive lasts {DURATION:g} s")
    jobs = [_DriveJob(output, seed, index, size, rate) for index in range(count)]
    return _write(output, jobs, processes, "frame")


def _write(output: Path, jobs: Sequence[_Job], processes: int, unit: str) -> Path:
    (output / "images").mkdir(parents=True, exist_ok=True)
    missing = [job for job in jobs if job.record() is None]
    done = len(jobs) - len(missing)
    with tqdm(
        total=len(jobs), initial=done, desc="rendering", unit=unit, dynamic_ncols=True
    ) as progress:
        if processes > 1 and missing:
            # Fresh interpreters: forking a process with OpenCV's threads may lock up.
            context = multiprocessing.get_context("spawn")
            with context.Pool(min(processes, len(missing)), prepare_process) as pool:
                for _ in pool.imap_unordered(_write_job, missing, chunksize=4):
                    progress.update()
        else:
            for job in missing:
                _write_job(job)
                progress.update()
    labels = output / "labels.json"
    with (
        replacing(output / "scenes.jsonl") as partial_scenes,
        partial_scenes.open("w", encoding="utf-8") as scene_file,
        replacing(labels) as partial_labels,
        partial_labels.open("w", encoding="utf-8") as label_file,
    ):
        for job in jobs:
            record = job.record()
            if record is None:
                raise OSError(f"{job.place}: was removed while the set was being written")
            label_file.write(json.dumps(record["label"]) + "\n")
            scene_file.write(json.dumps(record["scene"]) + "\n")
    return labels


def _write_job(job: _Job) -> None:
    rendering = job.render()
    write_image(job.output / job.image, rendering.image)
    record = {
        "of": job.wanted,
        "label": tusimple_record(rendering, job.image),
        "scene": scene_record(rendering, job.image) | job.stamp(),
    }
    # The record says that its image is complete, so it must not be there by half either.
    with replacing(job.place) as partial:
        partial.write_text(json.dumps(record), encoding="utf-8")


def tusimple_record(truth: Truth, raw_file: str) -> dict[str, object]:
    """The TuSimple record of a scene: each present lane's column, to 0.01 px, at the rows.

    As in TuSimple's own labels a line ends where the own bonnet begins.
    """
    height, width = truth.camera.height, truth.camera.width
    step = max(1, height // _ROWS_PER_IMAGE)
    rows = np.arange(step, height, step, dtype=np.float64)
    edge = np.full(width, np.inf) if truth.bonnet is None else truth.bonnet
    lanes = [_columns(lane, rows, edge) for lane in truth.lanes if lane is not None]
    return {"raw_file": raw_file, "h_samples": [int(row) for row in rows], "lanes": lanes}


def _columns(
    lane: NDArray[np.float32], rows: NDArray[np.float64], edge: NDArray[np.floating]
) -> list[float]:
    points = lane[np.argsort(lane[:, 1])]
    columns = np.interp(rows, points[:, 1], points[:, 0])
    inside = (rows >= points[0, 1]) & (rows <= points[-1, 1])
    inside &= (columns >= 0) & (columns <= len(edge) - 1)
    inside &= rows < edge[np.clip(columns.round().astype(int), 0, len(edge) - 1)]
    return [round(float(c), 2) if i else -2 for c, i in zip(columns, inside, strict=True)]


def scene_record(truth: Truth, raw_file: str) -> dict[str, object]:
    """What scenes.jsonl says of a scene, see docs/scenes.md: camera, lanes, ego lane.

    The lanes come in the order of the TuSimple record. Metres, radians, pixels; the vehicle frame
    is that of `training.scenes.SceneCamera`.
    """
    lanes = []
    for slot, pixels, ground in zip(SLOTS_6, truth.lanes, truth.ground, strict=True):
        if pixels is None or ground is None:
            continue
        kept = np.unique(np.linspace(0, len(pixels) - 1, _POINTS_PER_LANE).round().astype(int))
        lanes.append(
            {
                "slot": slot,
                "pixels": _rounded(pixels[kept], 3),
                "ground": _rounded(ground[kept], 4),
            }
        )
    return {
        "raw_file": raw_file,
        "camera": _camera_record(truth.camera),
        "lanes": lanes,
        "bonnet": None if truth.bonnet is None else _edge_points(truth.bonnet),
        "ego_lane": {
            "width": truth.width,
            "lateral_offset": truth.lateral_offset,
            "heading": truth.heading,
            "curvature": truth.curvature,
        },
    }


def _camera_record(camera: SceneCamera) -> dict[str, object]:
    return {
        "width": camera.width,
        "height": camera.height,
        "k": camera.k.ravel().tolist(),
        "distortion_model": "plumb_bob",
        "d": list(camera.distortion),
        "height_m": camera.height_m,
        "roll": camera.roll,
        "pitch": camera.pitch,
        "yaw": camera.yaw,
    }


def _edge_points(edge: NDArray[np.float32]) -> list[list[float]]:
    columns = np.linspace(0, len(edge) - 1, 33).round().astype(int)
    return [[int(column), round(float(edge[column]), 1)] for column in columns]


def _rounded(points: NDArray[np.float32], digits: int) -> list[list[float]]:
    return [[round(float(value), digits) for value in point] for point in points]
