"""Sky, clouds, hills and the far line of trees: all that has a direction but no distance."""

from __future__ import annotations

import numpy as np

from .scene_camera import Array
from .spec import Light, Roadside
from .textures import SIZE, noise, sample


def _ridge(azimuth: Array, row: int, turns: float, tile: Array) -> Array:
    at = azimuth * np.float32(turns * SIZE / (2 * np.pi))
    low = np.floor(at)
    part = at - low
    index = low.astype(np.int32) % SIZE
    return np.asarray(tile[row, index] * (1 - part) + tile[row, index + 1] * part)


def backdrop(
    left: Array, up: Array, light: Light, roadside: Roadside, seed: int, north: float, focal: float
) -> Array:
    """Radiance (rows, W, 3) of all above the ground for rays given as slopes.

    `north` is the vehicle's heading in the world, radians; `focal` pixels per radian.
    """
    zenith, horizon, cloud = (
        np.array(c, np.float32) for c in (light.zenith, light.horizon, light.cloud)
    )
    # The gradient and the ridges tell no roll: one height per row, one azimuth per column.
    rise = 1 - np.exp(-4.0 * np.clip(up.mean(axis=1), 0, None))[:, None]
    sky = np.repeat((horizon + (zenith - horizon) * rise)[:, None], up.shape[1], axis=1)
    sky = np.ascontiguousarray(sky, np.float32)
    if light.cover > 0:
        height = np.maximum(up, 0)
        overhead = 1 / (height + np.float32(0.07))
        turn_cos, turn_sin = np.float32(np.cos(north)), np.float32(np.sin(north))
        ahead = overhead * (turn_cos - left * turn_sin)
        aside = overhead * (turn_sin + left * turn_cos)
        shift = np.float32((seed % 53) / 53)
        body = sample(noise(1.7, 7), ahead * np.float32(0.032) + shift, aside * np.float32(0.05))
        threshold = np.float32(1.5 - 2.7 * light.cover)
        amount = np.clip((body - threshold) * 0.6, 0, 1) * np.minimum(height * 14, 1)
        relief = np.float32(1) + np.float32(0.09) * body - np.float32(0.25 * light.cover) * amount
        sky += amount[..., None] * (cloud * relief[..., None] - sky)
    if light.glare:
        toward = (left - np.float32(np.tan(np.clip(light.azimuth, -0.7, 0.7)))) ** 2
        toward = toward + (up - np.float32(np.tan(min(light.elevation, 0.5)))) ** 2
        sky += (light.glare * np.exp(toward * np.float32(-14)))[..., None]
    azimuth = np.arctan(left[-1]) + np.float32(north)
    brightness = np.float32(light.ambient + 0.75 * light.sun)
    for row, turns, size, tone, distance, rough in (
        (seed % SIZE, 1.0, roadside.hills, roadside.hill_colour, 2600.0, 0.12),
        ((seed + 101) % SIZE, 2.0, roadside.hills * 0.6, roadside.hill_colour, 1400.0, 0.18),
        ((seed + 211) % SIZE, 4.0, roadside.treeline, roadside.treeline_colour, 650.0, 0.3),
    ):
        if size <= 0:
            continue
        ridge = np.float32(size) * (1 + 0.45 * _ridge(azimuth, row, turns, noise(1.5, 8)))
        if rough > 0.25:
            ridge = ridge * (1 + 0.28 * _ridge(azimuth, row, 9.0, noise(0.6, 9)))
        rows = np.flatnonzero(up.min(axis=1) <= ridge.max() + 1 / focal)
        if len(rows) == 0:
            continue
        part = slice(int(rows[0]), None)
        inside = np.clip((ridge - up[part]) * np.float32(focal) + 0.5, 0, 1)
        detail = sample(
            noise(0.7, 3),
            up[part] * np.float32(1.8),
            np.broadcast_to(azimuth * np.float32(0.9), up[part].shape),
        )
        clear = np.float32(np.exp(-distance / light.visibility))
        colour = np.array(tone, np.float32) * brightness * np.array(light.tint, np.float32) * clear
        shaded = colour * (1 + np.float32(rough) * detail)[..., None] + horizon * (1 - clear)
        sky[part] += inside[..., None] * (shaded - sky[part])
    return sky
