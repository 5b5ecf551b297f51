"""Does self attention distillation help, and which kind: many short runs that differ in it alone.

Before the step at which distillation starts, a run does not depend on its settings. So the runs of
a seed share their beginning, weights, batches and all, and are compared pair by pair.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import default_collate

from lane_sad_ros.detection.devices import find_device
from lane_sad_ros.files import replacing, write_json, write_text
from lane_sad_ros.network.base import LaneNetwork
from lane_sad_ros.network.weights import load_network

from .augmentation import NONE, Changes, prepare
from .config import Config, Source, blocks, decoder, differing, plain
from .datasets import Reading
from .datasets.labelled import check_slots
from .distillation import (
    Distillation,
    SelfAttentionDistillation,
    collapse,
    spatial_softmax,
)
from .fit import fit
from .history import NAME as HISTORY
from .history import read_history
from .plots import mapping_name, plot_differences, plot_starts, start_of

CONFIG = Path(__file__).parent / "configs" / "ablation.yaml"
CONTROL = "none"
_RESULT = "result.json"
# Student's t at 97.5 % for 2, 3 ... 11 pairs; what more would have is a little less.
_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


@dataclass(frozen=True)
class Variant:
    """One way to distil.

    name: of its folders. changes: to the configuration's distillation. start: as a share of that
    distillation's start. paths: (lower, higher) blocks by number from 1, the decoder's last map
    being the fifth; None: the network's own. ramped: whether γ grows until the last step.
    supervision: weight of deep supervision.
    """

    name: str
    description: str
    changes: dict[str, Any] = field(default_factory=dict)
    start: float = 1.0
    paths: tuple[tuple[int, int], ...] | None = None
    ramped: bool = False
    supervision: float = 0.0

    def of(self, config: Config, seed: int) -> Config:
        """The configuration of a run of this variant."""
        names = (*blocks(config.arch), decoder(config.arch))
        changes = {"start": round(self.start * config.distillation.start), **self.changes}
        if self.paths is not None:
            changes["paths"] = tuple((names[low - 1], names[high - 1]) for low, high in self.paths)
        if self.ramped:
            changes["ramp"] = config.steps - config.distillation.start
        distillation = dataclasses.replace(config.distillation, **changes)
        deep = dataclasses.replace(config.deep_supervision, weight=self.supervision)
        return dataclasses.replace(
            config, seed=seed, distillation=distillation, deep_supervision=deep
        )


def _with_mapping(mapping: str, power: float) -> Variant:
    name, changes = f"{mapping}{power:g}", {"mapping": mapping, "power": power}
    return Variant(name, f"mapping {mapping_name(mapping, power)}", changes)


# In the order in which they are run: what matters most comes first.
VARIANTS = (
    Variant(CONTROL, "no SAD", {"weight": 0.0}),
    Variant("late", "SAD as in the configuration"),
    Variant("early", "start at a quarter of that", start=0.25),
    Variant("strong", "γ ten times as large", {"weight": 1.0}),
    Variant("strong_early", "both of these", {"weight": 1.0}, start=0.25),
    Variant("deep", "deep supervision, no SAD", {"weight": 0.0}, start=0.0, supervision=0.1),
    Variant("low", "path E1→E2 alone", paths=((1, 2),)),
    Variant("backward", "paths E4→E3, E3→E2", paths=((4, 3), (3, 2))),
    Variant(
        "forward",
        "all six forward paths",
        paths=((1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)),
    ),
    # Its map has 16 times the pixels, so that γ = 0.1 would give a fifth of the others' gradient.
    Variant(
        "decoder",
        "E2, E3, E4 towards the decoder's map, γ ten times as large",
        {"weight": 1.0},
        paths=((2, 5), (3, 5), (4, 5)),
    ),
    Variant("sharp", "maps of lower entropy, 0.6 of a flat one's", {"entropy": 0.6}),
    Variant("ramped", "γ that grows to 0.3 until the last step", {"weight": 0.3}, ramped=True),
    _with_mapping("sum", 1.0),
    _with_mapping("sum", 4.0),
    _with_mapping("max", 2.0),
    _with_mapping("max", 4.0),
)


@dataclass(frozen=True)
class _Job:
    """A run up to a step, gone on with from the end of another one."""

    title: str
    folder: Path
    config: Config
    after: _Job | None
    until: int

    @property
    def steps(self) -> int:
        return self.until - (self.after.until if self.after else 0)

    @property
    def finished(self) -> bool:
        return (self.folder / _RESULT).exists()


def run_ablation(
    config: Config, output: Path, seeds: int = 3, only: Sequence[str] = ()
) -> dict[str, Any]:
    """Run the variants (`only` these, if any) and compare them; returns what ablation.json holds.

    config: what the runs share; its distillation is the variant "late". Seeds count from its own.
    In `output`: the runs as seedN/NAME, config.yaml's values in ablation.json, the tables in
    ablation.md, learning curves and differences as pictures.
    Raises ValueError where `output` holds an ablation with another configuration, or a validation
    set's slots are not the layout's, and what opening one raises.
    """
    if not 0 < config.distillation.start < config.steps or not config.distillation.weight:
        raise ValueError(
            "an ablation needs a distillation that starts within the steps with a weight above 0, "
            f"not {config.distillation}"
        )
    if not config.validation:
        raise ValueError("the configuration names no validation data, so nothing could be compared")
    _check_folder(output, config)
    variants = [v for v in VARIANTS if not only or v.name == CONTROL or v.name in only]
    numbers = range(config.seed, config.seed + seeds)
    jobs = [job for seed in numbers for job in _jobs(output, config, seed, variants)]
    waiting = [job for job in jobs if not job.finished]
    for source in config.validation if waiting else ():
        check_slots(source.open(), config.lane_layout())
    began, done = time.monotonic(), 0
    for place, job in enumerate(waiting, start=1):
        elapsed = time.monotonic() - began
        left = sum(other.steps for other in waiting[place - 1 :])
        rest = f", about {elapsed / done * left / 60:.0f} minutes left" if done else ""
        print(f"[{place}/{len(waiting)}] {job.title}: {job.steps} steps{rest}", flush=True)
        _run(job, config.resolved_distillation())
        done += job.steps
        _report(output, config, numbers)
    return _report(output, config, numbers)


def _check_folder(output: Path, config: Config) -> None:
    path = output / "ablation.json"
    if not path.exists():
        return
    there = json.loads(path.read_text(encoding="utf-8"))["config"]
    if other := differing(config, there):
        raise ValueError(
            f"{output}: holds an ablation with other settings ({', '.join(other)}); name another "
            "folder, or give that one's settings to go on with it"
        )


def _jobs(output: Path, config: Config, seed: int, variants: Sequence[Variant]) -> list[_Job]:
    """The runs of a seed, each after those that it goes on from."""
    folder = output / f"seed{seed}"
    control = VARIANTS[0].of(config, seed)
    jobs: list[_Job] = []
    starts = sorted({v.of(config, seed).distillation.start for v in variants} - {0})
    shared: dict[int, _Job] = {}
    for start in starts:
        before = shared.get(max(shared, default=0))
        title = f"seed {seed}, before step {start}"
        shared[start] = _Job(title, folder / f"before_{start}", control, before, start)
        jobs.append(shared[start])
    for variant in variants:
        own = variant.of(config, seed)
        before = shared.get(own.distillation.start)
        title = f"seed {seed}, {variant.name}"
        jobs.append(_Job(title, folder / variant.name, own, before, config.steps))
    return jobs


def _run(job: _Job, distillation: Distillation) -> None:
    if job.after is not None and not (job.folder / "last.pt").exists():
        job.folder.mkdir(parents=True, exist_ok=True)
        for name in (HISTORY, "last.pt"):  # the checkpoint last: with it, the folder is a run's
            with replacing(job.folder / name) as partial:
                shutil.copyfile(job.after.folder / name, partial)
    results = fit(job.config, job.folder, job.until)
    network = load_network(job.folder / "weights.safetensors")
    network.to(find_device(job.config.device))
    for source in job.config.validation:
        results[source.name] |= soft_figures(network, job.config, source, distillation)
    write_json(job.folder / _RESULT, results)


def soft_figures(
    network: LaneNetwork, config: Config, source: Source, distillation: Distillation
) -> dict[str, float]:
    """Measures of a network on a data set that change with every probability.

    "iou": the mean soft IoU of the lanes of an image, see `training.objective.soft_iou_loss`, of
    the images that have lanes, and not there without one;
    "loss": the task loss; "distance": the loss that `distillation` would have, used or not;
    "lanes/BLOCK": how much of a block's attention lies on lanes, over how much would by chance. All
    are means over the images, as the network's input shows them.
    """
    layout = config.lane_layout()
    dataset = source.open(Reading.for_layout(layout, cache_mb=0))
    changes = Changes(layout, config.lane_width, next(network.parameters()).device)
    sad = SelfAttentionDistillation(network, distillation)
    paths = tuple(itertools.pairwise(blocks(network.arch)))
    watched = SelfAttentionDistillation(network, dataclasses.replace(distillation, paths=paths))
    found: dict[str, list[Tensor]] = {}
    network.eval()
    with torch.inference_mode():
        for image in range(len(dataset)):
            rng = np.random.default_rng(0)  # nothing of what is drawn shows in an unchanged sample
            sample = prepare(dataset[image], layout, NONE, rng)
            inputs, *truth = changes(default_collate([sample]))
            segmentation, existence = network(inputs)
            terms = config.objective(segmentation, existence, *truth)
            values = {"loss": terms["task"], "distance": sad.loss()}
            if truth[0].any():
                values["iou"] = 1 - terms["iou"]
            for name, features in watched.features().items():
                attention = spatial_softmax(
                    collapse(features, distillation.mapping, distillation.power),
                    distillation.entropy,
                )
                # Where there are no lanes, it is 0 of 0.
                values[f"lanes/{name}"] = _on_lanes(attention, truth[0])
            for name, value in values.items():
                found.setdefault(name, []).append(value)
    sad.remove()
    watched.remove()
    return {name: torch.stack(values).nanmean().item() for name, values in found.items()}


def _on_lanes(attention: Tensor, classes: Tensor) -> Tensor:
    """Attention 1×h×w that lies on the lanes of a class map 1×H×W, over their share of pixels."""
    lanes = F.adaptive_max_pool2d((classes > 0).to(attention.dtype), attention.shape[1:])
    return (attention * lanes).sum() / lanes.mean()


# --- tables


def summary(output: Path, config: Config, seeds: Sequence[int]) -> dict[str, Any]:
    """All results of an ablation so far, with their statistics; what ablation.json holds.

    "variants" has for each its "description", "distillation" settings and "runs", by seed the
    figures of each validation set, and in "statistics" for each "SET/FIGURE" of its runs the
    "mean", the standard deviation "sd" over the seeds and, as "difference" and "error", mean and
    standard error of the difference to the run of the same seed without distillation, and as
    "interval" half of its 95 % interval (Student's t).
    """
    variants: dict[str, Any] = {}
    for variant in VARIANTS:
        runs = {}
        for seed in seeds:
            folder = output / f"seed{seed}" / variant.name
            if (folder / _RESULT).exists():
                figures = json.loads((folder / _RESULT).read_text(encoding="utf-8"))
                runs[str(seed)] = {
                    f"{name}/{key}": value
                    for name, values in figures.items()
                    for key, value in values.items()
                    if key != "images"
                } | _logged(folder)
        control = variants[CONTROL]["runs"] if variants else runs
        settings = variant.of(config, config.seed).resolved_distillation()
        variants[variant.name] = {
            "description": variant.description,
            "distillation": dataclasses.asdict(settings),
            "runs": runs,
            "statistics": statistics(runs, control),
        }
    return {"config": plain(config), "seeds": list(seeds), "variants": variants}


def _logged(folder: Path) -> dict[str, float]:
    """Means of what was measured of distillation once it had begun."""
    found: dict[str, list[float]] = {}
    for entry in read_history(folder):
        if "loss/distillation" in entry:
            for key, value in entry.items():
                if key.startswith("distillation/"):
                    found.setdefault(key, []).append(value)
    return {key: float(np.mean(values)) for key, values in found.items()}


def statistics(
    runs: Mapping[str, Mapping[str, float]], control: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, float | None]]:
    """Mean and spread of each figure over runs by seed, and of its difference to the control's.

    Standard deviations are those of a sample; what needs more runs than there are is None.
    """
    result: dict[str, dict[str, float | None]] = {}
    for key in dict.fromkeys(key for run in runs.values() for key in run):
        values = [run[key] for run in runs.values() if key in run]
        pairs = [
            run[key] - control[seed][key]
            for seed, run in runs.items()
            if key in run and key in control.get(seed, ())
        ]
        spread = _deviation(pairs)
        error = None if spread is None else spread / len(pairs) ** 0.5
        result[key] = {
            "mean": float(np.mean(values)),
            "sd": _deviation(values),
            "difference": float(np.mean(pairs)) if pairs else None,
            "error": error,
            "interval": None if error is None else error * _STUDENT[min(len(pairs), 11) - 2],
        }
    return result


def _deviation(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def tables(found: Mapping[str, Any], sources: Sequence[Source]) -> str:
    """Markdown of a `summary`: figures of the variants, differences to the control's, attention."""
    columns = _columns(found, sources)
    wanted = len(found["seeds"])
    figures = [["", "runs", *columns.values()]]
    differences = [["", *columns.values()]]
    for name, variant in found["variants"].items():
        statistics, runs = variant["statistics"], len(variant["runs"])
        if not runs:
            continue
        title = f"**{name}**: {variant['description']}"
        cells = [statistics.get(key) for key in columns]
        figures.append(
            [title, str(runs) if runs == wanted else f"{runs} of {wanted}, others missing"]
            + [_cell(values, "mean", "sd") for values in cells]
        )
        if name != CONTROL:
            differences.append([title, *(_cell(v, "difference", "interval", "+") for v in cells)])
    return (
        f"Percent, mean ± standard deviation over the runs:\n\n{_table(figures)}\n"
        "Difference to the runs of the same seeds without SAD, mean ± half its 95 % interval:\n\n"
        f"{_table(differences)}\n"
        f"Attention on {sources[0].name}, means over the runs: how far the maps of the paths of "
        "**late** are apart; how much of a map lies on lanes, 1 being chance; and, while training, "
        "the gradient of SAD against the task's, in percent:\n\n"
        f"{_table(_attention_rows(found, sources[0]))}"
    )


def _attention_rows(found: Mapping[str, Any], source: Source) -> list[list[str]]:
    names = blocks(found["config"]["arch"])
    head = [f"E{number}" for number in range(1, 1 + len(names))]
    rows = [["", "distance", *(f"{e} on lanes" for e in head), "SAD gradient"]]
    for name, variant in found["variants"].items():
        means = {key: values["mean"] for key, values in variant["statistics"].items()}
        if not means:
            continue
        shares = [
            f"{e} {100 * means[f'distillation/share/{block}']:.0f}"
            for e, block in zip(head, names, strict=True)
            if f"distillation/share/{block}" in means
        ]
        rows.append(
            [f"**{name}**", f"{means[f'{source.name}/distance']:.4f}"]
            + [f"{means[f'{source.name}/lanes/{block}']:.2f}" for block in names]
            + [", ".join(shares) or "–"]
        )
    return rows


def _columns(found: Mapping[str, Any], sources: Sequence[Source]) -> dict[str, str]:
    """The figures "SET/FIGURE" that are shown of an ablation, with their titles."""
    known = {key for variant in found["variants"].values() for key in variant["statistics"]}
    return {
        f"{source.name}/{key}": f"{source.name}, {name}"
        for source in sources
        for key, name in _SHOWN.items()
        if f"{source.name}/{key}" in known
    }


# What the tables show of a validation set, where it has that figure.
_SHOWN = {"accuracy": "accuracy", "f1": "F1", "iou": "soft IoU"}


def _cell(values: Mapping[str, float | None] | None, key: str, spread: str, sign: str = "") -> str:
    value = None if values is None else values[key]
    around = None if values is None else values[spread]
    if value is None:
        return "missing"
    return f"{100 * value:{sign}.2f}" + ("" if around is None else f" ± {100 * around:.2f}")


def _table(rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(rows[0]) - 1)]
    lines = (" | ".join(row).replace("|A|", r"\|A\|") for row in (rows[0], rule, *rows[1:]))
    return "".join(f"| {line} |\n" for line in lines)


def _report(output: Path, config: Config, seeds: Sequence[int]) -> dict[str, Any]:
    """Write what there is so far: ablation.json, ablation.md and the plots."""
    found = summary(output, config, seeds)
    write_json(output / "ablation.json", found)
    write_text(output / "ablation.md", tables(found, config.validation))
    control = found["variants"][CONTROL]["runs"]
    columns = _columns(found, config.validation)
    differences = {
        name: {
            key: [
                100 * (run[key] - control[s][key])
                for s, run in variant["runs"].items()
                if key in run
            ]
            for key in columns
        }
        for name, variant in found["variants"].items()
        if name != CONTROL and variant["runs"]
    }
    if differences:
        plot_differences(differences, columns, output / "differences.png")
    starts = {}
    for name in (CONTROL, "late", "early"):
        folders = [output / f"seed{seed}" / name for seed in seeds]
        runs = [folder for folder in folders if (folder / _RESULT).exists()]
        if runs:
            starts[start_of(runs[0])] = [read_history(folder) for folder in runs]
    if starts:
        plot_starts(starts, output / "starts.png")
    return found
