"""One engine tried for `auto`: `python -m lane_sad_ros.detection.trial ENGINE PARENT`.

The standard input is a pickled `Job`, the standard output a pickled `Trial`.
PARENT: the number of the process that waits for it.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
import time

from lane_sad_ros.detection.detector import LaneDetector
from lane_sad_ros.detection.engines.auto import PICTURE, Trial
from lane_sad_ros.detection.engines.base import Job
from lane_sad_ros.frames import Frame
from lane_sad_ros.image_files import read_image

_ROUNDS = 7  # the least of several: what other programs take from one is not the engine's


def _tried(job: Job, engine: str) -> Trial:
    detector = LaneDetector(
        job.network, job.layout, device=str(job.device), engine=engine, threads=job.threads
    )
    clock = time.process_time if job.device.type == "cpu" else time.perf_counter
    frame = Frame(read_image(PICTURE))
    lanes = detector(frame)
    seconds = []
    for _ in range(_ROUNDS):
        began = clock()
        detector(frame)
        seconds.append(clock() - began)
    return Trial(lanes, min(seconds))


def _end_with(parent: int) -> None:
    """Ends this process when its parent is gone: signals to the parent's group do not reach it."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def main() -> None:
    """Tries the engine that the command line names."""
    threading.Thread(target=_end_with, args=[int(sys.argv[2])], daemon=True).start()
    job = pickle.load(sys.stdin.buffer)
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    try:
        trial = _tried(job, sys.argv[1])
    except Exception as error:
        sys.exit((str(error) or repr(error)).splitlines()[0])
    with answer:
        pickle.dump(trial, answer)


if __name__ == "__main__":
    main()
