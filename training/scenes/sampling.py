"""Random scenes. The constants are priors about roads, traffic, weather and cameras."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from .camera import Camera, sample_camera
from .road import LABEL_RANGE, Marking
from .spec import (
    Barrier,
    Colour,
    Lens,
    Light,
    Patch,
    Pavement,
    Roadside,
    Scene,
    Skid,
    Structure,
    Vehicle,
)

CAR_COLOURS: tuple[Colour, ...] = (
    (0.82, 0.83, 0.82), (0.62, 0.62, 0.6), (0.4, 0.4, 0.4), (0.12, 0.12, 0.12), (0.06, 0.06, 0.06),
    (0.36, 0.2, 0.1), (0.1, 0.1, 0.5), (0.3, 0.42, 0.5), (0.22, 0.26, 0.15), (0.55, 0.42, 0.3),
)  # fmt: skip


def _vary(rng: np.random.Generator, colour: Colour, spread: float) -> Colour:
    b, g, r = np.clip(np.array(colour) * rng.normal(1, spread, 3), 0.01, 1)
    return float(b), float(g), float(r)


def daylight(rng: np.random.Generator) -> Light:
    """Clear to lightly clouded weather."""
    low = rng.random() < 0.3
    sun = rng.uniform(0.4, 0.85)
    return Light(
        sun=float(sun),
        ambient=float(rng.uniform(0.32, 0.5)),
        azimuth=float(rng.uniform(-np.pi, np.pi)),
        elevation=float(rng.uniform(0.25, 0.5) if low else rng.uniform(0.5, 1.3)),
        tint=_vary(rng, (0.9, 0.97, 1.0) if low else (1.0, 1.0, 1.0), 0.02),
        zenith=_vary(rng, (0.78, 0.55, 0.36), 0.1),
        horizon=_vary(rng, (0.92, 0.86, 0.78), 0.05),
        cover=float(rng.uniform(0, 0.55)),
        visibility=float(rng.uniform(500, 3000)),
        glare=float(rng.uniform(0.1, 0.7)) if low and rng.random() < 0.4 else 0.0,
    )


def overcast(rng: np.random.Generator) -> Light:
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


def dusk(rng: np.random.Generator) -> Light:
    """A low or set sun."""
    level = rng.uniform(0.25, 0.6)
    return Light(
        sun=float(level * rng.uniform(0, 0.7)),
        ambient=float(level * 0.55),
        azimuth=float(rng.uniform(-np.pi, np.pi)),
        elevation=float(rng.uniform(0.12, 0.3)),
        tint=_vary(rng, (0.85, 0.93, 1.0), 0.05),
        zenith=_vary(rng, (0.5 * level + 0.15, 0.32 * level + 0.08, 0.26 * level + 0.06), 0.05),
        horizon=_vary(rng, (0.45 * level + 0.1, 0.6 * level + 0.1, 0.9 * level + 0.15), 0.1),
        cloud=(0.5, 0.5, 0.65),
        cover=float(rng.uniform(0.1, 0.7)),
        visibility=float(rng.uniform(500, 2000)),
        headlights=float(rng.uniform(0.1, 0.5)),
        glare=float(rng.uniform(0.2, 0.8)) if rng.random() < 0.25 else 0.0,
    )


def night(rng: np.random.Generator) -> Light:
    """Headlights, and street lamps in town."""
    lamps = float(rng.uniform(0.1, 0.35)) if rng.random() < 0.55 else 0.0
    dark = float(rng.uniform(0.0, 0.03))
    tint = _vary(rng, (0.55, 0.85, 1.0) if lamps else (0.85, 0.95, 1.0), 0.08)
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


def _markings(
    rng: np.random.Generator, edges: list[float], us: bool, concrete: bool
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
        if outer and roll < 0.12:
            kind = "edge" if roll < 0.05 else "dashed"
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
                    colour=_vary(rng, colour, 0.06), oncoming=towards,
                    braking=bool(rng.random() < 0.15), yaw=float(rng.normal(0, 0.012)),
                )
            )  # fmt: skip
            s += float(16 + rng.exponential(45 / density))
    return tuple(vehicles)


def sample_scene(rng: np.random.Generator, camera: Camera | None = None) -> Scene:
    """One random scene; the same generator state gives the same scene.

    About one in eleven has no marking and no labelled edge at all.
    """
    camera = camera or sample_camera(rng)
    seed = int(rng.integers(2**31))
    weather = rng.choice(4, p=[0.52, 0.24, 0.12, 0.12])
    light = (daylight, overcast, dusk, night)[int(weather)](rng)
    unmarked = rng.random() < 0.09
    us = bool(rng.random() < 0.55) and not unmarked
    concrete = us and rng.random() < 0.6
    lanes = int(rng.choice([1, 2, 3, 4, 5], p=[0.05, 0.22, 0.3, 0.28, 0.15]))
    lane_width = float(np.clip(rng.normal(3.62, 0.16) if us else rng.uniform(2.8, 4.0), 2.8, 4.0))
    ego = int(rng.integers(lanes))
    edges = [0.0]
    for _ in range(lanes):
        edges.append(edges[-1] - lane_width * float(rng.uniform(0.97, 1.03)))
    middle = (edges[ego] + edges[ego + 1]) / 2
    edges = [float(e - middle) for e in edges]
    changing = rng.random() < 0.12
    offset = float(rng.uniform(-0.5, 0.5) * lane_width if changing else rng.normal(0, 0.28))
    heading = float(rng.normal(0, 0.03 if changing else 0.008))
    sharp = rng.random()
    if sharp < 0.45:
        curvature = rng.normal(0, 1 / 4000)
    elif sharp < 0.85:
        curvature = rng.normal(0, 1 / 700)
    else:
        curvature = rng.uniform(1 / 400, 1 / 150) * rng.choice([-1, 1])
    curvature = float(np.clip(curvature, -1 / 150, 1 / 150))
    rate = float(rng.normal(0, 1 / (800 * 60)) if sharp > 0.3 else 0.0)
    hilly = rng.random() < 0.5
    vertical = float(rng.normal(0, 1 / 2500)) if hilly else 0.0
    vertical_rate = float(rng.normal(0, 1 / (2500 * 80))) if hilly else 0.0

    oncoming = bool(not us and ego > 0 and rng.random() < 0.3)
    markings = () if unmarked else _markings(rng, edges, us, concrete)
    shoulder_left = float(rng.uniform(0.3, 3.2))
    shoulder_right = float(rng.uniform(0.3, 3.5))
    if unmarked:
        shoulder_left, shoulder_right = (float(v) for v in rng.uniform(0.0, 1.5, 2))
        if rng.random() < 0.3:
            shoulder_left, shoulder_right = (float(v) for v in rng.uniform(5, 25, 2))
    for marking in markings:
        if marking.kind == "edge" and marking.offset == edges[0]:
            shoulder_left = 0.0
        if marking.kind == "edge" and marking.offset == edges[-1]:
            shoulder_right = 0.0
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
    if not unmarked and not oncoming and rng.random() < 0.4:
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
                colour = _vary(rng, CAR_COLOURS[int(rng.integers(len(CAR_COLOURS)))], 0.06)
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
        verge=_vary(rng, verge[int(rng.integers(4))], 0.07),
        verge_width=float(rng.uniform(0.3, 5)),
        field=_vary(rng, fields[int(rng.integers(4))], 0.07),
        paint=float(rng.uniform(0.7, 1.0)),
        tree_shade=float(rng.uniform(0.1, 1.0)) if light.sun > 0.2 and rng.random() < 0.25 else 0.0,
        tree_side=float(rng.choice([-1, 1])),
    )
    barriers = []
    for side, edge in ((1, pavement.left), (-1, pavement.right)):
        if not unmarked and rng.random() < (0.65 if side > 0 else 0.4):
            kind = str(rng.choice(["concrete", "rail", "wall"], p=[0.55, 0.35, 0.1]))
            tone = rng.uniform(0.35, 0.65)
            barriers.append(
                Barrier(
                    edge + side * float(rng.uniform(0.1, 0.8)), kind,
                    float(rng.uniform(2.5, 5) if kind == "wall" else rng.uniform(0.7, 1.1)),
                    _vary(rng, (tone, tone, tone), 0.05),
                )
            )  # fmt: skip
    structures = []
    if not unmarked and rng.random() < 0.22:
        kind = str(rng.choice(["bridge", "gantry"]))
        structures.append(
            Structure(
                s=seed % 977 + float(rng.uniform(8, 150)), kind=kind,
                length=float(rng.uniform(8, 30)) if kind == "bridge" else 0.3,
                clearance=float(rng.uniform(5, 6.5)),
                colour=_vary(
                    rng, (0.24, 0.3, 0.08) if kind == "gantry" else (0.45, 0.46, 0.47), 0.1
                ),
            )
        )  # fmt: skip
    roadside = Roadside(
        trees=float(rng.choice([0.0, rng.uniform(0.1, 1.0)], p=[0.15, 0.85])),
        leaves=_vary(rng, (0.12, 0.23, 0.18) if rng.random() < 0.7 else (0.12, 0.22, 0.26), 0.15),
        tree_left=(second[1] if second else pavement.left) + float(rng.uniform(3.5, 14)),
        tree_right=pavement.right - float(rng.uniform(3.5, 12)),
        posts=float(rng.uniform(28, 50)) if light.lamps or rng.random() < 0.2 else 0.0,
        hills=float(rng.uniform(0, 0.09)),
        hill_colour=_vary(rng, (0.3, 0.33, 0.3) if rng.random() < 0.6 else (0.28, 0.4, 0.48), 0.1),
        treeline=float(rng.uniform(0.004, 0.04)),
        treeline_colour=_vary(rng, (0.12, 0.17, 0.14), 0.15),
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
        lens=sample_lens(rng, bool(weather == 3)),
        curvature=curvature,
        curvature_rate=rate,
        vertical=float(np.clip(vertical, -1 / 900, 1 / 900)),
        vertical_rate=float(np.clip(vertical_rate, -1e-5, 1e-5)),
        offset=offset,
        heading=heading,
        reach=LABEL_RANGE,
    )
