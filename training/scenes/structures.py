"""What spans the road: bridges, gantry signs, tunnels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .canvas import Canvas, Drawing
from .spec import Structure

Span = tuple[float, float]  #: from and to, metres
Tone = tuple[float, float, float]  #: 8-bit BGR

_FACING = (-1.0, 0.0, 0.0)  #: a surface that looks back at the vehicle
_WIDE = 26.0  #: metres a bridge reaches beyond the pavement
_LIGHTS = 6.0  #: metres between the lamps of a tunnel


def structure_drawings(
    canvas: Canvas, structure: Structure, s0: float, left: float, right: float
) -> list[Drawing]:
    """Bridges, gantries and tunnels over the road between d = left and d = right."""
    start = structure.s - s0
    over = _Over(
        canvas, start, start + structure.length, left, right, structure.clearance,
        np.array(structure.colour), s0,
    )  # fmt: skip
    if over.end < 1 or start > 320:
        return []
    kinds = {"gantry": _Over.gantry, "bridge": _Over.bridge, "tunnel": _Over.tunnel}
    return kinds[structure.kind](over)


@dataclass(frozen=True)
class _Over:
    """A structure from `start` to `end` metres ahead, `low` metres above the road."""

    canvas: Canvas
    start: float
    end: float
    left: float
    right: float
    low: float
    colour: NDArray[np.float64]
    s0: float

    def across(self, s: float, d: Span, z: Span, tone: Tone) -> None:
        """A panel that stands across the road."""
        corners = [d[0], d[1], d[1], d[0]], [z[0], z[0], z[1], z[1]]
        self.canvas.fill(self.canvas.path.points([s] * 4, *corners), tone)

    def along(self, s: Span, d: float, z: Span, tone: Tone) -> None:
        """A panel that stands along the road."""
        corners = [s[0], s[0], s[1], s[1]], [d] * 4, [z[0], z[1], z[1], z[0]]
        self.canvas.fill(self.canvas.path.points(*corners), tone)

    def flat(self, s: Span, d: Span, z: float, tone: Tone) -> None:
        """A level panel."""
        corners = [s[0], s[0], s[1], s[1]], [d[0], d[1], d[1], d[0]], [z] * 4
        self.canvas.fill(self.canvas.path.points(*corners), tone)

    def gantry(self) -> list[Drawing]:
        return [(self.start, self._sign)] if self.start >= 1 else []

    def _sign(self) -> None:
        s, low = self.start, self.low
        tone = self.canvas.tone((0.38, 0.38, 0.38), s, _FACING)
        for d in (self.left + 1.0, self.right - 1.0):
            self.across(s, (d - 0.2, d + 0.2), (0, low + 2), tone)
        for z in (low + 0.4, low + 1.8):
            self.across(s, (self.left + 1, self.right - 1), (z, z + 0.22), tone)
        letters = (0.85, 0.88, 0.88)
        for share, rest in ((0.68, 0.32), (0.3, 0.7)):
            middle = share * self.left + rest * self.right
            for half, z1, z2, colour in (
                (2.4, 0.0, 2.4, (0.8, 0.85, 0.85)),
                (2.3, 0.1, 2.3, self.colour),
                (1.7, 1.5, 1.8, letters),
                (1.2, 0.9, 1.2, letters),
                (0.5, 0.35, 0.65, letters),
            ):
                tone = self.canvas.tone(colour, s, (-0.9, 0, 0.3), 0.25)
                self.across(s - 0.3, (middle + half, middle - half), (low + z1, low + z2), tone)

    def bridge(self) -> list[Drawing]:
        pillars: list[Drawing] = [
            (at + 0.1, partial(self._pillars, at))
            for at in (self.end - 2.0, self.start + 2.0)
            if at > 1
        ]
        return [*pillars, (max(self.start, 0.2), self._deck)]

    def _pillars(self, at: float) -> None:
        tone = self.canvas.tone(self.colour * 0.8, at, _FACING)
        for d in (self.left + 3.0, self.right - 3.0):
            self.across(at, (d - 0.6, d + 0.6), (0, self.low), tone)

    def _deck(self) -> None:
        span, low = (self.left + _WIDE, self.right - _WIDE), self.low
        if self.start > 0.5:
            for z1, z2, gain in ((0.0, 1.5, 1.0), (1.5, 2.3, 1.12), (1.42, 1.5, 0.5)):
                tone = self.canvas.tone(self.colour * gain, self.start, _FACING)
                self.across(self.start, span, (low + z1, low + z2), tone)
        tone = self.canvas.tone(self.colour * 0.42, max(self.start, 0), (0, 0, -1))
        self.flat((max(self.start, 0.5), self.end), span, low, tone)

    def tunnel(self) -> list[Drawing]:
        """Walls and ceiling in rings, with lamps along the ceiling."""
        end = min(self.end, 300.0)
        edges = [max(self.start, -4.0)]
        while edges[-1] < end:
            edges.append(edges[-1] + max(4.0, 0.08 * abs(edges[-1])))
        edges[-1] = end
        rings: list[Drawing] = [
            ((a + b) / 2 if a > 0 else max(b / 2, 0.1), partial(self._ring, a, b))
            for a, b in pairwise(edges)
        ]
        return [*rings, (self.start - 0.05, self._portal)] if self.start > 1 else rings

    def _ring(self, a: float, b: float) -> None:
        middle, low = max((a + b) / 2, 0.0), self.low
        walls = self.left + 0.3, self.right - 0.3
        for d in walls:
            for z, gain, glow in (((0, low * 0.6), 1.0, 0.55), ((low * 0.6, low), 0.6, 0.5)):
                self.along((a, b), d, z, self.canvas.tone(self.colour * gain, middle, glow=glow))
        self.flat((a, b), walls, low, self.canvas.tone(self.colour * 0.35, middle, glow=0.5))
        first = np.ceil((a + self.s0) / _LIGHTS) * _LIGHTS - self.s0
        for share, rest in ((0.7, 0.3), (0.3, 0.7)):
            d = share * self.left + rest * self.right
            for at in np.arange(first, b, _LIGHTS).tolist():
                tone = self.canvas.tone((0.8, 0.95, 1.0), at, glow=1.0)
                self.flat((at, at + 2.4), (d - 0.2, d + 0.2), low - 0.02, tone)

    def _portal(self) -> None:
        """The wall around the mouth and the hill it leads into."""
        left, right, top, s = self.left, self.right, self.low + 3.0, self.start
        green = self.canvas.tone((0.16, 0.31, 0.26), s, (-0.6, 0, 0.8))
        for inner, side, edge in ((left + 1.0, 1, left), (right - 1.0, -1, right)):
            last = top + 3.6
            for reach, height in ((12, top + 3.2), (34, 5.0), (80, 0.0)):
                outer = edge + side * reach
                size = (abs(outer - inner), top + 3)
                self._rough(s + 0.5, (inner, outer), (0, last, height), size, green, 0.08)
                inner, last = outer, height
        crest = top, top + 3.6, top + 3.6
        self._rough(s + 0.5, (left + 1.1, right - 1.1), crest, (left - right, 3.6), green, 0.08)
        tone = self.canvas.tone(self.colour * 0.9, s, (-1, 0, 0.2))
        mouth = left + 0.3, right - 0.3
        for d, z in (((mouth[0], left + 9), 0.0), ((right - 9, mouth[1]), 0.0), (mouth, self.low)):
            self._rough(s, d, (z, top, top), (abs(d[1] - d[0]), top - z), tone, 0.03)

    def _rough(
        self, s: float, d: Span, z: tuple[float, float, float], size: Span, tone: Tone, rough: float
    ) -> None:
        """A textured panel across the road; `z`: its foot, and its top at both ends."""
        corners = [d[0], d[1], d[1], d[0]], [z[0], z[0], z[2], z[1]]
        self.canvas.textured(self.canvas.path.points([s] * 4, *corners), size, tone, rough)
