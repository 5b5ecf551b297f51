"""A straight road for tests: lines whose place on it is known, and their image in a camera."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lane_sad_ros.lanes import Lane, Lanes
from lane_sad_ros.road.camera import CameraModel
from lane_sad_ros.road.ground import GroundProjector, Mounting

SIZE = (1280, 720)
CAMERA = CameraModel.from_field_of_view(*SIZE, np.radians(62))
HEIGHT, PITCH = 1.5, 0.07
PROJECTOR = GroundProjector(CAMERA, Mounting.from_angles(HEIGHT, pitch=PITCH))
LINES = (5.2, 1.6, -2.0, -5.6)
"""Metres to the left: a lane of 3.6 m in whose middle, but for 0.2 m to the left, we drive."""


def seen(
    sides: Sequence[float | None] = LINES,
    *,
    probability: float = 0.95,
    projector: GroundProjector = PROJECTOR,
) -> Lanes:
    """The image of lines at these metres to the left, None for a slot without one."""
    size = projector.camera.width, projector.camera.height
    lanes = []
    for slot, side in enumerate(sides):
        if side is None:
            lanes.append(Lane(slot, False, 0.05, np.zeros((0, 3), np.float32)))
            continue
        xs = np.arange(5.0, 60, 2)
        pixels = projector.to_image(np.stack([xs, np.full_like(xs, side), 0 * xs], axis=1))
        pixels = pixels[((pixels >= 0) & (pixels <= np.array(size) - 1)).all(axis=1)]
        points = np.column_stack([pixels, np.ones(len(pixels))]).astype(np.float32)
        lanes.append(Lane(slot, True, probability, points))
    return Lanes(size, tuple(lanes))
