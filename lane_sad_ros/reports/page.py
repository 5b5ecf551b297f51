"""Parts of a report's HTML page: one file that needs no other, for screens, telephones and paper.

Text is escaped wherever it is put into a page; what is markup already is `Html`.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.files import replacing, write_json

Image = NDArray[np.uint8]

WORST = 8
"""Pictures that a report shows of what went worst."""

PICTURE_WIDTH = 960
_JPEG_QUALITY = 82
_GREY = 48  # of a picture that is not there


class Html(str):
    """Markup, which is put into a page as it is."""

    __slots__ = ()


def html(content: object) -> Html:
    """The content as markup: text is escaped, and None is a dash."""
    if isinstance(content, Html):
        return content
    return Html("–" if content is None else escape(str(content)))


def joined(contents: Iterable[object]) -> Html:
    """Contents one after the other."""
    return Html("\n".join(map(html, contents)))


def element(name: str, content: object, **attributes: str) -> Html:
    """An element; `class_` stands for the attribute class, other names as they are."""
    said = "".join(f' {key.rstrip("_")}="{escape(value)}"' for key, value in attributes.items())
    return Html(f"<{name}{said}>{html(content)}</{name}>")


def paragraph(*contents: object, class_: str = "") -> Html:
    """A paragraph of texts and markup."""
    text = Html(" ".join(map(html, contents)))
    return element("p", text, class_=class_) if class_ else element("p", text)


def section(title: str, *contents: object) -> Html:
    """A part of the page under a heading."""
    return element("section", joined([element("h2", title), *contents]))


def figure(title: str, content: object, explanation: object = "") -> Html:
    """A chart with its title above and what to know about it below."""
    parts = [element("h3", title), content]
    if explanation:
        parts.append(element("figcaption", explanation))
    return element("figure", joined(parts))


def side_by_side(*contents: object) -> Html:
    """Contents beside each other where there is room."""
    return element("div", joined(contents), class_="columns")


def table(
    head: Sequence[object], rows: Sequence[Sequence[object]], *, caption: object = ""
) -> Html:
    """A table whose first column names the rows; the others are numbers or bars."""
    parts: list[Html] = []
    if caption:
        parts.append(element("caption", caption))
    cells = [element("th", name, scope="col") for name in head]
    parts.append(element("thead", element("tr", joined(cells))))
    body = []
    for name, *values in rows:
        cells = [element("th", name, scope="row"), *(element("td", value) for value in values)]
        body.append(element("tr", joined(cells)))
    parts.append(element("tbody", joined(body)))
    # A wide table is scrolled by itself: the page must not become wider than the telephone.
    return element("div", element("table", joined(parts)), class_="scroll", tabindex="0")


def pairs(entries: Iterable[tuple[object, object]]) -> Html:
    """Names with their values, such as settings."""
    rows = [
        element("div", joined([element("dt", name), element("dd", value)]))
        for name, value in entries
    ]
    return element("dl", joined(rows), class_="pairs")


def items(contents: Iterable[object]) -> Html:
    """A list of sentences."""
    return element("ul", joined(element("li", content) for content in contents))


def tile(name: str, value: str, below: object = "") -> Html:
    """A figure that is the answer: its name, its value in large type and what to compare it to."""
    return element(
        "div",
        joined(
            [
                element("div", name, class_="name"),
                element("div", value, class_="value"),
                element("div", below, class_="below"),
            ]
        ),
        class_="tile",
    )


def tiles(contents: Iterable[Html]) -> Html:
    """Tiles in a row that wraps."""
    return element("div", joined(contents), class_="tiles")


def verdict(
    kind: Literal["good", "warn", "bad"], headline: object, reasons: Sequence[object] = ()
) -> Html:
    """The box that says at once whether something went wrong, and what."""
    mark = "✓" if kind == "good" else "⚠"
    parts = [
        element("p", joined([element("span", mark, class_="mark"), element("strong", headline)]))
    ]
    if reasons:
        parts.append(items(reasons))
    return element("div", joined(parts), class_=f"verdict {kind}")


def details(summary: object, content: object) -> Html:
    """What is only shown when asked for, and on paper."""
    return element("details", joined([element("summary", summary), content]))


def swatch(colour: str) -> Html:
    """A patch in a colour class of the charts."""
    return Html(
        f'<svg class="key" width="14" height="12" aria-hidden="true">'
        f'<rect class="{escape(colour)}" width="14" height="12"/></svg>'
    )


def picture(image: Image, says: str) -> Html:
    """An image within the page.

    image: H×W×3 uint8 BGR. says: what it shows, for readers that do not see it.
    """
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    source = f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode('ascii')}"
    return Html(
        f'<img src="{source}" width="{image.shape[1]}" height="{image.shape[0]}" '
        f'alt="{escape(says)}">'
    )


def backdrop(image: Image | None, size: tuple[int, int]) -> Image:
    """What lanes are drawn on: the image at the width that it has in the page, or grey without one.

    size: (width, height) of the image.
    """
    if image is None:
        image = np.full((size[1], size[0], 3), _GREY, np.uint8)
    if image.shape[1] <= PICTURE_WIDTH:
        return image
    height = max(1, round(PICTURE_WIDTH * image.shape[0] / image.shape[1]))
    small = cv2.resize(image, (PICTURE_WIDTH, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def percent(share: float | None) -> str:
    """A share to a tenth of a per cent."""
    return "–" if share is None else f"{100 * share:.1f} %"


def exactly(share: float | None) -> str:
    """A share to two places, as published figures are."""
    return "–" if share is None else f"{100 * share:.2f} %"


def defined(figure: float) -> float | None:
    """The official tool's -1, where there is nothing to divide by, as None."""
    return None if figure < 0 else figure


def counted(number: int, noun: str) -> str:
    """The number with its noun, whose plural has an s."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def check_report_path(path: str | os.PathLike[str]) -> Path:
    """The path. Raises ValueError where it is not one of an HTML page."""
    if Path(path).suffix not in (".html", ".htm"):
        raise ValueError(f"{path}: a report is an HTML page, its name ends in .html")
    return Path(path)


def write_page(path: str | os.PathLike[str], text: str, numbers: Mapping[str, Any]) -> None:
    """Writes a page, and its numbers beside it under the ending .json.

    Raises ValueError as `check_report_path`, OSError where a file cannot be written.
    """
    target = check_report_path(path)
    write_json(target.with_suffix(".json"), numbers)
    with replacing(target) as partial:
        partial.write_text(text, encoding="utf-8")


def page(title: str, subtitle: object, *contents: object) -> str:
    """The whole page."""
    head = element("header", joined([element("h1", title), paragraph(subtitle, class_="subtitle")]))
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            element("title", title),
            f"<style>{_STYLE}</style>",
            "</head>",
            "<body>",
            head,
            element("main", joined(contents)),
            "</body>",
            "</html>",
            "",
        ]
    )


# The colours of series are Okabe and Ito's, in which `drawing` paints the lane slots too.
_STYLE = """
:root {
  --ground: #ffffff; --panel: #f5f6f8; --ink: #1b1f24; --soft: #57606a; --rule: #d5d9df;
  --blue: #0072b2; --orange: #c96a00; --green: #007d5a; --red: #c0392b; --grey: #8a929b;
  --good: #e3f4ec; --good-ink: #0b5c41; --bad: #fdecea; --bad-ink: #98281b;
  --warn: #fff3dc; --warn-ink: #7a4a00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171b; --panel: #1e2329; --ink: #e8eaed; --soft: #a3acb6; --rule: #3a424b;
    --blue: #56b4e9; --orange: #f0a030; --green: #2bb58a; --red: #f47c6c; --grey: #7d868f;
    --good: #14312a; --good-ink: #8fe0c2; --bad: #3b1d1a; --bad-ink: #ffb4a9;
    --warn: #36290f; --warn-ink: #ffd58a;
  }
}
@media print {
  :root {
    --ground: #ffffff; --panel: #ffffff; --ink: #000000; --soft: #444444; --rule: #bbbbbb;
    --blue: #0072b2; --orange: #c96a00; --green: #007d5a; --red: #c0392b; --grey: #8a929b;
    --good: #ffffff; --good-ink: #0b5c41; --bad: #ffffff; --bad-ink: #98281b;
    --warn: #ffffff; --warn-ink: #7a4a00;
  }
  * { print-color-adjust: exact; }
  figure, tr, .tile, .verdict { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1.5rem 1.25rem 4rem; max-width: 68rem;
  background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
  font-variant-numeric: tabular-nums;
}
h1 { margin: 0; font-size: 1.75rem; line-height: 1.2; overflow-wrap: anywhere; }
h2 {
  margin: 3rem 0 1rem; padding-top: .75rem; border-top: 1px solid var(--rule);
  font-size: 1.3rem; line-height: 1.3;
}
h3 { margin: 0 0 .5rem; font-size: 1rem; }
.pairs + h3 { margin-top: 1.5rem; }
p { margin: .5rem 0; max-width: 46rem; }
.subtitle { margin: .25rem 0 1.25rem; color: var(--soft); }
.note, figcaption, caption, .below { color: var(--soft); font-size: .875rem; }
.verdict {
  margin: 0 0 1.25rem; padding: .6rem 1rem; border-left: 5px solid; border-radius: 4px;
}
.verdict p, .verdict ul { margin: .1rem 0; max-width: none; }
.verdict ul { padding-left: 2.6rem; }
.verdict.good { background: var(--good); color: var(--good-ink); border-color: var(--green); }
.verdict.bad { background: var(--bad); color: var(--bad-ink); border-color: var(--red); }
.verdict.warn { background: var(--warn); color: var(--warn-ink); border-color: var(--orange); }
.mark { display: inline-block; width: 1.6rem; font-weight: 700; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem; }
.tile { padding: .7rem .85rem; border-radius: 8px; background: var(--panel); }
@media print { .tile { border: 1px solid var(--rule); } }
.tile .name { color: var(--soft); font-size: .875rem; }
.tile .value {
  font-size: clamp(1.25rem, 5.5vw, 1.75rem); font-weight: 650; line-height: 1.25;
  white-space: nowrap;
}
.columns {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr));
  gap: 1.5rem 2rem;
}
p + .columns { margin-top: 1rem; }
.columns > * { min-width: 0; }
figure { margin: 1.25rem 0; }
figcaption { margin-top: .4rem; max-width: 46rem; }
details { margin: .5rem 0; }
summary { color: var(--soft); font-size: .875rem; cursor: pointer; }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: .9375rem; }
caption { padding: 0 0 .4rem; text-align: left; caption-side: top; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--rule); text-align: right; }
td, tbody th { white-space: nowrap; }
th { font-weight: 600; }
th:first-child { padding-left: 0; text-align: left; }
thead th { color: var(--soft); font-size: .8125rem; vertical-align: bottom; }
td:has(.bar) { width: 40%; min-width: 7rem; }
.pairs { margin: .5rem 0; font-size: .9375rem; }
.pairs div { display: flex; gap: 1rem; padding: .3rem 0; border-bottom: 1px solid var(--rule); }
.pairs dt { flex: 0 0 11rem; color: var(--soft); }
.pairs dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 36rem) { .pairs dt { flex-basis: 8rem; } }
.legend {
  display: flex; flex-wrap: wrap; gap: .2rem 1.25rem; margin: .25rem 0; padding: 0;
  list-style: none; font-size: .875rem;
}
.key { margin-right: .4rem; vertical-align: -1px; }
img { display: block; width: 100%; height: auto; border-radius: 6px; }
.worst { margin: 0; }
.slot { display: inline-block; width: .8em; height: .8em; margin-right: .4em; border-radius: 2px;
  border: 1px solid var(--grey); vertical-align: -1px; }
svg { overflow: visible; }
svg.bar { display: block; width: 100%; background: var(--panel); }
svg.plot { display: block; width: calc(100% - 4rem); margin: 2rem 1rem 3rem 3rem; }
svg text { fill: var(--ink); font-size: 12px; }
svg text.axis { fill: var(--soft); }
svg text.halo { paint-order: stroke; stroke: var(--ground); stroke-width: 3px; }
svg polyline { fill: none; vector-effect: non-scaling-stroke; }
.fill-blue { fill: var(--blue); } .fill-orange { fill: var(--orange); }
.fill-green { fill: var(--green); } .fill-red { fill: var(--red); }
.fill-grey { fill: var(--grey); }
.line-blue { stroke: var(--blue); stroke-width: 2; }
.line-orange { stroke: var(--orange); stroke-width: 2; stroke-dasharray: 7 3; }
.line-green { stroke: var(--green); stroke-width: 2; stroke-dasharray: 2 3; }
.line-red { stroke: var(--red); stroke-width: 2; }
.line-thin { stroke: var(--blue); stroke-width: 1; }
.line-grid { stroke: var(--rule); stroke-width: 1; }
.line-axis { stroke: var(--soft); stroke-width: 1; }
.line-reference { stroke: var(--ink); stroke-width: 2; }
.line-mark { stroke: var(--ink); stroke-width: 1.5; stroke-dasharray: 4 3; }
"""
