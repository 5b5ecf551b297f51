"""From radiance to a camera's picture: glare, reflections, motion, exposure, noise, JPEG."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from .camera import Array, Camera
from .spec import Colour, Lens
from .textures import noise, sample

_TARGET = 0.45  #: mean radiance the exposure aims at


def add_glows(image: Array, glows: Sequence[tuple[float, float, float, Colour]]) -> None:
    """Adds soft discs (u, v, radius in pixels, colour) to a float32 image in place."""
    height, width = image.shape[:2]
    for u, v, radius, colour in glows:
        reach = int(3.2 * radius) + 2
        x0, x1 = max(int(u) - reach, 0), min(int(u) + reach + 1, width)
        y0, y1 = max(int(v) - reach, 0), min(int(v) + reach + 1, height)
        if x0 >= x1 or y0 >= y1:
            continue
        dx = (np.arange(x0, x1, dtype=np.float32) - u) / radius
        dy = (np.arange(y0, y1, dtype=np.float32)[:, None] - v) / radius
        disc = np.exp(-(dx * dx + dy * dy) * 1.2) + 0.15 * np.exp(-(dx * dx + dy * dy) * 0.25)
        image[y0:y1, x0:x1] += disc[..., None] * np.array(colour, np.float32)


def _bonnet(image: Array, lens: Lens) -> None:
    height, width = image.shape[:2]
    level = np.float32(image[::4, ::4].mean() * 1.3 + 0.08)
    sky = image[: max(1, height // 4) : 4, ::4].mean(axis=(0, 1))
    top = int(height * (1 - lens.bonnet)) - 1
    u = np.linspace(-1, 1, width, dtype=np.float32)
    edge = height * (1 - lens.bonnet * (1 - 0.45 * np.abs(u) ** 2.5))
    v = np.arange(top, height, dtype=np.float32)[:, None]
    inside = np.clip(v - edge + 0.5, 0, 1)
    depth = np.clip((v - edge) / np.float32(height * lens.bonnet), 0, 1)
    tone = np.array(lens.bonnet_colour, np.float32) * (1.15 - 0.5 * depth)[..., None]
    sheen = 0.3 * np.exp(-depth * 7)[..., None] * sky
    part = image[top:]
    part += inside[..., None] * (tone * level + sheen - part)


def _response(gamma: float) -> NDArray[np.uint8]:
    """8-bit values of radiances 0..2 in 4096 steps: a shoulder instead of hard clipping."""
    value = np.arange(4096) / 2048
    value = np.where(value > 0.8, 1 - 0.2 * np.exp(-(value - 0.8) * 5), value) ** gamma
    return np.asarray(np.round(value * 255), np.uint8)


def develop(
    image: Array, camera: Camera, lens: Lens, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """The final BGR uint8 picture of a float32 radiance image (H, W, 3); changes its input."""
    height, width = image.shape[:2]
    scale = width / 640
    if lens.motion > 0:
        horizon = camera.cy - camera.fy * np.tan(camera.pitch)
        centre = camera.cx + camera.fx * np.tan(camera.yaw)
        total = image.copy()
        for step in (1, 2):
            zoom = 1 + lens.motion * step / 2
            matrix = np.array([[zoom, 0, centre * (1 - zoom)], [0, zoom, horizon * (1 - zoom)]])
            total += cv2.warpAffine(
                image,
                matrix,
                (width, height),
                flags=cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
        image = total * np.float32(1 / 3)
    if lens.reflection > 0:
        v, u = np.mgrid[0:height, 0:width].astype(np.float32) / np.float32(width)
        streaks = sample(noise(1.6, 10), v * 0.35, u * 0.3 + np.float32(rng.random()))
        strength = np.float32(lens.reflection * 2 * image[::4, ::4].mean())
        image += (strength * np.clip(streaks + 0.3, 0, 2))[..., None]
    if lens.bonnet > 0:
        _bonnet(image, lens)
    if lens.blur * scale > 0.15:
        image = cv2.GaussianBlur(image, (0, 0), lens.blur * scale)
    mean = float(cv2.resize(image, (16, 9), interpolation=cv2.INTER_AREA)[2:].mean())
    metered = np.clip((_TARGET / max(mean, 1e-3)) ** lens.metering, 0.6, 2.0)
    gain = np.array(lens.balance, np.float32) * np.float32(lens.exposure * metered)
    if lens.saturation != 1:
        mix = np.full((3, 3), (1 - lens.saturation) / 3) + np.eye(3) * lens.saturation
        image = cv2.transform(image, mix * gain)
    else:
        image *= gain
    if lens.vignette > 0:
        u = np.linspace(-1, 1, width, dtype=np.float32) ** 2
        v = np.linspace(-1, 1, height, dtype=np.float32)[:, None] ** 2
        image *= (1 - np.float32(lens.vignette * 0.5) * (u + v))[..., None]
    if lens.noise > 0:
        grain = np.empty((height, width, 3), np.float32)
        cv2.setRNGSeed(int(rng.integers(1, 2**31 - 1)))
        cv2.randn(grain, 0, lens.noise)
        image += grain
    picture = _response(lens.gamma)[np.clip(image * 2048, 0, 4095).astype(np.uint16)]
    if lens.jpeg < 100:
        _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, lens.jpeg])
        picture = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return np.asarray(picture, np.uint8)
