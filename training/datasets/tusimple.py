"""Image and label pairs in the layout of the TuSimple benchmark, real or rendered.

A label file has one JSON object a line: "raw_file" (image path below the dataset's root),
"h_samples" (rows) and "lanes" (a column per row, -2 where the lane has none).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LabelledImage:
    """An image BGR uint8 H×W×3 and its lanes, polylines N×2 of (u, v) in its pixels."""

    image: NDArray[np.uint8]
    lanes: tuple[NDArray[np.float32], ...]


class TuSimple:
    """The labelled frames of one label file, images scaled to at most `max_width` and kept."""

    def __init__(self, labels: Path, root: Path | None = None, max_width: int = 640) -> None:
        """Read the labels.

        labels: the JSON-lines file; root: the folder that "raw_file" is relative to, by default
        the one that holds the label file.
        Raises FileNotFoundError or ValueError that name the file, the line and what is wrong.
        """
        self.root = root if root is not None else labels.parent
        self.max_width = max_width
        self._cache: dict[int, LabelledImage] = {}
        self._records: list[tuple[Path, tuple[NDArray[np.float32], ...]]] = []
        for number, line in enumerate(labels.read_text().splitlines(), start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
                rows = np.asarray(record["h_samples"], np.float32)
                lanes = []
                for columns in record["lanes"]:
                    lane = np.stack([np.asarray(columns, np.float32), rows], axis=1)
                    lane = lane[lane[:, 0] >= 0]
                    if len(lane) >= 2:
                        lanes.append(lane)
                path = self.root / record["raw_file"]
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(
                    f"{labels}, line {number}: not a TuSimple record ({error}); expected an object "
                    f'with "raw_file", "h_samples" and "lanes" of as many columns'
                ) from error
            if not path.is_file():
                raise FileNotFoundError(f"{labels}, line {number}: no image at {path}")
            self._records.append((path, tuple(lanes)))
        if not self._records:
            raise ValueError(f"{labels}: holds no record")

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> LabelledImage:
        if index not in self._cache:
            path, lanes = self._records[index]
            image = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if image is None:
                raise ValueError(f"{path}: not a readable image")
            scale = min(1.0, self.max_width / image.shape[1])
            if scale < 1.0:
                size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
                image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
                lanes = tuple((lane + 0.5) * np.float32(scale) - 0.5 for lane in lanes)
            self._cache[index] = LabelledImage(np.asarray(image, np.uint8), lanes)
        return self._cache[index]
