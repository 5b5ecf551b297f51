"""Networks as programs other than PyTorch run them."""

from __future__ import annotations

import copy
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lane_sad_ros.network.enet import Downsampling


def deployable(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode that exports: batch norms folded, pooling without indices.

    Its output is the network's, but for the rounding of the folded weights.
    """
    network = copy.deepcopy(network).eval().requires_grad_(False)
    for module in list(network.modules()):  # each once, however often it is shared
        _fold(module)
        if isinstance(module, Downsampling):
            module.without_indices = True
    return network


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
