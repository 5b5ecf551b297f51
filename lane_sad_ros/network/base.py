"""What the lane networks have in common."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ExistenceHead(nn.Module):
    """Lane existence logits B×lanes from features B×channels×H/8×W/8.

    input_size: (width, height) of the images, W×H; the head is made for that size alone.
    """

    def __init__(self, channels: int, lanes: int, input_size: tuple[int, int]) -> None:
        super().__init__()
        width, height = input_size
        self.reduce = nn.Conv2d(channels, 1 + lanes, 1)
        self.hidden = nn.Linear((1 + lanes) * (height // 16) * (width // 16), 128)
        self.output = nn.Linear(128, lanes)

    def forward(self, features: Tensor) -> Tensor:
        classes = F.avg_pool2d(self.reduce(features).softmax(dim=1), 2)
        return self.output(F.relu(self.hidden(classes.flatten(1))))


class LaneNetwork(nn.Module):
    """A network from images to lanes, made for a number of lanes and an input size.

    Its `forward` maps images B×3×H×W (RGB, normalised with the layout's mean and standard
    deviation) to segmentation logits B×(1+lanes)×H×W, class 0 background, and existence logits
    B×lanes, None without the existence head. It raises ValueError if H×W is not the input size.

    arch: its name in `architectures`. lanes: number of lane slots. input_size: (width, height).
    existence: the existence head, or None. options: what else it was built with, plain values by
    the names of its constructor's keywords.
    """

    existence: ExistenceHead | None

    def __init__(self, arch: str, lanes: int, input_size: tuple[int, int], **options: bool) -> None:
        """Raises ValueError for no lanes or an input size that is not in multiples of 8."""
        super().__init__()
        if lanes < 1:
            raise ValueError(f"lanes must be at least 1, not {lanes}")
        if any(side < 16 or side % 8 for side in input_size):
            raise ValueError(
                f"input_size {input_size} must be multiples of 8, at least 16, in both sides"
            )
        self.arch = arch
        self.lanes = lanes
        self.input_size = input_size
        self.options = options

    def check_size(self, images: Tensor) -> None:
        """Raises ValueError if the images are not B×3×H×W of the input size."""
        width, height = self.input_size
        if images.shape[1:] != (3, height, width):
            raise ValueError(
                f"the network takes images of 3x{height}x{width} (channels x height x width), "
                f"not {'x'.join(str(n) for n in images.shape[1:])}"
            )
