"""What a run is trained on, by number: sample i of a seed is always the same."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from lightning_fabric import Fabric
from torch.utils.data import DataLoader, Dataset, default_collate
from tqdm import tqdm

from lane_sad_ros.lanes import LaneLayout

from .augmentation import (
    Kept,
    Outline,
    Prepared,
    draw,
    outline,
    prepare,
    source_layout,
    source_pixels,
)
from .config import Config
from .datasets import LabelledDataset, Reading
from .datasets.labelled import check_slots

# Images that may turn out to be broken one after another before that is an error.
_TRIES = 20


class Samples(Dataset["Prepared | Exception"]):
    """Prepared samples of several sets, drawn by their shares; whatever came before one of them.

    An image that cannot be read, or whose labels do not fit it, is told and another one drawn in
    its place, which is always the same. What cannot be helped comes back as the error, for a worker
    process would wrap a raised one in its traceback.
    """

    def __init__(self, config: Config, layout: LaneLayout, sets: Sequence[LabelledDataset]) -> None:
        self.config, self.layout, self.sets = config, layout, sets
        shares = np.array([source.share for source in config.data])
        self.shares = shares / shares.sum()
        self._starts = np.concatenate([[0], np.cumsum([len(dataset) for dataset in sets])])
        # Of the images that are kept; of one that cannot be used, why.
        self._outlines: list[Outline | str] = []
        self._told: set[str] = set()

    @classmethod
    def opened(cls, config: Config, layout: LaneLayout) -> Samples:
        """Of the sets that a configuration trains on.

        Raises what opening them raises, ValueError too where a set's slots are not the layout's.
        """
        source = source_layout(layout, config.augmentation)
        reading = Reading.for_layout(source, config.cache if isinstance(config.cache, int) else 0)
        sets = [source.open(reading) for source in config.data]
        for dataset in sets:
            check_slots(dataset, layout)
        return cls(config, layout, sets)

    def keep(self, device: torch.device) -> Kept:
        """All images on a device; samples come without pixels from then on.

        Raises ValueError that says how much they take where the device has not as much.
        """
        size = source_layout(self.layout, self.config.augmentation).input_size
        shape = (int(self._starts[-1]), size[1], size[0])
        try:
            images = torch.empty((*shape, 3), dtype=torch.uint8, device=device)
            classes = torch.zeros(shape, dtype=torch.uint8, device=device)
        except RuntimeError as error:
            raise ValueError(
                f"cache: device needs {4e-9 * math.prod(shape):.1f} GB on {device}; give a number "
                "of MB for the host's memory instead"
            ) from error
        has_maps = False
        places = ((dataset, index) for dataset in self.sets for index in range(len(dataset)))
        for number, (dataset, index) in enumerate(places):
            try:
                sample = dataset[index]
                image, mapped = source_pixels(sample, self.layout, self.config.augmentation)
            except (OSError, ValueError) as error:
                self._outlines.append(str(error))
                continue
            images[number] = torch.from_numpy(image)
            classes[number] = torch.from_numpy(mapped)
            self._outlines.append(outline(sample))
            has_maps |= sample.classes is not None
        return Kept(images, classes if has_maps else None)

    def __getitem__(self, index: int) -> Prepared | Exception:
        rng = np.random.default_rng((self.config.seed, index))
        failed: Exception | None = None
        for _ in range(_TRIES):
            try:
                return self._drawn(rng)
            except (OSError, ValueError) as error:
                failed = error
                self._tell(f"{error}; left out")
        return ValueError(f"{_TRIES} images in a row cannot be used, the last: {failed}")

    def _tell(self, text: str) -> None:
        """Say something once in each process that reads."""
        if text not in self._told:
            self._told.add(text)
            tqdm.write(text, file=sys.stderr)

    def _drawn(self, rng: np.random.Generator) -> Prepared:
        """A random sample, prepared."""
        chosen = int(rng.choice(len(self.sets), p=self.shares))
        within = _draw(self.sets[chosen], rng)
        ranges = self.config.augmentation
        if self._outlines:
            number = int(self._starts[chosen]) + within
            kept = self._outlines[number]
            if isinstance(kept, str):
                raise ValueError(kept)
            return draw(kept, self.layout, ranges, rng, number)
        return prepare(self.sets[chosen][within], self.layout, ranges, rng)


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
        collate_fn=_collate,
    )
    for batch in loader:
        if isinstance(batch, Exception):
            raise batch
        yield batch


def _collate(samples: Sequence[Prepared | Exception]) -> Prepared | Exception:
    failed = next((sample for sample in samples if isinstance(sample, Exception)), None)
    batch: Prepared | Exception = failed or default_collate(list(samples))
    return batch
