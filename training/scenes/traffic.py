"""Random vehicles: ahead, towards us, parked, queueing, crossing."""

from __future__ import annotations

from .conditions import CAR_COLOURS
from .dice import Dice
from .meshes import SHAPES
from .spec import Colour, Vehicle

KINDS = ("car", "suv", "van", "truck", "bus")
_TAXI: tuple[Colour, ...] = ((0.05, 0.6, 0.9), (0.12, 0.42, 0.2), (0.1, 0.1, 0.6))


def vehicle(
    dice: Dice, s: float, d: float, kind: str = "", towards: bool = False, yaw: float = 0.0
) -> Vehicle:
    """A vehicle of a random look; lorries and buses that come towards us are vans."""
    kind = kind or dice.choice(KINDS, (0.5, 0.25, 0.1, 0.09, 0.06))
    if towards and kind == "truck":
        kind = "van"
    if kind in ("truck", "van", "bus") and dice.chance(0.6):
        colour: Colour = (0.75, 0.76, 0.75)
    else:
        colour = dice.choice(_TAXI) if dice.chance(0.06) else dice.choice(CAR_COLOURS)
    return Vehicle(
        s, d + dice.normal(0, 0.18), kind, dice.vary(colour, 0.06), towards,
        braking=dice.chance(0.15), yaw=yaw + dice.normal(0, 0.012),
    )  # fmt: skip


def lane_of(
    dice: Dice, d: float, first: float, gap: float, least: float, last: float, towards: bool = False
) -> list[Vehicle]:
    """Vehicles on a lane around d from `first` to `last` metres ahead, `least` metres apart or
    more, `gap` more on average."""
    found: list[Vehicle] = []
    s = first
    while s < last:
        one = vehicle(dice, s, d, towards=towards)
        found.append(one)
        s += SHAPES[one.kind].length + least + dice.exponential(gap)
    return found


def parked(dice: Dice, d: float, last: float = 60.0) -> list[Vehicle]:
    """Cars beside the road, some of them askew."""
    found: list[Vehicle] = []
    s = dice.uniform(-3, 12)
    while s < last:
        kind = dice.choice(KINDS[:3], (0.6, 0.28, 0.12))
        found.append(vehicle(dice, s, d, kind, dice.chance(0.2), dice.normal(0, 0.03)))
        s += SHAPES[kind].length + 0.7 + dice.exponential(5.0)
    return found
