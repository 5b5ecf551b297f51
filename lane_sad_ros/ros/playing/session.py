"""Frames played to a detector that runs, and its answers, in one of two paces."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from lane_sad_ros.ros.playing.collector import Answer, Collector

GLANCE = 0.5  # seconds between two looks at whether the node still runs
_DISCOVERY = 2.0  # seconds in which both sides of a topic surely find each other
_UNANSWERED = 3  # frames in a row without an answer, after which nothing more is hoped for

F = TypeVar("F")

Played = Iterator["tuple[Sent[F], Answer | None]"]
"""Frames and their answers, None where there is none."""


@dataclass(frozen=True)
class Sent(Generic[F]):
    """A frame that was published: with which stamp, and when on the monotonic clock in seconds.

    repeated: whether it had to be published again, so that nobody knows which time was answered.
    """

    frame: F
    stamp_ns: int
    time: float
    repeated: bool = False


class FramePlayer(Protocol[F]):
    """Puts frames on an image topic.

    topic: its full name.
    """

    @property
    def topic(self) -> str: ...

    @property
    def matched(self) -> bool:
        """Whether somebody subscribes."""
        ...

    @property
    def problem(self) -> str:
        """Why a subscriber cannot receive the images, in words; empty if nothing is known."""
        ...

    def publish(self, frame: F) -> Sent[F]:
        """Publishes a frame."""
        ...

    def repeat(self, sent: Sent[F]) -> None:
        """Publishes a frame once more, with the same stamp."""
        ...


class SessionError(Exception):
    """The node does not do its part; the text is one line for the user."""


def check_alone(collector: Collector, domain: str) -> None:
    """Raises SessionError where a lane_detector answers already: two would answer each frame."""
    if collector.wait_for(lambda: collector.heard, _DISCOVERY):
        raise SessionError(
            f"a lane_detector runs in ROS domain {domain} already; end it, or set ROS_DOMAIN_ID to "
            "another number"
        )


def wait_for_detector(
    collector: Collector,
    check: Callable[[], None],
    timeout: float,
    ready: Callable[[], bool] = lambda: True,
    missing: str = "",
) -> None:
    """Returns when an active detector is heard and `ready` holds, too.

    check: is called now and then. missing: says why `ready` does not hold.
    Raises SessionError if that takes more than `timeout` seconds, or cannot be any more.
    """
    deadline = time.monotonic() + timeout
    while not (collector.matched and collector.heard and ready()):
        collector.wait_for(lambda: collector.matched and collector.heard and ready(), GLANCE)
        check()
        check_configured(collector)
        if collector.problem and not collector.matched:
            raise SessionError(collector.problem)
        if time.monotonic() > deadline:
            if not collector.heard:
                what = f"there is no detector {collector.detector}"
            elif not collector.matched:
                what = f"the detector does not publish {collector.topic}"
            else:
                what = missing
            raise SessionError(f"waited {timeout:g} s in vain: {what}")


def check_configured(collector: Collector) -> None:
    """Raises SessionError where the detector says that it cannot be configured."""
    status = collector.detector_status()
    if status is not None and "cannot configure" in status.message:
        raise SessionError(f"the node {status.message}")


class Session(Generic[F]):
    """A player and a collector on one running detector.

    check: is called now and then, and raises SessionError where it makes no sense to go on.
    patience: seconds the detector gets for one frame.
    """

    def __init__(
        self,
        player: FramePlayer[F],
        collector: Collector,
        check: Callable[[], None],
        patience: float,
    ) -> None:
        self._player = player
        self._collector = collector
        self._check_more = check
        self._patience = patience
        self._ready = False
        self._bad = 0  # frames that the detector has called bad or has failed on

    def wait_until_ready(self, timeout: float) -> None:
        """Returns when the detector is active and both sides have found each other.

        Raises SessionError if it ends, cannot be configured or takes more than `timeout` seconds.
        """
        player, collector = self._player, self._collector

        def ready() -> bool:
            # Its diagnostics tell whether the detector has found the other ends, too.
            return (
                player.matched
                and collector.told("publishers") > 0
                and collector.told("subscribers of lanes") > 0
            )

        def check() -> None:
            self._check()
            if player.problem and not player.matched:
                raise SessionError(player.problem)

        missing = f"the detector does not subscribe to {player.topic}"
        wait_for_detector(collector, check, timeout, ready, missing)
        self._ready = True
        self._bad = self._told_bad()

    def in_step(self, frames: Iterable[F]) -> Played[F]:
        """Each frame is published when the one before is answered: none is dropped.

        A frame is yielded while the node works on the next one.
        """
        before: tuple[Sent[F], Answer | None] | None = None
        unanswered = 0
        for index, frame in enumerate(frames):
            sent = self._player.publish(frame)
            if before is not None:
                yield before
            try:
                sent, answer = self._wait(sent, repeat=index == 0, refusable=True)
            except SessionError:
                yield sent, None
                raise
            self._collector.forget(sent.stamp_ns)  # a later frame may have the same stamp
            before = sent, answer
            unanswered = 0 if answer or self._refused() else unanswered + 1
            self._bad = self._told_bad()
            if unanswered == _UNANSWERED:
                yield before
                raise SessionError(
                    f"the node answered none of {unanswered} frames in a row within "
                    f"{self._patience:g} s each{self.complaint()}"
                )
        if before is not None:
            yield before

    def in_real_time(self, frames: Iterable[F]) -> Played[F]:
        """Each frame when `frames` gives it, as from a camera: a slow node leaves some out.

        While the detector calls frames bad it is not waited for in vain, however many there are.
        """
        pending: deque[Sent[F]] = deque()
        refused = 0.0  # when the detector last had called more frames bad
        try:
            for index, frame in enumerate(frames):
                pending.append(self._player.publish(frame))
                if index == 0:  # until it is answered, nothing has been seen to arrive
                    pending[0], _ = self._wait(pending[0], repeat=True, refusable=True)
                yield from self._settled(pending)
                self._check()
                now = time.monotonic()
                if self._refused():
                    self._bad, refused = self._told_bad(), now
                if pending and now - max(pending[0].time, refused) > self._patience:
                    raise SessionError(f"no answer for {self._patience:g} s{self.complaint()}")
            while pending and self._wait(pending[-1], repeat=False, refusable=False)[1]:
                yield from self._settled(pending)
        except SessionError:
            yield from self._rest(pending)
            raise
        yield from self._rest(pending)

    def complaint(self) -> str:
        """What is known of why frames are not answered, to be put behind a sentence."""
        status = self._collector.camera_status()
        said = f"it says: {status.message}" if status is not None else ""
        problems = (self._player.problem, self._collector.problem, said)
        return "".join(f"; {problem}" for problem in problems if problem)

    def _settled(self, pending: deque[Sent[F]]) -> Played[F]:
        """Takes out what is decided: up to the newest frame with an answer.

        Frames before one that was answered will not be: the node goes on to newer ones only.
        """
        answers = [self._collector.answer(sent.stamp_ns) for sent in pending]
        while any(answers):
            sent, answer = pending.popleft(), answers.pop(0)
            self._collector.forget(sent.stamp_ns)
            yield sent, answer

    def _rest(self, pending: deque[Sent[F]]) -> Played[F]:
        """Takes out everything, answered or not."""
        yield from self._settled(pending)
        while pending:
            yield pending.popleft(), None

    def _wait(self, sent: Sent[F], repeat: bool, refusable: bool) -> tuple[Sent[F], Answer | None]:
        """What was sent in the end, and the answer; None if it does not come in time.

        repeat: publish again while waiting; the other side may have found us a little later than
        we it, and miss the first frame. refusable: the frame is the only one that the detector
        has, so that one which it calls bad must be this one.
        """
        collector, now = self._collector, time.monotonic()
        deadline, again = now + self._patience, now + _DISCOVERY

        def decided() -> bool:
            return collector.answer(sent.stamp_ns) is not None or (refusable and self._refused())

        while not decided() and now < deadline:
            collector.wait_for(decided, min(GLANCE, deadline - now))
            self._check()
            now = time.monotonic()
            if repeat and now > again:
                self._player.repeat(sent)
                sent = dataclasses.replace(sent, repeated=True)
                again = now + _DISCOVERY
        return sent, collector.answer(sent.stamp_ns)

    def _refused(self) -> bool:
        return self._told_bad() > self._bad

    def _told_bad(self) -> int:
        return self._collector.told("frames bad") + self._collector.told("frames failed")

    def _check(self) -> None:
        self._check_more()
        check_configured(self._collector)
        if self._ready and not self._collector.matched:
            raise SessionError(f"nobody publishes {self._collector.topic} any more")
