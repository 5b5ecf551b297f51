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
    if not 0 <= slot < slots:
        raise ValueError(f"slot {slot} is not one of {slots} slots")
    if slots % 2 and slot == slots // 2:
        return _MIDDLE
    if slot < slots // 2:
        return _LEFT[(slots // 2 - 1 - slot) % len(_LEFT)]
    return _RIGHT[(slot - (slots + 1) // 2) % len(_RIGHT)]


def slot_label(slot: int, slots: int) -> str:
    """The short name of a slot: L1 and R1 bound the ego lane, L2, L3 ... lie further out."""
    if not 0 <= slot < slots:
        raise ValueError(f"slot {slot} is not one of {slots} slots")
    if slots % 2 and slot == slots // 2:
        return "M"
    if slot < slots // 2:
        return f"L{slots // 2 - slot}"
    return f"R{slot - (slots + 1) // 2 + 1}"


def opacity(probability: float) -> float:
    """How opaque a lane of this probability is drawn, 0.25 to 1."""
    return float(np.clip(0.25 + 0.75 * probability, 0.25, 1.0))
