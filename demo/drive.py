"""The drive that is played by default: rendered once, kept as images with their exact lanes."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import signal
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

import training.scenes
from lane_sad_ros import outputs
from lane_sad_ros.lanes import SLOTS_6, Lane, Lanes
from training.scenes import Drive


@dataclass(frozen=True)
class RenderedDrive:
    """A folder of images, and their true lanes by the images' names."""

    folder: Path
    truth: dict[str, Lanes]


def render_drive(folder: Path, duration: float, rate: float, seed: int = 0) -> RenderedDrive:
    """The first `duration` seconds of the drive at `rate` Hz, in a folder below `folder`.

    What is there already is not rendered again, after an interruption neither; the drive of an
    older renderer, or of another duration, rate or seed is removed.
    """
    count = max(1, round(duration * rate))
    place = folder / _key(duration, rate, seed)
    for old in folder.glob("*"):
        if old != place:
            shutil.rmtree(old, ignore_errors=True)
    missing = [index for index in range(count) if not _truth(place, index).exists()]
    if missing:
        place.mkdir(parents=True, exist_ok=True)
        _render(place, missing, rate, seed, done=count - len(missing))
    truth = {}
    for index in range(count):
        record = json.loads(_truth(place, index).read_text(encoding="utf-8"))
        truth[_image(place, index).name] = _lanes(record)
    return RenderedDrive(place, truth)


def _key(duration: float, rate: float, seed: int) -> str:
    digest = hashlib.sha256(f"{duration} {rate} {seed}".encode())
    for file in sorted(Path(training.scenes.__file__).parent.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _image(place: Path, index: int) -> Path:
    return place / f"{index:06d}.jpg"


def _truth(place: Path, index: int) -> Path:
    return place / f"{index:06d}.json"


def _render(place: Path, missing: list[int], rate: float, seed: int, done: int) -> None:
    # A worker takes as long to start as for some frames.
    workers = min(os.cpu_count() or 1, math.ceil(len(missing) / 8))
    # Fresh interpreters: forking a process with OpenCV's threads may lock up.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start_worker, (place, rate, seed))
    with (
        pool,
        tqdm(
            total=done + len(missing), initial=done, desc="rendering the drive", unit="frame"
        ) as progress,
    ):
        try:
            for finished in as_completed([pool.submit(_render_frame, i) for i in missing]):
                finished.result()
                progress.update()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


_worker: tuple[Path, float, Drive]


def _start_worker(place: Path, rate: float, seed: int) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    cv2.setNumThreads(1)
    _worker = place, rate, Drive(seed)


def _render_frame(index: int) -> None:
    place, rate, drive = _worker
    rendering = drive.frame(index / rate)
    height, width = rendering.image.shape[:2]
    lanes = [_lane(slot, points) for slot, points in enumerate(rendering.lanes)]
    outputs.write_image(_image(place, index), rendering.image)
    record = outputs.lane_record(
        _image(place, index).name, index / rate, Lanes((width, height), tuple(lanes)), SLOTS_6
    )
    outputs.write_json(_truth(place, index), record)  # last: it says that the frame is there


def _lane(slot: int, points: NDArray[np.float32] | None) -> Lane:
    if points is None or not len(points):
        return Lane(slot, False, 0.0, np.zeros((0, 3), np.float32))
    scored = np.column_stack([points, np.ones(len(points))]).astype(np.float32)
    return Lane(slot, True, 1.0, scored)


def _lanes(record: dict[str, Any]) -> Lanes:
    """The lanes of a `lane_record`."""
    width, height = record["image_size"]
    lanes = (
        Lane(
            entry["slot"],
            entry["exists"],
            entry["probability"],
            np.array(entry["points"], np.float32).reshape(-1, 3),
        )
        for entry in record["lanes"]
    )
    return Lanes((width, height), tuple(lanes))
