"""Training of a lane network from a configuration.

Everything a run leaves is in one folder: `config.yaml`, `history.jsonl` and TensorBoard events,
`last.pt` (all that is needed to go on exactly) and the one before, `weights.safetensors` (the
averaged network, which the detector takes, with its figures), `best.safetensors` (that with the
best figures so far) and `figures.json`.
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

from lane_sad_ros.files import read_yaml, write_json, write_text
from lane_sad_ros.network.base import LaneNetwork
from lane_sad_ros.network.weights import save_network

from . import checkpoint
from .augmentation import Prepared
from .clock import Clock, TimeUp
from .config import PRECISIONS, Config, differing, plain
from .distributed import make_fabric
from .history import History
from .learner import Learner
from .samples import Samples, batches
from .validation import check_measurable, merit, validate

_BEST = "best.safetensors"
_WAY_OUT = (
    "nothing of it was saved, the checkpoint and the weights of before stay; train with a lower "
    "optimizer.learning_rate in another folder (--output)"
)

Figures = dict[str, dict[str, float]]


def fit(
    config: Config, output: Path, until: int | None = None, clock: Clock | None = None
) -> Figures:
    """Train and leave the run in `output`; a run begun there is gone on with, exactly.

    until: stop, with a checkpoint, after this step instead of the configuration's last. clock: stop
    likewise before its time is up.
    Returns the figures on each validation set, by its name. Under torchrun, each process trains on
    its part of every batch.
    Raises ValueError where another run is in `output` or its checkpoints are damaged,
    FloatingPointError where the network is not finite any more, and what opening the data raises.
    """
    fabric = make_fabric(config.device, PRECISIONS[config.precision])
    return _Run(config, output, fabric, clock).go(config.steps if until is None else until)


class _Run:
    """One training run in one process."""

    def __init__(
        self, config: Config, output: Path, fabric: Fabric, clock: Clock | None = None
    ) -> None:
        if config.batch % fabric.world_size:
            raise ValueError(
                f"a batch of {config.batch} images cannot be shared evenly by "
                f"{fabric.world_size} processes"
            )
        if not config.data:
            raise ValueError("the configuration names no data to train on")
        self.config, self.output, self.fabric, self.clock = config, output, fabric, clock
        self.layout = config.lane_layout()
        self.samples = Samples.opened(config, self.layout)
        self.validation = {source.name: source.open() for source in config.validation}
        for dataset in self.validation.values():
            check_measurable(dataset)
        kept = self.samples.keep(fabric.device) if config.cache == "device" else None
        self.learner = Learner(config, self.layout, fabric, kept)
        if fabric.is_global_zero:
            self._check_folder()
            self._say_what_is_trained()
        self.step, self.seconds = 0, 0.0
        # Entries of the history; what was measured last, and at which step; the best merit so far.
        self.lines = 0
        self.figures: Figures = {}
        self.validated: int | None = None
        self.validating: int | None = None  # the step whose validation was begun last
        self.best: float | None = None
        self._load()

    def go(self, until: int) -> Figures:
        """Train to a step; the figures then."""
        if not self.fabric.is_global_zero:
            return self._steps(until, None)
        with closing(History(self.output, self.step, self.lines)) as history:
            return self._steps(until, history)

    def _steps(self, until: int, history: History | None) -> Figures:
        """Train to a step; the first process has the history and does what is needed once."""
        config = self.config
        due = self.step >= until or (self.step and self.step % config.validate_every == 0)
        if due or self.step == self.validating:
            self.validating = None
            self._validate(history)  # of a run that was killed before it had done so
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
            if not self._time_is_left():
                progress.close()
                self.fabric.print(f"step {self.step} of {config.steps}: to be continued")
                break
            terms = self.learner.learn(batch, self.step)
            self.step += 1
            self.seconds = time.monotonic() - began
            last = self.step == until
            if self.step % config.log_every == 0 or last:
                # Of the whole batch, so every process takes part.
                losses = self.fabric.all_reduce(torch.stack([*terms.values()]).detach())
                if history is not None:
                    assert isinstance(losses, Tensor)
                    named = dict(zip(terms, losses.tolist(), strict=True))
                    history.add(self.step, self._values(named, batch))
                    progress.set_postfix({n: f"{v:.3f}" for n, v in named.items() if n != "task"})
            if self.step % config.validate_every == 0 and not last:
                self._validate(history)
            elif self.step % config.save_every == 0 and not last:
                self._save(history)
        return self._validate(history)

    def _time_is_left(self) -> bool:
        """Whether the clock, if there is one, leaves time for a step; the same in each process."""
        if self.clock is None:
            return True
        fits = self.clock.step_fits()
        return fits if self.fabric.world_size == 1 else self.fabric.broadcast(fits)

    def _values(self, losses: Mapping[str, float], batch: Prepared) -> dict[str, float]:
        """What is logged of a step."""
        values = {f"loss/{name}": value for name, value in losses.items()}
        if not math.isfinite(values["loss/total"]):
            raise FloatingPointError(f"the loss is not finite at step {self.step}; {_WAY_OUT}")
        values["learning_rate"] = float(self.learner.schedule.get_last_lr()[0])
        if self.step % (10 * self.config.log_every) == 0:
            measured = self.learner.measure(batch)
            values |= {f"distillation/{name}": value for name, value in measured.items()}
        return values

    def _validate(self, history: History | None) -> Figures:
        """Figures of the averaged network, by the first process; its weights are written."""
        if history is not None and self.step not in (self.validated, self.validating):
            self.validating = self.step
            self._save(history)  # first, as a validation may take long
            try:
                self._keep(self._measure(), history)
            except TimeUp:
                tqdm.write(
                    f"step {self.step}: no time left to validate; the next leg begins with it"
                )
                self._write("weights.safetensors", {})
        self.fabric.barrier()
        return self.figures if self.validated == self.step else {}

    def _keep(self, figures: Figures, history: History) -> None:
        """Write the averaged network with its figures, and what the run knows of them."""
        self.figures, self.validated = figures, self.step
        named = {f"{n}/{k}": v for n, found in figures.items() for k, v in found.items()}
        history.add(self.step, named)
        self._write("weights.safetensors", figures)
        write_json(self.output / "figures.json", figures)
        found = merit(figures)
        if found is not None and (self.best is None or found > self.best):
            self.best = found
            self._write(_BEST, figures)
        self._save(history)

    def _measure(self) -> Figures:
        """The figures of the averaged network on each validation set. Raises TimeUp."""
        results, began = {}, time.monotonic()
        check = None if self.clock is None else self.clock.check
        for name, dataset in self.validation.items():
            device = str(self.fabric.device)
            found = validate(self.learner.average.module, self.layout, dataset, device, check)
            words = ", ".join(f"{key} {value:.4g}" for key, value in found.items())
            tqdm.write(f"step {self.step}, {name}: {words}")
            results[name] = found
        if self.clock is not None:
            self.clock.ending = time.monotonic() - began
            self.clock.pause()
        return results

    def _write(self, name: str, figures: Figures) -> None:
        """Write the averaged network."""
        network = self.learner.average.module
        assert isinstance(network, LaneNetwork)
        save_network(self.output / name, network, self.layout, self._description(), figures)

    def _description(self) -> dict[str, Any]:
        """How the weights were trained, for their file."""
        config = self.config
        losses = ["segmentation", "iou", "existence"]
        losses += ["distillation"] if config.distillation.weight > 0 else []
        losses += ["deep supervision"] if config.deep_supervision.weight > 0 else []
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
            "losses": losses,
            "distillation": settings["distillation"],
        }

    def _save(self, history: History | None) -> None:
        """Write the checkpoint; the one before is kept."""
        if history is None:
            return
        state = {name: part.state_dict() for name, part in self.learner.parts().items()}
        try:
            checkpoint.save(self.output, {**state, "lines": history.lines, **self._progress()})
        except FloatingPointError as error:
            raise FloatingPointError(f"{error} at step {self.step}; {_WAY_OUT}") from error

    def _progress(self) -> dict[str, Any]:
        """How far the run is, for its checkpoint."""
        names = ("step", "seconds", "figures", "validated", "validating", "best")
        return {name: getattr(self, name) for name in names}

    def _load(self) -> None:
        if self.fabric.is_global_zero:
            checkpoint.clean(self.output)
        self.fabric.barrier()
        found = checkpoint.load(self.output)
        if found is None:
            return
        state, text = found
        for name, part in self.learner.parts().items():
            if state[name]:  # float16 has nothing to keep where it began on a CPU
                part.load_state_dict(state[name])
        self.lines = state["lines"]
        for name in self._progress():
            setattr(self, name, state[name])
        if not (self.output / _BEST).exists():
            self.best = None
        self.fabric.print(text)

    def _check_folder(self) -> None:
        """Make the folder of the run, or see that the run in it is this one."""
        self.output.mkdir(parents=True, exist_ok=True)
        path = self.output / "config.yaml"
        if path.exists():
            there = read_yaml(path) or {}
            if other := differing(self.config, there):
                raise ValueError(
                    f"{self.output}: holds a run with other settings ({', '.join(other)}); "
                    "name another folder, or give that run's settings to go on with it"
                )
        write_text(path, yaml.safe_dump(plain(self.config), sort_keys=False))

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
        if config.deep_supervision.weight > 0:
            layers = ", ".join(config.supervised_layers())
            print(f"deep supervision: {layers}, weight {config.deep_supervision.weight:g}")
        settings = config.resolved_distillation()
        if settings.weight > 0:
            paths = ", ".join(f"{lower} -> {higher}" for lower, higher in settings.paths or ())
            print(
                f"self attention distillation: {paths}, weight {settings.weight:g}, "
                f"from step {settings.start} on"
            )
        else:
            print("no self attention distillation (its weight is 0)")
