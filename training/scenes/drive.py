"""A drive that runs on in time: the demonstration's default input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .conditions import CAR_COLOURS
from .render import Rendering, render_along
from .road_geometry import BEHIND, STEP, Marking, Path
from .scene_camera import SceneCamera
from .spec import Barrier, Lens, Light, Patch, Pavement, Roadside, Scene, Skid, Structure, Vehicle

DURATION = 20.0  #: seconds of a drive
RATE = 20.0  #: frames per second a drive is meant for
_LANE = 3.65  #: metres
_EDGES = (1.5 * _LANE, 0.5 * _LANE, -0.5 * _LANE, -1.5 * _LANE)
_LENGTH = 700.0  #: metres driven at most: 35 m/s for 20 s


def _smooth(value: float, start: float, end: float) -> float:
    """0 before start, 1 after end, with level ends between."""
    t = min(max((value - start) / (end - start), 0.0), 1.0)
    return t * t * t * (t * (6 * t - 15) + 10)


def drive_camera(width: int = 1280, height: int = 720) -> SceneCamera:
    """The drive's own camera: behind the windscreen, horizon a little above the middle."""
    return SceneCamera(
        width=width, height=height, fx=0.82 * width, fy=0.82 * width, cx=width / 2 - 0.5,
        cy=height / 2 - 0.5, height_m=1.5, pitch=0.068,
    )  # fmt: skip


class Drive:
    """Twenty seconds on a three-lane motorway: bends to both sides, traffic, two lane changes,
    worn paint, a bridge's shadow, a tunnel, and dusk at the end.

    Textures and things stand still in the world; the same seed and time give the same picture.
    """

    def __init__(
        self, seed: int = 0, camera: SceneCamera | None = None, speed: float = 25.0
    ) -> None:
        """Args: seed; camera (default `drive_camera()`); speed in m/s."""
        self.camera = camera or drive_camera()
        self.speed = speed
        self._seed = seed
        rng = np.random.default_rng(seed)
        self._arc = np.arange(-BEHIND - 8, _LENGTH + 900, STEP, dtype=np.float64)
        self._curvature = self._bends(self._arc, float(rng.choice([-1.0, 1.0])))
        self._north = np.concatenate([[0.0], np.cumsum(self._curvature)[:-1] * STEP])
        self._vertical = self._hills(self._arc, float(rng.uniform(0, 2 * np.pi)))
        self._world = self._lay_out(rng)
        self._traffic = self._start_traffic(rng)

    @staticmethod
    def _bends(arc: NDArray[np.float64], side: float) -> NDArray[np.float64]:
        """Curvature in 1/m over the road."""
        bends = ((60.0, 190.0, 1 / 380), (215.0, 360.0, -1 / 300), (420.0, 560.0, 1 / 450))
        out = np.zeros_like(arc)
        for start, end, peak in bends:
            t = np.clip((arc - start) / (end - start), 0, 1)
            out += side * peak * np.sin(np.pi * t) ** 2
        return out

    @staticmethod
    def _hills(arc: NDArray[np.float64], phase: float) -> NDArray[np.float64]:
        """Vertical curvature in 1/m: long, gentle waves."""
        return np.asarray(2.2e-4 * np.sin(2 * np.pi * arc / 310 + phase))

    def _lay_out(self, rng: np.random.Generator) -> Scene:
        wear = {"worn_from": 225.0, "worn_to": 330.0}
        dashes = {"kind": "dashed", "period": 12.2, "length": 3.6, "width": 0.13}
        markings = (
            Marking(_EDGES[0], "solid", "yellow", 0.15, wear=0.35),
            Marking(_EDGES[1], **dashes, wear=0.62, **wear),  # type: ignore[arg-type]
            Marking(_EDGES[2], **dashes, wear=0.62, **wear),  # type: ignore[arg-type]
            Marking(_EDGES[3], "solid", width=0.16, wear=0.12),
        )
        patches = [
            Patch(70, 88, -0.5 * _LANE + 0.2, 0.5 * _LANE - 0.1, 0.8),
            Patch(236, 262, -1.5 * _LANE + 0.3, -0.5 * _LANE - 0.2, 0.78),
            Patch(330, 342, 0.5 * _LANE + 0.2, 1.5 * _LANE - 0.4, 1.16),
        ]
        skids = [
            Skid(
                float(s), float(s + rng.uniform(10, 40)), float(rng.uniform(-5, 5)),
                float(rng.normal(0, 0.01)), float(rng.normal(0, 6e-4)),
                float(rng.uniform(0.05, 0.2)), float(rng.uniform(0.72, 0.9)),
            )
            for s in np.arange(20, 620, 30)
        ]  # fmt: skip
        pavement = Pavement(
            left=_EDGES[0] + 1.3, right=_EDGES[3] - 2.9, base=(0.385, 0.39, 0.395),
            lane_edges=_EDGES, lane_gains=(1.03, 0.97, 1.0), shoulder_gain=0.88, grain=0.085,
            streaks=0.035, blotches=0.045, tracks=0.05, oil=0.07, cracks=0.25,
            patches=tuple(patches), skids=tuple(skids), verge=(0.27, 0.36, 0.41), verge_width=1.6,
            field=(0.17, 0.33, 0.27), paint=0.95,
        )  # fmt: skip
        barriers = (
            Barrier(pavement.left + 0.35, "concrete", 0.9, (0.5, 0.53, 0.55), -100, 385),
            Barrier(pavement.left + 0.35, "concrete", 0.9, (0.5, 0.53, 0.55), 455, 1400),
            Barrier(pavement.right - 0.6, "rail", 0.78, (0.52, 0.52, 0.5), 30, 384),
            Barrier(pavement.right - 0.6, "rail", 0.78, (0.52, 0.52, 0.5), 456, 1400),
        )
        structures = (
            Structure(104, "gantry", 0.3, 5.6, (0.22, 0.36, 0.06)),
            Structure(176, "bridge", 13, 5.6, (0.46, 0.48, 0.49)),
            Structure(385, "tunnel", 70, 5.8, (0.6, 0.64, 0.66)),
        )
        roadside = Roadside(
            trees=0.75, tree_left=pavement.left + 6.5, tree_right=pavement.right - 5.5,
            posts=40.0, hills=0.05, treeline=0.016,
        )  # fmt: skip
        lens = Lens(exposure=1.08, metering=0.3, noise=0.006, jpeg=100, vignette=0.12, motion=0.006)
        return Scene(
            seed=self._seed, camera=self.camera, markings=markings, pavement=pavement,
            barriers=barriers, structures=structures, roadside=roadside, lens=lens,
        )  # fmt: skip

    @staticmethod
    def _start_traffic(rng: np.random.Generator) -> list[tuple[float, float, float, Vehicle]]:
        """(place at t = 0, speed in m/s, lane middle d, vehicle) of everyone else."""
        left, middle, right = _LANE, 0.0, -_LANE
        plan = [
            (34.0, 25.6, middle, "car"), (88.0, 24.6, middle, "suv"), (150.0, 25.5, middle, "van"),
            (22.0, 21.8, right, "truck"), (72.0, 22.3, right, "car"), (118.0, 22.0, right, "truck"),
            (175.0, 22.5, right, "van"), (-14.0, 30.2, left, "car"), (46.0, 28.3, left, "suv"),
            (120.0, 28.5, left, "car"), (-120.0, 31.0, left, "car"), (210.0, 25.0, middle, "car"),
        ]  # fmt: skip
        out = []
        for place, speed, lane, kind in plan:
            colour = (
                (0.78, 0.79, 0.78)
                if kind in ("truck", "van")
                else CAR_COLOURS[int(rng.integers(len(CAR_COLOURS)))]
            )
            out.append((place, speed, lane, Vehicle(0.0, 0.0, kind, colour)))
        return out

    def offset(self, t: float) -> float:
        """Metres the vehicle is left of the middle lane's middle at t seconds."""
        wander = 0.12 * np.sin(0.9 * t) + 0.06 * np.sin(2.3 * t + 1)
        return float(_LANE * (_smooth(t, 4.2, 8.4) - _smooth(t, 10.4, 14.6)) + wander)

    def light(self, t: float) -> Light:
        """Full day first, dusk with headlights at the end."""
        day = Light(
            sun=0.74, ambient=0.58, azimuth=-1.9, elevation=0.75, cover=0.42, visibility=1500,
            zenith=(0.82, 0.58, 0.36), horizon=(0.93, 0.88, 0.82),
        )  # fmt: skip
        evening = Light(
            sun=0.1, ambient=0.24, azimuth=-1.9, elevation=0.3, cover=0.42, visibility=1100,
            tint=(0.92, 0.93, 1.0), zenith=(0.42, 0.27, 0.19), horizon=(0.42, 0.52, 0.78),
            cloud=(0.47, 0.44, 0.58), headlights=0.55, lamps=0.12,
        )  # fmt: skip
        share = _smooth(t, 11.5, 18.0)
        mixed: dict[str, Any] = {}
        for name, start in vars(day).items():
            end = getattr(evening, name)
            if isinstance(start, tuple):
                mixed[name] = tuple(a + (b - a) * share for a, b in zip(start, end, strict=True))
            else:
                mixed[name] = start + (end - start) * share
        return Light(**mixed)

    def frame(self, t: float) -> Rendering:
        """The picture and labels at t seconds, 0 <= t <= DURATION.

        Raises:
            ValueError: t lies outside the drive.
        """
        if not 0 <= t <= DURATION:
            raise ValueError(
                f"the drive lasts from 0 to {DURATION:g} s; there is no frame at {t} s"
            )
        s0 = self.speed * t
        offset = self.offset(t)
        heading = float(
            np.arctan((self.offset(t + 0.01) - self.offset(t - 0.01)) / 0.02 / self.speed)
        )
        first = int(np.searchsorted(self._arc, s0 - BEHIND))
        part = slice(first, first + int(900 / STEP))
        arc = self._arc[part] - s0
        path = Path(arc, self._curvature[part], self._vertical[part], offset, heading)
        vehicles = []
        for place, speed, lane, vehicle in self._traffic:
            s = place + (speed - self.speed) * t
            sway = 0.12 * np.sin(0.5 * t + place)
            vehicles.append(replace(vehicle, s=float(s), d=float(lane + sway)))
        scene = replace(self._world, light=self.light(t), vehicles=tuple(vehicles))
        north = float(np.interp(s0, self._arc, self._north)) + heading
        jolt = 0.0012 * np.sin(7.1 * t) + 0.0008 * np.sin(11.7 * t + 2)
        camera = replace(self.camera, pitch=self.camera.pitch + float(jolt))
        return render_along(scene, path, camera, s0, north, round(t * 1000))
