"""A scene as a picture with exact labels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .backdrop import backdrop
from .buildings import building_drawings
from .canvas import Canvas
from .effects import add_glows, bonnet_edge, develop
from .road_geometry import BEHIND, STEP, Ground, Path, label, look_at_ground, slots
from .roadside import barrier_drawings, roadside_drawings
from .scene_camera import Array, SceneCamera
from .spec import Light, Scene, Structure
from .structures import structure_drawings
from .surface import lit, reflectance, shade_of_trees
from .vehicles import footprints, vehicle_drawing


@dataclass(frozen=True)
class Truth:
    """What is true about a picture (frozen).

    Lanes come by slot: left_3, left_2, left_1, right_1, right_2, right_3. left_1 and right_1
    bound the ego lane, the one the camera is in. The vehicle frame is that of `SceneCamera`.
    """

    lanes: list[Array | None]  #: (N, 2) pixels (u, v) of the marking's centre, bottom to top
    ground: list[Array | None]  #: the same points in the vehicle frame, (N, 3) metres
    camera: SceneCamera
    width: float | None  #: metres between left_1 and right_1; None when one is missing
    lateral_offset: float | None  #: metres the vehicle stands left of the ego lane's middle
    heading: float  #: radians the vehicle points left of the lane's direction
    curvature: float  #: 1/m of the lane at the vehicle, > 0 bends left
    bonnet: Array | None  #: (W,): the row at which the own bonnet begins in each column


@dataclass(frozen=True)
class Rendering(Truth):
    """A picture and what is true about it (frozen)."""

    image: NDArray[np.uint8]  #: BGR, (H, W, 3)


def scene_path(scene: Scene) -> Path:
    """The road ahead of a sampled scene: a clothoid in plan and in profile."""
    arc = np.arange(-BEHIND, 900.0, STEP, dtype=np.float64)
    near = np.clip(arc, -BEHIND, 160.0)
    curvature = scene.curvature + scene.curvature_rate * near
    vertical = np.where(arc < 250, scene.vertical + scene.vertical_rate * near, 0.0)
    return Path(arc, curvature, vertical, scene.offset, scene.heading)


def truth(scene: Scene, camera: SceneCamera | None = None) -> Truth:
    """What `render` says beside its picture, without drawing: a thousandth of the time."""
    return truth_along(scene, scene_path(scene), camera or scene.camera)


def render(scene: Scene, camera: SceneCamera | None = None) -> Rendering:
    """The scene through its own camera or another one; the same picture on every call."""
    chosen = camera or scene.camera
    return render_along(scene, scene_path(scene), chosen, float(scene.seed % 977), 0.0, scene.seed)


def render_along(
    scene: Scene, path: Path, camera: SceneCamera, s0: float, north: float, grain: int
) -> Rendering:
    """The scene on a given stretch of road that begins s0 metres into the world, for a vehicle
    that heads `north` radians in it; `grain` seeds what differs from frame to frame."""
    light = scene.light
    rng = np.random.default_rng((scene.seed, grain))
    left, up = camera.slopes()
    ground = look_at_ground(path, camera, left, up)
    top = ground.top
    cut = min(top + 24, camera.height)
    image = np.empty((camera.height, camera.width, 3), np.float32)
    image[:cut] = backdrop(
        left[:cut], up[:cut], light, scene.roadside, scene.seed, north, camera.fx
    )
    canvas = Canvas(np.empty(0, np.uint8), camera, path, light)
    surface = _surface(scene, canvas, ground, image, s0)
    clear = np.exp(-ground.x / np.float32(light.visibility))[..., None]
    air = np.array(light.horizon, np.float32)
    surface -= air
    surface *= clear
    surface += air
    np.copyto(image[top:], surface, where=ground.visible[..., None])
    canvas.image = cv2.convertScaleAbs(image, alpha=255)
    _objects(scene, canvas, s0)
    developed = canvas.image.astype(np.float32) * np.float32(1 / 255)
    add_glows(developed, canvas.glows())
    if light.glare:
        add_glows(developed, [_sun_veil(camera, light.azimuth, light.elevation, light.glare)])
    picture = develop(developed, camera, scene.lens, rng)
    return Rendering(**vars(truth_along(scene, path, camera)), image=picture)


def _surface(scene: Scene, canvas: Canvas, ground: Ground, image: Array, s0: float) -> Array:
    """Radiance (rows, W, 3) of the ground; `image` holds the sky above."""
    light, pavement = scene.light, scene.pavement
    s = ground.s + np.float32(s0)
    colour, paint = reflectance(ground, s, pavement, scene.markings, scene.seed)
    sun, extra = shade_of_trees(ground, s, pavement, scene.seed), np.zeros_like(s)
    open_sky = None
    if scene.vehicles:
        cast, open_sky = _shadows(scene, canvas, ground.top)
        sun *= cast
    for structure in scene.structures:
        if structure.kind != "gantry":
            _roof(structure, light, ground, s, sun, extra)
    if light.lamps and scene.roadside.posts:
        phase = np.cos(s * np.float32(2 * np.pi / scene.roadside.posts))
        extra += light.lamps * (0.55 + 0.45 * phase)
    surface = lit(colour, paint, ground, sun, light, extra)
    if open_sky is not None:
        surface *= open_sky[..., None]
    if light.wet:
        mirrored = _mirrored(scene, canvas, image, ground.top, s0)
        _wet(surface, mirrored, ground.x, paint, light.wet)
    return surface


def _shadows(scene: Scene, canvas: Canvas, top: int) -> tuple[Array, Array]:
    """Shares of sun left by vehicles' shadows and of all light left under the vehicles."""
    left = []
    for grow, shadow, soft, depth in ((0.0, True, 0.9, 1.0), (0.12, False, 1.6, 0.72)):
        mask = footprints(canvas.path, canvas.camera, scene.vehicles, canvas.sun, grow, shadow)
        blurred = cv2.GaussianBlur(mask[top:], (0, 0), soft * canvas.camera.width / 640)
        left.append(1 - blurred.astype(np.float32) * np.float32(depth / 255))
    return left[0], left[1]


def _roof(
    structure: Structure, light: Light, ground: Ground, s: Array, sun: Array, extra: Array
) -> None:
    """Takes sun and sky from the ground under a bridge; a tunnel has lamps."""
    at = s + ground.d * np.float32(0.25 * np.sin(light.azimuth)) - structure.s
    soft = 0.25 + ground.along
    under = np.clip(at / soft + 0.5, 0, 1) - np.clip((at - structure.length) / soft + 0.5, 0, 1)
    sun *= 1 - under
    if structure.kind == "tunnel":
        pools = 0.5 + 0.12 * np.cos(s * np.float32(2 * np.pi / 6))
        extra += under * (pools - light.ambient * 0.75)
    else:
        extra -= under * (light.ambient * 0.3)


def _mirrored(scene: Scene, canvas: Canvas, image: Array, top: int, s0: float) -> Array:
    """What a wet road would mirror if it were smooth, (rows, W, 3): sky, things, lights."""
    rows = canvas.camera.height - top
    upside_down = np.zeros_like(image)
    upside_down[top:] = image[np.clip(2 * top - np.arange(top, top + rows), 0, top)]
    below = Canvas(
        cv2.convertScaleAbs(upside_down, alpha=255), canvas.camera, canvas.path, canvas.light, True
    )
    _objects(scene, below, s0)
    upside_down = below.image.astype(np.float32) * np.float32(1 / 255)
    add_glows(upside_down, below.glows(), stretch=5.0)
    return upside_down[top:]


def _wet(surface: Array, mirrored: Array, x: Array, paint: Array, wet: float) -> None:
    """Lays the vertically smeared mirror image over the ground in place."""
    smear = max(3, round(surface.shape[0] * (0.2 - 0.15 * wet)) // 2 * 2 + 1)
    mirrored = cv2.blur(mirrored, (7, smear), borderType=cv2.BORDER_REPLICATE)
    sheen = np.clip(wet * (0.08 + 0.55 * (x / (x + 25))) * (1 - 0.4 * paint), 0, 0.85)[..., None]
    surface *= np.float32(1 - 0.35 * wet)
    surface += sheen * (mirrored - surface)


def _sun_veil(
    camera: SceneCamera, azimuth: float, elevation: float, strength: float
) -> tuple[float, float, float, tuple[float, float, float]]:
    at = camera.project(
        [[100.0, 100 * np.tan(np.clip(azimuth, -0.7, 0.7)), 100 * np.tan(min(elevation, 0.5))]]
    )[0]
    tone = 0.8 * strength
    return float(at[0]), float(at[1]), camera.width * 0.16, (0.8 * tone, 0.92 * tone, tone)


def _objects(scene: Scene, canvas: Canvas, s0: float) -> None:
    pavement = scene.pavement
    drawings = roadside_drawings(canvas, scene.roadside, scene.seed, s0)
    drawings += building_drawings(canvas, scene.roadside, scene.seed, s0)
    for barrier in scene.barriers:
        drawings += barrier_drawings(canvas, barrier, s0)
    for structure in scene.structures:
        drawings += structure_drawings(canvas, structure, s0, pavement.left, pavement.right)
    drawings += [vehicle_drawing(canvas, v) for v in scene.vehicles if -20 < v.s < 320]
    for _, draw in sorted(drawings, key=lambda item: -item[0]):
        draw()


def truth_along(scene: Scene, path: Path, camera: SceneCamera) -> Truth:
    """The labels of a scene on a given stretch of road, see `render_along`."""
    by_slot = slots(scene.markings, path.offset)
    lanes: list[Array | None] = []
    ground: list[Array | None] = []
    for marking in by_slot:
        found = label(path, camera, marking, scene.reach) if marking else None
        lanes.append(found[0] if found else None)
        ground.append(found[1] if found else None)
    left, right = by_slot[2], by_slot[3]
    both = left is not None and right is not None
    return Truth(
        lanes=lanes,
        ground=ground,
        camera=camera,
        width=left.offset - right.offset if both else None,  # type: ignore[union-attr]
        lateral_offset=path.offset - (left.offset + right.offset) / 2  # type: ignore[union-attr]
        if both
        else None,
        heading=path.heading,
        curvature=path.curvature / (1 - path.curvature * path.offset),
        bonnet=bonnet_edge(scene.lens, camera.width, camera.height) if scene.lens.bonnet else None,
    )
