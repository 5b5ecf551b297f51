"""CULane in its official layout: lists of images, class masks and lane files.

Source: the data set's page and the SCNN paper (arXiv 1712.06080, section 4). A line of a list such
as `list/train_gt.txt` holds an image, its mask and four existence flags; other lists hold images
alone. Paths start at the data set's root, with a slash. The four slots are the two borders of the
ego lane and the ones beyond them, left to right; masks number them 1 to 4, in lines 16 pixels wide.
Beside each image `a.jpg` its lanes lie in `a.lines.txt`, a line of `u v u v ...` for each lane.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.files import read_text
from lane_sad_ros.formats.culane import read_lanes

from .labelled import (
    Cache,
    LabelledImage,
    Polyline,
    Reading,
    absent,
    check_images,
    check_size,
    read_mask,
    read_scaled,
    resize_mask,
    scaled,
)

SPLITS = {
    "train": ("list/train_gt.txt", "list/train.txt"),
    "val": ("list/val_gt.txt", "list/val.txt"),
    "test": ("list/test.txt",),
}
SLOTS = 4


class Item(NamedTuple):
    """The files of one line of a list, below the data set's root; None for what is not there."""

    image: str
    mask: str | None
    lines: str | None


class CULane:
    """The images of one list.

    An image whose mask is there learns from the mask; its lanes have the slots that the mask gives
    them. One without learns from its lane file, slots being given by position.
    """

    weights = None

    def __init__(
        self, list_file: Path, root: Path | None = None, reading: Reading | None = None
    ) -> None:
        """Read the list and look for its files.

        root: the folder that the list's paths start at, by default the one that holds the folder
        `list`. Raises FileNotFoundError or ValueError that name the file, the line and what is
        wrong.
        """
        self.root = root if root is not None else _root_of(list_file)
        self._reading = reading or Reading()
        entries, empty = _read_list(list_file)
        check_images(
            self.root,
            [image for _, image, _ in entries],
            lambda index: f"{list_file}:{entries[index][0]}",
        )
        labels = [
            (mask or f"laneseg_label_w16/{_stem(image)}.png", f"{_stem(image)}.lines.txt")
            for _, image, mask in entries
        ]
        missing = absent(self.root, chain.from_iterable(labels))
        self.items = []
        for (number, image, _), (mask, lines) in zip(entries, labels, strict=True):
            if mask in missing and lines in missing:
                raise FileNotFoundError(
                    f"{list_file}:{number}: no label of {image}: neither a mask at "
                    f"{self.root / mask} nor lanes at {self.root / lines}"
                )
            there = (None if file in missing else file for file in (mask, lines))
            self.items.append(Item(image, *there))
        drawn = [item for item in self.items if item.mask is None]
        if empty is None:
            # Without flags, a lane file says so by its size, which is cheap to ask for.
            empty = sum(
                item.lines is not None and (self.root / item.lines).stat().st_size < 2
                for item in self.items
            )
        self.slots = SLOTS if len(drawn) < len(self.items) else None
        self._cache = Cache(len(self.items), self._reading.cache_mb)
        self.description = (
            f"CULane, {list_file}: {len(self.items)} images, {len(self.items) - len(drawn)} with "
            f"masks, {len(drawn)} drawn from lane files, {empty} without lanes"
        )

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> LabelledImage:
        return self._cache.get(index, lambda: self._read(self.items[index]))

    def true_lanes(self, item: Item) -> list[Polyline]:
        """The lanes in the lane file of an image, N×2 in its pixels, as the metric takes them."""
        return [] if item.lines is None else read_lanes(self.root / item.lines)

    def _read(self, item: Item) -> LabelledImage:
        image, factors = read_scaled(self.root / item.image, self._reading.max_width)
        lanes = [lane for lane in self.true_lanes(item) if len(lane) >= 2]
        if item.mask is None:
            return LabelledImage(image, tuple(scaled(lane, factors) for lane in lanes))
        path = self.root / item.mask
        mask = read_mask(path)
        check_size(path, mask, image, factors)
        if mask.max() > SLOTS:
            raise ValueError(
                f"{path}: holds the class {mask.max()}; a mask of CULane has 0 for background "
                f"and 1 to {SLOTS} for the lanes from left to right"
            )
        found = [(lane, slot) for lane in lanes if (slot := _slot_in(mask, lane)) is not None]
        return LabelledImage(
            image,
            tuple(scaled(lane, factors) for lane, _ in found),
            tuple(slot for _, slot in found),
            resize_mask(mask, image),
        )


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _root_of(list_file: Path) -> Path:
    for folder in list_file.absolute().parents:
        if folder.name == "list":
            return folder.parent
    return list_file.parent


def _read_list(path: Path) -> tuple[list[tuple[int, str, str | None]], int | None]:
    """(line number, image, mask or None) for each line, and how many have no lane.

    The latter is None where the list has no flags.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such list; CULane's are list/train_gt.txt and so on")
    entries: list[tuple[int, str, str | None]] = []
    empty = flagged = 0
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        if len(words) not in (1, 2, 2 + SLOTS) or not set(words[2:]) <= {"0", "1"}:
            raise ValueError(
                f"{path}:{number}: not a line of CULane; an image, or an image, its mask and "
                f"{SLOTS} flags of 0 or 1 are right"
            )
        image, mask = words[0].lstrip("/"), words[1].lstrip("/") if len(words) > 1 else None
        entries.append((number, image, mask))
        flagged += len(words) > 2
        empty += len(words) > 2 and "1" not in words[2:]
    if not entries:
        raise ValueError(f"{path}: names no image; one path per line is right")
    return entries, empty if flagged == len(entries) else None


def _slot_in(mask: NDArray[np.uint8], lane: NDArray[np.float32]) -> int | None:
    """The slot whose class most of a lane's points lie on, None where they lie on none."""
    columns, rows = np.rint(lane).astype(int).T
    inside = (columns >= 0) & (columns < mask.shape[1]) & (rows >= 0) & (rows < mask.shape[0])
    counts = np.bincount(mask[rows[inside], columns[inside]], minlength=1 + SLOTS)[1:]
    return int(counts.argmax()) if counts.any() else None
