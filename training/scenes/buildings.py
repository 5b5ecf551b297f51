"""Houses and towers along a street, with lit windows at night."""

from __future__ import annotations

from functools import cache, partial

import cv2
import numpy as np
from numpy.typing import NDArray

from .canvas import Canvas, Drawing
from .spec import Roadside

_SPACING = 18.0  #: metres of road for a building on either side
_FACADES = 24
_BEHIND = 5.0  #: metres from the line of trees back to the buildings
_STOREY = 3.3  #: metres


@cache
def _facade(number: int, lit: bool) -> NDArray[np.uint8]:
    """Reflectance of a wall, (rows, columns, 3); with `lit` the light of its windows at night."""
    rng = np.random.default_rng((17, number))
    storeys, columns = int(rng.integers(4, 16)), int(rng.integers(3, 9))
    wall = np.clip(rng.uniform(0.2, 0.75) * rng.normal(1, 0.12, 3), 0.08, 0.95)
    glass = np.array([0.2, 0.17, 0.14]) * rng.uniform(0.5, 1.6)
    high, wide = storeys * 16, columns * 16
    image = np.broadcast_to(0.0 if lit else wall, (high, wide, 3)).copy()
    if not lit:
        image *= 1 + 0.06 * rng.standard_normal((storeys, 1, 1)).repeat(16, 0)
    ribbon, share = rng.random() < 0.4, rng.uniform(0.5, 0.85)
    for row in range(storeys):
        ground = row == storeys - 1
        for column in range(columns):
            shine, hue = rng.random(), rng.random(3)
            margin = 0 if ribbon and not ground else round(8 * (1 - share))
            y0, x0 = row * 16 + 4, column * 16 + margin
            pane = image[y0 : y0 + (10 if ground else 8), x0 : x0 + 16 - 2 * margin]
            if not lit:
                pane[:] = glass * (0.7 + 0.6 * shine)
            elif ground or shine > 0.8:
                pane[:] = np.array([0.35, 0.7, 1.0]) if hue[0] < 0.7 else 0.5 + 0.5 * hue
                pane *= hue[1] * (1.0 if ground else 0.5)
    if rng.random() < 0.6:  # the sign over a shop
        colour = rng.uniform(0, 1, 3) ** 1.5
        start = (storeys - 1) * 16 - 2
        image[start : start + 5] = colour * (1.0 if lit else 0.8)
    return np.asarray(np.round(np.clip(image, 0, 1) * 255), np.uint8)


def building_drawings(canvas: Canvas, roadside: Roadside, seed: int, s0: float) -> list[Drawing]:
    """Buildings at fixed places along the road, behind its trees."""
    drawings: list[Drawing] = []
    if not roadside.buildings:
        return drawings
    for cell in range(int(np.floor((s0 - 20) / _SPACING)), int((s0 + 260) / _SPACING)):
        rng = np.random.default_rng((seed, cell & 0xFFFFFFFF, 9))
        for side, near in ((1, roadside.tree_left), (-1, roadside.tree_right)):
            chance, back, length, tower, tall = rng.random(5).tolist()
            number = int(rng.integers(_FACADES))
            s = cell * _SPACING - s0
            d = near + side * (_BEHIND + 9 * back**2)
            end = s + _SPACING * (0.6 + 0.4 * length)
            height = roadside.tall * (0.4 + tall) * (2.5 if tower < 0.12 else 1.0)
            s = max(s, 2.5)
            if roadside.gap and s + s0 < roadside.gap[1]:
                end = min(end, roadside.gap[0] - s0)
                if end <= s + 1:
                    s, end = max(s, roadside.gap[1] - s0), cell * _SPACING - s0 + _SPACING
            if chance < roadside.buildings and end > s + 1:
                place = (s, end, d, d + side * 14.0, max(height, _STOREY))
                drawings.append((s + 4.0, partial(_building, canvas, number, place)))
    return drawings


def _building(canvas: Canvas, number: int, place: tuple[float, float, float, float, float]) -> None:
    start, end, near, far, height = place
    path, side = canvas.path, 1.0 if far > near else -1.0
    psi = float(np.interp(start, path.arc, path.psi))
    along = (float(np.sin(psi)) * side, -float(np.cos(psi)) * side, 0.1)
    walls = (
        (
            path.points([start] * 4, [far, near, near, far], [0, 0, height, height]),
            (-1.0, 0.0, 0.1),
        ),
        (path.points([start, end, end, start], [near] * 4, [0, 0, height, height]), along),
    )
    dark = canvas.light.headlights > 0 and canvas.light.sun + canvas.light.ambient < 0.2
    for quad, normal in walls:
        picture = _facade(number, False)
        lit = canvas.tone((1.0, 1.0, 1.0), start, normal)
        if dark:
            glow = 160 * canvas.clear(start)
            picture = cv2.max(
                cv2.multiply(picture, (*lit, 0.0), scale=1 / 255),
                cv2.multiply(_facade(number, True), (glow, glow, glow, 0.0), scale=1 / 255),
            )
            lit = (255.0, 255.0, 255.0)
        canvas.paste(quad, picture, lit)
