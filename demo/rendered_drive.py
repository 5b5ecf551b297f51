"""The drive that is played by default: rendered once, kept as images with their exact lanes."""

from __future__ import annotations

import hashlib
import math
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import training.scenes
from lane_sad_ros.formats.drives import RenderedScene, read_scenes
from training.datasets.synthetic import write_drive

_DIGITS = 12
_NAME = re.compile(f"[0-9a-f]{{{_DIGITS}}}")


@dataclass(frozen=True)
class RenderedDrive:
    """A folder of images, and what is true of them by the images' names."""

    folder: Path
    truth: dict[str, RenderedScene]


def render_drive(folder: Path, duration: float, rate: float, seed: int = 0) -> RenderedDrive:
    """The first `duration` seconds of the drive at `rate` Hz, in a folder below `folder`.

    What is there already is not rendered again, after an interruption neither; the drive of an
    older renderer, or of another duration, rate or seed is removed.
    """
    place = folder / _key(duration, rate, seed)
    # A worker takes as long to start as for some frames.
    workers = min(os.cpu_count() or 1, max(1, math.ceil(duration * rate / 8)))
    write_drive(place, duration, rate, seed, workers)
    for old in folder.glob("*"):  # the folder may hold what is not ours
        if old != place and _NAME.fullmatch(old.name) and (old / "images").is_dir():
            shutil.rmtree(old, ignore_errors=True)
    truth = {Path(scene.name).name: scene for scene in read_scenes(place)}
    return RenderedDrive(place / "images", truth)


def _key(duration: float, rate: float, seed: int) -> str:
    digest = hashlib.sha256(f"{duration} {rate} {seed}".encode())
    for file in sorted(Path(training.scenes.__file__).parent.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:_DIGITS]
