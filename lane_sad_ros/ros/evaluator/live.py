"""A bag played to a running detector, and its answers as a `Replay`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from rclpy.node import Node

from lane_sad_ros.evaluation.offline import LaneTopic
from lane_sad_ros.evaluation.replay import Replay, ReplayFrame
from lane_sad_ros.recordings import bags
from lane_sad_ros.recordings.message_types import BagError
from lane_sad_ros.ros.evaluator.parameters import EvaluatorParameters
from lane_sad_ros.ros.playing.collector import Answer, Collector
from lane_sad_ros.ros.playing.external import Listener, Ros2BagPlay, follow
from lane_sad_ros.ros.playing.player import BagPlayer, Pace, playable
from lane_sad_ros.ros.playing.session import Session, SessionError, wait_for_detector

_FRESH = 2.0  # seconds to wait for diagnostics that know of the last frames; they come every second


@dataclass(frozen=True)
class _Heard:
    """One frame: its number, its stamp, its answer, and seconds until that came where known."""

    index: int
    stamp_ns: int
    answer: Answer | None
    latency: float | None


class LiveReplay:
    """Plays a bag, or lets it be played, and gathers what a detector answers.

    node: has its callbacks run in another thread. pace: of the player, to be ended from outside.
    check: is called now and then, and raises SessionError where it makes no sense to go on.
    Raises bags.BagError where the bag cannot be read, or has no such images.

    problems: what went wrong, a sentence each, after `run`.
    """

    def __init__(
        self, node: Node, settings: EvaluatorParameters, pace: Pace, check: Callable[[], None]
    ) -> None:
        self.problems: list[str] = []
        self._node = node
        self._settings = settings
        self._pace = pace
        self._check = check
        self._path = Path(settings.bag).expanduser()
        self._images = bags.ImageTopic(self._path, settings.image_topic or None)
        # What a detector said when the bag was recorded must not pass for its answers now.
        self._without = (f"{settings.detector}/", "/diagnostics")
        self._truth = self._open_truth()
        self._collector = Collector(node, settings.detector, settings.camera, existence=False)
        self._heard: list[_Heard] = []
        self._notes: list[str] = []
        self._player = _player(settings, self._path)

    def run(self) -> Replay:
        """Plays the bag to its end, or as far as possible."""
        try:
            if self._player == "own":
                self._play()
            else:
                self._follow()
        except SessionError as error:
            self.problems.append(str(error))
        replay = self._replay()
        self._judge(replay)
        return replay

    def _play(self) -> None:
        settings = self._settings
        player = BagPlayer(
            self._node,
            self._path,
            self._pace,
            self._images.topic,
            without=self._without,
            reliability=settings.image_reliability,
            clock_rate=settings.clock_rate,
        )
        self._notes += player.notes
        session = Session(player, self._collector, self._check, settings.answer_timeout)
        self._say(
            f"waiting for {settings.detector} to be active and to subscribe to {player.topic}"
        )
        session.wait_until_ready(settings.start_timeout)
        if self._node.count_publishers(player.topic) > 1:
            raise SessionError(
                f"{player.topic} is published by another node, too: its images would be answered "
                "in between"
            )
        self._say(f"playing {self._images.count} images of {self._path}, {self._pace_in_words()}")
        in_step = settings.pace == "step"
        play = session.in_step if in_step else session.in_real_time
        for sent, answer in play(player.frames()):
            latency = None
            if answer is not None and not sent.repeated:
                latency = answer.received - sent.time
            self._heard.append(_Heard(sent.frame.index, sent.stamp_ns, answer, latency))
        self._check()
        if player.broken:
            self.problems.append(player.broken)
        self._notes.append("Latency is from publishing an image to receiving its lanes.")

    def _follow(self) -> None:
        settings = self._settings
        stamps: list[int] = []
        try:
            for message in bags.recorded(self._path, [self._images.topic]):
                stamps.append(message.stamp_ns)
        except BagError as error:
            self.problems.append(str(error))
        if not stamps:
            raise SessionError("no image of the bag can be read")
        topic = self._node.resolve_topic_name(self._images.topic)
        listener = Listener(self._node, topic, self._images.type)
        self._say(f"waiting for {settings.detector} to be active")
        wait_for_detector(
            self._collector,
            self._check,
            settings.start_timeout,
            ready=lambda: self._collector.camera_status() is not None,  # of an active one alone
            missing="the detector is not active",
        )
        player = None
        if self._player == "ros2_bag":
            names = [topic.name for topic in playable(self._path, self._without)]
            player = Ros2BagPlay(self._path, names, settings.rate, settings.clock_rate)
        with player or nullcontext():
            self._say(f"listening for {len(stamps)} images of {self._path} on {topic}")
            whole = False
            try:
                again = follow(
                    listener,
                    self._collector,
                    stamps,
                    self._check,
                    begin=settings.start_timeout,
                    idle=settings.idle_timeout,
                    over=player.over if player else None,
                )
                whole = True
            finally:
                self._gather(listener, stamps, whole)
        if again:
            self._notes.append("The bag was played again from its beginning; once was evaluated.")
        self._notes.append(
            "Latency is from the arrival of an image at the evaluator to that of its lanes: "
            "without the image's own way."
        )

    def _gather(self, listener: Listener, stamps: Sequence[int], whole: bool) -> None:
        """Takes what was heard; of a bag that was not played to its end, up to the last of it."""
        for index, stamp_ns in enumerate(stamps):
            answer = self._collector.answer(stamp_ns)
            arrival = listener.received.get(stamp_ns)
            latency = None
            if answer is not None and arrival is not None:
                latency = max(0.0, answer.received - arrival)
            self._heard.append(_Heard(index, stamp_ns, answer, latency))
        if not whole:
            while self._heard and self._heard[-1].stamp_ns not in listener.received:
                self._heard.pop()

    def _replay(self) -> Replay:
        slots = next((heard.answer.slots for heard in self._heard if heard.answer), ())
        truth = self._truth.by_stamp(slots, self._note) if self._truth and slots else {}
        frames = tuple(
            ReplayFrame(
                heard.index,
                heard.stamp_ns,
                truth.pop(heard.stamp_ns, None),
                heard.answer.lanes if heard.answer else None,
                heard.latency,
            )
            for heard in self._heard
        )
        if len(frames) < self._images.count:
            self._notes.append(
                f"{self._images.count - len(frames)} of the bag's {self._images.count} images were "
                "not played."
            )
        settings = self._settings
        used = {
            "bag": str(self._path),
            "images": self._images.topic,
            "truth": settings.truth_topic or "none",
            "player": self._player,
            **self._about_detector(),
        }
        mode = "live, in step" if settings.pace == "step" else "live, in real time"
        return Replay(
            frames,
            mode,
            slots,
            used,
            tuple(self._notes),
            rate=1.0 if settings.pace == "step" else settings.rate,
            deadline=settings.deadline or None,
        )

    def _about_detector(self) -> dict[str, str]:
        """What its diagnostics say of it, and notes on the frames that it did not answer."""
        collector = self._collector
        status = collector.detector_status()
        if collector.matched and not all(heard.answer for heard in self._heard):
            collector.forget_statuses()  # the next ones know of the last frames
            if collector.wait_for(lambda: collector.camera_status() is not None, _FRESH):
                counts = ("received", "dropped", "lost on the way", "bad", "failed")
                listed = ", ".join(f"{collector.told(f'frames {name}')} {name}" for name in counts)
                self._notes.append(f"Frames by the detector's own account: {listed}.")
        told = {value.key: value.value for value in status.values} if status else {}
        about = {key: told[key] for key in ("weights", "device", "engine") if key in told}
        return {"detector": self._settings.detector, **about}

    def _judge(self, replay: Replay) -> None:
        """Names what keeps the replay from being a whole one."""
        unanswered = sum(frame.prediction is None for frame in replay.frames)
        if unanswered == len(replay.frames):  # all of them, or none was played
            if not self.problems:
                self.problems.append("no image was answered")
        elif unanswered and self._settings.pace == "step":
            self.problems.append(f"{unanswered} of {len(replay.frames)} images were not answered")
        if self._truth and replay.slots and not any(frame.truth for frame in replay.frames):
            self.problems.append(
                f"{self._path}: no image has the stamp of true lanes on {self._truth.topic}; "
                "header stamps must be equal"
            )

    def _note(self, line: str) -> None:
        if line not in self.problems:
            self._notes.append(line)

    def _open_truth(self) -> LaneTopic | None:
        """The topic of the true lanes; what is wrong with it is said before anything is played."""
        if not self._settings.truth_topic:
            return None
        try:
            return LaneTopic(self._path, self._settings.truth_topic)
        except BagError as error:
            self.problems.append(
                f"{error}; name the topic of the true lanes (truth_topic), or an empty one to "
                "measure time alone"
            )
            self._node.get_logger().warning(self.problems[-1])
            return None

    def _pace_in_words(self) -> str:
        if self._settings.pace == "step":
            return "each when the one before is answered"
        rate = self._settings.rate
        return "in real time" if rate == 1 else f"at {rate:g} times the pace of their recording"

    def _say(self, words: str) -> None:
        self._node.get_logger().info(words)


def _player(settings: EvaluatorParameters, path: Path) -> str:
    """What plays: "own", "ros2_bag" or "external"."""
    if settings.player != "auto":
        return settings.player
    readable = path.suffix.lower() != ".bag"
    real_time = settings.pace == "real_time"
    return "ros2_bag" if real_time and readable and Ros2BagPlay.installed() else "own"
