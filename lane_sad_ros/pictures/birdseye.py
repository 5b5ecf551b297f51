"""The road from above, to put beside the overlay, and what a calibration says, drawn on an image.

Images are H×W×3 uint8 in BGR order. Up is where the camera looks, left is left; both axes have the
same scale.
"""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.lanes import Lanes
from lane_sad_ros.pictures.colours import EGO_COLOUR, Colour, slot_colour
from lane_sad_ros.pictures.overlay import draw_lanes
from lane_sad_ros.pictures.strokes import Image
from lane_sad_ros.road.calibration import Calibration
from lane_sad_ros.road.camera import CameraModel
from lane_sad_ros.road.ego import EgoLane, EgoLaneEstimator
from lane_sad_ros.road.ground import GroundProjector

_BACKGROUND: Colour = (38, 36, 34)
_GRID: Colour = (150, 150, 150)
_TEXT: Colour = (240, 240, 240)
_VEHICLE: Colour = (245, 245, 245)
_HORIZON: Colour = (255, 255, 255)
_RAIL: Colour = (80, 80, 255)
_MEETING: Colour = (0, 230, 255)
_FRACTION_BITS = 4  # of the fixed-point coordinates that OpenCV draws between pixels with
_FONT = cv2.FONT_HERSHEY_SIMPLEX


class BirdsEye:
    """Draws the road from above for one camera; what depends on the camera alone is computed once.

    The view reaches from the vehicle frame's origin `reach` metres ahead (behind, for a camera that
    looks back) and `side` metres to either side; it is `height` pixels high.
    """

    def __init__(
        self, projector: GroundProjector, height: int, *, reach: float = 50.0, side: float = 10.0
    ) -> None:
        self._projector = projector
        self._scale = height / reach
        self._ahead = 1.0 if projector.mounting.rotation[0, 2] >= 0 else -1.0
        self._size = max(2, round(2 * side * self._scale)), height
        self._reach = reach
        columns, rows = np.meshgrid(np.arange(self._size[0]), np.arange(height))
        pixels = np.stack([columns.ravel(), rows.ravel()], axis=1)
        seen = projector.to_image(self._to_ground(pixels)).reshape(height, self._size[0], 2)
        self._map = np.nan_to_num(seen, nan=-1e4).astype(np.float32)

    def draw(self, image: Image, lanes: Lanes, ego: EgoLane | None = None) -> Image:
        """The image from above, with the lanes and, if given and valid, the ego lane as measured.

        image: of any size, all of what the projector's camera sees. lanes: need no ground points.
        """
        camera = self._projector.camera
        across, down = image.shape[1] / camera.width, image.shape[0] / camera.height
        at = (self._map + 0.5) * np.array([across, down], np.float32) - 0.5
        view = np.asarray(
            cv2.remap(
                image, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT,
                borderValue=_BACKGROUND,
            ),
            np.uint8,
        )  # fmt: skip
        thickness = max(1, round(self._size[1] / 240))
        self._draw_grid(view)
        if ego is not None and ego.valid:
            self._fill_lane(view, ego)
        for lane in self._projector.with_ground(lanes).present:
            assert lane.ground is not None
            points = lane.ground[np.isfinite(lane.ground[:, 0])]
            colour = slot_colour(lane.slot, len(lanes))
            self._draw_line(view, points, colour, thickness)
        self._draw_vehicle(view)
        return view

    def beside(self, image: Image, lanes: Lanes, ego: EgoLane | None = None) -> Image:
        """The overlay and, on its right, the road from above, of the image's height."""
        view = self.draw(image, lanes, ego)
        overlay = draw_lanes(image, lanes, ego=ego)
        width = max(1, round(view.shape[1] * overlay.shape[0] / view.shape[0]))
        if view.shape[0] != overlay.shape[0]:
            size = (width, overlay.shape[0])
            view = np.asarray(cv2.resize(view, size, interpolation=cv2.INTER_AREA), np.uint8)
        return np.ascontiguousarray(np.hstack([overlay, view]))

    def _to_ground(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pixels N×2 of the view on the road, N×3."""
        width, height = self._size
        x = self._ahead * (height - 0.5 - pixels[:, 1]) / self._scale
        y = self._ahead * (width / 2 - 0.5 - pixels[:, 0]) / self._scale
        return np.stack([x, y, np.zeros_like(x)], axis=1)

    def _to_view(self, ground: NDArray[np.floating]) -> NDArray[np.int32]:
        """Road points N×2 or N×3 as pixels of the view, N×1×2 in OpenCV's fixed point."""
        width, height = self._size
        column = width / 2 - 0.5 - self._ahead * self._scale * ground[:, 1]
        row = height - 0.5 - self._ahead * self._scale * ground[:, 0]
        fixed = np.rint(np.stack([column, row], axis=1) * 2**_FRACTION_BITS)
        return fixed.astype(np.int32)[:, None]

    def _draw_grid(self, view: Image) -> None:
        """Lines across every ten metres, with their distance."""
        layer = view.copy()
        font_scale = self._size[1] / 1400
        for distance in range(10, math.ceil(self._reach), 10):
            row = round(self._size[1] - 0.5 - distance * self._scale)
            cv2.line(layer, (0, row), (self._size[0], row), _GRID, 1)
            text = f"{distance} m"
            cv2.putText(layer, text, (4, row - 4), _FONT, font_scale, _TEXT, 1, cv2.LINE_AA)
        view[:] = cv2.addWeighted(layer, 0.6, view, 0.4, 0)

    def _draw_line(
        self, view: Image, ground: NDArray[np.floating], colour: Colour, thickness: int
    ) -> None:
        cv2.polylines(
            view, [self._to_view(ground)], False, colour, thickness, cv2.LINE_AA, _FRACTION_BITS
        )

    def _fill_lane(self, view: Image, ego: EgoLane) -> None:
        """Tints the lane that the measures describe, as far as they tell something of it."""
        x = self._ahead * np.linspace(0, min(self._reach, 40.0), 30)
        middle = ego.middle(x)
        half = ego.width / 2 * np.hypot(1, np.gradient(middle, x, edge_order=2))
        outline = np.concatenate(
            [np.stack([x, middle + half], axis=1), np.stack([x, middle - half], axis=1)[::-1]]
        )
        layer = view.copy()
        cv2.fillPoly(layer, [self._to_view(outline)], EGO_COLOUR, cv2.LINE_AA, _FRACTION_BITS)
        view[:] = cv2.addWeighted(layer, 0.25, view, 0.75, 0)

    def _draw_vehicle(self, view: Image) -> None:
        """A triangle at the vehicle's origin that points ahead of the vehicle."""
        corners = np.array([[1.6, 0.0], [0.0, 0.7], [0.0, -0.7]])
        cv2.fillPoly(view, [self._to_view(corners)], _VEHICLE, cv2.LINE_AA, _FRACTION_BITS)


def draw_fit(
    image: Image, lanes: Lanes, camera: CameraModel, found: Calibration, lane_width: float
) -> Image:
    """What a calibration says, drawn for people to judge: the image and the road from above.

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

    def line(ground: NDArray[np.float64], colour: Colour) -> None:
        _polyline(canvas, projector.to_image(ground) * scale, colour, thickness)

    side = np.radians(np.linspace(-85, 85, 200))
    far = 1e6 * np.stack([np.cos(side), np.sin(side), np.zeros_like(side)], axis=1)
    line(far + projector.mounting.position * (0, 0, 1), _HORIZON)
    if ego.valid:
        straight = dataclasses.replace(ego, curvature=0.0)
        x = np.linspace(0.0, 60.0, 241)
        middle = straight.middle(x)
        for away in (-1.5, -0.5, 0.5, 1.5):
            line(np.stack([x, middle + away * lane_width, 0 * x], axis=1), _RAIL)
        for distance in range(10, 61, 10):
            at = np.full(41, float(distance))
            across = straight.middle(at) + lane_width * np.linspace(-1.5, 1.5, 41)
            line(np.stack([at, across, np.zeros(41)], axis=1), _RAIL)
    radius = max(2, round(image.shape[0] / 240))
    for point in found.vanishing_points[np.isfinite(found.vanishing_points[:, 0])]:
        u, v = (int(value) for value in np.rint(np.clip(point * scale, -1e4, 1e4)))
        cv2.circle(canvas, (u, v), radius, _MEETING, -1, cv2.LINE_AA)
    u, v = (round(value) for value in np.array(found.vanishing_point) * scale)
    size = round(image.shape[0] / 12)
    cv2.drawMarker(canvas, (u, v), _HORIZON, cv2.MARKER_CROSS, size, thickness, cv2.LINE_AA)
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


def _polyline(canvas: Image, points: NDArray[np.float64], colour: Colour, thickness: int) -> None:
    """A line through points N×2, broken where they are NaN."""
    broken = ~np.isfinite(points).all(axis=1)
    for part in np.split(points, np.flatnonzero(broken)):
        part = part[np.isfinite(part).all(axis=1)]
        fixed = np.rint(np.clip(part, -1e4, 1e4) * 2**_FRACTION_BITS).astype(np.int32)
        if len(part) > 1:
            cv2.polylines(
                canvas, [fixed[:, None]], False, colour, thickness, cv2.LINE_AA, _FRACTION_BITS
            )


def _write(canvas: Image, lines: list[str]) -> None:
    """Lines of text in the lower left corner."""
    height = canvas.shape[0]
    font_scale = height / 1300
    thickness = max(1, round(font_scale * 1.6))
    for index, text in enumerate(reversed(lines)):
        origin = (round(height / 60), round(height * (0.975 - 0.034 * index)))
        cv2.putText(canvas, text, origin, _FONT, font_scale, (0, 0, 0), thickness + 2, cv2.LINE_AA)
        cv2.putText(canvas, text, origin, _FONT, font_scale, _TEXT, thickness, cv2.LINE_AA)
