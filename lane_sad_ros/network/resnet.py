"""ResNet-18, -34 and -101 as lane networks, R-18-SAD, R-34-SAD and R-101-SAD once distilled.

Sources: "Learning Lightweight Lane Detection CNNs by Self Attention Distillation" (arXiv
1908.00821), section 4, which tries the method on them; "Deep Residual Learning" (arXiv
1512.03385), section 3.3 and table 1, for the backbone; "Spatial As Deep" (arXiv 1712.06080) for
lanes segmented at an eighth of the resolution and scaled up.

How the paper makes lane networks of them is taken from their sizes alone, 12.4 M, 22.7 M and
52.5 M parameters. Chosen here:
- Output stride 8, as ENet-SAD's encoder: the third and fourth stage are dilated by 2 and 4 where a
  ResNet halves the resolution. Every weight keeps its meaning, so ImageNet weights fit.
- A light head: 3×3 convolution to a quarter of the channels, 1×1 to the classes, bilinear
  upsampling.
- ENet-SAD's existence head, on the last stage.
That makes 12.3 M, 22.4 M and 52.5 M parameters with four lanes at 976×208, 12.6 M, 22.7 M and
52.8 M with six at 640×368.

Modules of the backbone are named as in torchvision; `layer1` to `layer4` are the four stages, the
blocks that self attention distillation observes. Nothing of it is in here.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from lane_sad_ros.network.base import ExistenceHead, LaneNetwork

# Blocks in each stage by depth (arXiv 1512.03385, table 1).
_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
# How the names of the backbone's tensors start, as in torchvision.
BACKBONE = ("conv1.", "bn1.", "layer")


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with a shortcut, B×Cin×H×W to B×C×H/stride×W/stride.

    dilations: of the two convolutions. The shortcut is a 1×1 convolution where the shape changes.
    """

    expansion: ClassVar = 1

    def __init__(
        self, channels_in: int, channels: int, stride: int, dilations: tuple[int, int]
    ) -> None:
        super().__init__()
        first, second = dilations
        self.conv1 = _conv3x3(channels_in, channels, stride, first)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _conv3x3(channels, channels, 1, second)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = _shortcut(channels_in, channels, stride)

    def forward(self, features: Tensor) -> Tensor:
        shortcut = features if self.downsample is None else self.downsample(features)
        features = self.relu(self.bn1(self.conv1(features)))
        return self.relu(self.bn2(self.conv2(features)) + shortcut)


class Bottleneck(nn.Module):
    """A 3×3 convolution between two 1×1 ones: B×Cin×H×W to B×4C×H/stride×W/stride.

    The stride is on the 3×3 convolution, as in torchvision; dilations: the first is that of it.
    """

    expansion: ClassVar = 4

    def __init__(
        self, channels_in: int, channels: int, stride: int, dilations: tuple[int, int]
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _conv3x3(channels, channels, stride, dilations[0])
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, 4 * channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(channels_in, 4 * channels, stride)

    def forward(self, features: Tensor) -> Tensor:
        shortcut = features if self.downsample is None else self.downsample(features)
        features = self.relu(self.bn1(self.conv1(features)))
        features = self.relu(self.bn2(self.conv2(features)))
        return self.relu(self.bn3(self.conv3(features)) + shortcut)


def _shortcut(channels_in: int, channels: int, stride: int) -> nn.Sequential | None:
    """What a block adds to its result where the shape changes."""
    if channels_in == channels and stride == 1:
        return None
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, 1, stride=stride, bias=False), nn.BatchNorm2d(channels)
    )


def _conv3x3(channels_in: int, channels: int, stride: int, dilation: int) -> nn.Conv2d:
    return nn.Conv2d(
        channels_in, channels, 3, stride, padding=dilation, dilation=dilation, bias=False
    )


def _stage(
    block: type[BasicBlock | Bottleneck],
    blocks: int,
    channels_in: int,
    channels: int,
    stride: int = 1,
    dilations: tuple[int, int] = (1, 1),
) -> nn.Sequential:
    """Blocks of one stage; dilations: before and after the place of the stage's stride.

    A stride of 2 taken out leaves the convolution it was on as it was, on a grid twice as fine,
    and dilates all that follow.
    """
    after = (dilations[1], dilations[1])
    wide = block.expansion * channels
    first = block(channels_in, channels, stride, dilations)
    rest = (block(wide, channels, 1, after) for _ in range(blocks - 1))
    return nn.Sequential(first, *rest)


class ResNet(LaneNetwork):
    """The whole network; `forward` as `LaneNetwork` says.

    depth: 18, 34 or 101. lanes: number of lane slots, at least 1. input_size: (width, height) of
    the images, multiples of 8. existence: with the existence head.
    """

    def __init__(
        self,
        depth: Literal[18, 34, 101],
        lanes: int,
        input_size: tuple[int, int],
        *,
        existence: bool = True,
    ) -> None:
        super().__init__(f"resnet{depth}", lanes, input_size)
        blocks = _BLOCKS[depth]
        block: type[BasicBlock | Bottleneck] = Bottleneck if depth == 101 else BasicBlock
        wide = block.expansion
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(block, blocks[0], 64, 64)
        self.layer2 = _stage(block, blocks[1], 64 * wide, 128, stride=2)
        self.layer3 = _stage(block, blocks[2], 128 * wide, 256, dilations=(1, 2))
        self.layer4 = _stage(block, blocks[3], 256 * wide, 512, dilations=(2, 4))
        self.reduce = nn.Sequential(
            nn.Conv2d(512 * wide, 128 * wide, 3, padding=1, bias=False),
            nn.BatchNorm2d(128 * wide),
            nn.ReLU(inplace=True),
            nn.Dropout2d(0.1),
        )
        self.classify = nn.Conv2d(128 * wide, 1 + lanes, 1)
        self.existence = ExistenceHead(512 * wide, lanes, input_size) if existence else None
        for module in self.modules():
            # Those without a bias are the ones before batch norm and ReLU.
            if isinstance(module, nn.Conv2d) and module.bias is None:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        self.check_size(images)
        features = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        features = self.layer4(self.layer3(self.layer2(self.layer1(features))))
        segmentation = F.interpolate(
            self.classify(self.reduce(features)), images.shape[2:], mode="bilinear"
        )
        return segmentation, self.existence(features) if self.existence is not None else None
