"""Noise and sprites that every scene shares, made once per process from fixed seeds."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from .scene_camera import Array

SIZE = 512  #: texels of a tile


@cache
def noise(falloff: float, seed: int = 0, stretch: float = 1.0) -> Array:
    """A tile (SIZE + 1, SIZE + 1) of zero mean and unit deviation that repeats seamlessly.

    Its spectrum falls with the frequency to this power; `stretch` > 1 draws it out along rows.
    """
    rng = np.random.default_rng(seed)
    frequency = np.fft.fftfreq(SIZE) * SIZE
    radius = np.hypot(frequency[:, None], frequency[None, :] * stretch)
    radius[0, 0] = np.inf
    spectrum = np.fft.fft2(rng.standard_normal((SIZE, SIZE))) * np.maximum(radius, 1) ** -falloff
    spectrum[0, 0] = 0
    tile = np.fft.ifft2(spectrum).real
    tile = (tile / tile.std()).astype(np.float32)
    return np.pad(tile, (0, 1), mode="wrap")


@cache
def layers(*parts: tuple[float, int, float]) -> Array:
    """Several `noise` tiles as channels of one, (SIZE + 1, SIZE + 1, parts): one look-up reads
    them all."""
    return np.ascontiguousarray(np.stack([noise(*part) for part in parts], axis=-1))


@cache
def cracks() -> Array:
    """A repeating tile (SIZE + 1, SIZE + 1) of thin dark lines, 0..1."""
    rng = np.random.default_rng(5)
    tile = np.zeros((SIZE * 3, SIZE * 3), np.uint8)
    for _ in range(26):
        at = rng.uniform(SIZE, 2 * SIZE, 2)
        angle = rng.uniform(0, 2 * np.pi)
        points = [at]
        for _ in range(int(rng.integers(8, 40))):
            angle += rng.normal(0, 0.45)
            at = at + 12 * np.array([np.cos(angle), np.sin(angle)])
            points.append(at)
        line = np.round(np.array(points)).astype(np.int32)
        cv2.polylines(tile, [line], False, int(rng.integers(90, 255)), int(rng.integers(1, 3)))
    folded = tile.reshape(3, SIZE, 3, SIZE).max(axis=(0, 2)).astype(np.float32) / 255
    return np.pad(cv2.GaussianBlur(folded, (0, 0), 0.7), (0, 1), mode="wrap")


def sample(tile: Array, rows: Array, columns: Array) -> Array:
    """Bilinear look-up of a repeating tile at positions in tiles (1.0 = its whole size)."""
    size = np.float32(tile.shape[0] - 1)
    return cv2.remap(
        tile, (columns - np.floor(columns)) * size, (rows - np.floor(rows)) * size, cv2.INTER_LINEAR
    )


SHADE = 118  #: value of a leaf in plain light
TREES = 16  #: sprites; every fourth is a bush, every eighth a slim tree


@cache
def trees() -> tuple[tuple[NDArray[np.uint8], ...], ...]:
    """Tree and bush sprites, uint8 (h, w, 4): shades of SHADE in b, g, r, and opacity; each as a
    pyramid that halves the size.

    Colours are multiplied with the opacity. Light comes from above and the left.
    """
    rng = np.random.default_rng(11)
    size = 288
    sprites = []
    for number in range(TREES):
        bush, slim = number % 4 == 3, number % 8 == 5
        canvas = np.zeros((size, size, 4), np.uint8)
        middle, bottom = size / 2, size * (1.0 if bush else rng.uniform(0.74, 0.84))
        top = size * (rng.uniform(0.35, 0.5) if bush else 0.03)
        wide = size * (0.14 if slim else rng.uniform(0.3, 0.42))
        if not bush:
            for spread, thick in ((0.0, 9), (0.12, 5), (-0.13, 5), (0.05, 4)):
                tip = (int(middle + spread * size), int(bottom * 0.55))
                foot = (int(middle), int(bottom + 10 if spread else size))
                cv2.line(canvas, foot, tip, (62, 72, 84, 255), thick, cv2.LINE_AA)
        clumps = []
        for _ in range(42):
            height = rng.random()
            # Widest a third up, round on top.
            reach = wide * np.sqrt(max(0.05, 1 - (1.7 * height - 0.6) ** 2)) * 0.8
            x = middle + rng.uniform(-1, 1) * reach
            y = bottom - (bottom - top) * (0.06 + 0.86 * height)
            clumps.append((x, y, size * rng.uniform(0.06, 0.12) * (0.7 if slim else 1)))
        clumps.sort(key=lambda c: -c[1] + rng.normal(0, 20))
        for cx, cy, radius in clumps:
            own = rng.normal(1, 0.1)
            for _ in range(150):
                angle, far = rng.uniform(0, 2 * np.pi), radius * np.sqrt(rng.random())
                px, py = cx + far * np.cos(angle), cy + far * np.sin(angle) * 0.8
                if py > size - 3:
                    continue
                lit = 0.34 * (cy - py) / radius + 0.16 * (cx - px) / radius
                lit += 0.3 * ((bottom + top) / 2 - cy) / (bottom - top)
                shade = float(np.clip(112 * own * (0.92 + lit) * rng.uniform(0.7, 1.3), 18, 255))
                cv2.circle(
                    canvas,
                    (int(px * 16), int(py * 16)),
                    int(rng.uniform(0.8, 2.6) * 16),
                    (shade * 0.9, shade, shade * rng.uniform(0.9, 1.05), 255),
                    -1,
                    cv2.LINE_AA,
                    4,
                )
        pyramid = [canvas]
        while pyramid[-1].shape[0] > 20:
            half = pyramid[-1].shape[0] // 2
            pyramid.append(cv2.resize(pyramid[-1], (half, half), interpolation=cv2.INTER_AREA))
        sprites.append(tuple(pyramid))
    return tuple(sprites)
