"""Cameras and their lenses: plumb bob, rational, fisheye."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float64]

PLUMB_BOB = "plumb_bob"

RATIONAL = "rational_polynomial"

EQUIDISTANT = "equidistant"

_COUNTS = {PLUMB_BOB: (0, 4, 5), RATIONAL: (0, 4, 5, 8), EQUIDISTANT: (0, 4)}

MODELS = tuple(_COUNTS)
"""Names of the lens models, those of sensor_msgs/distortion_models.hpp."""

_ANGLES = 4096  # steps at which a lens is tabulated

_NEWTON_STEPS = 30

# By which products of a rotation's rows may be off: files have three digits or more.
_ROUNDED = 0.01

_CALIBRATE = "run camera_calibration, or lane_sad calibrate with a field of view"


class CalibrationError(ValueError):
    """A calibration that cannot be used; the text says what is wrong and what would be right."""


@dataclass(frozen=True, eq=False)
class CameraModel:
    """What a camera does to directions: a 3×3 camera matrix behind a lens.

    Directions and points are in the camera's optical frame, the one that frame_id names. As
    image_geometry and CameraInfo's P have it, that is the frame of the rectified images, so that
    raw and rectified images of one camera see the same road.

    width, height: of the image in pixels.
    k: 3×3 camera matrix in pixels of this image.
    model: "plumb_bob" (k1, k2, p1, p2 and maybe k3), "rational_polynomial" (k1, k2, p1, p2, k3 to
        k6) or "equidistant" (k1 to k4, a fisheye), as in sensor_msgs/CameraInfo and OpenCV.
    coefficients: of the lens; none, or all zero, is no distortion (equidistant: a lens whose image
        height is the angle times the focal length). Zeros behind the model's own change nothing,
        and without distortion a model of another name is a pinhole.
    r: 3×3, turns directions of the lens into the optical frame, as CameraInfo's R; None, which it
        becomes where it is the identity or, as in a message nobody filled in, all zero, for a lens
        along that frame's axes.
    Raises CalibrationError for values that describe no camera.
    """

    width: int
    height: int
    k: NDArray[np.float64]
    model: str = PLUMB_BOB
    coefficients: tuple[float, ...] = ()
    r: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", np.array(self.k, np.float64))
        object.__setattr__(self, "coefficients", tuple(float(c) for c in self.coefficients))
        if self.width <= 0 or self.height <= 0:
            raise CalibrationError(
                f"the camera's image is {self.width}x{self.height} pixels; both must be above 0"
            )
        if self.k.shape != (3, 3):
            raise CalibrationError(f"the camera matrix k has shape {self.k.shape}, not 3x3")
        if not np.isfinite(self.k).all():
            raise CalibrationError("the camera matrix k has numbers that are not finite")
        fx, fy = self.k[0, 0], self.k[1, 1]
        if fx <= 0 or fy <= 0:
            raise CalibrationError(
                f"the camera is not calibrated (fx is {fx:g}, fy is {fy:g}; both must be above 0): "
                + _CALIBRATE
            )
        if self.k[1, 0] != 0 or tuple(self.k[2]) != (0, 0, 1):
            raise CalibrationError(
                "the camera matrix k is not [fx, s, cx, 0, fy, cy, 0, 0, 1] row by row: "
                + np.array2string(self.k.ravel(), separator=", ", max_line_width=1000)
            )
        if self.model not in _COUNTS and not any(self.coefficients):  # "none", "pinhole", ...
            object.__setattr__(self, "model", PLUMB_BOB)
            object.__setattr__(self, "coefficients", ())
        if self.model not in _COUNTS:
            raise CalibrationError(
                f"unknown distortion model {self.model!r}; known are {', '.join(MODELS)}"
            )
        counts = _COUNTS[self.model]
        if not any(self.coefficients[counts[-1] :]):  # drivers fill up with zeros
            object.__setattr__(self, "coefficients", self.coefficients[: counts[-1]])
        if len(self.coefficients) not in counts:
            raise CalibrationError(
                f"distortion model {self.model} has {' or '.join(map(str, counts[1:]))} "
                f"coefficients (or none), not {len(self.coefficients)}"
            )
        if not np.isfinite(self.coefficients).all():
            raise CalibrationError("the distortion coefficients have numbers that are not finite")
        if self.r is not None:
            object.__setattr__(self, "r", _rotation(self.r))

    @classmethod
    def from_field_of_view(cls, width: int, height: int, angle: float) -> CameraModel:
        """A pinhole with square pixels, centred, that sees `angle` radians across its width."""
        if not 0 < angle < math.pi:
            raise CalibrationError(
                f"a horizontal field of view of {math.degrees(angle):g}° is not between 0 and 180°"
            )
        f = width / 2 / math.tan(angle / 2)
        k = np.array([[f, 0, (width - 1) / 2], [0, f, (height - 1) / 2], [0, 0, 1]])
        return cls(width, height, k)

    @classmethod
    def from_info(
        cls, info: Any, image_size: tuple[int, int] | None = None, *, rectified: bool = False
    ) -> CameraModel:
        """The camera of a sensor_msgs/CameraInfo, for images of (width, height) `image_size`.

        info: an object with the message's fields, also with ROS 1's names (K, D, R). It may lack r.
        image_size: of the images the pixels lie on; by default what the message says. The part of
            the sensor that `roi` names (all of it where its sizes are 0), binned, may have been
            scaled to another resolution, as long as its shape is kept.
        rectified: whether the images are, as those of image_proc's image_rect: their camera is the
            left 3x3 of P, without distortion. Others are raw: their rays are turned by R.
        Raises CalibrationError with the reason.
        """
        width, height = int(info.width), int(info.height)
        if width <= 0 or height <= 0:
            raise CalibrationError(
                f"camera_info says the image is {width}x{height} pixels: the driver has no "
                f"calibration; {_CALIBRATE}"
            )
        k = np.asarray(info.k if hasattr(info, "k") else info.K, np.float64)
        d = np.asarray(info.d if hasattr(info, "d") else info.D, np.float64)
        if k.size != 9:
            raise CalibrationError(f"camera_info.k has {k.size} numbers, not 9")
        if not k.any():
            raise CalibrationError(f"camera_info is not calibrated (k is all zero): {_CALIBRATE}")
        r = np.asarray(getattr(info, "r", getattr(info, "R", np.zeros(9))), np.float64)
        if r.size != 9:
            raise CalibrationError(f"camera_info.r has {r.size} numbers, not 9")
        model = str(info.distortion_model) or PLUMB_BOB
        if rectified:
            # Not a fisheye without coefficients, which is no pinhole.
            k, model, d, r = _rectified(info, k, d), PLUMB_BOB, np.zeros(0), np.eye(3)
        try:
            full = cls(width, height, k.reshape(3, 3), model, tuple(d), r.reshape(3, 3))
        except CalibrationError as error:
            raise CalibrationError(f"camera_info: {error}") from error
        return full._seen_through(info, image_size)

    def _seen_through(self, info: Any, image_size: tuple[int, int] | None) -> CameraModel:
        """This camera, of the full sensor, for images as its driver delivers them."""
        binning = max(int(info.binning_x), 1), max(int(info.binning_y), 1)
        roi = info.roi
        window = (
            int(roi.x_offset),
            int(roi.y_offset),
            int(roi.width) or self.width,
            int(roi.height) or self.height,
        )
        full = self.width // binning[0], self.height // binning[1]
        if image_size == full:  # some drivers fill roi in with the part that rectifies well
            window = (0, 0, self.width, self.height)
        left, top, across, down = window
        if left + across > self.width or top + down > self.height:
            raise CalibrationError(
                f"camera_info.roi ({across}x{down} at {left}, {top}) does not lie in its "
                f"{self.width}x{self.height} image"
            )
        binned = across // binning[0], down // binning[1]
        if not all(binned):
            raise CalibrationError(
                f"camera_info.binning {binning[0]}x{binning[1]} leaves nothing of {across}x{down} "
                "pixels"
            )
        size = image_size or binned
        # Rounding a scaled size to whole pixels changes its shape by up to half a pixel.
        if abs(size[0] * binned[1] - size[1] * binned[0]) > max(*size, *binned):
            raise CalibrationError(
                f"the image is {size[0]}x{size[1]} but camera_info describes {binned[0]}x"
                f"{binned[1]}: other shape, so the image was cropped; say where in camera_info.roi"
            )
        cut = self._moved(left, top)
        return cut._scaled(size[0] / binned[0] / binning[0], size[1] / binned[1] / binning[1], size)

    def _moved(self, left: int, top: int) -> CameraModel:
        k = self.k - [[0, 0, left], [0, 0, top], [0, 0, 0]]
        return dataclasses.replace(self, k=k)

    def _scaled(self, across: float, down: float, size: tuple[int, int]) -> CameraModel:
        # A pixel is an area around its centre: the image's edge at -0.5 is what stays in place.
        scale = np.array([[across, 0, across / 2 - 0.5], [0, down, down / 2 - 0.5], [0, 0, 1]])
        return dataclasses.replace(self, width=size[0], height=size[1], k=scale @ self.k)

    @np.errstate(all="ignore")  # what a lens of wild coefficients does not image is NaN
    def rays(self, pixels: ArrayLike) -> Points:
        """Directions, N×3 of length 1 in the optical frame, that pixels N×2 (u, v) look along.

        NaN for pixels beyond the lens: no direction, or no unambiguous one, is imaged there.
        """
        uv = np.asarray(pixels, np.float64).reshape(-1, 2)
        directions = self._from_lens(uv)
        if self.r is None:
            return directions
        directions = directions @ self.r.T
        return np.asarray(directions / np.linalg.norm(directions, axis=1, keepdims=True))

    def _from_lens(self, uv: Points) -> Points:
        """`rays`, but in the frame of the lens."""
        y = (uv[:, 1] - self.k[1, 2]) / self.k[1, 1]
        x = (uv[:, 0] - self.k[0, 2] - self.k[0, 1] * y) / self.k[0, 0]
        if self.model == EQUIDISTANT:
            return self._from_fisheye(x, y)
        if any(self.coefficients):
            x, y = self._undistorted(x, y)
        directions = np.stack([x, y, np.ones_like(x)], axis=1)
        return np.asarray(directions / np.linalg.norm(directions, axis=1, keepdims=True))

    @np.errstate(all="ignore")
    def project(self, points: ArrayLike) -> Points:
        """Points N×3 of the optical frame as pixels N×2 (u, v), also outside the image.

        NaN behind the camera and where the lens model folds: where points further from the axis
        would be imaged nearer to it.
        """
        xyz = np.array(points, np.float64).reshape(-1, 3)
        if self.r is not None:
            # Not the transpose: r may be rounded, and `rays` has to be undone.
            xyz = xyz @ np.linalg.inv(self.r).T
        angle: Points = np.arctan2(np.hypot(xyz[:, 0], xyz[:, 1]), xyz[:, 2])
        # Not `angle <= limit`: this keeps NaN out too.
        xyz[~(angle < self._limit)] = np.nan
        if self.model == EQUIDISTANT:
            x, y = self._to_fisheye(xyz, angle)
        else:
            x, y = xyz[:, 0] / xyz[:, 2], xyz[:, 1] / xyz[:, 2]
            if any(self.coefficients):
                x, y, _ = self._distorted(x, y)
        k = self.k
        return np.stack([k[0, 0] * x + k[0, 1] * y + k[0, 2], k[1, 1] * y + k[1, 2]], axis=1)

    # --- plumb bob and rational polynomial, for x = X/Z and y = Y/Z

    @cached_property
    def _brown(self) -> tuple[float, ...]:
        """k1, k2, p1, p2, k3, k4, k5, k6."""
        return self.coefficients + (0.0,) * (8 - len(self.coefficients))

    def _radial(self, t: Points) -> tuple[Points, Points]:
        """What the lens multiplies a distance from the axis by, for its square t; its slope."""
        k1, k2, _, _, k3, k4, k5, k6 = self._brown
        above = 1 + t * (k1 + t * (k2 + t * k3))
        below = 1 + t * (k4 + t * (k5 + t * k6))
        slope_above = k1 + t * (2 * k2 + t * 3 * k3)
        slope_below = k4 + t * (2 * k5 + t * 3 * k6)
        factor = above / below
        return factor, (slope_above - factor * slope_below) / below

    def _distorted(self, x: Points, y: Points) -> tuple[Points, Points, Points]:
        """Where the lens moves (x, y) to, and the Jacobian 3×N: its xx, xy = yx and yy."""
        _, _, p1, p2, *_ = self._brown
        t = x * x + y * y
        factor, slope = self._radial(t)
        jacobian = np.stack(
            [
                factor + 2 * slope * x * x + 2 * p1 * y + 6 * p2 * x,
                2 * slope * x * y + 2 * p1 * x + 2 * p2 * y,
                factor + 2 * slope * y * y + 6 * p1 * y + 2 * p2 * x,
            ]
        )
        there_x = x * factor + 2 * p1 * x * y + p2 * (t + 2 * x * x)
        there_y = y * factor + p1 * (t + 2 * y * y) + 2 * p2 * x * y
        return there_x, there_y, jacobian

    def _undistorted(self, at_x: Points, at_y: Points) -> tuple[Points, Points]:
        """The inverse of `_distorted`, by Newton's method from the inverse of the radial part."""
        angles, heights = self._table
        height = np.hypot(at_x, at_y)
        start = np.tan(np.interp(height, heights, angles))
        ratio = np.divide(start, height, out=np.ones_like(height), where=height > 0)
        x, y = at_x * ratio, at_y * ratio
        # Points beyond the lens may run off to infinity; they are dropped below.
        with np.errstate(all="ignore"):
            for _ in range(_NEWTON_STEPS):
                there_x, there_y, (xx, xy, yy) = self._distorted(x, y)
                miss_x, miss_y = there_x - at_x, there_y - at_y
                turn = xx * yy - xy * xy
                step_x = (yy * miss_x - xy * miss_y) / turn
                step_y = (xx * miss_y - xy * miss_x) / turn
                x, y = x - step_x, y - step_y
                if not (np.hypot(step_x, step_y) > 1e-12 * (1 + np.hypot(x, y))).any():
                    break
            there_x, there_y, (xx, xy, yy) = self._distorted(x, y)
            found = np.hypot(there_x - at_x, there_y - at_y) < 1e-9 * (1 + height)
            found &= (xx * yy > xy * xy) & (np.arctan(np.hypot(x, y)) < self._limit)
        return np.where(found, x, np.nan), np.where(found, y, np.nan)

    # --- equidistant

    def _fisheye(self, angle: Points) -> tuple[Points, Points]:
        """Distance from the image's centre, in focal lengths, of an angle to the axis; slope."""
        k1, k2, k3, k4 = self.coefficients or (0.0,) * 4
        t = angle * angle
        height = angle * (1 + t * (k1 + t * (k2 + t * (k3 + t * k4))))
        return height, 1 + t * (3 * k1 + t * (5 * k2 + t * (7 * k3 + t * 9 * k4)))

    def _to_fisheye(self, xyz: Points, angle: Points) -> tuple[Points, Points]:
        x, y, z = xyz.T
        across = np.hypot(x, y)
        height, _ = self._fisheye(angle)
        on_axis = np.where(z > 0, 1 / z, np.nan)
        scale = np.divide(height, across, out=on_axis, where=across > 0)
        return x * scale, y * scale

    def _from_fisheye(self, x: Points, y: Points) -> Points:
        angles, heights = self._table
        height = np.hypot(x, y)
        angle = np.interp(height, heights, angles)
        for _ in range(_NEWTON_STEPS):  # from a fine table: a few steps are enough
            there, slope = self._fisheye(angle)
            step = (there - height) / np.where(slope > 0, slope, np.nan)
            angle = angle - step
            if not (np.abs(step) > 1e-13).any():
                break
        angle = np.where((height < heights[-1]) & (angle < self._limit), angle, np.nan)
        across = np.divide(np.sin(angle), height, out=np.ones_like(height), where=height > 0)
        return np.stack([x * across, y * across, np.cos(angle)], axis=1)

    # --- where a lens model ends

    @cached_property
    def _table(self) -> tuple[Points, Points]:
        """Angles to the axis, and the image heights in focal lengths that they are seen at.

        They end where the height stops growing: the model folds there, and what is further out is
        an artefact of its polynomial.
        """
        end = math.pi if self.model == EQUIDISTANT else math.pi / 2
        angles = np.linspace(0.0, end, _ANGLES, endpoint=False, dtype=np.float64)
        with np.errstate(all="ignore"):
            if self.model == EQUIDISTANT:
                heights, slope = self._fisheye(angles)
            else:
                radius: Points = np.tan(angles)
                factor, change = self._radial(radius**2)
                heights, slope = radius * factor, factor + 2 * radius**2 * change
            grows = np.concatenate([[True], (np.diff(heights) > 0) & (slope[1:] > 0)])
        count = _ANGLES if grows.all() else int(np.argmin(grows))
        return angles[:count], heights[:count]

    @property
    def _limit(self) -> float:
        """The largest angle to the axis, radians, up to which the lens is invertible."""
        return float(self._table[0][-1])


def _rectified(info: Any, k: Points, d: Points) -> Points:
    """The camera matrix of rectified images."""
    p = np.asarray(info.p if hasattr(info, "p") else info.P, np.float64)
    if p.size == 12 and p.any():
        return p.reshape(3, 4)[:, :3].ravel()
    if d.any():
        raise CalibrationError(
            "camera_info.p, which the camera of rectified images is taken from, is all zero: "
            + _CALIBRATE
        )
    return k


@np.errstate(all="ignore")  # numbers that are not finite, or too large, are no rotation
def _rotation(r: Points) -> Points | None:
    """The rectification matrix r; None where it turns nothing."""
    r = np.array(r, np.float64)
    if r.shape != (3, 3):
        raise CalibrationError(f"the rectification matrix r has shape {r.shape}, not 3x3")
    if not r.any() or np.array_equal(r, np.eye(3)):
        return None
    if not (np.abs(r @ r.T - np.eye(3)) < _ROUNDED).all() or np.linalg.det(r) < 0:
        raise CalibrationError(
            "the rectification matrix r is no rotation (rows of length 1, at right angles, "
            "determinant 1; the identity or all zero if the camera is not one of a stereo pair): "
            + np.array2string(r.ravel(), separator=", ", max_line_width=1000)
        )
    return r
