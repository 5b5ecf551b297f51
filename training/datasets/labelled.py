"""A labelled image, what a data set of them is, and how image files are read for training."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.image_files import image_header, read_bytes, read_image
from lane_sad_ros.lanes import LaneLayout

MAX_WIDTH = 640
CACHE_MB = 256

Polyline = NDArray[np.float32]


@dataclass(frozen=True)
class LabelledImage:
    """An image and its lanes.

    image: uint8 H×W×3 BGR. lanes: float32 polylines N×2 of (u, v) in its pixels, N at least 2.
    slots: of each lane, where the data set itself says which, from left to right; None: by position
    around the ego lane (`lane_sad_ros.formats.slots`).
    classes: the data set's own class map, uint8 H×W of 0 (background) and 1 + slot, where it has
    one; it then goes before the lanes.
    partial: whether lines may be in the image that nobody labelled: then slots without a lane are
    unknown, not empty.
    """

    image: NDArray[np.uint8]
    lanes: tuple[Polyline, ...]
    slots: tuple[int, ...] | None = None
    classes: NDArray[np.uint8] | None = None
    partial: bool = False


class LabelledDataset(Protocol):
    """Labelled images by index from 0, the same for the same index every time."""

    @property
    def slots(self) -> int | None:
        """How many slots the set's own numbers of lanes are of; None: given by position."""
        ...

    @property
    def weights(self) -> NDArray[np.float64] | None:
        """How often each is drawn for training, relative to the others; None: all alike."""
        ...

    @property
    def description(self) -> str:
        """One line that says what was found."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> LabelledImage: ...


@dataclass(frozen=True)
class Reading:
    """How images are read for training.

    max_width: wider images are scaled down to it, labels with them.
    cache_mb: a set whose images, scaled, take no more than this is kept in memory, by each process
    that reads it; of a larger one nothing is kept.
    """

    max_width: int = MAX_WIDTH
    cache_mb: float = CACHE_MB

    @classmethod
    def for_layout(cls, layout: LaneLayout, cache_mb: float = CACHE_MB) -> Reading:
        """Images, of the layout's shape, just wide and high enough for a network's input."""
        left, top, right, bottom = layout.crop
        zoom = max(np.divide(layout.input_size, (right - left, bottom - top)))
        return cls(round(layout.image_size[0] * zoom), cache_mb)

    def __post_init__(self) -> None:
        if self.max_width < 1 or self.cache_mb < 0:
            raise ValueError(
                f"max_width {self.max_width} must be positive, cache_mb {self.cache_mb} not "
                "negative"
            )


class Cache:
    """Keeps the labelled images of a small set, see `Reading`."""

    def __init__(self, count: int, megabytes: float) -> None:
        self._bytes_each = megabytes * 2**20 / max(count, 1)
        self._kept: dict[int, LabelledImage] = {}

    def get(self, index: int, read: Callable[[], LabelledImage]) -> LabelledImage:
        """The image of an index, from `read` where it is not kept."""
        if index in self._kept:
            return self._kept[index]
        sample = read()
        size = sample.image.nbytes + (0 if sample.classes is None else sample.classes.nbytes)
        if size <= self._bytes_each:
            self._kept[index] = sample
        return sample


def read_scaled(path: Path, max_width: int) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """An image file scaled to at most `max_width`, and the factors (along u, along v) of it.

    A point p of the file's pixels lies at (p + 0.5) · factors − 0.5 of the result; `scaled` does
    that. Raises as `read_image`.
    """
    # A JPEG decodes straight to half its size in less than half the time, and exactly so: an odd
    # side is padded first.
    data = read_bytes(path)
    header = image_header(data)
    wide = header and header.kind == "JPEG" and header.size[0] >= 2 * max_width
    halved, flags = (0.5, cv2.IMREAD_REDUCED_COLOR_2) if wide else (1.0, cv2.IMREAD_COLOR)
    image = read_image(path, flags, data)
    height, width = image.shape[:2]
    if width <= max_width:
        return image, np.array([halved, halved])
    size = (max_width, max(1, round(height * max_width / width)))
    resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.asarray(resized, np.uint8), halved * np.divide(size, (width, height))


def scaled(points: NDArray[np.floating], factors: NDArray[np.float64]) -> Polyline:
    """Points N×2 of a file's pixels in those of its scaled image, see `read_scaled`."""
    return ((points + 0.5) * factors - 0.5).astype(np.float32)


def read_mask(path: Path) -> NDArray[np.uint8]:
    """A file of class numbers, uint8 H×W; of a colour image the greatest channel."""
    pixels = read_image(path, cv2.IMREAD_UNCHANGED)
    if pixels.dtype != np.uint8:
        raise ValueError(f"{path}: holds {pixels.dtype}; a mask as PNG of 8 bits is right")
    return pixels if pixels.ndim == 2 else np.asarray(pixels[:, :, :3].max(axis=2), np.uint8)


def check_size(
    path: Path, mask: NDArray[np.uint8], image: NDArray[np.uint8], factors: NDArray[np.float64]
) -> None:
    """Raises ValueError for a mask of another size than the file of its scaled image."""
    width, height = np.divide(image.shape[1::-1], factors)
    # To a pixel: half of an odd side is rounded up.
    if abs(mask.shape[1] - width) > 1.5 or abs(mask.shape[0] - height) > 1.5:
        raise ValueError(
            f"{path}: {mask.shape[1]}x{mask.shape[0]} pixels, but its image has "
            f"{width:.0f}x{height:.0f}"
        )


def resize_mask(mask: NDArray[np.uint8], image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A mask at the size of an image, by the nearest pixel (centres being whole numbers)."""
    size = (image.shape[1], image.shape[0])
    return np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def check_slots(dataset: LabelledDataset, layout: LaneLayout) -> None:
    """Raises ValueError for a set that numbers its lanes itself, by other slots than a layout's."""
    if dataset.slots not in (None, len(layout.slots)):
        raise ValueError(
            f"{dataset.description}: its labels number {dataset.slots} slots, the layout "
            f"{layout.name} has {len(layout.slots)}; take a layout of as many, or the lines as "
            "kind lanes, which get their slots by position"
        )


def absent(folder: Path, names: Iterable[str]) -> set[str]:
    """Which of these files below a folder are not there.

    Each folder is looked into once, instead of at each file: a large set may lie on a slow disk.
    """
    by_folder: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name in names:
        inner, _, file = name.rpartition("/")
        by_folder[inner].append((file, name))
    missing: set[str] = set()
    for inner, files in by_folder.items():
        try:
            there = set(os.listdir(folder / inner))
        except (FileNotFoundError, NotADirectoryError):
            there = set()
        missing.update(name for file, name in files if file not in there)
    return missing


def check_images(folder: Path, names: Sequence[str], place: Callable[[int], str]) -> None:
    """Raises FileNotFoundError for the first of the images below a folder that is not there.

    place: says where the image of an index is named, "file:line".
    """
    missing = absent(folder, names)
    if missing:
        first = next(index for index, name in enumerate(names) if name in missing)
        more = f"; {len(missing)} of {len(names)} images are missing" if len(missing) > 1 else ""
        raise FileNotFoundError(f"{place(first)}: no image at {folder / names[first]}{more}")
