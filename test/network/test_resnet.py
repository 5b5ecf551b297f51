"""The ResNets: sizes, stages, and what dilation must not change."""

import copy

import pytest
import torch
from torch import Tensor, nn

from lane_sad_ros.network.resnet import ResNet

SMALL = (96, 64)
# Channels of the four stages.
STAGES = {"layer1": 64, "layer2": 128, "layer3": 256, "layer4": 512}


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def images(batch: int = 1) -> Tensor:
    width, height = SMALL
    return torch.randn(batch, 3, height, width)


def stage_outputs(made: ResNet, batch: Tensor) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name in STAGES:
        getattr(made, name).register_forward_hook(
            lambda _module, _inputs, output, name=name: found.setdefault(name, output)
        )
    with torch.inference_mode():
        made(batch)
    return found


# The backbones have as many parameters as torchvision's without `fc`.
@pytest.mark.parametrize(
    ("depth", "backbone", "channels"),
    [(18, 11_176_512, 512), (34, 21_284_672, 512), (101, 42_500_160, 2048)],
)
def test_parameter_counts(depth, backbone, channels) -> None:
    with torch.device("meta"):
        made = ResNet(depth, 4, (976, 208))
    counts = {name: sum(p.numel() for p in m.parameters()) for name, m in made.named_children()}
    reduce = 9 * channels * channels // 4 + 2 * channels // 4
    classify = 5 * (channels // 4 + 1)
    existence = 5 * (channels + 1) + 128 * (5 * 61 * 13 + 1) + 4 * (128 + 1)
    assert counts.pop("reduce") == reduce
    assert counts.pop("classify") == classify
    assert counts.pop("existence") == existence
    assert sum(counts.values()) == backbone


@pytest.mark.parametrize(
    ("lanes", "input_size"), [(1, (16, 16)), (2, (24, 40)), (6, (64, 48)), (7, (200, 72))]
)
def test_output_shapes(lanes, input_size) -> None:
    width, height = input_size
    made = ResNet(18, lanes, input_size).eval()
    segmentation, existence = made(torch.zeros(2, 3, height, width))
    assert segmentation.shape == (2, 1 + lanes, height, width)
    assert existence.shape == (2, lanes)


@pytest.mark.parametrize("depth", [18, 34, 101])
def test_stages_can_be_watched_and_end_at_an_eighth(depth) -> None:
    found = stage_outputs(ResNet(depth, 4, SMALL).eval(), images())
    wide = 4 if depth == 101 else 1
    assert {name: f.shape[1] for name, f in found.items()} == {
        name: wide * channels for name, channels in STAGES.items()
    }
    assert {name: tuple(f.shape[2:]) for name, f in found.items()} == {
        "layer1": (16, 24),
        "layer2": (8, 12),
        "layer3": (8, 12),
        "layer4": (8, 12),
    }


@pytest.mark.parametrize(("depth", "strided_one"), [(34, "conv1"), (101, "conv2")])
def test_dilation_leaves_the_weights_their_meaning(depth, strided_one) -> None:
    """With strides for dilations, every fourth place of the last stage is what it was."""
    dilated = ResNet(depth, 4, SMALL).eval()
    strided = copy.deepcopy(dilated)
    for stage in (strided.layer3, strided.layer4):
        getattr(stage[0], strided_one).stride = stage[0].downsample[0].stride = (2, 2)
        for module in stage.modules():
            if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
                module.dilation = module.padding = (1, 1)

    def features(made: ResNet, batch: Tensor) -> Tensor:
        return made.layer4(made.layer3(made.layer2(made.layer1(batch))))

    batch = torch.rand(1, 64, 26, 38)
    with torch.inference_mode():
        fine, coarse = features(dilated, batch), features(strided, batch)
    assert (fine.shape[2:], coarse.shape[2:]) == ((13, 19), (4, 5))
    scale = coarse.abs().max()
    torch.testing.assert_close(fine[..., ::4, ::4] / scale, coarse / scale, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("shape", [(64, 80), (96, 64), (32, 192)])
def test_images_of_another_size_are_refused(shape) -> None:
    with pytest.raises(ValueError, match=f"3x64x96 .* not 3x{shape[0]}x{shape[1]}"):
        ResNet(18, 4, SMALL)(torch.zeros(1, 3, *shape))


@pytest.mark.parametrize(
    ("lanes", "input_size", "message"),
    [(4, (96, 60), "multiples of 8"), (4, (8, 48), "at least 16"), (0, SMALL, "lanes must be at")],
)
def test_networks_that_cannot_be(lanes, input_size, message) -> None:
    with pytest.raises(ValueError, match=message):
        ResNet(18, lanes, input_size)


def test_a_batch_gives_what_its_images_give() -> None:
    made = ResNet(18, 4, SMALL).eval()
    batch = images(3)
    with torch.inference_mode():
        together = made(batch)
        alone = [made(image[None]) for image in batch]
    for found, *singles in zip(together, *alone, strict=True):
        torch.testing.assert_close(found, torch.cat(singles), atol=1e-4, rtol=1e-4)


def test_without_existence_head() -> None:
    with_head = ResNet(18, 4, SMALL).eval()
    without = ResNet(18, 4, SMALL, existence=False).eval()
    without.load_state_dict(with_head.state_dict(), strict=False)
    batch = images()
    with torch.inference_mode():
        segmentation, existence = without(batch)
        assert existence is None
        assert torch.equal(segmentation, with_head(batch)[0])


def test_features_keep_their_scale_at_the_start() -> None:
    """Kaiming's: ReLU halves the variance, and the weights make up for it."""
    found = ResNet(18, 4, SMALL).eval().layer2[1].conv1.weight
    assert found.std().item() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.02)


def test_every_parameter_gets_a_gradient() -> None:
    made = ResNet(18, 4, SMALL).train()
    segmentation, existence = made(images(2))
    (segmentation.square().mean() + existence.square().mean()).backward()
    without = [n for n, p in made.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []
