"""What every kind of road is seen under: light, weather, the lens, and the way the road bends."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .dice import Dice
from .mix import Mix
from .spec import Colour, Lens, Light

CAR_COLOURS: tuple[Colour, ...] = (
    (0.82, 0.83, 0.82), (0.62, 0.62, 0.6), (0.4, 0.4, 0.4), (0.12, 0.12, 0.12), (0.06, 0.06, 0.06),
    (0.36, 0.2, 0.1), (0.1, 0.1, 0.5), (0.3, 0.42, 0.5), (0.22, 0.26, 0.15), (0.55, 0.42, 0.3),
)  # fmt: skip

BARRIER_HEIGHTS = {  # metres, from and to
    "concrete": (0.7, 1.1), "rail": (0.65, 0.9), "wall": (2.5, 5.0),
    "kerb": (0.08, 0.18), "striped kerb": (0.12, 0.2), "fence": (0.8, 1.2), "panels": (0.9, 2.0),
}  # fmt: skip


def _daylight(dice: Dice, mix: Mix) -> Light:
    """Clear to lightly clouded weather."""
    dazzle = dice.chance(mix.dazzle)
    low = dazzle or dice.chance(0.2)
    sun = dice.uniform(0.4, 0.85)
    return Light(
        sun=sun,
        ambient=dice.uniform(0.32, 0.5),
        azimuth=dice.normal(0, 0.3) if dazzle else dice.uniform(-np.pi, np.pi),
        elevation=dice.uniform(0.15, 0.5) if low else dice.uniform(0.5, 1.3),
        tint=dice.vary((0.9, 0.97, 1.0) if low else (1.0, 1.0, 1.0), 0.02),
        zenith=dice.vary((0.78, 0.55, 0.36), 0.1),
        horizon=dice.vary((0.92, 0.86, 0.78), 0.05),
        cover=dice.uniform(0, 0.55),
        visibility=dice.uniform(500, 3000),
        glare=dice.uniform(0.3, 1.3) if dazzle else 0.0,
    )


def _overcast(dice: Dice, mix: Mix) -> Light:
    """Grey sky without shadows; sometimes rain, sometimes fog."""
    grey = dice.uniform(0.5, 0.85)
    fog = dice.chance(0.25)

    def cool(tone: float) -> Colour:
        return min(tone * 1.04, 1.0), min(tone, 1.0), tone * 0.96

    return Light(
        sun=dice.uniform(0, 0.08),
        ambient=dice.uniform(0.5, 0.85),
        azimuth=dice.uniform(-np.pi, np.pi),
        elevation=1.2,
        zenith=cool(grey * 0.75),
        horizon=cool(grey),
        cloud=cool(grey * 1.1),
        cover=dice.uniform(0.6, 1.0),
        visibility=dice.uniform(80, 300) if fog else dice.uniform(300, 1500),
        wet=dice.uniform(0.2, 1.0) if dice.chance(mix.wet) else 0.0,
    )


def _dusk(dice: Dice, mix: Mix) -> Light:
    """A low or set sun."""
    level, dazzle = dice.uniform(0.25, 0.6), dice.chance(mix.dazzle)
    return Light(
        sun=level * dice.uniform(0, 0.7),
        ambient=level * 0.55,
        azimuth=dice.normal(0, 0.3) if dazzle else dice.uniform(-np.pi, np.pi),
        elevation=dice.uniform(0.08, 0.3),
        tint=dice.vary((0.85, 0.93, 1.0), 0.05),
        zenith=dice.vary((0.5 * level + 0.15, 0.32 * level + 0.08, 0.26 * level + 0.06), 0.05),
        horizon=dice.vary((0.45 * level + 0.1, 0.6 * level + 0.1, 0.9 * level + 0.15), 0.1),
        cloud=(0.5, 0.5, 0.65),
        cover=dice.uniform(0.1, 0.7),
        visibility=dice.uniform(500, 2000),
        headlights=dice.uniform(0.1, 0.5),
        glare=dice.uniform(0.3, 1.0) if dazzle else 0.0,
    )


# Light of street lamps: sodium, greenish mercury, white diodes.
_LAMPS: tuple[Colour, ...] = ((0.12, 0.55, 1.0), (0.1, 0.85, 0.9), (0.8, 0.92, 1.0))


def _night(dice: Dice, mix: Mix) -> Light:
    """Headlights alone, and street lamps in town."""
    lamps = dice.uniform(0.08, 0.45) if dice.chance(0.55) else 0.0
    dark = dice.uniform(0.0, 0.025)
    lit = dice.choice(_LAMPS, (0.5, 0.2, 0.3)) if lamps else (0.85, 0.95, 1.0)
    return Light(
        sun=0.0,
        ambient=dice.uniform(0.01, 0.05) if lamps else dice.uniform(0.002, 0.03),
        tint=dice.vary(lit, 0.08),
        zenith=(dark, dark * 0.8, dark * 0.8),
        horizon=(dark + 0.02, dark + 0.02, dark + 0.025),
        cover=0.0,
        visibility=dice.uniform(150, 600),
        headlights=dice.uniform(0.4, 1.1),
        reach=dice.uniform(16, 45) if dice.chance(0.7) else 0.0,
        lamps=lamps,
        wet=dice.uniform(0.2, 1.0) if dice.chance(mix.wet) else 0.0,
    )


def sample_light(dice: Dice, mix: Mix) -> tuple[Light, bool]:
    """(light, whether it is night)."""
    roll = dice.roll()
    weather = _daylight
    for kind, share in ((_overcast, mix.overcast), (_dusk, mix.dusk), (_night, mix.night)):
        weather = kind if 0 <= roll < share else weather
        roll -= share
    return weather(dice, mix), weather is _night


def sample_lens(dice: Dice, mix: Mix, dark: bool) -> Lens:
    """Camera and windscreen."""
    blue, red = dice.normal(1, 0.04), dice.normal(1, 0.04)
    if dice.chance(0.08):  # a white balance that is far off
        blue, red = dice.choice(((1.3, 0.9), (1.2, 1.1), (0.75, 1.15)))
    cheap, bonnet = dice.chance(mix.dashcam), dice.chance(mix.bonnet)
    exposure = dice.uniform(0.6, 1.9) if dark else float(np.clip(dice.normal(0.95, 0.18), 0.5, 1.5))
    return Lens(
        exposure=exposure,
        metering=dice.uniform(0, 0.6) if dark else 0.6,
        gamma=float(np.clip(dice.normal(1.05, 0.15), 0.7, 1.5)),
        balance=(blue, 1.0, red),
        saturation=dice.uniform(0.5, 1.4 if cheap else 1.2),
        noise=dice.uniform(0.01, 0.06) if dark else dice.uniform(0.004, 0.025),
        blur=dice.uniform(0.25, 1.2 if dark else 1.0) if dice.chance(0.7) else dice.uniform(0, 0.3),
        motion=dice.uniform(0.004, 0.03 if dark else 0.018) if dice.chance(0.5) else 0.0,
        jpeg=dice.integer(12, 60) if cheap else dice.integer(45, 99),
        vignette=dice.uniform(0, 0.45),
        reflection=dice.uniform(0.02, 0.14) if dice.chance(0.3) else 0.0,
        smear=dice.uniform(0.1, 0.8) if dice.chance(0.3) else 0.0,
        bonnet=dice.uniform(0.04, 0.22) if bonnet else 0.0,
        bonnet_colour=(0.04, 0.04, 0.04) if dice.chance(0.4) else dice.choice(CAR_COLOURS),
        bonnet_round=dice.uniform(0.1, 0.7),
        bonnet_shift=dice.normal(0, 0.15),
        gloss=0.0 if dice.chance(0.2) else dice.uniform(0.2, 1.0),
        detail=dice.uniform(0.4, 1.0) if cheap and dice.chance(0.6) else 1.0,
        sharpen=dice.uniform(0.3, 2.0) if cheap and dice.chance(0.6) else 0.0,
        stamp=dice.integer(1, 10**6) if cheap and dice.chance(0.6) else 0,
    )


class Alignment(NamedTuple):
    """How a road runs from the vehicle on, named as in `Scene`."""

    curvature: float
    curvature_rate: float
    vertical: float
    vertical_rate: float


def sample_alignment(dice: Dice, tightest: float, steepest: float) -> Alignment:
    """A road's bend and profile, nearly straight and level down to a radius of `tightest` metres
    in plan and `steepest` metres in profile (crests and sags)."""
    sharp = dice.roll()
    if sharp < 0.4:
        curvature = dice.normal(0, 1 / 4000)
    elif sharp < 0.8:
        curvature = dice.normal(0, 1 / 700)
    else:
        curvature = dice.uniform(1 / 400, 1 / tightest) * dice.either()
    rate = dice.normal(0, 1 / (800 * 60)) if sharp > 0.3 else 0.0
    hilly = dice.roll()
    vertical = vertical_rate = 0.0
    if hilly > 0.5:
        vertical = dice.normal(0, 1 / 2500)
        vertical_rate = dice.normal(0, 1 / (2500 * 80))
    if hilly > 0.9:
        vertical = dice.uniform(1 / 2000, 1 / steepest) * dice.either()
    return Alignment(
        curvature=float(np.clip(curvature, -1 / tightest, 1 / tightest)),
        curvature_rate=rate,
        vertical=float(np.clip(vertical, -1 / steepest, 1 / steepest)),
        vertical_rate=float(np.clip(vertical_rate, -1e-5, 1e-5)),
    )
