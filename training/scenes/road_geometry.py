"""Road geometry: where the road runs, which ground a pixel sees, where its markings are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .scene_camera import Array, SceneCamera

STEP = 0.25  #: metres between entries of the tables
REACH = 800.0  #: metres of ground seen ahead
BEHIND = 12.0  #: metres of road known behind the camera
LABEL_RANGE = 90.0  #: metres; labels end here, as people's labels do, well below the horizon
MAX_GRADE = 0.1  #: relative to the road under the vehicle
MAX_TURN = 1.1  #: radians the road may turn away: it stays a function of the forward distance


@dataclass(frozen=True)
class Marking:
    """One lane boundary at a constant offset from the road's reference line (frozen)."""

    offset: float  #: metres left of the reference line, centre of the marking
    kind: str = "solid"  #: solid, dashed, dots, none
    colour: str = "white"  #: white or yellow
    width: float = 0.12  #: metres of paint
    period: float = 12.2  #: metres from one dash to the next
    length: float = 3.05  #: metres of a dash
    phase: float = 0.0  #: metres
    double: str = ""  #: kind of the second line, or empty: a single line
    gap: float = 0.12  #: metres between the lines of a double marking
    wear: float = 0.0  #: 0 fresh to 1 gone
    worn_from: float = -1e9  #: metres along the road; wear holds from here ...
    worn_to: float = 1e9  #: ... to here
    start: float = -1e9  #: metres along the road where the paint of a decoy begins
    decoy: bool = False  #: paint that bounds no lane of this carriageway: never labelled
    seam: float = 0.0  #: metres; a dark joint this far from the marking, 0 for none

    @property
    def labelled(self) -> bool:
        """Whether people would mark a boundary here: worn and hidden ones count."""
        return self.kind != "none"


class Path:
    """The road ahead of one camera pose: tables over the forward distance x of the vehicle frame.

    A point of the road has coordinates (s, d): metres along the reference line from the camera
    and metres left of it. The vehicle stands at s = 0.
    """

    def __init__(
        self,
        arc: NDArray[np.float64],
        curvature: NDArray[np.float64],
        vertical: NDArray[np.float64],
        offset: float,
        heading: float,
    ) -> None:
        """Args: arc positions (N,) from -BEHIND on, uniform; horizontal curvature (N,), 1/m,
        > 0 bends left; vertical curvature (N,), 1/m, > 0 rises; the vehicle's offset left of the
        reference line, m; its heading relative to the road, radians, > 0 points left."""
        step = arc[1] - arc[0]
        origin = int(np.argmin(np.abs(arc)))

        def integrate(values: NDArray[np.float64]) -> NDArray[np.float64]:
            total = np.concatenate([[0.0], np.cumsum((values[1:] + values[:-1]) * (step / 2))])
            return total - total[origin]

        turn = integrate(curvature)
        curvature = np.where(np.abs(turn) < MAX_TURN, curvature, 0.0)
        psi = integrate(curvature) - heading
        self.arc = arc
        self.psi = psi
        self.x = integrate(np.cos(psi)) + offset * np.sin(psi[origin])
        self.y = integrate(np.sin(psi)) - offset * np.cos(psi[origin])
        grade = np.clip(integrate(vertical), -MAX_GRADE, MAX_GRADE)
        self.z = integrate(grade)
        self._step = float(step)
        self._frame = np.stack([self.x, self.y, np.sin(psi), np.cos(psi)], axis=1)
        self.offset = offset
        self.heading = heading
        self.curvature = float(curvature[origin])
        # The surface is level across the view, so its height depends on x alone and one table
        # inverts the perspective exactly, crests included.
        grid = np.arange(0.0, REACH + STEP, STEP)
        self._s = np.interp(grid, self.x, arc).astype(np.float32)
        self._y = np.interp(grid, self.x, self.y).astype(np.float32)
        self._psi = np.interp(grid, self.x, psi).astype(np.float32)
        self._kappa = np.interp(grid, self.x, curvature).astype(np.float32)
        self._grid = grid
        self._z = np.interp(grid, self.x, self.z)

    def points(self, s: ArrayLike, d: ArrayLike, z: ArrayLike = 0.0) -> NDArray[np.float64]:
        """Road coordinates as vehicle-frame points (N, 3); z is metres above the surface."""
        at = (np.atleast_1d(np.asarray(s, np.float64)) - self.arc[0]) / self._step
        index = np.clip(at.astype(np.int64), 0, len(self.arc) - 2)
        rest = (at - index)[:, None]
        row = self._frame[index] * (1 - rest) + self._frame[index + 1] * rest
        aside = np.asarray(d, np.float64)
        x = row[:, 0] - aside * row[:, 2]
        y = row[:, 1] + aside * row[:, 3]
        out = np.empty((len(x), 3))
        out[:, 0], out[:, 1], out[:, 2] = x, y, self.surface(x) + np.asarray(z, np.float64)
        return out

    def surface(self, x: ArrayLike) -> NDArray[np.float64]:
        """Height of the ground at these forward distances, metres."""
        return np.interp(np.asarray(x, np.float64), self._grid, self._z)

    def slope_table(self, height: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(upward slope of the line of sight to the ground at x, its running maximum), for x on
        the table's grid from 1 m on, for an eye at this height in metres."""
        x = self._grid[4:]
        slope = (self._z[4:] - height) / x
        return slope, np.maximum.accumulate(slope)


@dataclass(frozen=True)
class Ground:
    """What each pixel of the image's lower part sees of the ground; float32 (rows, W) arrays."""

    top: int  #: first image row of the arrays
    visible: NDArray[np.bool_]  #: pixels that see the ground at all
    x: Array  #: metres forward
    y: Array  #: metres left
    s: Array  #: metres along the road
    d: Array  #: metres left of the reference line
    across: Array  #: metres of d per pixel
    along: Array  #: metres of s per pixel


def look_at_ground(path: Path, camera: SceneCamera, left: Array, up: Array) -> Ground:
    """Which ground each pixel sees, from the camera's ``slopes()``."""
    _, seen = path.slope_table(camera.height_m)
    x_table = path._grid[4:]
    rising = np.concatenate([[True], seen[1:] > seen[:-1] + 1e-9])
    keys, inverse = seen[rising], 1.0 / x_table[rising]
    rows = np.flatnonzero((up <= keys[-1]).any(axis=1))
    top = int(rows[0]) if len(rows) else camera.height - 1
    left, up = left[top:], up[top:]
    visible = up <= keys[-1]
    # Linear in 1/x, hence exact on a level road.
    shape = up.shape
    x = (1.0 / np.interp(up.ravel(), keys, inverse)).astype(np.float32).reshape(shape)
    y = left * x
    index = (x * np.float32(1 / STEP)).astype(np.int32)
    rest = x - index.astype(np.float32) * np.float32(STEP)
    psi = path._psi[index]
    sin, cos = np.sin(psi), np.cos(psi)
    kappa = path._kappa[index]
    tan = sin / cos
    away = np.clip(y - path._y[index] - rest * tan, -80, 80)
    # Foot point on the circle that osculates the reference line at the same x.
    a, b = away * sin, away * cos
    ahead = np.maximum(1 - kappa * b, 0.2)
    root = np.sqrt((kappa * a) ** 2 + ahead**2)
    d = (2 * b - kappa * (a * a + b * b)) / (1 + root)
    s = path._s[index] + rest / cos + a / ahead
    stretch = np.gradient(inverse, keys)
    per_slope = np.interp(x_table, x_table[rising], np.abs(stretch)).astype(np.float32)
    row = x * x * per_slope[np.clip(index - 4, 0, len(per_slope) - 1)] * np.float32(1 / camera.fy)
    column = x * np.float32(1 / camera.fx)
    across = cos * np.sqrt(column**2 + (row * (left - tan)) ** 2)
    return Ground(top, visible, x, y, s, d, across, row / cos)


def label(
    path: Path, camera: SceneCamera, marking: Marking, reach: float = LABEL_RANGE
) -> tuple[Array, Array] | None:
    """The marking's centre as (image polyline (N, 2), vehicle-frame points (N, 3)), bottom to top.

    It starts where the marking enters the image and ends at `reach` metres, behind a crest, or
    where it leaves the image. None when it is not in view.
    """
    # Even steps of 1/x are even steps of rows.
    near = 1.2
    s = 1.0 / np.linspace(1.0 / near, 1.0 / reach, 600)
    s = np.concatenate([np.linspace(-BEHIND + 1, near, 60)[:-1], s])
    ground = path.points(s, marking.offset)
    in_front = ground[:, 0] > 1.0
    slope, seen = path.slope_table(camera.height_m)
    hidden = np.interp(ground[:, 0], path._grid[4:], seen - slope) > 2e-4
    pixels = camera.project(ground)
    inside = (
        in_front
        & ~hidden
        & (pixels[:, 0] >= 0)
        & (pixels[:, 0] <= camera.width - 1)
        & (pixels[:, 1] >= 0)
        & (pixels[:, 1] <= camera.height - 1)
    )
    first = int(np.argmax(inside))
    length = int(np.argmin(inside[first:])) if not inside[first:].all() else len(s) - first
    if length < 8:
        return None
    part = slice(first, first + length)
    return pixels[part].astype(np.float32), ground[part].astype(np.float32)


def slots(markings: Sequence[Marking], offset: float) -> list[Marking | None]:
    """The markings by slot: left_3, left_2, left_1, right_1, right_2, right_3 around an offset.

    Decoys are passed over. A boundary that is not labelled keeps its slot empty: those beyond it
    do not move up.
    """
    bounds = [m for m in markings if not m.decoy]
    left = sorted((m for m in bounds if m.offset > offset), key=lambda m: m.offset)[:3]
    right = sorted((m for m in bounds if m.offset <= offset), key=lambda m: -m.offset)[:3]
    found: list[Marking | None] = [None] * 6
    for i, marking in enumerate(left):
        found[2 - i] = marking if marking.labelled else None
    for i, marking in enumerate(right):
        found[3 + i] = marking if marking.labelled else None
    return found
