"""The camera that looks at the rendered road, its lens included."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float32]
Points = NDArray[np.float64]

_GRID = 4  #: pixels between the points at which a lens is inverted; between them it is linear


@dataclass(frozen=True)
class SceneCamera:
    """A camera mounted on a vehicle (frozen): a pinhole behind a lens.

    The vehicle frame follows REP-103: x forward, y left, z up, metres, origin on the road under
    the camera. The angles turn the camera about these axes by the right-hand rule, applied as
    ``Rz(yaw) @ Ry(pitch) @ Rx(roll)``: pitch > 0 looks down, yaw > 0 looks left, roll > 0 lowers
    the camera's right side. The optical frame is x right, y down, z forward.

    The lens is the plumb-bob model of sensor_msgs/CameraInfo and OpenCV: with x, y = X/Z, Y/Z and
    r² = x² + y², x' = x (1 + k1 r² + k2 r⁴ + k3 r⁶) + 2 p1 x y + p2 (r² + 2 x²), and y' likewise.
    Within the image it has to be invertible: r' must grow with r.
    """

    width: int  #: pixels
    height: int  #: pixels
    fx: float  #: pixels
    fy: float  #: pixels
    cx: float  #: pixels; pixel centres lie at integers
    cy: float  #: pixels
    height_m: float  #: metres above the road
    pitch: float = 0.0  #: radians, > 0 looks down
    roll: float = 0.0  #: radians, > 0 lowers the right side
    yaw: float = 0.0  #: radians, > 0 looks left
    distortion: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)
    """k1, k2, p1, p2, k3"""

    @cached_property
    def distorted(self) -> bool:
        """Whether the lens bends straight lines at all."""
        return any(self.distortion)

    @cached_property
    def k(self) -> NDArray[np.float64]:
        """The 3x3 camera matrix."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], np.float64)

    @cached_property
    def rotation(self) -> NDArray[np.float64]:
        """3x3: turns optical-frame directions into the vehicle frame."""
        cr, sr = np.cos(self.roll), np.sin(self.roll)
        cp, sp = np.cos(self.pitch), np.sin(self.pitch)
        cw, sw = np.cos(self.yaw), np.sin(self.yaw)
        rz = np.array([[cw, -sw, 0], [sw, cw, 0], [0, 0, 1]])
        ry = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
        rx = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
        body_from_optical = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
        return np.asarray(rz @ ry @ rx @ body_from_optical, np.float64)

    def to_optical(self, points_xyz: ArrayLike) -> NDArray[np.float64]:
        """Vehicle-frame points (N, 3) in the optical frame, metres."""
        points = np.asarray(points_xyz, np.float64).reshape(-1, 3)
        return np.asarray((points - (0.0, 0.0, self.height_m)) @ self.rotation)

    def project(self, points_xyz: ArrayLike) -> Points:
        """Vehicle-frame points (N, 3) as pixels (N, 2) = (u, v); NaN behind the camera."""
        x, y, z = self.to_optical(points_xyz).T
        z = np.where(z > 1e-6, z, np.nan)
        return self.through_lens(np.stack([x / z, y / z], axis=1))

    def through_lens(self, rays: Points) -> Points:
        """Rays (N, 2) = (X/Z, Y/Z) of the optical frame as pixels (N, 2) = (u, v)."""
        x, y = rays.T
        if self.distorted:
            k1, k2, p1, p2, k3 = self.distortion
            r2 = x * x + y * y
            # Far outside the image the polynomial folds back: hold it where it stops growing.
            t = np.minimum(r2, self._fold)
            radial = 1 + t * (k1 + t * (k2 + t * k3))
            x, y = (
                x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
                y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
            )
        return np.stack([self.fx * x + self.cx, self.fy * y + self.cy], axis=1)

    @cached_property
    def _fold(self) -> float:
        """The r² at which the distorted radius stops growing with the true one."""
        k1, k2, _, _, k3 = self.distortion
        roots = np.roots([7 * k3, 5 * k2, 3 * k1, 1.0])
        turning = roots.real[(np.abs(roots.imag) < 1e-9) & (roots.real > 0)]
        return float(turning.min(initial=np.inf))

    def _rays(self) -> tuple[Points, Points]:
        """X/Z and Y/Z of every pixel: shapes that broadcast to (H, W)."""
        x = (np.arange(self.width, dtype=np.float64) - self.cx) / self.fx
        y = ((np.arange(self.height, dtype=np.float64) - self.cy) / self.fy)[:, None]
        if not self.distorted:
            return x, y
        coarse_u = np.arange(0, self.width + _GRID, _GRID, dtype=np.float64)
        coarse_v = np.arange(0, self.height + _GRID, _GRID, dtype=np.float64)
        pixels = np.stack(np.meshgrid(coarse_u, coarse_v), axis=-1)
        straight = cv2.undistortPointsIter(
            pixels.reshape(-1, 1, 2), self.k, np.array(self.distortion), np.eye(3), np.eye(3),
            (cv2.TERM_CRITERIA_COUNT, 12, 0.0),
        )  # fmt: skip
        shift = straight.reshape(pixels.shape) - (pixels - (self.cx, self.cy)) / (self.fx, self.fy)
        place = np.array([[1 / _GRID, 0, 0], [0, 1 / _GRID, 0]])
        shift = cv2.warpAffine(
            shift, place, (self.width, self.height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        )
        return x + shift[..., 0], y + shift[..., 1]

    def slopes(self) -> tuple[Array, Array]:
        """Each pixel's ray as (left, up) metres per metre forward, two float32 (H, W) arrays."""
        x, y = self._rays()
        r = self.rotation
        forward, left, up = (
            (r[i, 0] * x + r[i, 2]).astype(np.float32) + (r[i, 1] * y).astype(np.float32)
            for i in range(3)
        )
        inverse = 1.0 / np.maximum(forward, 1e-3)
        return left * inverse, up * inverse


def sample_camera(rng: np.random.Generator, width: int = 640, height: int = 360) -> SceneCamera:
    """A camera as dash and roof cameras are mounted, two thirds of them behind a bending lens.

    Priors: half of them lie near TuSimple's, whose labels converge at row 238 +- 10 of 720 and
    whose neighbouring lanes spread 2.2 pixels per row, which for lanes of 3.66 m is a height of
    1.66 m. For images more than twice as wide as high, half lie near CULane's: row 264 of 590 and
    2.7 to 3.1 pixels per row, a height of 1.25 m.
    """
    wide = width > 2 * height
    if rng.random() < 0.5:
        fov = np.radians(rng.uniform(52, 70))
        height_m = rng.normal(*((1.25, 0.1) if wide else (1.66, 0.12)))
        horizon = rng.normal(*((0.45, 0.03) if wide else (0.33, 0.025)))
        roll = rng.normal(0, 0.006)
    else:
        fov = np.radians(rng.uniform(45, 90))
        height_m = rng.uniform(1.1, 2.2)
        horizon = rng.uniform(0.25 if wide else 0.3, 0.6)
        roll = rng.normal(0, 0.012)
    fx = width / 2 / np.tan(fov / 2)
    fy = fx * rng.uniform(0.97, 1.03)
    cy = height * rng.normal(0.5, 0.01)
    pitch = float(np.clip(np.arctan((cy - horizon * height) / fy), -0.105, 0.16))
    return SceneCamera(
        width=width,
        height=height,
        fx=float(fx),
        fy=float(fy),
        cx=float(width * rng.normal(0.5, 0.02)),
        cy=float(cy),
        height_m=float(np.clip(height_m, 1.1, 2.2)),
        pitch=pitch,
        roll=float(np.clip(roll, -0.035, 0.035)),
        yaw=float(rng.normal(0, 0.02)),
        distortion=_sample_distortion(rng, ((width / fx) ** 2 + (height / fy) ** 2) / 4),
    )


def _sample_distortion(
    rng: np.random.Generator, corner: float
) -> tuple[float, float, float, float, float]:
    """Mild barrel, rarely pincushion; `corner` is the r'^2 of the image's corner.

    With k1 alone, r' = r (1 + k1 r^2) grows up to r'^2 = 4 / 27 / -k1: the corner stays well
    inside.
    """
    if rng.random() < 0.35:
        return 0.0, 0.0, 0.0, 0.0, 0.0
    k1 = -rng.uniform(0.0, 0.09) / corner if rng.random() < 0.8 else rng.uniform(0.0, 0.04) / corner
    k2 = -k1 * rng.uniform(0.0, 0.15) / corner
    p1, p2 = rng.normal(0, 5e-4, 2)
    return float(k1), float(k2), float(p1), float(p2), 0.0
