"""Networks as programs other than PyTorch run them."""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lane_sad_ros.network.enet import Downsampling, ENetSAD, InitialBlock, from_cells, to_cells


def deployable(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode that exports and runs fast: batch norms folded, pooling without
    indices, both ends of ENet-SAD computed by cells of 2×2 pixels.

    Its output is the network's, but for the rounding of the folded weights.
    """
    network = copy.deepcopy(network).eval().requires_grad_(False)
    if isinstance(network, ENetSAD):
        network.initial = _InitialCells(network.initial)  # type: ignore[assignment]
        network.classify = _TransposedCells(network.classify)  # type: ignore[assignment]
    for module in list(network.modules()):  # each once, however often it is shared
        _fold(module)
        if isinstance(module, Downsampling):
            module.without_indices = True
    return network


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
