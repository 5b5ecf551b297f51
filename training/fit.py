"""Training of a lane network from a configuration file.

Everything a run leaves is in one folder: `config.yaml`, TensorBoard events, `last.pt` (network,
average, optimiser, step; a run started again there goes on from it) and `weights.safetensors`
(the averaged network, with its figures).
"""

from __future__ import annotations

import dataclasses
import time
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from lane_sad_ros.detection.engines import find_device
from lane_sad_ros.files import replacing
from lane_sad_ros.lanes import LAYOUTS, LaneLayout
from lane_sad_ros.network.enet import ENetSAD
from lane_sad_ros.network.weights import load_network, save_network
from training.augmentation import Augmentation, augment
from training.datasets.labels import assign_slots, draw_labels
from training.datasets.tusimple import TuSimple
from training.objective import Objective
from training.validation import tusimple_figures


@dataclass(frozen=True)
class Source:
    """A label file of the TuSimple layout and its share of the training samples.

    root: the folder its image paths start at, by default the label file's own.
    """

    labels: Path
    share: float = 1.0
    root: Path | None = None


@dataclass(frozen=True)
class Config:
    """One training run; the fields of the YAML files in training/configs."""

    layout: str = "tusimple"
    crop: tuple[int, int, int, int] | None = None  # reference pixels; None: the layout's
    input_size: tuple[int, int] | None = None  # width, height; None: the layout's
    point_threshold: float | None = None  # of the decoding; None: the layout's
    shared_encoder: bool = False
    data: tuple[Source, ...] = ()
    validation: tuple[Path, ...] = ()
    steps: int = 6000
    batch: int = 8
    learning_rate: float = 2e-3  # peak of the one-cycle schedule
    weight_decay: float = 1e-4
    lane_width: float = 14.0  # of the drawn labels, reference pixels
    average: float = 0.998  # decay of the running average of the weights that is kept
    augmentation: Augmentation = field(default_factory=Augmentation)
    objective: Objective = field(default_factory=Objective)
    initial: Path | None = None  # weights to start from
    seed: int = 1
    workers: int = 1
    device: str = "auto"
    precision: str = "float32"  # or bfloat16, by autocast
    compile: bool = False
    save_every: int = 200
    validate_every: int = 1000

    def lane_layout(self) -> LaneLayout:
        """The layout with this run's crop, input size and point threshold."""
        layout = LAYOUTS[self.layout]
        changes: dict[str, Any] = {}
        if self.point_threshold is not None:
            changes["decoding"] = dataclasses.replace(
                layout.decoding, point_threshold=self.point_threshold
            )
        if self.crop is not None:
            changes["crop"] = self.crop
        if self.input_size is not None:
            changes["input_size"] = self.input_size
        return dataclasses.replace(layout, **changes)


def read_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """The configuration in a YAML file, changed by `key=value` words (values are YAML).

    Raises ValueError naming an unknown key and the known ones, or a value of the wrong type.
    """
    values = yaml.safe_load(path.read_text()) or {}
    for word in overrides:
        key, separator, value = word.partition("=")
        if not separator:
            raise ValueError(f"{word!r} is not of the form key=value")
        inner = values
        *parents, last = key.split(".")
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[last] = yaml.safe_load(value)
    config = _build(Config, values, str(path))
    if config.layout not in LAYOUTS:
        raise ValueError(f"{path}: layout {config.layout!r} is not one of {', '.join(LAYOUTS)}")
    return config


def _build(cls: Any, values: Any, where: str) -> Any:
    """A dataclass from a mapping, with paths, tuples and inner dataclasses made of plain values."""
    if not isinstance(values, dict):
        raise ValueError(f"{where}: expected a mapping of keys, not {values!r}")
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise ValueError(
            f"{where}: unknown key {', '.join(unknown)}; known are {', '.join(sorted(hints))}"
        )
    try:
        return cls(**{k: _convert(hints[k], v, f"{where}, {k}") for k, v in values.items()})
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from error


def _convert(hint: Any, value: Any, where: str) -> Any:
    options = typing.get_args(hint)
    if type(None) in options:
        return None if value is None else _convert(options[0], value, where)
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, where)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{where}: expected a list, not {value!r}")
        inner = [options[0]] * len(value) if options[1:] == (...,) else list(options)
        if len(inner) != len(value):
            raise ValueError(f"{where}: expected {len(inner)} values, not {len(value)}")
        return tuple(_convert(h, v, where) for h, v in zip(inner, value, strict=True))
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ValueError(f"{where}: expected {hint.__name__}, not {value!r}")
    return value


class _Samples(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Augmented samples; sample i of a seed is always the same, whatever came before it."""

    def __init__(self, config: Config, layout: LaneLayout) -> None:
        self.config, self.layout = config, layout
        self.sources = [TuSimple(source.labels, source.root) for source in config.data]
        shares = np.array([source.share for source in config.data])
        self.shares = shares / shares.sum()

    def __len__(self) -> int:
        return self.config.steps * self.config.batch

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        rng = np.random.default_rng((self.config.seed, index))
        source = self.sources[int(rng.choice(len(self.sources), p=self.shares))]
        sample = source[int(rng.integers(len(source)))]
        image, lanes = augment(sample, self.layout, self.config.augmentation, rng)
        width, height = self.layout.input_size
        slots = assign_slots(lanes, len(self.layout.slots), width, height)
        scale = width / (self.layout.crop[2] - self.layout.crop[0])
        classes, exists = draw_labels(slots, (width, height), self.config.lane_width * scale)
        return torch.from_numpy(image), torch.from_numpy(classes), torch.from_numpy(exists)


def fit(config: Config, output: Path) -> dict[str, dict[str, float]]:
    """Train and write the run to `output`; the figures on each validation file are returned."""
    layout = config.lane_layout()
    samples = _Samples(config, layout)
    for source, found in zip(config.data, samples.sources, strict=True):
        print(f"{source.labels}: {len(found)} labelled images, share {source.share:g}")
    torch.manual_seed(config.seed)
    device = find_device(config.device)
    network = ENetSAD(len(layout.slots), layout.input_size, shared_encoder=config.shared_encoder)
    if config.initial is not None:
        network.load_state_dict(load_network(config.initial).state_dict())
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = AveragedModel(
        network, multi_avg_fn=get_ema_multi_avg_fn(config.average), use_buffers=True
    )
    optimizer = torch.optim.AdamW(
        network.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=config.steps, pct_start=0.1
    )
    output.mkdir(parents=True, exist_ok=True)
    (output / "config.yaml").write_text(yaml.safe_dump(_plain(dataclasses.asdict(config))))
    last = output / "last.pt"
    state = {"network": network, "average": average, "optimizer": optimizer, "schedule": schedule}
    start = 0
    if last.exists():
        saved = torch.load(last, map_location=device, weights_only=True)
        for name, part in state.items():
            part.load_state_dict(saved[name])
        start = saved["step"]
        print(f"{last}: going on from step {start}")

    mean = torch.tensor(layout.mean, device=device).view(1, 3, 1, 1) * 255
    std = torch.tensor(layout.std, device=device).view(1, 3, 1, 1) * 255
    loader = DataLoader(
        torch.utils.data.Subset(samples, range(start * config.batch, len(samples))),
        config.batch,
        num_workers=config.workers,
    )
    forward = torch.compile(network) if config.compile else network
    log = SummaryWriter(str(output))
    network.train()
    began = time.monotonic()
    progress = tqdm(loader, initial=start, total=config.steps, unit="step", dynamic_ncols=True)
    for step, (images, classes, exists) in enumerate(progress, start=start + 1):
        # Dropout depends on the step alone, so that a resumed run is the unbroken one.
        torch.manual_seed(config.seed * 1_000_003 + step)
        pixels = images.to(device).permute(0, 3, 1, 2).flip(1).float()
        inputs = ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
            segmentation, existence = forward(inputs)
        losses = config.objective(
            segmentation.float(),
            None if existence is None else existence.float(),
            classes.to(device).long(),
            exists.to(device),
        )
        if not torch.isfinite(losses["total"]):
            raise FloatingPointError(f"the loss is not finite at step {step}; the run stops")
        optimizer.zero_grad()
        losses["total"].backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        average.update_parameters(network)
        if step % 20 == 0:
            terms = {name: loss.item() for name, loss in losses.items()}
            for name, value in terms.items():
                log.add_scalar(f"loss/{name}", value, step)
            progress.set_postfix({name: f"{value:.3f}" for name, value in terms.items()})
        if step % config.save_every == 0 or step == config.steps:
            _save(last, {name: part.state_dict() for name, part in state.items()} | {"step": step})
        if step % config.validate_every == 0 and step != config.steps:
            for path, figures in _validate(config, average, layout).items():
                for name, value in figures.items():
                    log.add_scalar(f"{Path(path).stem}/{name}", value, step)
                progress.write(f"step {step}, {path}: {figures}")
    log.close()

    results = _validate(config, average, layout)
    trained = {
        "data": [
            {"labels": source.labels.name, "images": len(found), "share": source.share}
            for source, found in zip(config.data, samples.sources, strict=True)
        ],
        "steps": config.steps,
        "batch": config.batch,
        "hours": round((time.monotonic() - began) / 3600, 2),
        "losses": ["segmentation", "iou", "existence"],
    }
    by_name = {Path(path).stem: figures for path, figures in results.items()}
    save_network(output / "weights.safetensors", _averaged(average), layout, trained, by_name)
    for path, figures in results.items():
        print(f"{path}: {figures}")
    return results


def _averaged(average: AveragedModel) -> ENetSAD:
    module = average.module
    assert isinstance(module, ENetSAD)
    return module


def _validate(
    config: Config, average: AveragedModel, layout: LaneLayout
) -> dict[str, dict[str, float]]:
    network = _averaged(average).eval()
    return {str(p): tusimple_figures(network, layout, p) for p in config.validation}


def _save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint such that the old one stays whole until the new one is."""
    with replacing(path) as partial:
        torch.save(state, partial)


def _plain(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: _plain(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [_plain(value) for value in values]
    return str(values) if isinstance(values, Path) else values
