"""Random roads without markings, or with few: country roads, lanes, village streets.

What could pass for a marking and is none stands here in plenty: tar seams, cracks, halves of
different asphalt, wheel tracks, bright dust or dark grass along a ragged edge, kerbs, rails. None
of it is ever labelled; where paint is, its label is exact.
"""

from __future__ import annotations

from dataclasses import replace

from .beside import sample_barrier, sample_roadside
from .conditions import sample_alignment, sample_lens
from .dice import Dice
from .mix import Mix
from .road_geometry import LABEL_RANGE, Marking
from .scene_camera import SceneCamera
from .spec import Barrier, Colour, Light, Patch, Pavement, Scene, Skid, Vehicle
from .traffic import vehicle

_DIRT: tuple[Colour, ...] = (
    (0.42, 0.52, 0.6), (0.5, 0.56, 0.6), (0.3, 0.38, 0.45), (0.36, 0.38, 0.4), (0.24, 0.34, 0.46),
)  # fmt: skip
_GRASS: tuple[Colour, ...] = (
    (0.14, 0.26, 0.2), (0.2, 0.34, 0.3), (0.12, 0.22, 0.17), (0.26, 0.4, 0.46), (0.16, 0.2, 0.24),
)  # fmt: skip
_DASHES = (  # period and length in metres
    (12.0, 3.0), (9.0, 3.0), (12.2, 3.05), (8.0, 4.0), (4.0, 1.0), (16.0, 4.0),
)  # fmt: skip


def _paint(dice: Dice, left: float, middle: float, right: float) -> list[Marking]:
    """Partly marked: the centre line, the edge lines or one of them, rarely all three."""
    style = dice.choice(("centre", "edges", "left", "right", "all"), (0.5, 0.2, 0.1, 0.1, 0.1))
    # Fainter paint would make the road's edge itself look like what is labelled.
    width, wear = dice.uniform(0.08, 0.18), min(float(dice.rng.beta(1.2, 3.0)), 0.45)
    yellow, dashed = dice.chance(0.2), dice.chance(0.55)
    period, length = dice.choice(_DASHES)
    solid = Marking(0.0, "solid", width=width, wear=wear)
    drawn = {
        "centre": replace(
            solid, offset=middle, kind="dashed" if dashed else "solid",
            colour="yellow" if yellow else "white", period=period, length=length,
            phase=dice.uniform(0, period),
            double="solid" if dice.chance(0.15) else "",
        ),
        "left": replace(solid, offset=left),
        "right": replace(solid, offset=right),
    }  # fmt: skip
    shown = {"edges": ("left", "right"), "all": ("left", "centre", "right")}.get(style, (style,))
    # A boundary without paint keeps its slot, so that the painted ones keep theirs.
    return [drawn[name] if name in shown else Marking(drawn[name].offset, "none") for name in drawn]


def _damage(
    dice: Dice, left: float, right: float, s0: float
) -> tuple[tuple[Patch, ...], tuple[Skid, ...]]:
    """Repairs, cracks across the road, seams and cracks along it."""
    patches, skids = [], []

    def across() -> float:
        return dice.uniform(right, left)

    if dice.chance(0.5):  # thin cracks from side to side
        at = s0 + dice.uniform(1, 8)
        spacing = dice.uniform(3, 15)
        for _ in range(dice.integer(2, 14)):
            ends = (right, left) if dice.chance(0.7) else sorted((across(), across()))
            thin = dice.uniform(0.02, 0.09)
            patches.append(Patch(at, at + thin, ends[0], ends[1], dice.uniform(0.35, 0.75)))
            at += spacing * dice.uniform(0.5, 1.5)
    if dice.chance(0.45):  # repairs
        for _ in range(dice.integer(1, 7)):
            at, foot = s0 + dice.uniform(2, 60), across()
            patches.append(
                Patch(at, at + dice.uniform(0.6, 9), foot - dice.uniform(0.2, 1.4),
                      foot + dice.uniform(0.2, 1.4), dice.uniform(0.55, 1.2))
            )  # fmt: skip
    if dice.chance(0.65):  # seams of tar and cracks that run with the road
        middle = (left + right) / 2
        for number in range(dice.integer(1, 5)):
            foot = middle + dice.normal(0, 0.3) if number == 0 else across()
            start = s0 + dice.uniform(-10, 25)
            dark = dice.chance(0.85)
            skids.append(
                Skid(start, start + dice.uniform(15, 150), foot,
                     dice.normal(0, 0.004), 0.0, dice.uniform(0.02, 0.16),
                     dice.uniform(0.35, 0.8) if dark else dice.uniform(1.1, 1.3),
                     wander=dice.uniform(0, 0.22))
            )  # fmt: skip
    return tuple(patches), tuple(skids)


_BARRIERS = {"rail": 0.36, "kerb": 0.34, "striped kerb": 0.1, "wall": 0.1, "fence": 0.1}


def _barriers(dice: Dice, pavement: Pavement) -> tuple[Barrier, ...]:
    both = dice.roll()
    return tuple(
        sample_barrier(dice, edge + side * dice.uniform(0.0, 0.8), _BARRIERS)
        for side, edge in ((1, pavement.left), (-1, pavement.right))
        if both >= 0.8 or (both >= 0.6 and not dice.chance(0.5))
    )


def _vehicles(dice: Dice, left: float, right: float) -> tuple[Vehicle, ...]:
    """A few: ahead, towards us, parked on the verge."""
    found: list[Vehicle] = []
    for _ in range(dice.choice((0, 1, 2, 3), (0.5, 0.28, 0.15, 0.07))):
        where = dice.choice(("ahead", "towards", "parked"), (0.4, 0.4, 0.2))
        share = {"ahead": 0.25, "towards": 0.75, "parked": dice.choice((-0.25, 1.25))}[where]
        s = 12 + dice.exponential(50)
        if all(abs(s - other.s) > 16 for other in found):
            d = right + share * (left - right)
            found.append(vehicle(dice, s, d, towards=where == "towards"))
    return tuple(found)


def _pavement(
    dice: Dice, left: float, right: float, edges: tuple[float, ...], marked: bool, light: Light,
    s0: float, mix: Mix,
) -> Pavement:  # fmt: skip
    beside = (dice.uniform(0.05, 1.2), dice.uniform(0.05, 1.2)) if marked else (0.0, 0.0)
    patches, skids = _damage(dice, left, right, s0)
    grey, warm = dice.uniform(0.28, 0.66), dice.normal(0, 0.03)
    uneven = 0.16 if dice.chance(0.3) else 0.04
    halves = dice.rng.normal(1, uneven, len(edges) - 1).tolist()
    verges = _DIRT if dice.chance(0.6) else _GRASS
    shade = dice.chance(mix.shade) and light.sun > 0.2
    return Pavement(
        left=left + beside[0],
        right=right - beside[1],
        base=(grey * (1 - warm), grey, grey * (1 + warm)),
        lane_edges=edges,
        lane_gains=tuple(halves),
        shoulder_gain=dice.uniform(0.85, 1.1),
        edge_gain=dice.uniform(0.5, 1.0) if dice.chance(0.6) else dice.uniform(1.0, 1.5),
        ragged=dice.uniform(0.0, 0.16),
        grain=dice.uniform(0.05, 0.17),
        streaks=dice.uniform(0.01, 0.08),
        blotches=dice.uniform(0.02, 0.12),
        tracks=dice.normal(-0.03, 0.07),
        oil=dice.uniform(-0.05, 0.08),
        cracks=dice.uniform(0.2, 1.0) if dice.chance(0.6) else 0.0,
        patches=patches,
        skids=skids,
        verge=dice.vary(dice.choice(verges), 0.06),
        verge_width=dice.uniform(0.1, 2.5),
        field=dice.vary(dice.choice(_GRASS), 0.1),
        paint=dice.uniform(0.7, 1.0),
        tree_shade=dice.uniform(0.1, 1.0) if shade and dice.chance(0.5) else 0.0,
        tree_side=dice.either(),
        dapple=dice.uniform(0.25, 0.8) if shade and dice.chance(0.65) else 0.0,
    )


def country_road(
    dice: Dice, mix: Mix, camera: SceneCamera, seed: int, light: Light, dark: bool, marked: bool
) -> Scene:
    """A road with few markings, or with none at all; `dark` makes the lens that of a night."""
    wide = marked or dice.chance(0.55)
    if wide:  # two lanes, the vehicle on one of them
        lane = dice.uniform(2.6, 3.8)
        left, middle, right = 1.5 * lane, 0.5 * lane, -0.5 * lane
        if dice.chance(0.15):
            left, middle, right = 0.5 * lane, -0.5 * lane, -1.5 * lane
        if not marked and dice.chance(0.15):  # a yard, a junction, a street with parking
            left, right = left + dice.uniform(0, 14), right - dice.uniform(0, 8)
    else:
        half = dice.uniform(1.5, 2.6)
        left, middle, right = half, 0.0, -half
    markings = _paint(dice, left, middle, right) if marked else []
    edges = (left, middle, right) if wide else (left, right)
    pavement = _pavement(dice, left, right, edges, marked, light, float(seed % 977), mix)
    return Scene(
        seed=seed,
        camera=camera,
        light=light,
        markings=tuple(markings),
        pavement=pavement,
        barriers=_barriers(dice, pavement),
        vehicles=_vehicles(dice, left, right),
        roadside=sample_roadside(
            dice, pavement.left, pavement.right, light.lamps > 0, near=dice.uniform(1.0, 8.0)
        ),
        lens=sample_lens(dice, mix, dark),
        **sample_alignment(dice, tightest=90, steepest=400)._asdict(),
        offset=dice.normal(0, 0.3 if marked else 0.6),
        heading=dice.normal(0, 0.01 if marked else 0.025),
        reach=LABEL_RANGE,
    )
