"""A recorded drive with true lanes, and what was answered to it: the values of a replay."""

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
        real time". slots: names of the lane slots. settings: what was used, name to value, for
        people to read. notes: sentences on what was assumed and what could not be used.
    """

    frames: tuple[ReplayFrame, ...]
    mode: str
    slots: tuple[str, ...]
    settings: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
