"""A look at a data set: what is in it, and samples with their labels drawn in."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.formats.slots import assign_slots
from lane_sad_ros.image_files import write_image
from lane_sad_ros.lanes import Lane, Lanes
from lane_sad_ros.pictures.colours import slot_colour
from lane_sad_ros.pictures.overlay import contact_sheet, draw_lanes

from .labelled import LabelledDataset, LabelledImage


def inspect(
    dataset: LabelledDataset, output: Path | None = None, count: int = 12, slots: int = 6
) -> None:
    """Prints a data set's description; with `output`, writes samples with their labels there.

    output: an image file, which shows `count` samples spread evenly over the data set. slots: of
    the lanes whose slots are given by position.
    """
    print(dataset.description)
    if output is None:
        return
    indices = np.unique(np.linspace(0, len(dataset) - 1, count).round().astype(int)).tolist()
    images, titles = [], []
    for index in indices:
        sample = dataset[index]
        images.append(draw_sample(sample, slots))
        lanes = f"{len(sample.lanes)} lanes"
        titles.append(f"{index}: {lanes}{'' if sample.classes is None else ', class map'}")
    write_image(output, contact_sheet(images, titles))
    print(f"{len(images)} samples in {output}")


def draw_sample(sample: LabelledImage, slots: int) -> NDArray[np.uint8]:
    """An image H×W×3 BGR with its class map, where it has one, and its lanes: in the colours of
    their slots where these are given by position, else white.
    """
    image = sample.image.copy()
    height, width = image.shape[:2]
    if sample.classes is not None:
        slots = max(int(sample.classes.max()), *(slot + 1 for slot in sample.slots or ()), 1)
        for slot in range(slots):
            lane = sample.classes == 1 + slot
            image[lane] = (image[lane] * 0.4 + np.multiply(slot_colour(slot, slots), 0.6)).astype(
                np.uint8
            )
    if sample.classes is not None or sample.slots is not None:
        for polyline in sample.lanes:
            points = np.round(np.clip(polyline, -4000, 4000) * 16).astype(np.int32)
            cv2.polylines(image, [points], False, (255, 255, 255), 1, cv2.LINE_AA, 4)
        return image
    found = assign_slots(sample.lanes, slots, width, height)
    return draw_lanes(
        image, Lanes((width, height), tuple(_lane(slot, lane) for slot, lane in enumerate(found)))
    )


def _lane(slot: int, polyline: NDArray[np.float32] | None) -> Lane:
    if polyline is None:
        return Lane(slot, False, 0.0, np.zeros((0, 3), np.float32))
    upwards = polyline[np.argsort(-polyline[:, 1])]
    return Lane(slot, True, 1.0, np.insert(upwards, 2, 1.0, axis=1))
