"""What stands on the road and beside it, drawn far to near over the ground."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from .camera import Array, Camera
from .road import Path
from .spec import Barrier, Colour, Light, Roadside, Structure, Vehicle
from .textures import trees

_NEAR = 0.3  #: metres in front of the camera where polygons are cut
_SHIFT = 4  #: binary digits of a pixel in polygon corners

Points = NDArray[np.float64]
Drawing = tuple[float, Callable[[], None]]  #: distance in metres, how to draw


class Canvas:
    """An image (BGR uint8) with the camera, the road and the light it is drawn under."""

    def __init__(self, image: NDArray[np.uint8], camera: Camera, path: Path, light: Light) -> None:
        self.image = image
        self.camera = camera
        self.path = path
        self.light = light
        self.glows: list[tuple[float, float, float, Colour]] = []
        elevation, azimuth = light.elevation, light.azimuth
        self.sun = (
            math.cos(elevation) * math.cos(azimuth),
            math.cos(elevation) * math.sin(azimuth),
            math.sin(elevation),
        )

    def pixels(self, points: ArrayLike) -> Points | None:
        """The corners (N, 2) of a vehicle-frame polygon, cut in front of the camera."""
        optical = self.camera.to_optical(points)
        ahead = optical[:, 2] > _NEAR
        if not ahead.any():
            return None
        if not ahead.all():
            kept = []
            for i in range(len(optical)):
                a, b = optical[i - 1], optical[i]
                if ahead[i] != ahead[i - 1]:
                    kept.append(a + (b - a) * ((_NEAR - a[2]) / (b[2] - a[2])))
                if ahead[i]:
                    kept.append(b)
            optical = np.array(kept)
        u = self.camera.fx * optical[:, 0] / optical[:, 2] + self.camera.cx
        v = self.camera.fy * optical[:, 1] / optical[:, 2] + self.camera.cy
        if (
            u.max() < -2
            or v.max() < -2
            or u.min() > self.camera.width + 2
            or v.min() > self.camera.height + 2
        ):
            return None
        return np.clip(np.stack([u, v], axis=1), -3e4, 3e4)

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
        b, g, r = (
            min(
                max(255 * (c * (level * t * (1 - glow) + glow) * clear + h * (1 - clear)), 0.0),
                255.0,
            )
            for c, t, h in zip(colour, light.tint, light.horizon, strict=True)
        )
        return b, g, r

    def fill(self, points: ArrayLike, colour: tuple[float, float, float]) -> None:
        """A flat vehicle-frame polygon (N, 3) in one 8-bit colour."""
        corners = self.pixels(points)
        if corners is not None:
            fixed = np.round(corners * (1 << _SHIFT)).astype(np.int32)
            cv2.fillPoly(self.image, [fixed], colour, cv2.LINE_AA, _SHIFT)


def barrier_drawings(canvas: Canvas, barrier: Barrier, s0: float) -> list[Drawing]:
    """A barrier in pieces, so that they sort among the other things."""
    start, end = max(barrier.start - s0, -6.0), min(barrier.end - s0, 330.0)
    if start >= end:
        return []
    edges = [start]
    while edges[-1] < end:
        edges.append(edges[-1] + max(2.0, 0.1 * abs(edges[-1])))
    edges[-1] = end
    inward = -1.0 if barrier.offset > canvas.path.offset else 1.0
    drawings: list[Drawing] = []
    for a, b in zip(edges, edges[1:], strict=False):

        def draw(a: float = a, b: float = b) -> None:
            psi = float(np.interp((a + b) / 2, canvas.path.arc, canvas.path.psi))
            normal = (-np.sin(psi) * inward, np.cos(psi) * inward, 0.15)
            d, distance = barrier.offset, max((a + b) / 2, 0.0)
            height = barrier.height
            if barrier.kind == "rail":
                if a < 120:
                    for post in np.arange(np.ceil((a + s0) / 4) * 4 - s0, b, 4.0):
                        quad = canvas.path.points(
                            [post - 0.06, post - 0.06, post + 0.06, post + 0.06],
                            d - 0.05 * inward,
                            [0, height - 0.1, height - 0.1, 0],
                        )
                        canvas.fill(quad, canvas.tone((0.3, 0.3, 0.3), distance, normal))
                bands = ((0.56, 0.72, 0.85), (0.72, 0.84, 1.0), (0.84, 1.0, 0.9))
            elif barrier.kind == "wall":
                bands = ((0.0, 0.92, 1.0), (0.92, 1.0, 0.75))
            else:
                bands = ((0.0, 0.12, 0.6), (0.12, 0.38, 0.9), (0.38, 0.96, 1.0), (0.96, 1.0, 1.15))
            index = np.sin(np.floor((a + s0) / 6) * 78.23)
            for low, high, gain in bands:
                foot = 0.18 * (1 - low) if barrier.kind == "concrete" else 0.0
                top = 0.18 * (1 - high) if barrier.kind == "concrete" else 0.0
                quad = canvas.path.points(
                    [a, a, b, b],
                    [d + foot * inward, d + top * inward, d + top * inward, d + foot * inward],
                    [low * height, high * height, high * height, low * height],
                )
                tone = np.array(barrier.colour) * gain * (1 + 0.04 * index)
                canvas.fill(quad, canvas.tone(tone, distance, normal))

        drawings.append(((a + b) / 2 if a > 0 else b / 2, draw))
    return drawings


# Side views as (x from the rear, z), in shares of length and height: body, glass, and the share
# of the half width at the roof.
_SHAPES: dict[str, tuple[tuple[float, float, float], list[tuple[float, float]], float]] = {
    "car": (
        (4.6, 1.82, 1.45),
        [(0.0, 0.6), (0.02, 0.66), (0.13, 0.69), (0.3, 0.98), (0.56, 1.0), (0.74, 0.68), (0.98, 0.56)],
        0.72,
    ),
    "suv": (
        (4.7, 1.92, 1.75),
        [(0.0, 0.55), (0.015, 0.62), (0.03, 0.64), (0.1, 0.97), (0.58, 1.0), (0.74, 0.64), (0.98, 0.55)],
        0.8,
    ),
    "van": (
        (5.4, 2.0, 2.3),
        [(0.0, 0.45), (0.005, 0.5), (0.01, 0.52), (0.03, 0.98), (0.72, 1.0), (0.88, 0.55), (0.99, 0.42)],
        0.9,
    ),
}


def _normal(corners: Points) -> tuple[float, float, float]:
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = corners[:3].tolist()
    ux, uy, uz, vx, vy, vz = bx - ax, by - ay, bz - az, cx - ax, cy - ay, cz - az
    x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    size = math.sqrt(x * x + y * y + z * z) + 1e-9
    return x / size, y / size, z / size


def _faces(corners: Points, normal: tuple[float, float, float], eye: float) -> bool:
    x, y, z = corners[0].tolist()
    return normal[0] * -x + normal[1] * -y + normal[2] * (eye - z) > 0


def _car(canvas: Canvas, vehicle: Vehicle) -> None:
    (length, width, height), outline, narrow = _SHAPES[vehicle.kind]
    half = width / 2
    origin = canvas.path.points(vehicle.s, vehicle.d)[0]
    psi = float(np.interp(vehicle.s, canvas.path.arc, canvas.path.psi)) + vehicle.yaw
    if vehicle.oncoming:
        psi += np.pi
    cos, sin = np.cos(psi), np.sin(psi)
    distance = float(np.hypot(origin[0], origin[1]))
    colour = np.array(vehicle.colour)
    night = canvas.light.headlights > 0

    def place(points: Sequence[tuple[float, float, float]]) -> Points:
        p = np.asarray(points, np.float64)
        return np.stack(
            [
                origin[0] + p[:, 0] * cos - p[:, 1] * sin,
                origin[1] + p[:, 0] * sin + p[:, 1] * cos,
                origin[2] + p[:, 2],
            ],
            axis=1,
        )

    def face(
        points: Sequence[tuple[float, float, float]], paint: Iterable[float], glow: float = 0.0
    ) -> bool:
        corners = place(points)
        normal = _normal(corners)
        if not _faces(corners, normal, canvas.camera.height_m):
            return False
        canvas.fill(corners, canvas.tone(paint, distance, normal, glow))
        return True

    belt = outline[2][1] * height
    sill = 0.2 * height
    glass = np.array([0.10, 0.09, 0.08]) + 0.10 * np.array(canvas.light.zenith)

    def half_at(z: float) -> float:
        return half * (1 - (1 - narrow) * max(0.0, (z - belt) / (height - belt)))

    dark = (0.035, 0.035, 0.035)
    # Below the body: underside and tyres.
    canvas.fill(
        place([(0.15, -half * 0.9, 0.1), (0.15, half * 0.9, 0.1), (0.15, half * 0.9, sill + 0.1),
               (0.15, -half * 0.9, sill + 0.1)]),
        canvas.tone((0.02, 0.02, 0.02), distance),
    )
    radius = 0.33 if vehicle.kind != "van" else 0.36
    turn = np.linspace(0, 2 * np.pi, 14)[:-1]
    for at in (0.8, 0.18):
        for side in (1, -1):
            x0, inner = at * length, side * (half - 0.22)
            canvas.fill(
                place([(x0 - radius * 0.8, inner, 0), (x0 - radius * 0.8, side * half * 0.98, 0),
                       (x0 - radius, side * half * 0.98, radius), (x0 - radius, inner, radius)]),
                canvas.tone(dark, distance),
            )
    profile = [(x * length, z * height) for x, z in outline]
    body: list[tuple[float, float]] = [(0.0, sill + 0.08)] + profile + [
        (length, 0.45 * height), (length, sill)]
    for side in (1, -1):
        y = side * half
        flat = [(x, z) for x, z in body if z <= belt + 1e-6]
        points = [(x, y, z) for x, z in flat]
        order = points if side < 0 else points[::-1]
        shown = face(order[::-1], colour)
        cabin = [(x, side * half_at(z), z) for x, z in profile if z >= outline[5][1] * height - 0.02]
        if shown:
            hull = cabin if side < 0 else cabin[::-1]
            face(hull[::-1], colour * 0.9)
            middle = np.mean(cabin, axis=0)
            inset = [tuple(middle + (np.array(c) - middle) * (0.86, 1.0, 0.78)) for c in hull]
            face(inset[::-1], glass)  # type: ignore[arg-type]
            for at in (0.18, 0.8):
                wheel = [
                    (at * length + radius * np.cos(t), y * 1.005, radius + radius * np.sin(t))
                    for t in turn
                ]
                canvas.fill(place(wheel), canvas.tone(dark, distance))
                rim = [
                    (at * length + radius * 0.6 * np.cos(t), y * 1.01,
                     radius + radius * 0.6 * np.sin(t))
                    for t in turn
                ]
                canvas.fill(place(rim), canvas.tone((0.4, 0.4, 0.4), distance))
    # Over the top, from the far end to the near one.
    strips = list(zip(profile, profile[1:], strict=False))
    for (xa, za), (xb, zb) in strips if vehicle.oncoming else strips[::-1]:
        ya, yb = half_at(za), half_at(zb)
        quad = [(xa, ya, za), (xa, -ya, za), (xb, -yb, zb), (xb, yb, zb)]
        steep = min(za, zb) >= belt - 0.05 * height and abs(zb - za) > 0.12 * height
        if face(quad, colour * (1.0 if not steep else 0.85)) and steep:
            def mix(u: float, v: float) -> tuple[float, float, float]:
                y = (ya + (yb - ya) * u) * v
                return (xa + (xb - xa) * u, y, za + (zb - za) * u)

            face([mix(0.1, 0.88), mix(0.1, -0.88), mix(0.9, -0.86), mix(0.9, 0.86)], glass)
    # Rear.
    z0, z1, z2 = sill, 0.42 * height, profile[0][1]
    if face([(0, half, z0), (0, -half, z0), (0, -half, z2), (0, half, z2)], colour):
        face([(0, half * 0.98, z0), (0, -half * 0.98, z0), (0, -half, z0 + 0.14),
              (0, half, z0 + 0.14)], (0.06, 0.06, 0.06))
        face([(0, half, z1 - 0.03), (0, -half, z1 - 0.03), (0, -half, z1), (0, half, z1)],
             colour * 0.6)
        face([(0, 0.26, z1 + 0.02), (0, -0.26, z1 + 0.02), (0, -0.26, z1 + 0.13),
              (0, 0.26, z1 + 0.13)], (0.7, 0.72, 0.72))
        lamp, shine = np.array([0.10, 0.08, 0.55]), 0.0
        if vehicle.braking:
            lamp, shine = np.array([0.25, 0.25, 1.0]), 0.9
        elif night:
            lamp, shine = np.array([0.12, 0.10, 0.9]), 0.7
        for side in (1, -1):
            a, b = side * half * 0.97, side * half * 0.62
            y0, y1 = max(a, b), min(a, b)
            face([(0, y0, z1 + 0.06), (0, y1, z1 + 0.06), (0, y1, z2 - 0.01), (0, y0, z2 - 0.01)],
                 lamp, shine)
            if shine and not vehicle.oncoming:
                _glow(canvas, place([(-0.05, (a + b) / 2, (z1 + z2) / 2)]), 0.35 * shine,
                      (0.12, 0.12, 1.0))
    # Front.
    z3 = profile[-1][1]
    if face([(length, -half, z0), (length, half, z0), (length, half, z3), (length, -half, z3)],
            colour):
        face([(length, -half * 0.6, z0 + 0.1), (length, half * 0.6, z0 + 0.1),
              (length, half * 0.6, z0 + 0.3), (length, -half * 0.6, z0 + 0.3)], (0.05, 0.05, 0.05))
        for side in (1, -1):
            a, b = side * half * 0.95, side * half * 0.62
            y0, y1 = min(a, b), max(a, b)
            face([(length, y0, z3 - 0.2), (length, y1, z3 - 0.2), (length, y1, z3 - 0.05),
                  (length, y0, z3 - 0.05)], (0.9, 0.9, 0.85), 0.95 if night else 0.3)
            if night and vehicle.oncoming:
                _glow(canvas, place([(length, (a + b) / 2, z3 - 0.12)]), 1.6, (0.85, 0.95, 1.0))


def _truck(canvas: Canvas, vehicle: Vehicle) -> None:
    length, half, height, floor = 13.0, 1.25, 3.9, 1.1
    origin = canvas.path.points(vehicle.s, vehicle.d)[0]
    psi = float(np.interp(vehicle.s, canvas.path.arc, canvas.path.psi)) + vehicle.yaw
    distance = float(np.hypot(origin[0], origin[1]))
    cos, sin = np.cos(psi), np.sin(psi)
    night = canvas.light.headlights > 0

    def quad(
        corners: Sequence[tuple[float, float, float]], paint: Iterable[float], glow: float = 0.0
    ) -> None:
        p = np.asarray(corners, np.float64)
        world = np.stack(
            [
                origin[0] + p[:, 0] * cos - p[:, 1] * sin,
                origin[1] + p[:, 0] * sin + p[:, 1] * cos,
                origin[2] + p[:, 2],
            ],
            axis=1,
        )
        normal = _normal(world)
        if _faces(world, normal, canvas.camera.height_m):
            canvas.fill(world, canvas.tone(paint, distance, normal, glow))

    def rear(y0: float, y1: float, z0: float, z1: float, paint: Iterable[float], glow: float = 0.0) -> None:
        quad([(0, y0, z0), (0, y1, z0), (0, y1, z1), (0, y0, z1)], paint, glow)

    colour = np.array(vehicle.colour)
    turn = np.linspace(0, 2 * np.pi, 14)[:-1]
    for side in (1, -1):
        inner, outer = side * (half - 0.55), side * half
        for at in (3.2, 1.9):
            quad([(at, max(inner, outer), 0.0), (at, min(inner, outer), 0.0),
                  (at, min(inner, outer), 1.0), (at, max(inner, outer), 1.0)], (0.03, 0.03, 0.03))
        y = side * half
        corners = [(0.0, y, floor), (0.0, y, height), (length, y, height), (length, y, floor)]
        quad(corners if side < 0 else corners[::-1], colour) if side < 0 else quad(
            corners[::-1], colour
        )
        skirt = [(0.0, y, floor - 0.2), (0.0, y, floor), (length, y, floor),
                 (length, y, floor - 0.2)]
        for part in (skirt, skirt[::-1]):
            quad(part, (0.12, 0.12, 0.12))
        for at in (1.9, 3.2, 10.5):
            wheel = [(at + 0.5 * np.cos(t), y * 0.99, 0.5 + 0.5 * np.sin(t)) for t in turn]
            for part2 in (wheel, wheel[::-1]):
                quad(part2, (0.04, 0.04, 0.04))
    rear(half, -half, floor - 0.15, floor + 0.12, (0.1, 0.1, 0.1))
    rear(half, -half, floor + 0.12, height, colour)
    rear(half, -half, height - 0.1, height, colour * 0.7)
    for y0 in (half, 0.03, -half + 0.08):
        rear(y0, y0 - 0.07, floor + 0.12, height, colour * 0.72)
    for y0 in (0.5, -0.42):
        rear(y0, y0 - 0.05, floor + 0.2, height - 0.2, (0.5, 0.5, 0.5))
    rear(half * 0.9, -half * 0.9, 0.55, 0.67, (0.5, 0.5, 0.55))
    shine = 0.85 if (night or vehicle.braking) else 0.1
    for side in (1, -1):
        y0, y1 = (half, half - 0.35) if side > 0 else (-half + 0.35, -half)
        rear(y0, y1, floor - 0.13, floor + 0.05, (0.1, 0.1, 0.9), shine)


def _glow(canvas: Canvas, point: Points, strength: float, colour: Colour) -> None:
    pixel = canvas.camera.project(point)[0]
    if not np.isnan(pixel).any():
        distance = max(float(point[0, 0]), 3.0)
        radius = canvas.camera.fx * (0.35 / distance + 0.004)
        canvas.glows.append(
            (float(pixel[0]), float(pixel[1]), float(radius),
             (colour[0] * strength, colour[1] * strength, colour[2] * strength))
        )


def vehicle_drawing(canvas: Canvas, vehicle: Vehicle) -> Drawing:
    """How to draw a vehicle."""
    draw = _truck if vehicle.kind == "truck" else _car
    return max(vehicle.s, 0.1), lambda: draw(canvas, vehicle)


def footprints(path: Path, camera: Camera, vehicles: Sequence[Vehicle], sun: tuple[float, float, float],
               grow: float, shadow: bool) -> NDArray[np.uint8]:
    """Ground under the vehicles (grown by metres) and, with `shadow`, where their shadows fall:
    a uint8 mask (H, W), 255 inside."""
    mask = np.zeros((camera.height, camera.width), np.uint8)
    canvas = Canvas(mask, camera, path, Light())
    for vehicle in vehicles:
        if vehicle.kind == "truck":
            length, width, height = 13.0, 2.5, 3.9
        else:
            (length, width, height), _, _ = _SHAPES[vehicle.kind]
        if vehicle.oncoming:
            length = -length
        ends = (vehicle.s - np.sign(length) * grow, vehicle.s + length + np.sign(length) * grow)
        sides = (vehicle.d - width / 2 - grow, vehicle.d + width / 2 + grow)
        corners = path.points(
            [ends[0], ends[0], ends[1], ends[1]], [sides[0], sides[1], sides[1], sides[0]]
        )
        if shadow and sun[2] > 0.05:
            fall = np.array([-sun[0], -sun[1], 0.0]) / sun[2] * height * 0.85
            reach = float(np.hypot(fall[0], fall[1]))
            fall *= min(1.0, 8.0 / max(reach, 1e-6))
            corners = np.concatenate([corners, corners * 1.0 + fall])
            hull = cv2.convexHull(corners[:, :2].astype(np.float32))[:, 0]
            heights = np.interp(hull[:, 0], path._grid, path._z)
            corners = np.column_stack([hull, heights])
        canvas.fill(corners, (255, 255, 255))
    return mask


def _tree(canvas: Canvas, number: int, base: Points, height: float, tint: Colour) -> None:
    sprite = trees()[number]
    optical = canvas.camera.to_optical(base)[0]
    if optical[2] < 2:
        return
    u, v = canvas.camera.project(base)[0]
    size = canvas.camera.fy * height / optical[2]
    h = w = int(np.clip(round(size), 2, 1400))
    x0, y0 = int(round(u - w / 2)), int(round(v - h))
    x1, y1 = max(x0, 0), max(y0, 0)
    x2, y2 = min(x0 + w, canvas.camera.width), min(y0 + h, canvas.camera.height)
    if x1 >= x2 or y1 >= y2:
        return
    # Only the visible part of the sprite is resampled.
    scale = sprite.shape[0] / h
    interpolation = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
    a, b = int((y1 - y0) * scale), int(np.ceil((y2 - y0) * scale))
    c, e = int((x1 - x0) * scale), int(np.ceil((x2 - x0) * scale))
    part = cv2.resize(
        sprite[a : max(b, a + 1), c : max(e, c + 1)], (x2 - x1, y2 - y1),
        interpolation=interpolation,
    )
    tone = np.array(canvas.tone(tint, float(optical[2])), np.float32)
    haze = np.array(canvas.light.horizon, np.float32) * 255 * (1 - canvas.clear(optical[2]))
    alpha = part[..., 3:]
    target = canvas.image[y1:y2, x1:x2]
    # Sprites hold grey shades; they are bleached by haze as their tone is.
    leaves = np.minimum((tone - haze) * part[..., :3] + haze * alpha, 255)
    canvas.image[y1:y2, x1:x2] = (leaves + target * (1 - alpha)).astype(np.uint8)


def roadside_drawings(canvas: Canvas, roadside: Roadside, seed: int, s0: float) -> list[Drawing]:
    """Trees, bushes and lamp posts at fixed places along the road."""
    drawings: list[Drawing] = []
    spacing = 7.0
    if roadside.trees:
        for cell in range(int(np.floor(s0 / spacing)), int((s0 + 330) / spacing)):
            rng = np.random.default_rng((seed, cell & 0xFFFFFFFF, 3))
            for side, near in ((1, roadside.tree_left), (-1, roadside.tree_right)):
                groves = 0.5 + 0.5 * np.sin(cell * 0.21 + seed + 2 * side)
                chance, jitter, back, tall, number = rng.random(5)
                tint_noise = rng.normal(0, 0.12, 3)
                if chance > roadside.trees * (0.25 + 0.9 * groves):
                    continue
                s = (cell + jitter) * spacing - s0
                if s < 4:
                    continue
                d = near + side * back * back * 30
                sprite = int(number * 18)
                height = 2.0 + 2 * tall if sprite % 6 == 4 else 6.0 + 9 * tall
                green = np.array([0.13, 0.24, 0.19]) * (1 + tint_noise)
                tint = (float(green[0]), float(green[1]), float(green[2] * (0.8 + 0.6 * tall)))

                def draw(
                    n: int = sprite, s: float = s, d: float = d, h: float = height,
                    tint: Colour = tint,
                ) -> None:
                    _tree(canvas, n, canvas.path.points(s, d, -0.2), h, tint)

                drawings.append((s, draw))
    if roadside.posts:
        gap = roadside.posts
        for cell in range(int(np.ceil(s0 / gap)), int((s0 + 280) / gap)):
            s = cell * gap - s0
            if s < 1.5:
                continue

            def post(s: float = s) -> None:
                path = canvas.path
                d = roadside.tree_right + 2.5
                tone = canvas.tone((0.3, 0.3, 0.3), s)
                canvas.fill(path.points([s] * 4, [d - 0.1, d + 0.1, d + 0.07, d - 0.07],
                                        [0, 0, 9, 9]), tone)
                canvas.fill(path.points([s] * 4, [d, d + 2.6, d + 2.6, d], [8.9, 9.3, 9.42, 9.1]),
                            tone)
                if canvas.light.lamps:
                    bulb = path.points([s] * 4, [d + 2, d + 2.8, d + 2.8, d + 2],
                                       [9.15, 9.25, 9.35, 9.25])
                    canvas.fill(bulb, canvas.tone((0.6, 0.9, 1.0), s, glow=1.0))
                    _glow(canvas, path.points(s, d + 2.4, 9.2), 1.0, (0.35, 0.7, 1.0))

            drawings.append((s, post))
    return drawings


def structure_drawings(
    canvas: Canvas, structure: Structure, s0: float, left: float, right: float
) -> list[Drawing]:
    """Bridges, gantries and tunnels over the road between d = left and d = right."""
    path = canvas.path
    a, b = structure.s - s0, structure.s + structure.length - s0
    low = structure.clearance
    drawings: list[Drawing] = []
    if b < 1 or a > 320:
        return drawings
    if structure.kind == "gantry":

        def sign() -> None:
            if a < 1:
                return
            tone = canvas.tone((0.38, 0.38, 0.38), a, (-1, 0, 0))
            for d in (left + 1.0, right - 1.0):
                canvas.fill(path.points([a] * 4, [d - 0.2, d + 0.2, d + 0.2, d - 0.2],
                                        [0, 0, low + 2, low + 2]), tone)
            for z in (low + 0.4, low + 1.8):
                canvas.fill(path.points([a] * 4, [left + 1, right - 1, right - 1, left + 1],
                                        [z, z, z + 0.22, z + 0.22]), tone)
            green = np.array(structure.colour)
            for middle in (0.68 * left + 0.32 * right, 0.3 * left + 0.7 * right):
                def panel(w: float, z1: float, z2: float, colour: Iterable[float], at: float = middle) -> None:
                    canvas.fill(
                        path.points([a - 0.3] * 4, [at + w, at - w, at - w, at + w],
                                    [z1, z1, z2, z2]),
                        canvas.tone(colour, a, (-0.9, 0, 0.3), 0.25),
                    )
                panel(2.4, low, low + 2.4, (0.8, 0.85, 0.85))
                panel(2.3, low + 0.1, low + 2.3, green)
                panel(1.7, low + 1.5, low + 1.8, (0.85, 0.88, 0.88))
                panel(1.2, low + 0.9, low + 1.2, (0.85, 0.88, 0.88))
                panel(0.5, low + 0.35, low + 0.65, (0.85, 0.88, 0.88))

        return [(a, sign)]
    if structure.kind == "bridge":
        wide = 26.0
        span = [left + wide, right - wide, right - wide, left + wide]

        def deck() -> None:
            colour = np.array(structure.colour)
            if a > 0.5:
                near = a
                canvas.fill(path.points([near] * 4, span, [low] * 2 + [low + 1.5] * 2),
                            canvas.tone(colour, near, (-1, 0, 0)))
                canvas.fill(path.points([near] * 4, span, [low + 1.5] * 2 + [low + 2.3] * 2),
                            canvas.tone(colour * 1.12, near, (-1, 0, 0)))
                canvas.fill(path.points([near] * 4, span, [low + 1.42] * 2 + [low + 1.5] * 2),
                            canvas.tone(colour * 0.5, near, (-1, 0, 0)))
            under = canvas.tone(colour * 0.42, max(a, 0), (0, 0, -1))
            start = max(a, 0.5)
            canvas.fill(path.points([start, start, b, b],
                                    [left + wide, right - wide, right - wide, left + wide],
                                    [low] * 4), under)

        def pillars(at: float) -> None:
            for d in (left + 3.0, right - 3.0):
                for z0, z1, gain in ((0, low, 0.8),):
                    canvas.fill(path.points([at] * 4, [d - 0.6, d + 0.6, d + 0.6, d - 0.6],
                                            [z0, z0, z1, z1]),
                                canvas.tone(np.array(structure.colour) * gain, at, (-1, 0, 0)))

        for at in (b - 2.0, a + 2.0):
            if at > 1:
                drawings.append((at + 0.1, lambda at=at: pillars(at)))  # type: ignore[misc]
        drawings.append((max(a, 0.2), deck))
        return drawings
    # A tunnel: walls and ceiling in rings, with lamps along the ceiling.
    edges = [max(a, -4.0)]
    while edges[-1] < min(b, 300.0):
        edges.append(edges[-1] + max(4.0, 0.08 * abs(edges[-1])))
    edges[-1] = min(b, 300.0)
    for e0, e1 in zip(edges, edges[1:], strict=False):

        def ring(e0: float = e0, e1: float = e1) -> None:
            middle = max((e0 + e1) / 2, 0.0)
            colour = np.array(structure.colour)
            tone = canvas.tone(colour, middle, glow=0.55)
            dark = canvas.tone(colour * 0.35, middle, glow=0.5)
            for d in (left + 0.3, right - 0.3):
                canvas.fill(path.points([e0, e0, e1, e1], [d] * 4, [0, low * 0.6, low * 0.6, 0]),
                            tone)
                canvas.fill(path.points([e0, e0, e1, e1], [d] * 4, [low * 0.6, low, low, low * 0.6]),
                            canvas.tone(colour * 0.6, middle, glow=0.5))
            canvas.fill(path.points([e0, e0, e1, e1], [left + 0.3, right - 0.3, right - 0.3,
                                                       left + 0.3], [low] * 4), dark)
            for d in (0.7 * left + 0.3 * right, 0.3 * left + 0.7 * right):
                first = np.ceil((e0 + s0) / 6) * 6 - s0
                for at in np.arange(first, e1, 6.0):
                    canvas.fill(path.points([at, at, at + 2.4, at + 2.4],
                                            [d - 0.2, d + 0.2, d + 0.2, d - 0.2], [low - 0.02] * 4),
                                canvas.tone((0.8, 0.95, 1.0), float(at), glow=1.0))

        drawings.append(((e0 + e1) / 2 if e0 > 0 else max(e1 / 2, 0.1), ring))
    if a > 1:

        def portal() -> None:
            tone = canvas.tone(np.array(structure.colour) * 0.9, a, (-1, 0, 0.2))
            top = low + 3.0
            for d0, d1 in ((left + 0.3, left + 30), (right - 30, right - 0.3)):
                canvas.fill(path.points([a] * 4, [d0, d1, d1, d0], [0, 0, top, top]), tone)
            canvas.fill(path.points([a] * 4, [left + 0.3, right - 0.3, right - 0.3, left + 0.3],
                                    [low, low, top, top]), tone)

        drawings.append((a - 0.05, portal))
    return drawings
