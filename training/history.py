"""What a run logs: numbers by step, as JSON lines to compute with and for TensorBoard to show."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
        path = output / NAME
        kept = read_history(output)[:lines]
        self.lines = len(kept)
        with replacing(path) as partial:
            partial.write_text("".join(json.dumps(entry) + "\n" for entry in kept))
        self._file = path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(output), purge_step=step + 1)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Log named numbers of a step."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        self.lines += 1
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Write everything out."""
        self._file.close()
        self._board.close()


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
