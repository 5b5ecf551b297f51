"""Training of a lane network from a configuration.

Everything a run leaves is in one folder: `config.yaml`, `history.jsonl` and TensorBoard events,
`last.pt` (all that is needed to go on exactly), `weights.safetensors` (the averaged network, which
the detector takes, with its figures) and `figures.json`.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from lane_sad_ros.files import replacing
from lane_sad_ros.lanes import LaneLayout
from lane_sad_ros.network.architectures import build_network, describe_network
from lane_sad_ros.network.base import LaneNetwork
from lane_sad_ros.network.weights import load_backbone, load_network, save_network

from .augmentation import Changes, Prepared, prepare, source_layout
from .config import PRECISIONS, Config, Optimizer, differing, plain
from .datasets import LabelledDataset, Reading
from .distillation import SelfAttentionDistillation, measure
from .history import History
from .parallel import make_fabric, synchronise_batch_norm
from .validation import validate

# What may differ between the parts of an interrupted run.
_OPERATIONAL = (
    "device",
    "workers",
    "cache",
    "compile",
    "log_every",
    "save_every",
    "validate_every",
)


class _Samples(Dataset[Prepared]):
    """Prepared samples; sample i of a seed is always the same, whatever came before it."""

    def __init__(self, config: Config, layout: LaneLayout, sets: list[LabelledDataset]) -> None:
        self.config, self.layout, self.sets = config, layout, sets
        shares = np.array([source.share for source in config.data])
        self.shares = shares / shares.sum()

    def __getitem__(self, index: int) -> Prepared:
        rng = np.random.default_rng((self.config.seed, index))
        dataset = self.sets[int(rng.choice(len(self.sets), p=self.shares))]
        sample = dataset[_draw(dataset, rng)]
        return prepare(sample, self.layout, self.config.augmentation, rng)


def _draw(dataset: LabelledDataset, rng: np.random.Generator) -> int:
    """The number of a random image, by the weights of the set."""
    if dataset.weights is None:
        return int(rng.integers(len(dataset)))
    return int(rng.choice(len(dataset), p=dataset.weights / dataset.weights.sum()))


def fit(config: Config, output: Path, until: int | None = None) -> dict[str, dict[str, float]]:
    """Train and leave the run in `output`; a run begun there is gone on with, exactly.

    until: stop, with a checkpoint, after this step instead of the configuration's last.
    Returns the figures on each validation set, by its name. Under torchrun, each process trains on
    its part of every batch.
    Raises ValueError where another run is in `output`, and what opening the data raises.
    """
    fabric = make_fabric(config.device, PRECISIONS[config.precision])
    return _Run(config, output, fabric).go(config.steps if until is None else until)


class _Run:
    """One training run in one process."""

    def __init__(self, config: Config, output: Path, fabric: Fabric) -> None:
        if config.batch % fabric.world_size:
            raise ValueError(
                f"a batch of {config.batch} images cannot be shared evenly by "
                f"{fabric.world_size} processes"
            )
        if not config.data:
            raise ValueError("the configuration names no data to train on")
        self.config, self.output, self.fabric = config, output, fabric
        self.layout = config.lane_layout()
        reading = Reading.for_layout(source_layout(self.layout, config.augmentation), config.cache)
        self.sets = [source.open(reading) for source in config.data]
        self.validation = {source.name: source.open() for source in config.validation}
        torch.manual_seed(config.seed)
        self.network = _network(config, self.layout)
        if fabric.is_global_zero:
            self._check_folder()
            self._say_what_is_trained()
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
        optimizer = _optimizer(self.network, config.optimizer)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, _course(config.optimizer, config.steps)
        )
        module = torch.compile(self.network) if config.compile else self.network
        self.forward, self.optimizer = fabric.setup(module, optimizer)  # type: ignore[arg-type]
        self.changes = Changes(self.layout, config.lane_width, fabric.device)
        self.step, self.seconds = 0, 0.0
        self._load()

    def go(self, until: int) -> dict[str, dict[str, float]]:
        """Train to a step; the figures then."""
        if not self.fabric.is_global_zero:
            return self._steps(until, None)
        with closing(History(self.output, self.step)) as history:
            return self._steps(until, history)

    def _steps(self, until: int, history: History | None) -> dict[str, dict[str, float]]:
        """Train to a step; the first process has the history and does what is needed once."""
        config = self.config
        progress = tqdm(
            self._batches(until),
            initial=self.step,
            total=until,
            unit="step",
            dynamic_ncols=True,
            disable=history is None,
        )
        began = time.monotonic() - self.seconds
        for batch in progress:
            terms = self._train(batch)
            self.step += 1
            last = self.step == until
            if self.step % config.log_every == 0 or last:
                # Of the whole batch, so every process takes part.
                losses = self.fabric.all_reduce(torch.stack([*terms.values()]).detach())
                if history is not None:
                    assert isinstance(losses, Tensor)
                    named = dict(zip(terms, losses.tolist(), strict=True))
                    history.add(self.step, self._values(named, batch))
                    progress.set_postfix({n: f"{v:.3f}" for n, v in named.items() if n != "task"})
            if self.step % config.save_every == 0 or last:
                self.seconds = time.monotonic() - began
                self._save()
            if self.step % config.validate_every == 0 and not last:
                self._validate(history)
        return self._validate(history)

    def _train(self, batch: Prepared) -> dict[str, Tensor]:
        """One step on this process's part of the batch; the loss terms."""
        config, step = self.config, self.step
        inputs, *truth = self.changes(batch)
        # Dropout depends on the step alone, so that a resumed run is the unbroken one.
        torch.manual_seed((config.seed * 1_000_003 + step) * 1024 + self.fabric.global_rank)
        self.network.train()
        distil = self.distillation is not None and step >= config.distillation.start
        if self.distillation is not None:
            self.distillation.active = distil
        segmentation, existence = self.forward(inputs)
        terms = config.objective(segmentation, existence, *truth)
        total = terms["task"]
        if distil:
            assert self.distillation is not None
            terms["distillation"] = self.distillation.loss()
            total = total + config.distillation.weight * terms["distillation"]
        terms["total"] = total
        self.optimizer.zero_grad()
        self.fabric.backward(total)
        self.fabric.clip_gradients(
            self.forward, self.optimizer, max_norm=config.optimizer.clip, error_if_nonfinite=False
        )
        self.optimizer.step()
        self.schedule.step()
        self.average.update_parameters(self.network)
        return terms

    def _values(self, losses: Mapping[str, float], batch: Prepared) -> dict[str, float]:
        """What is logged of a step."""
        values = {f"loss/{name}": value for name, value in losses.items()}
        if not math.isfinite(values["loss/total"]):
            raise FloatingPointError(
                f"the loss is not finite at step {self.step}; the run stops, its last checkpoint "
                "is whole; try a lower learning rate"
            )
        values["learning_rate"] = float(self.schedule.get_last_lr()[0])
        if self.distillation is not None and self.step % (10 * self.config.log_every) == 0:
            inputs, *truth = self.changes(batch)

            def task_loss(outputs: tuple[Tensor, Tensor | None]) -> Tensor:
                return self.config.objective(outputs[0], outputs[1], *truth)["task"]

            measured = measure(self.distillation, self.network, inputs, task_loss)
            values |= {f"distillation/{name}": value for name, value in measured.items()}
        return values

    def _batches(self, until: int) -> Iterator[Prepared]:
        """This process's part of each batch, from the step to come on."""
        own = self.config.batch // self.fabric.world_size
        starts = range(self.step * self.config.batch, until * self.config.batch, self.config.batch)
        offset = self.fabric.global_rank * own
        loader = DataLoader(
            _Samples(self.config, self.layout, self.sets),
            batch_sampler=[list(range(s + offset, s + offset + own)) for s in starts],
            num_workers=self.config.workers if starts else 0,
            pin_memory=self.fabric.device.type == "cuda",
        )
        yield from loader

    def _validate(self, history: History | None) -> dict[str, dict[str, float]]:
        """Figures of the averaged network, by the first process; its weights are written."""
        results: dict[str, dict[str, float]] = {}
        if history is not None:
            network = self.average.module
            assert isinstance(network, LaneNetwork)
            device = str(self.fabric.device)
            for name, dataset in self.validation.items():
                results[name] = validate(network, self.layout, dataset, device)
                words = ", ".join(f"{key} {value:.4g}" for key, value in results[name].items())
                tqdm.write(f"step {self.step}, {name}: {words}")
            history.add(
                self.step, {f"{n}/{k}": v for n, found in results.items() for k, v in found.items()}
            )
            save_network(
                self.output / "weights.safetensors",
                network,
                self.layout,
                self._description(),
                results,
            )
            with replacing(self.output / "figures.json") as partial:
                partial.write_text(json.dumps(results, indent=2) + "\n")
        self.fabric.barrier()
        return results

    def _description(self) -> dict[str, Any]:
        """How the weights were trained, for their file."""
        config = self.config
        losses = ["segmentation", "iou", "existence"]
        settings = plain(config)
        return {
            "data": [
                {"kind": s.kind, "labels": s.path.name, "images": len(d), "share": s.share}
                for s, d in zip(config.data, self.sets, strict=True)
            ],
            "steps": self.step,
            "batch": config.batch,
            "seed": config.seed,
            "hours": round(self.seconds / 3600, 2),
            "losses": losses + (["distillation"] if self.distillation is not None else []),
            "distillation": settings["distillation"],
        }

    def _state(self) -> dict[str, Any]:
        return {
            "network": self.network,
            "average": self.average,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "precision": self.fabric.strategy.precision,
        }

    def _save(self) -> None:
        """Write the checkpoint such that the old one stays whole until the new one is."""
        if self.fabric.is_global_zero:
            state = {name: part.state_dict() for name, part in self._state().items()}
            with replacing(self.output / "last.pt") as partial:
                torch.save({**state, "step": self.step, "seconds": self.seconds}, partial)

    def _load(self) -> None:
        path = self.output / "last.pt"
        if not path.exists():
            return
        saved = torch.load(path, map_location=self.fabric.device, weights_only=True)
        for name, part in self._state().items():
            part.load_state_dict(saved[name])
        self.step, self.seconds = saved["step"], saved["seconds"]
        self.fabric.print(f"{path}: going on from step {self.step}")

    def _check_folder(self) -> None:
        """Make the folder of the run, or see that the run in it is this one."""
        self.output.mkdir(parents=True, exist_ok=True)
        path = self.output / "config.yaml"
        if path.exists():
            there = yaml.safe_load(path.read_text()) or {}
            other = [name for name in differing(self.config, there) if name not in _OPERATIONAL]
            if other:
                raise ValueError(
                    f"{self.output}: holds a run with other settings ({', '.join(other)}); "
                    "name another folder, or give that run's settings to go on with it"
                )
        with replacing(path) as partial:
            partial.write_text(yaml.safe_dump(plain(self.config), sort_keys=False))

    def _say_what_is_trained(self) -> None:
        config, layout = self.config, self.layout
        for source, found in zip(config.data, self.sets, strict=True):
            print(f"{found.description} (share {source.share:g})")
        for found in self.validation.values():
            print(f"{found.description} (validation)")
        parameters = sum(p.numel() for p in self.network.parameters())
        print(
            f"{config.arch}, {parameters:,} parameters, {len(layout.slots)} lanes at "
            f"{layout.input_size[0]}x{layout.input_size[1]}, {config.steps} steps of "
            f"{config.batch} images, {config.precision} on {self.fabric.device}"
        )
        settings = config.resolved_distillation()
        if settings.weight > 0:
            paths = ", ".join(f"{lower} -> {higher}" for lower, higher in settings.paths or ())
            print(
                f"self attention distillation: {paths}, weight {settings.weight:g}, "
                f"from step {settings.start} on"
            )
        else:
            print("no self attention distillation (its weight is 0)")


def _network(config: Config, layout: LaneLayout) -> LaneNetwork:
    options = {"shared_encoder": True} if config.shared_encoder else {}
    network = build_network(
        config.arch, len(layout.slots), layout.input_size, existence=config.existence, **options
    )
    if not config.dropout:
        for module in network.modules():
            if isinstance(module, (torch.nn.Dropout, torch.nn.Dropout2d)):
                module.p = 0.0
    if config.backbone is not None:
        load_backbone(network, config.backbone)
    if config.initial is not None:
        initial = load_network(config.initial)
        wanted, found = (
            {**describe_network(n), "lanes": n.lanes, "input_size": n.input_size}
            for n in (network, initial)
        )
        if wanted != found:
            raise ValueError(f"{config.initial}: weights of {found} cannot start {wanted}")
        network.load_state_dict(initial.state_dict())
    return network


def _optimizer(network: LaneNetwork, settings: Optimizer) -> torch.optim.Optimizer:
    if settings.kind == "adamw":
        return torch.optim.AdamW(
            network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
    return torch.optim.SGD(
        network.parameters(),
        settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=True,
    )


def _course(settings: Optimizer, steps: int) -> Callable[[int], float]:
    """The learning rate at a step as a share of its highest."""
    rising = max(1, round(settings.warm_up * steps))

    def share(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        done = min(1.0, (step - rising) / max(1, steps - rising))
        if settings.decay == "poly":
            return float((1.0 - done) ** 0.9)
        return 0.5 * (1.0 + math.cos(math.pi * done))

    return share
