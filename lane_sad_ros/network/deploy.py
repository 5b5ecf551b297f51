"""Networks as programs other than PyTorch run them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lane_sad_ros.network.enet import Downsampling, ENetSAD, InitialBlock, Upsampling


def deployable(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode that exports and runs fast: batch norms folded, and of ENet-SAD
    all that halves or doubles the resolution computed by cells of 2×2 pixels.

    Its output is the network's, but for the rounding of the folded weights.
    """
    network = copy.deepcopy(network).eval().requires_grad_(False)
    for module in list(network.modules()):  # each once, however often it is shared
        _fold(module)
    if isinstance(network, ENetSAD):
        by_cells: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
            InitialBlock: _InitialCells,
            Downsampling: _DownsamplingCells,
            Upsampling: _UpsamplingCells,
            nn.ConvTranspose2d: _TransposedCells,
        }
        for name, module in list(network.named_children()):
            if type(module) in by_cells:
                setattr(network, name, by_cells[type(module)](module))
    return network


def to_cells(features: Tensor) -> Tensor:
    """Cells of 2×2 pixels as channels: B×C×H×W to B×4C×H/2×W/2, corner by corner, row by row."""
    batch, channels, height, width = features.shape
    cells = features.reshape(batch, channels, height // 2, 2, width // 2, 2)
    return cells.permute(0, 3, 5, 1, 2, 4).reshape(batch, 4 * channels, height // 2, width // 2)


def from_cells(cells: Tensor) -> Tensor:
    """The inverse of `to_cells`."""
    batch, channels, height, width = cells.shape
    corners = cells.reshape(batch, 2, 2, channels // 4, height, width)
    return corners.permute(0, 3, 4, 1, 5, 2).reshape(batch, channels // 4, 2 * height, 2 * width)


class _InitialCells(nn.Module):
    """An initial block as one convolution of cells.

    A kernel of 3×3 pixels that moves by 2 is one of 2×2 cells. What is pooled passes through it as
    three channels more, so that the batch norm can be folded into it.
    """

    def __init__(self, block: InitialBlock) -> None:
        super().__init__()
        kernel, norm = block.conv.weight, block.norm
        assert norm.running_var is not None and norm.running_mean is not None
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        weight = torch.zeros(norm.num_features, 15, 2, 2)
        for row, column in ((row, column) for row in range(3) for column in range(3)):
            corner = 3 * (2 * ((row + 1) % 2) + (column + 1) % 2)
            place = weight[: len(kernel), corner : corner + 3, min(row, 1), min(column, 1)]
            place[:] = kernel[..., row, column]
        weight[len(kernel) :, 12:, 1, 1] = torch.eye(3)
        self.weight = nn.Parameter(weight * scale[:, None, None, None], requires_grad=False)
        self.bias = nn.Parameter(norm.bias - norm.running_mean * scale, requires_grad=False)
        self.activation = block.activation

    def forward(self, images: Tensor) -> Tensor:
        cells = to_cells(images)
        first, right, below, last = cells.chunk(4, dim=1)
        lower = torch.maximum(below, torch.maximum(last, _before(last, 3)))
        upper = torch.maximum(first, torch.maximum(right, _before(right, 3)))
        pooled = torch.maximum(upper, torch.maximum(lower, _before(lower, 2)))
        cells = F.pad(torch.cat((cells, pooled), dim=1), (1, 0, 1, 0))
        return self.activation(F.conv2d(cells, self.weight, self.bias))


def _before(features: Tensor, axis: int) -> Tensor:
    """Along an axis what is one earlier; the first stays, for it lies in the same window."""
    count = features.shape[axis]
    return torch.cat((features.narrow(axis, 0, 1), features.narrow(axis, 0, count - 1)), axis)


class _DownsamplingCells(nn.Module):
    """A `Downsampling` whose places are the cells that it pools.

    Other programs than PyTorch can't run pooling with indices, or do it slowly.
    """

    def __init__(self, block: Downsampling) -> None:
        super().__init__()
        self.branch, self.activation = block.branch, block.activation
        self.missing_channels = block.missing_channels

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        cells = to_cells(features)
        padded = F.pad(_largest(cells), (0, 0, 0, 0, 0, self.missing_channels))
        return self.activation(padded + self.branch(features)), cells


class _UpsamplingCells(nn.Module):
    """An `Upsampling` without batch norms that makes cells, and pixels of them last.

    A transposed convolution of 2×2 that moves by 2 is one of 1×1 to cells; the 1×1 behind it is the
    same for each corner.
    """

    def __init__(self, block: Upsampling) -> None:
        super().__init__()
        self.shortcut, self.branch, self.activation = block.shortcut, block.branch, block.activation
        _, middle, last, _ = (cast(nn.Sequential, part) for part in block.branch)
        weight, bias = _of(middle[0])
        middle[0] = _pointwise(weight.permute(2, 3, 1, 0).flatten(0, 2), bias.repeat(4))
        weight, bias = _of(last[0])
        last[0] = _pointwise(weight.flatten(1).repeat(4, 1), bias.repeat(4), groups=4)

    def forward(self, features: Tensor, places: Tensor) -> Tensor:
        unpooled = _unpooled(self.shortcut(features), places)
        return from_cells(self.activation(unpooled + self.branch(features)))


def _of(conv: nn.Module) -> tuple[Tensor, Tensor]:
    assert isinstance(conv, nn.Conv2d | nn.ConvTranspose2d) and conv.bias is not None
    return conv.weight, conv.bias


def _pointwise(weight: Tensor, bias: Tensor, groups: int = 1) -> nn.Conv2d:
    """A 1×1 convolution with a weight, out×in of a group, and a bias."""
    conv = nn.Conv2d(groups * weight.shape[1], len(weight), 1, groups=groups)
    conv.weight, conv.bias = nn.Parameter(weight[..., None, None]), nn.Parameter(bias)
    return conv.requires_grad_(False)


def _largest(cells: Tensor) -> Tensor:
    """2×2 max pooling, of cells."""
    corners = cells.chunk(4, dim=1)
    return torch.maximum(torch.maximum(*corners[:2]), torch.maximum(*corners[2:]))


def _unpooled(features: Tensor, places: Tensor) -> Tensor:
    """The cells of max unpooling: each feature in the largest corner of the cell that was pooled.

    Of several the first wins, as in PyTorch's pooling with indices.
    """
    largest, corners = _largest(places), places.chunk(4, dim=1)
    first = corners[0] == largest
    second = (corners[1] == largest) & ~first
    above = first | second
    third = (corners[2] == largest) & ~above
    wins = (first, second, third, ~(above | third))
    return torch.cat([torch.where(here, features, 0.0) for here in wins], dim=1)


class _TransposedCells(nn.Module):
    """A transposed convolution of 3×3 that doubles the size, as one of 2×2 to cells."""

    def __init__(self, conv: nn.ConvTranspose2d) -> None:
        super().__init__()
        kernel = conv.weight.transpose(0, 1)
        weight = torch.zeros(4, *kernel.shape[:2], 2, 2)
        # Of an axis: the place in the kernel, the pixel of the cell, the neighbour it is seen in.
        along = ((1, 0, 0), (2, 1, 0), (0, 1, 1))
        for row, pixel_row, next_row in along:
            for column, pixel_column, next_column in along:
                corner = weight[2 * pixel_row + pixel_column]
                corner[..., next_row, next_column] = kernel[..., row, column]
        self.weight = nn.Parameter(weight.flatten(0, 1), requires_grad=False)

    def forward(self, features: Tensor) -> Tensor:
        return from_cells(F.conv2d(F.pad(features, (0, 1, 0, 1)), self.weight))


def _fold(module: nn.Module) -> None:
    """Folds each batch norm that directly follows a convolution among a module's children."""
    for (name, conv), (norm_name, norm) in pairwise(list(module.named_children())):
        if (
            isinstance(conv, nn.Conv2d | nn.ConvTranspose2d)
            and isinstance(norm, nn.BatchNorm2d)
            and conv.out_channels == norm.num_features
        ):
            transposed = isinstance(conv, nn.ConvTranspose2d)
            setattr(module, name, fuse_conv_bn_eval(conv, norm, transposed))
            setattr(module, norm_name, nn.Identity())
