"""What every kind of road is seen under: light, weather, the lens, and the way the road bends."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .spec import Colour, Lens, Light

CAR_COLOURS: tuple[Colour, ...] = (
    (0.82, 0.83, 0.82), (0.62, 0.62, 0.6), (0.4, 0.4, 0.4), (0.12, 0.12, 0.12), (0.06, 0.06, 0.06),
    (0.36, 0.2, 0.1), (0.1, 0.1, 0.5), (0.3, 0.42, 0.5), (0.22, 0.26, 0.15), (0.55, 0.42, 0.3),
)  # fmt: skip

BARRIER_HEIGHTS = {  # metres, from and to
    "concrete": (0.7, 1.1), "rail": (0.65, 0.9), "wall": (2.5, 5.0),
    "kerb": (0.08, 0.18), "striped kerb": (0.12, 0.2),
}  # fmt: skip


def vary(rng: np.random.Generator, colour: Colour, spread: float) -> Colour:
    b, g, r = np.clip(np.array(colour) * rng.normal(1, spread, 3), 0.01, 1)
    return float(b), float(g), float(r)


def _daylight(rng: np.random.Generator) -> Light:
    """Clear to lightly clouded weather."""
    low = rng.random() < 0.3
    sun = rng.uniform(0.4, 0.85)
    return Light(
        sun=float(sun),
        ambient=float(rng.uniform(0.32, 0.5)),
        azimuth=float(rng.uniform(-np.pi, np.pi)),
        elevation=float(rng.uniform(0.25, 0.5) if low else rng.uniform(0.5, 1.3)),
        tint=vary(rng, (0.9, 0.97, 1.0) if low else (1.0, 1.0, 1.0), 0.02),
        zenith=vary(rng, (0.78, 0.55, 0.36), 0.1),
        horizon=vary(rng, (0.92, 0.86, 0.78), 0.05),
        cover=float(rng.uniform(0, 0.55)),
        visibility=float(rng.uniform(500, 3000)),
        glare=float(rng.uniform(0.1, 0.7)) if low and rng.random() < 0.4 else 0.0,
    )


def _overcast(rng: np.random.Generator) -> Light:
    """Grey sky without shadows; sometimes rain, sometimes fog."""
    grey = rng.uniform(0.5, 0.85)
    cool = (1.04, 1.0, 0.96)
    fog = rng.random() < 0.25
    return Light(
        sun=float(rng.uniform(0, 0.08)),
        ambient=float(rng.uniform(0.5, 0.85)),
        azimuth=float(rng.uniform(-np.pi, np.pi)),
        elevation=1.2,
        zenith=tuple(float(grey * 0.75 * c) for c in cool),  # type: ignore[arg-type]
        horizon=tuple(float(grey * c) for c in cool),  # type: ignore[arg-type]
        cloud=tuple(float(min(grey * 1.1 * c, 1)) for c in cool),  # type: ignore[arg-type]
        cover=float(rng.uniform(0.6, 1.0)),
        visibility=float(rng.uniform(80, 300) if fog else rng.uniform(300, 1500)),
        wet=float(rng.uniform(0.2, 0.9)) if rng.random() < 0.4 else 0.0,
    )


def _dusk(rng: np.random.Generator) -> Light:
    """A low or set sun."""
    level = rng.uniform(0.25, 0.6)
    return Light(
        sun=float(level * rng.uniform(0, 0.7)),
        ambient=float(level * 0.55),
        azimuth=float(rng.uniform(-np.pi, np.pi)),
        elevation=float(rng.uniform(0.12, 0.3)),
        tint=vary(rng, (0.85, 0.93, 1.0), 0.05),
        zenith=vary(rng, (0.5 * level + 0.15, 0.32 * level + 0.08, 0.26 * level + 0.06), 0.05),
        horizon=vary(rng, (0.45 * level + 0.1, 0.6 * level + 0.1, 0.9 * level + 0.15), 0.1),
        cloud=(0.5, 0.5, 0.65),
        cover=float(rng.uniform(0.1, 0.7)),
        visibility=float(rng.uniform(500, 2000)),
        headlights=float(rng.uniform(0.1, 0.5)),
        glare=float(rng.uniform(0.2, 0.8)) if rng.random() < 0.25 else 0.0,
    )


def _night(rng: np.random.Generator) -> Light:
    """Headlights, and street lamps in town."""
    lamps = float(rng.uniform(0.1, 0.35)) if rng.random() < 0.55 else 0.0
    dark = float(rng.uniform(0.0, 0.03))
    tint = vary(rng, (0.55, 0.85, 1.0) if lamps else (0.85, 0.95, 1.0), 0.08)
    return Light(
        sun=0.0,
        ambient=float(rng.uniform(0.015, 0.06)),
        tint=tint,
        zenith=(dark, dark * 0.8, dark * 0.8),
        horizon=(dark + 0.03, dark + 0.03, dark + 0.035),
        cover=0.0,
        visibility=float(rng.uniform(150, 600)),
        headlights=float(rng.uniform(0.5, 1.0)),
        lamps=lamps,
        wet=float(rng.uniform(0.2, 0.7)) if rng.random() < 0.25 else 0.0,
    )


def sample_light(rng: np.random.Generator) -> tuple[Light, bool]:
    """(light, whether it is night): half of all scenes lie in plain daylight."""
    weather = int(rng.choice(4, p=[0.52, 0.24, 0.12, 0.12]))
    return (_daylight, _overcast, _dusk, _night)[weather](rng), weather == 3


def sample_lens(rng: np.random.Generator, dark: bool) -> Lens:
    """Camera and windscreen."""
    blue, red = rng.normal(1, 0.05, 2)
    return Lens(
        exposure=float(np.clip(rng.normal(0.95, 0.18), 0.5, 1.5)) * (1.3 if dark else 1.0),
        gamma=float(np.clip(rng.normal(1.05, 0.15), 0.7, 1.5)),
        balance=(float(blue), 1.0, float(red)),
        saturation=float(rng.uniform(0.5, 1.2)),
        noise=float(rng.uniform(0.004, 0.05 if dark else 0.025)),
        blur=float(rng.uniform(0.25, 1.0) if rng.random() < 0.7 else rng.uniform(0, 0.3)),
        motion=float(rng.uniform(0.004, 0.018)) if rng.random() < 0.5 else 0.0,
        jpeg=int(rng.integers(45, 99)),
        vignette=float(rng.uniform(0, 0.35)),
        reflection=float(rng.uniform(0.02, 0.12)) if rng.random() < 0.2 else 0.0,
        bonnet=float(rng.uniform(0.04, 0.13)) if rng.random() < 0.3 else 0.0,
        bonnet_colour=CAR_COLOURS[int(rng.integers(len(CAR_COLOURS)))],
    )


class Alignment(NamedTuple):
    """How a road runs from the vehicle on, named as in `Scene`."""

    curvature: float
    curvature_rate: float
    vertical: float
    vertical_rate: float


def sample_alignment(rng: np.random.Generator, tightest: float, steepest: float) -> Alignment:
    """A road's bend and profile, nearly straight and level down to a radius of `tightest` metres
    in plan and `steepest` metres in profile (crests and sags)."""
    sharp = rng.random()
    if sharp < 0.4:
        curvature = rng.normal(0, 1 / 4000)
    elif sharp < 0.8:
        curvature = rng.normal(0, 1 / 700)
    else:
        curvature = rng.uniform(1 / 400, 1 / tightest) * rng.choice([-1, 1])
    rate = float(rng.normal(0, 1 / (800 * 60)) if sharp > 0.3 else 0.0)
    hilly = rng.random()
    vertical = vertical_rate = 0.0
    if hilly > 0.5:
        vertical = rng.normal(0, 1 / 2500)
        vertical_rate = rng.normal(0, 1 / (2500 * 80))
    if hilly > 0.9:
        vertical = rng.uniform(1 / 2000, 1 / steepest) * rng.choice([-1, 1])
    return Alignment(
        curvature=float(np.clip(curvature, -1 / tightest, 1 / tightest)),
        curvature_rate=rate,
        vertical=float(np.clip(vertical, -1 / steepest, 1 / steepest)),
        vertical_rate=float(np.clip(vertical_rate, -1e-5, 1e-5)),
    )
