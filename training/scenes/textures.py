"""Noise and sprites that every scene shares, made once per process from fixed seeds."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from .camera import Array

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


@cache
def trees() -> tuple[Array, ...]:
    """Tree and bush sprites, float32 (h, w, 4): grey shading about 1 in b, g, r, and opacity."""
    rng = np.random.default_rng(11)
    sprites = []
    for number in range(18):
        size = 160
        canvas = np.zeros((size, size, 4), np.uint8)
        slim = number % 6 == 5
        bush = number % 6 == 4
        trunk = size if bush else int(size * rng.uniform(0.7, 0.85))
        if not bush:
            cv2.line(canvas, (80, size), (80 + int(rng.integers(-6, 7)), 60), (40, 45, 52, 255), 5)
        spread = 18 if slim else int(rng.integers(38, 58))
        clumps = [
            (
                80 + rng.normal(0, spread * 0.5),
                rng.uniform(18, trunk),
                rng.uniform(10, 26) * (0.6 if slim else 1),
            )
            for _ in range(30)
        ]
        clumps.sort(key=lambda c: -c[1])
        for cx, cy, radius in clumps:
            taper = 1 - 0.5 * abs(cy - 90) / 90
            cx = 80 + (cx - 80) * taper
            for _ in range(46):
                angle, far = rng.uniform(0, 2 * np.pi), radius * np.sqrt(rng.random())
                px, py = cx + far * np.cos(angle), min(cy + far * np.sin(angle), size - 3)
                lit = 0.5 - 0.3 * (py - cy) / radius + 0.22 * (80 - cy) / 80
                shade = float(np.clip(118 * (0.55 + lit) * rng.uniform(0.6, 1.4), 30, 255))
                cv2.circle(
                    canvas,
                    (int(px * 16), int(py * 16)),
                    int(rng.uniform(1.4, 3.6) * 16),
                    (shade, shade, shade, 255),
                    -1,
                    cv2.LINE_AA,
                    4,
                )
        sprite = canvas.astype(np.float32)
        sprite[..., :3] /= 118
        sprite[..., 3] /= 255
        sprites.append(sprite)
    return tuple(sprites)
