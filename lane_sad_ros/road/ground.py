"""Pixels to the road: camera models, how a camera is mounted, and projection to the road plane.

Frames follow REP-103. The vehicle frame has x forward, y left and z up, and its plane z = 0 is the
road, taken to be flat. The optical frame has x right, y down and z along the view. Lengths are
metres, angles radians, image coordinates pixels with centres at whole numbers.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from lane_sad_ros.lanes import Lane, Lanes
from lane_sad_ros.road.camera import CalibrationError, CameraModel, Points

MAX_RANGE = 100.0
"""Metres. A pixel further away covers several metres of the road."""


@dataclass(frozen=True, eq=False)
class Mounting:
    """Where a camera sits on its vehicle: the pose of the optical frame in the vehicle frame.

    rotation: 3×3, turns directions of the optical frame into the vehicle frame.
    position: (x, y, z) of the camera in the vehicle frame, metres; z is its height above the road.
    """

    rotation: NDArray[np.float64]
    position: NDArray[np.float64]

    @classmethod
    def from_angles(
        cls,
        height: float,
        roll: float = 0.0,
        pitch: float = 0.0,
        yaw: float = 0.0,
        x: float = 0.0,
        y: float = 0.0,
    ) -> Mounting:
        """A camera that looks forward, turned by Rz(yaw) Ry(pitch) Rx(roll) of REP-103's axes.

        height, x, y: of the camera, metres. Radians: pitch > 0 looks down, yaw > 0 looks left,
        roll > 0 lowers the camera's right side.
        Raises CalibrationError for numbers that are not finite.
        """
        if not np.isfinite([height, roll, pitch, yaw, x, y]).all():
            raise CalibrationError(
                f"camera height {height}, roll {roll}, pitch {pitch}, yaw {yaw}, x {x} and y {y} "
                "must be finite"
            )
        cr, sr = math.cos(roll), math.sin(roll)
        cp, sp = math.cos(pitch), math.sin(pitch)
        cw, sw = math.cos(yaw), math.sin(yaw)
        rz = np.array([[cw, -sw, 0], [sw, cw, 0], [0, 0, 1]])
        ry = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
        rx = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
        body_from_optical = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
        return cls(rz @ ry @ rx @ body_from_optical, np.array([x, y, height], np.float64))

    @classmethod
    def from_transform(cls, translation: Sequence[float], quaternion: Sequence[float]) -> Mounting:
        """The pose that TF gives for the optical frame in the vehicle frame.

        translation: (x, y, z), metres. quaternion: (x, y, z, w), of any length but 0.
        Raises CalibrationError for numbers that are not finite or a quaternion of length 0.
        """
        q = np.asarray(quaternion, np.float64)
        position = np.asarray(translation, np.float64)
        length = float(np.linalg.norm(q))
        if not np.isfinite(position).all() or not math.isfinite(length) or length < 1e-9:
            raise CalibrationError(
                f"the camera's transform (translation {tuple(translation)}, rotation "
                f"{tuple(quaternion)}) is not finite, or its rotation is all zero"
            )
        x, y, z, w = q / length
        rotation = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
            ]
        )
        return cls(rotation, position)

    @property
    def quaternion(self) -> tuple[float, float, float, float]:
        """The rotation as (x, y, z, w), as TF has it."""
        axis = np.asarray(cv2.Rodrigues(self.rotation)[0], np.float64).ravel()
        angle = float(np.linalg.norm(axis))
        x, y, z = (math.sin(angle / 2) / angle * axis).tolist() if angle else (0.0, 0.0, 0.0)
        return x, y, z, math.cos(angle / 2)

    @property
    def height(self) -> float:
        """Of the camera above the road, metres."""
        return float(self.position[2])


class GroundProjector:
    """Takes pixels of one camera to the road and back; the road is the plane z = 0."""

    def __init__(
        self, camera: CameraModel, mounting: Mounting, *, max_range: float = MAX_RANGE
    ) -> None:
        """max_range: metres along the road from the camera; what is further is dropped.

        Raises CalibrationError for a camera that is not above the road.
        """
        if not mounting.height > 0:
            raise CalibrationError(
                f"the camera is {mounting.height:g} m above the road; it must be above 0. The "
                "vehicle frame must have its origin on the road, as base_footprint has"
            )
        if not max_range > 0:
            raise CalibrationError(f"the range of {max_range:g} m must be above 0")
        self.camera = camera
        self.mounting = mounting
        self.max_range = max_range

    def to_ground(self, pixels: ArrayLike) -> Points:
        """Pixels N×2 (u, v) on the road, N×3 in the vehicle frame.

        NaN above the horizon, beyond the range and beyond the lens.
        """
        directions = self.camera.rays(pixels) @ self.mounting.rotation.T
        down = -directions[:, 2:]
        reach = np.divide(
            self.mounting.height, down, out=np.full_like(down, np.nan), where=down > 0
        )
        points = self.mounting.position + reach * directions
        points[:, 2] = 0.0
        # `not <=` drops NaN as well.
        away = np.hypot(*(points[:, :2] - self.mounting.position[:2]).T)
        points[~(away <= self.max_range)] = np.nan
        return np.asarray(points)

    def to_image(self, points: ArrayLike) -> Points:
        """Points N×3 of the vehicle frame as pixels N×2 (u, v), also outside the image.

        NaN behind the camera and beyond the lens.
        """
        xyz = np.asarray(points, np.float64).reshape(-1, 3)
        return self.camera.project((xyz - self.mounting.position) @ self.mounting.rotation)

    def with_ground(self, lanes: Lanes) -> Lanes:
        """The same lanes with their points on the road.

        Raises CalibrationError for lanes of an image of another size than the camera's.
        """
        if lanes.image_size != (self.camera.width, self.camera.height):
            raise CalibrationError(
                f"lanes of an image of {lanes.image_size[0]}x{lanes.image_size[1]} pixels do not "
                f"lie on the camera's {self.camera.width}x{self.camera.height}; give the image's "
                "size to CameraModel.from_info"
            )
        ground = self.to_ground(np.concatenate([lane.points[:, :2] for lane in lanes]))
        ends = np.cumsum([len(lane.points) for lane in lanes])[:-1]
        return Lanes(
            lanes.image_size,
            tuple(
                _on_ground(lane, part)
                for lane, part in zip(lanes, np.split(ground, ends), strict=True)
            ),
        )

    @cached_property
    def sees_road(self) -> bool:
        """Whether some pixel of the image's lower half meets the road within the range."""
        width, height = self.camera.width, self.camera.height
        us, vs = np.meshgrid(
            np.linspace(0, width - 1, 33), np.linspace((height - 1) / 2, height - 1, 17)
        )
        pixels = np.stack([us.ravel(), vs.ravel()], axis=1)
        return bool(np.isfinite(self.to_ground(pixels)).any())


def _on_ground(lane: Lane, ground: Points) -> Lane:
    return dataclasses.replace(lane, ground=ground.astype(np.float32))
