"""What is painted between lines: arrows, diamonds, words."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from .scene_camera import Array

ARROWS = ("ahead", "left", "right", "ahead left", "ahead right")
WORDS = ("SLOW", "STOP", "BUS", "TAXI", "30", "50", "60", "80", "X")
_LONG, _WIDE = 128, 64  #: texels along and across

_HEADS = {
    "ahead": ((0.5, 1.0), (0.1, 0.62), (0.9, 0.62)),
    "left": ((0.0, 0.72), (0.34, 0.52), (0.34, 0.92)),
    "right": ((1.0, 0.72), (0.66, 0.52), (0.66, 0.92)),
}


def _polygon(image: Array, *corners: tuple[float, float]) -> None:
    points = np.array([(x * _WIDE, (1 - y) * _LONG) for x, y in corners])
    cv2.fillPoly(image, [np.round(points * 16).astype(np.int32)], 1.0, cv2.LINE_AA, 4)


@cache
def glyph(name: str) -> tuple[Array, ...]:
    """The share of paint over a glyph's rectangle, (rows, columns), its far left first; each next
    one is for footprints of twice the size.

    Args: name: one of ARROWS or WORDS, "diamond" or "rhombus" (its outline).
    """
    image = np.zeros((_LONG, _WIDE), np.float32)
    if name in ("diamond", "rhombus"):
        _polygon(image, (0.5, 0), (1, 0.5), (0.5, 1), (0, 0.5))
        if name == "rhombus":
            inner = ((0.5, 0.22), (0.78, 0.5), (0.5, 0.78), (0.22, 0.5))
            points = np.array([(x * _WIDE, (1 - y) * _LONG) for x, y in inner])
            cv2.fillPoly(image, [np.round(points).astype(np.int32)], 0.0)
    elif name in ARROWS:
        _polygon(image, (0.42, 0), (0.58, 0), (0.58, 0.68), (0.42, 0.68))
        for part in name.split():
            _polygon(image, *_HEADS[part])
            if part != "ahead":
                side = _HEADS[part][1][0]
                _polygon(image, (0.42, 0.5), (0.42, 0.66), (side, 0.78), (side, 0.66), (0.58, 0.5))
    else:
        (wide, high), _ = cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 5)
        text = np.zeros((high + 8, wide + 8), np.float32)
        cv2.putText(text, name, (4, high + 4), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 1.0, 5, cv2.LINE_AA)
        image = cv2.resize(text, (_WIDE, _LONG), interpolation=cv2.INTER_AREA)
    levels = [image]
    for _ in range(5):
        size = (levels[-1].shape[1] // 2 or 1, levels[-1].shape[0] // 2 or 1)
        levels.append(cv2.resize(levels[-1], size, interpolation=cv2.INTER_AREA))
    return tuple(levels)


def coverage(name: str, left: Array, far: Array, footprint: float) -> Array:
    """The share of paint at places of the rectangle, 0..1 from its left and from its far end.

    footprint: of a pixel along the road, as a share of the rectangle's length.
    """
    levels = glyph(name)
    wanted = int(np.clip(np.log2(max(footprint * _LONG, 1.0)), 0, len(levels) - 1))
    image = levels[wanted]
    return cv2.remap(
        image,
        np.clip(left, 0, 1) * np.float32(image.shape[1]) - np.float32(0.5),
        np.clip(far, 0, 1) * np.float32(image.shape[0]) - np.float32(0.5),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
