"""Random numbers as scenes are sampled with them: plain Python values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from .spec import Colour

T = TypeVar("T")


@dataclass(frozen=True)
class Dice:
    """A random generator whose values can stand in frozen scenes."""

    rng: np.random.Generator

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def normal(self, mean: float, spread: float) -> float:
        return float(self.rng.normal(mean, spread))

    def exponential(self, mean: float) -> float:
        return float(self.rng.exponential(mean))

    def roll(self) -> float:
        """0 <= value < 1."""
        return float(self.rng.random())

    def integer(self, low: int, high: int) -> int:
        """low <= value < high."""
        return int(self.rng.integers(low, high))

    def chance(self, share: float) -> bool:
        """True in this share of throws."""
        return self.roll() < share

    def either(self) -> float:
        """-1.0 or 1.0."""
        return float(self.rng.choice([-1, 1]))

    def choice(self, options: Sequence[T], shares: Sequence[float] | None = None) -> T:
        """One of the options, by these shares or evenly."""
        return options[int(self.rng.choice(len(options), p=shares))]

    def vary(self, colour: Colour, spread: float) -> Colour:
        """A colour each of whose channels is off by this relative deviation."""
        b, g, r = np.clip(np.array(colour) * self.rng.normal(1, spread, 3), 0.01, 1)
        return float(b), float(g), float(r)
