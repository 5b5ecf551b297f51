"""What a scene is made of: frozen values, sampled once, drawn any number of times.

Colours are (blue, green, red) reflectances or radiances in 0..1; lengths are metres; offsets d
are metres left of the road's reference line; s runs along it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .road_geometry import Marking
from .scene_camera import SceneCamera

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Light:
    """Sun, sky and air."""

    sun: float = 0.6  #: direct light on a surface that faces the sun
    ambient: float = 0.4  #: light from the sky; sun + ambient = 1 is a bright day
    azimuth: float = 0.8  #: radians left of the road's direction
    elevation: float = 0.8  #: radians
    tint: Colour = (1.0, 1.0, 1.0)
    zenith: Colour = (0.85, 0.62, 0.42)
    horizon: Colour = (0.93, 0.88, 0.82)
    cloud: Colour = (0.97, 0.97, 0.97)
    cover: float = 0.3  #: share of the sky under clouds
    visibility: float = 1500.0  #: metres to 1/e contrast
    headlights: float = 0.0  #: strength of the own beams; > 0 also lights other cars' lamps
    reach: float = 0.0  #: metres at which the own beams end, 0 for none: they only fade
    lamps: float = 0.0  #: strength of street lamps
    wet: float = 0.0  #: 0 dry to 1 standing water
    glare: float = 0.0  #: strength of the sun's veil, when it stands ahead


@dataclass(frozen=True)
class Patch:
    """A rectangle of other pavement: repairs, bridges' decks."""

    start: float
    end: float
    right: float
    left: float
    gain: float  #: brightness relative to the pavement around
    paint: float = 0.0  #: share of white paint: arrows, zebra crossings, stop lines
    glyph: str = ""  #: shape of the paint (`glyphs.glyph`); empty: all of the rectangle


@dataclass(frozen=True)
class Skid:
    """A thin dark or bright line that is no marking: tyre marks, tar, scratches."""

    start: float
    end: float
    offset: float
    slant: float  #: metres of d per metre of s
    bend: float  #: 1/m
    width: float
    gain: float
    wander: float = 0.0  #: metres it strays to either side, as cracks do


@dataclass(frozen=True)
class Pavement:
    """The road's surface and what lies beside it."""

    left: float = 9.0  #: d of the paved left edge
    right: float = -6.0  #: d of the paved right edge
    second: tuple[float, float] | None = None  #: (right, left) d of the other carriageway
    cross: tuple[float, float] | None = None  #: (from, to) s of a road that crosses this one
    base: Colour = (0.45, 0.45, 0.45)
    lane_edges: tuple[float, ...] = (5.4, 1.8, -1.8)  #: descending d; bounds of the lanes
    lane_gains: tuple[float, ...] = ()  #: brightness of each strip between edges
    shoulder_gain: float = 0.9
    edge_gain: float = 0.75  #: brightness of the pavement's rim: dark grass, bright dust
    ragged: float = 0.0  #: metres the paved edges stray to either side
    grain: float = 0.08
    streaks: float = 0.06
    blotches: float = 0.08
    tracks: float = 0.05  #: tyre tracks, > 0 darker
    oil: float = 0.1  #: the dark middle of a lane
    joint_period: float = 0.0  #: metres between transverse joints, 0 for none
    joint_depth: float = 0.3
    cracks: float = 0.0
    patches: tuple[Patch, ...] = ()
    skids: tuple[Skid, ...] = ()
    verge: Colour = (0.28, 0.36, 0.42)
    verge_width: float = 2.0
    field: Colour = (0.2, 0.35, 0.3)
    paint: float = 0.92  #: reflectance of fresh white paint
    tree_shade: float = 0.0  #: how far tree shadows reach over the road, 0..1
    tree_side: float = -1.0  #: from the right (-1) or left (1)
    dapple: float = 0.0  #: share of the road in the shade of leaves, in patches


@dataclass(frozen=True)
class Barrier:
    """A wall or rail along the road."""

    offset: float
    kind: str = "concrete"  #: concrete, rail, wall, kerb, striped kerb, fence, panels
    height: float = 0.85
    colour: Colour = (0.5, 0.55, 0.58)
    start: float = -1e9
    end: float = 1e9


@dataclass(frozen=True)
class Vehicle:
    """A car, van or truck standing at s (its rear when it drives our way)."""

    s: float
    d: float
    kind: str = "car"  #: car, suv, van, truck, bus
    colour: Colour = (0.3, 0.3, 0.3)
    oncoming: bool = False
    braking: bool = False
    yaw: float = 0.0  #: radians relative to the road


@dataclass(frozen=True)
class Structure:
    """Something over the road: a bridge, a gantry sign, a tunnel."""

    s: float
    kind: str = "bridge"  #: bridge, gantry, tunnel
    length: float = 12.0
    clearance: float = 5.5
    colour: Colour = (0.42, 0.44, 0.45)


@dataclass(frozen=True)
class Roadside:
    """What stands beside the road and behind it."""

    trees: float = 0.5  #: density, 0..1
    leaves: Colour = (0.12, 0.25, 0.19)
    tree_left: float = 14.0  #: d nearest the road on the left
    tree_right: float = -12.0
    posts: float = 0.0  #: metres between lamp posts, 0 for none
    buildings: float = 0.0  #: share of the road's length with a building on either side
    tall: float = 12.0  #: metres, height of most buildings
    gap: tuple[float, float] | None = None  #: (from, to) s where nothing stands
    hills: float = 0.06  #: height of the hills in radians
    hill_colour: Colour = (0.32, 0.33, 0.3)
    treeline: float = 0.02  #: height of the far trees in radians
    treeline_colour: Colour = (0.14, 0.2, 0.17)


@dataclass(frozen=True)
class Lens:
    """What camera and windscreen do to the picture."""

    exposure: float = 1.0  #: gain after metering
    metering: float = 0.6  #: how far the exposure follows the picture's brightness, 0..1
    gamma: float = 1.0
    balance: Colour = (1.0, 1.0, 1.0)
    saturation: float = 1.0
    noise: float = 0.01
    blur: float = 0.0  #: sigma, pixels per 640 of width
    motion: float = 0.0  #: radial streak, share of the distance from the vanishing point
    jpeg: int = 92  #: quality, 100 for none
    vignette: float = 0.1
    reflection: float = 0.0  #: windscreen haze, relative to twice the mean brightness
    smear: float = 0.0  #: light scattered by dirt on the windscreen, relative to the brightest
    bonnet: float = 0.0  #: share of the image height the own bonnet takes
    bonnet_colour: Colour = (0.15, 0.15, 0.15)
    bonnet_round: float = 0.45  #: how far its edge falls towards the sides
    bonnet_shift: float = 0.0  #: of its middle from the image's, in half widths
    gloss: float = 0.3  #: how much of the scene it mirrors; 0 is a dashboard
    detail: float = 1.0  #: share of the resolution that the recorder keeps
    sharpen: float = 0.0  #: strength of the recorder's sharpening, with its halos
    stamp: int = 0  #: number of the time stamp burnt in, 0 for none


@dataclass(frozen=True)
class Scene:
    """Everything there is to draw in one frame, and where the vehicle stands in it."""

    seed: int
    camera: SceneCamera
    light: Light = field(default_factory=Light)
    markings: tuple[Marking, ...] = ()
    pavement: Pavement = field(default_factory=Pavement)
    barriers: tuple[Barrier, ...] = ()
    vehicles: tuple[Vehicle, ...] = ()
    structures: tuple[Structure, ...] = ()
    roadside: Roadside = field(default_factory=Roadside)
    lens: Lens = field(default_factory=Lens)
    curvature: float = 0.0  #: 1/m at the vehicle, > 0 bends left
    curvature_rate: float = 0.0  #: 1/m^2
    vertical: float = 0.0  #: 1/m at the vehicle, > 0 rises (sag), < 0 falls away (crest)
    vertical_rate: float = 0.0  #: 1/m^2
    offset: float = 0.0  #: the vehicle's d
    heading: float = 0.0  #: radians relative to the road, > 0 points left
    reach: float = 90.0  #: metres; labels end here
