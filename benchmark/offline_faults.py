"""Faults without a node: disks that are full, trainings that are killed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from lane_sad_ros.files import write_text
from lane_sad_ros.image_files import write_image
from lane_sad_ros.network.weights import load_network
from lane_sad_ros.ros.rig import Failed
from training.history import read_history

KILLS = 20
_CONFIG = """
crop: [0, 160, 1280, 720]
input_size: [64, 32]
data: [{{path: {scenes}/labels.json}}]
distillation: {{start: 20}}
steps: {steps}
batch: 2
workers: 0
device: cpu
log_every: 5
save_every: 5
"""
# In a namespace of its own the mount is seen by these programs alone, and goes with them.
_FULL = """
mount -t tmpfs -o size="$1" none "$2" || exit 99
printf 'as it was' > "$2/$3"
shift 3
"$@"
echo "code $?"
"""
_LOOK = """
ls -A "$FOLDER"; head -c 9 "$FOLDER/$NAME"
"""


def full_disk(name: str) -> str:
    """`lane_sad detect` writes a bag or an overlay video on a disk of 300 kB. Raises Failed."""
    with tempfile.TemporaryDirectory() as folder:
        images, disk = Path(folder, "images"), Path(folder, "disk")
        images.mkdir()
        disk.mkdir()
        for index in range(10):
            noise = np.random.default_rng(index).integers(0, 256, (360, 640, 3), np.uint8)
            write_image(images / f"{index}.png", noise)
        command = [sys.executable, "-m", "lane_sad_ros", "detect", str(images)]
        command += ["--output", str(disk / name), "--engine", "eager", "--quiet"]
        out, told = _on_small_disk(disk, "300k", name, command)
        if out != ["code 1", name, "as it was"]:
            raise Failed(f"{name}: {out}, {told}")
        if not (told.startswith(f"lane_sad: error: {disk / name}: ") and told.count("\n") == 0):
            raise Failed(f"{name}: {told}")
    return told.partition(f"{name}: ")[2]


def full_disk_of_checkpoints() -> str:
    """A training whose third checkpoint does not fit; with more room it goes on. Raises Failed."""
    with tempfile.TemporaryDirectory() as folder:
        config, disk = _training(Path(folder), steps=30), Path(folder, "disk")
        disk.mkdir()
        fit = [sys.executable, "-m", "training", "fit", str(config), "--output"]
        again = f"mount -o remount,size=100m {disk}; {' '.join(fit)} {disk}/run >/dev/null 2>&1"
        out, told = _on_small_disk(
            disk, "12m", "file", [*fit, f"{disk}/run"], f"; {again}; echo $?; ls -A {disk}/run"
        )
        last = told.splitlines()[-1]
        if out[-1] != "weights.safetensors" or "0" not in out or "last.pt: " not in last:
            raise Failed(f"{out}, {told}")
    return f"{last.rpartition('/')[2]}; goes on with more room"


def killed_trainings(kills: int = KILLS) -> str:
    """Training is killed at random moments, its newest checkpoint damaged once. Raises Failed."""
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        config = _training(Path(folder), steps=400)
        whole, run = Path(folder, "whole"), Path(folder, "run")
        began = time.monotonic()
        _fit(config, whole).wait()
        span = time.monotonic() - began
        said, met = "", 0
        for kill in range(kills):
            if kill == kills // 2:
                said = _damaged(config, run)
            process = _fit(config, run)
            time.sleep(rng.uniform(0.02, 0.2) * span)
            met += process.poll() is None
            process.send_signal(signal.SIGKILL)
            process.wait()
        _fit(config, run).wait()
        one, other = (load_network(of / "weights.safetensors").state_dict() for of in (whole, run))
        if not all(bool((one[name] == other[name]).all()) for name in one):
            raise Failed("other weights")
        if read_history(run) != read_history(whole):
            raise Failed("another history")
    return f"{met} of {kills} kills met it at work: same weights; {said}"


def _damaged(config: Path, run: Path) -> str:
    """Flips a byte of the newest checkpoint; what the training says of it."""
    last = run / "last.pt"
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(content)
    process = _fit(config, run)
    assert process.stdout is not None
    for line in process.stdout:
        if "damaged, so the one before is taken" in line:
            process.kill()
            process.wait()
            return "a damaged checkpoint gives way to the one before, which is told"
    raise Failed("a damaged checkpoint is not told")


def _fit(config: Path, run: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "training", "fit", str(config), "--output", str(run)]
    # Sums differ in the last bit with the number of threads.
    return subprocess.Popen(
        command,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _training(folder: Path, steps: int) -> Path:
    """A small configuration, with rendered scenes."""
    scenes, config = folder / "scenes", folder / "config.yaml"
    command = [sys.executable, "-m", "training", "synthesize", str(scenes), "--count", "4"]
    subprocess.run(command, check=True, capture_output=True)
    write_text(config, _CONFIG.format(scenes=scenes, steps=steps))
    return config


def _on_small_disk(
    disk: Path, size: str, name: str, command: list[str], then: str = ""
) -> tuple[list[str], str]:
    """Runs a command with a disk of this size, which holds a file of this name: what is printed,
    the exit code and what is there afterwards; what is told as an error. Raises Failed.
    """
    if shutil.which("unshare") is None or os.geteuid():
        raise Failed("needs root and unshare")
    script = _FULL + (then.removeprefix("; ") if then else _LOOK)
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", size, str(disk), name, *command],
        env=os.environ | {"FOLDER": str(disk), "NAME": name},
        capture_output=True,
        text=True,
    )
    return done.stdout.strip().splitlines(), done.stderr.strip()
