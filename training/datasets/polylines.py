"""Lanes as polylines on images of any size: the files `lanes.json`, see docs/datasets.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.files import read_text
from lane_sad_ros.formats import culane
from lane_sad_ros.formats.ends import continued_to, cut_below, vanishing_row
from lane_sad_ros.formats.polylines import Polylines, read_polylines
from lane_sad_ros.image_files import image_header

from .labelled import (
    Cache,
    LabelledImage,
    Polyline,
    Reading,
    check_images,
    read_scaled,
    scaled,
)

ENDS = ("labelled", "bottom", "full", "culane")

# A line is continued down by at most this share of its own rows: further is a guess.
_MOST = 0.5
# A line is continued upwards to this share of the way from the vanishing row to the bottom one...
_FAR = 0.12
# ... and only if it is straight: its points lie this near to one line, as a share of the width.
_STRAIGHT = 0.006

# Bytes of an image that hold its size, mostly; a list may name a hundred thousand images.
_HEADER = 256 * 1024


@dataclass(frozen=True)
class Labels:
    """What of a lanes file is taken, and what its lines say.

    include: lists of images (docs/datasets.md); where there is any, only what they name is taken.
    exclude: lists of images that are left out. weights: lists that say how often an image is drawn,
    relative to others; 1 where none names it, the last where several do.
    ego_only: only the ego lane's two lines are labelled; nothing is learnt of other slots.
    ends: where lines end: "labelled"; "bottom": continued straight down to `bottom`, but by no more
    than half of their own rows; "full": straight ones also up, nearly to where the lanes meet;
    "culane": as labelled, and lanes are measured as CULane's official writer has them.
    bottom: share of the image's height where the road ends and the car's own bonnet or the image's
    border begins; lines end there.
    """

    include: tuple[Path, ...] = ()
    exclude: tuple[Path, ...] = ()
    weights: tuple[Path, ...] = ()
    ego_only: bool = False
    ends: str = "labelled"
    bottom: float = 1.0

    def __post_init__(self) -> None:
        if self.ends not in ENDS:
            raise ValueError(f"ends {self.ends!r} is not one of {', '.join(ENDS)}")
        if not 0 < self.bottom <= 1:
            raise ValueError(f"bottom is a share of the height in (0, 1], not {self.bottom}")


class PolylineImages:
    """The images of a lanes file; slots are given by position around the ego lane."""

    slots = None

    def __init__(
        self,
        path: Path,
        root: Path | None = None,
        reading: Reading | None = None,
        labels: Labels | None = None,
    ) -> None:
        """Read the labels.

        path: a file as `lane_sad_ros.formats.polylines` reads, or a list of CULane (`.txt`), whose
        lanes lie beside the images. root: the folder that image paths start at, by default the
        file's. labels: by default all that it holds, as it is.
        Raises FileNotFoundError or ValueError that name the file, the line and what is wrong.
        """
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file of lanes; JSON lines are right")
        self.root = root if root is not None else path.parent
        self.labels = labels or Labels()
        self._reading = reading or Reading()
        listed = path.suffix.lower() == ".txt"
        everything = _from_culane(path, self.root) if listed else read_polylines(path)
        chosen = _chosen(everything, self.labels)
        self.records = [everything[index] for index in chosen]
        if not self.records:
            raise ValueError(f"{path}: the lists include none of its {len(everything)} images")
        check_images(
            self.root,
            [record.image for record in self.records],
            lambda index: f"{path}:{self.records[index].line}",
        )
        self.weights = (
            _weights(everything, self.labels.weights)[chosen] if self.labels.weights else None
        )
        self._cache = Cache(len(self.records), self._reading.cache_mb)
        counts = [len(record.lanes) for record in self.records]
        self.description = (
            f"lanes, {path}: {len(counts)} of {len(everything)} images, {sum(counts)} lines, "
            f"{counts.count(0)} images without lanes"
            f"{', the ego lane alone is labelled' if self.labels.ego_only else ''}"
        )

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> LabelledImage:
        return self._cache.get(index, lambda: self._read(self.records[index]))

    def true_lanes(self, record: Polylines) -> list[Polyline]:
        """The lanes of an image in its pixels, with the ends that the labels are said to have."""
        return with_ends(record, self.labels)

    def _read(self, record: Polylines) -> LabelledImage:
        path = self.root / record.image
        image, factors = read_scaled(path, self._reading.max_width)
        width, height = np.divide(image.shape[1::-1], factors)
        if abs(width - record.size[0]) > 1.5 or abs(height - record.size[1]) > 1.5:
            raise ValueError(
                f"{path}: {width:.0f}x{height:.0f} pixels, but its lanes are said to lie on "
                f"{record.size[0]}x{record.size[1]}"
            )
        lanes = tuple(scaled(lane, factors) for lane in self.true_lanes(record))
        return LabelledImage(image, lanes, partial=self.labels.ego_only)


def _from_culane(path: Path, root: Path) -> list[Polylines]:
    """The images that a list of CULane names, with the lanes that lie beside them."""
    found = []
    for number, name in enumerate(culane.image_names(path), start=1):
        with (root / name).open("rb") as file:
            start = file.read(_HEADER)
            header = image_header(start) or image_header(start + file.read())
        if header is None:
            raise ValueError(f"{root / name}: not an image of a known format")
        lanes = culane.read_lanes(root / culane.lines_file(name))
        drawn = tuple(lane for lane in lanes if len(lane) > 1)
        found.append(Polylines(name, header.size, drawn, line=number))
    return found


def with_ends(record: Polylines, labels: Labels) -> list[Polyline]:
    """The lanes of a record, ending where `labels` says; those that end up outside are left out."""
    width, height = record.size
    bottom = labels.bottom * height - 1 if labels.bottom < 1 else height - 1.0
    lanes = list(record.lanes)
    if labels.bottom < 1:
        lanes = [cut_below(lane, bottom) for lane in lanes]
        lanes = [lane for lane in lanes if len(lane) >= 2]
    if labels.ends in ("labelled", "culane"):
        return lanes
    meeting = vanishing_row(lanes, height)
    lanes = [
        lane if _leaves(lane, width) else continued_to(lane, min(bottom, _reach(lane)))
        for lane in lanes
    ]
    if labels.ends == "bottom" or meeting is None:
        return lanes
    far = meeting + _FAR * (bottom - meeting)
    return [continued_to(lane, far) if _straight(lane, width) else lane for lane in lanes]


def _reach(lane: Polyline) -> float:
    """The row down to which a line may be continued."""
    low, high = lane[:, 1].max(), lane[:, 1].min()
    return float(low + _MOST * (low - high))


def _straight(lane: Polyline, width: int) -> bool:
    fit = np.polyfit(lane[:, 1].astype(np.float64), lane[:, 0], 1)
    away = np.abs(np.polyval(fit, lane[:, 1]) - lane[:, 0])
    return bool(away.max() < _STRAIGHT * width)


def _leaves(lane: Polyline, width: int) -> bool:
    """Whether a line's lower end lies beyond a side of the image."""
    foot = lane[lane[:, 1].argmax(), 0]
    return bool(foot <= 0 or foot >= width - 1)


def read_list(path: Path) -> list[tuple[str, str, float]]:
    """The lines of a list of images: (field, pattern, weight).

    A line is `pattern`, or `field=pattern` for a field of the record, such as `seq=kitti`; without
    a field it is the image's path. Patterns have `*`, `?` and `[]`. A number behind it is a weight,
    1 where there is none. What follows `#` is the reason.
    Raises FileNotFoundError or ValueError that name the file and the line.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such list of images")
    entries = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            (weight,) = (float(word) for word in words[1:] or ["1"])
        except ValueError:
            weight = -1.0
        if not weight >= 0:
            raise ValueError(f"{path}:{number}: an image's path and perhaps a weight are right")
        field, equals, pattern = words[0].partition("=")
        entries.append((field, pattern, weight) if equals else ("image", words[0], weight))
    return entries


def _chosen(records: Sequence[Polylines], labels: Labels) -> list[int]:
    included = [_named(records, path) for path in labels.include]
    excluded = [_named(records, path) for path in labels.exclude]
    wanted = set().union(*included) if included else set(range(len(records)))
    wanted -= set().union(*excluded)
    return sorted(wanted)


def _named(records: Sequence[Polylines], path: Path) -> dict[int, float]:
    """The records that a list names, by their numbers, with their weights."""
    found = {}
    for number, (field, pattern, weight) in enumerate(read_list(path), start=1):
        matching = [i for i, record in enumerate(records) if _matches(record, field, pattern)]
        if not matching:
            raise ValueError(f"{path}: entry {number}, {pattern}, names no image of the set")
        found.update(dict.fromkeys(matching, weight))
    return found


def _matches(record: Polylines, field: str, pattern: str) -> bool:
    value = record.image if field == "image" else record.fields.get(field)
    return value is not None and fnmatchcase(value, pattern)


def _weights(records: Sequence[Polylines], lists: Sequence[Path]) -> NDArray[np.float64]:
    weights = np.ones(len(records))
    for path in lists:
        for index, weight in _named(records, path).items():
            weights[index] = weight
    return weights
