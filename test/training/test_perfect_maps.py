"""Perfect maps score perfectly: labels as they are drawn for training, decoded as in use.

Nothing of a layout's own settings may cost a point: neither its threshold nor the round ends of
drawn lanes, nor their width. What is left of the official figures is the network's.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from lane_sad_ros.detection.decode import lanes_from_peaks
from lane_sad_ros.detection.detector import segmentation_to_image
from lane_sad_ros.detection.peaks import make_row_peaks
from lane_sad_ros.evaluation import bdd100k, culane, tusimple
from lane_sad_ros.formats import culane as culane_files
from lane_sad_ros.formats import tusimple as tusimple_files
from lane_sad_ros.formats.slots import evenly
from lane_sad_ros.lanes import BDD100K, CULANE, TUSIMPLE, LaneLayout, Lanes
from training.config import read_config
from training.datasets.drawing import draw_labels, draw_line

from .test_config import CONFIGS

ROWS = np.arange(160, 720, 10)


def lane(near: float, far: float, bottom: float, top: float) -> NDArray[np.float32]:
    """A gentle curve from the bottom row to the top one."""
    v = np.linspace(top, bottom, 60)
    share = (v - top) / (bottom - top)
    return np.stack([far + (near - far) * share**1.2, v], axis=1).astype(np.float32)


def decoded(layout: LaneLayout, lanes: dict[int, NDArray[np.float32]]) -> tuple[Lanes, np.ndarray]:
    """What comes of perfect maps of these lanes by slot: lanes, and classes of the input's size."""
    left, top, right, bottom = layout.crop
    size = np.array(layout.input_size)
    factors, slots = size / (right - left, bottom - top), len(layout.slots)
    width = read_config(CONFIGS / f"{layout.name}_enet_sad.yaml").lane_width * factors[0]
    points = np.stack([evenly(points) for points in lanes.values()])
    drawn = torch.from_numpy(((points - (left, top) + 0.5) * factors - 0.5).astype(np.float32))
    classes = draw_labels(drawn[None], torch.tensor([[*lanes]]), slots, layout.input_size, width)
    maps = 30.0 * F.one_hot(classes.long(), 1 + slots).permute(0, 3, 1, 2).float()
    peaks = make_row_peaks(layout, torch.device("cpu"))
    columns, scores = (part.numpy() for part in peaks(maps))
    exists = np.array([[slot in lanes for slot in range(slots)]], np.float32)
    existence = None if layout is BDD100K else exists
    (found,) = lanes_from_peaks(
        columns, scores, existence, peaks.rows, layout, layout.decoding, [layout.image_size]
    )
    return found, classes[0].numpy()


# Their ends lie on sampled rows, so that the round ends as drawn stay short of the next row.
TUSIMPLE_LANES = {
    1: lane(20, 560, 520, 260), 2: lane(380, 600, 710, 250),
    3: lane(980, 680, 710, 240), 4: lane(1200, 720, 480, 300),
}  # fmt: skip
CULANE_LANES = {
    0: lane(200, 640, 480, 300), 1: lane(500, 760, 580, 280),
    2: lane(1250, 880, 580, 280), 3: lane(1500, 960, 460, 300),
}  # fmt: skip


@pytest.mark.parametrize(
    ("layout", "lanes"),
    [(TUSIMPLE, TUSIMPLE_LANES), (CULANE, CULANE_LANES), (BDD100K, {0: TUSIMPLE_LANES[2]})],
    ids=["tusimple", "culane", "bdd100k"],
)
def test_lanes_end_where_they_were_drawn_to(
    layout: LaneLayout, lanes: dict[int, NDArray[np.float32]]
) -> None:
    found, _ = decoded(layout, lanes)
    assert [lane.slot for lane in found.present] == list(lanes)
    for slot, true in lanes.items():
        rows = np.arange(*layout.decoding.rows)
        rows = rows[(rows >= true[0, 1]) & (rows <= true[-1, 1])]
        np.testing.assert_allclose(found[slot].points[::-1, 1], rows, atol=1e-3)


def test_tusimples_metric_is_perfect() -> None:
    found, _ = decoded(TUSIMPLE, TUSIMPLE_LANES)
    columns = []
    for points in TUSIMPLE_LANES.values():
        u = np.interp(ROWS, points[:, 1], points[:, 0])
        inside = (points[0, 1] <= ROWS) & (points[-1, 1] >= ROWS)
        columns.append(np.where(inside, u, -2).round().tolist())
    truth = {"raw_file": "a.jpg", "lanes": columns, "h_samples": ROWS.tolist()}
    prediction = tusimple_files.to_record(found, "a.jpg", ROWS.tolist(), 1)
    assert tusimple.score(truth, prediction) == (1.0, 0.0, 0.0)


def test_culanes_metric_is_perfect() -> None:
    found, _ = decoded(CULANE, CULANE_LANES)
    counts = culane.score(list(CULANE_LANES.values()), culane_files.official(found))
    assert (counts.tp, counts.fp, counts.fn) == (4, 0, 0)


def test_bdd100ks_metric_finds_all_lane_pixels() -> None:
    lanes = {0: TUSIMPLE_LANES[2]}
    _, classes = decoded(BDD100K, lanes)
    truth = np.zeros((720, 1280), np.uint8)
    draw_line(truth, lanes[0], 1, 2.0)
    accuracy, iou = bdd100k.score(truth, segmentation_to_image(classes, BDD100K, (1280, 720)))
    assert accuracy == 1.0
    assert iou > 0.2  # drawn 8 pixels wide, tested 2 wide
