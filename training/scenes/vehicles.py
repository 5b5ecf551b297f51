"""Cars, vans and trucks: small meshes, their lamps and the shade under them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from .camera import Camera
from .canvas import Canvas, Drawing, Points
from .road import Path
from .spec import Light, Vehicle

Corner = tuple[float, float, float]
Quad = tuple[Corner, Corner, Corner, Corner]  #: outside seen, starting at the lower left corner


@dataclass(frozen=True)
class _Shape:
    """Measures in metres; x from the rear bumper, z from the road."""

    length: float
    width: float
    height: float
    rear_deck: float  #: height of the boot lid, or of the rear window's lower edge
    hood: float  #: height of the bonnet's front edge
    glass: tuple[
        float, float, float, float
    ]  #: x of rear window foot, roof rear, front, screen foot
    roof: float  #: share of the half width left at the roof


_SHAPES = {
    "car": _Shape(4.65, 1.82, 1.45, 0.98, 0.74, (0.62, 1.35, 2.55, 3.45), 0.74),
    "suv": _Shape(4.7, 1.92, 1.76, 1.08, 0.95, (0.1, 0.5, 2.75, 3.55), 0.8),
    "van": _Shape(5.6, 2.0, 2.35, 1.25, 1.0, (0.06, 0.2, 4.0, 4.9), 0.88),
    "truck": _Shape(13.5, 2.5, 3.95, 1.1, 1.1, (0.0, 0.0, 13.0, 13.0), 1.0),
}


@dataclass(frozen=True)
class _Mesh:
    """Faces in drawing order: what comes later covers what came before."""

    corners: Points  #: (N, 3)
    faces: tuple[tuple[slice, str, float, bool], ...]  #: corners, material, gain, is a detail
    lamps: tuple[tuple[Corner, str], ...]  #: centre, rear or front


class _Builder:
    def __init__(self) -> None:
        self.corners: list[Corner] = []
        self.faces: list[tuple[slice, str, float, bool]] = []
        self.lamps: list[tuple[Corner, str]] = []

    def face(
        self, corners: Sequence[Corner], material: str, gain: float = 1.0, detail: bool = False
    ) -> None:
        start = len(self.corners)
        self.corners.extend(corners)
        self.faces.append((slice(start, len(self.corners)), material, gain, detail))

    def part(
        self, quad: Quad, across: tuple[float, float], up: tuple[float, float], material: str,
        gain: float = 1.0,
    ) -> None:  # fmt: skip
        """A piece of a quad, given as shares of its width and height."""
        a, b, c, d = (np.array(corner) for corner in quad)

        def at(u: float, v: float) -> Corner:
            x, y, z = (a * (1 - u) + b * u) * (1 - v) + (d * (1 - u) + c * u) * v
            return float(x), float(y), float(z)

        (u0, u1), (v0, v1) = across, up
        self.face((at(u0, v0), at(u1, v0), at(u1, v1), at(u0, v1)), material, gain, True)

    def tread(self, x: float, y: float, radius: float, width: float) -> None:
        """What is seen of a tyre from behind; y is its outer side."""
        inner = y - math.copysign(width, y)
        left, right = max(y, inner), min(y, inner)
        for low, high, bulge in ((0.0, 0.5, 0.72), (0.5, 1.2, 1.0)):
            self.face(
                (
                    (x - radius * bulge, left, radius * low),
                    (x - radius * bulge, right, radius * low),
                    (x - radius, right, radius * high),
                    (x - radius, left, radius * high),
                ),
                "tyre",
            )

    def disc(self, x: float, y: float, radius: float) -> None:
        """A wheel from the side."""
        for size, material in ((1.0, "tyre"), (0.64, "rim"), (0.2, "tyre")):
            turn = np.linspace(0, 2 * np.pi, 15)[:-1] * (-1 if y > 0 else 1)
            self.face(
                [
                    (
                        x + size * radius * math.cos(t),
                        y * (1.002 - 0.002 * size),
                        radius + size * radius * math.sin(t),
                    )
                    for t in turn
                ],
                material,
                detail=size < 1,
            )

    def build(self) -> _Mesh:
        return _Mesh(np.array(self.corners), tuple(self.faces), tuple(self.lamps))


@cache
def _car(kind: str) -> _Mesh:
    shape, out = _SHAPES[kind], _Builder()
    length, half = shape.length, shape.width / 2
    sill, bumper = 0.24, 0.56 if kind == "car" else 0.66
    foot_rear, roof_rear, roof_front, foot_front = shape.glass
    radius = 0.33 if kind == "car" else 0.36
    out.face(
        ((0.3, half * 0.9, 0.12), (0.3, -half * 0.9, 0.12), (0.3, -half * 0.9, 0.45),
         (0.3, half * 0.9, 0.45)), "under",
    )  # fmt: skip
    # Plan of one side from the rear's middle to the front's, as (x, share of the half width).
    plan = [(0.0, 0.7), (0.16, 0.93), (0.6, 0.995), (length * 0.5, 1.0), (length - 0.8, 0.98),
            (length - 0.28, 0.88), (length, 0.6)]  # fmt: skip

    def deck(x: float) -> float:
        if x <= foot_rear + 0.3:
            return shape.rear_deck
        if x >= foot_front:
            return shape.hood + (length - x) / (length - foot_front) * 0.16
        return shape.rear_deck + 0.01

    def ring(level: int) -> list[Corner]:
        side = []
        for x, share in plan:
            top = deck(x)
            z = (sill, bumper, bumper + (top - bumper) * 0.72, top)[level]
            shrink = (0.95, 1.0, 0.985, 0.9)[level]
            pull = (0.05, 0.0, 0.03, 0.12)[level]
            inset = pull if x < 1 else (-pull if x > length - 1 else 0.0)
            side.append((x + inset, share * half * shrink, z))
        return side + [(x, -y, z) for x, y, z in reversed(side)]

    rings = [ring(level) for level in range(4)]
    count = len(rings[0])
    for wheel_x in (length - 0.88, 0.82):
        for side in (1.0, -1.0):
            out.tread(wheel_x, side * (half - 0.02), radius, 0.22)
    quads: dict[tuple[int, int], Quad] = {}
    for level in range(3):
        for i in range(count):
            j = (i + 1) % count
            # Ring order runs along the left side forward, so outside is seen from j to i.
            quad = (rings[level][j], rings[level][i], rings[level + 1][i], rings[level + 1][j])
            quads[level, i] = quad
            out.face(quad, "paint", (0.92, 1.0, 1.06)[level])
    half_count = len(plan)
    rear = count - 1  # the edge from the right rear corner to the left one
    chamfers = (0, count - 2)
    # Details of the rear.
    out.part(quads[0, rear], (0, 1), (0, 0.38), "trim")
    for i in chamfers:
        out.part(quads[0, i], (0, 1), (0, 0.38), "trim")
    out.part(quads[1, rear], (0, 1), (0.0, 0.06), "shade")
    out.part(quads[1, rear], (0.39, 0.61), (0.2, 0.62) if kind == "car" else (0.1, 0.4), "plate")
    low, high = (0.42, 0.92) if kind != "van" else (0.05, 1.0)
    wide = 0.13 if kind == "car" else 0.1
    for i, near in (
        (rear, (0.0, wide)),
        (rear, (1 - wide, 1.0)),
        (0, (0, 0.75)),
        (count - 2, (0.25, 1)),
    ):
        out.part(quads[1, i], (float(near[0]), float(near[1])), (low, high), "rear lamp")
    for side in (1.0, -1.0):
        z = bumper + (shape.rear_deck - bumper) * 0.45
        out.lamps.append(((0.0, side * half * 0.72, z), "rear"))
        out.lamps.append(((length, side * half * 0.6, 0.68), "front"))
    # Details of the front.
    front = half_count - 1
    out.part(quads[1, front], (0.05, 0.95), (0.1, 0.8), "trim")
    out.part(quads[0, front], (0.1, 0.9), (0.2, 0.6), "trim")
    for i in (front - 1, front + 1):
        out.part(quads[1, i], (0.0, 1.0), (0.25, 0.95), "front lamp")
    # Sides: wheel arches, door line.
    for side, edges in ((1.0, range(half_count - 1)), (-1.0, range(half_count, count - 1))):
        for i in edges:
            out.part(quads[0, i], (0, 1), (0, 0.3), "trim")
        for wheel_x in (length - 0.88, 0.82):
            y = side * half
            turn = np.linspace(0, np.pi, 8) * (1 if side < 0 else -1) + (0 if side < 0 else np.pi)
            arch = [
                (wheel_x + 1.14 * radius * math.cos(t), y * 1.003,
                 radius + 1.14 * radius * math.sin(t))
                for t in turn
            ]  # fmt: skip
            out.face(arch, "under", detail=True)
            out.disc(wheel_x, y * 1.006, radius)
    # Lid, bonnet and cabin.
    top = rings[3]
    lid_x = foot_rear + 0.3
    out.face(((0.12, half * 0.62, shape.rear_deck), (0.12, -half * 0.62, shape.rear_deck),
              (lid_x, -half * 0.88, shape.rear_deck), (lid_x, half * 0.88, shape.rear_deck)),
             "paint", 1.02)  # fmt: skip
    front_half = [p for p in top if p[0] > foot_front - 0.2]
    left_front = [p for p in front_half if p[1] > 0]
    right_front = [p for p in front_half if p[1] < 0]
    foot_z = deck(foot_front)
    out.face(
        [(foot_front - 0.1, half * 0.88, foot_z), (foot_front - 0.1, -half * 0.88, foot_z),
         *right_front[::-1], *left_front[::-1]], "paint", 1.02,
    )  # fmt: skip
    belt, roof, height = half * 0.92, half * shape.roof, shape.height
    base = [
        (foot_rear, belt * 0.86, shape.rear_deck), (foot_rear + 0.42, belt, shape.rear_deck),
        (foot_front - 0.5, belt, foot_z), (foot_front, belt * 0.8, foot_z),
    ]  # fmt: skip
    crown = [
        (roof_rear, roof * 0.86, height - 0.06), (roof_rear + 0.3, roof, height - 0.03),
        (roof_front - 0.2, roof, height - 0.02), (roof_front, roof * 0.88, height - 0.07),
    ]  # fmt: skip
    base += [(x, -y, z) for x, y, z in reversed(base)]
    crown += [(x, -y, z) for x, y, z in reversed(crown)]
    inner = [(x * 0.94 + 0.06 * (roof_rear + roof_front) / 2, y * 0.8, height) for x, y, z in crown]
    for i in range(8):
        j = (i + 1) % 8
        quad = (base[j], base[i], crown[i], crown[j])
        out.face(quad, "paint", 0.94)
        panel = kind == "van" and i in (1, 5)
        if i in (3, 7):  # wind screen, rear window
            out.part(quad, (0.06, 0.94), (0.1, 0.92), "glass")
        elif i in (1, 5) and not panel:
            for part in ((0.04, 0.47), (0.53, 0.96)):
                out.part(quad, part, (0.1, 0.9), "glass")
        elif not panel and not (kind == "van" and i in (0, 6)):
            out.part(quad, (0.12, 0.88), (0.14, 0.86), "glass")
        elif panel:
            share = (0.02, 0.24) if i == 1 else (0.76, 0.98)
            out.part(quad, share, (0.25, 0.85), "glass")
    for i in range(8):
        j = (i + 1) % 8
        out.face((crown[j], crown[i], inner[i], inner[j]), "paint", 1.0)
    out.face(inner[::-1], "paint", 1.05)
    return out.build()


def _box(
    x0: float, x1: float, half: float, z0: float, z1: float
) -> tuple[Quad, Quad, Quad, Quad, Quad]:
    """Rear, left, right, front and top of a box."""
    rear: Quad = ((x0, half, z0), (x0, -half, z0), (x0, -half, z1), (x0, half, z1))
    left: Quad = ((x1, half, z0), (x0, half, z0), (x0, half, z1), (x1, half, z1))
    right: Quad = ((x0, -half, z0), (x1, -half, z0), (x1, -half, z1), (x0, -half, z1))
    front: Quad = ((x1, -half, z0), (x1, half, z0), (x1, half, z1), (x1, -half, z1))
    top: Quad = ((x0, half, z1), (x0, -half, z1), (x1, -half, z1), (x1, half, z1))
    return rear, left, right, front, top


@cache
def _truck() -> _Mesh:
    shape, out = _SHAPES["truck"], _Builder()
    half = shape.width / 2
    for quad in _box(11.6, 13.5, half * 0.96, 0.5, 3.2)[:4]:
        out.face(quad, "cab")
    rear, left, right, *_ = _box(0.4, 11.4, half * 0.85, 0.75, 1.12)
    for quad in (left, right, rear):
        out.face(quad, "under")
    for x in (12.6, 4.2, 3.0, 1.8):
        for side in (1.0, -1.0):
            out.tread(x, side * half * 0.985, 0.5, 0.55)
            out.disc(x, side * half * 0.99, 0.5)
    for quad in (left, right):  # side guards between the axles
        out.part(quad, (0.34, 0.66), (-0.7, -0.35), "rim", 0.7)
    rear, left, right, front, top = _box(0.0, 11.3, half, shape.rear_deck, shape.height)
    for quad in (front, left, right, rear, top):
        out.face(quad, "paint")
    for quad in (left, right):
        out.part(quad, (0, 1), (0.0, 0.035), "rim", 0.6)
        out.part(quad, (0, 1), (0.965, 1.0), "paint", 0.8)
        out.part(quad, (0.2, 0.75), (0.45, 0.75), "stripe")
        for at in (share / 10 for share in range(1, 10)):
            out.part(quad, (at, at + 0.003), (0.04, 0.96), "paint", 0.86)
    out.part(rear, (0, 1), (0.0, 0.05), "trim")
    out.part(rear, (0, 1), (0.96, 1.0), "paint", 0.72)
    for a, b in ((0.0, 0.025), (0.492, 0.508), (0.975, 1.0)):
        out.part(rear, (a, b), (0.05, 0.96), "paint", 0.7)
    for at in (0.3, 0.41, 0.57, 0.68):
        out.part(rear, (at, at + 0.018), (0.08, 0.95), "rim", 1.1)
    out.part(rear, (0.05, 0.22), (0.55, 0.62), "stripe")
    out.face(((0.02, 1.15, 0.5), (0.02, -1.15, 0.5), (0.02, -1.15, 0.64), (0.02, 1.15, 0.64)),
             "rim", 1.1)  # fmt: skip
    for y in (1.0, -0.62):
        out.face(((0.01, y + 0.18, 0.85), (0.01, y - 0.22, 0.85), (0.01, y - 0.22, 1.03),
                  (0.01, y + 0.18, 1.03)), "rear lamp")  # fmt: skip
    for side in (1.0, -1.0):
        out.lamps.append(((0.0, side * 0.95, 0.95), "rear"))
    return out.build()


_MATERIALS: dict[str, tuple[float, float, float]] = {
    "under": (0.02, 0.02, 0.02), "tyre": (0.035, 0.034, 0.033), "rim": (0.42, 0.42, 0.42),
    "trim": (0.05, 0.05, 0.05), "shade": (0.03, 0.03, 0.03), "plate": (0.72, 0.74, 0.74),
    "front lamp": (0.8, 0.82, 0.8), "stripe": (0.45, 0.25, 0.12), "cab": (0.35, 0.2, 0.12),
}  # fmt: skip


def _draw(canvas: Canvas, vehicle: Vehicle) -> None:
    mesh = _truck() if vehicle.kind == "truck" else _car(vehicle.kind)
    origin = canvas.path.points(vehicle.s, vehicle.d)[0]
    psi = float(np.interp(vehicle.s, canvas.path.arc, canvas.path.psi)) + vehicle.yaw
    if vehicle.oncoming:
        psi += math.pi
    cos, sin = math.cos(psi), math.sin(psi)
    turn = np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])
    world = mesh.corners @ turn + origin
    distance = math.hypot(origin[0], origin[1])
    light = canvas.light
    # All corners at once where none has to be cut.
    pixels = canvas.pixels(world)
    if pixels is None:
        return
    if len(pixels) == len(world):
        if pixels[:, 0].max() < 0 or pixels[:, 0].min() > canvas.camera.width:
            return
    else:
        pixels = None
    lit = light.headlights > 0
    eye = canvas.camera.height_m
    far = distance * 900 / canvas.camera.fx > 90
    sky = [0.6 * h + 0.4 * z for h, z in zip(light.horizon, light.zenith, strict=True)]
    lamp, shine = (0.09, 0.07, 0.42), 0.0
    if vehicle.braking:
        lamp, shine = (0.2, 0.2, 1.0), 0.95
    elif lit:
        lamp, shine = (0.08, 0.07, 0.85), 0.75
    for part, material, gain, detail in mesh.faces:
        if far and (detail or material == "tyre") and material not in ("glass", "rear lamp"):
            continue
        corners = world[part]
        (ax, ay, az), (bx, by, bz), (cx, cy, cz) = corners[:3].tolist()
        ux, uy, uz, vx, vy, vz = bx - ax, by - ay, bz - az, cx - bx, cy - by, cz - bz
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        if -nx * ax - ny * ay + nz * (eye - az) <= 0:
            continue
        size = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
        normal = (nx / size, ny / size, nz / size)
        glow = 0.0
        if material == "paint":
            # Lacquer mirrors some of the sky where it looks up.
            mirror = (0.05 + 0.13 * max(normal[2], 0.0)) if vehicle.kind != "truck" else 0.0
            colour = tuple(
                c * gain * (1 - mirror) + s * mirror
                for c, s in zip(vehicle.colour, sky, strict=True)
            )
        elif material == "glass":
            mirror = 0.1 + 0.22 * max(normal[2], 0.0)
            colour = tuple(0.04 + s * mirror for s in sky)
        elif material == "rear lamp":
            colour, glow = lamp, shine
        else:
            colour = tuple(c * gain for c in _MATERIALS[material])
            if material == "front lamp" and lit:
                glow = 0.9
        tone = canvas.tone(colour, distance, normal, glow)
        if pixels is None:
            canvas.fill(corners, tone)
        else:
            canvas.fill_pixels(pixels[part], tone)
    for (x, y, z), kind in mesh.lamps:
        facing = (kind == "front") == vehicle.oncoming
        strength = shine * 0.22 if kind == "rear" else (1.5 if lit else 0.0)
        if facing and strength:
            at = np.array([[x, y, z]]) @ turn + origin
            canvas.glow(at, strength, (0.12, 0.1, 1.0) if kind == "rear" else (0.85, 0.95, 1.0))


def vehicle_drawing(canvas: Canvas, vehicle: Vehicle) -> Drawing:
    """How to draw a vehicle."""
    return max(vehicle.s, 0.1), lambda: _draw(canvas, vehicle)


def footprints(
    path: Path,
    camera: Camera,
    vehicles: Sequence[Vehicle],
    sun: tuple[float, float, float],
    grow: float,
    shadow: bool,
) -> NDArray[np.uint8]:
    """Ground under the vehicles (grown by metres) and, with `shadow`, where their shadows fall:
    a uint8 mask (H, W), 255 inside."""
    mask = np.zeros((camera.height, camera.width), np.uint8)
    canvas = Canvas(mask, camera, path, Light())
    for vehicle in vehicles:
        shape = _SHAPES[vehicle.kind]
        near, far = vehicle.s + 0.15, vehicle.s + shape.length - 0.15
        if vehicle.oncoming:
            near, far = vehicle.s - shape.length + 0.15, vehicle.s - 0.15
        half = shape.width / 2 - 0.05 + grow
        s = [near - grow, near - grow, far + grow, far + grow]
        d = [vehicle.d - half, vehicle.d + half, vehicle.d + half, vehicle.d - half]
        corners = path.points(s, d)
        if shadow and sun[2] > 0.05:
            fall = np.array([-sun[0], -sun[1], 0.0]) / sun[2] * shape.height * 0.8
            fall *= min(1.0, 9.0 / max(float(np.hypot(fall[0], fall[1])), 1e-6))
            corners = np.concatenate([corners, corners + fall])
            hull = cv2.convexHull(corners[:, :2].astype(np.float32))[:, 0]
            corners = np.column_stack([hull, path.surface(hull[:, 0])])
        canvas.fill(corners, (255.0, 255.0, 255.0))
    return mask
