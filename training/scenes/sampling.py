"""Random scenes. The constants here and in the modules called are priors about roads, traffic,
weather and cameras; docs/scenes.md holds them against real labels."""

from __future__ import annotations

import numpy as np

from .camera import Camera, sample_camera
from .conditions import sample_light
from .country import country_road
from .dice import Dice
from .marked import marked_road
from .spec import Scene


def sample_scene(
    rng: np.random.Generator,
    camera: Camera | None = None,
    unmarked: float = 0.1,
    sparse: float = 0.1,
) -> Scene:
    """One random scene; the same generator state gives the same scene.

    camera: by default a random one, `sample_camera`.
    unmarked: share of scenes without any marking, hence without labels.
    sparse: share of country roads marked in part: centre line only, edge lines only, one edge.
    """
    camera = camera or sample_camera(rng)
    seed = int(rng.integers(2**31))
    dice = Dice(rng)
    light, dark = sample_light(dice)
    roll = dice.roll()
    if roll < unmarked + sparse:
        return country_road(dice, camera, seed, light, dark, marked=roll >= unmarked)
    return marked_road(dice, camera, seed, light, dark)
