"""Inputs named by their data set: tusimple:ROOT:JSON, culane:ROOT:LIST, bdd100k:IMAGES:LABELS."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FORMS = {
    "tusimple": ("ROOT", "JSON"),
    "culane": ("ROOT", "LIST"),
    "bdd100k": ("IMAGES", "LABELS"),
}


@dataclass(frozen=True)
class DatasetInput:
    """A data set: its kind, the folder of its images, and the file that names them.

    The latter may be a folder of label files.
    """

    kind: str
    root: Path
    listing: Path


def kind_of(text: str) -> str:
    """The data set that an input says it is of; empty where it says nothing."""
    kind, colon, _ = text.partition(":")
    return kind if colon and kind in FORMS else ""


def dataset_input(text: str) -> DatasetInput:
    """What an input such as "culane:ROOT:LIST" names; the file may be said from the root on.

    The last colon parts the two. Raises ValueError, or FileNotFoundError for a file that is not
    there.
    """
    kind, _, rest = text.partition(":")
    root, _, listing = rest.rpartition(":")
    if not root or not listing:
        raise ValueError(f"{text}: this form of input is {kind}:{':'.join(FORMS[kind])}")
    file = Path(listing)
    if not file.exists() and Path(root, listing).exists():
        file = Path(root, listing)
    if not file.exists():
        raise FileNotFoundError(f"{file}: no such {FORMS[kind][1]}, nor below {root}")
    return DatasetInput(kind, Path(root), file)
