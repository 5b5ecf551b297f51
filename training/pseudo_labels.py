"""Labels for recordings that have none, by a trained network: what self-training learns from.

The network looks at each frame and at its mirror image, and in a recording follows lanes over time.
A frame is kept only if all of that says the same; the rest is left out, not guessed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from lane_sad_ros.detection import Frame, LaneDetector
from lane_sad_ros.formats import polylines
from lane_sad_ros.formats.slots import slot_numbers
from lane_sad_ros.formats.tusimple import to_record, write_predictions
from lane_sad_ros.image_files import write_image
from lane_sad_ros.lanes import Lane, Lanes
from lane_sad_ros.recordings.sources import FrameSource, SourceFrame
from lane_sad_ros.road.tracking import LaneTracker

# Rows of the labels: as near to each other as TuSimple's.
_ROWS_PER_IMAGE = 72
# Lanes of two views agree if on their common rows they are this near on average, as a share of the
# image's width, and have this share of their rows in common.
_NEAR = 0.006
_COMMON = 0.8

NO_LANE = "without a lane"


def pseudo_label(
    source: FrameSource,
    detector: LaneDetector,
    output: Path,
    every: int = 1,
    sure: float = 0.8,
    partial: bool = False,
) -> tuple[int, Counter[str]]:
    """Write the frames of a source that the detector is sure of, with its lanes, to a folder.

    output: gets `images/` and `labels.json` in the TuSimple layout; with `partial`, `lanes.json`
    of all frames with a lane that is sure, with those lanes alone. every: each such frame only.
    sure: see `doubt`. Returns the number of frames kept, and of those left out by their reason.
    Raises ValueError if `sure` is not in [0.5, 1], `every` is below 1, `images/` is the source
    itself, or no frame is kept.
    """
    if source.path.resolve() == (output / "images").resolve():
        raise ValueError(f"{output}: its images would replace those of {source.path}; name another")
    records: list[dict[str, Any]] = []
    dropped: Counter[str] = Counter()
    for look in looks(source, detector, every, sure):
        unfit = not look.sure if partial else look.doubt
        if unfit:
            dropped[look.doubt or NO_LANE] += 1
            continue
        frame = look.frame
        name = f"images/{frame.name}" + (".jpg" if not frame.name.endswith(".jpg") else "")
        write_image(output / name, frame.image)
        records.append(_partly(look, name) if partial else _wholly(look, name))
    if not records:
        raise ValueError(f"{source.path}: no frame with lanes that are sure; {left_out(dropped)}")
    write_predictions(output / ("lanes.json" if partial else "labels.json"), records)
    return len(records), dropped


def _wholly(look: Look, name: str) -> dict[str, Any]:
    height = look.frame.image.shape[0]
    rows = ((np.arange(_ROWS_PER_IMAGE) + 0.5) * height / _ROWS_PER_IMAGE).round().tolist()
    lanes = to_record(look.lanes, name, rows, 0.0)["lanes"]
    return {"raw_file": name, "h_samples": rows, "lanes": lanes}


def _partly(look: Look, name: str) -> dict[str, Any]:
    return polylines.to_record(name, look.lanes.image_size, [lane.points for lane in look.sure])


@dataclass(frozen=True)
class Look:
    """A frame, the lanes seen in it, and why they are not to be trusted; None if they are.

    sure: the lanes that all looks at the frame agree on.
    """

    frame: SourceFrame
    lanes: Lanes
    doubt: str | None
    sure: tuple[Lane, ...] = ()


def looks(
    source: FrameSource, detector: LaneDetector, every: int = 1, sure: float = 0.8
) -> Iterator[Look]:
    """Looks at each `every`th frame of a source, in a video or bag with all frames before it.

    sure: see `doubt`. Raises ValueError if it is not in [0.5, 1] or `every` is below 1.
    """
    if not 0.5 <= sure <= 1:
        raise ValueError(f"sure is a probability of at least 0.5, not {sure}")
    if every < 1:
        raise ValueError(f"every must be at least 1, not {every}")
    tracker = LaneTracker() if source.kind in ("video", "bag") else None
    for index, frame in enumerate(tqdm(source, total=source.count, unit="frame", disable=None)):
        due = index % every == 0
        if not due and tracker is None:
            continue
        views = [Frame(frame.image, "bgr")]
        if due:
            views.append(Frame(np.ascontiguousarray(frame.image[:, ::-1]), "bgr"))
        lanes, *others = (found.lanes for found in detector.detect(views))
        followed = lanes if tracker is None else tracker.update(lanes, frame.stamp_ns)
        if due:
            other = mirrored(*others)
            agreed = tuple(agreeing(lanes, other, followed, sure))
            yield Look(frame, followed, doubt(lanes, other, followed, sure), agreed)


def left_out(dropped: Counter[str]) -> str:
    """How many frames were left out, and why, in words."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.most_common())
    return f"left out: {reasons or 'none'}"


def mirrored(lanes: Lanes) -> Lanes:
    """The lanes of the mirrored image: columns from the other side, slots swapped."""
    width = lanes.image_size[0]
    found = []
    for lane in reversed(lanes):
        points = lane.points.copy()
        points[:, 0] = width - 1 - points[:, 0]
        slot = len(lanes) - 1 - lane.slot
        found.append(Lane(slot, lane.exists, lane.probability, points))
    return Lanes(lanes.image_size, tuple(found))


def doubt(lanes: Lanes, other: Lanes, followed: Lanes, sure: float) -> str | None:
    """Why a frame's lanes are not to be trusted; None if they are.

    other: of a second look at the same frame, followed: as a tracker has them. A lane is sure if
    its probability in both looks is above `sure`, or below 1 - `sure`.
    """
    for looks in zip(lanes, other, strict=True):
        if any(1 - sure < look.probability < sure for look in looks):
            return "with a lane that is not sure"
    for one, two, three in zip(lanes, other, followed, strict=True):
        if not one.exists == two.exists == three.exists:
            return "with a lane that comes and goes"
        if one.exists and not (_alike(one, two, lanes) and _alike(one, three, lanes)):
            return "whose lanes differ"
    if not lanes.present:
        return NO_LANE
    # Training gives slots by position, as for every data set of this layout.
    width, height = lanes.image_size
    present = followed.present
    by_position = slot_numbers([lane.points[:, :2] for lane in present], len(lanes), width, height)
    if by_position != [lane.slot for lane in present]:
        return "with a gap between lanes"
    return None


def agreeing(lanes: Lanes, other: Lanes, followed: Lanes, sure: float) -> Iterator[Lane]:
    """The lanes of a frame that are to be trusted whatever the others are; see `doubt`.

    Beyond a lane that is not, none is: training gives slots by position.
    """
    views = list(zip(lanes, other, followed, strict=True))
    middle = len(views) // 2
    for side in (views[:middle][::-1], views[middle:]):
        for one, two, three in side:
            if not (one.exists and two.exists and three.exists):
                break
            if min(one.probability, two.probability) <= sure:
                break
            if not (_alike(one, two, lanes) and _alike(one, three, lanes)):
                break
            yield three


def _alike(one: Lane, two: Lane, lanes: Lanes) -> bool:
    """Whether two lanes of the same image are the same."""
    first, second = one.points[::-1], two.points[::-1]
    low = max(first[0, 1], second[0, 1])
    high = min(first[-1, 1], second[-1, 1])
    longest = max(np.ptp(first[:, 1]), np.ptp(second[:, 1]))
    if high - low < _COMMON * longest:
        return False
    rows = np.linspace(low, high, 20)
    apart = np.interp(rows, first[:, 1], first[:, 0]) - np.interp(rows, second[:, 1], second[:, 0])
    return bool(np.abs(apart).mean() < _NEAR * lanes.image_size[0])
