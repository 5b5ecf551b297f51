"""What the node knows about its own work: counts, rates, latencies, and their messages.

Times are seconds of the steady clock; ages and rates are right when simulated time stands still.
Rates, latencies and levels look at the last `WINDOW` seconds, counts at everything since the node
became active.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

WINDOW = 10.0
STAGES = (
    "wait",
    "convert",
    "preprocess",
    "network",
    "decode",
    "road",
    "publish",
    "pictures",
    "total",
    "stamp to output",
)
"""wait: from the receipt of a frame to its turn. convert: message to pixels. road: tracking, ground
and ego lane. publish: all but pictures. pictures: overlay and segmentation. total: from the receipt
until lanes are out. stamp to output: from the image's stamp until lanes are out, by the node's
clock."""

_UNHEARD = "nobody listens to it"
_MANY = 10  # frames from which on their share says something
_TOO_SLOW = (
    "the detector is too slow for them, see its latencies. Stop what else keeps the processor "
    "busy, send fewer images, or choose a faster engine or device"
)

_LEVELS = (DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR)
OK, WARN, ERROR = range(3)


class Window:
    """Values of the last `seconds`."""

    def __init__(self, seconds: float = WINDOW) -> None:
        self.seconds = seconds
        self._values: deque[tuple[float, float]] = deque()

    def add(self, now: float, value: float = 1.0) -> None:
        self._values.append((now, value))
        self._forget(now)

    def values(self, now: float) -> list[float]:
        self._forget(now)
        return [value for _, value in self._values]

    def _forget(self, now: float) -> None:
        while self._values and self._values[0][0] < now - self.seconds:
            self._values.popleft()


class Report:
    """One status in the making: the worst level wins, all reasons are told."""

    def __init__(self) -> None:
        self.level = OK
        self.reasons: list[str] = []
        self.values: dict[str, str] = {}

    def add(self, level: int, reason: str) -> None:
        self.level = max(self.level, level)
        self.reasons.append(reason)

    def with_values(self, values: Mapping[str, str]) -> Report:
        """This report, with values before those it has."""
        self.values = {**values, **self.values}
        return self

    def message(self, name: str, hardware_id: str, fine: str) -> DiagnosticStatus:
        """The status; `fine` is what to say where there is nothing to report."""
        return DiagnosticStatus(
            level=_LEVELS[self.level],
            name=name,
            message="; ".join(self.reasons) or fine,
            hardware_id=hardware_id,
            values=[KeyValue(key=key, value=value) for key, value in self.values.items()],
        )


class CameraMonitor:
    """The counts of one camera. Its methods may be called from any thread."""

    def __init__(self, now: float) -> None:
        self._lock = threading.Lock()
        self._started = now
        self._counts: Counter[str] = Counter()
        self._bad: Counter[str] = Counter()
        self._last_received: float | None = None
        self._qos_problem = ""
        self._recent: defaultdict[str, Window] = defaultdict(Window)
        self._paced = Window()
        self._last_bad = self._last_failure = self._last_groundless = ""
        self._without_ground: Counter[str] = Counter()
        self._ground = _UNHEARD
        self._latencies = {stage: Window() for stage in STAGES}

    def received(self, now: float) -> None:
        """A frame arrived."""
        with self._lock:
            self._count("received", now)
            self._last_received = now

    def dropped(self, now: float) -> None:
        """A newer frame replaced one that nobody had looked at."""
        with self._lock:
            self._count("dropped", now)

    def lost(self, now: float, frames: int) -> None:
        """The middleware lost frames on the way."""
        with self._lock:
            self._count("lost", now, frames)

    def unheard(self, now: float) -> None:
        """A frame was left alone because nobody listens."""
        with self._lock:
            self._count("unheard", now)
            self._paced = Window()
            self._ground = _UNHEARD

    def bad(self, now: float, reason: str, words: str) -> None:
        """A frame could not be used."""
        with self._lock:
            self._bad[reason] += 1
            self._count("bad", now)
            self._last_bad = words

    def failed(self, now: float, words: str) -> None:
        """The detector failed on a frame."""
        with self._lock:
            self._count("failed", now)
            self._last_failure = words

    def processed(self, now: float, lanes_found: int, batch: int) -> None:
        """The lanes of a frame are out, which was one of `batch` frames detected together."""
        with self._lock:
            self._count("processed", now)
            self._paced.add(now, now)
            self._recent["lanes"].add(now, lanes_found)
            self._recent["batch"].add(now, batch)

    def on_ground(self, source: str) -> None:
        """The lanes of a frame lie on the road, by a calibration from `source`."""
        with self._lock:
            self._ground = source

    def no_ground(self, now: float, reason: str, words: str, wanted: bool) -> None:
        """The lanes of a frame stay in pixels. wanted: whether that is a problem."""
        with self._lock:
            self._without_ground[reason] += 1
            self._ground = words
            if wanted:
                self._recent["no ground"].add(now)
                self._last_groundless = words

    def ground_unheard(self) -> None:
        """Nobody wants to know where the lanes of a frame lie on the road."""
        with self._lock:
            self._ground = _UNHEARD

    def rate(self, now: float) -> float | None:
        """Frames per second that were processed lately, since somebody listens; None of one."""
        with self._lock:
            times = self._paced.values(now)
            return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else None

    def silence(self, now: float) -> float:
        """Seconds since the last frame, or since the start."""
        with self._lock:
            return now - (self._started if self._last_received is None else self._last_received)

    def took(self, now: float, stages: Mapping[str, float]) -> None:
        """What a frame cost; seconds by name of `STAGES`."""
        with self._lock:
            for stage, seconds in stages.items():
                self._latencies[stage].add(now, seconds)

    def qos_problem(self, words: str) -> None:
        """A publisher cannot be received."""
        with self._lock:
            self._qos_problem = words

    def report(self, now: float, silent: str, hint: str) -> Report:
        """The status at `now`.

        silent: why no frame has come for too long, empty where one has. hint: what helps against
        frames lost on the way.
        """
        with self._lock:
            report = Report()
            if self._qos_problem:
                report.add(ERROR if self._last_received is None else WARN, self._qos_problem)
            last = self._last_received
            if silent:
                since = "yet" if last is None else f"for {now - last:.1f} s"
                report.add(WARN, f"no frame {since}: {silent}")
            self._report_frames(report, now, hint)
            report.values = self._values(now)
            return report

    def _count(self, what: str, now: float, frames: int = 1) -> None:
        self._counts[what] += frames
        self._recent[what].add(now, frames)

    def _lately(self, what: str, now: float) -> int:
        """How many frames lately."""
        return int(sum(self._recent[what].values(now)))

    def _report_frames(self, report: Report, now: float, hint: str) -> None:
        if failures := self._lately("failed", now):
            report.add(ERROR, f"{failures} frame(s) failed lately: {self._last_failure}")
        if bad := self._lately("bad", now):
            report.add(WARN, f"{bad} bad frame(s) lately, the last: {self._last_bad}")
        if lost := self._lately("lost", now):
            report.add(WARN, f"{lost} frame(s) lost on the way lately: {hint}")
        dropped, received = self._lately("dropped", now), self._lately("received", now)
        if received >= _MANY and dropped > received / 2:
            report.add(WARN, f"{dropped} of {received} frames dropped lately: {_TOO_SLOW}")
        if without := self._lately("no ground", now):
            report.add(
                WARN, f"{without} frame(s) lately without ground points: {self._last_groundless}"
            )
        processed = self._recent["lanes"].values(now)
        if self._lately("unheard", now) and not processed:
            report.add(OK, "nobody subscribed, nothing computed")
        elif processed and not any(processed):
            report.add(OK, f"no lanes in the last {len(processed)} frame(s)")

    def _values(self, now: float) -> dict[str, str]:
        span = self._span(now)
        values = {
            "frames received": str(self._counts["received"]),
            "frames processed": str(self._counts["processed"]),
            "frames dropped": str(self._counts["dropped"]),
            "frames lost on the way": str(self._counts["lost"]),
            "frames without subscriber": str(self._counts["unheard"]),
            "frames failed": str(self._counts["failed"]),
            "frames bad": str(self._counts["bad"]),
            **{f"frames bad: {reason}": str(count) for reason, count in self._bad.items()},
            **{
                f"frames without ground: {reason}": str(count)
                for reason, count in self._without_ground.items()
            },
            "ground": self._ground,
            "rate in [Hz]": f"{self._lately('received', now) / span:.2f}",
            "rate out [Hz]": f"{self._lately('processed', now) / span:.2f}",
            "age of last frame [s]": (
                "never" if self._last_received is None else f"{now - self._last_received:.2f}"
            ),
        }
        for key in ("batch", "lanes"):
            if numbers := self._recent[key].values(now):
                values[f"{key} mean"] = f"{sum(numbers) / len(numbers):.2f}"
        for stage, window in self._latencies.items():
            values.update(_latency(stage, window.values(now)))
        return values

    def _span(self, now: float) -> float:
        """The seconds that windows look back."""
        return max(min(WINDOW, now - self._started), 1e-9)


class Throttle:
    """Lets each subject through at once, then no more often than every `period` seconds."""

    def __init__(self, period: float) -> None:
        self._period = period
        self._next: dict[object, float] = {}

    def due(self, subject: object, now: float) -> bool:
        if now < self._next.get(subject, now):
            return False
        self._next[subject] = now + self._period
        return True


def _latency(stage: str, seconds: Iterable[float]) -> dict[str, str]:
    milliseconds = np.fromiter(seconds, float) * 1e3
    if not milliseconds.size:
        return {}
    return {
        f"{stage} median [ms]": f"{np.median(milliseconds):.2f}",
        f"{stage} 99th [ms]": f"{np.percentile(milliseconds, 99):.2f}",
    }
