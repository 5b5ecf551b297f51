"""Frames out of an image, a folder of images, a video or a bag."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from lane_sad_ros.files import SourceError, is_among
from lane_sad_ros.image_files import (
    IMAGE_SUFFIXES,
    Image,
    image_names,
    is_image_name,
    read_image,
)
from lane_sad_ros.messages.images import bgr_from_frame, frame_from_message
from lane_sad_ros.recordings import bags
from lane_sad_ros.recordings.message_types import BagError
from lane_sad_ros.recordings.rate import FIRST, rate_of
from lane_sad_ros.video_files import (
    VIDEO_SUFFIXES,
    counts_frames,
    edited_count,
    is_cut_matroska,
)

IMAGE_RATE = 20.0
"""Hz. What images are stamped with that say nothing of time: TuSimple's camera rate."""


PHONE_SUFFIXES = (".heic", ".heif", ".avif")
_GROSS = 3.0  # times that a container's rate is off where it is not believed
_PHONE = "HEIC and AVIF pictures are not read here; convert it to JPEG, or let the phone do so"
_NEEDED = (
    f"needed is an image ({', '.join(IMAGE_SUFFIXES[:3])} ...), a folder of images, a video "
    f"({', '.join(VIDEO_SUFFIXES[:3])} ...) or a bag ({', '.join(bags.BAG_SUFFIXES)})"
)


@dataclass(frozen=True)
class SourceFrame:
    """One frame of a source.

    stamp_ns: nanoseconds, of the message header in a bag, otherwise from the start of the source.
    name: a path relative to the folder, or the frame's number from 0, six digits.
    image: H×W×3 uint8 BGR.
    frame_id: of the camera; empty where the source does not say.
    """

    stamp_ns: int
    name: str
    image: Image
    frame_id: str = ""

    @property
    def stamp(self) -> float:
        """The stamp in seconds."""
        return self.stamp_ns * 1e-9


class FrameSource(ABC):
    """Frames in order of time. Iterating starts at the first frame each time.

    path: what was opened.
    kind: "image", "folder", "video" or "bag".
    count: how many frames there should be; None where the file does not tell.
    topic: of the images in a bag; empty elsewhere. names: of the frames of a folder.
    on_bad: is called with one line for each frame that cannot be read, which is then left out;
        without it the line is raised as a SourceError.
    """

    kind: str
    topic = ""
    names: Sequence[str] = ()

    def __init__(self, path: Path, count: int | None, on_bad: Callable[[str], None] | None) -> None:
        self.path = path
        self.count = count
        self._on_bad = on_bad

    @abstractmethod
    def __iter__(self) -> Iterator[SourceFrame]: ...

    @property
    @abstractmethod
    def rate(self) -> float:
        """Frames per second, as far as the source tells."""

    def reads(self, path: Path) -> bool:
        """Whether a file is one that frames come from, by whatever name."""
        return is_among(path, [self.path])

    def _bad(self, line: str) -> None:
        if self._on_bad is None:
            raise SourceError(line)
        self._on_bad(line)


def open_frames(
    path: str | os.PathLike[str],
    *,
    topic: str | None = None,
    rate: float = IMAGE_RATE,
    on_bad: Callable[[str], None] | None = None,
) -> FrameSource:
    """The frames of an image, a folder of images, a video or a bag.

    topic: the image topic of a bag; needed only where it has several.
    rate: Hz, gives the images of a folder their stamps.
    on_bad: see FrameSource.
    Raises SourceError if there is nothing to read at `path`.
    """
    path = Path(path)
    if not path.exists():
        raise SourceError(
            f"{path}: no such file or folder; an image, a folder of images, a video or a bag is "
            "needed"
        )
    if bags.is_bag(path):
        try:
            return _Bag(path, topic, on_bad)
        except BagError as error:
            raise SourceError(str(error)) from error
    if topic is not None:
        raise SourceError(f"{path}: not a bag, so it has no topic {topic}")
    if path.is_dir():
        left = [file.name for file in path.iterdir() if file.suffix.lower() in PHONE_SUFFIXES]
        if left and on_bad is not None:
            on_bad(f"{path}: {len(left)} left out, such as {min(left)}: {_PHONE}")
        return image_files(path, names_in(path), rate=rate, on_bad=on_bad)
    if is_image_name(path):
        return _Images(path, path.parent, [path.name], rate, on_bad)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return _Video(path, on_bad)
    if path.suffix.lower() in PHONE_SUFFIXES:
        raise SourceError(f"{path}: {_PHONE}")
    raise SourceError(f"{path}: not an image, nor anything else that can be read here; {_NEEDED}")


def image_files(
    folder: Path,
    names: Sequence[str],
    *,
    rate: float = IMAGE_RATE,
    on_bad: Callable[[str], None] | None = None,
) -> FrameSource:
    """The images with these names, relative to a folder, in this order; see `open_frames`."""
    return _Images(folder, folder, names, rate, on_bad)


class _Images(FrameSource):
    def __init__(
        self,
        path: Path,
        folder: Path,
        names: Sequence[str],
        rate: float,
        on_bad: Callable[[str], None] | None,
    ) -> None:
        super().__init__(path, len(names), on_bad)
        self._rate = rate
        self.kind = "folder" if path.is_dir() else "image"
        self._folder = folder
        self.names = names

    def __iter__(self) -> Iterator[SourceFrame]:
        for index, name in enumerate(self.names):
            try:
                image = read_image(self._folder / name)
            except SourceError as error:
                self._bad(str(error))
                continue
            yield SourceFrame(round(index * 1e9 / self._rate), name, image)

    @property
    def rate(self) -> float:
        return self._rate

    def reads(self, path: Path) -> bool:
        return path.exists() and _identity(path) in self._files

    @cached_property
    def _files(self) -> set[tuple[int, int]]:
        files = (self._folder / name for name in self.names)
        return {_identity(file) for file in files if file.exists()}


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


class _Video(FrameSource):
    kind = "video"

    def __init__(self, path: Path, on_bad: Callable[[str], None] | None) -> None:
        self._counted = counts_frames(path)
        with self._capture(path) as capture:
            count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
            told = capture.get(cv2.CAP_PROP_FPS)
        self._rate = told if told > 0 else 25.0
        # Without a rate, OpenCV takes how finely a container tells time for one.
        seen = rate_of(sorted(islice(self._times(path), FIRST)))
        if seen is not None and not seen / _GROSS < told < seen * _GROSS:
            self._rate = seen
        if not self._counted and told > 0:  # the count is how long it lasts, by the rate told
            count *= self._rate / told
        elif self._counted and (edited := edited_count(path)) is not None:
            count = min(count, edited)
        super().__init__(path, round(count) if count > 0 else None, on_bad)

    @property
    def rate(self) -> float:
        return self._rate

    @staticmethod
    def _times(path: Path) -> Iterator[int]:
        """Of its frames in the order of decoding, nanoseconds; nothing is decoded."""
        capture = cv2.VideoCapture(_file_name(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
        try:
            while capture.grab():
                yield round(capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
        finally:
            capture.release()

    @staticmethod
    @contextmanager
    def _capture(path: Path) -> Iterator[cv2.VideoCapture]:
        capture = cv2.VideoCapture()
        try:
            # What FFmpeg opens by its contents may name other files; a container does not.
            if counts_frames(path) is None or not capture.open(_file_name(path), cv2.CAP_FFMPEG):
                raise SourceError(
                    f"{path}: not a whole video, nor anything else that can be read here; {_NEEDED}"
                )
            yield capture
        finally:
            capture.release()

    def __iter__(self) -> Iterator[SourceFrame]:
        index, last = 0, -1
        with self._capture(self.path) as capture:
            while True:
                found, image = capture.read()
                if not found:
                    break
                stamp_ns = round(capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
                if stamp_ns <= last:  # a container without times
                    stamp_ns = last + round(1e9 / self._rate) if index else 0
                yield SourceFrame(stamp_ns, f"{index:06d}", np.asarray(image, np.uint8))
                index, last = index + 1, stamp_ns
        # The count that a container gives is off by one or two at times.
        if self._counted and self.count is not None and index < self.count - 2:
            self._bad(f"{self.path}: ends after {index} of {self.count} frames; it is cut short")
        elif not self._counted and is_cut_matroska(self.path):
            self._bad(f"{self.path}: ends after {index} frames; it is cut short")


def _file_name(path: Path) -> str:
    """FFmpeg would take what stands before a colon, as in 12:30.mp4, for a protocol."""
    return str(path.absolute())


class _Bag(FrameSource):
    kind = "bag"

    def __init__(self, path: Path, topic: str | None, on_bad: Callable[[str], None] | None) -> None:
        self._messages = bags.ImageTopic(path, topic)
        super().__init__(path, self._messages.count, on_bad)
        self.topic = self._messages.topic

    @property
    def rate(self) -> float:
        return self._messages.rate

    def reads(self, path: Path) -> bool:
        return is_among(path, self._files)

    @cached_property
    def _files(self) -> list[Path]:
        return bags.files_read(self.path)

    def __iter__(self) -> Iterator[SourceFrame]:
        try:
            for index, recorded in enumerate(self._messages.raw()):
                try:
                    message = self._messages.parse(recorded)
                    image = bgr_from_frame(frame_from_message(message))
                except ValueError as error:
                    self._bad(f"{self.path}: {self._messages.topic} message {index}: {error}")
                    continue
                stamp_ns = recorded.stamp_ns
                yield SourceFrame(stamp_ns, f"{index:06d}", image, message.header.frame_id)
        except BagError as error:
            self._bad(str(error))


def names_in(folder: Path) -> list[str]:
    """The names of the images in a folder, in order. Raises SourceError if it has none."""
    names = image_names(folder)
    if not names:
        raise SourceError(
            f"{folder}: no image in this folder (folders in it are not searched); looked for "
            f"{', '.join(IMAGE_SUFFIXES)}"
        )
    return names
