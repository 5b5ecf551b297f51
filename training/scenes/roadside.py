"""What stands beside the road: barriers, trees, lamp posts."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise

import cv2
import numpy as np

from .canvas import FAR, Canvas, Drawing, Points
from .spec import Barrier, Colour, Roadside
from .textures import SHADE, TREES, trees

_SPACING = 7.0  #: metres of road for a tree on either side


_BANDS: dict[str, tuple[tuple[float, float, float], ...]] = {  # lower, upper share, brightness
    "concrete": ((0.0, 0.12, 0.6), (0.12, 0.38, 0.9), (0.38, 0.96, 1.0), (0.96, 1.0, 1.15)),
    "rail": ((0.56, 0.72, 0.85), (0.72, 0.84, 1.0), (0.84, 1.0, 0.9)),
    "wall": ((0.0, 0.92, 1.0), (0.92, 1.0, 0.75)),
    "kerb": ((0.0, 0.25, 0.8), (0.25, 1.0, 1.0)),
    "striped kerb": ((0.0, 0.25, 0.8), (0.25, 1.0, 1.0)),
    "fence": ((0.1, 0.16, 0.9), (0.9, 1.0, 1.0)),
    "panels": ((0.0, 1.0, 1.0),),
}


def barrier_drawings(canvas: Canvas, barrier: Barrier, s0: float) -> list[Drawing]:
    """A barrier in pieces, so that they sort among the other things."""
    start, end = max(barrier.start - s0, -6.0), min(barrier.end - s0, 330.0)
    if start >= end:
        return []
    # Pieces end at fixed places of the world, so that nothing crawls along while driving.
    edges, at = [start], start + s0
    while edges[-1] < end:
        step = 4.0 if edges[-1] < 40 else 8.0 if edges[-1] < 120 else 24.0
        at = (np.floor(at / step + 1e-6) + 1) * step
        edges.append(min(float(at - s0), end))
    inward = -1.0 if barrier.offset > canvas.path.offset else 1.0
    foot = 0.18 * inward if barrier.kind == "concrete" else 0.0
    levels = {
        share: canvas.path.points(
            edges, barrier.offset + foot * (1 - share), share * barrier.height
        )
        for band in _BANDS[barrier.kind]
        for share in band[:2]
    }
    turns = np.interp(edges, canvas.path.arc, canvas.path.psi).tolist()
    return [
        (
            (a + b) / 2 if a > 0 else b / 2,
            partial(_piece, canvas, barrier, s0, (a, b), psi, inward,
                    {share: level[i : i + 2] for share, level in levels.items()}),
        )
        for i, ((a, b), psi) in enumerate(zip(pairwise(edges), turns, strict=False))
    ]  # fmt: skip


def _piece(
    canvas: Canvas, barrier: Barrier, s0: float, ends: tuple[float, float], psi: float,
    inward: float, levels: dict[float, Points],
) -> None:  # fmt: skip
    """Draws a barrier between two ends; `levels` holds its points there by share of its height."""
    (a, b), d, height, path = ends, barrier.offset, barrier.height, canvas.path
    normal = (-math.sin(psi) * inward, math.cos(psi) * inward, 0.15)
    distance = max((a + b) / 2, 0.0)
    if barrier.kind == "rail" and a < 90:
        tone = canvas.tone((0.3, 0.3, 0.3), distance, normal)
        _poles(canvas, (a + s0, b + s0), s0, 4.0, 0.06, d - 0.05 * inward, height - 0.1, tone)
    if barrier.kind == "fence" and a < 60:
        gap, half = (0.25, 0.02) if a < 16 else (0.5, 0.02) if a < 30 else (2.0, 0.05)
        tone = canvas.tone(barrier.colour, distance, normal)
        _poles(canvas, (a + s0, b + s0), s0, gap, half, d, height, tone)
    number = math.floor((a + s0) / 4 + 1e-6)
    panel = 1 + 0.04 * math.sin(number // 2 * 78.23)
    if barrier.kind == "striped kerb":
        panel = 1.0 if number % 2 else 0.15
    elif barrier.kind == "panels":
        panel = 1.0 if number % 2 else 0.6
    blue, green, red = barrier.colour
    whole = canvas.pixels(np.concatenate(list(levels.values()))) if a > FAR else None
    rows = dict(zip(levels, range(0, 2 * len(levels), 2), strict=True))
    for low, high, gain in _BANDS[barrier.kind]:
        gain *= panel
        tone = canvas.tone((blue * gain, green * gain, red * gain), distance, normal)
        if whole is not None and len(whole) == 2 * len(levels):
            i, j = rows[low], rows[high]
            canvas.fill_pixels(whole[[i, j, j + 1, i + 1]], tone)
        else:
            face = [levels[low][0], levels[high][0], levels[high][1], levels[low][1]]
            canvas.fill(np.stack(face), tone)
    if barrier.kind.endswith("kerb"):
        back = d - 0.16 * inward
        quad = path.points([a, a, b, b], [d, back, back, d], height)
        top = (blue * panel * 1.1, green * panel * 1.1, red * panel * 1.1)
        canvas.fill(quad, canvas.tone(top, distance, (0, 0, 1)))


def _poles(
    canvas: Canvas, ends: tuple[float, float], s0: float, gap: float, half: float, d: float,
    height: float, tone: tuple[float, float, float],
) -> None:  # fmt: skip
    """Upright bars at fixed places of the world, every `gap` metres between two ends."""
    at = np.arange(np.ceil(ends[0] / gap) * gap, ends[1], gap) - s0
    s = at[:, None] + np.array([-half, -half, half, half])
    up = np.broadcast_to(np.array([0, height, height, 0]), s.shape)
    quads = canvas.path.points(s.ravel(), d, up.ravel()).reshape(-1, 4, 3)
    canvas.fill_all(quads, tone)


def open_at(roadside: Roadside, at: float) -> bool:
    """Whether another road crosses here, `at` metres into the world."""
    return roadside.gap is not None and roadside.gap[0] < at < roadside.gap[1]


def roadside_drawings(canvas: Canvas, roadside: Roadside, seed: int, s0: float) -> list[Drawing]:
    """Trees, bushes and lamp posts at fixed places along the road."""
    drawings: list[Drawing] = []
    if roadside.trees:
        for cell in range(int(np.floor(s0 / _SPACING)), int((s0 + 330) / _SPACING)):
            rng = np.random.default_rng((seed, cell & 0xFFFFFFFF, 3))
            for side, near in ((1, roadside.tree_left), (-1, roadside.tree_right)):
                grove = 0.5 + 0.5 * np.sin(cell * 0.21 + seed + 2 * side)
                chance, jitter, back, tall, number = rng.random(5).tolist()
                shades = rng.normal(0, 0.1, 3) + rng.normal(0, 0.12)
                s = (cell + jitter) * _SPACING - s0
                if (
                    s < 4
                    or open_at(roadside, s + s0)
                    or chance > roadside.trees * (0.25 + 0.9 * grove)
                ):
                    continue
                sprite = int(number * TREES)
                height = 2.5 + 3 * tall if sprite % 4 == 3 else 7.0 + 9 * tall
                tint = tuple((np.array(roadside.leaves) * (1 + shades)).tolist())
                d = near + side * back * back * 30
                drawings.append((s, partial(_tree, canvas, sprite, s, d, height, tint)))
    if gap := roadside.posts:
        for cell in range(int(np.ceil(s0 / gap)), int((s0 + 280) / gap)):
            s = cell * gap - s0
            if s >= 1.5 and not open_at(roadside, s + s0):
                drawings.append((s, partial(_post, canvas, s, roadside.tree_right + 2.5)))
    return drawings


def _tree(canvas: Canvas, number: int, s: float, d: float, height: float, tint: Colour) -> None:
    pyramid, base = trees()[number], canvas.placed(canvas.path.points(s, d, -0.2))
    depth = canvas.camera.to_optical(base)[0, 2]
    if depth < 2:
        return
    u, v = canvas.camera.project(base)[0]
    size = float(canvas.camera.fy * height / depth)
    left, top = float(u - size / 2), float(v if canvas.mirrored else v - size)
    x1, y1 = max(math.floor(left), 0), max(math.floor(top), 0)
    x2 = min(math.ceil(left + size) + 1, canvas.camera.width)
    y2 = min(math.ceil(top + size) + 1, canvas.camera.height)
    if x1 >= x2 or y1 >= y2:
        return
    # Only the visible part is resampled, from the pyramid's level just above its size.
    sprite = next((p for p in reversed(pyramid) if p.shape[0] >= size), pyramid[0])
    scale = sprite.shape[0] / size
    place = np.array([[scale, 0, (x1 - left) * scale], [0, scale, (y1 - top) * scale]])
    if canvas.mirrored:
        place[1, 1:] = -scale, sprite.shape[0] - (y1 - top) * scale
    part = cv2.warpAffine(
        sprite, place, (x2 - x1, y2 - y1), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    tone = np.array(canvas.tone(tint, float(depth)), np.float32)
    haze = np.array(canvas.light.horizon, np.float32) * 255 * (1 - canvas.clear(depth))
    alpha = part[..., 3:] * np.float32(1 / 255)
    target = canvas.image[y1:y2, x1:x2]
    # Sprites hold grey shades; they are bleached by haze as their tone is.
    leaves = np.minimum((tone - haze) * np.float32(1 / SHADE) * part[..., :3] + haze * alpha, 255)
    canvas.image[y1:y2, x1:x2] = (leaves + target * (1 - alpha)).astype(np.uint8)


def _post(canvas: Canvas, s: float, d: float) -> None:
    """A lamp post with its arm over the road."""

    def panel(aside: list[float], up: list[float], tone: tuple[float, float, float]) -> None:
        canvas.fill(canvas.path.points([s] * 4, [d + a for a in aside], up), tone)

    tone = canvas.tone((0.3, 0.3, 0.3), s)
    panel([-0.1, 0.1, 0.07, -0.07], [0, 0, 9, 9], tone)
    panel([0, 2.6, 2.6, 0], [8.9, 9.3, 9.42, 9.1], tone)
    if canvas.light.lamps:
        bulb = canvas.tone((0.6, 0.9, 1.0), s, glow=1.0)
        panel([2, 2.8, 2.8, 2], [9.15, 9.25, 9.35, 9.25], bulb)
        canvas.glow(canvas.path.points(s, d + 2.4, 9.2), 1.0, (0.35, 0.7, 1.0))
