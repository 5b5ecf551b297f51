"""Random roads without markings, or with few: country roads, lanes, village streets.

What could pass for a marking and is none stands here in plenty: tar seams, cracks, halves of
different asphalt, wheel tracks, bright dust or dark grass along a ragged edge, kerbs, rails. None
of it is ever labelled; where paint is, its label is exact.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .camera import Camera
from .conditions import BARRIER_HEIGHTS, CAR_COLOURS, sample_alignment, sample_lens, vary
from .road import LABEL_RANGE, Marking
from .spec import Barrier, Colour, Light, Patch, Pavement, Roadside, Scene, Skid, Vehicle

_DIRT: tuple[Colour, ...] = (
    (0.42, 0.52, 0.6), (0.5, 0.56, 0.6), (0.3, 0.38, 0.45), (0.36, 0.38, 0.4), (0.24, 0.34, 0.46),
)  # fmt: skip
_GRASS: tuple[Colour, ...] = (
    (0.14, 0.26, 0.2), (0.2, 0.34, 0.3), (0.12, 0.22, 0.17), (0.26, 0.4, 0.46), (0.16, 0.2, 0.24),
)  # fmt: skip


def _paint(rng: np.random.Generator, left: float, middle: float, right: float) -> list[Marking]:
    """Partly marked: the centre line, the edge lines or one of them, rarely all three."""
    styles = ["centre", "edges", "left", "right", "all"]
    style = str(rng.choice(styles, p=[0.5, 0.2, 0.1, 0.1, 0.1]))
    # Fainter paint would make the road's edge itself look like what is labelled.
    width, wear = float(rng.uniform(0.08, 0.18)), float(min(rng.beta(1.2, 3.0), 0.45))
    yellow = rng.random() < 0.2
    dashed = rng.random() < 0.55
    period, length = [(12.0, 3.0), (9.0, 3.0), (12.2, 3.05), (8.0, 4.0), (4.0, 1.0), (16.0, 4.0)][
        int(rng.integers(6))
    ]
    solid = Marking(0.0, "solid", width=width, wear=wear)
    drawn = {
        "centre": replace(
            solid, offset=middle, kind="dashed" if dashed else "solid",
            colour="yellow" if yellow else "white", period=period, length=length,
            phase=float(rng.uniform(0, period)),
            double="solid" if rng.random() < 0.15 else "",
        ),
        "left": replace(solid, offset=left),
        "right": replace(solid, offset=right),
    }  # fmt: skip
    shown = {"edges": ("left", "right"), "all": ("left", "centre", "right")}.get(style, (style,))
    # A boundary without paint keeps its slot, so that the painted ones keep theirs.
    return [drawn[name] if name in shown else Marking(drawn[name].offset, "none") for name in drawn]


def _damage(
    rng: np.random.Generator, left: float, right: float, s0: float
) -> tuple[tuple[Patch, ...], tuple[Skid, ...]]:
    """Repairs, cracks across the road, seams and cracks along it."""
    patches, skids = [], []

    def across() -> float:
        return float(rng.uniform(right, left))

    if rng.random() < 0.5:  # thin cracks from side to side
        at = s0 + float(rng.uniform(1, 8))
        spacing = float(rng.uniform(3, 15))
        for _ in range(int(rng.integers(2, 14))):
            ends = (right, left) if rng.random() < 0.7 else sorted((across(), across()))
            thin = float(rng.uniform(0.02, 0.09))
            patches.append(Patch(at, at + thin, ends[0], ends[1], float(rng.uniform(0.35, 0.75))))
            at += spacing * float(rng.uniform(0.5, 1.5))
    if rng.random() < 0.45:  # repairs
        for _ in range(int(rng.integers(1, 7))):
            at, foot = s0 + float(rng.uniform(2, 60)), across()
            patches.append(
                Patch(at, at + float(rng.uniform(0.6, 9)), foot - float(rng.uniform(0.2, 1.4)),
                      foot + float(rng.uniform(0.2, 1.4)), float(rng.uniform(0.55, 1.2)))
            )  # fmt: skip
    if rng.random() < 0.65:  # seams of tar and cracks that run with the road
        middle = (left + right) / 2
        for number in range(int(rng.integers(1, 5))):
            foot = middle + float(rng.normal(0, 0.3)) if number == 0 else across()
            start = s0 + float(rng.uniform(-10, 25))
            dark = rng.random() < 0.85
            skids.append(
                Skid(start, start + float(rng.uniform(15, 150)), foot,
                     float(rng.normal(0, 0.004)), 0.0, float(rng.uniform(0.02, 0.16)),
                     float(rng.uniform(0.35, 0.8) if dark else rng.uniform(1.1, 1.3)),
                     wander=float(rng.uniform(0, 0.22)))
            )  # fmt: skip
    return tuple(patches), tuple(skids)


def _barriers(rng: np.random.Generator, pavement: Pavement) -> tuple[Barrier, ...]:
    found = []
    both = rng.random()
    for side, edge in ((1, pavement.left), (-1, pavement.right)):
        if both < 0.6 or (both < 0.8 and rng.random() < 0.5):
            continue
        kind = str(rng.choice(["rail", "kerb", "striped kerb", "wall"], p=[0.4, 0.38, 0.12, 0.1]))
        tone = float(rng.uniform(0.35, 0.7))
        away = 0.0 if "kerb" in kind else float(rng.uniform(0.2, 1.5))
        colour = vary(rng, (tone, tone, tone), 0.05)
        height = float(rng.uniform(*BARRIER_HEIGHTS[kind]))
        found.append(Barrier(edge + side * away, kind, height, colour))
    return tuple(found)


def _vehicles(rng: np.random.Generator, left: float, right: float) -> tuple[Vehicle, ...]:
    """A few: ahead, towards us, parked on the verge."""
    found: list[Vehicle] = []
    for _ in range(int(rng.choice([0, 1, 2, 3], p=[0.5, 0.28, 0.15, 0.07]))):
        kind = str(rng.choice(["car", "suv", "van", "truck"], p=[0.55, 0.25, 0.12, 0.08]))
        where = rng.choice(["ahead", "towards", "parked"], p=[0.4, 0.4, 0.2])
        share = {"ahead": 0.25, "towards": 0.75, "parked": float(rng.choice([-0.25, 1.25]))}[where]
        towards = bool(where == "towards") and kind != "truck"
        s = 12 + float(rng.exponential(50))
        if all(abs(s - other.s) > 16 for other in found):
            found.append(
                Vehicle(s, right + share * (left - right) + float(rng.normal(0, 0.15)), kind,
                        vary(rng, CAR_COLOURS[int(rng.integers(len(CAR_COLOURS)))], 0.06),
                        oncoming=towards, yaw=float(rng.normal(0, 0.02)))
            )  # fmt: skip
    return tuple(found)


def country_road(
    rng: np.random.Generator, camera: Camera, seed: int, light: Light, dark: bool, marked: bool
) -> Scene:
    """A road with few markings, or with none at all; `dark` makes the lens that of a night."""
    s0 = float(seed % 977)
    wide = bool(marked or rng.random() < 0.55)
    if wide:  # two lanes, the vehicle on one of them
        lane = float(rng.uniform(2.6, 3.8))
        left, middle, right = 1.5 * lane, 0.5 * lane, -0.5 * lane
        if rng.random() < 0.15:
            left, middle, right = 0.5 * lane, -0.5 * lane, -1.5 * lane
        if not marked and rng.random() < 0.15:  # a yard, a junction, a street with parking
            left, right = left + float(rng.uniform(0, 14)), right - float(rng.uniform(0, 8))
    else:
        half = float(rng.uniform(1.5, 2.6))
        left, middle, right = half, 0.0, -half
    markings = _paint(rng, left, middle, right) if marked else []
    beside = rng.uniform(0.05, 1.2, 2) if marked else np.zeros(2)
    edges = (left, middle, right) if wide else (left, right)
    patches, skids = _damage(rng, left, right, s0)
    grey = float(rng.uniform(0.28, 0.66))
    warm = float(rng.normal(0, 0.03))
    halves = rng.normal(1, 0.16 if rng.random() < 0.3 else 0.04, len(edges) - 1)
    beside_colours = _DIRT if rng.random() < 0.6 else _GRASS
    pavement = Pavement(
        left=left + float(beside[0]),
        right=right - float(beside[1]),
        base=(grey * (1 - warm), grey, grey * (1 + warm)),
        lane_edges=edges,
        lane_gains=tuple(float(gain) for gain in halves),
        shoulder_gain=float(rng.uniform(0.85, 1.1)),
        edge_gain=float(rng.uniform(0.5, 1.0) if rng.random() < 0.6 else rng.uniform(1.0, 1.5)),
        ragged=float(rng.uniform(0.0, 0.16)),
        grain=float(rng.uniform(0.05, 0.17)),
        streaks=float(rng.uniform(0.01, 0.08)),
        blotches=float(rng.uniform(0.02, 0.12)),
        tracks=float(rng.normal(-0.03, 0.07)),
        oil=float(rng.uniform(-0.05, 0.08)),
        cracks=float(rng.uniform(0.2, 1.0)) if rng.random() < 0.6 else 0.0,
        patches=patches,
        skids=skids,
        verge=vary(rng, beside_colours[int(rng.integers(5))], 0.06),
        verge_width=float(rng.uniform(0.1, 2.5)),
        field=vary(rng, _GRASS[int(rng.integers(5))], 0.1),
        paint=float(rng.uniform(0.7, 1.0)),
        tree_shade=float(rng.uniform(0.1, 1.0)) if light.sun > 0.2 and rng.random() < 0.3 else 0.0,
        tree_side=float(rng.choice([-1, 1])),
    )
    near = float(rng.uniform(1.0, 12.0))
    roadside = Roadside(
        trees=float(rng.choice([0.0, rng.uniform(0.2, 1.0)], p=[0.2, 0.8])),
        leaves=vary(rng, (0.12, 0.24, 0.18) if rng.random() < 0.7 else (0.12, 0.22, 0.28), 0.15),
        tree_left=pavement.left + near + float(rng.uniform(0, 3)),
        tree_right=pavement.right - near - float(rng.uniform(0, 3)),
        posts=float(rng.uniform(28, 60)) if light.lamps or rng.random() < 0.25 else 0.0,
        hills=float(rng.uniform(0, 0.09)),
        hill_colour=vary(rng, (0.3, 0.33, 0.3) if rng.random() < 0.6 else (0.24, 0.36, 0.42), 0.1),
        treeline=float(rng.uniform(0.004, 0.06)),
        treeline_colour=vary(rng, (0.12, 0.17, 0.14), 0.15),
    )
    lens = sample_lens(rng, dark)
    if rng.random() < 0.25:  # cameras whose white balance is far off
        blue, red = rng.uniform(1.05, 1.35), rng.uniform(0.85, 1.15)
        lens = replace(lens, balance=(float(blue), 1.0, float(red)))
    return Scene(
        seed=seed,
        camera=camera,
        light=light,
        markings=tuple(markings),
        pavement=pavement,
        barriers=_barriers(rng, pavement),
        vehicles=_vehicles(rng, left, right),
        roadside=roadside,
        lens=lens,
        **sample_alignment(rng, tightest=90, steepest=400)._asdict(),
        offset=float(rng.normal(0, 0.3 if marked else 0.6)),
        heading=float(rng.normal(0, 0.01 if marked else 0.025)),
        reach=LABEL_RANGE,
    )
