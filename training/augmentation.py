"""Augmentation of an image and its lanes in step: one warp of the image, the same of the points.

Besides the paper's rotation, crop and mirroring, the road itself is changed: moving sideways on it
and bending it are, for a flat road, shifts of whole image rows, exact for everything on the road.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.lanes import LaneLayout
from training.datasets.tusimple import LabelledImage


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random changes; zeros (and scale 1 to 1) leave an image as it is.

    flip: probability of mirroring. rotation: degrees either way. scale: smallest and largest
    factor. shift: largest shift as a share of the width and of the height. lateral: largest
    sideways move as columns per row below the horizon (1.0 is about 1.5 m for a camera 1.5 m
    high). bend: largest curvature as columns × rows at 1280 columns (1500 is about a radius of
    500 m). colour: strength of brightness, contrast, tint, blur and noise, 0 to 1.
    """

    flip: float = 0.5
    rotation: float = 3.0
    scale: tuple[float, float] = (0.85, 1.2)
    shift: tuple[float, float] = (0.05, 0.08)
    lateral: float = 1.3
    bend: float = 2200.0
    colour: float = 1.0


NONE = Augmentation(0.0, 0.0, (1.0, 1.0), (0.0, 0.0), 0.0, 0.0, 0.0)


def augment(
    sample: LabelledImage, layout: LaneLayout, ranges: Augmentation, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], list[NDArray[np.float32]]]:
    """The network's view of a sample after a random change.

    Returns the image h×w×3 BGR of the layout's input size and the lanes in its pixels; lanes keep
    their order, slots are given afterwards from where they are now (`assign_slots`), which is what
    swaps them in a mirrored image.
    """
    height, width = sample.image.shape[:2]
    horizon = _horizon_row(sample.lanes, height)
    columns = width / 1280
    lateral = rng.uniform(-ranges.lateral, ranges.lateral) * (rng.random() < 0.7)
    bend = rng.uniform(-ranges.bend, ranges.bend) * columns**2 * (rng.random() < 0.7)
    near = 20 * columns

    def row_shift(rows: NDArray[Any]) -> NDArray[Any]:
        below = rows - horizon
        # A bend moves a row by bend / below; above `near` everything moves alike, so that lanes
        # do not hook back where they meet.
        far = np.maximum(below, near)
        return lateral * np.maximum(below, 0) + bend * far / (far * far + near * near)

    view = _view_matrix(layout, (width, height), ranges, rng)
    back = cv2.invertAffineTransform(view)
    input_width, input_height = layout.input_size
    grid_u, grid_v = np.meshgrid(
        np.arange(input_width, dtype=np.float32), np.arange(input_height, dtype=np.float32)
    )
    rows = (back[1, 0] * grid_u + back[1, 1] * grid_v + back[1, 2]).astype(np.float32)
    cols = (back[0, 0] * grid_u + back[0, 1] * grid_v + back[0, 2]).astype(np.float32)
    cols -= row_shift(rows)
    border = tuple(float(x) for x in rng.integers(60, 150) + rng.integers(-12, 12, 3))
    image = cv2.remap(sample.image, cols, rows, cv2.INTER_LINEAR, None, cv2.BORDER_CONSTANT, border)
    lanes = []
    for lane in sample.lanes:
        points = _dense(lane).astype(np.float64)
        points[:, 0] += row_shift(points[:, 1])
        lanes.append((points @ view[:, :2].T + view[:, 2]).astype(np.float32))
    return _recolour(np.asarray(image, np.uint8), ranges.colour, rng), lanes


def _view_matrix(
    layout: LaneLayout,
    image_size: tuple[int, int],
    ranges: Augmentation,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """2×3 affine matrix from the pixels of the sample to those of the network's input."""
    width, height = image_size
    angle = np.deg2rad(rng.uniform(-ranges.rotation, ranges.rotation))
    scale = np.exp(rng.uniform(*np.log(ranges.scale)))
    stretch = np.exp(rng.uniform(-0.5, 0.5) * np.log(ranges.scale[1] / ranges.scale[0]) / 2)
    mirror = -1.0 if rng.random() < ranges.flip else 1.0
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    move = rng.uniform(-1, 1, 2) * ranges.shift * np.array([width, height])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    change = turn @ np.diag([mirror * scale * stretch, scale / stretch])
    left, top, right, bottom = layout.crop_of(image_size)
    zoom = np.array([layout.input_size[0] / (right - left), layout.input_size[1] / (bottom - top)])
    # q = change (p - centre) + centre + move, then (q + 0.5 - corner) * zoom - 0.5
    matrix = zoom[:, None] * change
    offset = zoom * (centre + move - change @ centre + 0.5 - np.array([left, top])) - 0.5
    return np.column_stack([matrix, offset])


def _horizon_row(lanes: tuple[NDArray[np.float32], ...], height: int) -> float:
    """The row where the lanes' lower parts meet, or a usual one where they say nothing."""
    lines = []
    for lane in lanes:
        lower = lane[np.argsort(lane[:, 1])][len(lane) // 2 :]
        if len(lower) >= 3 and np.ptp(lower[:, 1]) > 0.05 * height:
            lines.append(np.polyfit(lower[:, 1], lower[:, 0], 1))
    rows = [
        (b[1] - a[1]) / (a[0] - b[0])
        for i, a in enumerate(lines)
        for b in lines[i + 1 :]
        if abs(a[0] - b[0]) > 0.2
    ]
    row = float(np.median(rows)) if rows else 0.38 * height
    return row if 0.15 * height < row < 0.65 * height else 0.38 * height


def _dense(lane: NDArray[np.float32], spacing: float = 4.0) -> NDArray[np.float32]:
    """The polyline with points at most about `spacing` pixels apart, so that it bends well."""
    steps = np.hypot(*np.diff(lane, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    count = max(2, int(along[-1] / spacing) + 1)
    at = np.linspace(0.0, along[-1], count)
    return np.stack([np.interp(at, along, lane[:, axis]) for axis in (0, 1)], 1).astype(np.float32)


def _recolour(
    image: NDArray[np.uint8], strength: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    if strength <= 0:
        return image
    pixels = image.astype(np.float32)
    gain = np.exp(rng.normal(0, 0.25 * strength))
    if rng.random() < 0.1 * strength:  # dusk
        gain *= rng.uniform(0.25, 0.6)
    tint = np.exp(rng.normal(0, 0.06 * strength, 3))
    pixels *= (gain * tint).astype(np.float32)
    mean = float(pixels.mean())
    pixels = (pixels - mean) * np.float32(np.exp(rng.normal(0, 0.2 * strength))) + mean
    if rng.random() < 0.3 * strength:
        grey = pixels.mean(axis=2, keepdims=True)
        pixels = grey + (pixels - grey) * np.float32(rng.uniform(0.0, 1.6))
    if rng.random() < 0.3 * strength:  # a soft shadow or light patch across the image
        height, width = image.shape[:2]
        corners = rng.uniform(-0.2, 1.2, (4, 2)) * (width, height)
        mask = np.zeros((height, width), np.float32)
        cv2.fillPoly(mask, [np.round(corners).astype(np.int32)], 1.0)
        mask = cv2.GaussianBlur(mask, (0, 0), rng.uniform(1, 12))
        pixels *= 1 + (rng.uniform(0.4, 1.4) - 1) * mask[..., None]
    if rng.random() < 0.3 * strength:
        pixels = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.4, 1.3))
    if rng.random() < 0.4 * strength:
        noise = rng.standard_normal(image.shape[:2], np.float32)[..., None]
        pixels = pixels + noise * np.float32(rng.uniform(2, 10) * strength)
    return np.clip(pixels, 0, 255).astype(np.uint8)
