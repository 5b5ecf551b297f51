"""The newest frame of each camera, handed from the executor to the worker."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Received:
    """A message and when it arrived, seconds of the steady clock."""

    message: Any
    time: float


class NewestFrames:
    """One place per camera: a newer frame replaces one that waits, so that no lag can build up.

    abandoned: nobody waits any more for what becomes of the frames that were taken.
    """

    def __init__(self) -> None:
        self.abandoned = False
        self._changed = threading.Condition()
        self._frames: dict[str, Received] = {}
        self._closed = False

    def put(self, camera: str, message: Any, time: float) -> bool:
        """Leaves a message for the worker; true if it replaced one."""
        with self._changed:
            replaced = camera in self._frames
            self._frames[camera] = Received(message, time)
            self._changed.notify()
            return replaced

    def take(self) -> dict[str, Received] | None:
        """The newest frame of each camera that has one; waits for the first. None when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._frames or self._closed)
            if self._closed:
                return None
            frames, self._frames = self._frames, {}
            return frames

    def close(self) -> None:
        """Makes `take` return None, now and later."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
