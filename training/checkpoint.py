"""Checkpoints of a run: the last, `last.pt`, and the one before it, `previous.pt`.

Each holds a hash of all its values, so that one that a disk or a copy has changed is not gone on
with, and none is written of numbers that are not finite.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lane_sad_ros.files import replacing

LAST, PREVIOUS = "last.pt", "previous.pt"
_HASH = "sha256"


def save(folder: Path, state: dict[str, Any]) -> None:
    """Write the last checkpoint of nested dictionaries, lists, tensors and plain values.

    It becomes the previous one when another is whole. Raises FloatingPointError for numbers that
    are not finite, OSError that names the file where it cannot be written.
    """
    state = _on_host(state)  # at once, as each look at a value there would wait for the device
    if not all(part.isfinite().all() for part in _leaves(state) if isinstance(part, Tensor)):
        raise FloatingPointError("a weight, or what the optimiser keeps of it, is not finite")
    content = io.BytesIO()
    torch.save({**state, _HASH: _hash(state)}, content)
    last = folder / LAST
    with replacing(last) as partial:
        partial.write_bytes(content.getbuffer())
        if last.exists():
            os.replace(last, folder / PREVIOUS)


def step_of(content: bytes) -> int:
    """The step of a checkpoint's file."""
    return int(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)["step"])


def load(folder: Path) -> tuple[dict[str, Any], str] | None:
    """The newest whole checkpoint, on the CPU, and a line that says which; None if there is none.

    Raises ValueError where there are some and none is whole.
    """
    there = [folder / name for name in (LAST, PREVIOUS) if (folder / name).exists()]
    damaged: list[Path] = []
    for path in there:
        state = _whole(path)
        if state is not None:
            lost = "".join(f"{other}: damaged, so the one before is taken; " for other in damaged)
            return state, f"{lost}{path}: going on from step {state['step']}"
        damaged.append(path)
    if damaged:
        raise ValueError(
            f"{', '.join(map(str, damaged))}: damaged; remove to begin anew, or name another folder"
        )
    return None


def clean(folder: Path) -> None:
    """Remove what killed runs left half-written in a folder."""
    for partial in folder.glob(".*.partial*"):
        partial.unlink(missing_ok=True)


def _whole(path: Path) -> dict[str, Any] | None:
    """The state in a file as it was saved; None where the file is damaged."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return state if state.pop(_HASH) == _hash(state) else None
    except Exception:  # a damaged file fails in any way
        return None


def _hash(state: Any) -> str:
    result = hashlib.sha256()
    for part in _leaves(state):
        if isinstance(part, Tensor):
            result.update(f"{part.dtype}{tuple(part.shape)}".encode())
            values = part.contiguous().flatten().view(torch.uint8)
            result.update(values.numpy().data)
        else:
            result.update(f"{part!r};".encode())
    return result.hexdigest()


def _on_host(value: Any) -> Any:
    """Nested dictionaries and lists with their tensors in the host's memory."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, dict):
        return {key: _on_host(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_on_host, value))
    return value


def _leaves(value: Any) -> Iterator[Any]:
    """The values in nested dictionaries and lists, and the keys, in order."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _leaves(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _leaves(inner)
    else:
        yield value
