"""What the package's executables have in common: the interpreter that they run under.

LANE_SAD_PYTHON names it, such as the one of a virtual environment that has PyTorch. The process is
replaced, not doubled, so signals reach the node. What only the first interpreter has (apt's PyYAML,
for one) stays within reach, behind what the other one has itself. Nothing that may be missing in
the first one is imported here.
"""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import sys
from pathlib import Path

CHOSEN = "LANE_SAD_PYTHON"
CALLER = "_LANE_SAD_CALLER"  # version and import path of the interpreter that handed over


def start(module: str) -> int:
    """Runs `main` of a module, under the interpreter that was asked for; gives its exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):  # until the program has its own
        signal.signal(number, lambda *_: os._exit(0))
    script = Path(sys.argv[0])
    name = script.name
    _hand_over(script)
    _take_over(name)
    try:
        program = importlib.import_module(module)
    except ModuleNotFoundError as error:
        sys.exit(
            f"{name}: {error}; install it for {sys.executable}, which runs this, or set {CHOSEN} "
            "to an interpreter that has it"
        )
    code: int = program.main()
    return code


def _hand_over(script: Path) -> None:
    """Goes on under the interpreter of LANE_SAD_PYTHON, if that is another one."""
    chosen = os.environ.pop(CHOSEN, "")
    if not chosen:
        return
    python = shutil.which(os.path.expanduser(chosen))
    if python is None:
        sys.exit(f"{script.name}: {CHOSEN}={chosen} is not a Python interpreter")
    if os.path.abspath(python) == os.path.abspath(sys.executable):
        return
    os.environ[CALLER] = os.pathsep.join([_version(), *filter(os.path.isdir, sys.path[1:])])
    # The ROS 2 wheels of another environment have to set their own library path.
    os.environ.pop("_ROS_WHEELS_BOOTSTRAP_COMPLETE", None)
    sys.stdout.flush()
    os.execv(python, [python, str(script.absolute()), *sys.argv[1:]])


def _take_over(name: str) -> None:
    """The other half of `_hand_over`, under the chosen interpreter."""
    caller_version, _, paths = os.environ.pop(CALLER, "").partition(os.pathsep)
    if caller_version and caller_version != _version():
        sys.exit(
            f"{name}: {CHOSEN} names Python {_version()} ({sys.executable}), but this ROS 2 was "
            f"built for Python {caller_version}; make the virtual environment with that one"
        )
    sys.path.extend(path for path in paths.split(os.pathsep) if path and path not in sys.path)


def _version() -> str:
    return "{}.{}".format(*sys.version_info)
