"""Random things beside the road: trees, buildings, barriers."""

from __future__ import annotations

from .conditions import BARRIER_HEIGHTS
from .dice import Dice
from .spec import Barrier, Colour, Roadside

_WHITE: Colour = (0.75, 0.76, 0.75)


def sample_roadside(
    dice: Dice, left: float, right: float, lamps: bool, city: bool = False, near: float = 3.5
) -> Roadside:
    """What stands `near` metres or more beyond d = left and d = right."""
    return Roadside(
        trees=dice.uniform(0.1, 1.0) if dice.chance(0.85) else 0.0,
        leaves=dice.vary((0.12, 0.23, 0.18) if dice.chance(0.7) else (0.12, 0.22, 0.27), 0.15),
        tree_left=left + near + dice.uniform(0, 3 if city else 10),
        tree_right=right - near - dice.uniform(0, 3 if city else 8),
        posts=dice.uniform(24, 55) if lamps or dice.chance(0.7 if city else 0.2) else 0.0,
        buildings=dice.uniform(0.3, 1.0) if city else 0.0,
        tall=dice.uniform(4, 22),
        hills=dice.uniform(0, 0.09),
        hill_colour=dice.vary((0.3, 0.33, 0.3) if dice.chance(0.6) else (0.26, 0.38, 0.45), 0.1),
        treeline=dice.uniform(0.004, 0.05),
        treeline_colour=dice.vary((0.12, 0.17, 0.14), 0.15),
    )


def sample_barrier(dice: Dice, d: float, kinds: dict[str, float]) -> Barrier:
    """A barrier of one of these kinds, by their shares, along d."""
    kind = dice.choice(tuple(kinds), tuple(kinds.values()))
    tone = dice.uniform(0.35, 0.68)
    colour = (tone, tone, tone)
    if kind == "fence":
        colour = dice.choice((_WHITE, _WHITE, (0.2, 0.35, 0.1), (0.08, 0.55, 0.7)))
    elif kind == "panels":
        colour = dice.choice(((0.3, 0.4, 0.12), (0.15, 0.15, 0.6), (0.6, 0.4, 0.2), _WHITE))
    return Barrier(d, kind, dice.uniform(*BARRIER_HEIGHTS[kind]), dice.vary(colour, 0.05))
