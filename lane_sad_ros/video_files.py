"""Video files: written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import cv2
import numpy as np

from lane_sad_ros.files import replacing
from lane_sad_ros.image_files import Image

VIDEO_ENDINGS = (".mp4", ".mkv", ".avi")
"""What a video that is written may end in."""


@contextmanager
def writing_video(
    path: str | os.PathLike[str], rate: float, *, for_browsers: bool = False
) -> Iterator[Callable[[Image], None]]:
    """Gives a function that adds H×W×3 BGR frames to a video of `rate` Hz.

    The first frame sets the size; others are scaled to it. The codec is MPEG-4 part 2, which
    players know (VLC, mpv, QuickTime, ffmpeg) but browsers do not. for_browsers: VP9 instead, the
    only codec in OpenCV's packages that browsers play from an .mp4; it takes about 0.3 s of
    computing for a frame of 1280×720. Raises OSError where the video cannot be written.
    """
    codec = "vp09" if for_browsers else "mp4v"
    with replacing(path) as partial:
        writer = cv2.VideoWriter()
        size, count = (0, 0), 0

        def add(image: Image) -> None:
            nonlocal size, count
            if not writer.isOpened():
                size = image.shape[1], image.shape[0]
                code = cv2.VideoWriter.fourcc(*codec)
                if not writer.open(str(partial), cv2.CAP_FFMPEG, code, rate, size):
                    raise OSError(f"{path}: OpenCV cannot write a video of {codec} here")
            if (image.shape[1], image.shape[0]) != size:
                image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
            writer.write(image)
            count += 1

        try:
            yield add
        finally:
            writer.release()
        if not count:
            raise OSError(f"{path}: no frame for this video")
        _check(path, str(partial), count)


def _check(path: str | os.PathLike[str], written: str, count: int) -> None:
    """Raises OSError unless a video holds `count` frames: OpenCV is silent about a full disk."""
    capture = cv2.VideoCapture(written, cv2.CAP_FFMPEG)
    found = round(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
    capture.release()
    # Matroska does not count frames: it tells how long it lasts.
    if abs(found - count) > 1:
        raise OSError(f"{path}: only {found} of {count} frames could be written; is the disk full?")
