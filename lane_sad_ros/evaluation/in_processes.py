"""Work on many files at once, in processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import chain, islice
from typing import TypeVar

import cv2

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_PART = 64  # items handed to a process at a time
_PARTS_WORTH_PROCESSES = 4  # with fewer, starting processes takes longer than the work


def in_parts(
    work: Callable[[list[Item]], Answer], items: Iterable[Item], jobs: int
) -> Iterator[Answer]:
    """The answers of `work` to the items, part by part and in order, whatever the number of jobs.

    work: can be pickled; gets up to 64 items. jobs: number of processes; few items are worked on in
    this one. Items are taken as they are needed, so that memory does not grow with their number.
    What `work` raises is raised here, for the first part in order.
    """
    parts = _parts(iter(items))
    first = list(islice(parts, _PARTS_WORTH_PROCESSES if jobs > 1 else 0))
    parts = chain(first, parts)
    if len(first) < _PARTS_WORTH_PROCESSES:
        yield from map(work, parts)
        return
    # spawn: forking a process that has threads, such as OpenCV's, may lock it up.
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), prepare_process)
    try:
        waiting: deque[Future[Answer]] = deque()
        for part in parts:
            waiting.append(pool.submit(work, part))
            if len(waiting) > 2 * jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _parts(items: Iterator[Item]) -> Iterator[list[Item]]:
    while part := list(islice(items, _PART)):
        yield part


def prepare_process() -> None:
    """Begins a process that works for its parent, and ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it and ends its processes
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed ends nobody, and its processes would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
