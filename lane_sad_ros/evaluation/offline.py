"""A recorded drive evaluated frame by frame, without ROS: every image, in order.

Truth and images belong together where the stamps of their headers are equal, to the nanosecond.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.evaluation.replay import Replay, ReplayFrame
from lane_sad_ros.frames import Frame
from lane_sad_ros.lanes import Lane, Lanes
from lane_sad_ros.messages.images import bgr_from_frame, frame_from_message
from lane_sad_ros.messages.lanes import lanes_from_message
from lane_sad_ros.names import IMAGE_TYPES, LANES_TYPE, TRUTH_TOPIC
from lane_sad_ros.recordings import bags
from lane_sad_ros.recordings.bags import ImageTopic, Recorded, Topic
from lane_sad_ros.recordings.message_types import BagError
from lane_sad_ros.road.model import RoadModel

if TYPE_CHECKING:  # PyTorch takes seconds to import: not where lanes come from the bag
    from lane_sad_ros.detection import LaneDetector


_AHEAD = 2  # images decoded while the detector works
_NOTES = 20  # of things that could not be used

OnBad = Callable[[str], None]
Progress = Callable[[Iterable[Recorded], int], Iterable[Recorded]]


class LaneTopic(Topic):
    """A topic of lanes."""

    def __init__(self, path: Path, topic: str) -> None:
        """Raises BagError if the bag cannot be read or has no such topic of lanes."""
        super().__init__(path, topic, (LANES_TYPE,))

    def slots(self) -> tuple[str, ...]:
        """The names of the lanes of the first message that can be read."""
        for message in self.raw():
            try:
                return tuple(lane.name for lane in self.parse(message).lanes)
            except BagError:
                continue
        raise BagError(f"{self.path}: no message on {self.topic} can be read")

    def by_stamp(self, slots: Sequence[str], on_bad: OnBad) -> dict[int, Lanes]:
        """The lanes of all messages by their stamps, in slots of these names.

        on_bad: is called with a line for what cannot be used, which is left out.
        """
        found: dict[int, Lanes] = {}
        try:
            for index, message in enumerate(self.raw()):
                where = f"{self.path}: {self.topic} message {index}"
                try:
                    stamp = message.stamp_ns
                    lanes = in_slots(self.parse(message), slots)
                except ValueError as error:
                    on_bad(f"{where}: {error}")
                    continue
                if stamp in found:
                    on_bad(f"{where}: has the stamp of another before, which it replaces")
                found[stamp] = lanes
        except BagError as error:
            on_bad(str(error))
        return found


def in_slots(message: Any, slots: Sequence[str]) -> Lanes:
    """The lanes of a LaneArray, numbered as their names stand in `slots`.

    Lanes of other names are numbered beyond the slots; those without a name keep their number.
    Raises ValueError that says what is wrong with the message.
    """
    lanes = lanes_from_message(message)
    if min(lanes.image_size) < 1:
        raise ValueError(
            f"its image is {lanes.image_size[0]}x{lanes.image_size[1]} pixels; both must be above 0"
        )
    by_slot: dict[int, Lane] = {}
    beyond = len(slots)
    for named, lane in zip(message.lanes, lanes, strict=True):
        if not np.isfinite(lane.points).all():
            raise ValueError(f"lane {named.name or named.id}: a point that is not finite")
        slot = lane.slot
        if named.name:
            slot = slots.index(named.name) if named.name in slots else beyond
        while slot in by_slot:
            slot = max(beyond, slot + 1)
        by_slot[slot] = dataclasses.replace(lane, slot=slot)
        beyond = max(beyond, slot + 1)
    return Lanes(lanes.image_size, tuple(by_slot[slot] for slot in sorted(by_slot)))


def replay_bag(
    path: Path,
    detector: LaneDetector,
    *,
    topic: str | None = None,
    truth_topic: str = TRUTH_TOPIC,
    road: RoadModel | None = None,
    on_bad: OnBad,
    progress: Progress = lambda messages, count: messages,
) -> Replay:
    """The frames of a bag with their true lanes and what a detector answers.

    topic: of the images; needed only where the bag has several. road: follows the lanes from frame
    to frame; without it each frame stands alone. on_bad: is called with a line for each thing that
    cannot be used; frames that cannot be read count as not answered. progress: wraps the images,
    whose number it gets.
    Raises BagError where the bag cannot be read, has no such topics, or no true lanes of an image.
    """
    problems = _Problems(on_bad)
    images = ImageTopic(path, topic)
    truth = _read_truth(path, truth_topic, detector.layout.slots, problems)
    detector.warm_up()  # or the first frame would pay for it

    def answers() -> Iterator[_Answer]:
        messages = progress(_until_cut(images, problems), images.count)
        decoded = _ahead(messages, lambda message: frame_from_message(images.parse(message)))
        for index, (message, frame) in enumerate(decoded):
            stamp = _stamp(message)
            try:
                (detection,) = detector.detect([frame()])
                lanes = detection.lanes
                if road is not None:
                    lanes = road.update(lanes, stamp, ego=False).lanes
                yield _Answer(stamp, lanes, dict(detection.stages))
            except ValueError as error:
                problems.add(f"{path}: {images.topic} message {index}: {error}")
                yield _Answer(stamp, None)

    settings = {"bag": str(path), "images": images.topic, "truth": truth_topic}
    settings |= {name: str(detector.description[name]) for name in ("weights", "device", "engine")}
    settings["tracking"] = "yes" if road is not None and road.tracking else "no"
    frames = _matched(answers(), truth, f"{path}: {truth_topic}", problems)
    return Replay(frames, "offline", tuple(detector.layout.slots), settings, problems.few())


def replay_recording(
    path: Path,
    predictions_topic: str,
    *,
    topic: str | None = None,
    truth_topic: str = TRUTH_TOPIC,
    on_bad: OnBad,
) -> Replay:
    """The frames of a bag with their true lanes and the lanes that were recorded with them.

    A bag without images has a frame for each stamp of true and recorded lanes. Else as
    `replay_bag`.
    """
    problems = _Problems(on_bad)
    has_images = any(info.type in IMAGE_TYPES for info in bags.topics(path))
    images = ImageTopic(path, topic) if topic is not None or has_images else None
    predictions = LaneTopic(path, predictions_topic)
    slots = predictions.slots()
    recorded = predictions.by_stamp(slots, problems.add)
    truth = _read_truth(path, truth_topic, slots, problems)
    if images is None:
        stamps: Iterable[int] = sorted({*recorded, *truth})
    else:
        stamps = [_stamp(message) for message in _until_cut(images, problems)]
        _tell_stray(set(recorded) - set(stamps), f"{path}: {predictions_topic}", problems)
    settings = {
        "bag": str(path),
        "images": images.topic if images else "none",
        "truth": truth_topic,
        "predictions": predictions_topic,
    }
    answers = (_Answer(stamp, recorded.get(stamp)) for stamp in stamps)
    frames = _matched(answers, truth, f"{path}: {truth_topic}", problems)
    return Replay(frames, "offline", slots, settings, problems.few())


def images_of(path: Path, replay: Replay) -> Callable[[int], NDArray[np.uint8] | None]:
    """A function from a frame's index to its image H×W×3 BGR, None where it cannot be read.

    replay: made of the bag at `path`, whose messages are read through once, at the first call.
    """
    if replay.settings["images"] == "none":
        return lambda index: None
    topic = ImageTopic(path, replay.settings["images"])

    @functools.cache
    def times() -> list[int]:
        return [message.time_ns for message in _until_cut(topic, _Problems(lambda line: None))]

    def image(index: int) -> NDArray[np.uint8] | None:
        if not 0 <= index < len(times()):
            return None
        time, before = times()[index], times().index(times()[index])
        messages = topic.raw(time, time + 1)
        try:
            message = next(itertools.islice(messages, index - before, None))
            return bgr_from_frame(frame_from_message(topic.parse(message)))
        except (StopIteration, ValueError):
            return None

    return image


def _ahead(
    messages: Iterable[Recorded], work: Callable[[Recorded], Frame]
) -> Iterator[tuple[Recorded, Callable[[], Frame]]]:
    """Each message, and what gives or raises the answer of its work, done ahead in a thread."""
    with ThreadPoolExecutor(1) as pool:
        waiting: deque[tuple[Recorded, Callable[[], Frame]]] = deque()
        for message in messages:
            waiting.append((message, pool.submit(work, message).result))
            if len(waiting) > _AHEAD:
                yield waiting.popleft()
        yield from waiting


@dataclasses.dataclass(frozen=True)
class _Answer:
    """What was answered to the frame of a stamp, and in how many seconds by stage."""

    stamp_ns: int
    lanes: Lanes | None
    stages: dict[str, float] = dataclasses.field(default_factory=dict)


class _Problems:
    """Tells each line once, and keeps it."""

    def __init__(self, on_bad: OnBad) -> None:
        self._on_bad = on_bad
        self._lines: dict[str, None] = {}

    def add(self, line: str) -> None:
        if line not in self._lines:
            self._lines[line] = None
            self._on_bad(line)

    def few(self) -> tuple[str, ...]:
        """The first of them."""
        lines = list(self._lines)
        more = len(lines) - _NOTES
        return (*lines[:_NOTES], *([f"... and {more} more of this kind"] if more > 0 else []))


def _read_truth(
    path: Path, topic: str, slots: Sequence[str], problems: _Problems
) -> dict[int, Lanes]:
    try:
        messages = LaneTopic(path, topic)
    except BagError as error:
        raise BagError(f"{error}; `lane_sad bag make` makes bags with true lanes") from error
    return messages.by_stamp(slots, problems.add)


def _matched(
    answers: Iterable[_Answer], truth: dict[int, Lanes], where: str, problems: _Problems
) -> tuple[ReplayFrame, ...]:
    """Frames of the answers, with the truth of their stamps; of equal stamps the first has it."""
    left = dict(truth)
    frames = tuple(
        ReplayFrame(
            index,
            answer.stamp_ns,
            left.pop(answer.stamp_ns, None),
            answer.lanes,
            sum(answer.stages.values()) if answer.stages else None,
            answer.stages,
        )
        for index, answer in enumerate(answers)
    )
    if len(left) == len(truth):
        raise BagError(
            f"{where}: none of its {len(truth)} messages has the stamp of an image; header stamps "
            "must be equal"
        )
    _tell_stray(left, where, problems)
    return frames


def _tell_stray(stamps: Collection[int], where: str, problems: _Problems) -> None:
    if stamps:
        seconds, nanoseconds = divmod(min(stamps), 10**9)
        problems.add(
            f"{where}: {len(stamps)} messages have the stamp of no image, first "
            f"{seconds}.{nanoseconds:09d}; they do not count"
        )


def _stamp(message: Recorded) -> int:
    try:
        return message.stamp_ns
    except BagError:
        return message.time_ns


def _until_cut(images: ImageTopic, problems: _Problems) -> Iterator[Recorded]:
    try:
        yield from images.raw()
    except BagError as error:
        problems.add(str(error))
