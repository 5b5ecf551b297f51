"""One step of training: each part of it changes what a by-hand computation says it changes."""

import dataclasses
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from lane_sad_ros.network.architectures import build_network
from lane_sad_ros.network.weights import save_network
from training.augmentation import NONE, Augmentation, Prepared, prepare
from training.config import PRECISIONS, Config, Optimizer, Source
from training.datasets import LabelledImage
from training.distillation import Distillation
from training.distributed import make_fabric
from training.learner import Learner, course, make_network, make_optimizer
from training.lighting import NIGHT, SHADE, SUN
from training.objective import cross_entropy
from training.samples import Samples
from training.supervision import DeepSupervision

CPU = torch.device("cpu")

CONFIG = Config(
    crop=(0, 160, 1280, 720),
    input_size=(64, 32),
    data=(Source(Path("one.json")), Source(Path("two.json"), share=3.0)),
    distillation=Distillation(start=0, weight=0.7),
    optimizer=Optimizer(kind="sgd", learning_rate=0.01, weight_decay=0.0, warm_up=0.0),
    augmentation=NONE,
    dropout=False,
    steps=10,
    batch=2,
    workers=0,
    device="cpu",
)


class Waits(TorchFunctionMode):
    """Notes what would wait for the device, if what is not made of the batch alone were on one.

    `host` are tensors in the host's memory; what is made of such alone is there too, until it is
    moved without waiting.
    """

    ASK = ("item", "tolist", "cpu", "numpy", "nonzero", "masked_select", "unique",
           "__bool__", "__int__", "__float__", "__index__")  # fmt: skip

    def __init__(self, host: Iterable[Tensor]) -> None:
        super().__init__()
        self.host = WeakTensorKeyDictionary(dict.fromkeys(host, True))
        self.found: list[str] = []

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name, tensors = func.__name__, [a for a in args if isinstance(a, Tensor)]
        of_host = bool(tensors) and all(tensor in self.host for tensor in tensors)
        result = func(*args, **kwargs)
        if of_host and name == "to":
            if not kwargs.get("non_blocking"):
                self.found.append("a blocking copy to the device")
            return result.clone()  # on the CPU it would be the same tensor
        if of_host:
            for made in result if isinstance(result, (tuple, list)) else [result]:
                if isinstance(made, Tensor):
                    self.host[made] = True
            return result
        if name in self.ASK:
            self.found.append(name)
        elif name == "tensor" and "device" in kwargs:
            self.found.append("a tensor made of numbers")
        elif name in ("__getitem__", "__setitem__"):
            keys = args[1] if isinstance(args[1], tuple) else (args[1],)
            if any(isinstance(key, list) or _is_mask(key) for key in keys):
                self.found.append("an index that is a list or a mask")
        return result


def _is_mask(key: object) -> bool:
    return isinstance(key, Tensor) and key.dtype == torch.bool


class Grey:
    """Images of one brightness with two lanes."""

    weights = None
    description = "grey"

    def __init__(self, brightness: int) -> None:
        self.brightness = brightness

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> LabelledImage:
        image = np.full((180, 320, 3), self.brightness, np.uint8)
        lanes = [np.array([[160 + s, 60], [160 + 6 * s, 179]], np.float32) for s in (-15, 15)]
        return LabelledImage(image, tuple(lanes))


def samples(config: Config = CONFIG) -> Samples:
    return Samples(config, config.lane_layout(), [Grey(40), Grey(200)])


def batch(config: Config = CONFIG) -> Prepared:
    drawn = samples(config)
    parts = [drawn[index] for index in range(config.batch)]
    return Prepared(*(torch.stack(part) for part in zip(*parts, strict=True)))


def learner(config: Config = CONFIG) -> Learner:
    fabric = make_fabric("cpu", PRECISIONS[config.precision])
    return Learner(config, config.lane_layout(), fabric)


def state(network: nn.Module) -> dict[str, Tensor]:
    return {name: part.clone() for name, part in network.state_dict().items()}


# --- the step


def test_the_loss_is_the_task_and_gamma_times_distillation() -> None:
    terms = learner().learn(batch(), 0)
    assert terms["distillation"].item() > 1e-4
    expected = terms["task"] + 0.7 * terms["distillation"]
    assert terms["total"].item() == pytest.approx(expected.item(), rel=1e-6)


def test_before_its_start_there_is_no_distillation() -> None:
    config = dataclasses.replace(CONFIG, distillation=Distillation(start=3))
    one = learner(config)
    names = [set(one.learn(batch(), step)) for step in (2, 3)]
    assert [("distillation" in terms) for terms in names] == [False, True]


def test_gamma_can_grow_from_the_start_on() -> None:
    ramped = Distillation(start=3, weight=0.8, ramp=4)
    assert [ramped.weight_at(step) for step in (0, 2, 3, 4, 6, 7, 100)] == pytest.approx(
        [0, 0, 0.2, 0.4, 0.8, 0.8, 0.8]
    )
    one = learner(dataclasses.replace(CONFIG, distillation=ramped))
    for step, weight in ((4, 0.4), (9, 0.8)):
        terms = one.learn(batch(), step)
        expected = terms["task"] + weight * terms["distillation"]
        assert terms["distillation"].item() > 1e-4
        assert terms["total"].item() == pytest.approx(expected.item(), rel=1e-6)


def test_deep_supervision_teaches_earlier_layers_and_leaves_nothing_behind() -> None:
    plain = dataclasses.replace(CONFIG, distillation=Distillation(weight=0.0))
    config = dataclasses.replace(plain, deep_supervision=DeepSupervision(weight=0.5))
    one, other = learner(config), learner(plain)
    assert one.supervised is not None
    heads = [head.weight.clone() for head in one.supervised.heads]
    inputs, target, _, _ = one.changes(batch())
    maps = one.supervised.train()(inputs)[2]
    assert [logits.shape[1:] for logits in maps] == [(7, 32, 64)] * 2
    by_hand = sum(cross_entropy(logits, target, 0.4).item() for logits in maps)
    terms = one.learn(batch(), 0)
    assert terms["supervision"].item() == pytest.approx(by_hand, rel=1e-4)
    expected = terms["task"] + 0.5 * terms["supervision"]
    assert terms["total"].item() == pytest.approx(expected.item(), rel=1e-6)
    assert not any(map(torch.equal, heads, (head.weight for head in one.supervised.heads)))
    other.learn(batch(), 0)
    first, second = state(one.network), state(other.network)
    assert not torch.equal(
        first["encoder2.0.branch.0.0.weight"], second["encoder2.0.branch.0.0.weight"]
    )
    assert first.keys() == second.keys() == one.average.module.state_dict().keys()
    assert not any(module._forward_hooks for module in one.average.module.modules())


def test_a_step_goes_down_the_gradient_of_the_total_in_training_mode() -> None:
    one = learner()
    before = state(one.network)
    total = one.learn(batch(), 0)["total"]
    after = state(one.network)
    # Batch norms take the batch's statistics and remember them.
    norms = [name for name in before if name.endswith("num_batches_tracked")]
    assert norms and all(after[name] == before[name] + 1 for name in norms)
    again = one.learn(batch(), 1)["total"]
    assert again.item() < total.item()


def test_the_average_is_that_of_torch_without_its_waiting() -> None:
    config = dataclasses.replace(CONFIG, average=0.7)
    one = learner(config)
    mean = get_ema_multi_avg_fn(config.average)
    expected = AveragedModel(one.network, multi_avg_fn=mean, use_buffers=True)
    for step in range(3):
        one.learn(batch(), step)
        expected.update_parameters(one.network)
    found, wanted = state(one.average), state(expected)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in found)
    assert not torch.equal(
        found["module.encoder2.0.branch.0.0.weight"],
        state(one.network)["encoder2.0.branch.0.0.weight"],
    )


def test_gradients_are_clipped_to_a_norm() -> None:
    """The first step of SGD with Nesterov's momentum is 1.9 × learning rate × gradient."""
    moved = []
    for clip in (1e-2, 1e9):
        settings = dataclasses.replace(CONFIG.optimizer, clip=clip)
        one = learner(dataclasses.replace(CONFIG, optimizer=settings))
        before = {name: part.detach().clone() for name, part in one.network.named_parameters()}
        one.learn(batch(), 0)
        change = [(part - before[name]).flatten() for name, part in one.network.named_parameters()]
        moved.append(torch.cat(change).norm().item())
    assert moved[0] == pytest.approx(1.9 * 0.01 * 1e-2, rel=1e-3)
    assert moved[1] > 10 * moved[0]


def test_the_learning_rate_follows_its_course() -> None:
    settings = dataclasses.replace(CONFIG.optimizer, warm_up=0.2, decay="poly")
    one = learner(dataclasses.replace(CONFIG, optimizer=settings))
    rates = []
    for step in range(4):
        rates.append(one.optimizer.param_groups[0]["lr"])
        one.learn(batch(), step)
    assert rates == pytest.approx([0.005, 0.01, 0.01, 0.01 * (7 / 8) ** 0.9])


def test_the_average_follows_the_network() -> None:
    one = learner(dataclasses.replace(CONFIG, average=0.5))
    one.learn(batch(), 0)
    first = state(one.network)
    one.learn(batch(), 1)
    second, average = state(one.network), state(one.average.module)
    norm = next(name for name in first if name.endswith("running_mean"))
    for name in ("classify.weight", norm):
        assert not torch.equal(first[name], second[name])
        torch.testing.assert_close(average[name], (first[name] + second[name]) / 2)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)]
)
def test_the_network_computes_in_the_precision(precision: str, dtype: torch.dtype) -> None:
    one = learner(dataclasses.replace(CONFIG, precision=precision))
    seen = []
    one.network.encoder2[0].register_forward_hook(lambda _m, _i, out: seen.append(out.dtype))
    one.learn(batch(), 0)
    assert seen == [dtype]


def test_labels_are_drawn_as_wide_as_the_configuration_says() -> None:
    areas = []
    for width in (40.0, 160.0):
        config = dataclasses.replace(CONFIG, lane_width=width)
        areas.append(int((learner(config).changes(batch())[1] > 0).sum()))
    assert areas[1] > 2.5 * areas[0]


# --- samples


def test_sets_are_drawn_by_their_shares() -> None:
    drawn = samples()
    bright = [float(drawn[index].image.float().mean()) > 120 for index in range(400)]
    assert np.mean(bright) == pytest.approx(0.75, abs=0.06)


class Shades(Grey):
    """Images as bright as their number says, of which two are drawn, one three times as often."""

    weights = np.array([0.0, 1.0, 0.0, 0.0, 3.0])

    def __getitem__(self, index: int) -> LabelledImage:
        return Grey(50 * index)[index]


def test_images_of_a_set_are_drawn_by_their_weights() -> None:
    config = dataclasses.replace(CONFIG, data=CONFIG.data[:1])
    drawn = Samples(config, config.lane_layout(), [Shades(0)])
    numbers = [round(float(drawn[index].image.float().mean()) / 50) for index in range(400)]
    assert set(numbers) == {1, 4}
    assert np.mean(np.equal(numbers, 4)) == pytest.approx(0.75, abs=0.06)


def test_samples_without_pixels_name_the_kept_image_that_was_drawn() -> None:
    """Of several sets, which are kept one after the other."""
    whole, numbered = samples(), samples()
    kept = numbered.keep(torch.device("cpu"))
    for index in range(20):
        assert torch.equal(kept.images[numbered[index].number], whole[index].image)


def test_samples_are_augmented_as_the_configuration_says() -> None:
    config = dataclasses.replace(CONFIG, augmentation=Augmentation())
    drawn = samples(config)
    views = [drawn[index].view for index in range(6)]
    assert all(not torch.equal(view, views[0]) for view in views[1:])
    still = prepare(Grey(40)[0], config.lane_layout(), NONE, np.random.default_rng(0)).view
    assert all(torch.equal(samples()[index].view, still) for index in range(6))


def test_another_seed_draws_other_samples() -> None:
    config = dataclasses.replace(CONFIG, augmentation=Augmentation())
    first, again, other = (
        samples(dataclasses.replace(config, seed=seed))[0].view for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


# --- the device


def test_no_part_of_a_step_waits_for_the_device() -> None:
    """What the host must know of a batch it knows from its own copy."""
    all_changes = Augmentation(hidden=1.0, cut=0.5, bonnet=0.5, light=1.0, colour=2.0)
    config = dataclasses.replace(CONFIG, augmentation=all_changes, batch=16)
    one, given = learner(config), batch(config)
    given = given._replace(partial=torch.arange(16) % 2 == 0)
    assert set(given.light[:, 0].tolist()) == {NIGHT, SHADE, SUN}
    assert all((part > 0).any() for part in (given.blur, given.noise, given.boxes))
    one.learn(given, 0)  # which makes what is kept
    # PyTorch keeps the count of the average in the host's memory.
    with Waits([*given, one.average.n_averaged]) as waits:
        one.learn(given, 1)
    assert waits.found == []


def test_what_waits_for_the_device_is_noticed() -> None:
    here, there = torch.ones(3), torch.ones(3)
    with Waits([here]) as waits:
        (here > 0).nonzero().tolist()
        here.to(CPU, non_blocking=True).sum()
        assert waits.found == []
        there[there > 0]
        there[[0, 1]] = 2.0
        (here.to(CPU, non_blocking=True) + 1).sum().item()
        if there.any():
            torch.tensor([1.0], device=CPU)
        here.to(CPU)
    assert len(waits.found) == 6


# --- the start


def test_initial_weights_are_the_start(tmp_path: Path) -> None:
    layout = CONFIG.lane_layout()
    torch.manual_seed(77)
    network = build_network("enet_sad", len(layout.slots), layout.input_size)
    save_network(tmp_path / "first.safetensors", network, layout, {}, {})
    config = dataclasses.replace(CONFIG, initial=tmp_path / "first.safetensors")
    for name, part in learner(config).network.state_dict().items():
        assert torch.equal(part, network.state_dict()[name]), name


def test_imported_weights_can_be_the_start(tmp_path: Path) -> None:
    """Those of ENet-SAD_Pytorch have an activation that no key asks for."""
    layout = CONFIG.lane_layout()
    network = build_network("enet_sad", len(layout.slots), layout.input_size, activate_branch=True)
    save_network(tmp_path / "a.safetensors", network, layout, {}, {})
    made = make_network(dataclasses.replace(CONFIG, initial=tmp_path / "a.safetensors"), layout)
    assert made.options["activate_branch"] is True
    assert all(torch.equal(made.state_dict()[n], v) for n, v in network.state_dict().items())


def test_the_network_is_what_the_configuration_says() -> None:
    layout, images = CONFIG.lane_layout(), torch.zeros(1, 3, 32, 64)
    own = make_network(CONFIG, layout).eval()
    blind = make_network(dataclasses.replace(CONFIG, existence=False), layout).eval()
    shared = make_network(dataclasses.replace(CONFIG, shared_encoder=True), layout)
    assert own(images)[1] is not None
    assert blind(images)[1] is None
    sizes = [sum(part.numel() for part in one.parameters()) for one in (shared, own)]
    assert sizes[0] < sizes[1]


def test_a_backbone_is_the_start_of_a_resnet(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, arch="resnet18")
    torch.manual_seed(77)
    other = make_network(config, config.lane_layout()).state_dict()
    backbone = {n: t for n, t in other.items() if n.startswith(("conv1.", "bn1.", "layer"))}
    torch.save(backbone, tmp_path / "resnet18.pth")
    config = dataclasses.replace(config, backbone=tmp_path / "resnet18.pth")
    found = make_network(config, config.lane_layout()).state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in backbone.items())


# --- optimisers and courses


def minimised(settings: Optimizer, steps: int = 3) -> list[float]:
    """Where steps along the gradient 2·w of w² lead from 1, the learning rate being constant."""

    class One(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(()))

    one = One()
    optimizer = make_optimizer(one, settings)  # type: ignore[arg-type]
    found = []
    for _ in range(steps):
        optimizer.zero_grad()
        one.w.square().backward()
        optimizer.step()
        found.append(one.w.item())
    return found


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_sgd_has_nesterovs_momentum_and_weight_decay(decay: float) -> None:
    w, velocity, expected = 1.0, 0.0, []
    for _ in range(3):
        gradient = 2 * w + decay * w
        velocity = 0.9 * velocity + gradient
        w -= 0.01 * (gradient + 0.9 * velocity)
        expected.append(w)
    settings = Optimizer(kind="sgd", learning_rate=0.01, momentum=0.9, weight_decay=decay)
    assert minimised(settings) == pytest.approx(expected, rel=1e-5)


def test_adamw_decays_weights_apart_from_the_gradient() -> None:
    with_decay, without = (
        minimised(Optimizer(kind="adamw", learning_rate=0.01, weight_decay=decay), 1)[0]
        for decay in (0.5, 0.0)
    )
    assert without == pytest.approx(1 - 0.01, rel=1e-4)
    assert with_decay == pytest.approx(1 - 0.01 * 0.5 - 0.01, rel=1e-4)


@pytest.mark.parametrize(
    ("decay", "middle"), [("poly", 0.5**0.9), ("cosine", 0.5)], ids=["poly", "cosine"]
)
def test_courses_rise_then_fall_to_nothing(decay: str, middle: float) -> None:
    share = course(Optimizer(warm_up=0.1, decay=decay), 1000)
    assert [share(step) for step in (0, 49, 99, 100)] == pytest.approx([0.01, 0.5, 1.0, 1.0])
    assert share(550) == pytest.approx(middle)
    quarter = 0.75**0.9 if decay == "poly" else 0.5 * (1 + math.cos(math.pi / 4))
    assert share(325) == pytest.approx(quarter)
    assert share(1000) == pytest.approx(0.0, abs=1e-12)
    assert course(Optimizer(warm_up=0.0, decay=decay), 1000)(0) == 1.0
