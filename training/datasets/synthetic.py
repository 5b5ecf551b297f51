"""Rendered scenes written as a data set in the TuSimple layout, exact labels included."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from lane_sad_ros.files import replacing
from training.scenes import Rendering, render, sample_scene

# Row spacing of the labels, as in TuSimple: every tenth row of 720.
_ROWS_PER_IMAGE = 72


def write_scenes(output: Path, count: int, seed: int, processes: int = 1) -> Path:
    """Render `count` scenes into `output`/images and their labels into `output`/labels.json.

    Scene i of a seed is always the same one. An image that is already there is kept, so that an
    interrupted call goes on where it was. Returns the label file.
    """
    (output / "images").mkdir(parents=True, exist_ok=True)
    jobs = [(output, seed, index) for index in range(count)]
    labels = output / "labels.json"
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        records = pool.imap(_write_scene, jobs, chunksize=4)
        progress = tqdm(records, total=count, unit="scene", dynamic_ncols=True)
        with replacing(labels) as partial, partial.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in progress)
    return labels


def _write_scene(job: tuple[Path, int, int]) -> dict[str, object]:
    output, seed, index = job
    cv2.setNumThreads(1)
    name = f"images/{seed}_{index:06d}.jpg"
    record = output / "images" / f"{seed}_{index:06d}.json"
    if not record.exists():
        rendering = render(sample_scene(np.random.default_rng((seed, index))))
        cv2.imwrite(str(output / name), rendering.image, [cv2.IMWRITE_JPEG_QUALITY, 92])
        # The record says that its image is complete, so it must not be there by half either.
        with replacing(record) as partial:
            partial.write_text(json.dumps(tusimple_record(rendering, name)), encoding="utf-8")
    result: dict[str, object] = json.loads(record.read_text())
    return result


def tusimple_record(rendering: Rendering, raw_file: str) -> dict[str, object]:
    """The TuSimple record of a rendering: each present lane's column, to 0.01 px, at the rows."""
    height, width = rendering.image.shape[:2]
    step = height // _ROWS_PER_IMAGE
    rows = np.arange(step, height, step, dtype=np.float64)
    lanes = [_columns(lane, rows, width) for lane in rendering.lanes if lane is not None]
    return {"raw_file": raw_file, "h_samples": [int(row) for row in rows], "lanes": lanes}


def _columns(lane: NDArray[np.float32], rows: NDArray[np.float64], width: int) -> list[float]:
    points = lane[np.argsort(lane[:, 1])]
    columns = np.interp(rows, points[:, 1], points[:, 0])
    inside = (rows >= points[0, 1]) & (rows <= points[-1, 1])
    inside &= (columns >= 0) & (columns <= width - 1)
    return [round(float(c), 2) if i else -2 for c, i in zip(columns, inside, strict=True)]
