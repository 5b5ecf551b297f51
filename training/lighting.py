"""Other light on a real image: night, patches of tree shade, a low sun; a part of augmentation.

Few labelled sets hold such light, and lanes lie in it where they lie in any other. The road is
taken for a plane below the horizon, so that shade and headlights lie on it as they would.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

NIGHT, SHADE, SUN = 1.0, 2.0, 3.0

# What `random_light` gives: kind (0 for none), horizon row, column of the middle of the light,
# strength and spread in [0, 1], factors of red, green and blue, and a number for what is many.
SIZE = 9

# Lamps and signs at night; cells of the noise that shade is made of.
_LAMPS = 8
_CELLS = 64


def random_light(
    size: tuple[int, int], probability: float, horizon: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """The light of a sample, `SIZE` numbers, for images of (width, height) with a horizon row.

    Half of them are nights, a third is shade. The same numbers are drawn whatever is chosen.
    """
    there, which = rng.random() < probability, rng.random()
    kind = NIGHT if which < 0.5 else SHADE if which < 0.83 else SUN
    middle, strength, spread = size[0] * rng.uniform(0.35, 0.65), rng.random(), rng.random()
    tint = np.exp(rng.normal(0, [0.35, 0.2, 0.45]))
    seed = rng.integers(2**24)
    return np.array([kind * there, horizon, middle, strength, spread, *tint / tint.max(), seed])


def relit(images: Tensor, lights: Tensor) -> Tensor:
    """Images B×3×H×W, 0 to 255, in the lights B×`SIZE` (in the host's memory) of `random_light`."""
    makers: dict[float, Callable[..., Tensor]] = {NIGHT: _night, SHADE: _shade, SUN: _sun}
    height, width = images.shape[2:]
    u = torch.arange(width, dtype=torch.float32, device=images.device)
    v = torch.arange(height, dtype=torch.float32, device=images.device)[:, None]
    generator = torch.Generator(images.device)
    for index, light in enumerate(lights.tolist()):
        if light[0]:
            generator.manual_seed(int(light[-1]))
            below = (v - light[1]) / height
            images[index] = makers[light[0]](images[index], light, u, below, generator)
    return images


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)


def _night(
    image: Tensor, light: list[float], u: Tensor, below: Tensor, generator: torch.Generator
) -> Tensor:
    """Little light from all sides, in one colour, headlights on the road and lamps above it."""
    _, _, middle, strength, spread, *tint, _ = light
    width, height = len(u), len(below)
    image = image * (100 / image.mean().clamp(min=20))
    ambient = [0.08 * 6**strength * part for part in tint]
    down = below.clamp(min=0)
    across = (u - middle) / ((0.12 + (0.5 + spread) * down) * width)
    reach = (below - 0.3 - 0.2 * spread) / 0.22
    beam = torch.exp(-across.square() - reach.square()) * (below > 0)
    lit = (0.5 + 0.4 * strength) * beam
    dark = torch.stack([part * (given + lit) for part, given in zip(image, ambient, strict=True)])
    lamps = _uniform((_LAMPS, 7), generator)
    for column, row, size, bright, *colour in lamps[: 1 + int(_LAMPS * spread)]:
        sigma = 1 + 4 * size.square()
        away = (u - column * width).square()
        up = (below + row * 0.4) * height
        glow = torch.exp(-(away + up.square()).sqrt() / (2 * sigma))
        streak = 0.12 * torch.exp(-away / (8 * sigma.square())) * (below > 0.02)
        shown = torch.stack(colour)[:, None, None].sqrt() * (glow + streak)
        dark += (60 + 300 * bright) * shown
    return dark


def _shade(
    image: Tensor, light: list[float], u: Tensor, below: Tensor, generator: torch.Generator
) -> Tensor:
    """Sun through leaves: dark patches on the road, large and small, and glaring light between."""
    _, _, middle, strength, spread, *_ = light
    far = 0.06 + below.clamp(min=0)
    cells = _uniform((1, 2, _CELLS, _CELLS), generator)
    side, ahead = (u - middle) / (len(u) * far), (1 / far).expand(len(below), len(u))
    noise = torch.zeros_like(side)
    for level, pitch in enumerate((0.35 + 0.4 * spread, 1.3 + spread)):
        # The noise repeats by mirroring.
        place = torch.stack([side * pitch, ahead * pitch * 0.5], dim=-1) * 2 / 8
        found = F.grid_sample(
            cells[:, level : level + 1], place[None], padding_mode="reflection", align_corners=False
        )
        noise += found[0, 0] * (0.62 - 0.24 * level)
    shadow = torch.sigmoid((noise - 0.5 + 0.06 * (strength - 0.5)) * (12 + 50 * spread))
    sunny = image * (1.0 + 0.5 * strength)
    return torch.lerp(sunny, image * (0.22 + 0.3 * (1 - strength)), shadow * (below > 0))


def _sun(
    image: Tensor, light: list[float], u: Tensor, below: Tensor, generator: torch.Generator
) -> Tensor:
    """A low sun ahead: a glow about it, its mirror image on the road, and a veil over all."""
    _, _, middle, strength, spread, *_ = light
    away = ((u - middle) / len(u)).square()
    sigma = 0.05 + 0.2 * spread
    glow = torch.exp(-(away + (below + 0.08).square()) / (2 * sigma**2))
    road = torch.exp(-away / (0.02 + 0.06 * spread) ** 2 / 2) * (below > 0)
    veil = 0.15 + 0.35 * strength
    dull = image * (1 - veil) * (0.6 + 0.4 * spread) + 255 * veil * 0.7
    return dull + 255 * (0.4 + strength) * glow + 150 * strength * road
