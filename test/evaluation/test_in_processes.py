"""Work that is shared out to processes."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

_SCRIPT = """\
import os, sys
from lane_sad_ros.evaluation.in_processes import in_parts

def work(items):
    return os.getpid()

if __name__ == "__main__":
    answers = in_parts(work, range(64 * 8), jobs=2)
    print(next(answers), next(answers), flush=True)
    sys.stdin.read()
"""


def _runs(pid: int) -> bool:
    """Whether a process does anything any more."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_processes_end_with_the_one_that_they_work_for(tmp_path: Path) -> None:
    """However that ends: nobody would ever end those that wait for more of its work."""
    script = tmp_path / "work.py"
    script.write_text(_SCRIPT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, str(script)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    workers: set[int] = set()
    try:
        with subprocess.Popen(command, env=environment, text=True, **pipes) as parent:
            workers |= {int(word) for word in parent.stdout.readline().split()}
            parent.kill()
        assert workers
        assert parent.pid not in workers
        deadline = time.monotonic() + 20
        while any(map(_runs, workers)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not [pid for pid in workers if _runs(pid)]
    finally:
        for pid in filter(_runs, workers):
            os.kill(pid, signal.SIGKILL)
