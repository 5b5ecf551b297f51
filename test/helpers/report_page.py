"""What the tests of reports read a page with."""

import base64
from html.parser import HTMLParser

import cv2
import numpy as np
from numpy.typing import NDArray

VOID = {"meta", "img", "br", "line", "rect", "circle", "polyline", "col"}


class Page(HTMLParser):
    """Checks that elements close in order, and gathers what a test asks for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attributes if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        tooltip = self.open[-1:] == ["title"] and "svg" in self.open
        if not tooltip and self.open[-1:] != ["style"]:
            self.texts.append(data)

    @property
    def text(self) -> str:
        """What is to be read, tooltips left out."""
        return " ".join(" ".join(self.texts).split())

    @property
    def images(self) -> list[NDArray[np.uint8]]:
        """The pictures of the page, H×W×3 BGR."""
        data = [base64.b64decode(source.partition(",")[2]) for source in self.sources]
        return [cv2.imdecode(np.frombuffer(bytes_, np.uint8), cv2.IMREAD_COLOR) for bytes_ in data]
