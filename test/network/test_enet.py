"""ENet-SAD: sizes, shapes and behaviour."""

import copy

import pytest
import torch
from torch import Tensor, nn

from lane_sad_ros.network.architectures import ARCHITECTURES, build_network, describe_network
from lane_sad_ros.network.enet import ENetSAD, Upsampling

SMALL = (64, 48)


def parameters(module: nn.Module) -> int:
    return sum(tensor.numel() for tensor in module.parameters())


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def network(**options) -> ENetSAD:
    """A small network in evaluation mode whose batch norms and slopes are not neutral."""
    made = ENetSAD(4, SMALL, **options)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0.0, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.2)
        elif isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, 0.05, 0.5)
    return made.eval()


def images(batch: int = 1) -> Tensor:
    width, height = SMALL
    return torch.randn(batch, 3, height, width)


# --- size

# The counts of the public PyTorch implementation, which has the activated branch.
COUNTS = [
    ((800, 288), 817_331, 1_106_423),
    ((976, 208), 748_851, 1_037_943),
    ((640, 368), 830_131, 1_119_223),
]


@pytest.mark.parametrize(("input_size", "shared", "separate"), COUNTS)
def test_parameter_counts(input_size, shared, separate) -> None:
    def count(**options) -> int:
        return parameters(ENetSAD(4, input_size, **options))

    assert count(shared_encoder=True, activate_branch=True) == shared
    assert count(shared_encoder=False, activate_branch=True) == separate
    # Without the activation before the addition each encoder block has one slope less.
    assert count(shared_encoder=True) == shared - (2 + 4 + 8)
    assert count(shared_encoder=False) == separate - (2 + 4 + 3 * 8)


@pytest.mark.parametrize(("shared", "expected"), [(True, 240_042), (False, 529_134)])
def test_parameter_counts_without_head(shared, expected) -> None:
    made = ENetSAD(4, SMALL, shared_encoder=shared, existence=False, activate_branch=True)
    assert parameters(made) == expected


def test_convolutions_of_blocks_have_no_bias() -> None:
    made = network()
    biased = [
        name
        for name, module in made.named_modules()
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) and module.bias is not None
    ]
    assert biased == ["existence.reduce"]


# --- shapes


@pytest.mark.parametrize(
    ("lanes", "input_size"), [(1, (16, 16)), (2, (24, 40)), (6, (64, 48)), (7, (200, 72))]
)
def test_output_shapes(lanes, input_size) -> None:
    width, height = input_size
    made = ENetSAD(lanes, input_size).eval()
    segmentation, existence = made(torch.zeros(2, 3, height, width))
    assert segmentation.shape == (2, 1 + lanes, height, width)
    assert existence.shape == (2, lanes)


def test_without_existence_head() -> None:
    with_head = network()
    without = ENetSAD(4, SMALL, existence=False).eval()
    without.load_state_dict(with_head.state_dict(), strict=False)
    batch = images()
    segmentation, existence = without(batch)
    assert existence is None
    assert torch.equal(segmentation, with_head(batch)[0])


@pytest.mark.parametrize("shape", [(48, 80), (96, 64), (64, 48), (24, 128)])
def test_images_of_another_size_are_refused(shape) -> None:
    # 24x128 has as many pixels as the network's 48x64: nothing may be reshaped silently.
    with pytest.raises(ValueError, match=f"3x48x64 .* not 3x{shape[0]}x{shape[1]}"):
        network()(torch.zeros(1, 3, *shape))


@pytest.mark.parametrize("channels", [1, 4])
def test_images_of_other_channels_are_refused(channels) -> None:
    with pytest.raises(ValueError, match=f"not {channels}x48x64"):
        network()(torch.zeros(1, channels, 48, 64))


@pytest.mark.parametrize("input_size", [(64, 50), (60, 48), (8, 48), (0, 0)])
def test_input_sizes_that_cannot_be_halved_thrice_are_refused(input_size) -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        ENetSAD(4, input_size)


def test_a_network_needs_a_lane() -> None:
    with pytest.raises(ValueError, match="lanes must be at least 1"):
        ENetSAD(0, SMALL)


# --- by name


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_networks_are_built_by_name(arch) -> None:
    made = build_network(arch, 3, SMALL).eval()
    assert (made.arch, made.lanes, made.input_size) == (arch, 3, SMALL)
    assert describe_network(made)["existence"] is True
    segmentation, existence = made(images(2))
    assert segmentation.shape == (2, 4, 48, 64)
    assert existence.shape == (2, 3)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_described_network_can_be_built_again(arch) -> None:
    known = {"enet_sad": {"shared_encoder": True, "activate_branch": True}}
    description = {"arch": arch, **known.get(arch, {}), "existence": False}
    made = build_network(lanes=1, input_size=SMALL, **description)
    assert describe_network(made) == description
    assert made.existence is None


def test_unknown_networks_and_options_are_refused() -> None:
    with pytest.raises(ValueError, match="'scnn', known are enet_sad, resnet18, resnet34, res"):
        build_network("scnn", 4, SMALL)
    with pytest.raises(ValueError, match="resnet18 has no option shared_encoder, known are exis"):
        build_network("resnet18", 4, SMALL, shared_encoder=True)


# --- behaviour


def test_a_batch_gives_what_its_images_give() -> None:
    made = network()
    batch = images(3)
    with torch.inference_mode():
        together = made(batch)
        alone = [made(image[None]) for image in batch]
    for found, *singles in zip(together, *alone, strict=True):
        torch.testing.assert_close(found, torch.cat(singles), atol=1e-5, rtol=1e-5)


def test_evaluation_is_deterministic_and_training_is_not() -> None:
    made = network()
    batch = images(2)
    with torch.no_grad():
        assert torch.equal(made(batch)[0], made(batch)[0])
        made.train()
        assert not torch.equal(made(batch)[0], made(batch)[0])  # dropout


def test_training_moves_batch_norms_and_evaluation_does_not() -> None:
    made = network()
    before = copy.deepcopy(made.state_dict())
    with torch.no_grad():
        made(images(2))
        assert all(torch.equal(t, before[n]) for n, t in made.state_dict().items())
        made.train()(images(2))
    moved = {n for n, t in made.state_dict().items() if not torch.equal(t, before[n])}
    assert moved == {n for n in before if n.endswith(("_mean", "_var", "num_batches_tracked"))}


def test_every_parameter_gets_a_gradient() -> None:
    made = network().train()
    segmentation, existence = made(images(2))
    (segmentation.square().mean() + existence.square().mean()).backward()
    without = [n for n, p in made.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_a_shared_encoder_is_the_same_blocks_in_three_stages() -> None:
    made = network(shared_encoder=True)
    stages = (made.encoder2, made.encoder3, made.encoder4)
    assert len({id(stage) for stage in stages}) == 3  # each can be hooked by itself
    for blocks in zip(*stages, strict=True):
        assert len({id(block) for block in blocks}) == 1


def test_separate_encoders_share_nothing() -> None:
    made = network(shared_encoder=False).train()
    tensors = [
        {tensor.data_ptr() for tensor in (*stage.parameters(), *stage.buffers())}
        for stage in (made.encoder2, made.encoder3, made.encoder4)
    ]
    assert not tensors[0] & tensors[1]
    assert not tensors[0] & tensors[2]
    assert not tensors[1] & tensors[2]
    made(images(2))
    norms = [stage[0].branch[0][1] for stage in (made.encoder2, made.encoder3, made.encoder4)]
    assert not torch.equal(norms[0].running_mean, norms[1].running_mean)
    assert not torch.equal(norms[1].running_mean, norms[2].running_mean)


def stage_outputs(made: ENetSAD, batch: Tensor) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name in ("encoder1", "encoder2", "encoder3", "encoder4"):
        getattr(made, name).register_forward_hook(
            lambda _module, _inputs, output, name=name: found.setdefault(name, output)
        )
    with torch.inference_mode():
        made(batch)
    return found


@pytest.mark.parametrize("shared", [True, False])
def test_stages_can_be_watched(shared) -> None:
    found = stage_outputs(network(shared_encoder=shared), images())
    assert found["encoder1"].shape == (1, 64, 12, 16)
    for name in ("encoder2", "encoder3", "encoder4"):
        assert found[name].shape == (1, 128, 6, 8)
    assert not torch.equal(found["encoder3"], found["encoder4"])


def test_encoder_stages_look_as_far_as_their_dilations() -> None:
    """One stage mixes pixels up to 1+2+2+4+1+8+2+16 = 36 away, and no farther."""
    stage = ENetSAD(1, (16, 16)).encoder2.eval()
    features = torch.zeros(1, 128, 1, 101, requires_grad=True)
    stage(features + 0.1)[0, :, 0, 50].sum().backward()
    reached = features.grad[0, :, 0].abs().sum(dim=0).nonzero().flatten()
    assert (reached.min(), reached.max()) == (50 - 36, 50 + 36)


def test_the_branch_may_lower_features_unless_it_is_activated() -> None:
    """Without the extra activation a negative branch reaches the addition in full."""
    for activated, expected in ((False, 1.0 - 0.75), (True, 1.0)):
        made = ENetSAD(4, SMALL, activate_branch=activated).eval()
        block = made.decoder1  # ReLU: an activated branch cannot be negative
        nn.init.zeros_(block.branch[2][1].weight)
        nn.init.constant_(block.branch[2][1].bias, -0.75)
        with torch.inference_mode():
            assert block(torch.ones(1, 16, 2, 2)).unique().tolist() == [expected]


def test_unpooling_puts_features_where_the_pool_took_them() -> None:
    made = Upsampling(8, 2, dropout=0.0, activate_branch=False).eval()
    nn.init.zeros_(made.branch[2][1].weight)  # the shortcut alone
    with torch.no_grad():
        made.shortcut[0].weight.zero_()
        made.shortcut[0].weight[0, 0] = 1.0
        made.shortcut[0].weight[1, 1] = 1.0
    expected = torch.zeros(2, 4, 4)
    expected[0, 1, 0], expected[0, 0, 3], expected[0, 3, 1], expected[0, 2, 2] = 1, 2, 3, 4
    expected[1, 0, 1], expected[1, 1, 2], expected[1, 3, 0], expected[1, 2, 3] = 5, 6, 7, 8
    _, indices = nn.functional.max_pool2d((expected > 0).float()[None], 2, return_indices=True)
    features = torch.zeros(1, 8, 2, 2)
    features[0, :2] = torch.arange(1.0, 9.0).reshape(2, 2, 2)
    with torch.inference_mode():
        found = made(features, indices)[0]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_half_precision_stays_so_behind_the_unpooling() -> None:
    """In float32 the decoder would take twice its time to train on a CPU."""
    made = network()
    kinds = []
    for module in (made.up2, made.decoder2, made.up1, made.decoder1):
        module.register_forward_hook(lambda _, __, features: kinds.append(features.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        made(torch.zeros(1, 3, 48, 64))
    assert kinds == [torch.bfloat16] * 4


def test_existence_is_a_logit() -> None:
    made = network()
    nn.init.constant_(made.existence.output.bias, 30.0)
    assert (made(images())[1] > 1.0).all()
