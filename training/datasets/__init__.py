"""Labelled images for training, whatever layout they are stored in; see docs/datasets.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from . import bdd100k, culane, tusimple
from .bdd100k import BDD100K
from .culane import CULane
from .labelled import LabelledDataset, LabelledImage, Reading
from .negatives import Negatives
from .packed import Packed
from .polylines import Labels, PolylineImages
from .tusimple import TuSimple

__all__ = ["KINDS", "LabelledDataset", "LabelledImage", "Reading", "open_dataset"]

KINDS = ("tusimple", "culane", "bdd100k", "lanes", "negatives", "packed", "scenes")
SPLITS = ("train", "val", "test")


def open_dataset(
    kind: str,
    path: Path,
    root: Path | None = None,
    *,
    split: str | None = None,
    reading: Reading | None = None,
    labels: Labels | None = None,
) -> LabelledDataset:
    """The data set of a kind at a path.

    kind: "tusimple" (also the rendered scenes), "culane", "bdd100k", "lanes", "negatives",
    "packed", or "scenes", whose recipe is rendered first.
    path: the label file, list or folder of labels; with `split`, the folder of the official data
    set.
    root: the folder that image paths start at, by default as the data set's layout has it.
    split: "train", "val" or "test", as the official data set has them.
    labels: of kind "lanes", what of the file is taken and what its lines say.
    Raises FileNotFoundError or ValueError that name the file, what is wrong and what is right.
    """
    if kind not in KINDS:
        raise ValueError(f"no data set of kind {kind!r}; known are {', '.join(KINDS)}")
    if kind in ("lanes", "negatives", "packed", "scenes") and split is not None:
        raise ValueError(f"{path}: {kind} have no split; leave split out")
    if kind == "lanes":
        return PolylineImages(path, root, reading, labels)
    if kind == "packed":
        return Packed(path, reading)
    if kind == "scenes":
        from .synthetic import rendered  # the renderer, which other sets do without

        return TuSimple(rendered(path), root, reading)
    if kind == "negatives":
        return Negatives(path, root, reading)
    if split is None:
        if kind == "bdd100k":
            return BDD100K(path, root, reading)
        if path.is_dir():
            raise ValueError(
                f"{path}: a folder; name a label file or list of {kind} in it, or a split: "
                f"{', '.join(SPLITS)}"
            )
        return TuSimple(path, root, reading) if kind == "tusimple" else CULane(path, root, reading)
    if split not in SPLITS:
        raise ValueError(f"no split {split!r}; known are {', '.join(SPLITS)}")
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such folder; with a split, the data set's is right")
    if kind == "tusimple":
        return TuSimple([path / name for name in tusimple.SPLITS[split]], root, reading)
    if kind == "culane":
        return CULane(_first(path, culane.SPLITS[split]), root, reading)
    masks = _first(path, [name.format(split=split) for name in bdd100k.LABELS])
    return BDD100K(masks, root or path / "images" / "100k" / split, reading)


def _first(folder: Path, names: Sequence[str]) -> Path:
    """The first of these files or folders that is there; else the error that names them."""
    found = next((folder / name for name in names if (folder / name).exists()), None)
    if found is None:
        raise FileNotFoundError(f"{folder}: has none of {', '.join(names)}; see docs/datasets.md")
    return found
