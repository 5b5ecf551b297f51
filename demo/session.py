"""Frames played to a node that runs, and its answers, in one of two paces."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator

from demo.collector import Answer, Collector
from demo.node import NodeProcess
from demo.player import Player, Sent
from lane_sad_ros.sources import SourceFrame

_GLANCE = 0.5  # seconds between two looks at whether the node still runs
_DISCOVERY = 2.0  # seconds in which both sides of a topic surely find each other
_UNANSWERED = 3  # frames in a row without an answer, after which nothing more is hoped for

Played = Iterator[tuple[Sent, Answer | None]]


class SessionError(Exception):
    """The node does not do its part; the text is one line for the user."""


def check_alone(collector: Collector, domain: str) -> None:
    """Raises SessionError where a lane_detector answers already: two would answer each frame."""
    if collector.wait_for(lambda: collector.heard, _DISCOVERY):
        raise SessionError(
            f"a lane_detector runs in ROS domain {domain} already; end it, or set ROS_DOMAIN_ID to "
            "another number"
        )


class Session:
    """A player and a collector on one running node.

    patience: seconds the node gets for one frame.
    """

    def __init__(
        self, player: Player, collector: Collector, node: NodeProcess, patience: float
    ) -> None:
        self._player = player
        self._collector = collector
        self._node = node
        self._patience = patience

    def wait_until_ready(self, timeout: float) -> None:
        """Returns when the node is active and both sides have found each other.

        Raises SessionError if it ends, cannot be configured or takes more than `timeout` seconds.
        """

        def ready() -> bool:
            return self._collector.matched and self._player.matched

        deadline = time.monotonic() + timeout
        while not ready():
            self._collector.wait_for(ready, _GLANCE)
            self._check_node()
            if time.monotonic() > deadline:
                raise SessionError(f"the node was not ready within {timeout:g} s")

    def in_step(self, frames: Iterable[SourceFrame]) -> Played:
        """Each frame is published when the one before is answered: none is dropped.

        A frame is yielded while the node works on the next one.
        """
        before: tuple[Sent, Answer | None] | None = None
        unanswered = 0
        for index, frame in enumerate(frames):
            sent = self._player.publish(frame)
            if before is not None:
                yield before
            answer = self._wait(sent, repeat=index == 0)
            unanswered = 0 if answer else unanswered + 1
            if unanswered == _UNANSWERED:
                raise SessionError(
                    f"the node answered none of {unanswered} frames in a row within "
                    f"{self._patience:g} s each{self._complaint()}"
                )
            before = sent, answer
        if before is not None:
            yield before

    def in_real_time(self, frames: Iterable[SourceFrame], rate: float) -> Played:
        """Frames at `rate` Hz, as from a camera: a node that is too slow leaves some out."""
        pending: deque[Sent] = deque()
        due = 0.0
        for frame in frames:
            if not due:  # the first one, until which nothing has been seen to arrive
                sent = self._player.publish(frame)
                yield sent, self._wait(sent, repeat=True)
                due = time.monotonic()
            else:
                time.sleep(max(0.0, due - time.monotonic()))
                pending.append(self._player.publish(frame))
            due = max(due + 1 / rate, time.monotonic())
            yield from self._settled(pending)
            self._check_node()
            if pending and time.monotonic() - pending[0].time > self._patience:
                raise SessionError(f"no answer for {self._patience:g} s{self._complaint()}")
        while pending and self._wait(pending[-1], repeat=False):
            yield from self._settled(pending)
        yield from ((sent, None) for sent in pending)

    def _settled(self, pending: deque[Sent]) -> Played:
        """Takes out what is decided: up to the newest frame with an answer.

        Frames before one that was answered will not be: the node goes on to newer ones only.
        """
        answers = [self._collector.answer(sent.stamp_ns) for sent in pending]
        while any(answers):
            yield pending.popleft(), answers.pop(0)

    def _wait(self, sent: Sent, repeat: bool) -> Answer | None:
        """The answer; None if it does not come in time. repeat: publish again while waiting.

        The other side may have found us a little later than we it, and miss the first frame.
        """
        collector, now = self._collector, time.monotonic()
        deadline, again = now + self._patience, now + _DISCOVERY
        while (answer := collector.answer(sent.stamp_ns)) is None and now < deadline:
            wait = min(_GLANCE, deadline - now)
            collector.wait_for(lambda: collector.answer(sent.stamp_ns) is not None, wait)
            self._check_node()
            now = time.monotonic()
            if repeat and now > again:
                self._player.repeat(sent)
                again = now + _DISCOVERY
        return answer

    def _check_node(self) -> None:
        code = self._node.exit_code
        if code is not None:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            raise SessionError(f"the node {how}")
        status = self._collector.status("detector")
        if status is not None and "cannot configure" in status.message:
            raise SessionError(f"the node {status.message}")

    def _complaint(self) -> str:
        """What the node's diagnostics say of the camera."""
        status = self._collector.status("camera")
        return f"; it says: {status.message}" if status is not None else ""
