"""Image and label pairs in the layout of the TuSimple benchmark, real or rendered.

A label file has one JSON object a line: "raw_file" (image path below the data set's root),
"h_samples" (rows) and "lanes" (a column per row, -2 where the lane has none).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lane_sad_ros.files import read_text
from lane_sad_ros.formats.tusimple import lanes_of, read_records

from .labelled import (
    Cache,
    LabelledImage,
    Reading,
    check_images,
    read_scaled,
    scaled,
)

# The benchmark's training set comes in three files, of which one is kept for validation.
SPLITS = {
    "train": ("label_data_0313.json", "label_data_0601.json"),
    "val": ("label_data_0531.json",),
    "test": ("test_label.json",),
}


class TuSimple:
    """The labelled frames of one or several label files.

    records: (image file, record of the label file) for each frame, which the official metric
    needs as they are.
    """

    slots = None
    weights = None

    def __init__(
        self,
        labels: Path | Sequence[Path],
        root: Path | None = None,
        reading: Reading | None = None,
    ) -> None:
        """Read the labels.

        labels: JSON-lines files; root: the folder that "raw_file" is relative to, by default the
        one that holds the label file.
        Raises FileNotFoundError or ValueError that name the file, the line and what is wrong.
        """
        files = [labels] if isinstance(labels, Path) else list(labels)
        self._reading = reading or Reading()
        self.records: list[tuple[Path, dict[str, Any]]] = []
        for file in files:
            if not file.is_file():
                raise FileNotFoundError(f"{file}: no such label file; TuSimple's are JSON lines")
            records = read_records(file)
            if not records:
                raise ValueError(f"{file}: holds no record")
            folder = root if root is not None else file.parent
            names = [record["raw_file"] for record in records]
            check_images(folder, names, partial(_place, file))
            self.records += [
                (folder / name, record) for name, record in zip(names, records, strict=True)
            ]
        self._cache = Cache(len(self.records), self._reading.cache_mb)
        counts = [len(lanes_of(record)) for _, record in self.records]
        self.description = (
            f"TuSimple layout, {', '.join(str(file) for file in files)}: {len(counts)} images, "
            f"{sum(counts)} lanes, {counts.count(0)} images without lanes"
        )

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> LabelledImage:
        return self._cache.get(index, lambda: self._read(*self.records[index]))

    def _read(self, path: Path, record: dict[str, Any]) -> LabelledImage:
        image, factors = read_scaled(path, self._reading.max_width)
        return LabelledImage(image, tuple(scaled(lane, factors) for lane in lanes_of(record)))


def _place(file: Path, index: int) -> str:
    """Where in a label file a record is."""
    lines = read_text(file).split("\n")
    numbers = [number for number, line in enumerate(lines, start=1) if line.strip()]
    return f"{file}:{numbers[index]}"
