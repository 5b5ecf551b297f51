"""Training of a lane network from a configuration.

Everything a run leaves is in one folder: `config.yaml`, `history.jsonl` and TensorBoard events,
`last.pt` (all that is needed to go on exactly), `weights.safetensors` (the averaged network, which
the detector takes, with its figures) and `figures.json`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning_fabric import Fabric
from torch import Tensor
from tqdm import tqdm

from lane_sad_ros.files import replacing, write_json
from lane_sad_ros.network.base import LaneNetwork
from lane_sad_ros.network.weights import save_network

from .augmentation import Prepared, source_layout
from .config import PRECISIONS, Config, differing, plain
from .datasets import Reading
from .history import History
from .learner import Learner
from .parallel import make_fabric
from .samples import Samples, batches
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
        source = source_layout(self.layout, config.augmentation)
        cache = config.cache
        reading = Reading.for_layout(source, cache if isinstance(cache, int) else 0)
        sets = [source.open(reading) for source in config.data]
        self.samples = Samples(config, self.layout, sets)
        self.validation = {source.name: source.open() for source in config.validation}
        kept = self.samples.keep(fabric.device) if cache == "device" else None
        self.learner = Learner(config, self.layout, fabric, kept)
        if fabric.is_global_zero:
            self._check_folder()
            self._say_what_is_trained()
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
            batches(self.samples, self.fabric, self.step, until),
            initial=self.step,
            total=until,
            unit="step",
            dynamic_ncols=True,
            disable=history is None,
        )
        began = time.monotonic() - self.seconds
        for batch in progress:
            terms = self.learner.learn(batch, self.step)
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

    def _values(self, losses: Mapping[str, float], batch: Prepared) -> dict[str, float]:
        """What is logged of a step."""
        values = {f"loss/{name}": value for name, value in losses.items()}
        if not math.isfinite(values["loss/total"]):
            raise FloatingPointError(
                f"the loss is not finite at step {self.step}; the run stops, its last checkpoint "
                "is whole; try a lower learning rate"
            )
        values["learning_rate"] = float(self.learner.schedule.get_last_lr()[0])
        if self.step % (10 * self.config.log_every) == 0:
            measured = self.learner.measure(batch)
            values |= {f"distillation/{name}": value for name, value in measured.items()}
        return values

    def _validate(self, history: History | None) -> dict[str, dict[str, float]]:
        """Figures of the averaged network, by the first process; its weights are written."""
        results: dict[str, dict[str, float]] = {}
        if history is not None:
            network = self.learner.average.module
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
            write_json(self.output / "figures.json", results)
        self.fabric.barrier()
        return results

    def _description(self) -> dict[str, Any]:
        """How the weights were trained, for their file."""
        config = self.config
        losses = ["segmentation", "iou", "existence"]
        settings = plain(config)
        return {
            "data": [
                {
                    "kind": s.kind,
                    "labels": s.path.name,
                    "images": len(d),
                    "share": s.share,
                    "licence": s.licence,
                }
                for s, d in zip(config.data, self.samples.sets, strict=True)
            ],
            "steps": self.step,
            "batch": config.batch,
            "seed": config.seed,
            "hours": round(self.seconds / 3600, 2),
            "losses": losses + (["distillation"] if config.distillation.weight > 0 else []),
            "distillation": settings["distillation"],
        }

    def _save(self) -> None:
        """Write the checkpoint such that the old one stays whole until the new one is."""
        if self.fabric.is_global_zero:
            state = {name: part.state_dict() for name, part in self.learner.parts().items()}
            with replacing(self.output / "last.pt") as partial:
                torch.save({**state, "step": self.step, "seconds": self.seconds}, partial)

    def _load(self) -> None:
        path = self.output / "last.pt"
        if not path.exists():
            return
        saved = torch.load(path, map_location=self.fabric.device, weights_only=True)
        for name, part in self.learner.parts().items():
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
        for source, found in zip(config.data, self.samples.sets, strict=True):
            print(f"{found.description} (share {source.share:g})")
        for found in self.validation.values():
            print(f"{found.description} (validation)")
        parameters = sum(p.numel() for p in self.learner.network.parameters())
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
