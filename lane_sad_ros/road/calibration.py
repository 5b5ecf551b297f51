"""How a camera is mounted, found from the lanes of a drive on a straight road.

The lines of a straight lane meet in a vanishing point, which is the direction of the road; over a
drive that is where the vehicle heads, and tells pitch and yaw; where it drifts in its lane it heads
to that side, which is taken off. The distance of the lane's lines tells the camera's height, and
where the lanes on both sides are as wide, their lines tell its roll. Frames on bends and over
crests are left out: there the near and the far parts of the lines meet in different points.

The estimate begins with the vanishing points of the frames and is then refined on the road: that
mounting is taken which makes the lines of all frames parallel and as far apart as lanes are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.lanes import Lanes
from lane_sad_ros.road.camera import CalibrationError, CameraModel
from lane_sad_ros.road.ground import Mounting

Array = NDArray[np.float64]

MIN_FRAMES = 20
"""Frames of a straight road with both lines of the ego lane that are needed."""

_MIN_POINTS = 6  # of a line
_BEND = 0.015  # radians between the near and the far part's vanishing points
# Robust standard deviations of single frames above which they contradict each other.
_MAX_PITCH_SPREAD = math.radians(1.0)
_MAX_YAW_SPREAD = math.radians(1.5)
_MAX_HEIGHT_SPREAD = 0.12  # of the height
_HEIGHTS = (0.3, 5.0)  # metres, of cameras on vehicles
_RANGE = 50.0  # metres along the road that are looked at
_ROLL_FRAMES = 0.3  # share of frames with a lane on both sides from which on roll is estimated
_MAX_OUTER_ERROR = 0.15  # metres that their outer lines may lie off their places
_NEAR_ERROR, _FAR_ERROR = 0.03, 1e-4  # metres, and per metre of distance squared: see ego.py
_HUBER = 0.05  # metres near the vehicle, from which on a point counts less
_STRAIGHT = 3e-4  # 1/m, curvature that a road may have that looks straight
_ROUNDS = 15
_MAX_DRIFT = 1.2  # metres in the lane from frame to frame; a change of lanes moves it further


@dataclass(frozen=True)
class Calibration:
    """How a camera is mounted; angles as `Mounting.from_angles` takes them, metres and radians.

    frames: of a straight road that it was found from.
    height_spread, pitch_spread, yaw_spread: how far single frames scatter about it (robust
        standard deviations), nods of the vehicle and slopes of the road included.
    roll_seen: whether lanes on both sides, as wide as the ego lane, told the roll, which is taken
        as 0 otherwise.
    vanishing_points: F×2 (u, v), pixels, where the ego lane's lines of each frame meet.
    vanishing_point: (u, v) of the vehicle's direction.
    typical: which of the given frames, from 0, meets nearest to that.
    """

    height: float
    pitch: float
    roll: float
    yaw: float
    frames: int
    height_spread: float
    pitch_spread: float
    yaw_spread: float
    roll_seen: bool
    vanishing_points: NDArray[np.float64]
    vanishing_point: tuple[float, float]
    typical: int

    def mounting(self, x: float = 0.0, y: float = 0.0) -> Mounting:
        """The camera's pose when it stands at (x, y) of the vehicle frame."""
        return Mounting.from_angles(self.height, self.roll, self.pitch, self.yaw, x, y)


def calibrate(frames: Iterable[Lanes], camera: CameraModel, lane_width: float) -> Calibration:
    """The mounting of a camera from the lanes of frames of a drive.

    frames: in order of time and evenly spaced; images of the camera's size. Of an even number of
        slots, the two in the middle are the lines of the ego lane, and the next ones bound its
        neighbours.
    lane_width: metres between the middles of the ego lane's lines. The height is proportional to
        it.
    Raises CalibrationError that says what the drive lacks.
    """
    if not lane_width > 0:
        raise CalibrationError(f"the lane's width of {lane_width:g} m must be above 0")
    total, usable = 0, []
    for index, lanes in enumerate(frames):
        if lanes.image_size != (camera.width, camera.height):
            raise CalibrationError(
                f"lanes of an image of {lanes.image_size[0]}x{lanes.image_size[1]} pixels do not "
                f"lie on the camera's {camera.width}x{camera.height}"
            )
        total += 1
        frame = _frame(index, lanes, camera)
        if frame is not None:
            usable.append(frame)
    straight = [frame for frame in usable if frame.bend < _BEND]
    _check_frames(total, len(usable), len(straight))
    pitch, yaw, height = _first_guess(straight, lane_width)
    lines = _Lines.of(straight, lane_width)
    fit = _refined(lines, pitch, yaw, height)
    calibration = _summary(fit, straight, camera)
    _check(calibration)
    return calibration


@dataclass(frozen=True)
class _Frame:
    """One frame's lines: rays N×3 of the optical frame by place, 0.5 and -0.5 the ego lane's left
    and right one, 1.5 the next one on the left; where the ego lane's lines meet, as (X/Z, Y/Z)."""

    index: int
    lines: dict[float, Array]
    meet: Array
    bend: float
    spread: float  # X/Z that the ego lane's lines diverge by per Y/Z


def _frame(index: int, lanes: Lanes, camera: CameraModel) -> _Frame | None:
    """What a frame tells; None without both lines of the ego lane, or where they do not meet."""
    count = len(lanes)
    if count < 2 or count % 2:
        return None
    lines = {}
    for slot, lane in enumerate(lanes):
        if not lane.exists:
            continue
        rays = camera.rays(lane.points[:, :2])
        rays = rays[rays[:, 2] > 0]  # leaves out NaN too
        if len(rays) >= _MIN_POINTS:
            lines[count / 2 - 0.5 - slot] = rays
    if 0.5 not in lines or -0.5 not in lines:
        return None
    left, right = (lines[place][:, :2] / lines[place][:, 2:] for place in (0.5, -0.5))
    whole = _meet(left, right)
    if whole is None:
        return None
    # Parts that reach equally far for their distance: the same ratio from one end to the other.
    depths = np.concatenate([left[:, 1], right[:, 1]]) - whole[1]
    depths = depths[depths > 0]
    if not depths.size:
        return None
    split = whole[1] + math.sqrt(depths.min() * depths.max())
    parts = [
        _meet(*(line[(line[:, 1] > split) == near] for line in (left, right)))
        for near in (True, False)
    ]
    if parts[0] is None or parts[1] is None:
        return None
    bend = float(np.abs(parts[0] - parts[1])[:2].max())
    return _Frame(index, lines, whole[:2], bend, float(whole[2]))


def _meet(left: Array, right: Array) -> Array | None:
    """Where two lines N×2 (x, y) meet, and the difference of their dx/dy; None where they do not,
    or where the right one is on the left."""
    if len(left) < 3 or len(right) < 3:
        return None
    (left_at, left_slope), (right_at, right_slope) = (
        _line_through(line[:, 1], line[:, 0]) for line in (left, right)
    )
    spread = right_slope - left_slope
    if spread < 1e-2:
        return None
    y = (left_at - right_at) / spread
    return np.array([left_at + left_slope * y, y, spread])


def _line_through(along: Array, values: Array) -> tuple[float, float]:
    """Value at 0 and slope of the line through points, outliers counted less."""
    design = np.stack([np.ones_like(along), along], axis=1)
    weight = np.ones_like(values)
    for _ in range(6):
        at, slope = np.linalg.lstsq(design * weight[:, None], values * weight, rcond=None)[0]
        miss = np.abs(values - at - slope * along)
        limit = max(1.5 * 1.4826 * float(np.median(miss)), 1e-6)
        weight = np.sqrt(np.minimum(1, limit / np.maximum(miss, 1e-12)))
    return float(at), float(slope)


def _check_frames(total: int, usable: int, straight: int) -> None:
    if usable < MIN_FRAMES:
        raise CalibrationError(
            f"{usable} of {total} frames show both lines of the ego lane, long enough to meet; "
            f"at least {MIN_FRAMES} are needed: take a longer drive on a well-marked road"
        )
    if straight < MIN_FRAMES:
        bent = usable - straight
        raise CalibrationError(
            f"near and far parts of the lines disagree in {bent} of {usable} frames, which leaves "
            f"{straight} where at least {MIN_FRAMES} are needed: "
            + ("the road is not straight" if bent > usable / 2 else "the drive is too short")
            + "; take one along a straight, level road"
        )


def _first_guess(frames: list[_Frame], lane_width: float) -> tuple[float, float, float]:
    """Pitch, yaw and height by the medians of what single frames say; roll is small."""
    x, y = np.median([frame.meet for frame in frames], axis=0)
    pitch = -math.atan(y)
    yaw = math.atan(x * math.cos(pitch))
    # Points (y / h) to the side of the camera's foot lie on a line of this slope in the image.
    spread = float(np.median([frame.spread for frame in frames]))
    return pitch, yaw, lane_width / spread


@dataclass(frozen=True)
class _Lines:
    """Points of all lines, frame by frame: rays N×3, their frame, and where their line should lie
    left of the middle of the ego lane, metres."""

    rays: Array
    frame: NDArray[np.intp]
    place: Array
    index: NDArray[np.intp]  # of each frame in the drive
    roll_seen: bool

    @cached_property
    def starts(self) -> NDArray[np.intp]:
        """The first point of each frame."""
        return np.flatnonzero(np.diff(self.frame, prepend=-1))

    @classmethod
    def of(cls, frames: list[_Frame], lane_width: float) -> _Lines:
        seen = bool(
            np.mean([{-1.5, 1.5} <= frame.lines.keys() for frame in frames]) >= _ROLL_FRAMES
        )
        parts = [
            (rays, np.full(len(rays), index), np.full(len(rays), place * lane_width))
            for index, frame in enumerate(frames)
            for place, rays in frame.lines.items()
            if abs(place) < (2 if seen else 1)
        ]
        rays, number, place = (np.concatenate(column) for column in zip(*parts, strict=True))
        index = np.array([frame.index for frame in frames])
        return cls(rays, number, place, index, seen)

    def inner(self) -> _Lines:
        """Without the lines further out."""
        kept = np.abs(self.place) <= np.abs(self.place).min()
        return _Lines(self.rays[kept], self.frame[kept], self.place[kept], self.index, False)


@dataclass(frozen=True)
class _Fit:
    pitch: float
    roll: float
    yaw: float
    height: float
    heading: Array  # of the lane in each frame, as far as the vehicle does not drift, radians
    residual: Array  # of each point, metres
    weight: Array
    lines: _Lines


def _refined(lines: _Lines, pitch: float, yaw: float, height: float) -> _Fit:
    """The mounting under which the lines of all frames fit best on the road.

    Gauss-Newton over (pitch, roll, height); where the lane lies, heads and bends in each frame is
    solved for on the way, and yaw takes up what all frames' headings have in common.
    """
    angles: Array = np.array([pitch, 0.0, height])
    free = [0, 1, 2] if lines.roll_seen else [0, 2]
    weight: Array = np.ones(len(lines.rays))
    for _ in range(_ROUNDS):
        weight = _on_road(lines, angles, yaw, weight)[2]
        # Weights move the lanes too: differences of residuals need the same ones on both sides.
        residual, lane, _ = _on_road(lines, angles, yaw, weight, fixed=True)
        jacobian = np.zeros((len(residual), len(free)))
        for column, index in enumerate(free):
            moved = angles.copy()
            moved[index] += 1e-5
            jacobian[:, column] = (
                _on_road(lines, moved, yaw, weight, fixed=True)[0] - residual
            ) / 1e-5
        weighted = (jacobian * weight[:, None]).T
        step = np.linalg.solve(weighted @ jacobian + 1e-9 * np.eye(len(free)), -weighted @ residual)
        angles[free] += np.clip(step, -0.1, 0.1)
        turn = float(np.median(_headings(lane, lines.index)))
        yaw -= turn
        if max(np.abs(step).max(), abs(turn)) < 1e-5:
            break
    residual, lane, weight = _on_road(lines, angles, yaw, weight)
    heading = _headings(lane, lines.index)
    fit = _Fit(angles[0], angles[1], yaw, angles[2], heading, residual, weight, lines)
    if lines.roll_seen and _outer_error(fit) > _MAX_OUTER_ERROR:
        # What lies beside the ego lane is not as wide: a shoulder, a ramp, a kerb.
        return _refined(lines.inner(), pitch, yaw, height)
    return fit


def _outer_error(fit: _Fit) -> float:
    outer = np.abs(fit.lines.place) > np.abs(fit.lines.place).min()
    return float(np.median(np.abs(fit.residual[outer]))) if outer.any() else 0.0


def _on_road(
    lines: _Lines, angles: Array, yaw: float, weight: Array, *, fixed: bool = False
) -> tuple[Array, Array, Array]:
    """How far points lie from their lines, metres; each frame's lane, see `_lanes`; weights.

    The lane of each frame, a parabola, is the best one under the mounting. fixed: under the given
    weights, otherwise these are renewed.
    """
    pitch, roll, height = angles
    directions = lines.rays @ Mounting.from_angles(height, roll, pitch, yaw).rotation.T
    down = np.maximum(-directions[:, 2], 1e-9)
    x, y = (height / down * directions[:, axis] for axis in (0, 1))
    away = np.minimum(np.hypot(x, y), 1e4)
    deviation = (_NEAR_ERROR + _FAR_ERROR * away**2) / _NEAR_ERROR
    usable = (away < _RANGE) & (x > 0)
    x, y = np.where(usable, x, 0), np.where(usable, y, 0)
    base = usable / deviation**2
    for _ in range(1 if fixed else 3):
        lane = _lanes(lines, x, y, weight)
        residual = np.where(usable, y - _line(lane, lines, x), 0.0)
        if not fixed:
            robust = np.minimum(1, _HUBER * deviation / np.maximum(np.abs(residual), 1e-9))
            weight = base * robust
    return residual, lane, weight


def _headings(lane: Array, index: NDArray[np.intp]) -> Array:
    """Directions of the lane, radians, in the frames whose neighbours show how the vehicle drifts,
    less what its drift explains."""
    heading, at = np.arctan(lane[:, 1]), lane[:, 0]
    frames, moves = np.diff(index), np.diff(at)
    gentle = (frames <= 2) & (np.abs(moves) < _MAX_DRIFT)
    inner = np.flatnonzero(gentle[1:] & gentle[:-1]) + 1
    if len(inner) < MIN_FRAMES // 2:
        return np.asarray(heading)
    drift = (at[inner + 1] - at[inner - 1]) / (index[inner + 1] - index[inner - 1])
    _, per_drift = _line_through(drift, heading[inner])
    return np.asarray(heading[inner] - per_drift * drift)


def _lanes(lines: _Lines, x: Array, y: Array, weight: Array) -> Array:
    """The middle line of each frame's lane, F×3: its y, slope and curvature at x = 0."""
    design = np.stack([np.ones_like(x), x, x * x / 2], axis=1)
    weighted = design * weight[:, None]
    products = weighted[:, :, None] * design[:, None, :]
    right = weighted * (y - lines.place)[:, None]
    total, moment = (np.add.reduceat(values, lines.starts) for values in (products, right))
    prior = np.diag([1e-9, 1e-6, (_NEAR_ERROR / _STRAIGHT) ** 2])
    return np.linalg.solve(total + prior, moment[:, :, None])[:, :, 0]


def _line(lane: Array, lines: _Lines, x: Array) -> Array:
    at, slope, curvature = lane[lines.frame].T
    return at + slope * x + curvature * x * x / 2 + lines.place


def _summary(fit: _Fit, frames: list[_Frame], camera: CameraModel) -> Calibration:
    mounting = Mounting.from_angles(fit.height, fit.roll, fit.pitch, fit.yaw)
    meets = np.array([[*frame.meet, 1.0] for frame in frames])
    ahead = mounting.rotation.T @ [1.0, 0.0, 0.0]
    (vanishing_point,) = camera.project(ahead[None])
    u, v = vanishing_point
    seen = camera.project(meets)
    typical = int(np.nanargmin(np.hypot(*(seen - vanishing_point).T)))
    body = meets @ mounting.rotation.T
    rises = np.arctan2(body[:, 2], body[:, 0])
    ego = np.abs(fit.lines.place) <= np.abs(fit.lines.place).min()
    # A frame in which the lane looks too wide says that the camera is lower, by as much.
    wide = _by_frame(fit.residual * np.sign(fit.lines.place), fit.weight * ego, fit.lines)
    half = float(np.abs(fit.lines.place).min())
    return Calibration(
        height=float(fit.height),
        pitch=float(fit.pitch),
        roll=float(fit.roll),
        yaw=float(fit.yaw),
        frames=len(frames),
        height_spread=float(fit.height * _spread(wide) / half),
        pitch_spread=_spread(rises),
        yaw_spread=_spread(fit.heading),
        roll_seen=fit.lines.roll_seen,
        vanishing_points=seen,
        vanishing_point=(float(u), float(v)),
        typical=frames[typical].index,
    )


def _by_frame(values: Array, weight: Array, lines: _Lines) -> Array:
    total = np.add.reduceat(weight, lines.starts)
    return np.add.reduceat(weight * values, lines.starts) / np.maximum(total, 1e-12)


def _spread(values: Array) -> float:
    """Standard deviation that outliers do not move: 1.4826 times the median deviation."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def _check(found: Calibration) -> None:
    if not _HEIGHTS[0] <= found.height <= _HEIGHTS[1]:
        raise CalibrationError(
            f"the camera would be {found.height:.2f} m above the road, which is not between "
            f"{_HEIGHTS[0]:g} and {_HEIGHTS[1]:g} m: check the lane's width and the intrinsics "
            "(field of view)"
        )
    wide = [
        f"{name} scatters by {value:.3g}{unit} (at most {limit:.3g}{unit})"
        for name, value, limit, unit in (
            ("pitch", math.degrees(found.pitch_spread), math.degrees(_MAX_PITCH_SPREAD), "°"),
            ("yaw", math.degrees(found.yaw_spread), math.degrees(_MAX_YAW_SPREAD), "°"),
            (
                "height",
                100 * found.height_spread / found.height,
                100 * _MAX_HEIGHT_SPREAD,
                " %",
            ),
        )
        if value > limit
    ]
    if wide:
        raise CalibrationError(
            f"frames contradict each other: {', '.join(wide)} over {found.frames} frames; the "
            "camera must not move on its vehicle, and the drive follow one lane of a straight road"
        )
