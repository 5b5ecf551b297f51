"""The pinhole camera that looks at the rendered road."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera mounted on a vehicle (frozen).

    The vehicle frame follows REP-103: x forward, y left, z up, metres, origin on the road under
    the camera. The angles turn the camera about these axes by the right-hand rule, applied as
    ``Rz(yaw) @ Ry(pitch) @ Rx(roll)``: pitch > 0 looks down, yaw > 0 looks left, roll > 0 lowers
    the camera's right side. The optical frame is x right, y down, z forward.
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

    def project(self, points_xyz: ArrayLike) -> NDArray[np.float64]:
        """Vehicle-frame points (N, 3) as pixels (N, 2) = (u, v); NaN behind the camera."""
        x, y, z = self.to_optical(points_xyz).T
        z = np.where(z > 1e-6, z, np.nan)
        return np.stack([self.fx * x / z + self.cx, self.fy * y / z + self.cy], axis=1)

    def slopes(self) -> tuple[Array, Array]:
        """Each pixel's ray as (left, up) metres per metre forward, two float32 (H, W) arrays."""
        u = (np.arange(self.width) - self.cx) / self.fx
        v = ((np.arange(self.height) - self.cy) / self.fy)[:, None]
        r = self.rotation
        forward, left, up = (
            (r[i, 0] * u + r[i, 2]).astype(np.float32) + (r[i, 1] * v).astype(np.float32)
            for i in range(3)
        )
        inverse = 1.0 / np.maximum(forward, 1e-3)
        return left * inverse, up * inverse


def sample_camera(rng: np.random.Generator, width: int = 640, height: int = 360) -> Camera:
    """A camera as dash and roof cameras are mounted; half of them near TuSimple's.

    Priors: TuSimple labels converge at row 238 +- 10 of 720 and neighbouring lanes spread 2.2
    pixels per row, which for lanes of 3.66 m is a height of 1.66 m.
    """
    if rng.random() < 0.5:
        fov = np.radians(rng.uniform(52, 70))
        height_m = rng.normal(1.66, 0.12)
        horizon = rng.normal(0.33, 0.025)
        roll = rng.normal(0, 0.006)
    else:
        fov = np.radians(rng.uniform(45, 90))
        height_m = rng.uniform(1.1, 2.2)
        horizon = rng.uniform(0.3, 0.6)
        roll = rng.normal(0, 0.012)
    fx = width / 2 / np.tan(fov / 2)
    fy = fx * rng.uniform(0.97, 1.03)
    cy = height * rng.normal(0.5, 0.01)
    pitch = float(np.clip(np.arctan((cy - horizon * height) / fy), -0.105, 0.16))
    return Camera(
        width=width,
        height=height,
        fx=float(fx),
        fy=float(fy),
        cx=float(width * rng.normal(0.5, 0.015)),
        cy=float(cy),
        height_m=float(np.clip(height_m, 1.1, 2.2)),
        pitch=pitch,
        roll=float(np.clip(roll, -0.035, 0.035)),
        yaw=float(rng.normal(0, 0.012)),
    )
