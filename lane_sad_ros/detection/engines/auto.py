"""Which engine `auto` takes: the fastest one here whose lanes are those of `eager`.

Found out on a picture that comes with the package, and kept for the next start.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

from lane_sad_ros.detection.agreement import Agreement
from lane_sad_ros.detection.engines import ENGINES, cache
from lane_sad_ros.detection.engines.base import Job
from lane_sad_ros.frames import Frame
from lane_sad_ros.image_files import read_image
from lane_sad_ros.lanes import Lanes

PICTURE = Path(__file__).with_name("road.jpg")
"""A rendered road, 1280×720."""

Finder = Callable[[Frame], Lanes]

_ROUNDS = 7
# Of about a hundred points: the 99th would be that of one point.
_PERCENTILE = 95
_VARIABLE = "LANE_SAD_ENGINE"


def choose(job: Job, finder_of: Callable[[str], Finder]) -> tuple[str, str]:
    """The name of the engine to run a job with, and why it.

    The environment's LANE_SAD_ENGINE, if set, is what is taken. Engines that fail are passed over.
    finder_of: gives what finds lanes with the engine of a name.
    """
    asked = os.environ.get(_VARIABLE)
    if asked:
        return asked, f"named by {_VARIABLE}"
    names = [name for name, engine in ENGINES.items() if engine.bound and not engine.fault(job)]
    if len(names) < 2:
        return (names or ["eager"])[0], "no other is installed"
    key = cache.key(job, "auto", *(f"{name} {_versions(name)}" for name in names))
    kept = cache.find(key, ".json")
    if kept is not None:
        name, reason = json.loads(kept.read_bytes())
        return name, f"{reason}, measured before"
    try:
        engine, why = _fastest(names, finder_of, job.device.type == "cpu")
    except Exception as error:  # to have chosen is never worth a detector that does not start
        return names[0], f"none was tried ({error})"
    cache.keep(key, ".json", json.dumps([engine, why]).encode())
    return engine, why


def _versions(name: str) -> list[str]:
    return [_version(module) for module in ENGINES[name].needs]


def _version(module: str) -> str:
    try:
        return version(module)
    except PackageNotFoundError:  # ONNX Runtime for CUDA is installed as onnxruntime-gpu
        return " ".join(map(version, packages_distributions().get(module, ())))


def _fastest(names: list[str], finder_of: Callable[[str], Finder], on_cpu: bool) -> tuple[str, str]:
    """Of engines the first of which is the one that the others' lanes are compared with."""
    # On a CPU the time that it worked: beside busy programs the clock measures those.
    clock = time.process_time if on_cpu else time.perf_counter
    frame = Frame(read_image(PICTURE))
    finders, left_out = _agreeing(names, finder_of, frame)
    if not finders:
        return names[0], "; ".join(left_out)
    # The least of several turns: what other programs take from one is not the engine's.
    times = dict.fromkeys(finders, float("inf"))
    for _ in range(_ROUNDS):
        for name, find in finders.items():
            start = clock()
            find(frame)
            times[name] = min(times[name], clock() - start)
    best = min(times, key=lambda name: times[name])
    told = ", ".join(f"{name} {1e3 * taken:.1f} ms" for name, taken in sorted(times.items()))
    unit = "of CPU time" if on_cpu else "a frame"
    return best, "; ".join([f"fastest with the same lanes ({told} {unit})", *left_out])


def _agreeing(
    names: list[str], finder_of: Callable[[str], Finder], frame: Frame
) -> tuple[dict[str, Finder], list[str]]:
    """Those that work and give the lanes of the first, and what is wrong with the others."""
    finders: dict[str, Finder] = {}
    left_out = []
    reference: Lanes | None = None
    for name in names:
        try:
            find = finder_of(name)
            lanes = find(frame)
        except Exception as error:  # a library that fails in any way must not fail the detector
            left_out.append(f"{name} fails: {(str(error) or repr(error)).splitlines()[0]}")
            continue
        reference = reference or lanes
        agreement = Agreement()
        agreement.add(reference, lanes)
        if agreement.within(ENGINES[name].bound, _PERCENTILE):
            finders[name] = find
        else:
            off = agreement.pixels(_PERCENTILE)
            left_out.append(f"{name} gives other lanes ({off:.1f} pixels off)")
    return finders, left_out
