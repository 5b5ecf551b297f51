"""What a run is trained on, by number: sample i of a seed is always the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from lightning_fabric import Fabric
from torch.utils.data import DataLoader, Dataset

from lane_sad_ros.lanes import LaneLayout

from .augmentation import Prepared, prepare
from .config import Config
from .datasets import LabelledDataset


class Samples(Dataset[Prepared]):
    """Prepared samples of several sets, drawn by their shares; whatever came before one of them."""

    def __init__(self, config: Config, layout: LaneLayout, sets: Sequence[LabelledDataset]) -> None:
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


def batches(samples: Samples, fabric: Fabric, step: int, until: int) -> Iterator[Prepared]:
    """This process's part of the batch of each step from `step` on, `until` excluded."""
    config = samples.config
    own = config.batch // fabric.world_size
    offset = fabric.global_rank * own
    starts = range(step * config.batch + offset, until * config.batch, config.batch)
    loader = DataLoader(
        samples,
        batch_sampler=[list(range(start, start + own)) for start in starts],
        num_workers=config.workers if starts else 0,
        pin_memory=fabric.device.type == "cuda",
    )
    yield from loader
