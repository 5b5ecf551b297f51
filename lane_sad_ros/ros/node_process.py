"""The `lane_detector` node as a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from lane_sad_ros.ros.playing.session import SessionError

_PATIENCE = 8.0  # seconds a node gets to end by itself


class NodeProcess:
    """Starts the node on entering, ends it on leaving, whatever happens between.

    log: file that takes everything the node prints. parameters: name to value. program: of Python,
    that runs the node, by default the node's own module.
    """

    def __init__(
        self, log: Path, parameters: dict[str, Any], program: Sequence[str] | None = None
    ) -> None:
        self.log = log
        program = program or ["-m", "lane_sad_ros.ros.detector.node"]
        self._command = [sys.executable, *program, "--ros-args"]
        for name, value in parameters.items():
            # JSON is YAML, which is what the node reads the value as.
            self._command += ["-p", f"{name}:={json.dumps(value)}"]

    def __enter__(self) -> NodeProcess:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.unlink(missing_ok=True)
        with _held_signals() as held:
            self._start()
        try:
            for number in held:
                signal.raise_signal(number)
        except BaseException:  # an exit, of what was not entered
            self.__exit__(None, None, None)
            raise
        return self

    def restart(self) -> None:
        """Kills the process and starts it anew."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._start()

    def end(self, number: signal.Signals) -> int:
        """Sends the process a signal; its exit code, -SIGKILL where it did not end by itself."""
        self._signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(_PATIENCE)
        return -signal.SIGKILL

    def _start(self) -> None:
        with self.log.open("a", encoding="utf-8") as log:
            # Its own process group, so that Ctrl-C in the terminal ends the demo in order.
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    def check(self) -> None:
        """Raises SessionError where the process has ended."""
        code = self._process.poll()
        if code is not None:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            raise SessionError(f"the node {how}")

    @property
    def pid(self) -> int:
        """The number of the process, and of its group."""
        return self._process.pid

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of the log."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is not None:
                break
            self._signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_PATIENCE)
        self._signal(signal.SIGKILL)  # children it may have left behind

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


@contextlib.contextmanager
def _held_signals() -> Iterator[list[signal.Signals]]:
    """Notes the signals that would end this process: amid a start, none would know of the child."""
    held: list[signal.Signals] = []
    before = {}
    if threading.current_thread() is threading.main_thread():  # no other hears them
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, lambda got, _: held.append(signal.Signals(got)))
    try:
        yield held
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
