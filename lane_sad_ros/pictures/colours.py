"""The colour of each lane slot, the same in pictures, markers and reports."""

from __future__ import annotations

import numpy as np

Colour = tuple[int, int, int]

# Colours of Okabe and Ito's palette, told apart by colour-blind readers too; BGR. The ego pair,
# first in each row, has the two that stand out most from asphalt by day and by night.
_LEFT: tuple[Colour, ...] = ((255, 200, 40), (115, 190, 0), (200, 114, 0))
_RIGHT: tuple[Colour, ...] = ((0, 159, 255), (200, 110, 220), (66, 228, 240))
_MIDDLE: Colour = (255, 255, 255)

EGO_COLOUR: Colour = (150, 220, 120)
"""Of the ego lane between its borders, BGR."""


def slot_colour(slot: int, slots: int) -> Colour:
    """The BGR colour of lane slot `slot` of `slots`, counted from the left.

    The colour tells the side and the distance from the ego lane, so that right_1 looks the same
    with four slots and with six. The middle of an odd number of slots is white.
    """
    place = _place(slot, slots)
    if not place:
        return _MIDDLE
    side = _LEFT if place < 0 else _RIGHT
    return side[(abs(place) - 1) % len(side)]


def slot_label(slot: int, slots: int) -> str:
    """The short name of a slot: L1 and R1 bound the ego lane, L2, L3 ... lie further out."""
    place = _place(slot, slots)
    return f"{'L' if place < 0 else 'R'}{abs(place)}" if place else "M"


def opacity(probability: float) -> float:
    """How opaque a lane of this probability is drawn, 0.25 to 1."""
    return float(np.clip(0.25 + 0.75 * probability, 0.25, 1.0))


def _place(slot: int, slots: int) -> int:
    """-1, -2 ... from the ego lane to the left, 1, 2 ... to the right, 0 for the middle slot."""
    if not 0 <= slot < slots:
        raise ValueError(f"slot {slot} is not one of {slots} slots")
    if slot < slots // 2:
        return slot - slots // 2
    return slot - (slots + 1) // 2 + 1
