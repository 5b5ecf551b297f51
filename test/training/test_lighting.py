"""Night, shade and a low sun over real images."""

import numpy as np
import pytest
import torch
from torch import Tensor

from training.lighting import NIGHT, SHADE, SUN, random_light, relit

HORIZON = 30.0


def road(kind: float, seed: int = 5, strength: float = 0.5) -> Tensor:
    """An even grey image 3×100×200 in a light."""
    light = torch.tensor([[kind, HORIZON, 100.0, strength, 0.5, 1.0, 0.8, 0.6, seed]])
    return relit(torch.full((1, 3, 100, 200), 100.0), light)[0]


def test_without_a_light_an_image_stays() -> None:
    assert (road(0.0) == 100).all()


def test_at_night_headlights_show_the_road_ahead_and_little_else() -> None:
    night = road(NIGHT)
    ahead, side, above = night[:, 68, 95:105], night[:, 68, :10], night[:, :28].flatten(1)
    assert ahead.mean() > 1.7 * side.mean() and side.mean() < 60
    assert above.median() < 40 and above.max() > 100  # lamps
    assert side[0].median() > side[1].median() > side[2].median()  # coloured street light


def test_shade_lies_on_the_road_in_patches_that_grow_smaller_with_distance() -> None:
    shade = road(SHADE, strength=1.0)[0]
    assert (shade[:30] == 150).all()
    assert shade[31:].min() < 45 and shade[31:].max() > 130
    edges = (shade[:, 1:] - shade[:, :-1]).abs() > 15
    assert edges[33:50].sum() > 1.5 * edges[80:97].sum()


def test_a_low_sun_glares_at_the_horizon_and_on_the_road_below_it() -> None:
    sun = road(SUN)[0]
    assert sun[22, 100] > 250 and sun[90, 100] > sun[90, 20] + 40
    assert sun[90, 20] > 100  # a veil lies over all


@pytest.mark.parametrize("kind", [NIGHT, SHADE, SUN])
def test_the_same_light_whatever_the_batch(kind: float) -> None:
    rng = np.random.default_rng(3)
    drawn = [random_light((200, 100), 1.0, HORIZON, rng) for _ in range(12)]
    lights = torch.tensor(np.array([[kind, *light[1:]] for light in drawn]))
    images = torch.full((12, 3, 100, 200), 90.0)
    together = relit(images.clone(), lights)
    assert torch.equal(relit(images[7:8].clone(), lights[7:8])[0], together[7])
    assert not torch.equal(together[6], together[7])


def test_shares_of_the_lights() -> None:
    rng = np.random.default_rng(0)
    kinds = [random_light((200, 100), 0.5, HORIZON, rng)[0] for _ in range(2000)]
    shares = [kinds.count(kind) / 2000 for kind in (0.0, NIGHT, SHADE, SUN)]
    np.testing.assert_allclose(shares, [0.5, 0.25, 0.165, 0.085], atol=0.03)
