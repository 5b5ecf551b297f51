"""Cars, vans and trucks: how they look, their lamps, the shade under them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from .canvas import Canvas, Drawing, Points
from .meshes import SHAPES, Corner, mesh
from .road_geometry import Path
from .scene_camera import SceneCamera
from .spec import Colour, Light, Vehicle

_MATERIALS: dict[str, tuple[float, float, float]] = {
    "under": (0.02, 0.02, 0.02), "tyre": (0.035, 0.034, 0.033), "rim": (0.42, 0.42, 0.42),
    "trim": (0.05, 0.05, 0.05), "shade": (0.03, 0.03, 0.03), "plate": (0.72, 0.74, 0.74),
    "front lamp": (0.8, 0.82, 0.8), "stripe": (0.45, 0.25, 0.12), "cab": (0.35, 0.2, 0.12),
}  # fmt: skip


def _lamp(vehicle: Vehicle, lit: bool) -> tuple[Colour, float]:
    """Colour and glow of the rear lamps."""
    if vehicle.braking:
        return (0.2, 0.2, 1.0), 0.95
    return ((0.08, 0.07, 0.85), 0.75) if lit else ((0.09, 0.07, 0.42), 0.0)


def _look(
    material: str, gain: float, up: float, vehicle: Vehicle, light: Light
) -> tuple[Iterable[float], float]:
    """Colour and glow of a face whose normal rises by `up`."""
    lit = light.headlights > 0
    sky = [0.6 * h + 0.4 * z for h, z in zip(light.horizon, light.zenith, strict=True)]
    if material == "paint":
        # Lacquer mirrors some of the sky where it looks up.
        mirror = (0.05 + 0.13 * max(up, 0.0)) if vehicle.kind != "truck" else 0.0
        own = zip(vehicle.colour, sky, strict=True)
        return [c * gain * (1 - mirror) + s * mirror for c, s in own], 0.0
    if material == "glass":
        mirror = 0.1 + 0.22 * max(up, 0.0)
        return [0.04 + s * mirror for s in sky], 0.0
    if material == "rear lamp":
        return _lamp(vehicle, lit)
    glow = 0.9 if material == "front lamp" and lit else 0.0
    return [c * gain for c in _MATERIALS[material]], glow


def _outward(corners: Points, eye: float) -> Corner | None:
    """The unit normal of a face; None where the camera, `eye` metres up, sees its back."""
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = corners[:3].tolist()
    ux, uy, uz, vx, vy, vz = bx - ax, by - ay, bz - az, cx - bx, cy - by, cz - bz
    nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    if -nx * ax - ny * ay + nz * (eye - az) <= 0:
        return None
    size = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
    return nx / size, ny / size, nz / size


def _draw(canvas: Canvas, vehicle: Vehicle) -> None:
    body, light, camera = mesh(vehicle.kind), canvas.light, canvas.camera
    origin = canvas.path.points(vehicle.s, vehicle.d)[0]
    psi = float(np.interp(vehicle.s, canvas.path.arc, canvas.path.psi)) + vehicle.yaw
    if vehicle.oncoming:
        psi += math.pi
    cos, sin = math.cos(psi), math.sin(psi)
    turn = np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])
    world = body.corners @ turn + origin
    distance = math.hypot(origin[0], origin[1])
    # All corners at once where none has to be cut.
    pixels = canvas.pixels(world)
    if pixels is None:
        return
    whole = len(pixels) == len(world)
    if whole and (pixels[:, 0].max() < 0 or pixels[:, 0].min() > camera.width):
        return
    far = distance * 900 / camera.fx > 70
    for part, material, gain, detail in body.faces:
        if far and (detail or material == "tyre") and material not in ("glass", "rear lamp"):
            continue
        normal = _outward(world[part], canvas.eye)
        if normal is None:
            continue
        colour, glow = _look(material, gain, normal[2], vehicle, light)
        tone = canvas.tone(colour, distance, normal, glow)
        if whole:
            canvas.fill_pixels(pixels[part], tone)
        else:
            canvas.fill(world[part], tone)
    lit = light.headlights > 0
    shine = 0.22 * _lamp(vehicle, lit)[1], 1.5 if lit else 0.0
    for place, kind in body.lamps:
        strength = shine[kind == "front"]
        if strength and (kind == "front") == vehicle.oncoming:
            colour = (0.12, 0.1, 1.0) if kind == "rear" else (0.85, 0.95, 1.0)
            canvas.glow(np.array([place]) @ turn + origin, strength, colour)


def vehicle_drawing(canvas: Canvas, vehicle: Vehicle) -> Drawing:
    """How to draw a vehicle."""
    return max(vehicle.s, 0.1), lambda: _draw(canvas, vehicle)


def footprints(
    path: Path,
    camera: SceneCamera,
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
        shape = SHAPES[vehicle.kind]
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
