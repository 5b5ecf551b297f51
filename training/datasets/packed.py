"""A data set packed into few flat files, which are read by memory map: `python -m training pack`.

A folder of `manifest.json` and, for each part of some thousand images, `images-0000.bin`, their
JPEG bytes one after the other (and PNG bytes of class maps), and `labels-0000.npz`, their labels.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.files import replacing, write_json

from .labelled import Cache, LabelledDataset, LabelledImage, Polyline, Reading, scaled

FORMAT = 1
MANIFEST = "manifest.json"
PART = 4096
QUALITY = 84


@dataclass(frozen=True)
class Origin:
    """What a packed set is made of.

    description: of the set it was. licence: its terms, as its owner names them. labels: the digest
    of its labels' files. max_width: of its images. quality: of their JPEGs, 0 to 100.
    """

    description: str
    licence: str
    labels: str
    max_width: int
    quality: int = QUALITY


def bytes_needed(dataset: LabelledDataset, quality: int = QUALITY, samples: int = 24) -> int:
    """About how many bytes a set takes when it is packed, from some of its images."""
    indices = np.unique(np.linspace(0, len(dataset) - 1, samples).round().astype(int))
    sizes = [sum(len(blob) for blob in _blobs(dataset[int(i)], quality)) for i in indices]
    return round(float(np.mean(sizes)) * len(dataset))


def pack(
    dataset: LabelledDataset,
    folder: Path,
    origin: Origin,
    progress: Callable[[int], object] = lambda done: None,
) -> None:
    """Packs a set into a folder; what an interrupted packing of the same left there is kept.

    progress: called with the number of images that were done. Raises ValueError where another set
    is in the folder.
    """
    plan = {
        "format": FORMAT, "images": len(dataset), "slots": dataset.slots, **asdict(origin)
    }  # fmt: skip
    _check_plan(folder, plan)
    parts = []
    for number, start in enumerate(range(0, len(dataset), PART)):
        stop = min(start + PART, len(dataset))
        if not _is_whole(folder, number, stop - start):
            _write_part(dataset, range(start, stop), folder, number, origin.quality)
        parts.append({name: _hash(folder / name) for name in _names(number)})
        progress(stop - start)
    weights = dataset.weights
    write_json(
        folder / MANIFEST,
        {**plan, "weights": None if weights is None else weights.tolist(), "parts": parts},
    )


def _check_plan(folder: Path, plan: dict[str, Any]) -> None:
    path = folder / "plan.json"
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != plan:
        raise ValueError(f"{folder}: holds another packed set; name another folder, or remove it")
    write_json(path, plan)


def _names(number: int) -> tuple[str, str]:
    return f"images-{number:04d}.bin", f"labels-{number:04d}.npz"


def _is_whole(folder: Path, number: int, count: int) -> bool:
    images, labels = (folder / name for name in _names(number))
    if not (images.is_file() and labels.is_file()):
        return False
    with np.load(labels) as arrays:
        ends = arrays["ends"]
    return len(ends) == count and images.stat().st_size == ends[-1, -1]


def _write_part(
    dataset: LabelledDataset, indices: range, folder: Path, number: int, quality: int
) -> None:
    """Writes the images, then their labels, so that labels are there for whole images only."""
    images, labels = (folder / name for name in _names(number))
    samples, ends, end = [], [], 0
    with replacing(images) as partial, partial.open("wb") as file:
        for index in indices:
            sample = dataset[index]
            row = []
            for blob in _blobs(sample, quality):
                file.write(blob)
                end += len(blob)
                row.append(end)
            ends.append(row)
            # Without its pixels.
            samples.append((sample.lanes, sample.slots, sample.partial))
    lanes = [lane for found, _, _ in samples for lane in found]
    slots = [
        slot
        for found, said, _ in samples
        for slot in (said if said is not None else [-1] * len(found))
    ]
    with replacing(labels) as partial:
        np.savez(
            partial,
            ends=np.array(ends, np.int64),
            lanes=np.array([len(found) for found, _, _ in samples], np.int32),
            said=np.array([said is not None for _, said, _ in samples]),
            partial=np.array([some for _, _, some in samples]),
            slots=np.array(slots, np.int8),
            lengths=np.array([len(lane) for lane in lanes], np.int32),
            points=np.concatenate([*lanes, np.zeros((0, 2), np.float32)]).astype(np.float32),
        )


def _blobs(sample: LabelledImage, quality: int) -> tuple[bytes, bytes]:
    """The image as a JPEG, and its class map as a PNG, empty where there is none."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    _, image = cv2.imencode(".jpg", sample.image, options)
    if sample.classes is None:
        return image.tobytes(), b""
    return image.tobytes(), cv2.imencode(".png", sample.classes)[1].tobytes()


def _hash(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


class Packed:
    """A packed set. Its images come as they were when it was packed, but for JPEG's losses."""

    def __init__(self, folder: Path, reading: Reading | None = None) -> None:
        """Read the manifest and the labels.

        Raises FileNotFoundError or ValueError that name the file at fault.
        """
        path = folder / MANIFEST
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: no such file; a folder that `python -m training pack` has finished is "
                "right"
            )
        self.manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if self.manifest.get("format") != FORMAT:
            raise ValueError(f"{path}: not a packed set of format {FORMAT}; pack it anew")
        self._reading = reading or Reading()
        self._parts = [_Part(folder, number) for number in range(len(self.manifest["parts"]))]
        count, weights = self.manifest["images"], self.manifest["weights"]
        if sum(len(part) for part in self._parts) != count:
            raise ValueError(f"{folder}: holds fewer images than the {count} of its manifest")
        self.slots: int | None = self.manifest.get("slots")
        self.weights = None if weights is None else np.array(weights)
        self._cache = Cache(count, self._reading.cache_mb)
        self.description = f"packed, {folder}: {self.manifest['description']}"

    def __len__(self) -> int:
        return int(self.manifest["images"])

    def __getitem__(self, index: int) -> LabelledImage:
        return self._cache.get(index, lambda: self._read(index))

    def _read(self, index: int) -> LabelledImage:
        sample = self._parts[index // PART].read(index % PART)
        width, limit = sample.image.shape[1], self._reading.max_width
        if width <= limit:
            return sample
        size = (limit, round(sample.image.shape[0] * limit / width))
        image = np.asarray(cv2.resize(sample.image, size, interpolation=cv2.INTER_AREA), np.uint8)
        factors = np.divide(size, sample.image.shape[1::-1])
        classes = sample.classes
        if classes is not None:
            classes = np.asarray(
                cv2.resize(classes, size, interpolation=cv2.INTER_NEAREST_EXACT), np.uint8
            )
        lanes = tuple(scaled(lane, factors) for lane in sample.lanes)
        return LabelledImage(image, lanes, sample.slots, classes, sample.partial)


class _Part:
    """One images file, mapped into memory when it is first read, and its labels."""

    def __init__(self, folder: Path, number: int) -> None:
        self._path, labels = (folder / name for name in _names(number))
        try:
            with np.load(labels) as arrays:
                self._arrays = dict(arrays)
        except (OSError, ValueError) as error:
            raise ValueError(f"{labels}: not the labels of a packed set ({error})") from error
        ends = self._arrays["ends"].ravel()
        if not self._path.is_file() or self._path.stat().st_size != ends[-1]:
            raise ValueError(f"{self._path}: not whole: {ends[-1]} bytes are right; pack it anew")
        self._ends = np.concatenate([[0], ends])
        self._first_lane = np.concatenate([[0], self._arrays["lanes"].cumsum()])
        self._first_point = np.concatenate([[0], self._arrays["lengths"].cumsum()])
        self._bytes: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self._arrays["lanes"])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_bytes": None}

    def read(self, index: int) -> LabelledImage:
        if self._bytes is None:
            self._bytes = np.memmap(self._path, np.uint8, "r")
        image = self._decoded(2 * index, cv2.IMREAD_COLOR)
        if image is None:
            raise ValueError(f"{self._path}: image {index} is not a JPEG; pack it anew")
        first, last = self._first_lane[index : index + 2]
        slots = self._arrays["slots"][first:last].tolist()
        return LabelledImage(
            image,
            tuple(self._lane(lane) for lane in range(first, last)),
            tuple(slots) if self._arrays["said"][index] else None,
            self._decoded(2 * index + 1, cv2.IMREAD_UNCHANGED),
            bool(self._arrays["partial"][index]),
        )

    def _lane(self, lane: int) -> Polyline:
        points: Polyline = self._arrays["points"][slice(*self._first_point[lane : lane + 2])]
        return points

    def _decoded(self, blob: int, flags: int) -> NDArray[np.uint8] | None:
        assert self._bytes is not None
        data = self._bytes[self._ends[blob] : self._ends[blob + 1]]
        found = cv2.imdecode(data, flags) if len(data) else None
        return None if found is None else np.asarray(found, np.uint8)


def verify(folder: Path) -> None:
    """Raises ValueError that names the first file whose bytes are not those of the manifest."""
    for part in Packed(folder).manifest["parts"]:
        for name, known in part.items():
            if _hash(folder / name) != known:
                raise ValueError(f"{folder / name}: its bytes are not those that were packed")


def size_of(folder: Path) -> int:
    """Bytes of a packed set's files."""
    return sum(os.path.getsize(folder / entry) for entry in os.listdir(folder))
