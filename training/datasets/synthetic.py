"""Rendered scenes written as a data set in the TuSimple layout, exact labels included.

Beside the TuSimple labels stands `scenes.jsonl`: each picture's camera and its lanes in metres.
"""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from lane_sad_ros.files import replacing
from lane_sad_ros.lanes import SLOTS_6
from training.scenes import Camera, Truth, render, sample_camera, sample_scene

# Row spacing of the labels, as in TuSimple: every tenth row of 720.
_ROWS_PER_IMAGE = 72
_POINTS_PER_LANE = 64  # in scenes.jsonl


@dataclass(frozen=True)
class _Job:
    output: Path
    seed: int
    index: int
    size: tuple[int, int]
    unmarked: float
    sparse: float


def write_scenes(
    output: Path,
    count: int,
    seed: int,
    processes: int = 1,
    size: tuple[int, int] = (640, 360),
    unmarked: float = 0.1,
    sparse: float = 0.1,
) -> Path:
    """Render `count` scenes into `output`: images/, labels.json (TuSimple) and scenes.jsonl.

    size: (width, height) in pixels; an image more than twice as wide as high gets cameras like
    CULane's. unmarked, sparse: shares of roads without any and with few markings.
    Scene i of a seed is always the same one. An image that is already there is kept, so that an
    interrupted call goes on where it was. Returns the label file.
    """
    (output / "images").mkdir(parents=True, exist_ok=True)
    jobs = [_Job(output, seed, index, size, unmarked, sparse) for index in range(count)]
    labels = output / "labels.json"
    with (
        multiprocessing.get_context("spawn").Pool(processes) as pool,
        replacing(output / "scenes.jsonl") as partial_scenes,
        partial_scenes.open("w", encoding="utf-8") as scene_file,
        replacing(labels) as partial_labels,
        partial_labels.open("w", encoding="utf-8") as label_file,
    ):
        records = pool.imap(_write_scene, jobs, chunksize=4)
        for record in tqdm(records, total=count, unit="scene", dynamic_ncols=True):
            label_file.write(json.dumps(record["label"]) + "\n")
            scene_file.write(json.dumps(record["scene"]) + "\n")
    return labels


def _write_scene(job: _Job) -> dict[str, Any]:
    cv2.setNumThreads(1)
    name = f"images/{job.seed}_{job.index:06d}.jpg"
    place = job.output / f"images/{job.seed}_{job.index:06d}.json"
    wanted = [*job.size, job.unmarked, job.sparse]
    if place.exists():
        kept: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
        if kept.get("of") == wanted:
            return kept
    rng = np.random.default_rng((job.seed, job.index))
    camera = sample_camera(rng, *job.size)
    rendering = render(sample_scene(rng, camera, job.unmarked, job.sparse))
    cv2.imwrite(str(job.output / name), rendering.image, [cv2.IMWRITE_JPEG_QUALITY, 92])
    record = {
        "of": wanted,
        "label": tusimple_record(rendering, name),
        "scene": scene_record(rendering, name),
    }
    # The record says that its image is complete, so it must not be there by half either.
    with replacing(place) as partial:
        partial.write_text(json.dumps(record), encoding="utf-8")
    return record


def tusimple_record(truth: Truth, raw_file: str) -> dict[str, object]:
    """The TuSimple record of a scene: each present lane's column, to 0.01 px, at the rows."""
    height, width = truth.camera.height, truth.camera.width
    step = max(1, height // _ROWS_PER_IMAGE)
    rows = np.arange(step, height, step, dtype=np.float64)
    lanes = [_columns(lane, rows, width) for lane in truth.lanes if lane is not None]
    return {"raw_file": raw_file, "h_samples": [int(row) for row in rows], "lanes": lanes}


def _columns(lane: NDArray[np.float32], rows: NDArray[np.float64], width: int) -> list[float]:
    points = lane[np.argsort(lane[:, 1])]
    columns = np.interp(rows, points[:, 1], points[:, 0])
    inside = (rows >= points[0, 1]) & (rows <= points[-1, 1])
    inside &= (columns >= 0) & (columns <= width - 1)
    return [round(float(c), 2) if i else -2 for c, i in zip(columns, inside, strict=True)]


def scene_record(truth: Truth, raw_file: str) -> dict[str, object]:
    """What scenes.jsonl says of a scene, see docs/scenes.md: camera, lanes, ego lane.

    The lanes come in the order of the TuSimple record. Metres, radians, pixels; the vehicle frame
    is that of `training.scenes.Camera`.
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
        "ego_lane": {
            "width": truth.width,
            "lateral_offset": truth.lateral_offset,
            "heading": truth.heading,
            "curvature": truth.curvature,
        },
    }


def _camera_record(camera: Camera) -> dict[str, object]:
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


def _rounded(points: NDArray[np.float32], digits: int) -> list[list[float]]:
    return [[round(float(value), digits) for value in point] for point in points]
