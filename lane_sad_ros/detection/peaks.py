"""From the network's logits to the peak of every lane in every sampled row.

Paper, section 4.1: softmax, box smoothing, for each existing lane the peak of each sampled row.
Only a row's column and score leave the device, not maps.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lane_sad_ros.lanes import LaneLayout

Floats = NDArray[np.float32]

# Of logits up to this size the exponentials, and their sum, are numbers of float32.
_SAFE = 80.0


class RowPeaks:
    """Finds them where the logits are, on any device."""

    def __init__(self, layout: LaneLayout, device: torch.device) -> None:
        _, top, _, bottom = layout.crop
        width, height = layout.input_size
        rows = np.arange(*layout.decoding.rows, dtype=np.float64)
        at = (rows + 0.5 - top) * height / (bottom - top) - 0.5
        inside = (at > -0.5) & (at < height - 0.5)
        if not inside.any():
            raise ValueError(
                f"the crop, rows {top} to {bottom} of {layout.image_size[1]}, holds none of the "
                f"rows {rows[0]:g} to {rows[-1]:g} that lanes are looked for in"
            )
        self.rows = rows[inside]
        """Sampled rows inside the crop, reference pixels, top to bottom."""
        nearest = at[inside].round().clip(0, height - 1).astype(np.int64)
        self._nearest = torch.from_numpy(nearest).to(device)
        self._smoothing = layout.decoding.smoothing
        self._average = _box_rows(at[inside], height, self._smoothing).to(device)
        self._columns = torch.arange(width, dtype=torch.float32, device=device)
        columns, half = np.arange(width), self._smoothing // 2
        neighbours = np.minimum(columns, half) + 1 + np.minimum(width - 1 - columns, half)
        self._shares = torch.from_numpy((1 / neighbours).astype(np.float32)).to(device)

    def __call__(
        self, segmentation: Tensor, existence: Tensor | None = None, least: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Columns (network pixels) and scores in [0, 1] of the peaks, B×lanes×rows each.

        Smoothing fills holes in a lane but does not lengthen it: beyond its end, a row has a share
        of the average, which may pass a low threshold, but nothing itself. It scores 0.
        segmentation: logits B×(1+lanes)×H×W. existence: probabilities B×lanes; where it is not
        above `least`, a lane may be left out, and scores 0 everywhere. Logits that are not finite
        give scores that are not.
        """
        lanes = segmentation.float().softmax(dim=1)[:, 1:]
        smooth = self._smooth(self._average @ lanes)  # B×lanes×rows×W
        score, at = smooth.max(dim=-1, keepdim=True)
        # Saturated lanes give plateaus, of which `max` names the left end. The centre of mass of
        # the hill around the peak is the same from both sides: mirrored maps give mirrored lanes.
        valley = (smooth < 0.5 * score).cumsum(dim=-1)
        hill = (smooth >= 0.5 * score) & (valley == valley.gather(-1, at))
        mass = smooth * hill
        column = (mass * self._columns).sum(dim=-1) / mass.sum(dim=-1).clamp_min(1e-12)
        # Of logits that are no numbers too: an index out of range ends CUDA for the whole process.
        at = column.round().long().clamp(0, lanes.shape[-1] - 1)
        itself = lanes[:, :, self._nearest].gather(-1, at[..., None])
        return column, (score * (itself >= 0.5 * score))[..., 0]

    def _smooth(self, rows: Tensor) -> Tensor:
        """The average of `smoothing` neighbours in each row, of fewer at its ends."""
        half = self._smoothing // 2
        width = rows.shape[-1]
        padded = F.pad(rows, (half, half))
        total = padded[..., :width].clone()
        for shift in range(1, self._smoothing):
            total += padded[..., shift : shift + width]
        return total.mul_(self._shares)


class HostRowPeaks(RowPeaks):
    """The same on the CPU by one thread, a fifth of the time.

    PyTorch would share work of this size among threads, which beside busy programs wait for each
    other longer than the work takes.
    """

    def __init__(self, layout: LaneLayout) -> None:
        super().__init__(layout, torch.device("cpu"))
        weights = self._average.numpy()
        used = np.flatnonzero(weights.any(axis=0))
        self._used = slice(used[0], used[-1] + 1)  # of the maps' rows
        self._bands = list(_bands(weights[:, self._used]))
        # Memory that is asked for anew at each frame costs more than the arithmetic.
        self._lanes, width = len(layout.slots), layout.input_size[0]
        self._maps = np.empty(
            (1 + self._lanes, self._used.stop - self._used.start, width), np.float32
        )
        self._map = np.empty(self._maps.shape[1:], np.float32)
        self._averages = np.empty((self._lanes, len(self.rows), width), np.float32)
        self._mass = np.empty((self._lanes * len(self.rows), width), np.float32)

    def __call__(
        self, segmentation: Tensor, existence: Tensor | None = None, least: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        maps = segmentation.float().contiguous().numpy()
        columns = np.zeros((len(maps), self._lanes, len(self.rows)), np.float32)
        scores = np.zeros_like(columns)
        wanted = np.ones(columns.shape[:2], np.bool_)
        if existence is not None:
            wanted = existence.numpy() > least
        for index, lanes in enumerate(map(np.flatnonzero, wanted)):
            if len(lanes):
                columns[index, lanes], scores[index, lanes] = self._of_one(maps[index], lanes)
        return torch.from_numpy(columns), torch.from_numpy(scores)

    def _of_one(self, logits: Floats, lanes: NDArray[np.intp]) -> tuple[Floats, Floats]:
        """Of some lanes of one image, (1+lanes)×H×W."""
        logits = logits[:, self._used]
        largest = max(logits.max(), -logits.min())
        if not np.isfinite(largest):
            shape = (len(lanes), len(self.rows))
            return np.zeros(shape, np.float32), np.full(shape, np.nan, np.float32)
        if largest > _SAFE:
            logits = logits - logits.max(axis=0)
        maps = self._probabilities(logits, lanes)
        averages = self._averages[: len(lanes)]
        for target, source, weights in self._bands:
            np.matmul(weights, maps[:, source], out=averages[:, target])
        width = averages.shape[-1]
        smooth = averages.reshape(-1, width)
        self._smooth_rows(smooth)
        at = smooth.argmax(axis=-1)
        score = np.take_along_axis(smooth, at[:, None], axis=-1)
        left, right = _around(smooth >= 0.5 * score, at)
        columns = np.arange(width, dtype=np.int16)  # a fifth of the time that others take here
        hill = (columns >= left[:, None]) & (columns < right[:, None])
        mass = np.multiply(smooth, hill, out=self._mass[: len(smooth)])
        total = np.maximum(mass.sum(axis=-1), np.float32(1e-12))
        column = (mass @ self._columns.numpy() / total).reshape(len(lanes), -1)
        score = score.reshape(len(lanes), -1)
        rows = self._nearest.numpy() - self._used.start
        itself = maps[np.arange(len(lanes))[:, None], rows, np.rint(column).astype(np.intp)]
        return column, score * (itself >= 0.5 * score)

    def _probabilities(self, logits: Floats, lanes: NDArray[np.intp]) -> Floats:
        """Softmax of the used rows (1+lanes)×rows×W, of some lanes."""
        for source, target in zip(logits, self._maps, strict=True):
            cv2.exp(source, target)
        total = self._maps.sum(axis=0, out=self._map)
        maps = self._maps[: len(lanes)]
        for target, lane in zip(maps, 1 + lanes, strict=True):  # lane is behind target
            np.divide(self._maps[lane], total, out=target)
        return maps

    def _smooth_rows(self, rows: Floats) -> None:
        """As `_smooth`, in place."""
        box, one = np.ones(self._smoothing, np.float32), np.ones(1, np.float32)
        cv2.sepFilter2D(rows, -1, box, one, rows, borderType=cv2.BORDER_CONSTANT)
        np.multiply(rows, self._shares.numpy(), out=rows)


def make_row_peaks(layout: LaneLayout, device: torch.device) -> RowPeaks:
    """The fastest for a device."""
    return HostRowPeaks(layout) if device.type == "cpu" else RowPeaks(layout, device)


def _box_rows(at: NDArray[np.float64], height: int, side: int) -> Tensor:
    """Weights rows×H that average over `side` rows around each row of `at`, which has fractions."""
    edges = np.arange(height + 1) - 0.5
    covered = np.clip(edges[None], at[:, None] - side / 2, at[:, None] + side / 2)
    weights = np.diff(covered, axis=1)
    return torch.from_numpy((weights / weights.sum(axis=1, keepdims=True)).astype(np.float32))


def _bands(weights: Floats, rows: int = 4) -> Iterator[tuple[slice, slice, Floats]]:
    """Parts of weights rows×H without most of the zeros: which rows, of which of H, weights."""
    for start in range(0, len(weights), rows):
        part = weights[start : start + rows]
        used = np.flatnonzero(part.any(axis=0))
        source = slice(used[0], used[-1] + 1)
        yield slice(start, start + rows), source, np.ascontiguousarray(part[:, source])


def _around(
    hill: NDArray[np.bool_], at: NDArray[np.intp]
) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Where the run of true values begins, and ends (excluded), in each row around column `at`."""
    rows, width = hill.shape
    flat = hill.reshape(-1)
    steps = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    steps = np.concatenate([[0], steps, [rows * width]])
    starts = np.arange(rows) * width
    after = np.searchsorted(steps, starts + at, side="right")
    left = np.maximum(steps[after - 1] - starts, 0)
    right = np.minimum(steps[after] - starts, width)
    return left.astype(np.int16), right.astype(np.int16)
