"""From radiance to a camera's picture: glare, reflections, motion, exposure, noise, JPEG."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from .scene_camera import Array, SceneCamera
from .spec import Colour, Lens
from .textures import noise, sample

_TARGET = 0.45  #: mean radiance the exposure aims at


def add_glows(
    image: Array, glows: Sequence[tuple[float, float, float, Colour]], stretch: float = 1.0
) -> None:
    """Adds soft discs (u, v, radius in pixels, colour) to a float32 image in place; `stretch`
    makes them that much higher than wide."""
    height, width = image.shape[:2]
    for u, v, radius, colour in glows:
        reach = int(3.2 * radius) + 2
        x0, x1 = max(int(u) - reach, 0), min(int(u) + reach + 1, width)
        tall = int(reach * stretch)
        y0, y1 = max(int(v) - tall, 0), min(int(v) + tall + 1, height)
        if x0 >= x1 or y0 >= y1:
            continue
        dx = (np.arange(x0, x1, dtype=np.float32) - u) / radius
        dy = (np.arange(y0, y1, dtype=np.float32)[:, None] - v) / (radius * stretch)
        disc = np.exp(-(dx * dx + dy * dy) * 1.2) + 0.15 * np.exp(-(dx * dx + dy * dy) * 0.25)
        image[y0:y1, x0:x1] += disc[..., None] * np.array(colour, np.float32)


def bonnet_edge(lens: Lens, width: int, height: int) -> Array:
    """The row of each column at which the own bonnet begins, float32 (W,)."""
    aside = np.abs(np.linspace(-1, 1, width, dtype=np.float32) - np.float32(lens.bonnet_shift))
    return np.asarray(height * (1 - lens.bonnet * (1 - lens.bonnet_round * aside**2.5)), np.float32)


def _bonnet(image: Array, lens: Lens, horizon: float) -> None:
    """Draws the own bonnet, which mirrors what stands above the horizon, or a dull dashboard."""
    height, width = image.shape[:2]
    edge = bonnet_edge(lens, width, height)
    top = max(int(edge.min()) - 1, 0)
    v = np.arange(top, height, dtype=np.float32)[:, None]
    inside = np.clip(v - edge + 0.5, 0, 1)[..., None]
    depth = np.clip((v - edge) / np.float32(height * lens.bonnet), 0, 1)
    level = np.float32(image[::4, ::4].mean() * 1.3)
    tone = np.array(lens.bonnet_colour, np.float32) * (1.15 - 0.5 * depth)[..., None] * level
    if lens.gloss:
        # The nearer to the eye, the higher up is what it mirrors, and the less it does.
        small = cv2.resize(image, (width // 4, height // 4), interpolation=cv2.INTER_AREA)
        small = cv2.GaussianBlur(small, (0, 0), 1.2)
        u = np.broadcast_to(np.linspace(0.1, 0.9, width, dtype=np.float32), depth.shape)
        rows = np.float32(horizon / 4) * (1 - 0.95 * depth) + np.float32(1.5)
        mirror = cv2.remap(small, u * np.float32(width / 4), rows, cv2.INTER_LINEAR)
        tone += np.float32(lens.gloss) * (0.3 + 0.7 * np.exp(-3 * depth))[..., None] * mirror
    rim = np.exp(-(((v - edge - 1.5) / np.float32(0.006 * height)) ** 2))[..., None]
    tone += rim * np.float32(0.35 * lens.gloss) * level
    image[top:] += inside * (tone - image[top:])


def _windscreen(image: Array, lens: Lens, rng: np.random.Generator) -> None:
    """Adds reflections of the dashboard, and light that dirt scatters, in place."""
    height, width = image.shape[:2]
    # Smooth enough to be made at a quarter of the size.
    v, u = np.mgrid[0:height:4, 0:width:4].astype(np.float32) / np.float32(width)
    streaks = sample(noise(1.6, 10), v * 0.35, u * 0.3 + np.float32(rng.random()))
    streaks = cv2.resize(streaks, (width, height), interpolation=cv2.INTER_LINEAR)
    if lens.reflection > 0:
        strength = np.float32(lens.reflection * 2 * image[::4, ::4].mean())
        image += (strength * np.clip(streaks + 0.3, 0, 2))[..., None]
    if lens.smear > 0:
        small = cv2.resize(image, (32, 18), interpolation=cv2.INTER_AREA)
        light = cv2.GaussianBlur(np.maximum(small - 0.5, 0), (0, 0), 5.0)
        light = cv2.resize(light, (width, height), interpolation=cv2.INTER_LINEAR)
        image += light * (np.float32(lens.smear) * np.clip(1 + 0.8 * streaks, 0, 3))[..., None]


def _streaked(image: Array, camera: SceneCamera, motion: float) -> Array:
    """The image as a long exposure sees it: drawn out from the vanishing point."""
    horizon = camera.cy - camera.fy * np.tan(camera.pitch)
    centre = camera.cx + camera.fx * np.tan(camera.yaw)
    total = image.copy()
    for step in (1, 2):
        zoom = 1 + motion * step / 2
        matrix = np.array([[zoom, 0, centre * (1 - zoom)], [0, zoom, horizon * (1 - zoom)]])
        size = (camera.width, camera.height)
        total += cv2.warpAffine(
            image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    return np.asarray(total * np.float32(1 / 3), np.float32)


def _recorded(picture: NDArray[np.uint8], lens: Lens) -> NDArray[np.uint8]:
    """What a cheap recorder makes of a picture: coarse, sharpened, stamped, compressed."""
    height, width = picture.shape[:2]
    if lens.sharpen > 0:
        soft = cv2.GaussianBlur(picture, (0, 0), 1.3 * width / 640)
        picture = cv2.addWeighted(picture, 1 + lens.sharpen, soft, -lens.sharpen, 0)
    if lens.stamp:
        _stamp(picture, lens.stamp)
    if lens.detail < 1:
        size = (round(width * lens.detail), round(height * lens.detail))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    if lens.jpeg < 100:
        _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, lens.jpeg])
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR)  # type: ignore[assignment]
    if lens.detail < 1:
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(picture, np.uint8)


def _stamp(picture: NDArray[np.uint8], number: int) -> None:
    """Burns date, time and speed into a corner, in place."""
    height, width = picture.shape[:2]
    day, seconds = number % 28 + 1, number % 86400
    text = f"{2015 + number % 11}-{number % 12 + 1:02}-{day:02} "
    text += f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    if number % 3 == 0:
        text += f"  {number % 97:03} KM/H"
    scale = width / 640 * (0.35 + 0.2 * (number % 5) / 4)
    (wide, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    left = 6 if number % 2 else width - wide - 6
    foot = high + 6 if number % 7 < 3 else height - 7
    colours = ((40, 110, 235), (235, 235, 235), (60, 220, 240))
    place, font = (left, foot), cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(picture, text, (left + 1, foot + 1), font, scale, (10, 10, 10), 1, cv2.LINE_AA)
    cv2.putText(picture, text, place, font, scale, colours[number % 3], 1, cv2.LINE_AA)


def _response(gamma: float) -> NDArray[np.uint8]:
    """8-bit values of radiances 0..2 in 4096 steps: a shoulder instead of hard clipping."""
    value = np.arange(4096) / 2048
    value = np.where(value > 0.8, 1 - 0.2 * np.exp(-(value - 0.8) * 5), value) ** gamma
    return np.asarray(np.round(value * 255), np.uint8)


def develop(
    image: Array, camera: SceneCamera, lens: Lens, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """The final BGR uint8 picture of a float32 radiance image (H, W, 3); changes its input."""
    height, width = image.shape[:2]
    scale = width / 640
    if lens.motion > 0:
        image = _streaked(image, camera, lens.motion)
    if lens.bonnet > 0:
        _bonnet(image, lens, float(camera.cy - camera.fy * np.tan(camera.pitch)))
    if lens.reflection > 0 or lens.smear > 0:
        _windscreen(image, lens, rng)
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
    return _recorded(picture, lens)
