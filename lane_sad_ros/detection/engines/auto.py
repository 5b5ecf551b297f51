"""Which engine `auto` takes: the fastest one here whose lanes are those of `eager`.

Found out on a picture that comes with the package, and kept for the next start. Each engine is
tried in a process of its own: the memory it fills goes with it, and a crash ends nothing else.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

import torch

from lane_sad_ros.detection.agreement import Agreement
from lane_sad_ros.detection.devices import device_name
from lane_sad_ros.detection.engines import AUTO, ENGINES, cache
from lane_sad_ros.detection.engines.base import Engine, EngineError, Job
from lane_sad_ros.lanes import Lanes

PICTURE = Path(__file__).with_name("road.jpg")
"""A rendered road, 1280×720."""

# Of about a hundred points: the 99th would be that of one point.
_PERCENTILE = 95
_VARIABLE = "LANE_SAD_ENGINE"
_AGAIN = 86400.0  # seconds after which engines are tried again where one has failed


@dataclass(frozen=True)
class Trial:
    """What an engine made of `PICTURE`: its lanes, and the seconds that one frame takes at least.

    On a CPU these are the seconds that it worked: beside busy programs the clock measures those.
    """

    lanes: Lanes
    seconds: float


# Signals by which people and systems end a process; by others it crashes.
_ENDINGS = (signal.SIGHUP, signal.SIGINT, signal.SIGKILL, signal.SIGTERM)


def tried(job: Job, name: str) -> Trial:
    """Runs `detection.trial`.

    Raises EngineError where the engine of that name fails, ChildProcessError where somebody ended
    the trial.
    """
    done = subprocess.run(
        [sys.executable, "-m", "lane_sad_ros.detection.trial", name, str(os.getpid())],
        input=pickle.dumps(job),
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        start_new_session=True,  # a terminal's Ctrl-C would end it and look like its failure
    )
    if -done.returncode in _ENDINGS:
        raise ChildProcessError(f"ended by {signal.Signals(-done.returncode).name}")
    if done.returncode:
        lines = done.stderr.decode(errors="replace").splitlines()
        raise EngineError(lines[-1] if lines else f"ended with exit code {done.returncode}")
    return pickle.loads(done.stdout)


def named() -> tuple[str, str]:
    """The engine that LANE_SAD_ENGINE of the environment names in place of `auto`, and why it."""
    return os.environ.get(_VARIABLE) or AUTO, f"named by {_VARIABLE}"


def choose(job: Job, tried: Callable[[Job, str], Trial] = tried) -> tuple[str, str, bool]:
    """The name of the engine to run a job with, why it, and false where all that were tried failed.

    Engines that fail are passed over. tried: tries the engine of a name.
    """
    faults = {name: _fault(engine, job) for name, engine in ENGINES.items() if engine.bound}
    able = [name for name, fault in faults.items() if not fault]
    if not able:
        raise EngineError("; ".join(f"engine {name} {fault}" for name, fault in faults.items()))
    names = [name for name in able if ENGINES[name].slower_than not in able]
    on_cpu = job.device.type == "cpu"
    if len(names) < 2 and on_cpu:  # one alone on a GPU may find that the GPU does not work
        return names[0], "no other is installed", True
    try:
        libraries = (f"{name} {_versions(name)}" for name in names)
        key = cache.key(job, "auto", torch.__version__, device_name(job.device), *libraries)
        kept = cache.find(key, ".json")
        if kept is not None:
            name, reason, works, lasts = json.loads(kept.read_bytes())
            if time.time() - kept.stat().st_mtime < lasts:
                return name, f"{reason}, measured before", works
        engine, why, works, lasts = _fastest(names, lambda name: tried(job, name), on_cpu)
    except Exception as error:  # to have chosen is never worth a detector that does not start
        return names[0], f"none was tried ({error})", True
    if lasts:
        cache.keep(key, ".json", json.dumps([engine, why, works, lasts]).encode())
    return engine, why, works


def _fault(engine: Engine, job: Job) -> str:
    """As `Engine.fault`, which imports libraries that may be broken."""
    try:
        return engine.fault(job)
    except Exception as error:
        return failure(error)


def failure(error: Exception) -> str:
    """That something fails, and why, in one line."""
    return f"fails: {(str(error) or repr(error)).splitlines()[0]}"


def _versions(name: str) -> list[str]:
    return [_version(module) for module in ENGINES[name].needs]


def _version(module: str) -> str:
    try:
        return version(module)
    except PackageNotFoundError:  # ONNX Runtime for CUDA is installed as onnxruntime-gpu
        return " ".join(map(version, packages_distributions().get(module, ())))


def _fastest(
    names: list[str], tried: Callable[[str], Trial], on_cpu: bool
) -> tuple[str, str, bool, float]:
    """Of engines the first of which is the one that the others' lanes are compared with: its name,
    why it, whether any works, and for how many seconds to remember it.
    """
    trials: dict[str, Trial] = {}
    left_out, lasts = [], math.inf
    reference: Lanes | None = None
    for name in names:
        try:
            trial = tried(name)
        except Exception as error:  # a library that fails in any way must not fail the detector
            left_out.append(f"{name} {failure(error)}")
            # What has failed may have lacked memory that others took. What somebody has ended, or
            # what did not start, may be as good as any.
            lasts = min(lasts, _AGAIN if isinstance(error, EngineError) else 0.0)
            continue
        reference = reference or trial.lanes
        agreement = Agreement()
        agreement.add(reference, trial.lanes)
        if agreement.within(ENGINES[name].bound, _PERCENTILE):
            trials[name] = trial
        else:
            off = agreement.pixels(_PERCENTILE)
            left_out.append(f"{name} gives other lanes ({off:.1f} pixels off)")
    if not trials:
        return names[0], "; ".join(left_out), False, lasts
    best = min(trials, key=lambda name: trials[name].seconds)
    told = ", ".join(f"{name} {1e3 * one.seconds:.1f} ms" for name, one in sorted(trials.items()))
    unit = "of CPU time" if on_cpu else "a frame"
    why = "; ".join([f"fastest with the same lanes ({told} {unit})", *left_out])
    return best, why, True, lasts
