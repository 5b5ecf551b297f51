"""Charts as inline SVG that need nothing but the style sheet of the page.

They are as wide as there is room, with text that keeps its size: across, positions are shares of
the width in per cent; down, pixels. Colours are classes of the style sheet (`fill-...`,
`line-...`), so that a chart follows light, dark and print. Every mark has its numbers as a tooltip
(`<title>`), and what is passed as text is escaped here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

_STRETCHED = 1000  # units across of a line, which is stretched to the width there is
_FEW = 5  # labelled steps of an axis, about: so many have room on a telephone


@dataclass(frozen=True)
class Axis:
    """The range of one direction of a plot, from `low` to `high`, and what it means.

    label: the quantity with its unit. text: how its numbers are written.
    """

    label: str
    low: float
    high: float
    text: Callable[[float], str] = "{:g}".format

    @classmethod
    def from_zero(
        cls, label: str, values: Sequence[float], text: Callable[[float], str] = "{:g}".format
    ) -> Axis:
        """From 0 to a round number that is not below any of the values."""
        highest = max(values, default=0.0)
        step = _round_step(highest)
        return cls(label, 0.0, step * max(1, math.ceil(highest / step - 1e-9)), text)

    def share(self, value: float) -> float:
        """Where a value lies: 0 at `low`, 1 at `high`, held inside."""
        if self.high <= self.low:
            return 0.5
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)

    def ticks(self) -> list[float]:
        """Round numbers within the range, some five."""
        step = _round_step(self.high - self.low)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(index * step, 12) for index in range(first, last + 1)]


@dataclass(frozen=True)
class Part:
    """A piece of a bar: its length in the bar's unit, its colour class and its tooltip."""

    value: float
    colour: str
    title: str = ""


def bar(parts: Sequence[Part], full: float, reference: float | None = None) -> Markup:
    """One bar, its parts one after the other; `full` is the value that fills the width.

    reference: a value marked by an upright line, such as a published one.
    """
    marks, start = [], 0.0
    for part in parts:
        left = _held(start / full) if full > 0 else 0.0
        right = _held((start + part.value) / full) if full > 0 else 0.0
        marks.append(
            f'<rect class="{part.colour}" x="{_percent(left)}" y="2" '
            f'width="{_percent(right - left)}" height="12">{_title(part.title)}</rect>'
        )
        start += part.value
    if reference is not None and full > 0:
        at = _percent(_held(reference / full))
        marks.append(f'<line class="line-reference" x1="{at}" x2="{at}" y1="-1" y2="17"/>')
    return Markup(f'<svg class="bar" height="16" aria-hidden="true">{"".join(marks)}</svg>')


class Plot:
    """A plot that marks are added to, from the back to the front."""

    def __init__(self, x: Axis, y: Axis, summary: str, height: int = 220) -> None:
        """summary: what it shows, in words, for readers that do not see it. height: pixels."""
        self._x, self._y, self._height = x, y, height
        self._summary = summary
        self._marks: list[str] = []

    def line(self, points: Sequence[tuple[float, float]], colour: str) -> None:
        """A line through points (x, y) of the axes."""
        corners = " ".join(
            f"{_short(_STRETCHED * self._x.share(x))},{_short(self._down(y))}" for x, y in points
        )
        self._marks.append(
            f'<svg width="100%" height="{self._height}" preserveAspectRatio="none" '
            f'viewBox="0 0 {_STRETCHED} {self._height}">'
            f'<polyline class="{colour}" points="{corners}"/></svg>'
        )

    def dot(self, x: float, y: float, colour: str, title: str, radius: float = 2.5) -> None:
        """A point with a tooltip."""
        self._marks.append(
            f'<circle class="{colour}" cx="{_percent(self._x.share(x))}" '
            f'cy="{_short(self._down(y))}" r="{_short(radius)}">{_title(title)}</circle>'
        )

    def column(self, left: float, right: float, top: float, colour: str, title: str) -> None:
        """A column from x `left` to `right`, from the lower end of the y axis up to `top`."""
        start, stop, above = self._x.share(left), self._x.share(right), self._down(top)
        self._marks.append(
            f'<rect class="{colour}" x="{_percent(start)}" width="{_percent(stop - start)}" '
            f'y="{_short(above)}" height="{_short(self._height - above)}">{_title(title)}</rect>'
        )

    def upright(self, x: float, colour: str, text: str = "", row: int = 0) -> None:
        """An upright line at x with a text beside its upper end, `row` lines of text down."""
        share = self._x.share(x)
        at = _percent(share)
        self._marks.append(
            f'<line class="{colour}" x1="{at}" x2="{at}" y1="0" y2="{self._height}"/>'
        )
        if text:
            side, shift = ("end", -5) if share > 0.6 else ("start", 5)
            self._marks.append(
                f'<text class="halo" x="{at}" dx="{shift}" y="{12 + 16 * row}" '
                f'text-anchor="{side}">{escape(text)}</text>'
            )

    def level(self, y: float, colour: str, text: str = "") -> None:
        """A level line at y with a text above its right end."""
        at = self._down(y)
        self._marks.append(
            f'<line class="{colour}" x1="0" x2="100%" y1="{_short(at)}" y2="{_short(at)}"/>'
        )
        if text:
            self._marks.append(
                f'<text class="halo" x="100%" dx="-2" y="{_short(at - 4)}" text-anchor="end">'
                f"{escape(text)}</text>"
            )

    def tick(self, x: float, colour: str, title: str) -> None:
        """A short mark on the lower edge at x, for what has no y."""
        at = _percent(self._x.share(x))
        self._marks.append(
            f'<line class="{colour}" x1="{at}" x2="{at}" y1="{self._height - 12}" '
            f'y2="{self._height}">{_title(title)}</line>'
        )

    def drawn(self) -> Markup:
        """The plot as it stands in a page."""
        frame = []
        for value in self._y.ticks():
            down = _short(self._down(value))
            frame.append(
                f'<line class="line-grid" x1="0" x2="100%" y1="{down}" y2="{down}"/>'
                f'<text x="-8" y="{down}" dy="4" text-anchor="end">{escape(self._y.text(value))}'
                "</text>"
            )
        for value in self._x.ticks():
            at = _percent(self._x.share(value))
            frame.append(
                f'<line class="line-axis" x1="{at}" x2="{at}" y1="{self._height}" '
                f'y2="{self._height + 5}"/><text x="{at}" y="{self._height + 19}" '
                f'text-anchor="middle">{escape(self._x.text(value))}</text>'
            )
        frame.append(
            f'<line class="line-axis" x1="0" x2="100%" y1="{self._height}" y2="{self._height}"/>'
            f'<text class="axis" x="-48" y="-12">{escape(self._y.label)}</text>'
            f'<text class="axis" x="100%" y="{self._height + 38}" text-anchor="end">'
            f"{escape(self._x.label)}</text>"
        )
        return Markup(
            f'<svg class="plot" height="{self._height}" role="img" '
            f'aria-label="{escape(self._summary)}">{"".join(frame)}{"".join(self._marks)}</svg>'
        )

    def _down(self, y: float) -> float:
        return self._height * (1 - self._y.share(y))


def _round_step(span: float) -> float:
    """1, 2 or 5 times a power of ten that goes about `_FEW` times into a span."""
    if not span > 0:
        return 1.0
    rough = span / _FEW
    power = 10.0 ** math.floor(math.log10(rough))
    return power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def _held(share: float) -> float:
    return min(max(share, 0.0), 1.0)


def _percent(share: float) -> str:
    return f"{_short(100 * share)}%"


def _short(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")


def _title(text: str) -> str:
    return f"<title>{escape(text)}</title>" if text else ""
