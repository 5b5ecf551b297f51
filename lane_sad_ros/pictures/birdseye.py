"""The road from above, to put beside the overlay.

Images are H×W×3 uint8 in BGR order. Up is where the camera looks, left is left; both axes have the
same scale.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.lanes import Lanes
from lane_sad_ros.pictures.colours import EGO_COLOUR, Colour, slot_colour
from lane_sad_ros.pictures.overlay import draw_lanes
from lane_sad_ros.pictures.strokes import FONT, Image, draw_polyline, paint
from lane_sad_ros.road.ego import EgoLane
from lane_sad_ros.road.ground import GroundProjector

_BACKGROUND: Colour = (38, 36, 34)
_GRID: Colour = (150, 150, 150)
_TEXT: Colour = (240, 240, 240)
_VEHICLE: Colour = (245, 245, 245)
_VEHICLE_CORNERS = np.array([[1.6, 0.0], [0.0, 0.7], [0.0, -0.7]])  # metres: points ahead
_FILLED = 40.0  # metres; further away the measures tell nothing of the lane


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
            colour = slot_colour(lane.slot, len(lanes))
            draw_polyline(view, self._to_view(lane.ground), colour, thickness)
        paint(view, [(self._to_view(_VEHICLE_CORNERS), _VEHICLE)], alpha=1.0)
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

    def _to_view(self, ground: NDArray[np.floating]) -> NDArray[np.float64]:
        """Road points N×2 or N×3 as pixels N×2 of the view."""
        width, height = self._size
        column = width / 2 - 0.5 - self._ahead * self._scale * ground[:, 1]
        row = height - 0.5 - self._ahead * self._scale * ground[:, 0]
        return np.stack([column, row], axis=1).astype(np.float64)

    def _draw_grid(self, view: Image) -> None:
        """Lines across every ten metres, with their distance."""
        layer = view.copy()
        font_scale = self._size[1] / 1400
        for distance in range(10, math.ceil(self._reach), 10):
            row = round(self._size[1] - 0.5 - distance * self._scale)
            cv2.line(layer, (0, row), (self._size[0], row), _GRID, 1)
            text = f"{distance} m"
            cv2.putText(layer, text, (4, row - 4), FONT, font_scale, _TEXT, 1, cv2.LINE_AA)
        view[:] = cv2.addWeighted(layer, 0.6, view, 0.4, 0)

    def _fill_lane(self, view: Image, ego: EgoLane) -> None:
        """Tints the lane that the measures describe, as far as they tell something of it."""
        x = self._ahead * np.linspace(0, min(self._reach, _FILLED), 30)
        middle = ego.middle(x)
        half = ego.width / 2 * np.hypot(1, np.gradient(middle, x, edge_order=2))
        left, right = (np.stack([x, middle + side * half], axis=1) for side in (1, -1))
        outline = self._to_view(np.concatenate([left, right[::-1]]))
        paint(view, [(outline, EGO_COLOUR)], alpha=0.25)
