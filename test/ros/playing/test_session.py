"""Sessions with a detector of our own, which says at once what it makes of each frame."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lane_sad_ros.ros.playing.session import Sent, Session, SessionError

PATIENCE = 0.3


class Detector:
    """Player and collector in one. usable: which frames are answered; others are called bad.

    stuck: from which frame on nothing is said.
    """

    topic, matched, problem = "image", True, ""

    def __init__(self, usable: Callable[[int], bool], stuck: int = 1000) -> None:
        self._usable, self._stuck = usable, stuck
        self._answers: dict[int, str] = {}
        self._bad = 0

    def publish(self, frame: int) -> Sent[int]:
        if frame < self._stuck:
            if self._usable(frame):
                self._answers[frame] = f"answer {frame}"
            else:
                self._bad += 1
        return Sent(frame, frame, time.monotonic())

    def repeat(self, sent: Sent[int]) -> None: ...

    def wait_for(self, done: Callable[[], bool], timeout: float) -> bool:
        time.sleep(min(timeout, 0.01))
        return done()

    def answer(self, stamp_ns: int) -> str | None:
        return self._answers.get(stamp_ns)

    def forget(self, stamp_ns: int) -> None:
        self._answers.pop(stamp_ns, None)

    def told(self, key: str) -> int:
        return self._bad if key == "frames bad" else 0

    def detector_status(self) -> None: ...

    def camera_status(self) -> None: ...


def played(detector: Any, count: int) -> Iterator[tuple[int, bool]]:
    """Number of each frame, one every 0.05 s, and whether it was answered."""

    def frames() -> Iterator[int]:
        for index in range(count):
            time.sleep(0.05)
            yield index

    session: Session[int] = Session(detector, detector, lambda: None, PATIENCE)
    for sent, answer in session.in_real_time(frames()):
        yield sent.frame, answer is not None


def test_a_stretch_of_images_that_cannot_be_used_ends_nothing_in_real_time() -> None:
    """As of a camera that fails for a while; it may be longer than the patience for one image."""

    def usable(index: int) -> bool:
        return not 2 <= index < 14

    answered = list(played(Detector(usable), 18))
    assert answered == [(index, usable(index)) for index in range(18)]


def test_a_detector_that_says_nothing_more_is_given_up_in_real_time() -> None:
    answers = played(Detector(lambda index: index != 2, stuck=4), 40)
    assert [next(answers) for _ in range(4)] == [(0, True), (1, True), (2, False), (3, True)]
    with pytest.raises(SessionError, match="no answer for 0.3 s"):
        list(answers)
