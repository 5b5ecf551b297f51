"""Random roads of one to five marked lanes: motorways, trunk roads, streets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from . import glyphs
from .beside import sample_barrier, sample_roadside
from .conditions import sample_alignment, sample_lens
from .dice import Dice
from .mix import Mix
from .road_geometry import LABEL_RANGE, Marking
from .scene_camera import SceneCamera
from .spec import Barrier, Colour, Light, Patch, Pavement, Scene, Skid, Structure, Vehicle
from .traffic import lane_of, parked

_DASHES = (  # period and length in metres
    (12.2, 3.05), (12.2, 3.66), (18.0, 6.0), (12.0, 6.0), (9.0, 3.0), (15.0, 6.0), (12.0, 3.0),
)  # fmt: skip
_VERGES: tuple[Colour, ...] = (
    (0.28, 0.36, 0.42), (0.3, 0.42, 0.52), (0.2, 0.33, 0.28), (0.33, 0.35, 0.36), (0.85, 0.82, 0.8),
)  # fmt: skip
_FIELDS: tuple[Colour, ...] = (
    (0.16, 0.3, 0.24), (0.3, 0.45, 0.56), (0.14, 0.24, 0.2), (0.2, 0.36, 0.36),
)  # fmt: skip


@dataclass(frozen=True)
class _Plan:
    """What the parts of a marked road agree on."""

    us: bool  #: North American style
    city: bool  #: a street between buildings
    concrete: bool
    edges: tuple[float, ...]  #: d of the lanes' bounds, left to right
    ego: int  #: number of the own lane from the left
    width: float  #: metres of a lane
    s0: float  #: metres into the world
    oncoming: bool = False  #: lanes left of the own one come towards us


def _plan(dice: Dice, s0: float, mix: Mix) -> _Plan:
    city = dice.chance(mix.city)
    us = dice.chance(0.15 if city else 0.55)
    concrete = us and dice.chance(0.6)
    shares = (0.06, 0.3, 0.38, 0.22, 0.04) if city else (0.05, 0.22, 0.3, 0.28, 0.15)
    lanes = dice.choice((1, 2, 3, 4, 5), shares)
    width = float(np.clip(dice.normal(3.62, 0.16) if us else dice.uniform(2.8, 4.1), 2.8, 4.1))
    ego = dice.integer(0, lanes)
    edges = [0.0]
    for _ in range(lanes):
        edges.append(edges[-1] - width * dice.uniform(0.97, 1.03))
    middle = (edges[ego] + edges[ego + 1]) / 2
    return _Plan(us, city, concrete, tuple(edge - middle for edge in edges), ego, width, s0)


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
        usual = not dice.chance(0.07 if outer else 0.25 if plan.city else 0.1)
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
        if outer and plan.city and dice.chance(0.25):  # the kerb alone
            marking = Marking(offset, "none")
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


def _symbols(dice: Dice, plan: _Plan) -> list[Patch]:
    """Paint between the lines that is no lane marking: arrows, words, crossings, stop lines."""
    edges, paint = plan.edges, dice.uniform(0.5, 1.0)
    start = plan.s0 + dice.uniform(4, 35)
    kind = dice.choice(("arrow", "word", "diamond", "zebra", "stop"), (0.5, 0.17, 0.1, 0.15, 0.08))
    if kind == "zebra":
        bars = np.arange(edges[-1] + 0.3, edges[0] - 0.5, 1.0).tolist()
        return [Patch(start, start + 3.5, d, d + 0.5, 1, paint) for d in bars]
    if kind == "stop":
        lane = dice.integer(0, len(edges) - 1)
        return [Patch(start, start + 0.4, edges[-1], edges[lane], 1, paint)]
    length, half = dice.uniform(2.5, 6.5), dice.uniform(0.45, 0.8)
    found = []
    for left, right in pairwise(edges):
        names = {"arrow": glyphs.ARROWS, "word": glyphs.WORDS}.get(kind, ("diamond", "rhombus"))
        name, d = dice.choice(names), (left + right) / 2 + dice.normal(0, 0.1)
        half_of = half * (1.6 if name in glyphs.WORDS else 1.0)
        for at in (start, start + dice.uniform(15, 40)):
            if dice.chance(0.8):
                found.append(Patch(at, at + length, d - half_of, d + half_of, 1, paint, name))
    return found


def _pole(dice: Dice, edges: tuple[float, ...], s0: float) -> Skid:
    """The shadow of a pole over the road."""
    start, slant = s0 + dice.uniform(5, 45), dice.either() * dice.uniform(1.5, 6)
    wide = (edges[0] - edges[-1] + 8) / abs(slant)
    foot = edges[-1] - 4 if slant > 0 else edges[0] + 4
    return Skid(start, start + wide, foot, slant, 0.0, dice.uniform(0.2, 0.5) * abs(slant), 0.5)


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
    vehicles = [
        one
        for i in range(count)
        for one in lane_of(
            dice, first + (i + 0.5) * plan.width, dice.uniform(10, 60), 40, 10, 140, True
        )
    ]
    return (near, near + count * plan.width + 3), paint, vehicles


def _traffic(dice: Dice, plan: _Plan, mix: Mix) -> list[Vehicle]:
    """Vehicles on each lane, or a queue of them."""
    found = []
    jam = dice.chance(mix.jam)
    density = dice.choice((0.0, 0.4, 1.0, 1.6), (0.2, 0.4, 0.3, 0.1))
    for lane, (left, right) in enumerate(pairwise(plan.edges)):
        own, d = lane == plan.ego, (left + right) / 2
        towards = plan.oncoming and lane < plan.ego
        if jam and dice.chance(0.85):
            first = dice.uniform(4, 16) if own else dice.uniform(-4, 6)
            found += lane_of(dice, d, first, 1.5, 1.2, 75, towards)
        elif density:
            first = dice.uniform(8, 40) / max(density, 0.3) if own else dice.uniform(-5, 45)
            found += lane_of(dice, d, first, 45 / density, 10, 160, towards)
    return found


_MEDIAN = {"fence": 0.6, "concrete": 0.15, "panels": 0.1, "kerb": 0.15}
_PAVEMENT = {"kerb": 0.62, "fence": 0.2, "striped kerb": 0.08, "panels": 0.05, "wall": 0.05}
_OPEN = {"concrete": 0.42, "rail": 0.36, "wall": 0.08, "kerb": 0.08, "fence": 0.06}


def _barriers(dice: Dice, plan: _Plan, pavement: Pavement) -> tuple[Barrier, ...]:
    barriers = []
    for side, edge, share in ((1, pavement.left, 0.65), (-1, pavement.right, 0.4)):
        median = side > 0 and (pavement.second or plan.oncoming)
        kinds = (_MEDIAN if median else _PAVEMENT) if plan.city else _OPEN
        if dice.chance(0.92 if plan.city else share):
            barriers.append(sample_barrier(dice, edge + side * dice.uniform(0.05, 0.6), kinds))
            if plan.city and barriers[-1].height > 0.3 and dice.chance(0.7):
                barriers.append(sample_barrier(dice, edge, {"kerb": 1.0}))
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


def _pavement(
    dice: Dice, plan: _Plan, mix: Mix, light: Light, sides: tuple[float, float],
    second: tuple[float, float] | None,
) -> Pavement:  # fmt: skip
    grey = dice.uniform(0.42, 0.66) if plan.concrete else dice.uniform(0.18, 0.5)
    warm = dice.normal(0, 0.025)
    symbols = _symbols(dice, plan) if dice.chance(mix.symbols) else []
    skids = _streaks(dice, plan)
    if light.sun > 0.3 and dice.chance(0.1):
        skids.append(_pole(dice, plan.edges, plan.s0))
    shade = dice.chance(mix.shade) and light.sun > 0.2
    slabs = dice.uniform(0.4, 0.62)
    return Pavement(
        left=sides[0],
        right=sides[1],
        second=second,
        base=(grey * (1 - warm), grey, grey * (1 + warm)),
        lane_edges=plan.edges,
        lane_gains=tuple(dice.rng.normal(1, 0.07, len(plan.edges) - 1).tolist()),
        shoulder_gain=dice.uniform(0.6, 1.15),
        grain=dice.uniform(0.03, 0.13),
        streaks=dice.uniform(0.01, 0.08),
        blotches=dice.uniform(0.02, 0.1),
        tracks=dice.normal(0.03, 0.05),
        oil=dice.uniform(0, 0.25 if plan.concrete else 0.1),
        joint_period=dice.uniform(4, 6) if plan.concrete and dice.chance(0.7) else 0.0,
        joint_depth=dice.uniform(0.1, 0.4),
        cracks=dice.uniform(0.2, 0.7) if dice.chance(0.35) else 0.0,
        patches=(*_repairs(dice, plan), *symbols),
        skids=tuple(skids),
        verge=dice.vary((slabs,) * 3 if plan.city else dice.choice(_VERGES), 0.07),
        verge_width=dice.uniform(3, 9) if plan.city else dice.uniform(0.3, 5),
        field=dice.vary(dice.choice(_FIELDS), 0.07),
        paint=dice.uniform(0.6, 1.0),
        tree_shade=dice.uniform(0.1, 1.0) if shade and dice.chance(0.5) else 0.0,
        tree_side=dice.either(),
        dapple=dice.uniform(0.25, 0.75) if shade and dice.chance(0.65) else 0.0,
    )


def marked_road(
    dice: Dice, mix: Mix, camera: SceneCamera, seed: int, light: Light, dark: bool
) -> Scene:
    """A road whose lanes are marked; `dark` makes the lens that of a night."""
    plan = _plan(dice, float(seed % 977), mix)
    changing = dice.chance(0.2)
    left, right = dice.chance(0.3), dice.chance(0.45)  # cars park there
    beside = (
        [dice.uniform(2.0, 2.6) if here else dice.uniform(0.1, 0.8) for here in (left, right)]
        if plan.city
        else [dice.uniform(0.3, 3.2), dice.uniform(0.3, 3.5)]
    )
    oncoming = not plan.us and plan.ego > 0 and dice.chance(0.35)
    plan = replace(plan, oncoming=oncoming)
    markings = _markings(dice, plan)
    sides = plan.edges[0] + beside[0], plan.edges[-1] - beside[1]
    vehicles = _traffic(dice, plan, mix)
    if plan.city and right:
        vehicles += parked(dice, sides[1] + 1.1)
    if plan.city and left and plan.oncoming:
        vehicles += parked(dice, sides[0] - 1.1)
    second = None
    if not plan.oncoming and dice.chance(0.4):
        gap = dice.uniform(0.5, 3.0) if plan.city else dice.uniform(1.2, 12)
        second, paint, opposite = _opposite(dice, plan, sides[0] + gap)
        markings += paint
        vehicles += opposite
    pavement = _pavement(dice, plan, mix, light, sides, second)
    return Scene(
        seed=seed,
        camera=camera,
        light=light,
        markings=markings,
        pavement=pavement,
        barriers=_barriers(dice, plan, pavement),
        structures=_structures(dice, plan.s0),
        roadside=sample_roadside(
            dice, second[1] if second else sides[0], sides[1], light.lamps > 0, plan.city,
            near=dice.uniform(1.2, 3.5) if plan.city else 3.5,
        ),
        vehicles=tuple(vehicles),
        lens=sample_lens(dice, mix, dark),
        **sample_alignment(dice, tightest=150, steepest=800)._asdict(),
        offset=dice.uniform(-0.5, 0.5) * plan.width if changing else dice.normal(0, 0.28),
        heading=dice.normal(0, 0.03 if changing else 0.008),
        reach=LABEL_RANGE,
    )  # fmt: skip
