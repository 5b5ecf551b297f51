"""What stands beside and over the road: barriers, trees, lamp posts, bridges, signs, tunnels."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise

import cv2
import numpy as np

from .canvas import Canvas, Drawing, Points
from .spec import Barrier, Colour, Roadside, Structure
from .textures import SHADE, TREES, trees


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
    d, height, path = barrier.offset, barrier.height, canvas.path
    bands: tuple[tuple[float, float, float], ...]  # lower and upper share, brightness
    if barrier.kind == "rail":
        bands = ((0.56, 0.72, 0.85), (0.72, 0.84, 1.0), (0.84, 1.0, 0.9))
    elif barrier.kind == "wall":
        bands = ((0.0, 0.92, 1.0), (0.92, 1.0, 0.75))
    elif barrier.kind.endswith("kerb"):
        bands = ((0.0, 0.25, 0.8), (0.25, 1.0, 1.0))
    else:
        bands = ((0.0, 0.12, 0.6), (0.12, 0.38, 0.9), (0.38, 0.96, 1.0), (0.96, 1.0, 1.15))
    foot = 0.18 * inward if barrier.kind == "concrete" else 0.0
    levels = {
        share: path.points(edges, d + foot * (1 - share), share * height)
        for band in bands
        for share in band[:2]
    }
    turns = np.interp(edges, path.arc, path.psi)
    drawings: list[Drawing] = []
    for i, (a, b) in enumerate(pairwise(edges)):

        def draw(i: int = i, a: float = a, b: float = b) -> None:
            psi = float(turns[i])
            normal = (-math.sin(psi) * inward, math.cos(psi) * inward, 0.15)
            distance = max((a + b) / 2, 0.0)
            if barrier.kind == "rail" and a < 90:
                for post in np.arange(np.ceil((a + s0) / 4) * 4 - s0, b, 4.0):
                    quad = path.points(
                        [post - 0.06, post - 0.06, post + 0.06, post + 0.06],
                        d - 0.05 * inward,
                        [0, height - 0.1, height - 0.1, 0],
                    )
                    canvas.fill(quad, canvas.tone((0.3, 0.3, 0.3), distance, normal))
            number = math.floor((a + s0) / 4 + 1e-6)
            if barrier.kind == "striped kerb":
                panel = 1.0 if number % 2 else 0.15
            else:
                panel = 1 + 0.04 * math.sin(number // 2 * 78.23)
            blue, green, red = barrier.colour
            for low, high, gain in bands:
                gain *= panel
                quad = np.stack(
                    [levels[low][i], levels[high][i], levels[high][i + 1], levels[low][i + 1]]
                )
                tone = canvas.tone((blue * gain, green * gain, red * gain), distance, normal)
                canvas.fill(quad, tone)
            if barrier.kind.endswith("kerb"):
                back = d - 0.16 * inward
                quad = path.points([a, a, b, b], [d, back, back, d], height)
                top = (blue * panel * 1.1, green * panel * 1.1, red * panel * 1.1)
                canvas.fill(quad, canvas.tone(top, distance, (0, 0, 1)))

        drawings.append(((a + b) / 2 if a > 0 else b / 2, draw))
    return drawings


def _tree(canvas: Canvas, number: int, base: Points, height: float, tint: Colour) -> None:
    pyramid = trees()[number]
    optical = canvas.camera.to_optical(base)[0]
    if optical[2] < 2:
        return
    u, v = canvas.camera.project(base)[0]
    size = float(canvas.camera.fy * height / optical[2])
    left, top = float(u - size / 2), float(v - size)
    x1, y1 = max(math.floor(left), 0), max(math.floor(top), 0)
    x2 = min(math.ceil(left + size) + 1, canvas.camera.width)
    y2 = min(math.ceil(top + size) + 1, canvas.camera.height)
    if x1 >= x2 or y1 >= y2:
        return
    # Only the visible part is resampled, from the pyramid's level just above its size.
    sprite = next((p for p in reversed(pyramid) if p.shape[0] >= size), pyramid[0])
    scale = sprite.shape[0] / size
    place = np.array([[scale, 0, (x1 - left) * scale], [0, scale, (y1 - top) * scale]])
    part = cv2.warpAffine(
        sprite, place, (x2 - x1, y2 - y1), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    tone = np.array(canvas.tone(tint, float(optical[2])), np.float32)
    haze = np.array(canvas.light.horizon, np.float32) * 255 * (1 - canvas.clear(optical[2]))
    alpha = part[..., 3:] * np.float32(1 / 255)
    target = canvas.image[y1:y2, x1:x2]
    # Sprites hold grey shades; they are bleached by haze as their tone is.
    leaves = np.minimum((tone - haze) * np.float32(1 / SHADE) * part[..., :3] + haze * alpha, 255)
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
                tint_noise = rng.normal(0, 0.1, 3) + rng.normal(0, 0.12)
                if chance > roadside.trees * (0.25 + 0.9 * groves):
                    continue
                s = (cell + jitter) * spacing - s0
                if s < 4:
                    continue
                d = near + side * back * back * 30
                sprite = int(number * TREES)
                height = 2.5 + 3 * tall if sprite % 4 == 3 else 7.0 + 9 * tall
                blue, green, red = np.array(roadside.leaves) * (1 + tint_noise)
                tint = (float(blue), float(green), float(red))

                def draw(
                    n: int = sprite,
                    s: float = s,
                    d: float = d,
                    h: float = height,
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
                canvas.fill(
                    path.points([s] * 4, [d - 0.1, d + 0.1, d + 0.07, d - 0.07], [0, 0, 9, 9]), tone
                )
                canvas.fill(
                    path.points([s] * 4, [d, d + 2.6, d + 2.6, d], [8.9, 9.3, 9.42, 9.1]), tone
                )
                if canvas.light.lamps:
                    bulb = path.points(
                        [s] * 4, [d + 2, d + 2.8, d + 2.8, d + 2], [9.15, 9.25, 9.35, 9.25]
                    )
                    canvas.fill(bulb, canvas.tone((0.6, 0.9, 1.0), s, glow=1.0))
                    canvas.glow(path.points(s, d + 2.4, 9.2), 1.0, (0.35, 0.7, 1.0))

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
                canvas.fill(
                    path.points(
                        [a] * 4, [d - 0.2, d + 0.2, d + 0.2, d - 0.2], [0, 0, low + 2, low + 2]
                    ),
                    tone,
                )
            for z in (low + 0.4, low + 1.8):
                canvas.fill(
                    path.points(
                        [a] * 4,
                        [left + 1, right - 1, right - 1, left + 1],
                        [z, z, z + 0.22, z + 0.22],
                    ),
                    tone,
                )
            green = np.array(structure.colour)
            for middle in (0.68 * left + 0.32 * right, 0.3 * left + 0.7 * right):

                def panel(
                    w: float, z1: float, z2: float, colour: Iterable[float], at: float = middle
                ) -> None:
                    canvas.fill(
                        path.points(
                            [a - 0.3] * 4, [at + w, at - w, at - w, at + w], [z1, z1, z2, z2]
                        ),
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
                canvas.fill(
                    path.points([near] * 4, span, [low] * 2 + [low + 1.5] * 2),
                    canvas.tone(colour, near, (-1, 0, 0)),
                )
                canvas.fill(
                    path.points([near] * 4, span, [low + 1.5] * 2 + [low + 2.3] * 2),
                    canvas.tone(colour * 1.12, near, (-1, 0, 0)),
                )
                canvas.fill(
                    path.points([near] * 4, span, [low + 1.42] * 2 + [low + 1.5] * 2),
                    canvas.tone(colour * 0.5, near, (-1, 0, 0)),
                )
            under = canvas.tone(colour * 0.42, max(a, 0), (0, 0, -1))
            start = max(a, 0.5)
            canvas.fill(
                path.points(
                    [start, start, b, b],
                    [left + wide, right - wide, right - wide, left + wide],
                    [low] * 4,
                ),
                under,
            )

        def pillars(at: float) -> None:
            for d in (left + 3.0, right - 3.0):
                pillar = path.points(
                    [at] * 4, [d - 0.6, d + 0.6, d + 0.6, d - 0.6], [0, 0, low, low]
                )
                canvas.fill(pillar, canvas.tone(np.array(structure.colour) * 0.8, at, (-1, 0, 0)))

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
    for e0, e1 in pairwise(edges):

        def ring(e0: float = e0, e1: float = e1) -> None:
            middle = max((e0 + e1) / 2, 0.0)
            colour = np.array(structure.colour)
            tone = canvas.tone(colour, middle, glow=0.55)
            dark = canvas.tone(colour * 0.35, middle, glow=0.5)
            for d in (left + 0.3, right - 0.3):
                canvas.fill(
                    path.points([e0, e0, e1, e1], [d] * 4, [0, low * 0.6, low * 0.6, 0]), tone
                )
                canvas.fill(
                    path.points([e0, e0, e1, e1], [d] * 4, [low * 0.6, low, low, low * 0.6]),
                    canvas.tone(colour * 0.6, middle, glow=0.5),
                )
            canvas.fill(
                path.points(
                    [e0, e0, e1, e1], [left + 0.3, right - 0.3, right - 0.3, left + 0.3], [low] * 4
                ),
                dark,
            )
            for d in (0.7 * left + 0.3 * right, 0.3 * left + 0.7 * right):
                first = np.ceil((e0 + s0) / 6) * 6 - s0
                for at in np.arange(first, e1, 6.0):
                    canvas.fill(
                        path.points(
                            [at, at, at + 2.4, at + 2.4],
                            [d - 0.2, d + 0.2, d + 0.2, d - 0.2],
                            [low - 0.02] * 4,
                        ),
                        canvas.tone((0.8, 0.95, 1.0), float(at), glow=1.0),
                    )

        drawings.append(((e0 + e1) / 2 if e0 > 0 else max(e1 / 2, 0.1), ring))
    if a > 1:

        def portal() -> None:
            tone = canvas.tone(np.array(structure.colour) * 0.9, a, (-1, 0, 0.2))
            top = low + 3.0
            green = canvas.tone((0.16, 0.31, 0.26), a, (-0.6, 0, 0.8))
            for inner, side in ((left + 1.0, 1), (right - 1.0, -1)):
                last = top + 3.6
                for reach, height in ((12, top + 3.2), (34, 5.0), (80, 0.0)):
                    outer = (left if side > 0 else right) + side * reach
                    quad = path.points(
                        [a + 0.5] * 4, [inner, outer, outer, inner], [0, 0, height, last]
                    )
                    canvas.textured(quad, (abs(outer - inner), top + 3), green, 0.08)
                    inner, last = outer, height
            crest = path.points(
                [a + 0.5] * 4,
                [left + 1.1, right - 1.1, right - 1.1, left + 1.1],
                [top, top, top + 3.6, top + 3.6],
            )
            canvas.textured(crest, (left - right, 3.6), green, 0.08)
            for d0, d1, low_z in (
                (left + 0.3, left + 9, 0.0),
                (right - 9, right - 0.3, 0.0),
                (left + 0.3, right - 0.3, low),
            ):
                quad = path.points([a] * 4, [d0, d1, d1, d0], [low_z, low_z, top, top])
                canvas.textured(quad, (abs(d1 - d0), top - low_z), tone, 0.03)

        drawings.append((a - 0.05, portal))
    return drawings
