"""A report's HTML page: one file that needs no other, for screens, telephones and paper.

The pages are the Jinja2 templates beside this module. Text is escaped where it enters a page.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray

from lane_sad_ros.files import replacing, write_json
from lane_sad_ros.reports.charts import Part, bar

Image = NDArray[np.uint8]

WORST = 8
"""Pictures that a report shows of what went worst."""

_PICTURE_WIDTH = 960
_JPEG_QUALITY = 82
_GREY = 48  # of a picture that is not there
_UNKNOWN = "–"


def percent(share: float | None) -> str:
    """A share to a tenth of a per cent."""
    return _UNKNOWN if share is None else f"{100 * share:.1f} %"


def exactly(share: float | None) -> str:
    """A share to two places, as published figures are."""
    return _UNKNOWN if share is None else f"{100 * share:.2f} %"


def rate(number: float) -> str:
    """A rate of false or missed lanes, as TuSimple's are published."""
    return f"{number:.4f}"


def milliseconds(seconds: float | None) -> str:
    """A time to a tenth of a millisecond."""
    return _UNKNOWN if seconds is None else f"{1000 * seconds:.1f} ms"


def defined(figure: float) -> float | None:
    """The official tool's -1, where there is nothing to divide by, as None."""
    return None if figure < 0 else figure


def counted(number: int, noun: str) -> str:
    """The number with its noun, whose plural has an s."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    finalize=lambda value: _UNKNOWN if value is None else value,
)
_TEMPLATES.globals.update(bar=bar, Part=Part)
_TEMPLATES.filters.update(
    percent=percent,
    exactly=exactly,
    rate=rate,
    milliseconds=milliseconds,
    defined=defined,
    counted=counted,
    grouped="{:,}".format,
)


@dataclass(frozen=True)
class Picture:
    """An image within the page. source: its data URI. caption: what it shows, in words."""

    source: str
    width: int
    height: int
    caption: str

    @classmethod
    def of(cls, image: Image, caption: str) -> Picture:
        """image: H×W×3 uint8 BGR."""
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        source = f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode('ascii')}"
        return cls(source, image.shape[1], image.shape[0], caption)


def backdrop(image: Image | None, size: tuple[int, int]) -> Image:
    """What lanes are drawn on: the image at the width that it has in the page, or grey without one.

    size: (width, height) of the image.
    """
    if image is None:
        image = np.full((size[1], size[0], 3), _GREY, np.uint8)
    if image.shape[1] <= _PICTURE_WIDTH:
        return image
    height = max(1, round(_PICTURE_WIDTH * image.shape[0] / image.shape[1]))
    small = cv2.resize(image, (_PICTURE_WIDTH, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def check_report_path(path: str | os.PathLike[str]) -> Path:
    """The path, whose folders need not be there yet: to be asked before anything is measured.

    Raises ValueError where it is not one of an HTML page, or cannot be written.
    """
    target = Path(path)
    if target.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"{path}: a report is an HTML page, its name ends in .html")
    if os.path.isdir(target):
        raise ValueError(f"{path}: is a folder; a report is a file")
    there = next(folder for folder in target.parents if os.path.exists(folder))
    if not (os.path.isdir(there) and os.access(there, os.W_OK)):
        raise ValueError(f"{path}: {there} is no folder that can be written to")
    return target


def write_page(
    path: str | os.PathLike[str], template: str, numbers: Mapping[str, Any], **values: Any
) -> None:
    """Writes a page, and its numbers beside it under the ending .json.

    template: name of a file in `templates`. values: what it calls them.
    Raises ValueError as `check_report_path`, OSError where a file cannot be written.
    """
    target = check_report_path(path)
    text = _TEMPLATES.get_template(template).render(values)
    write_json(target.with_suffix(".json"), numbers)
    with replacing(target) as partial:
        # A path may hold bytes that are no text.
        partial.write_text(text, encoding="utf-8", errors="replace")
