"""What a run logs: numbers by step, as JSON lines to compute with and for TensorBoard to show."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from lane_sad_ros.files import replacing

NAME = "history.jsonl"


class History:
    """The history of the run in a folder, gone on with after a step.

    lines: how many entries there are.
    """

    def __init__(self, output: Path, step: int, lines: int) -> None:
        """Open it; entries behind the first `lines`, of an interrupted run, are dropped."""
        self._path = output / NAME
        kept = read_history(output)[:lines]
        self.lines = len(kept)
        with replacing(self._path) as partial:
            partial.write_text("".join(json.dumps(entry) + "\n" for entry in kept))
        self._board = SummaryWriter(str(output), purge_step=step + 1)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Log named numbers of a step. Raises OSError that names the file."""
        with _named(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        self.lines += 1
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Write everything out."""
        with _named(self._path.with_name("events.out.tfevents")):
            self._board.close()


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors such as a full disk, which name no file, name this one."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def read_history(output: Path) -> list[dict[str, Any]]:
    """The entries of a run's folder in order, "step" and named numbers; none without a history."""
    path = output / NAME
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            entries.append(json.loads(line))
        except ValueError:  # the last line of a killed run
            break
    return entries
