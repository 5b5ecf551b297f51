"""Random scenes. The constants here and in the modules called are priors about roads, traffic,
weather and cameras; docs/scenes.md says what they hold."""

from __future__ import annotations

import numpy as np

from .conditions import sample_light
from .country import country_road
from .crossroads import crossroads
from .dice import Dice
from .marked import marked_road
from .mix import Mix
from .scene_camera import SceneCamera, sample_camera
from .spec import Scene

EVERY = Mix()  #: the usual mix


def sample_scene(
    rng: np.random.Generator, camera: SceneCamera | None = None, mix: Mix = EVERY
) -> Scene:
    """One random scene; the same generator state gives the same scene.

    camera: by default a random one, `sample_camera`.
    mix: how often each kind of road and each condition comes.
    """
    camera = camera or sample_camera(rng)
    seed = int(rng.integers(2**31))
    dice = Dice(rng)
    light, dark = sample_light(dice, mix)
    roll = dice.roll() - mix.unmarked
    if roll < mix.sparse:
        return country_road(dice, mix, camera, seed, light, dark, marked=roll >= 0)
    if roll < mix.sparse + mix.crossroads:
        return crossroads(dice, mix, camera, seed, light, dark)
    return marked_road(dice, mix, camera, seed, light, dark)
