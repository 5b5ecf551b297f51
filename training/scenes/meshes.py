"""The bodies of cars, vans and trucks as small meshes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np

from .canvas import Points

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
    #: x of the rear window's foot, the roof's rear and front, the wind screen's foot
    glass: tuple[float, float, float, float]
    roof: float  #: share of the half width left at the roof
    bumper: float = 0.66  #: height of the bumpers' upper edge
    wheel: float = 0.36  #: radius

    def deck(self, x: float) -> float:
        """Height of the body below the windows."""
        if x <= self.glass[0] + 0.3:
            return self.rear_deck
        if x < self.glass[3]:
            return self.rear_deck + 0.01
        return self.hood + (self.length - x) / (self.length - self.glass[3]) * 0.16


SHAPES = {
    "car": _Shape(4.65, 1.82, 1.45, 0.98, 0.74, (0.62, 1.35, 2.55, 3.45), 0.74, 0.56, 0.33),
    "suv": _Shape(4.7, 1.92, 1.76, 1.08, 0.95, (0.1, 0.5, 2.75, 3.55), 0.8),
    "van": _Shape(5.6, 2.0, 2.35, 1.25, 1.0, (0.06, 0.2, 4.0, 4.9), 0.88),
    "bus": _Shape(11.5, 2.5, 3.1, 0.4, 0.4, (0.0, 0.0, 11.5, 11.5), 1.0),
    "truck": _Shape(13.5, 2.5, 3.95, 1.1, 1.1, (0.0, 0.0, 13.0, 13.0), 1.0),
}


@dataclass(frozen=True)
class Mesh:
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

    def build(self) -> Mesh:
        return Mesh(np.array(self.corners), tuple(self.faces), tuple(self.lamps))


# A car's body is made of rings, each of which runs along the left side forward and back along the
# right: one point a side for each of these places. The last edge of a ring is the rear.
_PLACES = 7
_REAR, _FRONT = 2 * _PLACES - 1, _PLACES - 1


def _rings(shape: _Shape) -> list[list[Corner]]:
    """The rings of the body from the sill up."""
    length, half, sill = shape.length, shape.width / 2, 0.24
    # From the rear's middle to the front's, as (x, share of the half width).
    plan = [(0.0, 0.7), (0.16, 0.93), (0.6, 0.995), (length * 0.5, 1.0), (length - 0.8, 0.98),
            (length - 0.28, 0.88), (length, 0.6)]  # fmt: skip
    rings = []
    for level, shrink, pull in ((0, 0.95, 0.05), (1, 1.0, 0.0), (2, 0.985, 0.03), (3, 0.9, 0.12)):
        side = []
        for x, share in plan:
            top = shape.deck(x)
            z = (sill, shape.bumper, shape.bumper + (top - shape.bumper) * 0.72, top)[level]
            inset = pull if x < 1 else (-pull if x > length - 1 else 0.0)
            side.append((x + inset, share * half * shrink, z))
        rings.append(side + [(x, -y, z) for x, y, z in reversed(side)])
    return rings


def _rear(out: _Builder, kind: str, shape: _Shape, quads: list[list[Quad]]) -> None:
    """Bumper, number plate and lamps."""
    for i in (_REAR, 0, _REAR - 1):
        out.part(quads[0][i], (0, 1), (0, 0.38), "trim")
    out.part(quads[1][_REAR], (0, 1), (0.0, 0.06), "shade")
    plate = (0.2, 0.62) if kind == "car" else (0.1, 0.4)
    out.part(quads[1][_REAR], (0.39, 0.61), plate, "plate")
    high = (0.42, 0.92) if kind != "van" else (0.05, 1.0)
    wide = 0.13 if kind == "car" else 0.1
    for i, near in ((_REAR, (0.0, wide)), (_REAR, (1 - wide, 1.0)), (0, (0.0, 0.75)),
                    (_REAR - 1, (0.25, 1.0))):  # fmt: skip
        out.part(quads[1][i], near, high, "rear lamp")
    for side in (1.0, -1.0):
        z = shape.bumper + (shape.rear_deck - shape.bumper) * 0.45
        out.lamps.append(((0.0, side * shape.width / 2 * 0.72, z), "rear"))
        out.lamps.append(((shape.length, side * shape.width / 2 * 0.6, 0.68), "front"))


def _front(out: _Builder, quads: list[list[Quad]]) -> None:
    """Grille and head lamps."""
    out.part(quads[1][_FRONT], (0.05, 0.95), (0.1, 0.8), "trim")
    out.part(quads[0][_FRONT], (0.1, 0.9), (0.2, 0.6), "trim")
    for i in (_FRONT - 1, _FRONT + 1):
        out.part(quads[1][i], (0.0, 1.0), (0.25, 0.95), "front lamp")


def _sides(out: _Builder, shape: _Shape, quads: list[list[Quad]], wheels: Sequence[float]) -> None:
    """Sills, wheel arches, wheels."""
    for side, edges in ((1.0, range(_FRONT)), (-1.0, range(_PLACES, _REAR))):
        for i in edges:
            out.part(quads[0][i], (0, 1), (0, 0.3), "trim")
        for x in wheels:
            y, radius = side * shape.width / 2, 1.14 * shape.wheel
            turn = np.linspace(0, np.pi, 8) * (1 if side < 0 else -1) + (0 if side < 0 else np.pi)
            arch = [
                (x + radius * math.cos(t), y * 1.003, shape.wheel + radius * math.sin(t))
                for t in turn
            ]
            out.face(arch, "under", detail=True)
            out.disc(x, y * 1.006, shape.wheel)


def _decks(out: _Builder, shape: _Shape, top: list[Corner]) -> None:
    """Boot lid and bonnet inside the body's upper ring."""
    half, deck, lid, foot = shape.width / 2, shape.rear_deck, shape.glass[0] + 0.3, shape.glass[3]
    out.face(((0.12, half * 0.62, deck), (0.12, -half * 0.62, deck), (lid, -half * 0.88, deck),
              (lid, half * 0.88, deck)), "paint", 1.02)  # fmt: skip
    rim = [p for p in top if p[0] > foot - 0.2]
    left, right = [p for p in rim if p[1] > 0], [p for p in rim if p[1] < 0]
    z = shape.deck(foot)
    inner = [(foot - 0.1, half * 0.88, z), (foot - 0.1, -half * 0.88, z)]
    out.face([*inner, *right[::-1], *left[::-1]], "paint", 1.02)


def _cabin(out: _Builder, van: bool, shape: _Shape) -> None:
    """Windows, pillars and roof."""
    foot_rear, roof_rear, roof_front, foot_front = shape.glass
    belt, roof, height = shape.width / 2 * 0.92, shape.width / 2 * shape.roof, shape.height
    z = shape.deck(foot_front)
    base = [
        (foot_rear, belt * 0.86, shape.rear_deck), (foot_rear + 0.42, belt, shape.rear_deck),
        (foot_front - 0.5, belt, z), (foot_front, belt * 0.8, z),
    ]  # fmt: skip
    crown = [
        (roof_rear, roof * 0.86, height - 0.06), (roof_rear + 0.3, roof, height - 0.03),
        (roof_front - 0.2, roof, height - 0.02), (roof_front, roof * 0.88, height - 0.07),
    ]  # fmt: skip
    base += [(x, -y, z) for x, y, z in reversed(base)]
    crown += [(x, -y, z) for x, y, z in reversed(crown)]
    inner = [(x * 0.94 + 0.06 * (roof_rear + roof_front) / 2, y * 0.8, height) for x, y, z in crown]
    end, corner = [((0.06, 0.94), (0.1, 0.92))], [((0.12, 0.88), (0.14, 0.86))]
    doors = [((0.04, 0.47), (0.1, 0.9)), ((0.53, 0.96), (0.1, 0.9))]
    panes = [corner, doors, corner, end, corner, doors, corner, end]  # clockwise, rear window last
    if van:
        panes[0], panes[6] = [], []
        panes[1], panes[5] = [((0.02, 0.24), (0.25, 0.85))], [((0.76, 0.98), (0.25, 0.85))]
    for i in range(8):
        j = (i + 1) % 8
        quad = (base[j], base[i], crown[i], crown[j])
        out.face(quad, "paint", 0.94)
        for across, up in panes[i]:
            out.part(quad, across, up, "glass")
    for i in range(8):
        j = (i + 1) % 8
        out.face((crown[j], crown[i], inner[i], inner[j]), "paint", 1.0)
    out.face(inner[::-1], "paint", 1.05)


@cache
def _car(kind: str) -> Mesh:
    shape, out = SHAPES[kind], _Builder()
    half, wheels = shape.width / 2, (shape.length - 0.88, 0.82)
    out.face(((0.3, half * 0.9, 0.12), (0.3, -half * 0.9, 0.12), (0.3, -half * 0.9, 0.45),
              (0.3, half * 0.9, 0.45)), "under")  # fmt: skip
    for x in wheels:
        for side in (1.0, -1.0):
            out.tread(x, side * (half - 0.02), shape.wheel, 0.22)
    rings, quads = _rings(shape), []
    for (low, high), gain in zip(pairwise(rings), (0.92, 1.0, 1.06), strict=True):
        # Outside is seen from the later point to the earlier one.
        around = zip(low[1:] + low[:1], low, high, high[1:] + high[:1], strict=True)
        quads.append(list(around))
        for quad in quads[-1]:
            out.face(quad, "paint", gain)
    _rear(out, kind, shape, quads)
    _front(out, quads)
    _sides(out, shape, quads, wheels)
    _decks(out, shape, rings[3])
    _cabin(out, kind == "van", shape)
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
def _truck() -> Mesh:
    shape, out = SHAPES["truck"], _Builder()
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


@cache
def _bus() -> Mesh:
    shape, out = SHAPES["bus"], _Builder()
    half = shape.width / 2
    rear, left, right, front, top = _box(0.0, shape.length, half, shape.rear_deck, shape.height)
    for quad in (front, left, right, rear, top):
        out.face(quad, "paint")
    for x in (2.6, 8.9):
        for side in (1.0, -1.0):
            out.disc(x, side * half * 1.002, 0.48)
    for quad in (left, right):
        out.part(quad, (0, 1), (0.0, 0.1), "trim")
        out.part(quad, (0.02, 0.98), (0.48, 0.84), "glass")
        for at in (share / 8 for share in range(1, 8)):
            out.part(quad, (at - 0.004, at + 0.004), (0.48, 0.84), "paint", 0.9)
    out.part(front, (0.03, 0.97), (0.3, 0.88), "glass")
    out.part(rear, (0.08, 0.92), (0.5, 0.86), "glass")
    out.part(rear, (0, 1), (0.0, 0.14), "trim")
    out.part(rear, (0.4, 0.6), (0.16, 0.23), "plate")
    for across in ((0.02, 0.1), (0.9, 0.98)):
        out.part(rear, across, (0.17, 0.36), "rear lamp")
    for side in (1.0, -1.0):
        out.lamps.append(((0.0, side * 1.1, 1.0), "rear"))
        out.lamps.append(((shape.length, side * 1.0, 0.8), "front"))
    return out.build()


def mesh(kind: str) -> Mesh:
    """The body of a car, suv, van, bus or truck."""
    return {"truck": _truck, "bus": _bus}[kind]() if kind in ("truck", "bus") else _car(kind)
