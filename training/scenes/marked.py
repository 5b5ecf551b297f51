"""Random roads of one to five marked lanes: motorways, trunk roads, wide streets."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from .camera import Camera
from .conditions import BARRIER_HEIGHTS, CAR_COLOURS, sample_alignment, sample_lens, vary
from .road import LABEL_RANGE, Marking
from .spec import (
    Barrier,
    Light,
    Patch,
    Pavement,
    Roadside,
    Scene,
    Skid,
    Structure,
    Vehicle,
)


def _markings(
    rng: np.random.Generator, edges: list[float], s0: float, us: bool, concrete: bool
) -> tuple[Marking, ...]:
    """Styles for boundaries at these offsets, left to right."""
    wear_level = rng.beta(1.2, 3.0)
    width = rng.uniform(0.09, 0.2)
    period, length = [(12.2, 3.05), (12.2, 3.66), (18.0, 6.0), (12.0, 6.0), (9.0, 3.0), (15.0, 6.0),
                      (12.0, 3.0)][int(rng.integers(7))] if not us else (12.2, 3.05)  # fmt: skip
    inner = "dashed"
    dots = us and rng.random() < 0.35
    seam = float(rng.choice([-1, 1]) * rng.uniform(0.1, 0.22)) if concrete else 0.0
    left_yellow = rng.random() < (0.75 if us else 0.15)
    markings = []
    phase = float(rng.uniform(0, period))
    for i, offset in enumerate(edges):
        outer = i in (0, len(edges) - 1)
        kind = "solid" if outer else inner
        roll = rng.random()
        if outer and roll < 0.07:
            kind = "dashed"
        elif not outer and roll < 0.1:
            kind = "solid"
        double = ""
        if rng.random() < (0.12 if outer else 0.06):
            double = "solid" if rng.random() < 0.7 else "dashed"
        colour = "yellow" if (i == 0 and left_yellow) else "white"
        if i == 0 and double and rng.random() < 0.5:
            colour = "yellow"
        marking = Marking(
            offset,
            kind,
            colour,
            width=float(np.clip(width * rng.uniform(0.85, 1.2), 0.08, 0.28)),
            period=period,
            length=float(length * rng.uniform(0.9, 1.1)),
            phase=phase if rng.random() < 0.8 else float(rng.uniform(0, period)),
            double=double,
            gap=float(rng.uniform(0.1, 0.2)),
            wear=float(np.clip(wear_level + rng.normal(0, 0.12), 0, 0.8)),
            seam=seam if not outer or rng.random() < 0.5 else 0.0,
        )
        if kind == "dashed" and dots:
            spacing = float(rng.choice([1.22, 2.44, 4.88, 12.2]))
            wide = float(rng.uniform(0.1, 0.13))
            marking = replace(
                marking, kind="dots", double="", width=wide, length=0.12, period=spacing
            )
        if rng.random() < 0.05:  # paint that is gone over a stretch; people label it all the same
            start = s0 + float(rng.uniform(0, 40))
            marking = replace(
                marking, wear=1.0, worn_from=start, worn_to=start + float(rng.uniform(20, 50))
            )
        markings.append(marking)
    if len(edges) > 2 and rng.random() < 0.08:
        gone = int(rng.integers(len(edges)))
        markings[gone] = Marking(offset=edges[gone], kind="none")
    return tuple(markings)


def _symbols(
    rng: np.random.Generator, edges: list[float], s0: float
) -> tuple[list[Patch], list[Skid]]:
    """Paint that is no lane marking (arrows, crossings, stop lines) and shadows of poles."""
    patches, skids = [], []
    kind = rng.choice(["", "arrow", "zebra", "stop"], p=[0.86, 0.08, 0.03, 0.03])
    start = s0 + float(rng.uniform(5, 45))
    paint = float(rng.uniform(0.5, 1.0))
    if kind == "arrow":
        for left, right in pairwise(edges):
            d = (left + right) / 2
            patches.append(Patch(start, start + 3, d - 0.08, d + 0.08, 1, paint))
            for i in range(5):
                half = 0.08 * (5 - i)
                at = start + 3 + 0.35 * i
                patches.append(Patch(at, at + 0.35, d - half, d + half, 1, paint))
    elif kind == "zebra":
        for d in np.arange(edges[-1] + 0.3, edges[0] - 0.5, 1.0).tolist():
            patches.append(Patch(start, start + 3.5, d, d + 0.5, 1, paint))
    elif kind == "stop":
        lane = int(rng.integers(len(edges) - 1))
        patches.append(Patch(start, start + 0.4, edges[-1], edges[lane], 1, paint))
    if rng.random() < 0.08:
        slant = float(rng.choice([-1, 1]) * rng.uniform(1.5, 6))
        wide = (edges[0] - edges[-1] + 8) / abs(slant)
        foot = edges[-1] - 4 if slant > 0 else edges[0] + 4
        width = float(rng.uniform(0.2, 0.5)) * abs(slant)
        skids.append(Skid(start, start + wide, foot, slant, 0.0, width, 0.5))
    return patches, skids


def _traffic(
    rng: np.random.Generator, edges: list[float], ego: int, oncoming_left: bool
) -> tuple[Vehicle, ...]:
    density = rng.choice([0.0, 0.4, 1.0, 1.6], p=[0.15, 0.35, 0.35, 0.15])
    vehicles = []
    for lane in range(len(edges) - 1):
        middle = (edges[lane] + edges[lane + 1]) / 2
        s = float(rng.uniform(8, 40) if lane == ego else rng.uniform(-5, 45))
        if lane == ego:
            s /= max(density, 0.3)
        while s < 200 and density > 0:
            towards = oncoming_left and lane < ego
            kind = str(rng.choice(["car", "suv", "van", "truck"], p=[0.5, 0.28, 0.1, 0.12]))
            if towards and kind == "truck":
                kind = "van"
            white = kind in ("truck", "van") and rng.random() < 0.6
            colour = (
                (0.75, 0.76, 0.75) if white else CAR_COLOURS[int(rng.integers(len(CAR_COLOURS)))]
            )
            vehicles.append(
                Vehicle(
                    s=s, d=float(middle + rng.normal(0, 0.2)), kind=kind,
                    colour=vary(rng, colour, 0.06), oncoming=towards,
                    braking=bool(rng.random() < 0.15), yaw=float(rng.normal(0, 0.012)),
                )
            )  # fmt: skip
            s += float(16 + rng.exponential(45 / density))
    return tuple(vehicles)


def marked_road(
    rng: np.random.Generator, camera: Camera, seed: int, light: Light, dark: bool
) -> Scene:
    """A road whose lanes are marked; `dark` makes the lens that of a night."""
    us = bool(rng.random() < 0.55)
    concrete = us and rng.random() < 0.6
    lanes = int(rng.choice([1, 2, 3, 4, 5], p=[0.05, 0.22, 0.3, 0.28, 0.15]))
    lane_width = float(np.clip(rng.normal(3.62, 0.16) if us else rng.uniform(2.8, 4.0), 2.8, 4.0))
    ego = int(rng.integers(lanes))
    edges = [0.0]
    for _ in range(lanes):
        edges.append(edges[-1] - lane_width * float(rng.uniform(0.97, 1.03)))
    middle = (edges[ego] + edges[ego + 1]) / 2
    edges = [float(e - middle) for e in edges]
    changing = rng.random() < 0.16
    offset = float(rng.uniform(-0.5, 0.5) * lane_width if changing else rng.normal(0, 0.28))
    heading = float(rng.normal(0, 0.03 if changing else 0.008))
    alignment = sample_alignment(rng, tightest=150, steepest=800)
    oncoming = bool(not us and ego > 0 and rng.random() < 0.3)
    markings = _markings(rng, edges, float(seed % 977), us, concrete)
    shoulder_left = float(rng.uniform(0.3, 3.2))
    shoulder_right = float(rng.uniform(0.3, 3.5))
    grey = float(rng.uniform(0.42, 0.66) if concrete else rng.uniform(0.2, 0.5))
    warm = rng.normal(0, 0.025)
    patches = []
    if rng.random() < 0.4:
        for _ in range(int(rng.integers(1, 6))):
            lane = int(rng.integers(lanes))
            start = seed % 977 + float(rng.uniform(-5, 80))
            inset = float(rng.uniform(0, 0.6))
            patches.append(
                Patch(start, start + float(rng.uniform(2, 30)), edges[lane + 1] + inset,
                      edges[lane] - float(rng.uniform(0, 1.2)), float(rng.uniform(0.7, 1.25)))
            )  # fmt: skip
    skids = []
    if rng.random() < 0.5:
        for _ in range(int(rng.integers(1, 8))):
            start = seed % 977 + float(rng.uniform(-5, 60))
            skids.append(
                Skid(start, start + float(rng.uniform(5, 60)),
                     float(rng.uniform(edges[-1], edges[0])), float(rng.normal(0, 0.02)),
                     float(rng.normal(0, 0.002)), float(rng.uniform(0.03, 0.22)),
                     float(rng.uniform(0.55, 0.9)))
            )  # fmt: skip
    more_patches, more_skids = _symbols(rng, edges, float(seed % 977))
    patches += more_patches
    skids += more_skids if light.sun > 0.3 else []
    second = None
    opposite: list[Vehicle] = []
    if not oncoming and rng.random() < 0.4:
        near = edges[0] + shoulder_left + float(rng.uniform(1.2, 12))
        count = int(rng.integers(2, 5))
        second = (near, near + count * lane_width + 3)
        for i in range(count + 1):
            outer = i in (0, count)
            markings += (
                Marking(
                    near + 1.5 + i * lane_width, "solid" if outer else "dashed", decoy=True,
                    wear=float(rng.uniform(0, 0.6)), colour="yellow" if us and i == 0 else "white",
                ),
            )  # fmt: skip
        for i in range(count):
            s = float(rng.uniform(10, 60))
            while s < 220 and rng.random() < 0.8:
                kind = str(rng.choice(["car", "suv", "van"]))
                colour = vary(rng, CAR_COLOURS[int(rng.integers(len(CAR_COLOURS)))], 0.06)
                d = near + 1.5 + (i + 0.5) * lane_width
                opposite.append(Vehicle(s, d, kind, colour, oncoming=True))
                s += float(rng.uniform(15, 70))
    verge = [(0.28, 0.36, 0.42), (0.3, 0.42, 0.52), (0.2, 0.33, 0.28), (0.33, 0.35, 0.36)]
    fields = [(0.16, 0.3, 0.24), (0.3, 0.45, 0.56), (0.14, 0.24, 0.2), (0.2, 0.36, 0.36)]
    pavement = Pavement(
        left=edges[0] + shoulder_left,
        right=edges[-1] - shoulder_right,
        second=second,
        base=(grey * float(1 - warm), grey, grey * float(1 + warm)),
        lane_edges=tuple(edges),
        lane_gains=tuple(float(v) for v in rng.normal(1, 0.07, lanes)),
        shoulder_gain=float(rng.uniform(0.6, 1.15)),
        grain=float(rng.uniform(0.03, 0.13)),
        streaks=float(rng.uniform(0.01, 0.08)),
        blotches=float(rng.uniform(0.02, 0.1)),
        tracks=float(rng.normal(0.03, 0.05)),
        oil=float(rng.uniform(0, 0.25 if concrete else 0.1)),
        joint_period=float(rng.uniform(4, 6)) if concrete and rng.random() < 0.7 else 0.0,
        joint_depth=float(rng.uniform(0.1, 0.4)),
        cracks=float(rng.uniform(0.2, 0.7)) if rng.random() < 0.35 else 0.0,
        patches=tuple(patches),
        skids=tuple(skids),
        verge=vary(rng, verge[int(rng.integers(4))], 0.07),
        verge_width=float(rng.uniform(0.3, 5)),
        field=vary(rng, fields[int(rng.integers(4))], 0.07),
        paint=float(rng.uniform(0.7, 1.0)),
        tree_shade=float(rng.uniform(0.1, 1.0)) if light.sun > 0.2 and rng.random() < 0.25 else 0.0,
        tree_side=float(rng.choice([-1, 1])),
    )
    barriers = []
    for side, edge in ((1, pavement.left), (-1, pavement.right)):
        if rng.random() < (0.65 if side > 0 else 0.4):
            kinds = ["concrete", "rail", "wall", "kerb"]
            kind = str(rng.choice(kinds, p=[0.48, 0.32, 0.1, 0.1]))
            tone = rng.uniform(0.35, 0.65)
            barriers.append(
                Barrier(
                    edge + side * float(rng.uniform(0.1, 0.8)), kind,
                    float(rng.uniform(*BARRIER_HEIGHTS[kind])),
                    vary(rng, (tone, tone, tone), 0.05),
                )
            )  # fmt: skip
    structures = []
    if rng.random() < 0.22:
        kind = str(rng.choice(["bridge", "gantry"]))
        structures.append(
            Structure(
                s=seed % 977 + float(rng.uniform(8, 150)), kind=kind,
                length=float(rng.uniform(8, 30)) if kind == "bridge" else 0.3,
                clearance=float(rng.uniform(5, 6.5)),
                colour=vary(
                    rng, (0.24, 0.3, 0.08) if kind == "gantry" else (0.45, 0.46, 0.47), 0.1
                ),
            )
        )  # fmt: skip
    roadside = Roadside(
        trees=float(rng.choice([0.0, rng.uniform(0.1, 1.0)], p=[0.15, 0.85])),
        leaves=vary(rng, (0.12, 0.23, 0.18) if rng.random() < 0.7 else (0.12, 0.22, 0.26), 0.15),
        tree_left=(second[1] if second else pavement.left) + float(rng.uniform(3.5, 14)),
        tree_right=pavement.right - float(rng.uniform(3.5, 12)),
        posts=float(rng.uniform(28, 50)) if light.lamps or rng.random() < 0.2 else 0.0,
        hills=float(rng.uniform(0, 0.09)),
        hill_colour=vary(rng, (0.3, 0.33, 0.3) if rng.random() < 0.6 else (0.28, 0.4, 0.48), 0.1),
        treeline=float(rng.uniform(0.004, 0.04)),
        treeline_colour=vary(rng, (0.12, 0.17, 0.14), 0.15),
    )
    return Scene(
        seed=seed,
        camera=camera,
        light=light,
        markings=markings,
        pavement=pavement,
        barriers=tuple(barriers),
        vehicles=(*_traffic(rng, edges, ego, oncoming), *opposite),
        structures=tuple(structures),
        roadside=roadside,
        lens=sample_lens(rng, dark),
        **alignment._asdict(),
        offset=offset,
        heading=heading,
        reach=LABEL_RANGE,
    )
