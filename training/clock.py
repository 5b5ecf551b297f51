"""The time that a leg of a run may take."""

from __future__ import annotations

import os
import time
from collections import deque
from pathlib import Path


def process_seconds() -> float:
    """How long this process has run, its imports included; 0 where the system does not say."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started
    except (OSError, ValueError, AttributeError):
        return 0.0


class TimeUp(Exception):
    """The time ended in the middle of something that can be done again."""


class Clock:
    """Says when a leg has to end, so that what is done at its end fits too.

    ending: what validating takes, seconds; as long as nobody knows, a tenth of the leg.

    How busy the machine is shows in how long the start took. The first step, which prepares much,
    is expected to take as long as that, and a fifth of it is kept free for the end.
    """

    def __init__(self, seconds: float, gone: float = 0.0) -> None:
        """Of a leg of so many seconds, some of which are gone; a twentieth, at most 5 s, is kept
        free.
        """
        self._start = time.monotonic() - gone
        self._end = self._start + seconds - min(5.0, seconds / 20)
        self.ending = seconds / 10
        self._steps: deque[float] = deque(maxlen=20)
        self._began: float | None = None

    def step_fits(self) -> bool:
        """Whether one more step fits before the ending; asked before each step."""
        now = time.monotonic()
        if self._began is not None:
            self._steps.append(now - self._began)
        elif not self._steps:
            self._steps.append(now - self._start)
            self._end -= self._steps[0] / 5
        self._began = now
        return now + max(self._steps) + 1.2 * self.ending < self._end

    def pause(self) -> None:
        """What comes until the next step is not part of a step."""
        self._began = None

    def check(self) -> None:
        """Raises TimeUp after the leg's time."""
        if time.monotonic() > self._end:
            raise TimeUp
