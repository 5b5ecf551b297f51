"""The configuration of a training run: a YAML file, other files it builds on, and overrides."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lane_sad_ros.files import parse_yaml, read_yaml
from lane_sad_ros.lanes import LAYOUTS, LaneLayout
from lane_sad_ros.network.architectures import ARCHITECTURES

from .augmentation import Augmentation
from .datasets import KINDS, LabelledDataset, Reading, open_dataset
from .datasets.polylines import Labels
from .distillation import Distillation
from .objective import Objective
from .supervision import DeepSupervision


def blocks(arch: str) -> tuple[str, str, str, str]:
    """The names of the four blocks of a network whose attention the paper looks at."""
    stage = "encoder" if arch == "enet_sad" else "layer"
    return (f"{stage}1", f"{stage}2", f"{stage}3", f"{stage}4")


def decoder(arch: str) -> str:
    """The name of the block whose features the segmentation is made from."""
    return "decoder1" if arch == "enet_sad" else "reduce"


def paper_paths(arch: str) -> tuple[tuple[str, str], ...]:
    """The paths that the paper distils along: the second block to the third to the fourth."""
    _, second, third, fourth = blocks(arch)
    return ((second, third), (third, fourth))


@dataclass(frozen=True)
class Source:
    """A data set, see docs/datasets.md.

    path: label file, list or folder. kind: tusimple, culane, bdd100k, negatives, lanes, packed or
    scenes.
    split: train, val or test, of an official data set in the folder `path`.
    root: folder that image paths start at. share: how many of the training samples are from here,
    relative to the others' shares.
    labels: of kind "lanes", what of the file is taken and what its lines say.
    licence: the terms that the set is given under, which packed sets and weights carry along.
    """

    path: Path
    kind: str = "tusimple"
    split: str | None = None
    root: Path | None = None
    share: float = 1.0
    labels: Labels | None = None
    licence: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind!r} is not one of {', '.join(KINDS)}")
        if not self.share > 0:
            raise ValueError(f"the share must be above 0, not {self.share}")
        if self.labels is not None and self.kind != "lanes":
            raise ValueError(f"labels are for the kind lanes, not {self.kind}")

    @property
    def name(self) -> str:
        """What figures on this source are called by: its file, or folder of a file of that name."""
        inner = self.path.name in ("labels.json", "lanes.json", "recipe.json")
        path = self.path.parent if inner else self.path
        return "_".join(part for part in (path.stem, self.split) if part)

    def digest(self) -> str:
        """Of what is labelled and how: of the settings, and of the files that they name.

        Of a label file for each image only the list of them counts.
        """
        labels = self.labels or Labels()
        found = hashlib.sha256(repr(labels).encode())
        lists = (*labels.include, *labels.exclude, *labels.weights)
        for path in filter(Path.is_file, (self.path, *lists)):
            found.update(path.read_bytes())
        return found.hexdigest()

    def open(self, reading: Reading | None = None) -> LabelledDataset:
        """The data set. Raises FileNotFoundError or ValueError that name the file at fault."""
        return open_dataset(
            self.kind,
            self.path,
            self.root,
            split=self.split,
            reading=reading,
            labels=self.labels,
        )


@dataclass(frozen=True)
class Optimizer:
    """Optimiser and course of the learning rate.

    kind: "adamw" or "sgd" (with Nesterov momentum). learning_rate: at its highest.
    weight_decay: of all weights. momentum: of sgd.
    warm_up: share of the steps in which it rises to there. decay: from there to 0, "cosine" or
    "poly" (with the power 0.9). clip: largest norm of the gradient, .inf for any.
    """

    kind: str = "adamw"
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    momentum: float = 0.9
    warm_up: float = 0.1
    decay: str = "cosine"
    clip: float = 5.0

    def __post_init__(self) -> None:
        if self.kind not in ("adamw", "sgd"):
            raise ValueError(f'the optimiser is "adamw" or "sgd", not {self.kind!r}')
        if self.decay not in ("cosine", "poly"):
            raise ValueError(f'the decay is "cosine" or "poly", not {self.decay!r}')
        if not 0 <= self.warm_up < 1:
            raise ValueError(f"warm_up is a share of the steps, below 1, not {self.warm_up:g}")
        if not self.clip > 0:
            raise ValueError(f"clip must be above 0, .inf for any gradient, not {self.clip:g}")


@dataclass(frozen=True)
class Config:
    """One training run; the fields of the YAML files in training/configs.

    layout: lane slots, camera and decoding: tusimple, culane or bdd100k.
    crop: left, top, right and bottom of the part of the image that the network sees; null for the
    layout's own. input_size: width and height of the network's input, multiples of 8; likewise.
    point_threshold: probability above which a row gives a point; likewise. side_margin: pixels of
    the network from a side at which lanes end; likewise.
    arch: enet_sad, resnet18, resnet34 or resnet101. shared_encoder: one set of weights for E2
    to E4 of ENet-SAD. existence: whether the network has an existence head. dropout: whether to
    train with the dropout that the network has.
    backbone: file of ImageNet weights for a ResNet's stages. initial: weights file to start from.
    data: the data sets to train on, a list. validation: those to measure on, a list.
    lane_width: width of the drawn labels, in pixels of the layout's image.
    steps: how many steps the whole run has. batch: images in a step, of all processes together.
    average: decay of the running average of the weights, which is what is kept.
    seed: number that all random choices follow from. device: auto, cpu, cuda or cuda:N.
    precision: float32, bfloat16 or float16. compile: whether to compile the network and its loss.
    workers: processes that read images, for each training process. cache: MB of images
    kept of each data set by each process that reads; or device: all of them in the device's memory,
    and all of a step is done there.
    log_every: steps from one log line to the next. save_every: steps from one checkpoint to the
    next. validate_every: steps from one validation to the next.
    """

    layout: str = "tusimple"
    crop: tuple[int, int, int, int] | None = None
    input_size: tuple[int, int] | None = None
    point_threshold: float | None = None
    side_margin: float | None = None
    arch: str = "enet_sad"
    shared_encoder: bool = False
    existence: bool = True
    dropout: bool = True
    backbone: Path | None = None
    initial: Path | None = None
    data: tuple[Source, ...] = ()
    validation: tuple[Source, ...] = ()
    distillation: Distillation = field(default_factory=Distillation)
    deep_supervision: DeepSupervision = field(default_factory=DeepSupervision)
    objective: Objective = field(default_factory=Objective)
    augmentation: Augmentation = field(default_factory=Augmentation)
    lane_width: float = 14.0
    optimizer: Optimizer = field(default_factory=Optimizer)
    steps: int = 6000
    batch: int = 8
    average: float = 0.998
    seed: int = 1
    device: str = "auto"
    precision: str = "float32"
    compile: bool = False
    workers: int = 1
    cache: int | str = 1024
    log_every: int = 20
    save_every: int = 200
    validate_every: int = 1000

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise ValueError(f"layout {self.layout!r} is not one of {', '.join(LAYOUTS)}")
        if self.arch not in ARCHITECTURES:
            raise ValueError(f"arch {self.arch!r} is not one of {', '.join(ARCHITECTURES)}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision {self.precision!r} is not one of {', '.join(PRECISIONS)}")
        if isinstance(self.cache, str) and self.cache != "device":
            raise ValueError(f"cache is a number of MB or device, not {self.cache!r}")
        names = [source.name for source in self.validation]
        if len(set(names)) < len(names):
            raise ValueError(f"validation sets must differ in their names: {', '.join(names)}")
        for name in ("steps", "batch", "log_every", "save_every", "validate_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not 0 <= self.average < 1:
            raise ValueError(f"average is a decay, at least 0 and below 1, not {self.average:g}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, not {self.seed}")

    def resolved_distillation(self) -> Distillation:
        """The distillation with its paths, where it leaves them to the network."""
        paths = self.distillation.paths or paper_paths(self.arch)
        return dataclasses.replace(self.distillation, paths=paths)

    def supervised_layers(self) -> tuple[str, ...]:
        """The layers with deep supervision, where it leaves them to the network."""
        return self.deep_supervision.layers or tuple(low for low, _ in paper_paths(self.arch))

    def lane_layout(self) -> LaneLayout:
        """The layout with this run's crop, input size and decoding."""
        layout = LAYOUTS[self.layout]
        decoding = layout.decoding
        if self.point_threshold is not None:
            decoding = dataclasses.replace(decoding, point_threshold=self.point_threshold)
        if self.side_margin is not None:
            decoding = dataclasses.replace(decoding, side_margin=self.side_margin)
        return dataclasses.replace(
            layout,
            crop=self.crop or layout.crop,
            input_size=self.input_size or layout.input_size,
            decoding=decoding,
        )


# Names of Lightning Fabric.
PRECISIONS = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}


def read_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """The configuration in a YAML file, changed by `key=value` words (values are YAML).

    `base: FILE` in a file, relative to it, names one whose values hold where the file has none.
    Raises ValueError naming an unknown key and the known ones, or a value of the wrong type.
    """
    values = _read(path)
    for word in overrides:
        key, separator, value = word.partition("=")
        if not separator:
            raise ValueError(f"{word!r} is not of the form key=value")
        try:
            change: Any = parse_yaml(value)
        except yaml.YAMLError as error:
            words = " ".join(str(error).split())
            raise ValueError(f"{word!r}: the value is not YAML ({words})") from error
        for name in reversed(key.split(".")):
            change = {name: change}
        values = _merged(values, change)
    config: Config = _build(Config, values, str(path))
    return config


@dataclass(frozen=True)
class Key:
    """A key of the configuration, as the command line names it, with its line of documentation."""

    name: str
    type: str
    default: str
    text: str


def keys(cls: Any = Config, prefix: str = "") -> Iterator[Key]:
    """Every key that a configuration can have, in order, those of its sections too.

    What a key means is read from the docstring of its class, where it stands as "key: text".
    """
    hints = typing.get_type_hints(cls)
    known = "|".join(hints)
    text = " ".join((cls.__doc__ or "").split())
    parts = re.split(rf"(?:(?<=[.;]) |^)((?:{known})(?:, (?:{known}))*): ", text)
    meaning = {
        name: text.strip(";. ")
        for names, text in zip(parts[1::2], parts[2::2], strict=True)
        for name in names.split(", ")
    }
    for item in dataclasses.fields(cls):
        hint, name = hints[item.name], f"{prefix}{item.name}"
        inner = (hint, *typing.get_args(hint))
        section = next((h for h in inner if dataclasses.is_dataclass(h)), None)
        if section is not hint:
            default = "needed" if item.default is dataclasses.MISSING else _yaml(item.default)
            yield Key(name, str(item.type), default, meaning.get(item.name, ""))
        if section is not None:
            listed = typing.get_origin(hint) is tuple
            yield from keys(section, f"{name}[]." if listed else f"{name}.")


def _yaml(value: Any) -> str:
    """A value as YAML has it in one line."""
    text: str = yaml.safe_dump(_plain(value), default_flow_style=True, width=1000)
    return text.removesuffix("\n").removesuffix("\n...")


def plain(config: Config) -> dict[str, Any]:
    """A configuration as the YAML values that `read_config` makes it of."""
    return {key: _plain(value) for key, value in dataclasses.asdict(config).items()}


# What may differ between the parts of an interrupted run.
_OPERATIONAL = {
    "device",
    "workers",
    "cache",
    "compile",
    "log_every",
    "save_every",
    "validate_every",
}


def differing(config: Config, values: Mapping[str, Any]) -> list[str]:
    """The names of the settings in which a configuration is another run than some `plain` values.

    Those that change nothing of a run's result do not count.
    """
    here = plain(config)
    # Settings that were not there yet when the values were written have their defaults.
    with contextlib.suppress(ValueError):
        values = plain(_build(Config, dict(values), "values"))
    keys = (here.keys() | values.keys()) - _OPERATIONAL
    return sorted(key for key in keys if here.get(key) != values.get(key))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value


def _read(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The values of a file and of those it builds on; above: the files that build on it."""
    values = read_yaml(path) or {}
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected a mapping of keys, not {_short(values)}")
    base = values.pop("base", None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise ValueError(f"{path}, base: expected the name of a file, not {_short(base)}")
    chain = (*above, path.resolve())
    if (path.parent / base).resolve() in chain:
        raise ValueError(f"{path}, base: {base} builds on this file itself; name another")
    return _merged(_read(path.parent / base, chain), values)


def _short(value: Any) -> str:
    """A wrong value, as far as it fits into a line."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    result = dict(values)
    for key, value in changes.items():
        inner = result.get(key)
        both = isinstance(inner, dict) and isinstance(value, dict)
        result[key] = _merged(inner, value) if both else value  # type: ignore[arg-type]
    return result


def _build(cls: Any, values: Any, where: str) -> Any:
    """A dataclass from a mapping, with paths, tuples and inner dataclasses made of plain values."""
    if not isinstance(values, dict):
        raise ValueError(f"{where}: expected a mapping of keys, not {_short(values)}")
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise ValueError(
            f"{where}: unknown key {', '.join(unknown)}; known are {', '.join(sorted(hints))}"
        )
    converted = {key: _convert(hints[key], v, f"{where}, {key}") for key, v in values.items()}
    try:
        return cls(**converted)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error


def _convert(hint: Any, value: Any, where: str) -> Any:
    options = typing.get_args(hint)
    if type(None) in options:
        return None if value is None else _convert(options[0], value, where)
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, where)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{where}: expected a list, not {_short(value)}")
        inner = [options[0]] * len(value) if options[1:] == (...,) else list(options)
        if len(inner) != len(value):
            raise ValueError(f"{where}: expected {len(inner)} values, not {len(value)}")
        return tuple(_convert(h, v, where) for h, v in zip(inner, value, strict=True))
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is float and isinstance(value, str):  # YAML reads 1e-3 as text
        try:
            return float(value)
        except ValueError:
            pass
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ValueError(
            f"{where}: expected {getattr(hint, '__name__', hint)}, not {_short(value)}"
        )
    return value
