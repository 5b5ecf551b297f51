"""From lane polylines to what the network learns: a class map and existence flags.

Drawing works on batches, on the device, with axes named B: images, L: lanes, N: points; `draw_line`
is the same for a lane of a single image in arrays.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

# A lane with less drawn area than this (pixels of the class map) is not worth calling present.
_MIN_AREA = 24

# Lanes are drawn in straight pieces of at most about this many pixels.
_PIECE = 4.0

# Ends of lanes that are steeper than this (rows per column) are cut along their row.
_STEEP = 0.25


def draw_labels(
    lanes: Tensor, lane_slots: Tensor, slots: int, size: tuple[int, int], thickness: float
) -> Tensor:
    """The class maps B×H×W (uint8; 0 background, 1 + slot) of lanes.

    lanes: polylines B×L×N×2 in pixels of the map; lane_slots: B×L, negative where not to be drawn;
    size: (width, height) of the map; thickness: of the drawn lines in its pixels, at least 1.
    A pixel belongs to a lane if its centre is less than half the thickness away from it. Ends go on
    by half the thickness and are cut along a row there, so that what is drawn in a row lies around
    the lane; of a lane that ends nearly along a row the end is round. Where lanes meet, a pixel
    belongs to the one nearer to the ego lane.
    """
    width, height = size
    radius = max(1.0, thickness) / 2
    images, device = len(lanes), lanes.device
    image = torch.arange(images, device=device).repeat_interleave(lanes.shape[1])
    # Ego lanes are painted last: rank is when each lane is, from 1; 0, as the last, if it is not.
    middle = (slots - 1) / 2
    order = sorted(range(slots), key=lambda slot: -abs(slot - middle))
    ranks_of_slots = _constant((*(1 + order.index(slot) for slot in range(slots)), 0), device)
    rank = ranks_of_slots[lane_slots.clamp(min=-1).flatten()]
    table = _constant((0, *(1 + slot for slot in order)), device).to(torch.uint8)

    # K pieces of all lanes, each drawn in the square of pixels around its middle.
    # Between whole pixels, where lines of whole widths would end on pixel centres on both sides.
    nudge = _constant((1e-3, 4e-4), device)
    longer, rows = _prolonged(lanes.flatten(0, 1) + nudge, 2 * radius / _STEEP)
    start, end, lane, shown = _pieces(longer, size, radius)
    centre = (start + end) / 2
    half = (end - start).norm(dim=1) / 2
    along_u, along_v = ((end - start) / (2 * half[:, None]).clamp(min=1e-6)).unbind(dim=1)
    reach = int(radius + _PIECE / 2 + 0.5)
    offsets = torch.arange(-reach, reach + 1, device=device)
    limit = _constant((width - 1 + reach, height - 1 + reach), device)
    nearest = centre.round().long().clamp(min=-reach).minimum(limit)
    u, v = (nearest[:, :, None] + offsets).unbind(dim=1)  # K×S each
    du, dv = u - centre[:, 0, None], v - centre[:, 1, None]
    # K×S×S, rows before columns: distance along the piece beyond its ends, and across it.
    along = (du * along_u[:, None])[:, None] + (dv * along_v[:, None])[:, :, None]
    across = (du * along_v[:, None])[:, None] - (dv * along_u[:, None])[:, :, None]
    beyond = along.abs_().sub_(half[:, None, None]).clamp_(min=0)
    inside = beyond.square_().add_(across.square_()) <= radius * radius
    inside &= ((v >= rows[lane, :1] - radius) & (v <= rows[lane, 1:] + radius))[:, :, None]

    # The canvas has a margin, so that squares need no clipping.
    margin = 2 * reach
    canvas_width, canvas_height = width + 2 * margin, height + 2 * margin
    row = (image[lane, None] * canvas_height + v + margin) * canvas_width
    index = row[:, :, None] + (u + margin)[:, None]
    ranks = inside * (rank[lane] * shown).to(torch.uint8)[:, None, None]
    canvas = torch.zeros(images * canvas_height * canvas_width, dtype=torch.uint8, device=device)
    canvas.scatter_reduce_(0, index.flatten(), ranks.flatten(), "amax")
    canvas = canvas.view(images, canvas_height, canvas_width)
    return table[canvas[:, margin : margin + height, margin : margin + width].int()]


def existence(classes: Tensor, slots: int) -> Tensor:
    """The flags B×slots (float32) of slots that have an area worth the name in class maps B×H×W."""
    areas = torch.stack([(classes == 1 + slot).sum(dim=(1, 2)) for slot in range(slots)], dim=1)
    return (areas >= _MIN_AREA).float()


def draw_line(
    classes: NDArray[np.uint8], lane: NDArray[np.float32], number: int, thickness: float
) -> None:
    """Draws a polyline N×2 into a class map H×W as class `number`, as `draw_labels` does."""
    height, width = classes.shape
    points = torch.from_numpy(np.array(lane, np.float32))[None, None]
    slot = torch.zeros(1, 1, dtype=torch.long)
    classes[draw_labels(points, slot, 1, (width, height), thickness)[0].numpy() > 0] = number


@lru_cache
def _constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Numbers that are brought to a device once, as no step of training is to wait for it."""
    return torch.tensor(values, device=device)


def _prolonged(lanes: Tensor, by: float) -> tuple[Tensor, Tensor]:
    """Polylines L×N×2 with straight ends, `by` longer, and the first and last row L×2 of each.

    An end that is not steep, or not where its lane has its first or last row, stays as it is, and
    does not bound the rows.
    """
    v = lanes[..., 1]
    ends, bounds = [], []
    for end, next_to_it in ((0, 1), (-1, -2)):
        step = lanes[:, end] - lanes[:, next_to_it]
        steep = step[:, 1].abs() > _STEEP * step[:, 0].abs()
        first, last = v[:, end] <= v.amin(dim=1), v[:, end] >= v.amax(dim=1)
        on = steep & (first | last)
        step = step / step.norm(dim=1, keepdim=True).clamp(min=1e-6) * on[:, None]
        ends.append((lanes[:, end] + by * step)[:, None])
        bounds.append((v[:, end], on & first, on & last))
    far = torch.full_like(v[:, 0], torch.inf)
    top = torch.stack([torch.where(is_first, at, -far) for at, is_first, _ in bounds]).amax(dim=0)
    bottom = torch.stack([torch.where(is_last, at, far) for at, _, is_last in bounds]).amin(dim=0)
    return torch.cat([ends[0], lanes, ends[1]], dim=1), torch.stack([top, bottom], dim=1)


def _pieces(lanes: Tensor, size: tuple[int, int], radius: float) -> tuple[Tensor, ...]:
    """The parts of polylines L×N×2 that an image shows, cut into K pieces of nearly one length.

    Returns the ends K×2 of the pieces, the lane of each, and which are to be drawn: each lane has
    the same number, so that none has to be counted. A lane is cut alike whatever the others are,
    and its part outside the image, however long, takes none of them.
    """
    reach = radius + 2 * _PIECE
    # A line that goes one way is at most this long there.
    count = int((sum(size) + 4 * reach) / _PIECE) + 1
    start, step = lanes[:, :-1], lanes.diff(dim=1)
    limit = _constant(size, lanes.device) + reach
    # The share of each step where it enters the image and where it leaves it.
    safe = torch.where(step.abs() < 1e-6, 1e-6, step)
    first, second = (-reach - start) / safe, (limit - start) / safe
    enter = torch.minimum(first, second).amax(dim=2).clamp(min=0)
    leave = torch.maximum(first, second).amin(dim=2).clamp(max=1)
    lengths = step.norm(dim=2) * (leave - enter).clamp(min=0)
    along = F.pad(lengths.cumsum(dim=1), (1, 0))
    spacing = along[:, -1:] / count
    at = spacing * torch.arange(count + 1, device=lanes.device)
    index = (torch.searchsorted(along, at, right=True) - 1).clamp(0, lengths.shape[1] - 1)
    share = ((at - along.gather(1, index)) / lengths.gather(1, index).clamp(min=1e-6)).clamp(0, 1)
    share = torch.lerp(enter.gather(1, index), leave.gather(1, index), share)[..., None]
    index = index[..., None].expand(-1, -1, 2)
    points = start.gather(1, index) + share * step.gather(1, index)
    start, end = points[:, :-1], points[:, 1:]
    # A piece longer than the spacing bridges a part outside, perhaps through the image.
    length = (end - start).norm(dim=2)
    shown = (length > 0) & (length <= 1.01 * spacing)
    lane = torch.arange(len(lanes), device=lanes.device).repeat_interleave(count)
    return start.flatten(0, 1), end.flatten(0, 1), lane, shown.flatten()
