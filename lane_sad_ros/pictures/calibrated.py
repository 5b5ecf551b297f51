"""What a calibration says, drawn for people to judge."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.lanes import Lanes
from lane_sad_ros.pictures.birdseye import BirdsEye
from lane_sad_ros.pictures.colours import Colour
from lane_sad_ros.pictures.overlay import draw_lanes
from lane_sad_ros.pictures.strokes import FONT, Image, draw_polyline
from lane_sad_ros.road.calibration import Calibration
from lane_sad_ros.road.camera import CameraModel
from lane_sad_ros.road.ego import EgoLane, EgoLaneEstimator
from lane_sad_ros.road.ground import GroundProjector

_TEXT: Colour = (240, 240, 240)
_HORIZON: Colour = (255, 255, 255)
_RAIL: Colour = (80, 80, 255)
_MEETING: Colour = (0, 230, 255)

_FAR = 1e6  # metres to the horizon
_FAR_OUT = 1e4  # pixels


def draw_fit(
    image: Image, lanes: Lanes, camera: CameraModel, found: Calibration, lane_width: float
) -> Image:
    """The image and the road from above, with what a calibration says drawn over them.

    image, lanes: the frame to draw on, best the calibration's typical one. lane_width: metres.

    Over the image lie the horizon, the points where the lane lines of all frames meet, a cross at
    the vehicle's direction, and the lane as wide as it was said to be with a rung every ten metres:
    where these rails leave the markings, the calibration is wrong.
    """
    projector = GroundProjector(camera, found.mounting())
    ego = EgoLaneEstimator().update(projector.with_ground(lanes), 0)
    canvas = image.copy()
    scale = np.array([image.shape[1] / camera.width, image.shape[0] / camera.height])
    thickness = max(1, round(image.shape[0] / 400))
    rails = _rails(ego, lane_width) if ego.valid else []
    for ground, colour in [(_horizon(projector), _HORIZON), *((rail, _RAIL) for rail in rails)]:
        draw_polyline(canvas, projector.to_image(ground) * scale, colour, thickness)
    _draw_meetings(canvas, found, scale, thickness)
    above = BirdsEye(projector, image.shape[0]).draw(image, lanes, ego)
    picture = np.hstack([draw_lanes(canvas, lanes, ego=ego), above])
    _write(picture, calibration_words(found))
    return picture


def calibration_words(found: Calibration) -> list[str]:
    """A calibration's figures, a line each, with what single frames scatter by."""
    roll = f"{math.degrees(found.roll):+.2f} deg" if found.roll_seen else "not seen, taken as 0"
    return [
        f"height {found.height:.3f} m (+- {found.height_spread:.3f})",
        f"pitch {math.degrees(found.pitch):+.2f} deg (+- {math.degrees(found.pitch_spread):.2f})",
        f"yaw {math.degrees(found.yaw):+.2f} deg (+- {math.degrees(found.yaw_spread):.2f})",
        f"roll {roll}",
        f"{found.frames} frames of a straight road",
    ]


def _horizon(projector: GroundProjector) -> NDArray[np.float64]:
    """Points N×3 all around, level with the camera, as far away as nothing is."""
    side = np.radians(np.linspace(-85, 85, 200))
    far = _FAR * np.stack([np.cos(side), np.sin(side), np.zeros_like(side)], axis=1)
    return np.asarray(far + projector.mounting.position * (0, 0, 1))


def _rails(ego: EgoLane, lane_width: float) -> list[NDArray[np.float64]]:
    """Lines N×3 on the road: the borders of three straight lanes, and rungs across them."""
    straight = dataclasses.replace(ego, curvature=0.0)
    across = lane_width / math.cos(ego.heading)
    x = np.linspace(0.0, 60.0, 241)
    rails = [(x, straight.middle(x) + away * across) for away in (-1.5, -0.5, 0.5, 1.5)]
    for distance in range(10, 61, 10):
        at = np.full(41, float(distance))
        rails.append((at, straight.middle(at) + across * np.linspace(-1.5, 1.5, 41)))
    return [np.stack([x, y, np.zeros_like(x)], axis=1) for x, y in rails]


def _draw_meetings(
    canvas: Image, found: Calibration, scale: NDArray[np.float64], thickness: int
) -> None:
    """The frames' vanishing points as discs, that of all as a cross."""
    radius = max(2, round(canvas.shape[0] / 240))
    points = found.vanishing_points[np.isfinite(found.vanishing_points[:, 0])] * scale
    for u, v in np.rint(np.clip(points, -_FAR_OUT, _FAR_OUT)).astype(int).tolist():
        cv2.circle(canvas, (u, v), radius, _MEETING, -1, cv2.LINE_AA)
    u, v = (round(value) for value in (np.array(found.vanishing_point) * scale).tolist())
    size = round(canvas.shape[0] / 12)
    cv2.drawMarker(canvas, (u, v), _HORIZON, cv2.MARKER_CROSS, size, thickness, cv2.LINE_AA)


def _write(canvas: Image, lines: list[str]) -> None:
    """Lines of text in the lower left corner."""
    height = canvas.shape[0]
    font_scale = height / 1300
    thickness = max(1, round(font_scale * 1.6))
    for index, text in enumerate(reversed(lines)):
        origin = (round(height / 60), round(height * (0.975 - 0.034 * index)))
        cv2.putText(canvas, text, origin, FONT, font_scale, (0, 0, 0), thickness + 2, cv2.LINE_AA)
        cv2.putText(canvas, text, origin, FONT, font_scale, _TEXT, thickness, cv2.LINE_AA)
