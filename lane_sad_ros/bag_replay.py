"""A recorded drive evaluated frame by frame, without ROS: every image, in order.

Truth and images belong together where the stamps of their headers are equal, to the nanosecond.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lane_sad_ros import bags
from lane_sad_ros.bags import BagError, ImageTopic, Recorded, Topic
from lane_sad_ros.evaluation.replay import Replay, ReplayFrame
from lane_sad_ros.lanes import Lane, Lanes
from lane_sad_ros.messages import lanes_from_message
from lane_sad_ros.road import RoadModel

if TYPE_CHECKING:  # PyTorch takes seconds to import: not where lanes come from the bag
    from lane_sad_ros.detection import Frame, LaneDetector

LANES_TYPE = "lane_sad_ros/msg/LaneArray"
TRUTH_TOPIC = "/truth/lanes"

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
    for named, lane in zip(message.lanes, lanes.lanes, strict=True):
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
    detector: LaneDetector | None = None,
    *,
    topic: str | None = None,
    truth_topic: str = TRUTH_TOPIC,
    predictions_topic: str | None = None,
    road: RoadModel | None = None,
    on_bad: OnBad,
    progress: Progress = lambda messages, count: messages,
) -> Replay:
    """The frames of a bag with their true lanes and what a detector, or a recorded topic, answers.

    topic: of the images; needed only where the bag has several. predictions_topic: of lanes that
    were recorded; without it the detector answers, and `road` follows its lanes, if given. on_bad:
    is called with a line for each thing that cannot be used; frames that cannot be read count as
    not answered. progress: wraps the images, whose number it gets.
    Raises BagError, where the bag cannot be read, has no such topics, or no true lanes of an image.
    """
    problems: list[str] = []

    def bad(line: str) -> None:
        problems.append(line)
        on_bad(line)

    images = ImageTopic(path, topic)
    try:
        truth_messages = LaneTopic(path, truth_topic)
    except BagError as error:
        raise BagError(f"{error}; `lane_sad bag make` makes bags with true lanes") from error
    settings = {"bag": str(path), "images": images.topic, "truth": truth_topic}
    answers: Callable[[Recorded], _Answer]
    if predictions_topic is not None:
        predictions = LaneTopic(path, predictions_topic)
        slots = predictions.slots()
        recorded = predictions.by_stamp(slots, bad)
        stray = set(recorded)
        answers = _from_recording(recorded)
        settings["predictions"] = predictions_topic
    elif detector is not None:
        slots = detector.layout.slots
        answers = _from_detector(detector, images, road)
        settings |= {
            name: str(detector.description[name]) for name in ("weights", "device", "engine")
        }
        settings["tracking"] = "yes" if road is not None and road.tracking else "no"
        stray = set()
    else:
        raise TypeError("either a detector or a topic of predictions is needed")
    truth = truth_messages.by_stamp(slots, bad)
    unmatched = dict(truth)
    frames: list[ReplayFrame] = []
    for index, message in enumerate(progress(_until_cut(images, bad), images.count)):
        try:
            stamp = message.stamp_ns
            answer = answers(message)
        except ValueError as error:
            bad(f"{path}: {images.topic} message {index}: {error}")
            stamp, answer = _stamp(message), _Answer(None)
        frames.append(
            ReplayFrame(
                index,
                stamp,
                unmatched.pop(stamp, None),
                answer.lanes,
                sum(answer.stages.values()) if answer.stages else None,
                answer.stages,
            )
        )
        stray.discard(stamp)
    if len(unmatched) == len(truth):
        raise BagError(
            f"{path}: no image on {images.topic} has the stamp of one of the {len(truth)} messages "
            f"on {truth_topic}; header stamps must be equal"
        )
    for left, what, of in ((unmatched, truth_topic, len(truth)), (stray, predictions_topic, 0)):
        if left:
            total = f" of {of}" if of else ""
            bad(
                f"{path}: {len(left)}{total} messages on {what} have the stamp of no image, first "
                f"{min(left) * 1e-9:.9f}; they do not count"
            )
    return Replay(tuple(frames), "offline", tuple(slots), settings, tuple(_few(problems)))


def images_of(path: Path, replay: Replay) -> Callable[[int], NDArray[np.uint8] | None]:
    """A function from a frame's index to its image H×W×3 BGR, None where it cannot be read.

    replay: made of the bag at `path`. The bag is read on from the image before, or anew.
    """
    from lane_sad_ros.images import bgr_from_frame

    topic = ImageTopic(path, replay.settings["images"])
    convert = _converter(topic)
    messages: Iterator[tuple[int, Recorded]] = iter(())
    last = len(replay.frames)

    def image(index: int) -> NDArray[np.uint8] | None:
        nonlocal messages, last
        if index <= last:
            messages = enumerate(topic.raw())
        last = index
        try:
            message = next(message for number, message in messages if number == index)
            return bgr_from_frame(convert(topic.parse(message)))
        except (StopIteration, ValueError):
            last = len(replay.frames)
            return None

    return image


@dataclasses.dataclass(frozen=True)
class _Answer:
    lanes: Lanes | None
    stages: dict[str, float] = dataclasses.field(default_factory=dict)


def _from_recording(lanes: dict[int, Lanes]) -> Callable[[Recorded], _Answer]:
    return lambda message: _Answer(lanes.get(message.stamp_ns))


def _from_detector(
    detector: LaneDetector,
    images: ImageTopic,
    road: RoadModel | None,
) -> Callable[[Recorded], _Answer]:
    convert = _converter(images)

    def answer(message: Recorded) -> _Answer:
        (detection,) = detector.detect([convert(images.parse(message))])
        lanes = detection.lanes
        if road is not None:
            lanes = road.update(lanes, message.stamp_ns, ego=False).lanes
        return _Answer(lanes, dict(detection.stages))

    return answer


def _few(lines: Sequence[str]) -> list[str]:
    more = len(lines) - _NOTES
    return [*lines[:_NOTES], f"... and {more} more of this kind"] if more > 0 else list(lines)


def _converter(images: ImageTopic) -> Callable[[Any], Frame]:
    from lane_sad_ros.images import frame_from_compressed, frame_from_image

    return frame_from_image if images.type == bags.IMAGE_TYPES[0] else frame_from_compressed


def _stamp(message: Recorded) -> int:
    try:
        return message.stamp_ns
    except BagError:
        return message.time_ns


def _until_cut(images: ImageTopic, bad: OnBad) -> Iterator[Recorded]:
    try:
        yield from images.raw()
    except BagError as error:
        bad(str(error))
