"""The ground: pavement, paint, shadows, light. Every stripe is filtered by the pixel's footprint,
so far markings fade as they do in a real image instead of flickering."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from . import glyphs
from .road_geometry import Ground, Marking
from .scene_camera import Array
from .spec import Light, Patch, Pavement, Skid
from .textures import cracks, layers, noise, sample

_CELL = 0.05  #: metres of d per texel of the profile
_HALF = 48.0  #: metres of d on either side that the profile covers
_LEVELS = 8  #: footprints of one cell, two, four, ...

YELLOW = np.array([0.30, 0.68, 0.93], np.float32)
WHITE = np.array([0.98, 1.0, 1.0], np.float32)


def _inside(value: Array, low: float, high: float, footprint: Array) -> Array:
    """How much of each pixel's footprint lies between two bounds, 0..1."""
    return np.clip((value - low) / footprint + 0.5, 0, 1) - np.clip(
        (value - high) / footprint + 0.5, 0, 1
    )


def _dashes(s: Array, period: float, length: float, footprint: Array) -> Array:
    """How much of each footprint along s is painted: the exact box filter of a square wave."""

    def painted(at: Array) -> Array:
        turns = at * np.float32(1 / period)
        whole = np.floor(turns)
        return whole * np.float32(length) + np.minimum(
            (turns - whole) * np.float32(period), np.float32(length)
        )

    half = np.maximum(footprint, 1e-3) * np.float32(0.5)
    return (painted(s + half) - painted(s - half)) / (2 * half)


def coverage(marking: Marking, d: Array, s: Array, across: Array, along: Array) -> Array:
    """The share of each pixel that the marking's paint covers when fresh, float32 0..1.

    Arrays of one shape: the pixel's d and s and its footprint along both, metres.
    """

    def line(kind: str, offset: float) -> Array:
        inside = _inside(d, offset - marking.width / 2, offset + marking.width / 2, across)
        if kind == "solid":
            return inside
        return inside * _dashes(s - marking.phase, marking.period, marking.length, along)

    kind = "dashed" if marking.kind == "dots" else marking.kind
    if not marking.double:
        return line(kind, marking.offset)
    shift = (marking.gap + marking.width) / 2
    return line(kind, marking.offset + shift) + line(marking.double, marking.offset - shift)


def _profile(pavement: Pavement, markings: tuple[Marking, ...]) -> Array:
    """Colour and roughness over d, one row per footprint: float32 (levels, cells, 4)."""
    d = np.arange(-_HALF, _HALF, _CELL).astype(np.float32)
    ones = np.ones((len(d), 1), np.float32)
    base = np.array(pavement.base, np.float32)
    colour = ones * base
    paved = (d > pavement.right) & (d < pavement.left)
    if pavement.second:
        paved |= (d > pavement.second[0]) & (d < pavement.second[1])
    edges = pavement.lane_edges
    gain = np.full(len(d), pavement.shoulder_gain, np.float32)
    for left, right, lane_gain in zip(edges, edges[1:], pavement.lane_gains, strict=False):
        lane = (d <= left) & (d > right)
        middle = (left + right) / 2
        wheel = np.exp(-(((np.abs(d - middle) - 0.8) / 0.28) ** 2))
        oil = np.exp(-(((d - middle) / 0.45) ** 2))
        gain[lane] = (lane_gain * (1 - pavement.tracks * wheel - pavement.oil * oil))[lane]
    for marking in markings:
        if marking.seam:
            at = np.abs(d - marking.offset - marking.seam)
            gain *= np.where(at < 0.03, 0.35, np.where(at < 0.09, 0.86, 1)).astype(np.float32)
    colour *= gain[:, None]
    beyond = np.where(d >= pavement.left, d - pavement.left, pavement.right - d)
    blend = np.clip((beyond - pavement.verge_width) / 1.5, 0, 1)[:, None]
    verge = np.array(pavement.verge, np.float32) * (1 - blend) + blend * np.array(
        pavement.field, np.float32
    )
    near = np.where(np.abs(beyond) < 0.12, pavement.edge_gain, 1.0)[:, None]
    colour = np.where(paved[:, None], colour, verge) * near
    rough = np.where(paved, 1.0, 3.2)[:, None]
    row = np.concatenate([colour, rough], axis=1).astype(np.float32)
    rows = [row]
    for level in range(1, _LEVELS):
        rows.append(cv2.blur(row[None], (2**level + 1, 1), borderType=cv2.BORDER_REPLICATE)[0])
    return np.stack(rows)


def _rows(start: float, end: float, reach: tuple[Array, Array]) -> slice:
    """The image rows that may see a stretch of road; `reach` holds each row's least and greatest
    s."""
    rows = np.flatnonzero((reach[1] > start - 1) & (reach[0] < end + 1))
    return slice(int(rows[0]), int(rows[-1]) + 1) if len(rows) else slice(0, 0)


def _patch(patch: Patch, ground: Ground, s: Array, rows: slice) -> Array:
    share = _inside(ground.d[rows], patch.right, patch.left, ground.across[rows]) * _inside(
        s[rows], patch.start, patch.end, ground.along[rows]
    )
    if not patch.glyph or not share.size:
        return share
    length = patch.end - patch.start
    left = (patch.left - ground.d[rows]) * np.float32(1 / (patch.left - patch.right))
    far = (patch.end - s[rows]) * np.float32(1 / length)
    along = float(np.median(ground.along[rows])) / length
    return share * glyphs.coverage(patch.glyph, left, far, along)


def _stray(s: Array, metres: float, seed: float) -> Array:
    """A random walk over s, of unit deviation, that repeats after this many metres."""
    return sample(noise(1.1, 13), s * np.float32(1 / metres), np.full_like(s, seed % 1))


def _skid(skid: Skid, ground: Ground, s: Array, rows: slice) -> Array:
    at = s[rows] - np.float32(skid.start)
    middle = skid.offset + at * np.float32(skid.slant) + at * at * np.float32(skid.bend / 2)
    if skid.wander:
        middle += np.float32(skid.wander) * _stray(s[rows], 41.0, skid.offset + skid.start)
    footprint = ground.across[rows] + ground.along[rows] * np.float32(abs(skid.slant))
    across = np.asarray(ground.d[rows] - middle, np.float32)
    inside = _inside(across, -skid.width / 2, skid.width / 2, footprint)
    ends = np.clip(at * 2, 0, 1) * np.clip((skid.end - s[rows]) * 2, 0, 1)
    return np.asarray(inside * ends, np.float32)


def beams(ground: Ground, strength: float, reach: float) -> Array:
    """Light of the own headlights on the ground, float32; see `Light`."""
    x, y = ground.x, ground.y
    spread = 1.6 + 0.17 * x
    aside = ((y + 0.02 * x) / spread) ** 2
    if not reach:
        pool = np.exp(-aside) * np.clip((x - 2.5) / 9, 0, 1)
        return np.asarray(strength * pool * (1.3 * np.exp(-x / 32) + 0.1), np.float32)
    # Low beams: a bright field with an edge at its sides and a cut-off ahead, little beyond.
    field = np.exp(-(aside**2)) * np.exp(-((x / reach) ** 4)) * np.clip((x - 3) / 6, 0, 1)
    beyond = 0.06 * np.exp(-aside / 4 - x / 60)
    return np.asarray(strength * (1.5 * field * np.exp(-x / 40) + beyond), np.float32)


def _kept(footprint: Array, detail: float) -> Array:
    """How much detail of this size, in metres, a footprint leaves, 0..1."""
    return np.asarray(1 / (1 + (footprint * np.float32(1 / detail)) ** 2), np.float32)


@dataclass(frozen=True)
class _Texture:
    """Noise over the ground, and how much of it each pixel's footprint leaves; (rows, W)."""

    s: Array  #: metres into the world
    shift: np.float32
    grain: Array
    gravel: Array
    blotch: Array
    streak: Array
    near: Array  #: what is left of detail of centimetres
    middle: Array  #: and of decimetres

    @classmethod
    def of(cls, ground: Ground, s: Array, seed: int) -> _Texture:
        shift = np.float32((seed % 97) / 97)
        near = _kept(ground.along, 0.06)
        middle = _kept(ground.along, 0.7)
        fine = sample(
            layers((0.3, 1, 1.0), (0.9, 3, 1.0)),
            s * np.float32(1 / 27) + shift,
            ground.d * np.float32(1 / 22) + shift,
        )
        coarse = sample(
            layers((1.3, 2, 1.0), (0.9, 4, 4.0)),
            s * np.float32(1 / 150) + shift,
            ground.d * np.float32(1 / 38),
        )
        return cls(
            s, shift, fine[..., 0], fine[..., 1], coarse[..., 0], coarse[..., 1], near, middle
        )

    def stones(self, ground: Ground) -> Array:
        """They show only near the camera: rows whose footprint is a few centimetres."""
        first = int(np.argmax(ground.along.min(axis=1) < 0.12))
        part = slice(first, None)
        out = np.zeros_like(self.s)
        scale = np.float32(1 / 5.3)
        look = sample(noise(0.25, 12), self.s[part] * scale, ground.d[part] * scale + self.shift)
        out[part] = look / (1 + (ground.along[part] * np.float32(1 / 0.035)) ** 2)
        return out


def reflectance(
    ground: Ground, s: Array, pavement: Pavement, markings: tuple[Marking, ...], seed: int
) -> tuple[Array, Array]:
    """Colour (rows, W, 3) of the unlit ground and the share of paint (rows, W); s is absolute."""
    texture = _Texture.of(ground, s, seed)
    base = _plan(ground, s, pavement, markings)
    colour = np.ascontiguousarray(base[..., :3])
    gain = _roughness(ground, texture, pavement, base[..., 3])
    reach = s.min(axis=1), s.max(axis=1)
    for patch in pavement.patches:
        if patch.gain == 1:
            continue
        rows = _rows(patch.start, patch.end, reach)
        gain[rows] *= 1 + _patch(patch, ground, s, rows) * np.float32(patch.gain - 1)
    for skid in pavement.skids:
        rows = _rows(skid.start, skid.end, reach)
        gain[rows] *= 1 + _skid(skid, ground, s, rows) * np.float32(skid.gain - 1)
    colour *= np.clip(gain, 0.15, 2.2)[..., None]
    paint = np.zeros_like(s)
    for patch in pavement.patches:
        if patch.paint:
            rows = _rows(patch.start, patch.end, reach)
            share = _patch(patch, ground, s, rows) * np.float32(patch.paint)
            worn = 0.25 * texture.blotch[rows] + 0.15 * texture.gravel[rows]
            share = share * np.clip(1 + worn, 0, 1)
            colour[rows] += share[..., None] * (WHITE * np.float32(pavement.paint) - colour[rows])
            paint[rows] = np.maximum(paint[rows], share)
    for marking in markings:
        if marking.labelled:
            _mark(colour, paint, ground, texture, marking, pavement.paint)
    return colour, paint


def _plan(ground: Ground, s: Array, pavement: Pavement, markings: tuple[Marking, ...]) -> Array:
    """The profile's colour and roughness at each pixel, (rows, W, 4)."""
    d = ground.d
    level = np.log2(np.maximum(ground.across, _CELL) * np.float32(1 / _CELL))
    if pavement.ragged:
        from_edge = np.minimum(np.abs(d - pavement.left), np.abs(d - pavement.right))
        amount = np.clip(np.float32(1.5) - from_edge, 0, 1) * np.float32(pavement.ragged)
        d = d + amount * np.where(d > 0, _stray(s, 63.0, 0.3), _stray(s, 71.0, 0.8))
    cell = (d + np.float32(_HALF)) * np.float32(1 / _CELL) - np.float32(0.5)
    plan = cv2.remap(
        _profile(pavement, markings),
        np.clip(cell, 0, 2 * _HALF / _CELL - 1),
        np.minimum(level, _LEVELS - 1),
        cv2.INTER_LINEAR,
    )
    if pavement.cross:
        share = _inside(s, *pavement.cross, ground.along)[..., None]
        plan += share * (np.array([*pavement.base, 1.0], np.float32) - plan)
    return plan


def _roughness(ground: Ground, texture: _Texture, pavement: Pavement, rough: Array) -> Array:
    """Brightness around 1 of each pixel: stones, blotches, joints, cracks."""
    s, d = texture.s, ground.d
    gain = 1 + rough * (
        texture.stones(ground) * np.float32(pavement.grain * 1.7)
        + texture.grain * (texture.near * np.float32(pavement.grain * 0.7))
        + texture.gravel * (texture.middle * np.float32(pavement.grain * 0.35))
        + texture.blotch * np.float32(pavement.blotches)
    )
    gain += texture.streak * np.float32(pavement.streaks)
    paved = _inside(d, pavement.right, pavement.left, ground.across)
    if pavement.joint_period:
        joint = _dashes(s, pavement.joint_period, 0.05, ground.along)
        slab = np.floor(s * np.float32(1 / pavement.joint_period))
        gain *= 1 - joint * paved * np.float32(pavement.joint_depth)
        gain += paved * np.float32(0.04) * np.sin(slab * 12.9898) * texture.middle
    if pavement.cracks:
        crack = sample(cracks(), s * np.float32(1 / 9) + texture.shift, d * np.float32(1 / 6.3))
        patchy = np.clip(texture.blotch + 0.5, 0, 1)
        fade = _kept(ground.along, 0.12)
        gain *= 1 - crack * patchy * fade * paved * np.float32(pavement.cracks)
    return np.asarray(gain, np.float32)


def _mark(
    colour: Array, paint: Array, ground: Ground, texture: _Texture, marking: Marking, fresh: float
) -> None:
    """Lays a marking over the ground's colour and share of paint."""
    half = marking.width / 2 + ((marking.gap + marking.width) / 2 if marking.double else 0.0)
    # Paint touches few pixels: only those are computed.
    at = np.nonzero(np.abs(ground.d - np.float32(marking.offset)) < half + 0.5 * ground.across)
    s, blotch = texture.s[at], texture.blotch[at]
    share = coverage(marking, ground.d[at], s, ground.across[at], ground.along[at])
    wear = np.full_like(s, marking.wear)
    if marking.worn_from > -1e8 or marking.worn_to < 1e8:
        wear *= np.clip(np.minimum(s - marking.worn_from, marking.worn_to - s) / 8, 0, 1)
    rough = texture.gravel[at] * 0.22 * texture.middle[at] + blotch * 0.3
    share *= np.clip(1.1 - wear * 1.25 + rough * (0.15 + wear * 1.6), 0, 1)
    share *= s > marking.start
    tone = (YELLOW if marking.colour == "yellow" else WHITE) * np.float32(fresh)
    tone = tone * (1 + 0.05 * texture.grain[at] * texture.near[at])[..., None]
    colour[at] += share[..., None] * (tone - colour[at])
    paint[at] = np.maximum(paint[at], share)


def shade_of_trees(ground: Ground, s: Array, pavement: Pavement, seed: int) -> Array:
    """How much sun gets through the trees beside and over the road, float32 0..1."""
    sun = np.ones_like(s)
    shift = np.float32(seed % 31)
    if pavement.tree_shade:
        crowns = sample(
            noise(1.2, 6), s * np.float32(1 / 90) + shift, ground.d * np.float32(1 / 70)
        )
        edge = pavement.right if pavement.tree_side < 0 else pavement.left
        into = np.abs(ground.d - np.float32(edge)) / np.float32(pavement.left - pavement.right)
        into = np.where((ground.d - edge) * pavement.tree_side > 0, 0, into)
        density = crowns * 0.8 + (pavement.tree_shade * 1.6 - into) * 3
        sun -= 0.95 * np.clip(density / (0.06 + ground.along * 0.1) + 0.5, 0, 1)
    if pavement.dapple:
        # Crowns, and the gaps between their leaves: the further away, the more they blend.
        crowns = sample(
            noise(1.5, 6), s * np.float32(1 / 36) + shift, ground.d * np.float32(1 / 30)
        )
        leaves = sample(noise(1.25, 14), s * np.float32(1 / 22), ground.d * np.float32(1 / 15))
        gaps = crowns * 0.75 + leaves * 0.7 * _kept(ground.along, 0.8) + 1.6 - 3.2 * pavement.dapple
        sun *= 0.04 + 0.96 * np.clip(gaps / (0.8 + ground.along * 0.3) + 0.5, 0, 1)
    return np.asarray(sun, np.float32)


def lit(
    colour: Array, paint: Array, ground: Ground, sun: Array, light: Light, extra: Array
) -> Array:
    """Radiance of the ground: colour under sun (0..1, shadows), sky, beams and `extra` light."""
    level = light.ambient + light.sun * sun + extra
    out = colour * (level[..., None] * np.array(light.tint, np.float32))
    if light.headlights:
        beam = beams(ground, light.headlights, light.reach)
        # Paint throws headlights back to the driver.
        out += colour * (beam * (1 + 0.9 * paint))[..., None]
    return out
