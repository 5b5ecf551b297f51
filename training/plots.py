"""Pictures of what distillation does: attention maps, mapping functions, learning curves."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch.utils.data import default_collate

from lane_sad_ros.files import read_yaml, replacing
from lane_sad_ros.image_files import IMAGE_SUFFIXES, image_names, read_image
from lane_sad_ros.lanes import LaneLayout
from lane_sad_ros.network.base import LaneNetwork
from lane_sad_ros.network.weights import load

from .augmentation import NONE, Changes, prepare
from .config import blocks
from .datasets import LabelledImage
from .distillation import (
    Distillation,
    SelfAttentionDistillation,
    collapse,
    relative_entropy,
    spatial_softmax,
)
from .history import read_history
from .scenes import Mix, render, sample_camera, sample_scene

Image = NDArray[np.uint8]
History = Sequence[Mapping[str, Any]]

# Mapping functions that are compared: (mapping, power).
MAPPINGS = (("sum", 1.0), ("sum", 2.0), ("sum", 4.0), ("max", 2.0), ("max", 4.0))
WITHOUT = "no SAD"

_SCENE_SIZE = (1280, 720)
_SCENES = (3, 11, 18)  # seeds of the scenes that are shown where no images are named
_COLOURS = ("#444444", "#d1495b", "#2e86ab", "#edae49", "#66a182", "#8d5a97")


def draw(runs: Sequence[Path], output: Path, images: Sequence[Path] = ()) -> None:
    """Draw what the runs, folders or weights files, have the material for, see the command's help.

    Raises FileNotFoundError or ValueError that name the run or the image at fault.
    """
    shown = read_images(images) if images else list(rendered_images())
    networks = [Trained.of(run, name) for run, name in zip(runs, _names(runs), strict=True)]
    _save(attention_figure(networks, shown), output / "attention.jpg")
    _save(mapping_figure(networks[-1], shown[:2]), output / "mappings.jpg")
    histories: dict[str, list[History]] = {}
    for run in runs:
        if run.is_dir():
            histories.setdefault(start_of(run), []).append(read_history(run))
    if histories:
        plot_starts(histories, output / "starts.png")


# --- attention


@dataclass(frozen=True)
class Trained:
    """A trained network and what it is called."""

    name: str
    network: LaneNetwork
    layout: LaneLayout

    @classmethod
    def of(cls, run: Path, name: str) -> Trained:
        """From the folder of a run or a weights file."""
        network, layout, metadata = load(run / "weights.safetensors" if run.is_dir() else run)
        distilled = "distillation" in metadata.get("training", {}).get("losses", ())
        return cls(f"{name}\n({'with' if distilled else 'without'} SAD)", network.eval(), layout)


def _names(runs: Sequence[Path]) -> list[str]:
    """What runs are called; where that repeats, with the folder they are in."""
    names = [run.name if run.is_dir() else run.stem for run in runs]
    return [
        name if names.count(name) == 1 else f"{run.resolve().parent.name}/{name}"
        for run, name in zip(runs, names, strict=True)
    ]


@dataclass(frozen=True)
class AttentionView:
    """What the blocks of a network attend to in one image.

    view: the network's part of the image, H×W×3 RGB. maps: the attention map h×w of each block, a
    distribution over its pixels. focus: the entropy of each map before the softmax relative to a
    flat one's, in [0, 1].
    """

    view: Image
    maps: dict[str, NDArray[np.float32]]
    focus: dict[str, float]


def look(
    network: LaneNetwork, layout: LaneLayout, images: Sequence[Image], settings: Distillation
) -> list[AttentionView]:
    """The attention of all four blocks in images H×W×3 BGR.

    Of the settings, mapping, power and entropy count. The network is left as it was.
    """
    names = blocks(network.arch)
    paths = tuple(itertools.pairwise(names))
    sad = SelfAttentionDistillation(network, Distillation(paths))
    rng = np.random.default_rng(0)  # nothing of what is drawn shows in an unchanged image
    samples = [prepare(LabelledImage(image, ()), layout, NONE, rng) for image in images]
    batch = default_collate(samples)
    device = next(network.parameters()).device
    with torch.inference_mode():
        network(Changes(layout, 1.0, device)(batch)[0])
        maps, focus = {}, {}
        for name, features in sad.features().items():
            activity = collapse(features, settings.mapping, settings.power)
            maps[name] = spatial_softmax(activity, settings.entropy).cpu().numpy()
            focus[name] = relative_entropy(activity).cpu().numpy()
    sad.remove()
    return [
        AttentionView(
            sample.image.numpy(),
            {name: maps[name][i] for name in names},
            {name: float(focus[name][i]) for name in names},
        )
        for i, sample in enumerate(samples)
    ]


def overlay(view: Image, attention: NDArray[np.float32]) -> Image:
    """An attention map laid over a dimmed image H×W×3 RGB; its strongest places are white."""
    height, width = view.shape[:2]
    large = cv2.resize(attention, (width, height), interpolation=cv2.INTER_LINEAR)
    # The root shows the weaker places too; the brightest pixels alone would dim all others.
    strength = np.sqrt(np.clip(large / np.quantile(large, 0.998), 0, 1))
    colour = colormaps["inferno"](strength)[..., :3] * 255
    grey = cv2.cvtColor(view, cv2.COLOR_RGB2GRAY)[..., None]
    opaque = strength[..., None]
    return np.asarray(0.6 * grey * (1 - opaque) + colour * opaque, np.uint8)


def attention_figure(networks: Sequence[Trained], images: Sequence[Image]) -> Figure:
    """Each image with the maps of the four blocks, a row for each network below one another."""
    looks = {t.name: look(t.network, t.layout, images, Distillation()) for t in networks}
    return _grid(looks)


def mapping_figure(trained: Trained, images: Sequence[Image]) -> Figure:
    """Each image with the maps of one network that each mapping function gives."""
    network, layout = trained.network, trained.layout
    looks = {
        mapping_name(*mapping): look(network, layout, images, Distillation(None, *mapping))
        for mapping in MAPPINGS
    }
    return _grid(looks)


def mapping_name(mapping: str, power: float) -> str:
    """A mapping function as it is written, such as "Σ|A|²"."""
    superscripts = str.maketrans("0123456789.", "⁰¹²³⁴⁵⁶⁷⁸⁹·")
    raised = "" if power == 1 else f"{power:g}".translate(superscripts)
    return ("Σ" if mapping == "sum" else "max ") + f"|A|{raised}"


def _grid(looks: Mapping[str, Sequence[AttentionView]]) -> Figure:
    """For each image a group of rows, one for each name, beside the image itself."""
    groups = list(zip(*looks.values(), strict=True))
    view = groups[0][0].view
    # Inches: of a panel, between rows and between groups, of the margins and of the names.
    width, gap, between, top, bottom = 2.4, 0.2, 0.14, 0.3, 0.18
    height = width * view.shape[0] / view.shape[1]
    names = 0.2 + 0.08 * max(len(line) for name in looks for line in name.splitlines())
    rows = len(looks) * (height + gap) + between
    size = (width + names + 4 * (width + 0.06), top + len(groups) * rows + bottom)
    figure = Figure(size, dpi=110, facecolor="white")

    def panel(picture: Image, x: float, y: float) -> Axes:
        place = np.divide((x, size[1] - y - height, width, height), (*size, *size))
        axes = figure.add_axes((place[0], place[1], place[2], place[3]))
        axes.imshow(picture, aspect="auto")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        return axes

    for i, group in enumerate(groups):
        first = top + i * rows
        panel(group[0].view, 0, first + (len(looks) - 1) * (height + gap) / 2)
        for j, (name, found) in enumerate(zip(looks, group, strict=True)):
            y = first + j * (height + gap)
            middle = 1 - (y + height / 2) / size[1]
            figure.text((width + names - 0.1) / size[0], middle, name, ha="right", va="center")
            for number, (block, attention) in enumerate(found.maps.items()):
                x = width + names + number * (width + 0.06)
                axes = panel(overlay(found.view, attention), x, y)
                axes.set_xlabel(f"focus {found.focus[block]:.2f}", fontsize=8, labelpad=1.5)
                if i == j == 0:
                    axes.set_title(f"E{number + 1}", pad=4)
    note = "focus: entropy of the map before the softmax, 1 where it is flat"
    figure.text(1 - 0.06 / size[0], 0.06 / size[1], note, ha="right", fontsize=8, color="#555555")
    return figure


# --- images


def read_images(paths: Sequence[Path]) -> list[Image]:
    """Images H×W×3 BGR from files and, in the order of their names, from folders.

    Raises FileNotFoundError or ValueError that name the file or the folder at fault.
    """
    files: list[Path] = []
    for path in paths:
        inside = [path / name for name in image_names(path)] if path.is_dir() else [path]
        if not inside:
            raise ValueError(f"{path}: no image in this folder ({', '.join(IMAGE_SUFFIXES)})")
        files += inside
    return [read_image(file) for file in files]


def rendered_images() -> Iterator[Image]:
    """A few rendered scenes, H×W×3 BGR, always the same ones."""
    for seed in _SCENES:
        rng = np.random.default_rng(seed)
        camera = sample_camera(rng, *_SCENE_SIZE)
        yield render(sample_scene(rng, camera, Mix(unmarked=0, sparse=0, crossroads=0))).image


# --- curves


def plot_starts(histories: Mapping[str, Sequence[History]], path: Path) -> bool:
    """Learning curves of groups of runs by name, the mean over each group's, as an image file.

    Shown are what the runs logged of the task loss and the distillation loss in training, smoothed,
    and of the accuracy or F1 on each validation set; below, the differences to the first group.
    Returns whether they logged any of it; without, there is no file.
    """
    logged = {key for runs in histories.values() for run in runs for entry in run for key in entry}
    losses = {"loss/task": "task loss", "loss/distillation": "distillation loss"}
    shown = {key: title for key, title in losses.items() if key in logged}
    for key in sorted(logged):
        name, _, what = key.rpartition("/")
        if what in ("accuracy", "f1"):
            shown[key] = f"{what.replace('f1', 'F1')}, {name}"
    if not shown:
        return False
    rows = 1 if len(histories) == 1 else 2
    columns = min(4, len(shown))
    lines = rows * math.ceil(len(shown) / columns)
    figure = Figure((3.6 * columns, 2.6 * lines), dpi=110, layout="constrained", facecolor="white")
    panels = figure.subplots(lines, columns, squeeze=False)
    for place, (key, title) in enumerate(shown.items()):
        line, column = place // columns * rows, place % columns
        of_key = panels[line : line + rows, column]
        curves = {name: _mean_curve(runs, key) for name, runs in histories.items()}
        first = next(iter(curves.values()))
        for number, (name, curve) in enumerate(curves.items()):
            relative = {step: curve[step] - first[step] for step in curve if step in first}
            for axes, drawn in zip(of_key, (curve, relative), strict=False):
                values = np.array(list(drawn.values()))
                axes.plot(
                    list(drawn),
                    _smoothed(values) if key in losses else values,
                    "-" if key in losses else ".-",
                    color=_COLOURS[number % len(_COLOURS)],
                    label=name,
                )
        of_key[0].set_title(title, fontsize=10)
        of_key[0].set_yscale("log" if key in losses else "linear")
        of_key[-1].set_xlabel("step")
        if rows > 1:
            of_key[1].set_title("difference", fontsize=9)
        for axes in of_key:
            axes.grid(alpha=0.3)
    for axes in panels.flat:
        axes.set_visible(any(len(line.get_xdata()) for line in axes.lines))
    panels[0, 0].legend(fontsize=9)
    _save(figure, path)
    return True


def _mean_curve(runs: Sequence[History], key: str) -> dict[int, float]:
    """The means of a number by step, at the steps at which all runs logged it."""
    curves = [{entry["step"]: entry[key] for entry in run if key in entry} for run in runs]
    steps = sorted(set.intersection(*(set(curve) for curve in curves)))
    return {step: float(np.mean([curve[step] for curve in curves])) for step in steps}


def _smoothed(values: NDArray[np.float64], reach: int = 8) -> NDArray[np.float64]:
    """Means of each value and those before it, `reach` in all, fewer at the beginning."""
    parts = [values[max(0, i - reach + 1) : i + 1] for i in range(len(values))]
    return np.array([part.mean() for part in parts])


def plot_differences(
    differences: Mapping[str, Mapping[str, Sequence[float]]], titles: Mapping[str, str], path: Path
) -> None:
    """What distilled variants change, pair by pair, as an image file.

    differences: by variant and figure, those of its runs in percentage points; titles: of the
    figures to show. Bars are means with their standard errors, dots are runs.
    """
    columns = 2
    rows = math.ceil(len(titles) / columns)
    size = (4.2 * columns, rows * (0.9 + 0.24 * len(differences)))
    figure = Figure(size, dpi=110, layout="constrained", facecolor="white")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    places = np.arange(len(differences))
    for axes, (key, title) in zip(panels.flat, titles.items(), strict=False):
        for place, of in zip(places, differences.values(), strict=True):
            values = np.asarray(of.get(key, ()))
            if not len(values):
                continue
            error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0.0
            colour = _COLOURS[2] if values.mean() >= 0 else _COLOURS[1]
            axes.barh(place, values.mean(), xerr=error, color=colour, alpha=0.6, height=0.6)
            axes.plot(values, np.full(len(values), place), ".", color="#222222", markersize=4)
        axes.axvline(0, color="#222222", linewidth=0.8)
        axes.set_title(title, fontsize=10)
        axes.grid(axis="x", alpha=0.3)
    panels[0, 0].set_yticks(places, list(differences))
    panels[0, 0].set_ylim(len(differences) - 0.5, -0.5)
    for axes in panels.flat[len(titles) :]:
        axes.set_visible(False)
    figure.supxlabel("difference to the run of the same seed without SAD, percentage points")
    _save(figure, path)


def start_of(run: Path) -> str:
    """What the runs like the one in a folder are called in learning curves."""
    path = run / "config.yaml"
    if not path.exists():
        raise FileNotFoundError(
            f"{path}: no such file; name the folder of a run, or a weights file"
        )
    settings = read_yaml(path)
    if settings.get("deep_supervision", {}).get("weight"):
        return "deep supervision"
    found = settings["distillation"]
    return f"SAD from step {found['start']}" if found["weight"] else WITHOUT


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    with replacing(path) as partial:
        figure.savefig(partial, pil_kwargs={"quality": 88})
