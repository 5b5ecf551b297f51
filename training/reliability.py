"""How far existence probabilities can be trusted, and how they are made to mean what they say.

A network is surer than it is right. Its existence logits are scaled and shifted (Platt, 1999; the
scale alone: Guo et al., arXiv 1706.04599) so that on places that no run has seen, of the lanes that
are said to exist with probability p a share p does. Both numbers go into the last layer of the
existence head: inference does nothing more than before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch.utils.data import ConcatDataset, DataLoader, Dataset

from lane_sad_ros.files import replacing
from lane_sad_ros.lanes import LaneLayout
from lane_sad_ros.network.base import LaneNetwork

from .augmentation import NONE, Changes, Prepared, prepare
from .datasets import LabelledDataset
from .datasets.labelled import check_slots

_BATCH = 8
_BINS = 10
_STEPS = 100
_PULL = 1e-2  # towards leaving the network as it is: finite where it is never wrong


@dataclass(frozen=True)
class Answers:
    """Existence logits of N lane slots whose truth is known, and whether the lanes exist.

    images: the number of the image of each slot.
    """

    logits: NDArray[np.float64]
    exists: NDArray[np.bool_]
    images: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """N, in [0, 1]."""
        return 1 / (1 + np.exp(-self.logits))

    def changed(self, scale: float, shift: float) -> Answers:
        """The answers of a network whose logits are scaled, then shifted."""
        return Answers(scale * self.logits + shift, self.exists, self.images)

    def halves(self) -> tuple[Answers, Answers]:
        """The answers of every second image, and those of the others."""
        odd = self.images % 2 == 1
        return self._some(~odd), self._some(odd)

    def _some(self, chosen: NDArray[np.bool_]) -> Answers:
        return Answers(self.logits[chosen], self.exists[chosen], self.images[chosen])


@dataclass(frozen=True)
class Bin:
    """Answers of about one probability: how many, their mean probability, how many exist."""

    count: int
    probability: float
    share: float


class _Unchanged(Dataset[Prepared]):
    def __init__(self, images: LabelledDataset, layout: LaneLayout) -> None:
        self._images, self._layout = images, layout

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Prepared:
        return prepare(self._images[index], self._layout, NONE, np.random.default_rng(index))


def answers(network: LaneNetwork, layout: LaneLayout, sets: Sequence[LabelledDataset]) -> Answers:
    """What a network says of each slot of all images, where the labels tell.

    network: with an existence head, on its device; it is put into evaluation mode. Raises
    ValueError where it has none, or a set's slots are not the layout's.
    """
    for dataset in sets:
        check_slots(dataset, layout)
    changes = Changes(layout, 1.0, next(network.parameters()).device)
    batches: DataLoader[Prepared] = DataLoader(
        ConcatDataset([_Unchanged(s, layout) for s in sets]), _BATCH
    )
    logits, exists, images = [], [], []
    network.eval()
    with torch.inference_mode():
        for number, batch in enumerate(batches):
            inputs, _, truth, known = changes(batch)
            said = network(inputs)[1]
            if said is None:
                raise ValueError("the network has no existence head, so no probabilities")
            logits.append(said[known].double().cpu().numpy())
            exists.append(truth[known].cpu().numpy() > 0)
            images.append(number * _BATCH + known.nonzero()[:, 0].cpu().numpy())
    return Answers(np.concatenate(logits), np.concatenate(exists), np.concatenate(images))


def fitted(found: Answers) -> tuple[float, float]:
    """The scale, above 0, and the shift that make the answers likeliest (Newton's method).

    Raises ValueError unless some of the lanes exist and some do not.
    """
    if found.exists.all() or not found.exists.any():
        raise ValueError("all lanes exist, or none: probabilities need images of both kinds")
    inputs = np.stack([found.logits, np.ones_like(found.logits)], axis=1)
    start = np.array([1.0, 0.0])
    weights = start.copy()
    for _ in range(_STEPS):
        probability = 1 / (1 + np.exp(-inputs @ weights))
        slope = inputs.T @ (probability - found.exists) + _PULL * (weights - start)
        bend = (inputs.T * (probability * (1 - probability))) @ inputs + _PULL * np.eye(2)
        step = np.linalg.solve(bend, slope)
        weights -= step * min(1.0, 1.0 / float(np.abs(step).max() + 1e-12))
        if np.abs(step).max() < 1e-9:
            break
    return max(float(weights[0]), 1e-3), float(weights[1])


def apply(network: LaneNetwork, scale: float, shift: float) -> None:
    """Makes the network say `scale` times its existence logits plus `shift`."""
    if network.existence is None:
        raise ValueError("the network has no existence head, so no probabilities")
    with torch.no_grad():
        network.existence.output.weight.mul_(scale)
        network.existence.output.bias.mul_(scale).add_(shift)


def bins(found: Answers) -> list[Bin]:
    """The answers in ten bins of equal width, those that are empty left out."""
    return list(_bins(found.probabilities, found.exists))


def _bins(said: NDArray[np.float64], exists: NDArray[np.bool_]) -> Iterator[Bin]:
    place = np.minimum((said * _BINS).astype(int), _BINS - 1)
    for index in range(_BINS):
        here = place == index
        if here.any():
            yield Bin(int(here.sum()), float(said[here].mean()), float(exists[here].mean()))


def calibration_error(found: Answers) -> float:
    """The expected calibration error: |probability - share| of the bins, by their counts."""
    parts = bins(found)
    wrong = sum(part.count * abs(part.probability - part.share) for part in parts)
    return wrong / sum(part.count for part in parts)


def plot(before: Answers, after: Answers, path: Path) -> None:
    """A reliability diagram: how many lanes exist of those of a probability, before and after."""
    figure = Figure(figsize=(5, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", label="as it should be")
    for name, found in (("before", before), ("after", after)):
        parts = bins(found)
        said, true = [part.probability for part in parts], [part.share for part in parts]
        axes.plot(said, true, "o-", label=f"{name}: error {calibration_error(found):.3f}")
    axes.set(xlabel="probability that the network gives", ylabel="share of lanes that exist")
    axes.legend()
    with replacing(path) as partial:
        figure.savefig(partial, dpi=120)
