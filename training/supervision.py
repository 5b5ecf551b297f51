"""Deep supervision: labels for earlier layers too, which the paper compares distillation with.

Each supervised layer has a head of its own, a 1×1 convolution to the classes, in training only: no
head is in the network that is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lane_sad_ros.network.base import LaneNetwork

from .distillation import Watch


@dataclass(frozen=True)
class DeepSupervision:
    """Segmentation losses on earlier layers.

    layers: their names; null for those that distillation draws in the paper, E2 and E3. weight: of
    the sum of their cross-entropies, 0 for a network without deep supervision.
    """

    layers: tuple[str, ...] | None = None
    weight: float = 0.0

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"the weight must not be negative, not {self.weight}")


class Supervised(nn.Module):
    """A network with heads on some of its layers."""

    def __init__(self, network: LaneNetwork, layers: Sequence[str]) -> None:
        """Raises ValueError for a layer that the network does not have."""
        super().__init__()
        self.network = network
        self._watch = Watch(network, layers)
        width, height = network.input_size
        device = next(network.parameters()).device
        with torch.no_grad():
            network.eval()(torch.zeros(1, 3, height, width, device=device))
        channels = [found.shape[1] for found in self._watch.features().values()]
        self.heads = nn.ModuleList(nn.Conv2d(each, 1 + network.lanes, 1) for each in channels)
        self.heads.to(device)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None, list[Tensor]]:
        """The network's outputs, and each head's logits B×(1+lanes)×H×W."""
        segmentation, existence = self.network(images)
        features = self._watch.features().values()
        maps = [
            F.interpolate(head(found), segmentation.shape[2:], mode="bilinear")
            for head, found in zip(self.heads, features, strict=True)
        ]
        return segmentation, existence, maps
