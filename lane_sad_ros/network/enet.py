"""ENet-SAD: the ENet encoder-decoder with four encoder stages and a lane existence head.

Sources: "Learning Lightweight Lane Detection CNNs by Self Attention Distillation" (arXiv
1908.00821), section 4.1 and figure 3, for the stages E1 to E4 and the head; "ENet" (arXiv
1606.02147), section 3, for the blocks. Encoder activations are PReLU, decoder activations ReLU,
convolutions in blocks have no bias.

Nothing of self attention distillation is in here: it is a training loss on the outputs of the
modules `encoder1` to `encoder4` and leaves no trace in the network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lane_sad_ros.network.base import ExistenceHead, LaneNetwork

Activation = Callable[[], nn.Module]
Conv = nn.Conv2d | nn.ConvTranspose2d


class ConvNormAct(nn.Sequential):
    """A convolution, batch norm and, where `activation` is given, an activation."""

    def __init__(self, conv: nn.Module, channels: int, activation: Activation | None) -> None:
        layers = [conv, nn.BatchNorm2d(channels)]
        super().__init__(*layers, *([activation()] if activation else []))


class InitialBlock(nn.Module):
    """Halves B×3×H×W to B×C×H/2×W/2: a strided convolution beside a max pooling of the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels - 3, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.activation = nn.PReLU()

    def forward(self, images: Tensor) -> Tensor:
        pooled = F.max_pool2d(images, 3, stride=2, padding=1)
        return self.activation(self.norm(torch.cat((self.conv(images), pooled), dim=1)))


def _branch(
    convs: Sequence[Conv],
    channels: int,
    activation: Activation,
    dropout: float,
    activate_branch: bool,
) -> nn.Sequential:
    """The convolutions, a last 1×1 one up to `channels`, and spatial dropout."""
    inner = convs[-1].out_channels
    return nn.Sequential(
        *(ConvNormAct(conv, conv.out_channels, activation) for conv in convs),
        ConvNormAct(
            nn.Conv2d(inner, channels, 1, bias=False),
            channels,
            activation if activate_branch else None,
        ),
        nn.Dropout2d(dropout),
    )


class Bottleneck(nn.Module):
    """A residual bottleneck: 1×1 down to a quarter of the channels, `middle`, 1×1 up again.

    The branch is added before the last activation only (ENet, figure 2b). `activate_branch` puts
    one more activation on the branch before the addition, as ENet-SAD_Pytorch does: it is there to
    run that project's checkpoints.
    """

    def __init__(
        self,
        channels: int,
        middle: Sequence[nn.Conv2d],
        activation: Activation,
        dropout: float,
        activate_branch: bool,
    ) -> None:
        super().__init__()
        down = nn.Conv2d(channels, channels // 4, 1, bias=False)
        self.branch = _branch([down, *middle], channels, activation, dropout, activate_branch)
        self.activation = activation()

    def forward(self, features: Tensor) -> Tensor:
        return self.activation(features + self.branch(features))


def regular(channels: int, dilation: int = 1) -> list[nn.Conv2d]:
    """The 3×3 middle of a bottleneck over `channels`, dilated or not."""
    inner = channels // 4
    return [nn.Conv2d(inner, inner, 3, padding=dilation, dilation=dilation, bias=False)]


def asymmetric(channels: int) -> list[nn.Conv2d]:
    """The 5×1 and 1×5 middle of a bottleneck over `channels`."""
    inner = channels // 4
    return [
        nn.Conv2d(inner, inner, (5, 1), padding=(2, 0), bias=False),
        nn.Conv2d(inner, inner, (1, 5), padding=(0, 2), bias=False),
    ]


class Downsampling(nn.Module):
    """Halves the resolution by max pooling plus a strided bottleneck branch.

    Returns the features and the places of the maxima, where the matching `Upsampling` puts
    features back.
    """

    def __init__(
        self, channels_in: int, channels: int, dropout: float, activate_branch: bool
    ) -> None:
        super().__init__()
        inner = channels_in // 4
        convs = [
            nn.Conv2d(channels_in, inner, 2, stride=2, bias=False),
            nn.Conv2d(inner, inner, 3, padding=1, bias=False),
        ]
        self.branch = _branch(convs, channels, nn.PReLU, dropout, activate_branch)
        self.activation = nn.PReLU()
        self.missing_channels = channels - channels_in

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        pooled, places = F.max_pool2d(features, 2, stride=2, return_indices=True)
        padded = F.pad(pooled, (0, 0, 0, 0, 0, self.missing_channels))
        return self.activation(padded + self.branch(features)), places


class Upsampling(nn.Module):
    """Doubles the resolution by max unpooling plus a transposed-convolution branch."""

    def __init__(
        self, channels_in: int, channels: int, dropout: float, activate_branch: bool
    ) -> None:
        super().__init__()
        inner = channels_in // 4
        self.shortcut = ConvNormAct(nn.Conv2d(channels_in, channels, 1, bias=False), channels, None)
        convs: list[Conv] = [
            nn.Conv2d(channels_in, inner, 1, bias=False),
            nn.ConvTranspose2d(inner, inner, 2, stride=2, bias=False),
        ]
        self.branch = _branch(convs, channels, nn.ReLU, dropout, activate_branch)
        self.activation = nn.ReLU()

    def forward(self, features: Tensor, places: Tensor) -> Tensor:
        shortcut = self.shortcut(features)
        # Autocast on a CPU gives float32, which all of the decoder would go on with.
        unpooled = F.max_unpool2d(shortcut, places, [2, 2]).to(shortcut.dtype)
        return self.activation(unpooled + self.branch(features))


class ENetSAD(LaneNetwork):
    """The whole network; `forward` as `LaneNetwork` says.

    lanes: number of lane slots, at least 1.
    input_size: (width, height) of the images, multiples of 8; the existence head is made for it.
    shared_encoder: E3 and E4 use E2's blocks, batch norms included.
    existence: with the existence head.
    activate_branch: see `Bottleneck`.
    """

    def __init__(
        self,
        lanes: int,
        input_size: tuple[int, int],
        *,
        shared_encoder: bool = False,
        existence: bool = True,
        activate_branch: bool = False,
    ) -> None:
        super().__init__(
            "enet_sad",
            lanes,
            input_size,
            shared_encoder=shared_encoder,
            activate_branch=activate_branch,
        )

        def bottleneck(
            channels: int, middle: Sequence[nn.Conv2d], activation: Activation, dropout: float
        ) -> Bottleneck:
            return Bottleneck(channels, middle, activation, dropout, activate_branch)

        def stage() -> list[Bottleneck]:
            middles = [
                regular(128),
                regular(128, dilation=2),
                asymmetric(128),
                regular(128, dilation=4),
                regular(128),
                regular(128, dilation=8),
                asymmetric(128),
                regular(128, dilation=16),
            ]
            return [bottleneck(128, middle, nn.PReLU, 0.1) for middle in middles]

        self.initial = InitialBlock(16)
        self.down1 = Downsampling(16, 64, 0.01, activate_branch)
        self.encoder1 = nn.Sequential(
            *(bottleneck(64, regular(64), nn.PReLU, 0.01) for _ in range(4))
        )
        self.down2 = Downsampling(64, 128, 0.1, activate_branch)
        blocks = stage()
        # Three containers, so that each stage has a module of its own to hook, shared or not.
        self.encoder2 = nn.Sequential(*blocks)
        self.encoder3 = nn.Sequential(*(blocks if shared_encoder else stage()))
        self.encoder4 = nn.Sequential(*(blocks if shared_encoder else stage()))

        self.up2 = Upsampling(256, 64, 0.1, activate_branch)
        self.decoder2 = nn.Sequential(
            *(bottleneck(64, regular(64), nn.ReLU, 0.1) for _ in range(2))
        )
        self.up1 = Upsampling(64, 16, 0.1, activate_branch)
        self.decoder1 = bottleneck(16, regular(16), nn.ReLU, 0.1)
        self.classify = nn.ConvTranspose2d(
            16, 1 + lanes, 3, stride=2, padding=1, output_padding=1, bias=False
        )
        self.existence = ExistenceHead(128, lanes, input_size) if existence else None

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        self.check_size(images)
        features, places1 = self.down1(self.initial(images))
        features, places2 = self.down2(self.encoder1(features))
        features3 = self.encoder3(self.encoder2(features))
        features4 = self.encoder4(features3)
        features = self.up2(torch.cat((features3, features4), dim=1), places2)
        features = self.up1(self.decoder2(features), places1)
        segmentation = self.classify(self.decoder1(features))
        return segmentation, self.existence(features4) if self.existence is not None else None
