"""A recorded drive with true lanes, what was answered to it, and how well.

Figures are those of the frames that have true lanes. A frame that was not answered counts as one
where no lane was found, as the benchmarks' own tools count it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lane_sad_ros.lanes import Lanes


@dataclass(frozen=True)
class ReplayFrame:
    """One frame of a drive.

    index: among the frames of the drive, from 0. stamp_ns: of the image's header, nanoseconds.
    truth: the true lanes; None where the drive does not tell them for this frame, as TuSimple's
        clips, which are labelled in their last frame only.
    prediction: the lanes that were answered; None if the frame was not answered or not readable.
    latency: seconds from publishing the image to the answer (live), or in the detector (offline).
    stages: seconds by stage of the work.
    """

    index: int
    stamp_ns: int
    truth: Lanes | None
    prediction: Lanes | None
    latency: float | None = None
    stages: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Replay:
    """A drive from its first frame to its last, and how it was played.

    mode: "offline", "live, in step" (each frame sent when the one before was answered) or "live, in
        real time". slots: names of the lane slots; lanes of the truth and of the prediction are
        counted in the slot of their number, and a true lane of a higher number has no slot.
    settings: what was used, name to value, for people to read. notes: sentences on what was assumed
        and what could not be used. rate: seconds of the drive in a second. deadline: seconds after
        which an answer is late; None: the time to the next frame of the drive, at this rate.
    """

    frames: tuple[ReplayFrame, ...]
    mode: str
    slots: tuple[str, ...]
    settings: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    rate: float = 1.0
    deadline: float | None = None
