"""The ego lane, measured on the road: its width, and where and how the vehicle drives in it.

The two lines of the lane are points on a flat road (`lanes.Lane.ground`). The road is not quite
flat and the camera nods, which moves far points further out or in; lines that are parallel on the
road then open or close on the plane, and that tells how much. So both lines are fitted at once, as
parallels of one middle line whose curvature grows or falls steadily, on a road with one slope and
one bend relative to the plane.

Curvature is what a single frame says least about. What frames before have said of curvature, width
and the road's bend is kept and believed less and less as time goes by: an extended Kalman filter,
iterated and with robust weights. It knows no speed, so curvature lags where a bend begins. Where
the vehicle stands in the lane and where it heads is measured in each frame anew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.lanes import Lane, Lanes

Array = NDArray[np.float64]

WIDTHS = (2.0, 6.0)
"""Metres. What is narrower or wider than this is not one lane."""
WIDTH_AGE = 10.0
"""Seconds for which the last width stands in for a border that is not seen."""
RANGE = 45.0
"""Metres along the road up to which points are used: those further away mislead."""

_MIN_POINTS = 3
_MIN_SPAN = 3.0  # metres that a border's points must cover
_MAX_NEAREST = 30.0  # metres to the nearest point: further, offset and heading are guesswork
# Standard deviation of a point across the road, metres: a part for all, and one that grows with
# the square of the distance, as measured of the shipped weights on rendered scenes; both are
# scaled by what the residuals of the frames before say.
_NEAR_ERROR = 0.03
_FAR_ERROR = 1e-4
_ALIKE = 1.0  # metres along the road within which points say the same
_TYPICAL = 0.2  # scale of the residuals to begin with
_SMALLEST = 0.05
_SETTLES = 0.3  # seconds over which the scale follows the residuals
_HUBER = 1.5  # standard deviations from which on a point counts less
# Errors along a line, and in one frame and the next, are alike: what the points say is worth as
# much as that of independent points with this many times their scatter, every 0.1 s.
_CORRELATION = 10.0
_FRAME = 0.1
_SURELY = 0.5  # never believe points better than this times their standard deviation
_STEPS = 8

# The state: a, b middle line's y and slope at x = 0; c curvature, 1/m; d its rate, 1/m²; w width;
# p slope and q half the bend of the road over the camera's height, 1/m and 1/m²: a point at x on
# the plane lies 1 - p x - q x² times as far away.
_A, _B, _C, _D, _W, _P, _Q = range(7)
_USUAL = np.array([0.0, 0.0, 0.0, 0.0, 3.5, 0.0, 0.0])
_UNKNOWN = 1e3
# Standard deviations of roads at large, of a nod, and of what changes in a second.
_SPREAD = np.array([_UNKNOWN, _UNKNOWN, 3e-3, 3e-5, 1.0, 2.7e-3, 6.7e-5])
_CHANGE = np.array([0.0, 0.0, 1e-3, 3e-5, 0.1, 0.0, 3.3e-5])
_ANEW = [_A, _B, _P]  # of each frame
_FORGET = 3.0  # seconds after which roads at large say as much as what was seen


@dataclass(frozen=True)
class EgoLane:
    """The lane that the vehicle drives in, at the vehicle's origin; as lane_sad_ros/EgoLane.

    valid: false where the numbers are not known, which are NaN then.
    left_seen, right_seen: whether that border was seen in this frame.
    width: metres. lateral_offset: metres, positive when the vehicle is left of the lane's middle.
    heading: radians, positive when the vehicle points to the left of the lane.
    curvature: 1/m of the middle of the lane, positive when it bends to the left.
    """

    valid: bool
    left_seen: bool
    right_seen: bool
    width: float
    lateral_offset: float
    heading: float
    curvature: float

    def middle(self, x: NDArray[np.floating]) -> Array:
        """How far left of the vehicle the lane's middle lies, N metres, at x (N) metres forward.

        It is the parabola that has the lane's offset, heading and curvature at the origin.
        """
        stretch = 1 / math.cos(self.heading)
        bend = self.curvature * stretch**3
        return np.asarray(
            -self.lateral_offset * stretch - math.tan(self.heading) * x + bend * x * x / 2
        )


class _Belief(NamedTuple):
    state: Array  # 7
    covariance: Array  # 7×7


class _Points(NamedTuple):
    """Border points on the plane: forward and left, which border (1 left, -1 right), deviation."""

    x: Array
    y: Array
    side: Array
    deviation: Array


class EgoLaneEstimator:
    """Follows the ego lane from frame to frame. One estimator for one camera."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forgets what frames before have shown."""
        self._belief: _Belief | None = None
        self._stamp_ns = 0
        self._both_ns = 0
        self._scatter = _TYPICAL

    def update(self, lanes: Lanes, stamp_ns: int) -> EgoLane:
        """The ego lane of the next frame.

        lanes: with points on the road (`GroundProjector.with_ground`); the two slots in the middle
            are the borders, of an even number of slots. Behind the vehicle, as seen by a rear
            camera, the left one in the image is the right one of the lane.
        stamp_ns: nanoseconds; a stamp before the last one starts anew, as when a bag is played
            again.

        It is not valid without any border, with one border while no width was seen in the last
        WIDTH_AGE seconds, or if what is seen is not a lane of WIDTHS.
        """
        if stamp_ns < self._stamp_ns or stamp_ns - self._both_ns > WIDTH_AGE * 1e9:
            self.reset()
        left, right = _borders(lanes)
        if _mean_x(left, right) < 0:
            left, right = right, left
        seen = left is not None, right is not None
        if not any(seen) or (not all(seen) and self._belief is None):
            return _invalid(*seen)
        points = _gather(left, right)
        if points.x.size == 0 or np.abs(points.x).min() > _MAX_NEAREST:
            return _invalid(*seen)
        elapsed = (stamp_ns - self._stamp_ns) * 1e-9 if self._belief else _FRAME
        found, scatter = self._fit(points, elapsed)
        a, b, c, _, width, _, _ = found.state
        if not WIDTHS[0] <= width <= WIDTHS[1]:
            return _invalid(*seen)
        self._belief, self._stamp_ns = found, stamp_ns
        if all(seen):
            self._both_ns = stamp_ns
            self._scatter += (1 - math.exp(-elapsed / _SETTLES)) * (scatter - self._scatter)
        heading = -math.atan(b)
        return EgoLane(
            True,
            *seen,
            width=float(width),
            lateral_offset=float(-a * math.cos(heading)),
            heading=heading,
            curvature=float(c * math.cos(heading) ** 3),
        )

    def _fit(self, points: _Points, elapsed: float) -> tuple[_Belief, float]:
        """What is believed after a frame, and the scatter of its points in their deviations."""
        before, information = self._expected(elapsed)
        deviation = points.deviation * max(self._scatter, _SMALLEST)
        scale = max(_CORRELATION, _SURELY / self._scatter)
        scale *= math.sqrt(max(1.0, _FRAME / max(elapsed, 1e-3)))
        state = before
        for _ in range(_STEPS):
            residual, jacobian = _compare(state, points)
            weight = np.minimum(1, _HUBER * deviation / np.maximum(np.abs(residual), 1e-9))
            weight /= (scale * deviation) ** 2
            weighted = (jacobian * weight[:, None]).T
            total = information + weighted @ jacobian
            state = state + np.linalg.solve(
                total, weighted @ residual - information @ (state - before)
            )
        residual, _ = _compare(state, points)
        scatter = 1.4826 * float(np.median(np.abs(residual) / points.deviation))
        return _Belief(state, np.linalg.inv(total)), scatter

    def _expected(self, elapsed: float) -> tuple[Array, Array]:
        """The state to expect after that many seconds, and how surely: its information matrix."""
        usual = np.diag(_SPREAD**-2)
        if self._belief is None:
            return _USUAL, usual
        state, covariance = self._belief
        covariance = covariance + np.diag(_CHANGE**2 * elapsed)
        covariance[_ANEW] = 0
        covariance[:, _ANEW] = 0
        covariance[_ANEW, _ANEW] = _SPREAD[_ANEW] ** 2
        state = state.copy()
        state[_P] = 0
        kept = np.linalg.inv(covariance)
        # Roads at large pull with a strength that does not depend on the rate of frames.
        usual[_ANEW, _ANEW] = 0
        usual *= min(1.0, elapsed / _FORGET)
        information = kept + usual
        return np.linalg.solve(information, kept @ state + usual @ _USUAL), information


def _compare(state: Array, points: _Points) -> tuple[Array, Array]:
    """How far points lie left of the lines that a state says, N metres; the lines' Jacobian N×7."""
    a, b, c, d, width, p, q = state
    x, y, side, _ = points
    nearer = 1 - p * x - q * x * x
    u = nearer * x
    slope = b + c * u + d * u * u / 2
    oblique = np.sqrt(1 + slope * slope)
    half = side * width / 2
    lines = a + b * u + c * u * u / 2 + d * u**3 / 6 + half * oblique
    turn = half * slope / oblique
    # Of y on the road, `nearer * y`, as well: its points move with p and q.
    shift = slope * x - y
    jacobian = np.stack(
        [
            np.ones_like(u),
            u + turn,
            u * u / 2 + turn * u,
            u**3 / 6 + turn * u * u / 2,
            side * oblique / 2,
            -x * shift,
            -x * x * shift,
        ],
        axis=1,
    )
    return nearer * y - lines, jacobian


def _borders(lanes: Lanes) -> tuple[Array | None, Array | None]:
    """The lines left and right of the middle of the image, N×3 of (x, y, score); None unseen."""
    count = len(lanes)
    if count < 2 or count % 2:
        return None, None
    return _border(lanes[count // 2 - 1]), _border(lanes[count // 2])


def _border(lane: Lane) -> Array | None:
    if not lane.exists or lane.ground is None:
        return None
    points = np.column_stack([lane.ground[:, :2], lane.points[:, 2]]).astype(np.float64)
    points = points[np.abs(points[:, 0]) <= RANGE]  # which leaves out NaN as well
    if len(points) < _MIN_POINTS or np.ptp(points[:, 0]) < _MIN_SPAN:
        return None
    return points


def _mean_x(*borders: Array | None) -> float:
    return sum(float(border[:, 0].mean()) for border in borders if border is not None)


def _gather(left: Array | None, right: Array | None) -> _Points:
    given = [(side, points) for side, points in ((1.0, left), (-1.0, right)) if points is not None]
    x, y, score = np.concatenate([points for _, points in given]).T
    side = np.concatenate([np.full(len(points), side) for side, points in given])
    apart = np.concatenate([np.abs(np.gradient(points[:, 0])) for _, points in given])
    deviation = (_NEAR_ERROR + _FAR_ERROR * x * x) / np.maximum(score, 0.2)
    deviation *= np.sqrt(np.maximum(1, _ALIKE / np.maximum(apart, 1e-3)))
    return _Points(x, y, side, deviation)


def _invalid(left_seen: bool, right_seen: bool) -> EgoLane:
    nan = math.nan
    return EgoLane(False, left_seen, right_seen, nan, nan, nan, nan)


_STRAIGHT = 3000.0  # metres of radius from which on a lane looks straight


def ego_words(ego: EgoLane) -> list[str]:
    """The figures of a valid ego lane: offset, width, heading and radius, a few words each."""
    bend = "straight"
    if abs(ego.curvature) * _STRAIGHT > 1:
        bend = f"radius {1 / abs(ego.curvature):.0f} m {_side(ego.curvature)}"
    return [
        f"offset {abs(ego.lateral_offset):.2f} m {_side(ego.lateral_offset)}",
        f"width {ego.width:.2f} m",
        f"heading {abs(math.degrees(ego.heading)):.1f} deg {_side(ego.heading)}",
        bend,
    ]


def _side(value: float) -> str:
    return "left" if value > 0 else "right"
