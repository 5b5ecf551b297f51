"""What the next leg of a run needs, in files small enough to be sent: parts with their hashes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from lane_sad_ros.files import parse_json, read_text, replacing, write_json

from . import checkpoint
from .history import NAME as HISTORY

PART = 16 * 2**20
MANIFEST = "leg.json"
# The checkpoint last: with it, a folder is a run's.
_FILES = (
    "config.yaml",
    "figures.json",
    "weights.safetensors",
    "best.safetensors",
    HISTORY,
    checkpoint.LAST,
)


def export_leg(run: Path, folder: Path) -> int:
    """Leave in a folder what the next leg of a run needs; returns the number of files.

    Files of at most `PART` bytes, NAME.00.HASH, NAME.01.HASH ..., and leg.json with their whole
    hashes, which is written last. An earlier leg there stays until then, so that an export that is
    interrupted loses nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, dict[str, str]] = {}
    for name in _FILES:
        if (run / name).exists():
            content = (run / name).read_bytes()
            files[name] = {}
            for number, start in enumerate(range(0, max(len(content), 1), PART)):
                piece = content[start : start + PART]
                digest = hashlib.sha256(piece).hexdigest()
                part = f"{name}.{number:02d}.{digest[:8]}"
                with replacing(folder / part) as partial:
                    partial.write_bytes(piece)
                files[name][part] = digest
    write_json(folder / MANIFEST, files)
    for name in _FILES:
        for there in folder.glob(f"{name}.[0-9][0-9]*"):
            if there.name not in files.get(name, ()):
                there.unlink()
    return 1 + sum(len(parts) for parts in files.values())


def import_leg(folder: Path, run: Path) -> None:
    """Put the files of an exported leg into the folder of a run, which has no checkpoint yet.

    Raises ValueError that names the part that is damaged, or the run that is there already.
    """
    if (run / checkpoint.LAST).exists():
        raise ValueError(f"{run}: holds a run; name another folder to go on with {folder}")
    _write(_whole(folder), run)


def import_newer(folder: Path, run: Path) -> None:
    """As `import_leg`, but a run may be there: it is replaced where the leg is further."""
    whole = _whole(folder)
    here = checkpoint.load(run)
    if here is None or here[0]["step"] < checkpoint.step_of(whole[checkpoint.LAST]):
        _write(whole, run)


def _whole(folder: Path) -> dict[str, bytes]:
    """The files of an exported leg by name."""
    whole: dict[str, bytes] = {}
    for name, parts in _manifest(folder).items():
        pieces = []
        for part, expected in parts.items():
            piece = (folder / part).read_bytes()
            if hashlib.sha256(piece).hexdigest() != expected:
                raise ValueError(f"{folder / part}: damaged; copy the leg again")
            pieces.append(piece)
        whole[name] = b"".join(pieces)
    return whole


def _write(whole: dict[str, bytes], run: Path) -> None:
    for name in _FILES:
        if name in whole:
            with replacing(run / name) as partial:
                partial.write_bytes(whole[name])


def _manifest(folder: Path) -> dict[str, dict[str, str]]:
    """The parts of each file of a leg, with their hashes."""
    path = folder / MANIFEST
    found: Any = parse_json(read_text(path), str(path), "leg.json of fit --export-leg is right")
    try:
        names = [part for parts in found.values() for part in parts]
        known = set(found) <= set(_FILES) and all(Path(name).name == name for name in names)
    except (AttributeError, TypeError):
        known = False
    if not known:
        raise ValueError(f"{path}: not the description of a leg; export it again")
    return dict(found)
