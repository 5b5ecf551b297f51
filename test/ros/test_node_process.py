"""The node as a process of its own."""

import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lane_sad_ros.ros.node_process import NodeProcess


def test_ctrl_c_amid_the_start_ends_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            started.append(self)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    node = NodeProcess(tmp_path / "node.log", {}, ["-c", "import time; time.sleep(60)"])
    with pytest.raises(KeyboardInterrupt), node:
        raise AssertionError("the interruption was lost")
    (process,) = started
    assert process.poll() is not None
