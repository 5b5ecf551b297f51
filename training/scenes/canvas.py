"""An image to draw vehicle-frame polygons on, under one light."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from .road_geometry import Path
from .scene_camera import SceneCamera
from .spec import Colour, Light
from .textures import noise

_NEAR = 0.3  #: metres in front of the camera where polygons are cut
FAR = 25.0  #: metres from where on a lens bends no side of a polygon visibly
_SHIFT = 4  #: binary digits of a pixel in polygon corners

Points = NDArray[np.float64]
Drawing = tuple[float, Callable[[], None]]  #: distance in metres, how to draw


def _subdivided(corners: Points) -> Points:
    """A near polygon (N, 3) with each side in four, so that a lens can bend it: (4 N, 3)."""
    if corners[:, 0].min() > FAR:
        return corners
    steps = np.arange(4)[:, None] / 4
    sides = corners[:, None] + (np.roll(corners, -1, axis=0) - corners)[:, None] * steps
    return np.asarray(sides.reshape(-1, 3))


class Canvas:
    """An image (BGR uint8) with the camera, the road and the light it is drawn under.

    mirrored: draw what a wet road mirrors, which is everything upside down below the ground.
    """

    def __init__(
        self, image: NDArray[np.uint8], camera: SceneCamera, path: Path, light: Light,
        mirrored: bool = False,
    ) -> None:  # fmt: skip
        self.image = image
        self.mirrored = mirrored
        self.eye = -camera.height_m if mirrored else camera.height_m  # as things see it
        self.camera = camera
        self.path = path
        self.light = light
        self._glows: list[tuple[float, float, float, Colour, NDArray[np.int16] | None]] = []
        # Through a lens, the camera matrix comes after it.
        self._matrix = camera.rotation if camera.distorted else camera.rotation @ camera.k.T
        self._shift = np.array([0.0, 0.0, -camera.height_m]) @ self._matrix
        elevation, azimuth = light.elevation, light.azimuth
        self.sun = (
            math.cos(elevation) * math.cos(azimuth),
            math.cos(elevation) * math.sin(azimuth),
            math.sin(elevation),
        )

    def placed(self, points: ArrayLike) -> Points:
        """Where points (N, 3) are drawn."""
        out = np.asarray(points, np.float64)
        if not self.mirrored:
            return out
        below = 2 * self.path.surface(out[:, 0]) - out[:, 2]
        return np.column_stack([out[:, :2], below])

    def pixels(self, points: ArrayLike) -> Points | None:
        """The corners (N, 2) of a vehicle-frame polygon, cut in front of the camera."""
        # Homogeneous pixels, or rays: (u w, v w, w) with w the depth in metres.
        scaled = self.placed(points) @ self._matrix + self._shift
        depth = scaled[:, 2]
        nearest = depth.min()
        if nearest <= _NEAR:
            ahead = depth > _NEAR
            kept = []
            for i in range(len(scaled)):
                a, b = scaled[i - 1], scaled[i]
                if ahead[i] != ahead[i - 1]:
                    kept.append(a + (b - a) * ((_NEAR - a[2]) / (b[2] - a[2])))
                if ahead[i]:
                    kept.append(b)
            if not kept:
                return None
            scaled = np.array(kept)
        corners = scaled[:, :2] / scaled[:, 2:]
        if self.camera.distorted:
            corners = self.camera.through_lens(corners)
        return np.clip(corners, -3e4, 3e4) if nearest < 2 else corners

    def clear(self, distance: float) -> float:
        """The contrast the air leaves at this distance, 0..1."""
        return math.exp(-max(distance, 0.0) / self.light.visibility)

    def tone(
        self,
        colour: Iterable[float],
        distance: float,
        normal: Iterable[float] | None = None,
        glow: float = 0.0,
    ) -> tuple[float, float, float]:
        """A surface's radiance as 8-bit BGR: lit by sun and sky, or glowing by itself."""
        light = self.light
        if normal is None:
            level = light.ambient + 0.5 * light.sun
        else:
            nx, ny, nz = normal
            facing = nx * self.sun[0] + ny * self.sun[1] + nz * self.sun[2]
            level = light.ambient * (0.78 + 0.22 * nz) + light.sun * max(0.0, facing)
            level += 0.12 * light.sun * (1 - nz)  # thrown back by the road
        if light.headlights:
            level += 0.35 * light.headlights * math.exp(-distance / 28)
        clear = self.clear(distance)
        own, air = 255 * clear * (1 - glow) * level, 255 * (1 - clear)
        glow *= 255 * clear
        (cb, cg, cr), (tb, tg, tr), (hb, hg, hr) = colour, light.tint, light.horizon
        b = min(cb * (own * tb + glow) + hb * air, 255.0)
        g = min(cg * (own * tg + glow) + hg * air, 255.0)
        r = min(cr * (own * tr + glow) + hr * air, 255.0)
        return b, g, r

    def fill(self, points: ArrayLike, colour: tuple[float, float, float]) -> None:
        """A flat vehicle-frame polygon (N, 3) in one 8-bit colour."""
        if self.camera.distorted:
            points = _subdivided(np.asarray(points, np.float64))
        corners = self.pixels(points)
        if corners is not None:
            self.fill_pixels(corners, colour)

    def fill_all(self, quads: Points, colour: tuple[float, float, float]) -> None:
        """Flat quadrilaterals (N, 4, 3) in one colour, small ones that no lens bends visibly."""
        corners = self.pixels(quads.reshape(-1, 3)) if len(quads) else None
        if corners is None:
            return
        if len(corners) == 4 * len(quads):
            fixed = (corners.reshape(-1, 4, 2) * (1 << _SHIFT) + 0.5).astype(np.int32)
            cv2.fillPoly(self.image, list(fixed), colour, cv2.LINE_AA, _SHIFT)
        else:
            for quad in quads:
                self.fill(quad, colour)

    def fill_pixels(self, corners: Points, colour: tuple[float, float, float]) -> None:
        """A polygon given by its pixels (N, 2)."""
        fixed = (corners * (1 << _SHIFT) + 0.5).astype(np.int32)
        cv2.fillPoly(self.image, [fixed], colour, cv2.LINE_AA, _SHIFT)

    def glow(self, point: Points, strength: float, colour: Colour) -> None:
        """A light at a vehicle-frame point (1, 3), to be laid over the finished image."""
        u, v = self.camera.project(self.placed(point))[0]
        if not math.isnan(u):
            distance = max(float(point[0, 0]), 3.0)
            radius = self.camera.fx * (0.3 / distance + 0.004)
            b, g, r = (c * strength for c in colour)
            self._glows.append((float(u), float(v), radius, (b, g, r), self._seen(u, v)))

    def _seen(self, u: float, v: float) -> NDArray[np.int16] | None:
        column, row = round(u), round(v)
        if 0 <= column < self.camera.width and 0 <= row < self.camera.height:
            return self.image[row, column].astype(np.int16)
        return None

    def glows(self) -> list[tuple[float, float, float, Colour]]:
        """The lights that nothing was drawn over since, as (u, v, radius, colour), pixels."""
        shown = []
        for u, v, radius, colour, before in self._glows:
            now = self._seen(u, v)
            if before is None or now is None or int(np.abs(now - before).sum()) < 30:
                shown.append((u, v, radius, colour))
        return shown

    def textured(
        self,
        quad: ArrayLike,
        size: tuple[float, float],
        colour: tuple[float, float, float],
        contrast: float,
    ) -> None:
        """A flat quadrilateral (4, 3) of this width and height in metres with a rough surface."""
        corners = self.pixels(quad)
        if corners is None:
            return
        self.fill_pixels(corners, colour)
        u0, v0 = np.maximum(np.floor(corners.min(axis=0)).astype(int), 0)
        u1, v1 = np.minimum(
            np.ceil(corners.max(axis=0)).astype(int) + 1, (self.camera.width, self.camera.height)
        )
        if len(corners) != 4 or u0 >= u1 or v0 >= v1:
            return
        wide, high = (length * 24.0 for length in size)
        grid = np.array([[0, 0], [wide, 0], [wide, high], [0, high]], np.float32)
        place = cv2.getPerspectiveTransform((corners - (u0, v0)).astype(np.float32), grid)
        rough = cv2.warpPerspective(
            noise(1.0, 3),
            place,
            (int(u1 - u0), int(v1 - v0)),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_WRAP,
        )
        mask = np.zeros(rough.shape, np.float32)
        cv2.fillConvexPoly(mask, np.round(corners - (u0, v0)).astype(np.int32), contrast)
        # A texel covers more than a pixel only when near: fade what could flicker.
        fine = min(1.0, float(u1 - u0) / wide * 3)
        part = self.image[v0:v1, u0:u1]
        part[:] = np.clip(part * (1 + mask * rough * np.float32(fine))[..., None], 0, 255)

    def paste(
        self, quad: ArrayLike, picture: NDArray[np.uint8], lit: tuple[float, float, float]
    ) -> None:
        """A picture (BGR) on a flat quadrilateral (4, 3): lower left, lower right, upper right
        and upper left corner; `lit` is the radiance of white, 8-bit BGR."""
        corners = self.pixels(quad)
        if corners is None or len(corners) != 4:
            return
        edge = (self.camera.width, self.camera.height)
        u0, v0 = np.clip(np.floor(corners.min(axis=0)), 0, edge).astype(int)
        u1, v1 = np.clip(np.ceil(corners.max(axis=0)) + 1, 0, edge).astype(int)
        if u0 >= u1 or v0 >= v1:
            return
        high, wide = picture.shape[:2]
        grid = np.array([[0, high], [wide, high], [wide, 0], [0, 0]], np.float32)
        place = cv2.getPerspectiveTransform((corners - (u0, v0)).astype(np.float32), grid)
        size = (int(u1 - u0), int(v1 - v0))
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        shown = cv2.warpPerspective(
            picture, place, size, flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
        shown = cv2.multiply(shown, (*lit, 0.0), scale=1 / 255)
        mask = np.zeros((size[1], size[0]), np.uint8)
        fixed = np.round((corners - (u0, v0)) * 16).astype(np.int32)
        cv2.fillConvexPoly(mask, fixed, 1, cv2.LINE_8, 4)
        cv2.copyTo(shown, mask, self.image[v0:v1, u0:u1])
