"""Images without a single lane, which teach a network to stay silent."""

from __future__ import annotations

from pathlib import Path

from lane_sad_ros.files import parse_json, read_text
from lane_sad_ros.image_files import IMAGE_SUFFIXES, is_image_name

from .labelled import (
    Cache,
    LabelledImage,
    Reading,
    check_images,
    read_scaled,
)


class Negatives:
    """Images that hold no lane: all of a folder, or those that a list names."""

    slots = None
    weights = None

    def __init__(
        self, path: Path, root: Path | None = None, reading: Reading | None = None
    ) -> None:
        """Find the images.

        path: a folder, which is searched with the folders in it; a text file with a path on each
        line; or a JSON file with a list of paths. root: the folder that a list's paths start at,
        by default its own. Raises FileNotFoundError or ValueError that name the file and what is
        wrong.
        """
        self._reading = reading or Reading()
        if path.is_dir():
            self.images = sorted(p for p in path.rglob("*") if is_image_name(p))
            if not self.images:
                raise ValueError(f"{path}: no image ({', '.join(IMAGE_SUFFIXES)}) in this folder")
        elif path.is_file():
            folder = root if root is not None else path.parent
            names = _names(path)
            check_images(
                folder, [name for _, name in names], lambda index: f"{path}:{names[index][0]}"
            )
            self.images = [folder / name for _, name in names]
        else:
            raise FileNotFoundError(f"{path}: no such folder or list of images without lanes")
        self._cache = Cache(len(self.images), self._reading.cache_mb)
        self.description = f"negatives, {path}: {len(self.images)} images, all without lanes"

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> LabelledImage:
        return self._cache.get(index, lambda: self._read(self.images[index]))

    def _read(self, path: Path) -> LabelledImage:
        return LabelledImage(read_scaled(path, self._reading.max_width)[0], ())


def _names(path: Path) -> list[tuple[int, str]]:
    """(line, or place in a JSON list, from 1; path) of each image that a list names."""
    text, right = read_text(path), "a list of image paths is right"
    is_json = path.suffix.lower() == ".json"
    names = parse_json(text, str(path), right) if is_json else text.splitlines()
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{path}: not a list of image paths; a JSON list of strings is right")
    numbered = [(n, name.strip()) for n, name in enumerate(names, start=1) if name.strip()]
    if not numbered:
        raise ValueError(f"{path}: names no image; one path per line is right")
    return numbered
