"""BDD100K lanes as the paper uses them: the centre lines of lane markings, one class of pixels.

Source: arXiv 1908.00821, section 4.1: drawn 8 pixels wide for training and 2 pixels for testing on
images of 1280×720. `lane_sad_ros.formats.bdd100k` says how centre lines are made of the labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from lane_sad_ros.files import replacing
from lane_sad_ros.formats.bdd100k import IMAGE_SIZE, Border, borders_of, centre_lines, frames_of

from .drawing import draw_line
from .labelled import (
    Cache,
    LabelledImage,
    Polyline,
    Reading,
    check_images,
    check_size,
    read_mask,
    read_scaled,
    resize_mask,
    scaled,
)

TEST_WIDTH = 2  # pixels of such an image
# Where labels are looked for in the official folder, best first.
LABELS = (
    "ll_seg_annotations/{split}",
    "labels/lane/polygons/lane_{split}.json",
    "labels/bdd100k_labels_images_{split}.json",
    "labels/100k/{split}",
)


@dataclass(frozen=True)
class Item:
    """An image and its label: a mask file, the file of its lines, or the lines themselves."""

    image: Path
    label: Path | tuple[Border, ...]


class BDD100K:
    """The images that a label file or a folder of labels names."""

    slots = 1
    weights = None

    def __init__(
        self, labels: Path, root: Path | None = None, reading: Reading | None = None
    ) -> None:
        """Read the labels, or find them.

        labels: a JSON file of many images (both forms of the official releases), a folder of JSON
        files, one for each image (the first release), or a folder of ready-made masks as PNG files
        (0 is background, all else lane). root: the folder of the images, by default the labels'.
        Raises FileNotFoundError or ValueError that name the file, the image and what is wrong.
        """
        folder = root if root is not None else labels if labels.is_dir() else labels.parent
        self._reading = reading or Reading()
        found: Sequence[tuple[str, Path | tuple[Border, ...]]]
        if labels.is_dir():
            masks = sorted(labels.glob("*.png"))
            files = masks or sorted(labels.glob("*.json"))
            if not files:
                raise ValueError(f"{labels}: neither masks (*.png) nor labels (*.json) in here")
            found = [(f"{file.stem}.jpg", file) for file in files]
            kind = "ready-made masks" if masks else "label files, centre lines of the borders"
        elif labels.is_file():
            found = [
                (name, borders_of(frame, f"{labels}: {name}")) for name, frame in frames_of(labels)
            ]
            empty = sum(not label for _, label in found)
            kind = f"centre lines of the borders, {empty} images without lanes"
        else:
            raise FileNotFoundError(
                f"{labels}: no such label file or folder; {', '.join(LABELS)} of BDD100K are right"
            )
        check_images(folder, [name for name, _ in found], lambda index: str(labels))
        self.items = [Item(folder / name, label) for name, label in found]
        self._cache = Cache(len(self.items), self._reading.cache_mb)
        self.description = f"BDD100K lanes, {labels}: {len(self.items)} images, {kind}"

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> LabelledImage:
        return self._cache.get(index, lambda: self._read(self.items[index]))

    def _read(self, item: Item) -> LabelledImage:
        image, factors = read_scaled(item.image, self._reading.max_width)
        label = item.label
        if isinstance(label, Path) and label.suffix == ".png":
            mask = _read_mask(label)
            check_size(label, mask, image, factors)
            return LabelledImage(image, (), (), resize_mask(mask, image))
        lanes = _lines_on(label, (image.shape[1], image.shape[0]))
        return LabelledImage(image, lanes, (0,) * len(lanes))


def truth(item: Item, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The lanes of an image as they are tested, H×W of 0 and 1: 2 pixels wide, or its mask.

    size: (width, height) of the image.
    """
    if isinstance(item.label, Path) and item.label.suffix == ".png":
        return _read_mask(item.label)
    return _drawn(_lines_on(item.label, size), size, TEST_WIDTH)


def write_truth(dataset: BDD100K, folder: Path) -> None:
    """Writes what `lane_sad evaluate bdd100k --truth` reads: a mask of 0 and 255 for each image."""
    for item in tqdm(dataset.items, unit="image", dynamic_ncols=True):
        _, data = cv2.imencode(".png", truth(item, IMAGE_SIZE) * np.uint8(255))
        with replacing(folder / f"{item.image.stem}.png") as partial:
            partial.write_bytes(data.tobytes())


def _drawn(lanes: Sequence[Polyline], size: tuple[int, int], width: float) -> NDArray[np.uint8]:
    classes = np.zeros((size[1], size[0]), np.uint8)
    for lane in lanes:
        draw_line(classes, lane, 1, width * size[0] / IMAGE_SIZE[0])
    return classes


def _read_mask(path: Path) -> NDArray[np.uint8]:
    """A ready-made mask as 0 and 1."""
    mask = (read_mask(path) != 0).astype(np.uint8)
    if mask.mean() > 0.5:
        raise ValueError(
            f"{path}: more than half of this mask is lane; background must be 0 (in BDD100K's own "
            "lane masks it is 255: use the JSON files beside them)"
        )
    return mask


def _lines_on(label: Path | tuple[Border, ...], size: tuple[int, int]) -> tuple[Polyline, ...]:
    """The centre lines in an image of (width, height); labels are always of `IMAGE_SIZE`."""
    factors = np.divide(size, IMAGE_SIZE)
    return tuple(scaled(lane, factors) for lane in centre_lines(_lines(label)))


def _lines(label: Path | tuple[Border, ...]) -> tuple[Border, ...]:
    if not isinstance(label, Path):
        return label
    frames = frames_of(label)
    if len(frames) != 1:
        raise ValueError(f"{label}: {len(frames)} images; a file in a folder is of one image")
    return borders_of(frames[0][1], str(label))
