"""From the lanes of single images to the road: lanes over time, on the ground, and the ego lane.

The one place that chains tracker, projection and ego lane; the node, `detect` and `evaluate bag`
use it alike.
"""

from __future__ import annotations

from dataclasses import dataclass

from lane_sad_ros.lanes import Lanes
from lane_sad_ros.road.ego import EgoLane, EgoLaneEstimator
from lane_sad_ros.road.ground import GroundProjector
from lane_sad_ros.road.tracking import LaneTracker


@dataclass(frozen=True)
class Road:
    """What one image tells of the road.

    lanes: with `ground` where there is a calibration. ego: the lane that the vehicle drives in,
    not valid without a calibration or its borders; None where it was not asked for.
    """

    lanes: Lanes
    ego: EgoLane | None


class RoadModel:
    """Makes `Road`s of the lanes that one camera sees, frame by frame.

    tracking: whether lanes are followed over time. projector: to the ground, None without a
    calibration. Both may change between two frames.
    """

    def __init__(self, tracking: bool = True, projector: GroundProjector | None = None) -> None:
        self.tracking = tracking
        self.projector = projector
        self._tracker = LaneTracker()
        self._estimator = EgoLaneEstimator()

    def update(self, lanes: Lanes, stamp_ns: int, *, ego: bool = True) -> Road:
        """The road of the next frame.

        stamp_ns: of its image, nanoseconds. ego: whether the ego lane is wanted, too.

        Raises CalibrationError where the projector is for images of another size.
        """
        if self.tracking:
            lanes = self._tracker.update(lanes, stamp_ns)
        else:
            self._tracker.reset()
        if self.projector is not None:
            lanes = self.projector.with_ground(lanes)
        return Road(lanes, self._estimator.update(lanes, stamp_ns) if ego else None)

    def reset(self) -> None:
        """Forgets the past: the next frame is the first of another drive."""
        self._tracker.reset()
        self._estimator.reset()
