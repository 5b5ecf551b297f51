"""Augmentation of an image and its labels in step: drawn for each sample, done in batches.

`prepare` runs in the loader's workers: it draws the random numbers of one sample and brings its
image to about the network's resolution, all in fixed shapes. `Changes` runs on the device: it warps
a batch of images once, recolours them, and draws the labels from lanes that went the same way.

Besides the paper's rotation, crop and mirroring, the road itself is changed: moving sideways on it
and bending it are, for a flat road, shifts of whole image rows, exact for everything on the road.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lane_sad_ros.detection.preprocess import Normalise
from lane_sad_ros.formats.ends import vanishing_row
from lane_sad_ros.formats.slots import ABSENT, POINTS, evenly, slots_of
from lane_sad_ros.lanes import LaneLayout

from .datasets.drawing import draw_labels, existence
from .datasets.labelled import LabelledImage
from .lighting import SIZE, random_light, relit

# The lanes that a sample has room for.
_LANES = 32

# The slot of a lane that is given by its position after the change.
_BY_POSITION = -2

# Boxes that hide parts of lanes, at most.
_BOXES = 3

# Half the side of the blur's kernel: three of its largest standard deviation, pixels.
_BLUR_REACH = 8


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random changes; zeros (and scale 1 to 1) leave an image as it is.

    flip: probability of mirroring. rotation: degrees either way. scale: smallest and largest
    factor. shift: largest shift as a share of the width and of the height. lateral: largest
    sideways move as columns per row below the horizon (1.0 is about 1.5 m for a camera 1.5 m
    high). bend: largest curvature as columns × rows at 1280 columns (1500 is about a radius of
    500 m). colour: strength of brightness, contrast, tint, blur and noise, 0 to 2. hidden:
    probability of boxes of about a vehicle's size that hide parts of lanes, whose labels go on.
    cut: probability of cutting the image to the shape of another camera first; shapes: the
    narrowest and the widest such, as width per height. bonnet: probability of the car's own bonnet
    in the lower part of the image, shiny and of any colour; lanes end at it. light: probability of
    night, of tree shade or of a low sun ahead.
    """

    flip: float = 0.5
    rotation: float = 3.0
    scale: tuple[float, float] = (0.85, 1.2)
    shift: tuple[float, float] = (0.05, 0.08)
    lateral: float = 1.3
    bend: float = 2200.0
    colour: float = 1.0
    hidden: float = 0.0
    cut: float = 0.0
    shapes: tuple[float, float] = (1.33, 2.8)
    bonnet: float = 0.0
    light: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale {self.scale} must be the smallest and the largest factor")
        if not 0 < self.shapes[0] <= self.shapes[1]:
            raise ValueError(f"shapes {self.shapes} must be the narrowest and the widest")
        if not 0 <= self.colour <= 2:
            raise ValueError(f"colour must lie in [0, 2], not {self.colour}")
        for name in ("flip", "hidden", "cut", "bonnet", "light"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], not {getattr(self, name)}")
        for name, value in (
            ("rotation", self.rotation), ("shift", min(self.shift)),
            ("lateral", self.lateral), ("bend", self.bend),
        ):  # fmt: skip
            if value < 0:
                raise ValueError(f"{name} is the largest change either way, not {value}")


NONE = Augmentation(0.0, 0.0, (1.0, 1.0), (0.0, 0.0), 0.0, 0.0, 0.0)


class Prepared(NamedTuple):
    """A sample, or a batch of samples, before its change; shapes without the batch axis.

    image: uint8 H×W×3 RGB, the part of the photo that a change can show ("source" below).
    classes, mapped: uint8 H×W class map of the source and whether labels come from it; mirrored:
    whether its slots are to be swapped.
    number: int64, of the image where pixels are kept on the device (`Kept`) and do not come along.
    frame: float32 (left, top, right, bottom) of what another camera would show, in source pixels.
    boxes: float32 3×7 (left, top, right, bottom, from u, from v, gain) of pieces of the image that
    are pasted over it, in source pixels; without area where there is none.
    lanes: float32 L×N×2 (u, v) in source pixels. slots: int64 L. partial: whether slots without a
    lane are unknown, not empty.
    view, back: float32 2×3 affine matrices, source to network pixels and back.
    shift: float32 (horizon row, lateral, bend, near) of the row shift in source pixels.
    border: float32 RGB outside the photo. gain: float32 RGB factors. contrast, saturation: float32
    factors. shadow: float32 2×4, two crossing strips (see `_shade`), shade: float32 factor where
    they cross. blur, noise: float32 standard deviations in network pixels and in grey levels.
    seed: int64, of the noise. bonnet: float32 8 (row of its top, column of its top, rows per column
    squared, red, green, blue, share that it mirrors, rows mirrored per row) of the car's own in
    network pixels; its row is endless without one. light: float32 9, see `random_light`.
    """

    image: Tensor
    classes: Tensor
    mapped: Tensor
    mirrored: Tensor
    number: Tensor
    frame: Tensor
    boxes: Tensor
    lanes: Tensor
    slots: Tensor
    partial: Tensor
    view: Tensor
    back: Tensor
    shift: Tensor
    border: Tensor
    gain: Tensor
    contrast: Tensor
    saturation: Tensor
    shadow: Tensor
    shade: Tensor
    blur: Tensor
    noise: Tensor
    seed: Tensor
    bonnet: Tensor
    light: Tensor


class Outline(NamedTuple):
    """What a sample is without its pixels. size: (width, height); mapped: with a class map."""

    size: tuple[int, int]
    lanes: tuple[NDArray[np.float32], ...]
    slots: tuple[int, ...] | None
    mapped: bool
    partial: bool


def outline(sample: LabelledImage) -> Outline:
    """The outline of a sample."""
    height, width = sample.image.shape[:2]
    mapped = sample.classes is not None
    return Outline((width, height), sample.lanes, sample.slots, mapped, sample.partial)


def source_pixels(
    sample: LabelledImage, layout: LaneLayout, ranges: Augmentation
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The source of a sample, RGB H×W×3, and its class map H×W, empty where it has none.

    Raises ValueError if it has a class that the layout lacks.
    """
    source, slots = source_layout(layout, ranges), len(layout.slots)
    image = cv2.cvtColor(_resized(sample.image, source, cv2.INTER_AREA), cv2.COLOR_BGR2RGB)
    classes = np.zeros(image.shape[:2], np.uint8)
    if sample.classes is not None:
        classes = _resized(sample.classes, source, cv2.INTER_NEAREST_EXACT)
        if classes.max() > slots:
            raise ValueError(
                f"a class map holds class {classes.max()}; the layout {layout.name} has the "
                f"classes 0 to {slots}"
            )
    return np.asarray(image, np.uint8), classes


def prepare(
    sample: LabelledImage, layout: LaneLayout, ranges: Augmentation, rng: np.random.Generator
) -> Prepared:
    """The source of a sample and a random change of it, in shapes that every sample shares.

    Raises ValueError if the sample has too many lanes, or a slot or class that the layout lacks.
    """
    image, classes = (torch.from_numpy(part) for part in source_pixels(sample, layout, ranges))
    drawn = draw(outline(sample), layout, ranges, rng)
    return drawn._replace(image=image, classes=classes)


def draw(
    sample: Outline,
    layout: LaneLayout,
    ranges: Augmentation,
    rng: np.random.Generator,
    number: int = -1,
) -> Prepared:
    """A random change of a sample, without pixels.

    The same numbers are drawn in the same order whatever the sample is, but for those of `hidden`,
    the last. Slots that the sample says itself, as numbers or in a class map, are kept, only
    swapped in a mirrored image; then the change has no lateral move, which would make other lanes
    the ego lanes. number: of the image among those that are kept on the device.
    Raises ValueError if the sample has too many lanes, or a slot that the layout lacks.
    """
    source = source_layout(layout, ranges)
    view = _cut(sample.size, ranges, rng) if ranges.cut > 0 else None
    left, top, width, height = view or (0, 0, *sample.size)
    said = sample.slots is not None or sample.mapped

    mirrored, change = _random_change(layout, ranges, rng)
    moved = _scaling(np.ones(2), (left, top))
    to_network = _pixels(layout, (width, height)) @ moved
    to_source = _pixels(source, sample.size)
    to_reference = _scaling(np.divide(layout.image_size, (width, height)), (0, 0)) @ moved
    from_source = to_reference @ np.linalg.inv(to_source)
    to_view = to_network @ np.linalg.inv(to_reference) @ change @ from_source

    # The row shift, drawn in reference pixels, in those of the source.
    columns = layout.image_size[0] / 1280
    lateral = rng.uniform(-ranges.lateral, ranges.lateral) * (rng.random() < 0.7)
    bend = rng.uniform(-ranges.bend, ranges.bend) * columns**2 * (rng.random() < 0.7)
    meeting = vanishing_row(sample.lanes, sample.size[1])
    row = top + 0.38 * height if meeting is None else meeting
    horizon = to_source[1, 1] * row + to_source[1, 2]
    zoom_u, zoom_v = from_source[0, 0], from_source[1, 1]
    shift = (
        horizon,
        0.0 if said else lateral * zoom_v / zoom_u,
        bend / (zoom_u * zoom_v),
        20 * columns / zoom_v,
    )
    lanes, slots = _placed(sample, to_source, layout, mirrored)
    colour = _random_colour(layout.input_size, ranges.colour, rng)
    seed = int(rng.integers(2**63 - 1))
    bonnet = np.array([np.inf, *[0.0] * 7])
    if ranges.bonnet > 0:
        bonnet = _random_bonnet(layout.input_size, ranges.bonnet, rng)
    light: NDArray[np.float64] = np.zeros(SIZE)
    if ranges.light > 0:
        at = np.array([to_source[0, 0] * (left + width / 2) + to_source[0, 2], horizon, 1.0])
        light = random_light(layout.input_size, ranges.light, float(to_view[1] @ at), rng)
    boxes = np.zeros((_BOXES, 7))
    if ranges.hidden > 0:
        # The last that is drawn: how often it is depends on the lanes.
        shown = lanes[: len(sample.lanes)]
        _hide(boxes, source.input_size, shown, horizon, ranges.hidden, rng)
    return Prepared(
        image=torch.empty(0, dtype=torch.uint8),
        classes=torch.empty(0, dtype=torch.uint8),
        mapped=torch.tensor(sample.mapped),
        mirrored=torch.tensor(mirrored),
        number=torch.tensor(number),
        frame=_floats(_frame(view, to_source)),
        boxes=_floats(boxes),
        lanes=torch.from_numpy(lanes),
        slots=torch.from_numpy(slots),
        partial=torch.tensor(sample.partial),
        view=_floats(to_view[:2]),
        back=_floats(np.linalg.inv(to_view)[:2]),
        shift=_floats(shift),
        seed=torch.tensor(seed),
        bonnet=_floats(bonnet),
        light=_floats(light),
        **{name: _floats(value) for name, value in colour.items()},
    )


def _placed(
    sample: Outline, to_source: NDArray[np.float64], layout: LaneLayout, mirrored: bool
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The lanes L×N×2 of a sample in source pixels and their slots L."""
    count = len(layout.slots)
    if len(sample.lanes) > _LANES:
        raise ValueError(f"an image has {len(sample.lanes)} lanes; at most {_LANES} are learned")
    if sample.slots and not 0 <= min(sample.slots) <= max(sample.slots) < count:
        raise ValueError(
            f"an image has lanes in the slots {sample.slots}; the layout {layout.name} has the "
            f"slots 0 to {count - 1}"
        )
    lanes = np.zeros((_LANES, POINTS, 2), np.float32)
    slots = np.full(_LANES, ABSENT)
    for index, lane in enumerate(sample.lanes):
        lanes[index] = evenly(lane) * np.diag(to_source)[:2] + to_source[:2, 2]
        slots[index] = _BY_POSITION
        if sample.slots is not None:
            slot = sample.slots[index]
            slots[index] = count - 1 - slot if mirrored else slot
    return lanes, slots


def _frame(
    view: tuple[int, int, int, int] | None, to_source: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The borders of a cut in source pixels; endlessly far without one."""
    if view is None:
        return np.array([-np.inf, -np.inf, np.inf, np.inf])
    left, top, width, height = view
    corners = np.array([[left, left + width], [top, top + height], [1.5, 1.5]]) - 0.5
    return (to_source @ corners)[:2].T.ravel()


class Kept(NamedTuple):
    """The sources of many samples on the device: uint8 images N×H×W×3 and class maps N×H×W.

    classes: None where no sample has one.
    """

    images: Tensor
    classes: Tensor | None


class Changes:
    """Does the changes of prepared samples, in batches on the device.

    Nothing that a sample becomes depends on the others of its batch.
    """

    def __init__(
        self,
        layout: LaneLayout,
        lane_width: float,
        device: torch.device,
        kept: Kept | None = None,
    ) -> None:
        """Of samples prepared for `layout`; lane_width: of drawn labels in reference pixels.

        kept: the pixels of samples that come without theirs.
        """
        self.layout = layout
        self.device = device
        self._kept = kept
        width, height = layout.input_size
        left, top, right, bottom = layout.crop
        self._thickness = lane_width * width / (right - left)
        # From where the crop has its middle and lower border to where the whole image has them.
        away = np.array([layout.image_size[0] - left - right, 2 * (layout.image_size[1] - bottom)])
        away = away / 2 * np.divide(layout.input_size, (right - left, bottom - top))
        self._away = _floats(away).to(device)
        self._normalise = Normalise(layout).to(device)
        self._u = torch.arange(width, dtype=torch.float32, device=device)
        self._v = torch.arange(height, dtype=torch.float32, device=device)[:, None]

    @torch.no_grad()
    def __call__(self, batch: Prepared) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The network's input and what it should say, on the device.

        Returns inputs B×3×H×W (float32, normalised, channels-last memory), classes B×H×W (int64;
        0 background, 1 + slot), existence flags B×slots (float32) and whether they are known,
        B×slots (bool).
        """
        host = batch
        batch = Prepared(*(part.to(self.device, non_blocking=True) for part in batch))
        batch = self._with_pixels(batch, host)
        column, row = self._grid(batch)
        inside = _inside(batch.frame, column, row) if host.frame.isfinite().any() else None
        seen = _sample(batch.image, column, row, batch.border, inside)
        bonnet = None
        if host.bonnet[:, 0].isfinite().any():
            seen, bonnet = self._behind_bonnet(seen, batch.bonnet)
        recoloured = self._recolour(seen, batch, host)
        inputs = self._normalise(recoloured.contiguous(memory_format=torch.channels_last))
        slots = len(self.layout.slots)
        classes = self._drawn(batch, int((host.slots != ABSENT).sum(dim=1).max()))
        if inside is not None:
            classes = classes.masked_fill(~inside, 0)
        if host.mapped.any():
            maps = _nearest(batch.classes, column, row, inside)
            swapped = batch.mirrored[:, None, None] & (maps > 0)
            maps = torch.where(swapped, slots + 1 - maps, maps)
            classes = torch.where(batch.mapped[:, None, None], maps, classes)
        if bonnet is not None:
            classes = classes.masked_fill(bonnet, 0)
        exists = existence(classes, slots)
        known = (exists > 0) | ~batch.partial[:, None]
        return inputs, classes.long(), exists, known

    def _with_pixels(self, batch: Prepared, host: Prepared) -> Prepared:
        """The batch with its pixels, where they are kept on the device, and boxes pasted."""
        images, classes = batch.image, batch.classes
        if self._kept is not None:
            images = self._kept.images[batch.number]
            if self._kept.classes is not None:
                classes = self._kept.classes[batch.number]
        boxes = host.boxes.tolist()
        if any(box[2] > box[0] for boxes_of_one in boxes for box in boxes_of_one):
            images = _pasted(images, boxes)
        return batch._replace(image=images, classes=classes)

    def _grid(self, batch: Prepared) -> tuple[Tensor, Tensor]:
        """The source column and row, B×H×W each, that each network pixel comes from."""
        column, row = _affine(batch.back, self._u, self._v)
        return column - _row_shift(row, batch.shift), row

    def _drawn(self, batch: Prepared, most: int) -> Tensor:
        """The class maps B×H×W that the lanes, at most `most` an image, give after the change."""
        given = batch.slots[:, :most]
        u, v = batch.lanes[:, :most].unbind(dim=-1)
        lanes = torch.stack(_affine(batch.view, u + _row_shift(v, batch.shift), v), dim=-1)
        slots, size = len(self.layout.slots), self.layout.input_size
        by_position = slots_of(lanes - self._away, given != ABSENT, slots, size)
        lane_slots = torch.where(given == _BY_POSITION, by_position, given)
        return draw_labels(lanes, lane_slots, slots, size, self._thickness)

    def _recolour(self, pixels: Tensor, batch: Prepared, host: Prepared) -> Tensor:
        """Images B×3×H×W, 0 to 255, in other light and through another camera.

        host: the batch in the host's memory, so that nothing waits for the device.
        """
        gain, contrast = batch.gain[..., None, None], batch.contrast[:, None, None, None]
        mean = (pixels.mean(dim=(2, 3), keepdim=True) * gain).mean(dim=1, keepdim=True)
        pixels = pixels.mul_(gain * contrast).add_(mean * (1 - contrast))
        grey = pixels.mean(dim=1, keepdim=True)
        pixels = torch.lerp(grey, pixels, batch.saturation[:, None, None, None])
        pixels = relit(pixels.mul_(self._shade(batch)[:, None]), host.light)
        # Which images these are is found on the device, but how many in the host's memory.
        sigma, blurred = batch.blur.topk(int((host.blur > 0).sum()))
        if len(blurred):
            pixels.index_copy_(0, blurred, _blur(pixels.index_select(0, blurred), sigma))
        # Noise from each sample's own seed.
        generator = torch.Generator(self.device)
        for image, level, seed in zip(pixels, host.noise.tolist(), host.seed.tolist(), strict=True):
            if level > 0:
                generator.manual_seed(seed)
                noise = torch.empty(image.shape[1:], device=self.device)
                image.add_(noise.normal_(0.0, level, generator=generator))
        return pixels.clamp_(0, 255)

    def _behind_bonnet(self, pixels: Tensor, bonnet: Tensor) -> tuple[Tensor, Tensor]:
        """Images B×3×H×W with bonnets B×8 (see `Prepared`) in front, and where those are, B×H×W."""
        top, middle, bend, red, green, blue, mirrors, rows = bonnet[:, :, None, None].unbind(dim=1)
        edge = top + bend * (self._u - middle).square()
        inside = self._v > edge
        depth = (self._v - edge).where(inside, 0)
        above = (edge - rows * depth).where(inside, self._v)
        index = above.clamp(0, pixels.shape[2] - 1).long()[:, None].expand_as(pixels)
        paint = torch.stack([red, green, blue], dim=1)
        shown = torch.lerp(paint.expand_as(pixels), pixels.gather(2, index), mirrors[:, None])
        return torch.where(inside[:, None], shown, pixels), inside

    def _shade(self, batch: Prepared) -> Tensor:
        """Factors B×H×W of a soft shadow or light patch, a parallelogram: two crossing strips."""
        strips = batch.shadow[..., None, None]
        across = strips[:, :, 0] * self._u + strips[:, :, 1] * self._v + strips[:, :, 2]
        inside = (strips[:, :, 3] - across.abs_()).sigmoid_().prod(dim=1)
        return 1 + (batch.shade[:, None, None] - 1) * inside


@lru_cache
def source_layout(layout: LaneLayout, ranges: Augmentation) -> LaneLayout:
    """What a change within the ranges can show of an image, at the resolution of its largest scale.

    It is the layout with another crop and input size: the layout itself where the ranges leave
    images as they are.
    """
    size = np.array(layout.image_size)
    left, top, right, bottom = layout.crop
    smallest, largest = ranges.scale
    stretch = (largest / smallest) ** 0.25
    corners = []
    for u, v, factor, angle, move_u, move_v, mirror in itertools.product(
        (left, right),
        (top, bottom),
        (smallest / stretch, largest * stretch),
        (-ranges.rotation, ranges.rotation),
        (-ranges.shift[0], ranges.shift[0]),
        (-ranges.shift[1], ranges.shift[1]),
        (1.0, -1.0) if ranges.flip > 0 else (1.0,),
    ):
        change = _change(size, np.deg2rad(angle), (mirror * factor, factor), (move_u, move_v))
        corners.append(np.linalg.solve(change, [u - 0.5, v - 0.5, 1.0])[:2] + 0.5)
    # Rounded first, lest 159.99999 become 159.
    low = np.floor(np.round(np.min(corners, axis=0), 3)).clip(0, size)
    high = np.ceil(np.round(np.max(corners, axis=0), 3)).clip(0, size)
    if ranges.lateral > 0 or ranges.bend > 0:
        low[0], high[0] = 0, size[0]
    zoom = np.divide(layout.input_size, (right - left, bottom - top)) * max(1.0, largest)
    sides = 8 * np.ceil(np.round((high - low) * zoom / 8, 3))
    return dataclasses.replace(
        layout,
        crop=(int(low[0]), int(low[1]), int(high[0]), int(high[1])),
        input_size=(int(sides[0]), int(sides[1])),
    )


def _random_change(
    layout: LaneLayout, ranges: Augmentation, rng: np.random.Generator
) -> tuple[bool, NDArray[np.float64]]:
    """Whether it mirrors, and the affine 3×3 matrix of a change in reference pixels."""
    angle = np.deg2rad(rng.uniform(-ranges.rotation, ranges.rotation))
    scale = np.exp(rng.uniform(*np.log(ranges.scale)))
    stretch = np.exp(rng.uniform(-0.25, 0.25) * np.log(ranges.scale[1] / ranges.scale[0]))
    mirrored = bool(rng.random() < ranges.flip)
    move = rng.uniform(-1, 1, 2) * ranges.shift
    factors = ((-1 if mirrored else 1) * scale * stretch, scale / stretch)
    return mirrored, _change(np.array(layout.image_size), angle, factors, move)


def _change(
    size: NDArray[Any], angle: float, factors: tuple[float, float], move: Any
) -> NDArray[np.float64]:
    """The affine 3×3 matrix that scales and turns about the middle and moves by shares of size."""
    centre = (size - 1) / 2
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.eye(3)
    matrix[:2, :2] = np.array([[cos, -sin], [sin, cos]]) @ np.diag(factors)
    matrix[:2, 2] = centre + move * size - matrix[:2, :2] @ centre
    return matrix


def _pixels(layout: LaneLayout, image_size: tuple[int, int]) -> NDArray[np.float64]:
    """The affine 3×3 matrix from the pixels of an image to those of a layout's input."""
    left, top, right, bottom = layout.crop_of(image_size)
    return _scaling(np.divide(layout.input_size, (right - left, bottom - top)), (left, top))


def _scaling(zoom: NDArray[np.float64], corner: tuple[int, int]) -> NDArray[np.float64]:
    """The affine 3×3 matrix of q = (p + 0.5 - corner) · zoom - 0.5."""
    matrix = np.diag([*zoom, 1.0])
    matrix[:2, 2] = (0.5 - np.array(corner)) * zoom - 0.5
    return matrix


def _cut(
    size: tuple[int, int], ranges: Augmentation, rng: np.random.Generator
) -> tuple[int, int, int, int] | None:
    """What another camera shows of an image: (left, top, width, height), with a chance of `cut`.

    A wider shape loses rows above and below, a narrower one as many columns on either side.
    """
    chance, share = rng.random(), rng.uniform(0.3, 0.7)
    shape = float(np.exp(rng.uniform(*np.log(ranges.shapes))))
    if chance >= ranges.cut:
        return None
    width, height = size
    wide, high = min(width, round(height * shape)), min(height, round(width / shape))
    return (width - wide) // 2, int(share * (height - high)), wide, high


def _resized(pixels: NDArray[np.uint8], source: LaneLayout, how: int) -> NDArray[np.uint8]:
    left, top, right, bottom = source.crop_of((pixels.shape[1], pixels.shape[0]))
    view = pixels[top:bottom, left:right]
    return np.asarray(cv2.resize(view, source.input_size, interpolation=how), np.uint8)


def _floats(value: Any) -> Tensor:
    return torch.as_tensor(np.asarray(value, np.float32))


def _hide(
    boxes: NDArray[np.float64],
    size: tuple[int, int],
    lanes: NDArray[np.float32],
    horizon: float,
    probability: float,
    rng: np.random.Generator,
) -> None:
    """Fills in boxes (see `Prepared`) that stand on lanes L×N×2, with a chance of `probability`.

    Each is a piece of the same image of (width, height), in other light, as large as a car or lorry
    is there. It leaves the near third of the lane that it stands on.
    """
    if not len(lanes) or rng.random() >= probability:
        return
    width, height = size
    for box in boxes[: rng.integers(1, len(boxes) + 1)]:
        lane = lanes[rng.integers(len(lanes))]
        far_to_near = lane[lane[:, 1].argsort()]
        u, foot = far_to_near[rng.integers(2 * len(lane) // 3)]
        below = max(foot - horizon, 0.02 * height)
        box_width, box_height = below * rng.uniform(1.0, 1.8), below * rng.uniform(0.8, 2.0)
        left = u - box_width * rng.uniform(0.1, 0.9)
        edges = np.array([left, foot - box_height, left + box_width, foot]).round().astype(int)
        x0, y0, x1, y1 = edges.clip(0, [width, height, width, height])
        if x1 - x0 < 2 or y1 - y0 < 2:
            continue
        x, y = rng.integers(width - (x1 - x0) + 1), rng.integers(height - (y1 - y0) + 1)
        box[:] = x0, y0, x1, y1, x, y, rng.uniform(0.3, 1.3)


def _pasted(images: Tensor, boxes: list[list[list[float]]]) -> Tensor:
    """Images B×H×W×3 with pieces of each pasted over it, see `Prepared`; boxes: B×K×7."""
    images = images.clone()
    for image, boxes_of_one in zip(images, boxes, strict=True):
        for *edges, gain in boxes_of_one:
            x0, y0, x1, y1, x, y = map(int, edges)
            if x1 > x0:
                piece = image[y : y + y1 - y0, x : x + x1 - x0].float() * gain
                image[y0:y1, x0:x1] = piece.clamp_(0, 255).to(torch.uint8)
    return images


def _random_colour(
    size: tuple[int, int], strength: float, rng: np.random.Generator
) -> dict[str, Any]:
    """The fields of `Prepared` that concern colour, of a change of strength 0 to 2."""

    def sometimes(probability: float, value: Any, otherwise: float) -> Any:
        return value if rng.random() < probability * strength else otherwise

    border = rng.uniform(60, 150) + rng.uniform(-12, 12, 3)
    light = np.exp(rng.normal(0, 0.25) * strength)
    dusk = sometimes(0.1, rng.uniform(0.25, 0.6), 1.0)
    tint = np.exp(rng.normal(0, 0.06, 3) * strength)
    contrast = np.exp(rng.normal(0, 0.2) * strength)
    saturation = sometimes(0.3, rng.uniform(0.0, 1.6), 1.0)
    shade = sometimes(0.3, rng.uniform(0.4, 1.4), 1.0)
    # Two strips, so that sigmoid(half width - |normal · pixel + offset|), in units of the softness,
    # is about 1 inside and 0 outside.
    middle = rng.random(2) * size
    angles = rng.uniform(0, math.pi, 2)
    normals = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    halves = rng.uniform(0.03, 0.4, 2) * size[0]
    softness = rng.uniform(0.6, 7.0)
    strips = np.column_stack([normals, -normals @ middle, halves]) / softness
    return {
        "border": border,
        "gain": light * dusk * tint,
        "contrast": contrast,
        "saturation": saturation,
        "shadow": strips,
        "shade": shade,
        "blur": sometimes(0.3, rng.uniform(0.4, 1.3 * max(1.0, strength)), 0.0),
        "noise": sometimes(0.4, rng.uniform(2, 10) * strength, 0.0),
    }


def _random_bonnet(
    size: tuple[int, int], probability: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """The field `bonnet` of `Prepared`, for a network's input of (width, height)."""
    width, height = size
    top = height * rng.uniform(0.7, 0.95)
    bend = height * rng.uniform(0.0, 0.25) / (width / 2) ** 2
    paint = rng.uniform(5, 160) + rng.uniform(-25, 25, 3)
    middle, mirrors, rows = width * rng.uniform(0.3, 0.7), rng.uniform(0.1, 0.7), rng.uniform(1, 4)
    there = rng.random() < probability
    return np.array([top if there else np.inf, middle, bend, *paint, mirrors, rows])


def _affine(matrix: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Points (u, v) through affine matrices B×2×3; u and v broadcast to B×P×Q.

    Products written out, so that no reduced precision of matrix products touches coordinates.
    """
    m = matrix[..., None, None]
    return (
        m[:, 0, 0] * u + m[:, 0, 1] * v + m[:, 0, 2],
        m[:, 1, 0] * u + m[:, 1, 1] * v + m[:, 1, 2],
    )


def _row_shift(row: Tensor, shift: Tensor) -> Tensor:
    """How far, in columns, a point in a row moves; row: B×…, shift: B×4, see `Prepared`."""
    horizon, lateral, bend, near = shift.view(-1, 4, *[1] * (row.dim() - 1)).unbind(dim=1)
    below = row - horizon
    # A bend moves a row by bend / below; above `near` everything moves alike, so that lanes do not
    # hook back where they meet.
    far = below.maximum(near)
    return lateral * below.clamp(min=0) + bend * far / (far * far + near * near)


def _inside(frame: Tensor, column: Tensor, row: Tensor) -> Tensor:
    """Whether places B×h×w lie within frames B×4."""
    left, top, right, bottom = frame[:, :, None, None].unbind(dim=1)
    return (column >= left) & (column <= right) & (row >= top) & (row <= bottom)


def _sample(
    images: Tensor, column: Tensor, row: Tensor, border: Tensor, inside: Tensor | None
) -> Tensor:
    """Images B×H×W×3 (uint8) at places B×h×w, bilinear, as B×3×h×w floats; `border` outside.

    inside: B×h×w, what is not to be border; None: all of the images.
    """
    height, width = images.shape[1:3]
    outside = border[:, :, None, None]
    pixels = images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    grid = torch.stack([(2 * column + 1) / width - 1, (2 * row + 1) / height - 1], dim=-1)
    found = F.grid_sample(pixels.sub_(outside), grid, align_corners=False)
    return (found if inside is None else found.mul_(inside[:, None])).add_(outside)


def _nearest(maps: Tensor, column: Tensor, row: Tensor, inside: Tensor | None) -> Tensor:
    """Maps B×H×W at the pixels nearest to places B×h×w; 0 outside."""
    height, width = maps.shape[1:]
    u, v = column.round().long(), row.round().long()
    within = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    within = within if inside is None else within & inside
    index = (v * width + u).masked_fill_(~within, 0).flatten(1)
    return maps.flatten(1).gather(1, index).view_as(u) * within


def _blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Images B×C×H×W blurred by Gaussians of standard deviations `sigma` (B), in pixels."""
    batch, channels, height, width = images.shape
    offsets = torch.arange(-_BLUR_REACH, _BLUR_REACH + 1, device=images.device)
    kernel = torch.exp(-0.5 * (offsets / sigma[:, None]).square())
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)
    groups = batch * channels
    planes = F.pad(images.reshape(1, groups, height, width), [_BLUR_REACH] * 4, mode="replicate")
    planes = F.conv2d(planes, kernel[:, None, None, :], groups=groups)
    planes = F.conv2d(planes, kernel[:, None, :, None], groups=groups)
    return planes.view_as(images)
