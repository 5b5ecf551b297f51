"""CULane's lists and .lines.txt files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.files import read_text, write_text
from lane_sad_ros.formats.ends import continued_to, straightened
from lane_sad_ros.formats.points import points
from lane_sad_ros.lanes import Lanes

IMAGE_SIZE = (1640, 590)

# Share of the rows; of 365 lines of training images one spans less, 1.5 % span less than 0.2.
LEAST_ROWS = 0.15

# Share of the width: half of a line's points lie this near to the straight line that it is.
NEAR = 0.004

Points = NDArray[np.float32]


def category_lists(paths: Sequence[str | os.PathLike[str]]) -> dict[str, Path]:
    """The list files by category: `test4_noline.txt` holds the images of "noline".

    paths: list files, and folders of them such as CULane's `list/test_split`.
    Raises ValueError where there is none or two have the same name.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        files += sorted(path.glob("*.txt")) if path.is_dir() else [path]
    if not files:
        raise ValueError(f"{', '.join(map(str, paths))}: no list of a category (*.txt) in there")
    lists: dict[str, Path] = {}
    for file in files:
        category = re.sub(r"^test\d+_", "", file.stem)
        if category in lists:
            raise ValueError(f"{file}: category {category} is that of {lists[category]} already")
        lists[category] = file
    return lists


def image_names(list_path: str | os.PathLike[str]) -> Iterator[str]:
    """The images of a list file, below the root: the first word of each line that has one."""
    for number, line in enumerate(read_text(list_path).split("\n"), start=1):
        for word in line.split(maxsplit=1)[:1]:
            if not Path(name := word.lstrip("/")).name:
                raise ValueError(f"{list_path}:{number}: {word} is no image")
            yield name


def lines_file(name: str) -> Path:
    """Where the lanes of an image are, in a folder of truth or predictions."""
    return Path(name).with_suffix(".lines.txt")


def read_lanes(path: str | os.PathLike[str]) -> list[Points]:
    """The lanes of a `.lines.txt` file, N×2 (u, v) each; a blank line is a lane without points.

    Raises ValueError naming file and line where one is not made of pairs of numbers.
    """
    lines = read_text(path).split("\n")
    lanes: list[NDArray[np.float32]] = []
    for number, line in enumerate(lines if lines[-1] else lines[:-1], start=1):
        words = line.split()
        if len(words) % 2:
            raise ValueError(f"{path}:{number}: {len(words)} numbers; u and v come in pairs")
        try:
            lanes.append(points(words, 2))
        except ValueError as error:
            raise ValueError(f"{path}:{number}: not numbers `u v u v ...` ({error})") from error
    return lanes


def official(lanes: Lanes) -> list[Points]:
    """The lanes as CULane labels them, N×2 each.

    CULane labels the ego lane's borders and the next on either side, through whatever hides them to
    the last row, and hardly a line that is seen in less than `LEAST_ROWS`. What is bent at one end
    alone is a guess there: its other part goes on.
    """
    (width, height), middle = lanes.image_size, (len(lanes) - 1) / 2
    return [
        continued_to(straightened(lane.points[:, :2], NEAR * width), float(height))
        for lane in lanes
        if len(lane.points)
        and abs(lane.slot - middle) < 2
        and np.ptp(lane.points[:, 1]) >= LEAST_ROWS * height
    ]


def write_lanes(path: str | os.PathLike[str], lanes: Lanes) -> None:
    """Writes the lanes of `official`, to a thousandth of a pixel.

    The file is empty where there is none: the metric would take a blank line for a wrong lane.
    """
    lines = [" ".join(f"{u:.3f} {v:.3f}" for u, v in points) + "\n" for points in official(lanes)]
    write_text(path, "".join(lines))


def lanes_if_present(path: Path) -> list[Points] | None:
    """As `read_lanes`; None where there is no such file."""
    return read_lanes(path) if path.is_file() else None
