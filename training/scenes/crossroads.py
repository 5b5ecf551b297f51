"""Random crossroads: open pavement with zebra crossings, and no line that would be a lane's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .beside import sample_barrier, sample_roadside
from .conditions import sample_alignment, sample_lens
from .dice import Dice
from .mix import Mix
from .road_geometry import LABEL_RANGE, Marking
from .scene_camera import SceneCamera
from .spec import Light, Patch, Pavement, Scene, Vehicle
from .traffic import lane_of, vehicle


def _beyond(dice: Dice, left: float, lane: float, count: int, start: float) -> tuple[Marking, ...]:
    """Paint of the road that goes on behind, which nobody labels from here."""
    wear = dice.uniform(0.1, 0.8)
    return tuple(
        Marking(
            left - i * lane, "solid" if i in (0, count) else "dashed", period=9.0, length=4.0,
            wear=wear, start=start, decoy=True,
        )
        for i in range(count + 1)
    )  # fmt: skip


def _zebra(dice: Dice, s: float, right: float, left: float, paint: float) -> list[Patch]:
    bars = np.arange(right + 0.3, left - 0.5, dice.uniform(0.9, 1.3)).tolist()
    return [Patch(s, s + dice.uniform(3, 5), d, d + 0.5, 1, paint) for d in bars]


def _vehicles(
    dice: Dice, near: float, far: float, left: float, lane: float, count: int
) -> list[Vehicle]:
    """Traffic across, turning, and waiting or leaving beyond."""
    found = []
    for _ in range(dice.integer(0, 5)):
        s, side = dice.uniform(max(near, 9.0), far), dice.either()
        turn = side * (np.pi / 2 if dice.chance(0.7) else dice.uniform(0.3, 1.3))
        kind = dice.choice(("car", "suv", "van", "bus"), (0.6, 0.25, 0.1, 0.05))
        found.append(vehicle(dice, s, dice.uniform(-22, 22), kind, yaw=float(turn)))
    for i in range(count):
        if dice.chance(0.6):
            d, towards = left - (i + 0.5) * lane, i < count // 2
            found += lane_of(dice, d, far + dice.uniform(4, 25), 12, 3, far + 60, towards)
    return found


def crossroads(
    dice: Dice, mix: Mix, camera: SceneCamera, seed: int, light: Light, dark: bool
) -> Scene:
    """A crossing seen from its stop line or from its middle; `dark` makes the lens a night's."""
    s0 = float(seed % 977)
    near, width = dice.uniform(-14, 3), dice.uniform(16, 36)
    far = max(near + width, 14.0)
    count, lane = dice.integer(2, 7), dice.uniform(2.9, 3.6)
    left = (dice.integer(1, count) + 0.5) * lane
    right = left - count * lane
    sides = left + dice.uniform(0.3, 2.5), right - dice.uniform(0.3, 2.5)
    grey, warm, paint = dice.uniform(0.2, 0.5), dice.normal(0, 0.025), dice.uniform(0.5, 1.0)
    patches = _zebra(dice, s0 + far - dice.uniform(0, 4), right, left, paint)
    if near > -4 and dice.chance(0.6):
        patches += _zebra(dice, s0 + near + 1.5, right, left, paint)
    shade = dice.chance(mix.shade) and light.sun > 0.2
    slabs = dice.uniform(0.4, 0.62)
    cross = s0 + near, s0 + far
    pavement = Pavement(
        left=sides[0],
        right=sides[1],
        cross=cross,
        base=(grey * (1 - warm), grey, grey * (1 + warm)),
        lane_edges=(left, right),
        lane_gains=(1.0,),
        shoulder_gain=1.0,
        edge_gain=1.0,
        grain=dice.uniform(0.03, 0.13),
        streaks=dice.uniform(0.01, 0.05),
        blotches=dice.uniform(0.03, 0.12),
        tracks=0.0,
        oil=0.0,
        cracks=dice.uniform(0.2, 0.7) if dice.chance(0.35) else 0.0,
        patches=tuple(patches) if dice.chance(0.8) else (),
        verge=(slabs, slabs, slabs),
        verge_width=dice.uniform(3, 9),
        field=(slabs, slabs, slabs),
        paint=dice.uniform(0.6, 1.0),
        dapple=dice.uniform(0.25, 0.6) if shade and dice.chance(0.4) else 0.0,
    )
    barriers = []
    for edge in sides:
        one = sample_barrier(dice, edge, {"kerb": 0.6, "fence": 0.3, "panels": 0.1})
        barriers += [replace(one, start=cross[1] + 2), replace(one, end=cross[0] - 1)]
    roadside = sample_roadside(dice, *sides, light.lamps > 0, True, dice.uniform(2, 5))
    return Scene(
        seed=seed,
        camera=camera,
        light=light,
        markings=_beyond(dice, left, lane, count, cross[1] + dice.uniform(4, 9)),
        pavement=pavement,
        barriers=tuple(barriers),
        vehicles=tuple(_vehicles(dice, near, far, left, lane, count)),
        roadside=replace(roadside, gap=cross),
        lens=sample_lens(dice, mix, dark),
        **sample_alignment(dice, tightest=300, steepest=2000)._asdict(),
        offset=dice.normal(0, 0.8),
        heading=dice.normal(0, 0.06),
        reach=LABEL_RANGE,
    )
