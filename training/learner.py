"""A network with all that trains it; `Learner.learn` is one step."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lane_sad_ros.lanes import LaneLayout
from lane_sad_ros.network.architectures import build_network, describe_network
from lane_sad_ros.network.base import LaneNetwork
from lane_sad_ros.network.weights import load_backbone, load_network

from .augmentation import Changes, Kept, Prepared
from .config import Config, Optimizer
from .distillation import SelfAttentionDistillation, measure
from .distributed import synchronise_batch_norm
from .objective import cross_entropy
from .supervision import Supervised


class Learner:
    """The network of a configuration in training; its average is what is kept."""

    def __init__(
        self, config: Config, layout: LaneLayout, fabric: Fabric, kept: Kept | None = None
    ) -> None:
        self.config, self.fabric = config, fabric
        torch.manual_seed(config.seed)
        self.network = make_network(config, layout)
        self.network.to(fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        # Made before any hook, so that nothing of the training is in the network that is kept.
        self.average = AveragedModel(
            self.network, multi_avg_fn=get_ema_multi_avg_fn(config.average), use_buffers=True
        )
        if fabric.world_size > 1:
            synchronise_batch_norm(self.network, fabric.device)
        self.distillation = (
            SelfAttentionDistillation(self.network, config.resolved_distillation())
            if config.distillation.weight > 0
            else None
        )
        self.supervised = (
            Supervised(self.network, config.supervised_layers())
            if config.deep_supervision.weight > 0
            else None
        )
        whole: nn.Module = self.supervised or self.network
        optimizer = make_optimizer(whole, config.optimizer, fused=config.precision != "float16")
        self.schedule = LambdaLR(optimizer, course(config.optimizer, config.steps))
        module = torch.compile(whole) if config.compile else whole
        self.objective = torch.compile(config.objective) if config.compile else config.objective
        self.forward, self.optimizer = fabric.setup(module, optimizer)  # type: ignore[arg-type]
        pairs = [
            (average, now)
            for average, now in zip(_state(self.average.module), _state(self.network), strict=True)
            if average.is_floating_point()
        ]
        self._averaged, self._now = ([pair[side] for pair in pairs] for side in (0, 1))
        self.changes = Changes(layout, config.lane_width, fabric.device, kept)

    def learn(self, batch: Prepared, step: int) -> dict[str, Tensor]:
        """Step number `step`, from 0, on this process's part of the batch; the loss terms."""
        config, weight = self.config, self.config.distillation.weight_at(step)
        inputs, truth = self._changed(batch)
        # Dropout depends on the step alone, so that a resumed run is the unbroken one.
        torch.manual_seed((config.seed * 1_000_003 + step) * 1024 + self.fabric.global_rank)
        self.network.train()
        if self.distillation is not None:
            self.distillation.active = weight > 0
        segmentation, existence, *heads = self.forward(inputs)
        # Class after class, each a whole map, its code takes several pixels at once.
        terms = self.objective(segmentation.contiguous(), existence, *truth)
        terms["total"] = terms["task"]
        if heads:
            terms["supervision"] = self._supervision(heads[0], *truth)
            terms["total"] = terms["total"] + config.deep_supervision.weight * terms["supervision"]
        if self.distillation is not None and self.distillation.active:
            terms["distillation"] = self.distillation.loss()
            terms["total"] = terms["total"] + weight * terms["distillation"]
        self.optimizer.zero_grad()
        self.fabric.backward(terms["total"])
        self.fabric.clip_gradients(
            self.forward, self.optimizer, max_norm=config.optimizer.clip, error_if_nonfinite=False
        )
        self.optimizer.step()
        self.schedule.step()
        self._update_average()
        return terms

    def _changed(self, batch: Prepared) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor | None]]:
        """The network's input and what the objective takes as truth."""
        inputs, target, exists, known = self.changes(batch)
        return inputs, (target, exists, known if batch.partial.any() else None)

    @torch.no_grad()
    def _update_average(self) -> None:
        """As `AveragedModel` does it, by few kernels and without waiting for the device. Counters,
        which are whole numbers, stay.
        """
        if self.average.n_averaged == 0:
            self.average.update_parameters(self.network)
            return
        torch._foreach_lerp_(self._averaged, self._now, 1 - self.config.average)
        self.average.n_averaged += 1

    def _supervision(
        self, heads: Sequence[Tensor], target: Tensor, _exists: Tensor, known: Tensor | None
    ) -> Tensor:
        """The sum of the cross-entropies of the heads, not yet multiplied by its weight."""
        background = self.config.objective.background
        losses = [cross_entropy(logits.float(), target, background, known) for logits in heads]
        return torch.stack(losses).sum()

    def measure(self, batch: Prepared) -> dict[str, float]:
        """What there is to log of distillation, see `measure`; nothing without it."""
        if self.distillation is None:
            return {}
        inputs, truth = self._changed(batch)

        def task_loss(outputs: tuple[Tensor, Tensor | None]) -> Tensor:
            segmentation, existence = outputs
            return self.config.objective(segmentation, existence, *truth)["task"]

        return measure(self.distillation, self.network, inputs, task_loss)

    def parts(self) -> dict[str, Any]:
        """All that has a state, by name."""
        heads = {} if self.supervised is None else {"heads": self.supervised.heads}
        return {
            **heads,
            "network": self.network,
            "average": self.average,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "precision": self.fabric.strategy.precision,
        }


def _state(network: nn.Module) -> Iterator[Tensor]:
    """All numbers of a network, the same tensors whatever it learns."""
    parts = itertools.chain(network.parameters(), network.buffers())
    return (part.detach() for part in parts)


def make_network(config: Config, layout: LaneLayout) -> LaneNetwork:
    """The network of a configuration, with the weights that it is to start from."""
    initial = None if config.initial is None else load_network(config.initial)
    options = {"shared_encoder": True} if config.shared_encoder else {}
    if initial is not None and initial.options.get("activate_branch"):
        options["activate_branch"] = True  # as imported weights have it, which no key asks for
    network = build_network(
        config.arch, len(layout.slots), layout.input_size, existence=config.existence, **options
    )
    if not config.dropout:
        for module in network.modules():
            if isinstance(module, (torch.nn.Dropout, torch.nn.Dropout2d)):
                module.p = 0.0
    if config.backbone is not None:
        load_backbone(network, config.backbone)
    if initial is not None:
        wanted, found = (
            {**describe_network(n), "lanes": n.lanes, "input_size": n.input_size}
            for n in (network, initial)
        )
        if wanted != found:
            raise ValueError(f"{config.initial}: weights of {found} cannot start {wanted}")
        network.load_state_dict(initial.state_dict())
    return network


def make_optimizer(
    network: nn.Module, settings: Optimizer, fused: bool = True
) -> torch.optim.Optimizer:
    """The optimiser of a network, at its highest learning rate.

    fused: whether a step is few kernels; gradients that were scaled cannot be clipped then.
    """
    how: dict[str, Any] = {"fused": True} if fused else {"foreach": True}
    if settings.kind == "adamw":
        return torch.optim.AdamW(
            network.parameters(),
            settings.learning_rate,
            weight_decay=settings.weight_decay,
            **how,
        )
    return torch.optim.SGD(
        network.parameters(),
        settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=True,
        **how,
    )


def course(settings: Optimizer, steps: int) -> Callable[[int], float]:
    """The learning rate at a step, from 0, as a share of its highest."""
    rising = max(1, round(settings.warm_up * steps))

    def share(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        done = min(1.0, (step - rising) / max(1, steps - rising))
        if settings.decay == "poly":
            return float((1.0 - done) ** 0.9)
        return 0.5 * (1.0 + math.cos(math.pi * done))

    return share
