"""The slots of labelled lanes that are told by position alone.

`slots_of` works on batches, on the device, with axes named B: images, L: lanes, N: points;
`assign_slots` is the same for the lanes of a single image in arrays.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Points that an evenly spaced lane has.
POINTS = 128

# The slot of a lane that is not there, or not in any slot.
ABSENT = -1


def evenly(lane: NDArray[np.float32]) -> NDArray[np.float32]:
    """The polyline N×2 with POINTS points at even distances."""
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(lane, axis=0).T))])
    at = np.linspace(0.0, along[-1], POINTS)
    return np.stack([np.interp(at, along, lane[:, axis]) for axis in (0, 1)], 1).astype(np.float32)


def slots_of(lanes: Tensor, present: Tensor, slots: int, size: tuple[int, int]) -> Tensor:
    """The slots B×L (int64) of lanes, counted around the ego lane: n/2-1 is the first to the left.

    lanes: evenly spaced polylines B×L×N×2 of (u, v); present: B×L, whether they are there;
    size: (width, height) of their image. Each lane is continued along its lower third to the bottom
    of the image and compared there with the image's middle. Lanes beyond the outermost slot, and
    lanes that lie in one row, are ABSENT. One slot alone takes every lane.
    """
    if slots == 1:
        return torch.where(present, 0, ABSENT)
    order = lanes[..., 1].argsort(dim=2)[..., -max(2, lanes.shape[2] // 3) :]
    lower = lanes.gather(2, order[..., None].expand(-1, -1, -1, 2))
    centre = lower.mean(dim=2)
    u, v = (lower - centre[:, :, None]).unbind(dim=-1)
    slope = (u * v).sum(dim=2) / v.square().sum(dim=2).clamp(min=1e-6)
    bottom = centre[..., 0] + slope * (size[1] - centre[..., 1])
    distance = bottom - (size[0] - 1) / 2
    placed = present & (v[..., -1] - v[..., 0] >= 1e-3)
    right = distance >= 0
    # How many lanes j lie on the side of lane i (B×i×j) and nearer to the middle.
    far = distance.abs()
    same_side = placed[:, None] & (right[:, :, None] == right[:, None])
    rank = (same_side & (far[:, None] < far[:, :, None])).sum(dim=2)
    half = slots // 2
    slot = torch.where(right, half + rank, half - 1 - rank)
    return torch.where(placed & (slot >= 0) & (slot < slots), slot, ABSENT)


def slot_numbers(
    lanes: Sequence[NDArray[np.float32]], slots: int, width: int, height: int
) -> list[int]:
    """The slot of each lane of an image of width×height, or ABSENT; see `slots_of`.

    lanes: polylines N×2 of (u, v), N at least 2.
    """
    if not lanes:
        return []
    points = torch.from_numpy(np.stack([evenly(lane) for lane in lanes]))[None]
    present = torch.ones(points.shape[:2], dtype=torch.bool)
    found: list[int] = slots_of(points, present, slots, (width, height))[0].tolist()
    return found


def assign_slots(
    lanes: Sequence[NDArray[np.float32]], slots: int, width: int, height: int
) -> list[NDArray[np.float32] | None]:
    """The lane of each slot, None where there is none; see `slot_numbers`.

    lanes: not more than one of them for one slot.
    """
    result: list[NDArray[np.float32] | None] = [None] * slots
    for slot, lane in zip(slot_numbers(lanes, slots, width, height), lanes, strict=True):
        if slot != ABSENT:
            result[slot] = lane
    return result
