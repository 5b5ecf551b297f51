"""The values everything else speaks in: lanes, lane slots and how images become network input.

Image coordinates: u to the right, v down, in pixels, pixel centres at whole numbers.
"""

from __future__ import annotations

import dataclasses
import json
import numbers
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Bounds of a layout, far above any camera's, so that a damaged file cannot ask for all memory.
MAX_SIDE = 16384
MAX_SLOTS = 64


@dataclass(frozen=True)
class Lane:
    """One lane slot of one image.

    `points` is N×3 float32 of (u, v, score), pixels of the original image, ordered from the bottom
    of the image to its top, score in [0, 1]; it has no rows where `exists` is false.
    `ground` is N×3 float32 of (x, y, z) of the same points on the road, metres, x forward, y left
    and z up (REP-103), NaN where a point does not lie on the road; None without a calibration.
    """

    slot: int
    exists: bool
    probability: float
    points: NDArray[np.float32]
    ground: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Lanes:
    """A sequence of all lane slots of one image, in the layout's order, the absent ones too.

    image_size: (width, height) of the image the points refer to. items: the slots.
    """

    image_size: tuple[int, int]
    items: tuple[Lane, ...]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Lane]:
        return iter(self.items)

    def __getitem__(self, slot: int) -> Lane:
        return self.items[slot]

    @property
    def present(self) -> tuple[Lane, ...]:
        """The lanes that exist."""
        return tuple(lane for lane in self if lane.exists)

    def scaled_to(self, image_size: tuple[int, int]) -> Lanes:
        """The same lanes on the image at another size (width, height), in its pixels."""
        if image_size == self.image_size:
            return self
        factors = np.divide(image_size, self.image_size)
        lanes = []
        for lane in self:
            points = lane.points.copy()
            points[:, :2] = (points[:, :2] + 0.5) * factors - 0.5
            lanes.append(dataclasses.replace(lane, points=points))
        return Lanes(image_size, tuple(lanes))


@dataclass(frozen=True)
class Decoding:
    """How probability maps become points (paper, section 4.1, "lane post-processing").

    rows: (start, stop, step) in pixels of the layout's reference image, stop excluded.
    smoothing: side of the box filter over the probability map, odd, in network pixels.
    point_threshold: a row gives a point if its smoothed peak is above, in [0, 1].
    existence_threshold: a slot exists if its existence probability is above, in [0, 1].
    min_points: a slot with fewer points is reported absent.
    side_margin: a lane that runs out of the crop through a side ends where it comes this near to
        it, network pixels. Nearer than half the width that lanes were drawn with in training, the
        side cuts the map's hill, and its middle is no longer the lane's. The paper has none.
    """

    rows: tuple[int, int, int]
    smoothing: int = 9
    point_threshold: float = 0.3
    existence_threshold: float = 0.5
    min_points: int = 2
    side_margin: float = 0.0

    def __post_init__(self) -> None:
        _check("rows", self.rows, 0, MAX_SIDE, whole=True, count=3)
        _check("smoothing", self.smoothing, 1, MAX_SIDE, whole=True)
        if self.smoothing % 2 == 0:
            raise ValueError(f"smoothing must be odd and positive, not {self.smoothing}")
        if self.rows[2] == 0 or len(range(*self.rows)) == 0:
            raise ValueError(f"rows (start, stop, step) {self.rows} name no row")
        _check("min_points", self.min_points, 1, MAX_SIDE, whole=True)
        for name in ("point_threshold", "existence_threshold"):
            _check(name, getattr(self, name), 0, 1)
        _check("side_margin", self.side_margin, 0, MAX_SIDE)


@dataclass(frozen=True)
class LaneLayout:
    """Lane slots and the geometry between a camera image and the network.

    name: of the convention, e.g. "tusimple".
    slots: lane names from left to right; symmetric around the ego lane, so that slot i of a
        mirrored image is slot n-1-i. One slot alone holds all lanes, told apart by nothing: its
        map is the result, and its points are those of the clearest lane.
    image_size: (width, height) of the reference camera image that `crop` and `decoding.rows`
        refer to; an image of another size is treated as a scaled reference image.
    crop: (left, top, right, bottom) in reference pixels, the part the network sees.
    input_size: (width, height) the crop is resized to; multiples of 8.
    mean, std: of the RGB channels scaled to [0, 1].
    """

    name: str
    slots: tuple[str, ...]
    image_size: tuple[int, int]
    crop: tuple[int, int, int, int]
    input_size: tuple[int, int]
    decoding: Decoding
    mean: tuple[float, float, float] = (0.3598, 0.3653, 0.3662)
    std: tuple[float, float, float] = (0.2573, 0.2663, 0.2756)

    def __post_init__(self) -> None:
        _check("image_size", self.image_size, 1, MAX_SIDE, whole=True, count=2)
        _check("crop", self.crop, -MAX_SIDE, MAX_SIDE, whole=True, count=4)
        _check("input_size", self.input_size, 0, MAX_SIDE, whole=True, count=2)
        _check("mean", self.mean, 0, 1, count=3)
        _check("std", self.std, 1e-3, 1, count=3)
        width, height = self.image_size
        left, top, right, bottom = self.crop
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise ValueError(f"crop {self.crop} does not lie inside the {width}x{height} image")
        if any(side < 16 or side % 8 for side in self.input_size):
            raise ValueError(
                f"input_size {self.input_size} must be multiples of 8, at least 16, in both sides"
            )
        if not self.slots:
            raise ValueError("a layout needs at least one lane slot")
        if not all(isinstance(text, str) for text in (self.name, *self.slots)):
            raise ValueError("the name of a layout and of each slot must be a text")
        if len(self.slots) > MAX_SLOTS or len(set(self.slots)) < len(self.slots):
            raise ValueError(f"slots must be at most {MAX_SLOTS} names that differ")
        if self.decoding.rows[1] > height:
            raise ValueError(f"rows {self.decoding.rows} go beyond the image's {height} rows")

    def crop_of(self, image_size: tuple[int, int]) -> tuple[int, int, int, int]:
        """The crop in whole pixels (left, top, right, bottom) of an image of `image_size`."""
        scale_u = image_size[0] / self.image_size[0]
        scale_v = image_size[1] / self.image_size[1]
        left, top, right, bottom = self.crop
        box = (
            round(left * scale_u),
            round(top * scale_v),
            round(right * scale_u),
            round(bottom * scale_v),
        )
        if box[2] <= box[0] or box[3] <= box[1]:
            raise ValueError(
                f"an image of {image_size[0]}x{image_size[1]} pixels is too small for the crop "
                f"{self.crop} of {self.image_size[0]}x{self.image_size[1]}"
            )
        return box

    def to_json(self) -> str:
        """The layout as one JSON object, read back by `from_json`."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> LaneLayout:
        """The layout written by `to_json`.

        Raises ValueError naming the field that is missing, unknown or out of range.
        """
        try:
            values = json.loads(text)
            decoding = Decoding(**_tuples(values.pop("decoding")))
            return cls(decoding=decoding, **_tuples(values))
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"not a lane layout: {error}") from error


def _check(
    name: str, value: Any, low: float, high: float, *, whole: bool = False, count: int | None = None
) -> None:
    """Raises ValueError where a value is no number, or tuple of `count`, from `low` to `high`."""
    kind = numbers.Integral if whole else numbers.Real
    parts = (value,) if count is None else value
    if (
        not isinstance(parts, tuple)
        or len(parts) != (count or 1)
        or any(isinstance(part, bool) or not isinstance(part, kind) for part in parts)
        or not all(low <= part <= high for part in parts)
    ):
        what = "whole number" if whole else "number"
        wanted = f"a {what}" if count is None else f"{count} {what}s"
        raise ValueError(f"{name} must be {wanted} in [{low}, {high}], not {repr(value)[:60]}")


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


SLOTS_6 = ("left_3", "left_2", "left_1", "right_1", "right_2", "right_3")
SLOTS_4 = ("left_2", "left_1", "right_1", "right_2")

TUSIMPLE = LaneLayout(
    name="tusimple",
    slots=SLOTS_6,
    image_size=(1280, 720),
    crop=(0, 0, 1280, 720),
    input_size=(640, 368),
    decoding=Decoding(rows=(160, 720, 10), smoothing=5, point_threshold=0.2),
)
CULANE = LaneLayout(
    name="culane",
    slots=SLOTS_4,
    image_size=(1640, 590),
    crop=(0, 240, 1640, 590),
    input_size=(976, 208),
    decoding=Decoding(rows=(240, 590, 20), smoothing=9, point_threshold=0.3),
)
# Lanes against background, as in the paper (section 4.1): two classes and no existence head.
BDD100K = LaneLayout(
    name="bdd100k",
    slots=("lane",),
    image_size=(1280, 720),
    crop=(0, 0, 1280, 720),
    input_size=(640, 360),
    decoding=Decoding(rows=(160, 720, 10), smoothing=9, point_threshold=0.3),
)
LAYOUTS = {layout.name: layout for layout in (TUSIMPLE, CULANE, BDD100K)}
