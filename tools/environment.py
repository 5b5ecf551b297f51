"""Makes the development environment: `.venv` with ROS 2 from wheels, our messages in `install/`.

Run by `make env` through tools/make-env. Needs nothing but a Python with the standard library, gcc,
g++ and make. Each of the two steps leaves a stamp when it is complete: a step is done again only
when what it was made from has changed, and a step that was interrupted starts over.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
PACKAGES_STAMP = VENV / "packages.stamp.json"
MESSAGES_STAMP = ROOT / "install" / "messages.stamp.json"
REQUIREMENTS = ROOT / "requirements.txt"
INSTALLED_FOLDERS = ("lane_sad_ros", "scripts", "launch", "config", "rviz", "weights")
STEPS = "1"  # count up when the steps below change what they leave behind
# The build machine's Python, as the wheels' CMake files name it.
WHEEL_BUILDER = re.compile(
    r"/opt/python/cp\d+-cp\d+/(include/python3\.\d+|lib/python3\.\d+/site-packages)"
)


class SetUpError(Exception):
    """The set-up cannot go on; the message says what is missing and how to get it."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="make env", description=__doc__)
    parser.add_argument(
        "--chosen", action="store_true", help="this interpreter was asked for by name: use no other"
    )
    chosen = parser.parse_args().chosen
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    try:
        with _lock():
            if not _packages_current(chosen):
                _check_machine()
                _make_packages()
            if not _messages_current():
                _make_messages()
    except SetUpError as error:
        print(f"make env: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nmake env: interrupted; the next call finishes the set-up", file=sys.stderr)
        return 130
    return 0


@contextmanager
def _lock() -> Iterator[None]:
    """Holds other calls off while this one works.

    The programs that it starts share the lock: should this process be killed, they go on alone
    for a while, and nobody else may work in the same folders until they have ended.
    """
    with open(ROOT / ".venv.lock", "w") as file:
        os.set_inheritable(file.fileno(), True)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("waiting for another set-up of this folder to end")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


# --- Is it made already?


def _packages_recipe() -> dict[str, str]:
    """What the packages are made from. A virtual environment does not survive a move."""
    return {"venv": str(VENV), "requirements": _digest([REQUIREMENTS]), "steps": STEPS}


def _packages_current(chosen: bool) -> bool:
    stamp = _read_stamp(PACKAGES_STAMP)
    if {key: stamp.get(key) for key in _packages_recipe()} != _packages_recipe():
        return False
    if chosen and stamp.get("python") != _python():
        return False
    return os.access(VENV_PYTHON, os.X_OK)  # false where the interpreter behind it is gone


def _messages_recipe() -> dict[str, str]:
    """What the messages and the installed tree are made from.

    The tree holds links to our files: their names matter, their content does not.
    """
    built_from = [ROOT / "CMakeLists.txt", ROOT / "package.xml", *sorted((ROOT / "msg").iterdir())]
    names = [
        str(path.relative_to(ROOT))
        for folder in INSTALLED_FOLDERS
        for path in sorted((ROOT / folder).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    ]
    return {
        "packages": _digest([PACKAGES_STAMP]),
        "built_from": _digest(built_from),
        "linked": hashlib.sha256("\n".join(names).encode()).hexdigest(),
    }


def _messages_current() -> bool:
    return _read_stamp(MESSAGES_STAMP) == _messages_recipe()


def _digest(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _python() -> str:
    return f"{platform.python_implementation()} {platform.python_version()} {sys.base_prefix}"


def _read_stamp(path: Path) -> dict[str, str]:
    try:
        stamp = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def _write_stamp(path: Path, content: dict[str, str]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(partial, path)


# --- The machine


def _check_machine() -> None:
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise SetUpError(
            "the ROS 2 wheels exist for x86_64 Linux, this is "
            f"{platform.machine()} {sys.platform}; on a machine with ROS 2 use `colcon build`"
        )
    for tool, package in (("gcc", "gcc"), ("g++", "g++"), ("make", "make")):
        if shutil.which(tool) is None:
            raise SetUpError(
                f"{tool} not found, needed to build the ROS messages "
                f"(Debian/Ubuntu: apt install {package})"
            )
    header = Path(sysconfig.get_paths()["include"], "Python.h")
    if not header.is_file():
        version = "{}.{}".format(*sys.version_info)
        raise SetUpError(
            f"{header} not found: the headers of {sys.executable}, needed to build the ROS "
            f"messages (Debian/Ubuntu: apt install python{version}-dev; or use another "
            "interpreter: make env PYTHON=/path/to/python3)"
        )


# --- Step 1: the packages


def _make_packages() -> None:
    version = platform.python_version()
    _say(f"1/2 packages: Python {version} of {sys.base_prefix} into .venv (requirements.txt)")
    if VENV.exists():
        shutil.rmtree(VENV)
    _make_venv()
    _install_requirements()
    _repair_cmake_files()
    _write_stamp(PACKAGES_STAMP, {**_packages_recipe(), "python": _python()})


def _make_venv() -> None:
    """`python -m venv`; where Debian has left ensurepip out, with the pip of the interpreter."""
    environment = _clean_environment()
    if _succeeds([sys.executable, "-c", "import ensurepip"], environment):
        _run([sys.executable, "-m", "venv", str(VENV)], environment)
        return
    if not _succeeds([sys.executable, "-m", "pip", "--version"], environment):
        version = "{}.{}".format(*sys.version_info)
        raise SetUpError(
            f"{sys.executable} has neither ensurepip nor pip, so it cannot make an environment "
            f"(Debian/Ubuntu: apt install python{version}-venv; or use another interpreter: "
            "make env PYTHON=/path/to/python3)"
        )
    _run([sys.executable, "-m", "venv", "--without-pip", str(VENV)], environment)
    pip = [sys.executable, "-m", "pip", "--python", str(VENV_PYTHON)]
    _run([*pip, "install", "--quiet", "pip"], environment)


def _install_requirements() -> None:
    pip = [str(VENV_PYTHON), "-m", "pip", "install", "--no-input", "--progress-bar", "off"]
    _run_with_progress(
        [*pip, "--disable-pip-version-check", "-r", str(REQUIREMENTS)],
        environment=_clean_environment(),
        progress=_PipProgress(),
    )


class _PipProgress:
    """What pip is at, out of the lines that it prints."""

    def __init__(self) -> None:
        self._collected: set[str] = set()
        self._now = "starting"

    def read(self, line: str) -> None:
        word, _, rest = line.strip().partition(" ")
        if word == "Collecting":
            self._collected.add(re.split(r"[=<>~!\[ ;]", rest)[0].lower())
        elif word == "Downloading":
            self._now = f"downloading {rest.rsplit('/', 1)[-1]}"
        elif line.startswith("Installing collected packages"):
            self._now = "installing them"

    def __str__(self) -> str:
        return f"{len(self._collected)} packages found, {self._now}"


def _repair_cmake_files() -> None:
    """Puts this machine's Python into the wheels' CMake files, which name their builder's."""
    packages = str(next((VENV / "lib").glob("python3.*")) / "site-packages")
    include = sysconfig.get_paths()["include"]

    def ours(match: re.Match[str]) -> str:
        return include if match[1].startswith("include") else packages

    for file in (VENV / "share").glob("*/cmake/*.cmake"):
        text = file.read_text()
        repaired = WHEEL_BUILDER.sub(ours, text)
        if repaired != text:
            file.write_text(repaired)


# --- Step 2: the messages


def _make_messages() -> None:
    _say("2/2 messages: colcon build into install/")
    recipe = _messages_recipe()
    # CMake remembers paths of the environment that it was first run in.
    if _read_stamp(ROOT / "build" / "messages.stamp.json").get("packages") != recipe["packages"]:
        for folder in (ROOT / "build" / "lane_sad_ros", ROOT / "install"):
            shutil.rmtree(folder, ignore_errors=True)
    source = _stage_source(ROOT / "build" / "source" / "lane_sad_ros")
    _run_with_progress(
        _build_command(source),
        environment=_build_environment(),
        progress=_LastLine(),
    )
    _repair_setup_script()
    _write_stamp(ROOT / "build" / "messages.stamp.json", recipe)
    _write_stamp(MESSAGES_STAMP, recipe)


def _stage_source(folder: Path) -> Path:
    """A folder of links to what colcon builds. Returns it.

    CMake refuses to export a target whose include folders lie below its source folder, and the
    ones of `.venv` do.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ("CMakeLists.txt", "package.xml", "msg", *INSTALLED_FOLDERS):
        (folder / name).symlink_to(ROOT / name)
    return folder


def _build_command(source: Path) -> list[str]:
    """The colcon call that builds the package in `source`."""
    colcon = [str(VENV_PYTHON), "-m", "colcon", "--log-base", str(ROOT / "build" / "log"), "build"]
    bases = ["--build-base", str(ROOT / "build"), "--install-base", str(ROOT / "install")]
    output = ["--event-handlers", "console_direct+"]
    cmake = ["--cmake-args", "-DBUILD_TESTING=OFF", f"-DPython3_EXECUTABLE={VENV_PYTHON}"]
    return [*colcon, "--paths", str(source), *bases, "--symlink-install", *output, *cmake]


def _build_environment() -> dict[str, str]:
    environment = _clean_environment()
    environment["PATH"] = os.pathsep.join([str(VENV / "bin"), environment.get("PATH", os.defpath)])
    environment["AMENT_PREFIX_PATH"] = environment["CMAKE_PREFIX_PATH"] = str(VENV)
    return environment


def _repair_setup_script() -> None:
    """Quotes the interpreter in colcon's script, which does not expect a space in its path."""
    script = ROOT / "install" / "local_setup.bash"
    call = "$($_colcon_python_executable "
    script.write_text(script.read_text().replace(call, '$("$_colcon_python_executable" '))


class _LastLine:
    """The last line that a program printed, shortened."""

    def __init__(self) -> None:
        self._line = "starting"

    def read(self, line: str) -> None:
        self._line = line.strip() or self._line

    def __str__(self) -> str:
        return self._line[:90]


# --- Running programs


def _clean_environment() -> dict[str, str]:
    """The environment without what a sourced ROS or another virtual environment has left in it."""
    foreign = re.compile(
        r"PYTHONPATH|PYTHONHOME|VIRTUAL_ENV|LD_LIBRARY_PATH|_ROS_WHEELS_BOOTSTRAP_COMPLETE|"
        r"(AMENT|CMAKE|COLCON)_.*PREFIX.*|ROS_(DISTRO|VERSION|PYTHON_VERSION)|__PYVENV_LAUNCHER__"
    )
    return {name: value for name, value in os.environ.items() if not foreign.fullmatch(name)}


def _succeeds(command: list[str], environment: dict[str, str]) -> bool:
    return subprocess.run(command, env=environment, capture_output=True).returncode == 0


def _run(command: list[str], environment: dict[str, str]) -> None:
    result = subprocess.run(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        close_fds=False,  # the lock goes along
    )
    if result.returncode:
        raise SetUpError(_failure(command, result.returncode, result.stdout))


def _run_with_progress(
    command: list[str], environment: dict[str, str], progress: _PipProgress | _LastLine
) -> None:
    """Runs `command`; shows where it is, all that it printed only when it fails."""
    printed: list[str] = []
    done = threading.Event()

    def show() -> None:
        start = time.monotonic()
        live = sys.stdout.isatty()
        while not done.wait(0.5 if live else 10):
            seconds = int(time.monotonic() - start)
            line = f"{seconds // 60}:{seconds % 60:02d} {progress}"
            width = shutil.get_terminal_size().columns - 6
            if live:
                print(f"\r    {line[:width]}\033[K", end="", flush=True)
            else:
                print(f"    {line}", flush=True)
        if live:
            print("\r\033[K", end="", flush=True)

    process = subprocess.Popen(
        command,
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        close_fds=False,  # the lock goes along
    )
    shower = threading.Thread(target=show)
    shower.start()
    try:
        assert process.stdout is not None
        for line in process.stdout:
            printed.append(line)
            progress.read(line)
        code = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    finally:
        done.set()
        shower.join()
    if code:
        raise SetUpError(_failure(command, code, "".join(printed)))


def _failure(command: list[str], code: int, output: str) -> str:
    with tempfile.NamedTemporaryFile(
        "w", prefix="lane_sad_make_env_", suffix=".log", delete=False
    ) as log:
        log.write(output)
    tail = "\n".join("    " + line for line in output.splitlines()[-25:])
    name = " ".join(Path(part).name if part == command[0] else part for part in command[:4])
    return f"{name} failed ({code}); all that it said is in {log.name}, the end of it:\n{tail}"


def _say(text: str) -> None:
    print(f"make env: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
