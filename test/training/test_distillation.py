"""Self attention distillation: the paper's formulas, its gradients, and that it leaves no trace."""

import copy
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lane_sad_ros.network.architectures import ARCHITECTURES, build_network
from lane_sad_ros.network.weights import default_weights_path, load
from training.augmentation import NONE, Changes, prepare
from training.config import paper_paths
from training.datasets import LabelledImage, open_dataset
from training.distillation import (
    Distillation,
    SelfAttentionDistillation,
    collapse,
    distance,
    measure,
    relative_entropy,
    resize,
    spatial_softmax,
)
from training.objective import Objective
from training.scenes import render, sample_scene

MAPPINGS = [("sum", 1.0), ("sum", 2.0), ("sum", 4.0), ("max", 1.0), ("max", 2.0), ("max", 4.0)]


def features(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


class Tower(nn.Module):
    """A small CNN whose stages differ in channels and size."""

    def __init__(self) -> None:
        super().__init__()
        self.low = nn.Conv2d(3, 8, 3, padding=1)
        self.high = nn.Conv2d(8, 6, 3, stride=2, padding=1)
        self.out = nn.Linear(6, 2)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.out(self.high(self.low(images).relu()).relu().mean(dim=(2, 3)))
        return logits


PATH = Distillation(paths=(("low", "high"),))


# --- the formulas


@pytest.mark.parametrize(("mapping", "power"), MAPPINGS)
def test_mapping_functions_are_the_papers(mapping: str, power: float) -> None:
    values = features(2, 5, 3, 4)
    found = collapse(values, mapping, power)
    assert found.shape == (2, 3, 4)
    for b, v, u in itertools.product(range(2), range(3), range(4)):
        powers = [abs(values[b, c, v, u].item()) ** power for c in range(5)]
        expected = sum(powers) if mapping == "sum" else max(powers)
        assert found[b, v, u].item() == pytest.approx(expected, rel=1e-12)


def softmax_of_entropy(values: np.ndarray, entropy: float) -> np.ndarray:
    """The softmax of the map whose scale gives it this share of log(size), by plain bisection."""
    low, high = 1e-6, 1e6
    for _ in range(200):
        scale = math.sqrt(low * high)
        powers = np.exp(scale * (values - values.max()))
        result: np.ndarray = powers / powers.sum()
        kept = result[result > 0]
        if -(kept * np.log(kept)).sum() > entropy * math.log(values.size):
            low = scale
        else:
            high = scale
    return result


@pytest.mark.parametrize(("mapping", "power"), MAPPINGS)
def test_whole_loss_is_the_papers(mapping: str, power: float) -> None:
    paths = (("low", "high"), ("high", "low"))
    distillation = SelfAttentionDistillation(
        Tower().double(), Distillation(paths, mapping=mapping, power=power, entropy=0.7)
    )
    seen = {"low": features(2, 8, 6, 8), "high": features(2, 6, 3, 4, seed=1)}
    expected = 0.0
    for lower, higher in (("low", "high"), ("high", "low")):
        for b in range(2):
            powers = [seen[name][b].abs().numpy() ** power for name in (lower, higher)]
            low, high = (each.sum(0) if mapping == "sum" else each.max(0) for each in powers)
            resized = torch.nn.functional.interpolate(
                torch.from_numpy(low)[None, None], high.shape, mode="bilinear"
            )[0, 0].numpy()
            maps = [softmax_of_entropy(m, 0.7) for m in (resized, high)]
            expected += ((maps[0] - maps[1]) ** 2).sum() / 2
    assert distillation.loss(seen).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e5])
@pytest.mark.parametrize("entropy", [0.3, 0.8, 0.95])
def test_attention_is_neither_flat_nor_one_hot(scale: float, entropy: float) -> None:
    maps = collapse(features(3, 16, 12, 20) * scale)
    attention = spatial_softmax(maps, entropy)
    assert attention.sum(dim=(1, 2)).tolist() == pytest.approx([1, 1, 1])
    assert relative_entropy(attention).tolist() == pytest.approx([entropy] * 3, abs=1e-6)
    # The order of the places stays, and with it what is attended to.
    assert torch.equal(attention.flatten(1).argsort(1), maps.flatten(1).argsort(1))


def test_maps_without_contrast_or_with_two_values_are_no_trouble() -> None:
    half = torch.zeros(1, 4, 6)
    half[:, :, :3] = 7.0  # of entropy log(12) at least, which is above the wanted one
    flat = torch.full((1, 4, 6), 3.0)
    maps = torch.cat([half, flat]).requires_grad_()
    attention = spatial_softmax(maps, 0.3)
    attention.square().sum().backward()
    assert maps.grad is not None
    assert torch.isfinite(maps.grad).all()
    assert attention[1].tolist() == pytest.approx(np.full((4, 6), 1 / 24))
    assert attention[0, :, :3].sum().item() == pytest.approx(1.0)


def test_images_of_a_batch_do_not_touch_each_other() -> None:
    maps = collapse(features(3, 4, 5, 6))
    together = spatial_softmax(maps)
    alone = torch.cat([spatial_softmax(one[None]) for one in maps])
    torch.testing.assert_close(together, alone)
    lower, higher = together, together.roll(1, dims=0)
    single = [distance(a[None], b[None]) for a, b in zip(lower, higher, strict=True)]
    torch.testing.assert_close(distance(lower, higher), torch.stack(single).mean())


def test_half_precision_features_do_not_overflow() -> None:
    values = torch.full((1, 4, 3, 3), 300.0, dtype=torch.float16)
    assert torch.isfinite(collapse(values, "sum", 4.0)).all()


def test_resize_is_bilinear() -> None:
    ramp = torch.arange(8.0).expand(1, 4, 8)
    assert resize(ramp, (2, 4))[0, 0].tolist() == [0.5, 2.5, 4.5, 6.5]
    assert resize(ramp, (4, 8)) is ramp


# --- gradients


@pytest.mark.parametrize(("mapping", "power"), MAPPINGS)
def test_gradient_is_that_of_the_loss(mapping: str, power: float) -> None:
    network = Tower().double()
    distillation = SelfAttentionDistillation(
        network, Distillation(paths=(("low", "high"),), mapping=mapping, power=power)
    )
    higher = features(2, 6, 3, 4, seed=1)
    lower = features(2, 8, 6, 8).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda low: distillation.loss({"low": low, "high": higher}), lower
    )


def test_no_gradient_into_the_target() -> None:
    distillation = SelfAttentionDistillation(Tower(), PATH)
    lower = features(1, 8, 6, 8).requires_grad_()
    higher = features(1, 6, 3, 4).requires_grad_()
    distillation.loss({"low": lower, "high": higher}).backward()
    assert higher.grad is None
    assert lower.grad is not None
    assert lower.grad.norm() > 0


def test_gradient_descent_on_the_loss_moves_attention_to_the_target() -> None:
    distillation = SelfAttentionDistillation(Tower(), PATH)
    lower = features(1, 8, 6, 8).requires_grad_()
    higher = features(1, 6, 6, 8, seed=3)
    optimizer = torch.optim.Adam([lower], 0.05)
    losses = []
    for _ in range(200):
        losses.append(distillation.loss({"low": lower, "high": higher}))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.02 * losses[0]


def rendered(count: int) -> list[LabelledImage]:
    pictures = [render(sample_scene(np.random.default_rng((7, i)))) for i in range(count)]
    return [
        LabelledImage(p.image, tuple(lane for lane in p.lanes if lane is not None))
        for p in pictures
    ]


@pytest.mark.parametrize("source", ["rendered scenes", "real frames"])
def test_gradient_is_a_useful_share_of_the_tasks(
    source: str, request: pytest.FixtureRequest
) -> None:
    """On trained weights: of each lower block's features, 1 to 50 % for the paper's mapping."""
    network, layout, _ = load(default_weights_path())
    if source == "real frames":
        data: Path = request.getfixturevalue("data")
        frames = open_dataset("tusimple", data / "tusimple" / "label_data_0313_val.json")
        samples = [frames[index] for index in range(0, 32, 8)]
    else:
        samples = rendered(4)
    rng = np.random.default_rng(0)
    batch = torch.utils.data.default_collate(
        [prepare(sample, layout, NONE, rng) for sample in samples]
    )
    inputs, classes, exists, _ = Changes(layout, 12.0, torch.device("cpu"))(batch)
    distillation = SelfAttentionDistillation(network, Distillation(paths=paper_paths("enet_sad")))
    found = measure(
        distillation, network, inputs, lambda out: Objective()(*out, classes, exists)["task"]
    )
    for layer in ("encoder2", "encoder3"):
        assert 0.01 < found[f"share/{layer}"] < 0.5
    for layer in ("encoder2", "encoder3", "encoder4"):
        assert found[f"entropy/{layer}"] == pytest.approx(0.8, abs=1e-3)
        assert 0.2 < found[f"focus/{layer}"] < 1.0
    assert all(parameter.grad is None for parameter in network.parameters())


# --- the network it watches


@pytest.mark.parametrize("arch", sorted(ARCHITECTURES))
def test_nothing_of_it_is_in_the_network(arch: str) -> None:
    torch.manual_seed(0)
    network = build_network(arch, 6, (64, 32)).eval()
    before = copy.deepcopy(network)
    images = torch.randn(2, 3, 32, 64)
    distillation = SelfAttentionDistillation(network, Distillation(paths=paper_paths(arch)))
    with_it = network(images)
    assert distillation.loss().item() > 0
    distillation.remove()
    for outputs in (with_it, network(images)):
        for found, expected in zip(outputs, before(images), strict=True):
            assert torch.equal(found, expected)
    assert network.state_dict().keys() == before.state_dict().keys()
    assert not any(module._forward_hooks for module in network.modules())


def test_stages_that_share_weights_are_told_apart() -> None:
    network = build_network("enet_sad", 6, (64, 32), shared_encoder=True)
    distillation = SelfAttentionDistillation(network, Distillation(paths=paper_paths("enet_sad")))
    network(torch.randn(2, 3, 32, 64))
    seen = distillation.features()
    assert not torch.equal(seen["encoder2"], seen["encoder3"])
    assert not torch.equal(seen["encoder3"], seen["encoder4"])


def test_inactive_it_keeps_nothing() -> None:
    network = Tower()
    distillation = SelfAttentionDistillation(network, PATH)
    distillation.active = False
    network(torch.randn(1, 3, 6, 8))
    with pytest.raises(RuntimeError, match="has not run"):
        distillation.loss()


def test_features_are_of_the_last_pass_and_let_go() -> None:
    network = Tower()
    distillation = SelfAttentionDistillation(network, PATH)
    network(torch.randn(1, 3, 6, 8))
    distillation.loss()
    with pytest.raises(RuntimeError, match="has not run"):
        distillation.loss()


def test_measuring_changes_nothing() -> None:
    network = Tower().train()
    distillation = SelfAttentionDistillation(network, PATH)
    distillation.active = False
    measure(distillation, network, torch.randn(2, 3, 6, 8), lambda logits: logits.square().mean())
    assert network.training
    assert not distillation.active
    assert all(parameter.grad is None for parameter in network.parameters())


def test_the_share_that_is_measured_is_that_of_the_weighted_loss() -> None:
    images = torch.randn(2, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    network, shares = Tower(), []
    for weight in (0.1, 0.3):
        watched = SelfAttentionDistillation(network, Distillation(PATH.paths, weight=weight))
        found = measure(watched, network, images, lambda logits: logits.square().mean())
        shares.append(found["share/low"])
        watched.remove()
    assert shares[0] > 0
    assert shares[1] == pytest.approx(3 * shares[0], rel=1e-4)


def test_wrong_use_is_explained() -> None:
    with pytest.raises(ValueError, match=r"no layer 'middle'.*low, high, out"):
        SelfAttentionDistillation(Tower(), Distillation(paths=(("low", "middle"),)))
    with pytest.raises(ValueError, match="at least one path"):
        SelfAttentionDistillation(Tower(), Distillation())
    network = Tower()
    SelfAttentionDistillation(network, Distillation(paths=(("low", "out"),)))
    with pytest.raises(ValueError, match="'out' gives no B×C×H×W features"):
        network(torch.randn(1, 3, 6, 8))
    for settings in ({"mapping": "mean"}, {"power": 0.0}, {"entropy": 1.0}, {"weight": -1.0}):
        with pytest.raises(ValueError, match=next(iter(settings))):
            Distillation(**settings)  # type: ignore[arg-type]
