"""Random roads of one to five marked lanes: motorways, trunk roads, wide streets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from .camera import Camera
from .conditions import BARRIER_HEIGHTS, CAR_COLOURS, sample_alignment, sample_lens
from .dice import Dice
from .road import LABEL_RANGE, Marking
from .spec import (
    Barrier,
    Colour,
    Light,
    Patch,
    Pavement,
    Roadside,
    Scene,
    Skid,
    Structure,
    Vehicle,
)  # fmt: skip

_DASHES = (  # period and length in metres
    (12.2, 3.05), (12.2, 3.66), (18.0, 6.0), (12.0, 6.0), (9.0, 3.0), (15.0, 6.0), (12.0, 3.0),
)  # fmt: skip
_VERGES: tuple[Colour, ...] = (
    (0.28, 0.36, 0.42), (0.3, 0.42, 0.52), (0.2, 0.33, 0.28), (0.33, 0.35, 0.36),
)  # fmt: skip
_FIELDS: tuple[Colour, ...] = (
    (0.16, 0.3, 0.24), (0.3, 0.45, 0.56), (0.14, 0.24, 0.2), (0.2, 0.36, 0.36),
)  # fmt: skip


@dataclass(frozen=True)
class _Plan:
    """What the parts of a marked road agree on."""

    us: bool  #: North American style
    concrete: bool
    edges: tuple[float, ...]  #: d of the lanes' bounds, left to right
    ego: int  #: number of the own lane from the left
    width: float  #: metres of a lane
    s0: float  #: metres into the world
    oncoming: bool = False  #: lanes left of the own one come towards us


def _plan(dice: Dice, s0: float) -> _Plan:
    us = dice.chance(0.55)
    concrete = us and dice.chance(0.6)
    lanes = dice.choice((1, 2, 3, 4, 5), (0.05, 0.22, 0.3, 0.28, 0.15))
    width = float(np.clip(dice.normal(3.62, 0.16) if us else dice.uniform(2.8, 4.0), 2.8, 4.0))
    ego = dice.integer(0, lanes)
    edges = [0.0]
    for _ in range(lanes):
        edges.append(edges[-1] - width * dice.uniform(0.97, 1.03))
    middle = (edges[ego] + edges[ego + 1]) / 2
    return _Plan(us, concrete, tuple(edge - middle for edge in edges), ego, width, s0)


def _markings(dice: Dice, plan: _Plan) -> tuple[Marking, ...]:
    """Styles for the lanes' bounds, left to right."""
    wear_level = float(dice.rng.beta(1.2, 3.0))
    width = dice.uniform(0.09, 0.2)
    period, length = (12.2, 3.05) if plan.us else dice.choice(_DASHES)
    dots = plan.us and dice.chance(0.35)
    seam = dice.either() * dice.uniform(0.1, 0.22) if plan.concrete else 0.0
    left_yellow = dice.chance(0.75 if plan.us else 0.15)
    phase = dice.uniform(0, period)
    markings = []
    for i, offset in enumerate(plan.edges):
        outer = i in (0, len(plan.edges) - 1)
        usual = not dice.chance(0.07 if outer else 0.1)
        kind = "solid" if outer == usual else "dashed"
        double = ""
        if dice.chance(0.12 if outer else 0.06):
            double = "solid" if dice.chance(0.7) else "dashed"
        yellow = i == 0 and left_yellow
        if i == 0 and double and dice.chance(0.5):
            yellow = True
        marking = Marking(
            offset,
            kind,
            "yellow" if yellow else "white",
            width=float(np.clip(width * dice.uniform(0.85, 1.2), 0.08, 0.28)),
            period=period,
            length=length * dice.uniform(0.9, 1.1),
            phase=phase if dice.chance(0.8) else dice.uniform(0, period),
            double=double,
            gap=dice.uniform(0.1, 0.2),
            wear=float(np.clip(wear_level + dice.normal(0, 0.12), 0, 0.8)),
            seam=seam if not outer or dice.chance(0.5) else 0.0,
        )
        if kind == "dashed" and dots:
            marking = replace(
                marking, kind="dots", double="", period=dice.choice((1.22, 2.44, 4.88, 12.2)),
                width=dice.uniform(0.1, 0.13), length=0.12,
            )  # fmt: skip
        if dice.chance(0.05):  # paint that is gone over a stretch; people label it all the same
            start = plan.s0 + dice.uniform(0, 40)
            end = start + dice.uniform(20, 50)
            marking = replace(marking, wear=1.0, worn_from=start, worn_to=end)
        markings.append(marking)
    if len(markings) > 2 and dice.chance(0.08):
        gone = dice.integer(0, len(markings))
        markings[gone] = Marking(plan.edges[gone], "none")
    return tuple(markings)


def _repairs(dice: Dice, plan: _Plan) -> list[Patch]:
    patches = []
    if dice.chance(0.4):
        for _ in range(dice.integer(1, 6)):
            lane = dice.integer(0, len(plan.edges) - 1)
            start = plan.s0 + dice.uniform(-5, 80)
            inset = dice.uniform(0, 0.6)
            patches.append(
                Patch(start, start + dice.uniform(2, 30), plan.edges[lane + 1] + inset,
                      plan.edges[lane] - dice.uniform(0, 1.2), dice.uniform(0.7, 1.25))
            )  # fmt: skip
    return patches


def _streaks(dice: Dice, plan: _Plan) -> list[Skid]:
    skids = []
    if dice.chance(0.5):
        for _ in range(dice.integer(1, 8)):
            start = plan.s0 + dice.uniform(-5, 60)
            skids.append(
                Skid(start, start + dice.uniform(5, 60),
                     dice.uniform(plan.edges[-1], plan.edges[0]), dice.normal(0, 0.02),
                     dice.normal(0, 0.002), dice.uniform(0.03, 0.22), dice.uniform(0.55, 0.9))
            )  # fmt: skip
    return skids


def _symbols(dice: Dice, edges: tuple[float, ...], s0: float) -> tuple[list[Patch], list[Skid]]:
    """Paint that is no lane marking (arrows, crossings, stop lines) and shadows of poles."""
    patches, skids = [], []
    kind = dice.choice(("", "arrow", "zebra", "stop"), (0.86, 0.08, 0.03, 0.03))
    start = s0 + dice.uniform(5, 45)
    paint = dice.uniform(0.5, 1.0)
    if kind == "arrow":
        for left, right in pairwise(edges):
            d = (left + right) / 2
            patches.append(Patch(start, start + 3, d - 0.08, d + 0.08, 1, paint))
            for i in range(5):
                half, at = 0.08 * (5 - i), start + 3 + 0.35 * i
                patches.append(Patch(at, at + 0.35, d - half, d + half, 1, paint))
    elif kind == "zebra":
        for d in np.arange(edges[-1] + 0.3, edges[0] - 0.5, 1.0).tolist():
            patches.append(Patch(start, start + 3.5, d, d + 0.5, 1, paint))
    elif kind == "stop":
        lane = dice.integer(0, len(edges) - 1)
        patches.append(Patch(start, start + 0.4, edges[-1], edges[lane], 1, paint))
    if dice.chance(0.08):
        slant = dice.either() * dice.uniform(1.5, 6)
        wide = (edges[0] - edges[-1] + 8) / abs(slant)
        foot = edges[-1] - 4 if slant > 0 else edges[0] + 4
        width = dice.uniform(0.2, 0.5) * abs(slant)
        skids.append(Skid(start, start + wide, foot, slant, 0.0, width, 0.5))
    return patches, skids


def _opposite(
    dice: Dice, plan: _Plan, near: float
) -> tuple[tuple[float, float], tuple[Marking, ...], list[Vehicle]]:
    """(right and left edge, paint, vehicles) of another carriageway from d = near on."""
    count = dice.integer(2, 5)
    first = near + 1.5
    paint = tuple(
        Marking(
            first + i * plan.width, "solid" if i in (0, count) else "dashed", decoy=True,
            wear=dice.uniform(0, 0.6), colour="yellow" if plan.us and i == 0 else "white",
        )
        for i in range(count + 1)
    )  # fmt: skip
    vehicles = []
    for i in range(count):
        s = dice.uniform(10, 60)
        while s < 220 and dice.chance(0.8):
            kind = dice.choice(("car", "suv", "van"))
            colour = dice.vary(dice.choice(CAR_COLOURS), 0.06)
            vehicles.append(Vehicle(s, first + (i + 0.5) * plan.width, kind, colour, oncoming=True))
            s += dice.uniform(15, 70)
    return (near, near + count * plan.width + 3), paint, vehicles


def _traffic(dice: Dice, plan: _Plan) -> list[Vehicle]:
    density = dice.choice((0.0, 0.4, 1.0, 1.6), (0.15, 0.35, 0.35, 0.15))
    vehicles = []
    for lane, (left, right) in enumerate(pairwise(plan.edges)):
        own = lane == plan.ego
        s = dice.uniform(8, 40) / max(density, 0.3) if own else dice.uniform(-5, 45)
        while s < 200 and density > 0:
            towards = plan.oncoming and lane < plan.ego
            kind = dice.choice(("car", "suv", "van", "truck"), (0.5, 0.28, 0.1, 0.12))
            if towards and kind == "truck":
                kind = "van"
            white = kind in ("truck", "van") and dice.chance(0.6)
            colour = (0.75, 0.76, 0.75) if white else dice.choice(CAR_COLOURS)
            vehicles.append(
                Vehicle(
                    s, (left + right) / 2 + dice.normal(0, 0.2), kind, dice.vary(colour, 0.06),
                    towards, braking=dice.chance(0.15), yaw=dice.normal(0, 0.012),
                )
            )  # fmt: skip
            s += 16 + dice.exponential(45 / density)
    return vehicles


def _barriers(dice: Dice, pavement: Pavement) -> tuple[Barrier, ...]:
    barriers = []
    for side, edge, share in ((1, pavement.left, 0.65), (-1, pavement.right, 0.4)):
        if dice.chance(share):
            kind = dice.choice(("concrete", "rail", "wall", "kerb"), (0.48, 0.32, 0.1, 0.1))
            tone = dice.uniform(0.35, 0.65)
            d, height = edge + side * dice.uniform(0.1, 0.8), dice.uniform(*BARRIER_HEIGHTS[kind])
            barriers.append(Barrier(d, kind, height, dice.vary((tone, tone, tone), 0.05)))
    return tuple(barriers)


def _structures(dice: Dice, s0: float) -> tuple[Structure, ...]:
    if not dice.chance(0.22):
        return ()
    bridge = dice.choice((True, False))
    at = s0 + dice.uniform(8, 150)
    length = dice.uniform(8, 30) if bridge else 0.3
    clearance = dice.uniform(5, 6.5)
    colour = dice.vary((0.45, 0.46, 0.47) if bridge else (0.24, 0.3, 0.08), 0.1)
    return (Structure(at, "bridge" if bridge else "gantry", length, clearance, colour),)


def _roadside(dice: Dice, left: float, right: float, lamps: bool) -> Roadside:
    """What stands beyond d = left and d = right."""
    return Roadside(
        trees=dice.choice((0.0, dice.uniform(0.1, 1.0)), (0.15, 0.85)),
        leaves=dice.vary((0.12, 0.23, 0.18) if dice.chance(0.7) else (0.12, 0.22, 0.26), 0.15),
        tree_left=left + dice.uniform(3.5, 14),
        tree_right=right - dice.uniform(3.5, 12),
        posts=dice.uniform(28, 50) if lamps or dice.chance(0.2) else 0.0,
        hills=dice.uniform(0, 0.09),
        hill_colour=dice.vary((0.3, 0.33, 0.3) if dice.chance(0.6) else (0.28, 0.4, 0.48), 0.1),
        treeline=dice.uniform(0.004, 0.04),
        treeline_colour=dice.vary((0.12, 0.17, 0.14), 0.15),
    )


def marked_road(dice: Dice, camera: Camera, seed: int, light: Light, dark: bool) -> Scene:
    """A road whose lanes are marked; `dark` makes the lens that of a night."""
    plan = _plan(dice, float(seed % 977))
    edges = plan.edges
    changing = dice.chance(0.16)
    offset = dice.uniform(-0.5, 0.5) * plan.width if changing else dice.normal(0, 0.28)
    heading = dice.normal(0, 0.03 if changing else 0.008)
    alignment = sample_alignment(dice, tightest=150, steepest=800)
    plan = replace(plan, oncoming=not plan.us and plan.ego > 0 and dice.chance(0.3))
    markings = _markings(dice, plan)
    left, right = edges[0] + dice.uniform(0.3, 3.2), edges[-1] - dice.uniform(0.3, 3.5)
    grey = dice.uniform(0.42, 0.66) if plan.concrete else dice.uniform(0.2, 0.5)
    warm = dice.normal(0, 0.025)
    patches, skids = _repairs(dice, plan), _streaks(dice, plan)
    symbols, shadows = _symbols(dice, edges, plan.s0)
    second, opposite = None, list[Vehicle]()
    if not plan.oncoming and dice.chance(0.4):
        second, paint, opposite = _opposite(dice, plan, left + dice.uniform(1.2, 12))
        markings += paint
    pavement = Pavement(
        left=left,
        right=right,
        second=second,
        base=(grey * (1 - warm), grey, grey * (1 + warm)),
        lane_edges=edges,
        lane_gains=tuple(dice.rng.normal(1, 0.07, len(edges) - 1).tolist()),
        shoulder_gain=dice.uniform(0.6, 1.15),
        grain=dice.uniform(0.03, 0.13),
        streaks=dice.uniform(0.01, 0.08),
        blotches=dice.uniform(0.02, 0.1),
        tracks=dice.normal(0.03, 0.05),
        oil=dice.uniform(0, 0.25 if plan.concrete else 0.1),
        joint_period=dice.uniform(4, 6) if plan.concrete and dice.chance(0.7) else 0.0,
        joint_depth=dice.uniform(0.1, 0.4),
        cracks=dice.uniform(0.2, 0.7) if dice.chance(0.35) else 0.0,
        patches=(*patches, *symbols),
        skids=(*skids, *(shadows if light.sun > 0.3 else ())),
        verge=dice.vary(dice.choice(_VERGES), 0.07),
        verge_width=dice.uniform(0.3, 5),
        field=dice.vary(dice.choice(_FIELDS), 0.07),
        paint=dice.uniform(0.7, 1.0),
        tree_shade=dice.uniform(0.1, 1.0) if light.sun > 0.2 and dice.chance(0.25) else 0.0,
        tree_side=dice.either(),
    )
    return Scene(
        seed=seed,
        camera=camera,
        light=light,
        markings=markings,
        pavement=pavement,
        barriers=_barriers(dice, pavement),
        structures=_structures(dice, plan.s0),
        roadside=_roadside(dice, second[1] if second else left, right, light.lamps > 0),
        vehicles=(*_traffic(dice, plan), *opposite),
        lens=sample_lens(dice, dark),
        **alignment._asdict(),
        offset=offset,
        heading=heading,
        reach=LABEL_RANGE,
    )
