"""Data sets in their official layouts: files, splits, labels in step, errors, official figures."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import default_collate

import training
from lane_sad_ros.evaluation.bdd100k import evaluate
from lane_sad_ros.formats.bdd100k import Border, centre_lines
from lane_sad_ros.image_files import read_image
from lane_sad_ros.lanes import BDD100K as BDD100K_LAYOUT
from lane_sad_ros.lanes import CULANE as CULANE_LAYOUT
from lane_sad_ros.lanes import LaneLayout
from training.augmentation import NONE, Changes, prepare
from training.config import Config, Source, read_config
from training.datasets import LabelledImage, Reading, open_dataset
from training.datasets.bdd100k import BDD100K, truth, write_truth
from training.datasets.culane import CULane
from training.datasets.drawing import draw_line
from training.datasets.inspect import inspect
from training.datasets.labelled import read_scaled, scaled
from training.datasets.negatives import Negatives
from training.datasets.polylines import Labels, PolylineImages
from training.datasets.tusimple import TuSimple
from training.samples import Samples
from training.validation import validate

Polyline = NDArray[np.float32]


def write_image(path: Path, size: tuple[int, int] = (160, 60)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((size[1], size[0], 3), 90, np.uint8))
    return path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# --- images


@pytest.mark.parametrize("ending", [".jpg", ".png"])
@pytest.mark.parametrize("size", [(200, 120), (201, 121)])
@pytest.mark.parametrize("max_width", [400, 150, 100, 64])
def test_points_stay_on_the_image_however_it_is_read(
    tmp_path: Path, ending: str, size: tuple[int, int], max_width: int
) -> None:
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    points = np.array([[40.5, 30.5], [160.5, 30.5], [120.5, 96.5]])
    for u, v in points:
        pixels[int(v) - 3 : int(v) + 5, int(u) - 3 : int(u) + 5] = 255
    path = tmp_path / f"image{ending}"
    cv2.imwrite(str(path), pixels, [cv2.IMWRITE_JPEG_QUALITY, 100])
    image, factors = read_scaled(path, max_width)
    assert image.shape[1] == min(size[0], max_width)
    assert image.shape[1] / image.shape[0] == pytest.approx(200 / 120, rel=0.03)
    weights = image[:, :, 0].astype(float)
    for u, v in scaled(points, factors):
        near = np.zeros_like(weights)
        box = tuple(slice(max(0, round(x) - 9), round(x) + 10) for x in (float(v), float(u)))
        near[box] = weights[box]
        rows, columns = np.indices(near.shape)
        assert (columns * near).sum() / near.sum() == pytest.approx(u, abs=0.15)
        assert (rows * near).sum() / near.sum() == pytest.approx(v, abs=0.15)


@pytest.mark.parametrize("keep", [0, 20, -1000])
def test_broken_image_is_named(tmp_path: Path, keep: int) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (180, 320, 3), np.uint8)
    path = tmp_path / "broken.jpg"
    cv2.imwrite(str(path), noise)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"broken\.jpg: (not an image|an empty file)"):
        read_image(path)


def test_small_set_is_kept_and_large_one_is_not(tmp_path: Path) -> None:
    for index in range(2):
        write_image(tmp_path / f"{index}.png", (1024, 512))  # 0.38 MB at 512 pixels wide
    small = Negatives(tmp_path, reading=Reading(512, cache_mb=0.8))
    large = Negatives(tmp_path, reading=Reading(512, cache_mb=0.7))
    assert small[1] is small[1]
    assert large[1] is not large[1]


def test_images_are_read_as_wide_as_the_network_needs(plain: LaneLayout) -> None:
    even = dataclasses.replace(plain, input_size=(64, 32))
    assert Reading.for_layout(even) == Reading(max_width=64)
    left_half = dataclasses.replace(plain, crop=(0, 24, 64, 96))
    assert Reading.for_layout(left_half, cache_mb=1) == Reading(max_width=128, cache_mb=1)


def test_images_are_read_as_high_as_the_network_needs() -> None:
    flat = dataclasses.replace(CULANE_LAYOUT, input_size=(800, 288))  # of 350 rows
    width = Reading.for_layout(flat).max_width
    assert round(350 * width / 1640) == 288


# --- drawn lines


@pytest.mark.parametrize("thickness", [1, 2, 4, 7, 8])
def test_line_is_as_thick_as_asked(thickness: int) -> None:
    for start, end in (((50.3, 5), (50.3, 95)), ((20, 10.4), (70, 90))):
        classes = np.zeros((100, 100), np.uint8)
        draw_line(classes, np.array([start, end], np.float32), 3, thickness)
        rows = classes[int(start[1]) : int(end[1])]  # between the ends
        length = len(rows) * np.hypot(end[0] - start[0], end[1] - start[1]) / (end[1] - start[1])
        assert np.count_nonzero(rows == 3) / length == pytest.approx(thickness, abs=0.3)


# --- TuSimple


def write_tusimple(folder: Path, name: str = "labels.json", count: int = 1, **changes: Any) -> Path:
    lines = []
    for index in range(count):
        record = {
            "raw_file": f"clips/{Path(name).stem}/{index}/20.png",
            "h_samples": [100, 120, 140],
            "lanes": [[-2, 30, 20], [-2, -2, -2], [0, 10, 20]],
        }
        write_image(folder / str(record["raw_file"]), (320, 180))
        lines.append(json.dumps(record | changes))
    return write(folder / name, "\n".join(lines) + "\n")


def test_absent_points_and_empty_lanes_are_dropped(tmp_path: Path) -> None:
    sample = TuSimple(write_tusimple(tmp_path))[0]
    assert [lane.tolist() for lane in sample.lanes] == [
        [[30, 120], [20, 140]],
        [[0, 100], [10, 120], [20, 140]],  # column 0 is a column
    ]
    assert sample.slots is None and sample.classes is None


def test_images_and_lanes_are_scaled_together(tmp_path: Path) -> None:
    sample = TuSimple(write_tusimple(tmp_path), reading=Reading(max_width=160))[0]
    assert sample.image.shape == (90, 160, 3)
    np.testing.assert_allclose(sample.lanes[0], [[14.75, 59.75], [9.75, 69.75]])


def test_tusimple_splits_are_the_official_files(tmp_path: Path) -> None:
    for name, count in (("0313", 3), ("0531", 1), ("0601", 2)):
        write_tusimple(tmp_path, f"label_data_{name}.json", count)
    train = open_dataset("tusimple", tmp_path, split="train")
    assert isinstance(train, TuSimple)
    clips = [record["raw_file"].split("/")[1][-4:] for _, record in train.records]
    assert clips == ["0313"] * 3 + ["0601"] * 2
    assert len(open_dataset("tusimple", tmp_path, split="val")) == 1
    assert "5 images, 10 lanes, 0 images without lanes" in train.description
    with pytest.raises(FileNotFoundError, match=r"test_label\.json: no such label file"):
        open_dataset("tusimple", tmp_path, split="test")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"raw_file": "2.png"}, r"labels\.json:1: no image at .*2\.png"),
        ({"h_samples": [1]}, r"labels\.json:1: true lane 0 has 3 values"),
        ({"lanes": 3}, r"labels\.json:1: lanes must be"),
    ],
)
def test_broken_records_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        TuSimple(write_tusimple(tmp_path, **changes))


def test_missing_images_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    labels = write_tusimple(tmp_path, count=4)
    labels.write_text("\n" + labels.read_text())
    for index in (1, 2):
        (tmp_path / f"clips/labels/{index}/20.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"labels\.json:3: .*1/20\.png; 2 of 4 images"):
        TuSimple(labels)


# --- CULane

LANES = {
    0: [[2.0, 59], [40.0, 30]],
    1: [[60.0, 59], [72.0, 30]],
    2: [[110.0, 59], [90.0, 30]],
}


def write_culane(folder: Path, names: dict[str, bool], flags: str = "1 1 1 0") -> Path:
    """Images by name, with a mask or with a lane file alone; returns the list with flags."""
    lines = []
    for name, masked in names.items():
        write_image(folder / f"{name}.jpg")
        text = "".join(f"{' '.join(f'{u} {v}' for u, v in lane)} \n" for lane in LANES.values())
        write(folder / f"{name}.lines.txt", text + "9 9 \n")
        mask = folder / f"laneseg_label_w16/{name}.png"
        if masked:
            classes = np.zeros((60, 160), np.uint8)
            for slot, lane in LANES.items():
                draw_line(classes, np.array(lane, np.float32), 1 + slot, 8)
            mask.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(mask), classes)
        lines.append(f"/{name}.jpg /{mask.relative_to(folder)} {flags}\n")
    return write(folder / "list/train_gt.txt", "".join(lines))


def test_culane_learns_from_masks_and_draws_where_there_is_none(tmp_path: Path) -> None:
    path = write_culane(tmp_path, {"driver_1/a/00000": True, "driver_1/a/00030": False})
    found = open_dataset("culane", path, reading=Reading(max_width=80))
    assert "2 images, 1 with masks, 1 drawn from lane files, 0 without lanes" in found.description
    masked, drawn = found[0], found[1]
    assert masked.classes is not None and masked.classes.shape == masked.image.shape[:2] == (30, 80)
    assert set(np.unique(masked.classes)) == {0, 1, 2, 3}
    assert masked.slots == (0, 1, 2)
    assert drawn.slots is None and drawn.classes is None
    for lane, other, number in zip(masked.lanes, drawn.lanes, (1, 2, 3), strict=True):
        np.testing.assert_array_equal(lane, other)
        middle = lane.mean(axis=0)
        columns = np.flatnonzero(masked.classes[round(float(middle[1]))] == number)
        assert columns.mean() == pytest.approx(middle[0], abs=0.8)


def test_slots_of_another_layout_are_refused(tmp_path: Path) -> None:
    """They would be taken for other lanes, others again in a mirror image."""
    path = write_culane(tmp_path, {"a": True})
    six = Config(layout="tusimple", data=(Source(path, "culane"),))
    with pytest.raises(ValueError, match="number 4 slots, the layout tusimple has 6; take a layou"):
        Samples.opened(six, six.lane_layout())
    four = dataclasses.replace(six, layout="culane")
    Samples.opened(four, four.lane_layout())
    unmasked = write_culane(tmp_path, {"b": False})
    by_position = dataclasses.replace(six, data=(Source(unmasked, "culane"),))
    Samples.opened(by_position, by_position.lane_layout())


def test_slots_are_those_of_the_mask(tmp_path: Path) -> None:
    path = write_culane(tmp_path, {"a": True}, flags="0 1 1 1")
    mask = tmp_path / "laneseg_label_w16/a.png"
    classes = cv2.imread(str(mask), cv2.IMREAD_UNCHANGED)
    assert classes is not None
    cv2.imwrite(str(mask), np.where(classes > 0, classes + 1, 0).astype(np.uint8))
    assert CULane(path)[0].slots == (1, 2, 3)


def test_culane_lists_without_masks(tmp_path: Path) -> None:
    write_culane(tmp_path, {"a": False, "b": False, "c": True})
    (tmp_path / "b.lines.txt").write_text("")
    path = write(tmp_path / "list/test_split/test8_night.txt", "/a.jpg\n/b.jpg\n\n/c.jpg\n")
    found = CULane(path)
    assert "3 images, 1 with masks, 2 drawn from lane files, 1 without lanes" in found.description
    assert [len(found[index].lanes) for index in range(3)] == [3, 0, 3]


def test_culane_splits_are_the_official_lists(tmp_path: Path) -> None:
    write_culane(tmp_path, {"a": True, "b": True})
    write(tmp_path / "list/train.txt", "/a.jpg\n")  # train_gt.txt is the better one
    write(tmp_path / "list/val.txt", "/b.jpg\n")
    assert len(open_dataset("culane", tmp_path, split="train")) == 2
    assert len(open_dataset("culane", tmp_path, split="val")) == 1
    with pytest.raises(FileNotFoundError, match=r"has none of list/test\.txt"):
        open_dataset("culane", tmp_path, split="test")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/a.jpg /m.png 1 1 1", r"train_gt\.txt:2: not a line of CULane"),
        ("/a.jpg /m.png 1 1 1 2", r"train_gt\.txt:2: not a line of CULane"),
        ("/none.jpg", r"train_gt\.txt:2: no image at .*none\.jpg"),
        ("/bare.jpg", r"train_gt\.txt:2: no label of bare\.jpg: neither a mask at .* nor lanes"),
    ],
)
def test_broken_list_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = write_culane(tmp_path, {"a": False})
    write_image(tmp_path / "bare.jpg")
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        CULane(path)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.full((60, 160), 5, np.uint8), r"a\.png: holds the class 5; a mask of CULane has 0"),
        (np.zeros((30, 160), np.uint8), r"a\.png: 160x30 pixels, but its image has 160x60"),
    ],
)
def test_broken_mask_is_named(tmp_path: Path, mask: NDArray[np.uint8], message: str) -> None:
    path = write_culane(tmp_path, {"a": True})
    cv2.imwrite(str(tmp_path / "laneseg_label_w16/a.png"), mask)
    with pytest.raises(ValueError, match=message):
        CULane(path)[0]


# --- BDD100K

LEFT = [[300.0, 700], [560.0, 400]]
RIGHT = [[570.0, 402], [330.0, 702]]  # the other border, drawn downwards
CURVE = [[900.0, 700], [800.0, 600], [760.0, 500], [740.0, 400]]


def lane_label(
    vertices: list[list[float]],
    types: str = "",
    kind: str = "single white",
    direction: str = "parallel",
) -> dict[str, Any]:
    """A label of the form that `lane_train.json` has."""
    types = types or "L" * len(vertices)
    return {
        "category": kind,
        "attributes": {"laneDirection": direction, "laneStyle": "solid", "laneTypes": kind},
        "poly2d": [{"vertices": vertices, "types": types, "closed": False}],
    }


LABELS = [
    lane_label(LEFT),
    lane_label(RIGHT),
    lane_label(CURVE, "LCCC", "road curb"),
    lane_label([[0.0, 600], [1279.0, 600]], direction="vertical"),
    lane_label([[0.0, 650], [1279.0, 650]], kind="crosswalk"),
    {"category": "car", "box2d": {"x1": 0, "y1": 0, "x2": 9, "y2": 9}},
]


def forms(name: str) -> dict[str, Any]:
    """The same labels as lane_*.json, as bdd100k_labels_images_*.json, and as a file an image."""
    older = [
        label | {"category": "lane", "attributes": label["attributes"] | {"laneType": kind}}
        if (kind := label["category"]) != "car"
        else label
        for label in LABELS
    ]
    objects = []
    for label in LABELS:
        if "poly2d" not in label:
            objects.append(label)
            continue
        part = label["poly2d"][0]
        points = [[*v, t] for v, t in zip(part["vertices"], part["types"], strict=True)]
        direction = label["attributes"]["laneDirection"]
        objects.append(
            {
                "category": f"lane/{label['category']}",
                "attributes": {"direction": direction, "style": "solid"},
                "poly2d": points,
            }
        )
    return {
        "list": [{"name": f"{name}.jpg", "labels": LABELS}],
        "wrapped": {"frames": [{"name": f"{name}.jpg", "labels": LABELS}]},
        "older": [{"name": f"{name}.jpg", "labels": older}],
        "first": {"name": name, "frames": [{"timestamp": 10000, "objects": objects}]},
    }


@pytest.mark.parametrize("form", ["list", "wrapped", "older", "first"])
def test_every_form_of_the_labels_gives_the_same_lanes(tmp_path: Path, form: str) -> None:
    write_image(tmp_path / "a.jpg", (1280, 720))
    path = write(tmp_path / "labels.json", json.dumps(forms("a")[form]))
    (sample,) = list(BDD100K(path, reading=Reading(max_width=1280)))
    marking, curb = sample.lanes
    np.testing.assert_allclose(marking[[0, -1]], [[315, 701], [565, 401]], atol=1e-3)
    np.testing.assert_allclose(curb[[0, -1]], [CURVE[0], CURVE[-1]], atol=1e-3)
    assert sample.slots == (0, 0)


def test_bdd100ks_centre_lines_are_drawn_as_wide_as_the_configuration_says(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg", (1280, 720))
    path = write(tmp_path / "labels.json", json.dumps(forms("a")["list"]))
    (sample,) = list(BDD100K(path, reading=Reading(max_width=1280)))
    layout = dataclasses.replace(BDD100K_LAYOUT, input_size=(1280, 720))
    batch = default_collate([prepare(sample, layout, NONE, np.random.default_rng(0))])
    for width in (8, 16):
        classes = Changes(layout, width, torch.device("cpu"))(batch)[1][0].numpy()
        for row in (450, 600):
            u = 565 - (row - 401) / 300 * 250
            columns = np.flatnonzero(classes[row, : round(u) + 60])
            assert columns.mean() == pytest.approx(u, abs=1)
            assert len(columns) == pytest.approx(width / np.sin(np.arctan2(300, 250)), abs=1.5)


@pytest.mark.parametrize("size", [(640, 360), (640, 640), (1920, 1080)])
def test_labels_lie_on_images_of_any_size(tmp_path: Path, size: tuple[int, int]) -> None:
    """BDD100K's labels are of 1280×720; images may have been scaled to save space."""
    write_image(tmp_path / "a.jpg", size)
    path = write(tmp_path / "labels.json", json.dumps(forms("a")["list"]))
    found = BDD100K(path, reading=Reading(max_width=320))
    height = round(320 * size[1] / size[0])
    ends = (np.array([[315, 701], [565, 401]]) + 0.5) * np.divide((320, height), (1280, 720)) - 0.5
    np.testing.assert_allclose(found[0].lanes[0][[0, -1]], ends, atol=1e-3)
    drawn = truth(found.items[0], size)
    u, v = ((440.5, 551.5) * np.divide(size, (1280, 720)) - 0.5).round().astype(int)
    assert drawn[v - 2 : v + 3, u - 2 : u + 3].any()


def test_lines_of_one_image_in_a_folder_of_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_image(tmp_path / f"images/100k/val/{name}.jpg", (1280, 720))
        write(tmp_path / f"labels/100k/val/{name}.json", json.dumps(forms(name)["first"]))
    found = open_dataset("bdd100k", tmp_path, split="val")
    assert "2 images, label files" in found.description
    assert len(found[1].lanes) == 2
    assert found[1].image.shape == (360, 640, 3)


def border(*vertices: tuple[float, float], kind: str = "white") -> Border:
    points = np.array(vertices, np.float32)
    return Border((kind, "solid"), points, "L" * len(points))


def test_bezier_vertices_make_a_curve_either_way_round() -> None:
    points = np.array(CURVE, np.float32)
    (curve,) = centre_lines([Border(("curb", ""), points, "LCCC")])
    (back,) = centre_lines([Border(("curb", ""), points[::-1], "CCCL")])
    np.testing.assert_allclose(curve, back[::-1], atol=1e-2)
    # At t = 1/2 the curve is (p0 + 3 p1 + 3 p2 + p3) / 8.
    middle = (points * np.array([[1], [3], [3], [1]])).sum(axis=0) / 8
    assert np.hypot(*(curve - middle).T).min() < 6
    assert np.hypot(*(curve - points[1]).T).min() > 10  # a control point is not on it
    # The same curve cut in two at t = 1/2, and a straight piece after it.
    ab, bc, cd = (points[:-1] + points[1:]) / 2
    abc, bcd = (ab + bc) / 2, (bc + cd) / 2
    two = np.stack([points[0], ab, abc, middle, bcd, cd, points[3]]).astype(np.float32)
    (again,) = centre_lines([Border(("curb", ""), two, "LCCCCCC")])
    np.testing.assert_allclose(again, curve, atol=0.5)
    (longer,) = centre_lines([Border(("curb", ""), np.vstack([two, [[740, 300]]]), "LCCCCCCL")])
    assert longer[-1].tolist() == [740, 300]


def test_borders_are_paired_with_their_own_marking() -> None:
    first = [border((300, 700), (600, 350)), border((610, 350), (335, 700))]
    second = [border((620, 350), (800, 700)), border((630, 350), (832, 700))]
    lines = centre_lines([first[0], second[0], first[1], second[1]])
    ends = sorted(sorted(line[[0, -1]].tolist(), key=lambda p: p[1])[1] for line in lines)
    np.testing.assert_allclose(ends, [[317.5, 700], [816, 700]], atol=0.1)


def test_nearest_borders_are_paired_first() -> None:
    bottoms, tops = (300, 350, 320, 370), (600, 610, 604, 614)  # a double line, 20 pixels each
    borders = [border((b, 700), (t, 350)) for b, t in zip(bottoms, tops, strict=True)]
    lines = centre_lines(borders)
    assert [line[0].tolist() for line in lines] == [[310, 700], [360, 700]]


def test_lines_of_two_markings_stay_two() -> None:
    lane = [border((200, 700), (600, 350)), border((1000, 700), (640, 350))]
    assert len(centre_lines(lane)) == 2
    near = [border((300, 700), (600, 350)), border((330, 700), (606, 350), kind="yellow")]
    assert len(centre_lines(near)) == 2  # of another colour
    dashes = [border((300, 700), (350, 640)), border((420, 560), (470, 500))]
    assert len(centre_lines(dashes)) == 2  # one behind the other
    branch = [border((300, 700), (600, 350)), border((530, 440), (605, 350))]
    assert len(centre_lines(branch)) == 2  # beside each other for a part only


def test_truth_is_two_pixels_wide_and_read_by_the_metric(tmp_path: Path) -> None:
    write_image(tmp_path / "images/a.jpg", (1280, 720))
    path = write(tmp_path / "labels.json", json.dumps(forms("a")["list"]))
    found = BDD100K(path, tmp_path / "images")
    drawn = truth(found.items[0], (1280, 720))
    assert np.count_nonzero(drawn[500, :600]) == pytest.approx(
        2 / np.sin(np.arctan2(300, 250)), abs=1
    )
    write_truth(found, tmp_path / "truth")
    result = evaluate(tmp_path / "truth", tmp_path / "truth")
    assert (result.accuracy, result.iou, result.images) == (1, 1, 1)


def test_ready_made_masks_go_before_lines(tmp_path: Path) -> None:
    write_image(tmp_path / "images/100k/train/a.jpg", (128, 72))
    write(tmp_path / "labels/lane/polygons/lane_train.json", json.dumps(forms("a")["list"]))
    mask = np.zeros((72, 128), np.uint8)
    mask[:, 40:48] = 255
    folder = tmp_path / "ll_seg_annotations/train"
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "a.png"), mask)
    found = open_dataset("bdd100k", tmp_path, split="train", reading=Reading(max_width=64))
    assert "1 images, ready-made masks" in found.description
    classes = found[0].classes
    assert classes is not None
    np.testing.assert_array_equal(np.flatnonzero(classes[10]), [20, 21, 22, 23])
    assert classes.max() == 1
    assert isinstance(found, BDD100K)
    np.testing.assert_array_equal(truth(found.items[0], (128, 72)), mask // 255)
    cv2.imwrite(str(folder / "a.png"), 255 - mask)
    with pytest.raises(ValueError, match=r"a\.png: more than half of this mask is lane"):
        open_dataset("bdd100k", tmp_path, split="train")[0]


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (lane_label(LEFT, "LX"), r"labels\.json: a\.jpg, label 0: not a lane .*types 'LX'"),
        (lane_label(LEFT, "LLL"), "label 0: not a lane label"),
        (lane_label([[1.0, 2.0, 3.0]]), "label 0: not a lane label"),
        ({"poly2d": []}, "label 0: not a lane label of BDD100K .'category'"),
    ],
)
def test_broken_lane_label_is_named(tmp_path: Path, label: dict[str, Any], message: str) -> None:
    write_image(tmp_path / "a.jpg")
    path = write(tmp_path / "labels.json", json.dumps([{"name": "a.jpg", "labels": [label]}]))
    with pytest.raises(ValueError, match=message):
        BDD100K(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"labels\.json: not JSON"),
        ("[]", r"labels\.json: holds no image"),
        ("[3]", r"labels\.json: image 0 has no name"),
        ('[{"name": "b.jpg", "labels": null}]', r"labels\.json: no image at .*b\.jpg"),
    ],
)
def test_broken_label_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        BDD100K(write(tmp_path / "labels.json", text))


# --- negatives


def test_negatives_from_a_folder_and_from_lists(tmp_path: Path) -> None:
    for name in ("b/2.png", "1.jpg", "b/note.txt"):
        write_image(tmp_path / name) if "note" not in name else write(tmp_path / name, "")
    text = write(tmp_path / "list.txt", "1.jpg\n\nb/2.png\n")
    array = write(tmp_path / "list.json", '["b/2.png"]')
    for path, count in ((tmp_path, 2), (text, 2), (array, 1)):
        found = open_dataset("negatives", path)
        assert len(found) == count
        assert f"{count} images, all without lanes" in found.description
        assert found[0].lanes == () and found[0].image.shape == (60, 160, 3)
    with pytest.raises(FileNotFoundError, match=r"list\.txt:2: no image at .*none\.png"):
        Negatives(write(tmp_path / "list.txt", "1.jpg\nnone.png\n"))
    with pytest.raises(ValueError, match=r"list\.json: not a list of image paths"):
        Negatives(write(tmp_path / "list.json", '{"a": 1}'))


# --- lanes as polylines

# Straight lines that meet at (50, 20) of 100×60 pixels, from their bottom up.
LEFT_LINE = [[20.0 + i, 50.0 - i] for i in range(0, 19, 3)]
RIGHT_LINE = [[74.0 - i, 44.0 - i] for i in range(14)]


def write_lanes_file(folder: Path, **fields: dict[str, Any]) -> Path:
    """A file of the images a.jpg, b.jpg, ..., each with both lines and the given fields."""
    records = []
    for name, more in fields.items():
        write_image(folder / f"images/{name}.jpg", (100, 60))
        record = {"image": f"images/{name}.jpg", "width": 100, "height": 60}
        records.append({**record, "lanes": [LEFT_LINE, RIGHT_LINE], **more})
    return write(folder / "lanes.json", "".join(json.dumps(record) + "\n" for record in records))


def test_lanes_file_is_read_in_the_scaled_images_pixels(tmp_path: Path) -> None:
    path = write_lanes_file(tmp_path, a={}, b={"lanes": []})
    found = open_dataset("lanes", path, reading=Reading(max_width=50))
    assert "2 of 2 images, 2 lines, 1 images without lanes" in found.description
    assert found[0].image.shape == (30, 50, 3)
    np.testing.assert_allclose(found[0].lanes[1], (np.array(RIGHT_LINE) + 0.5) / 2 - 0.5)
    assert not found[0].partial and found[0].slots is None and found[1].lanes == ()


def test_lane_files_of_culane_are_polylines_too(tmp_path: Path) -> None:
    write_image(tmp_path / "drive/a.jpg", (100, 60))
    write(tmp_path / "drive/a.lines.txt", "30 59 45 30\n70 59 55 30\n12 50\n")
    listed = write(tmp_path / "list/night.txt", "/drive/a.jpg\n")
    labels = Labels(ego_only=True, bottom=0.75)
    found = open_dataset("lanes", listed, tmp_path, labels=labels)[0]
    assert found.partial and [lane[0, 1] for lane in found.lanes] == [44, 44]


def test_lists_choose_and_weigh_images(tmp_path: Path) -> None:
    path = write_lanes_file(tmp_path, a={"seq": "x"}, b={"seq": "y"}, c={"seq": "y"}, d={})
    some = write(tmp_path / "some.txt", "seq=y   # this drive\nimages/a*\n")
    bad = write(tmp_path / "bad.txt", "# reasons\nimages/b.jpg  # a kerb for a line\n")
    often = write(tmp_path / "often.txt", "images/*.jpg 0.5\nimages/c.jpg 3\n")
    found = PolylineImages(path, labels=Labels((some,), (bad,), (often,)))
    assert [record.image for record in found.records] == ["images/a.jpg", "images/c.jpg"]
    assert found.weights is not None and found.weights.tolist() == [0.5, 3.0]
    assert PolylineImages(path).weights is None
    with pytest.raises(ValueError, match=r"none\.txt: entry 1, z, names no image"):
        PolylineImages(path, labels=Labels((write(tmp_path / "none.txt", "seq=z"),)))
    with pytest.raises(ValueError, match=r"odd\.txt:1: an image's path and perhaps a weight"):
        PolylineImages(path, labels=Labels((write(tmp_path / "odd.txt", "images/a.jpg x"),)))
    with pytest.raises(ValueError, match=r"lanes\.json: the lists include none of its 4 images"):
        PolylineImages(path, labels=Labels((bad,), (bad,)))


def test_lines_end_where_the_set_is_said_to_end_them(tmp_path: Path) -> None:
    path = write_lanes_file(tmp_path, a={})

    def feet_and_tops(labels: Labels) -> list[list[float]]:
        lanes = PolylineImages(path, labels=labels)[0].lanes
        assert all(np.all(np.diff(lane[:, 1]) < 0) for lane in lanes)
        for lane, slope in zip(lanes, (-1, 1), strict=True):  # all of them on the same lines
            np.testing.assert_allclose(lane[:, 0], 50 + slope * (lane[:, 1] - 20), atol=0.01)
        return [[round(float(lane[0, 1]), 2), round(float(lane[-1, 1]), 2)] for lane in lanes]

    assert feet_and_tops(Labels()) == [[50, 32], [44, 31]]
    assert feet_and_tops(Labels(ends="bottom")) == [[59, 32], [50.5, 31]]
    assert feet_and_tops(Labels(ends="full")) == [[59, 24.68], [50.5, 24.68]]
    assert feet_and_tops(Labels(bottom=0.7)) == [[41, 32], [41, 31]]
    assert feet_and_tops(Labels(ends="bottom", bottom=0.8)) == [[47, 32], [47, 31]]


def test_bent_lines_are_not_continued_to_where_they_meet_nor_those_that_left(
    tmp_path: Path,
) -> None:
    bent = [[90.0, 50.0], [80.0, 42.0], [75.0, 37.0], [74.0, 32.0]]
    left = [[-1.0, 50.0], [20.0, 40.0], [41.0, 30.0]]
    path = write_lanes_file(tmp_path, a={"lanes": [left, bent]})
    first, second = PolylineImages(path, labels=Labels(ends="full"))[0].lanes
    assert second[-1].tolist() == [74, 32] and second[0, 1] == 59
    assert first[0].tolist() == [-1, 50]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"image": "images/a.jpg"}, r"lanes\.json:2: lacks width, height, lanes"),
        ({"lanes": [[[1, 2]]]}, "2: a lane must be a list of at least two points"),
        ({"lanes": [[[1, 2], [3, None]]]}, "2: a lane must be a list of at least two points"),
        ({"width": 0}, "2: width and height must be whole numbers above 0"),
        ({"image": "none.jpg"}, r"lanes\.json:2: no image at .*none\.jpg"),
        ({"width": 90}, r"a\.jpg: 100x60 pixels, but its lanes are said to lie on 90x60"),
    ],
)
def test_broken_lanes_file_is_named(tmp_path: Path, record: dict[str, Any], message: str) -> None:
    path = write_lanes_file(tmp_path, a={})
    good = json.loads(path.read_text())
    short = record.get("image") == "images/a.jpg"
    write(path, "\n" + json.dumps(record if short else {**good, **record}))
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        open_dataset("lanes", path)[0]


def test_labels_are_for_lanes_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="labels are for the kind lanes, not tusimple"):
        Source(tmp_path / "a.json", labels=Labels())
    with pytest.raises(ValueError, match="ends 'top' is not one of labelled, bottom, full"):
        Labels(ends="top")
    with pytest.raises(ValueError, match="lanes have no split"):
        open_dataset("lanes", tmp_path, split="val")


# --- all kinds


def test_wrong_use_says_what_is_right(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="kind 'kitti'; known are tusimple, culane, bdd100k"):
        open_dataset("kitti", tmp_path)
    with pytest.raises(ValueError, match="split 'dev'; known are train, val, test"):
        open_dataset("culane", tmp_path, split="dev")
    with pytest.raises(ValueError, match="a folder; name a label file or list of culane"):
        open_dataset("culane", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"none\.txt: no such list"):
        open_dataset("culane", tmp_path / "none.txt")
    with pytest.raises(ValueError, match="max_width 0 must be positive"):
        Reading(max_width=0)


def test_samples_are_drawn_with_their_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_culane(tmp_path, {"a": True, "b": False, "c": True})
    found = open_dataset("culane", path)
    inspect(found, tmp_path / "sheet.jpg", count=2, slots=4)
    assert found.description in capsys.readouterr().out
    sheet = cv2.imread(str(tmp_path / "sheet.jpg"))
    assert sheet is not None
    assert np.ptp(sheet.astype(int), axis=2).max() > 60  # colours on grey images


# --- official figures


class Reader(nn.Module):
    """Sees in which colour channel (red, green, blue) a pixel is painted: that is its slot."""

    def __init__(self, lanes: int) -> None:
        super().__init__()
        self.lanes = lanes
        self.existence = None

    def forward(self, images: Tensor) -> tuple[Tensor, None]:
        painted = images[:, : self.lanes]
        unseen = painted.new_zeros(len(images), self.lanes - painted.shape[1], *images.shape[2:])
        logits = 20 * torch.cat([painted, unseen], dim=1) - 10
        return torch.cat([torch.zeros_like(logits[:, :1]), logits], dim=1), None


@pytest.fixture
def plain(tiny_layout: LaneLayout) -> LaneLayout:
    return dataclasses.replace(tiny_layout, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


PAINTED = {
    1: np.array([[20, 95], [44, 24]], np.float32),
    2: np.array([[110, 95], [86, 24]], np.float32),
}


def paint(path: Path, lanes: dict[int, Polyline], size: tuple[int, int] = (128, 96)) -> None:
    image = np.zeros((size[1], size[0], 3), np.uint8)
    for slot, lane in lanes.items():
        channel = np.zeros((size[1], size[0]), np.uint8)
        draw_line(channel, lane, 255, 6)
        image[:, :, 2 - slot] = channel
    cv2.imwrite(str(path), image)


def test_tusimple_validate(tmp_path: Path, plain: LaneLayout) -> None:
    rows = list(range(32, 93, 4))
    columns = [np.interp(rows, lane[::-1, 1], lane[::-1, 0]).tolist() for lane in PAINTED.values()]
    records = []
    for name, lanes in (("a.png", PAINTED), ("b.png", {1: PAINTED[1]})):
        paint(tmp_path / name, lanes)
        records.append(json.dumps({"raw_file": name, "h_samples": rows, "lanes": columns}))
    found = TuSimple(write(tmp_path / "labels.json", "\n".join(records)))
    result = validate(Reader(4), plain, found, device="cpu")
    assert result == pytest.approx({"accuracy": 0.75, "fp": 0, "fn": 0.25, "images": 2})


def test_culane_validate(tmp_path: Path, plain: LaneLayout) -> None:
    # Lanes are drawn 30 pixels wide on 1640×590, wherever the image is from.
    text = "".join(" ".join(f"{u} {v}" for u, v in lane) + "\n" for lane in PAINTED.values())
    for name, lanes in (("a", PAINTED), ("b", {1: PAINTED[1]})):
        paint(tmp_path / f"{name}.png", lanes)
        write(tmp_path / f"{name}.lines.txt", text)
    found = CULane(write(tmp_path / "list/val.txt", "/a.png\n/b.png\n"))
    result = validate(Reader(4), plain, found, device="cpu")
    expected = {"f1": 6 / 7, "precision": 1, "recall": 0.75, "tp": 3, "fp": 0, "fn": 1, "images": 2}
    assert result == pytest.approx(expected)
    for name in "ab":
        (tmp_path / f"{name}.lines.txt").unlink()
        (tmp_path / "laneseg_label_w16").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / f"laneseg_label_w16/{name}.png"), np.zeros((96, 128), np.uint8))
    with pytest.raises(ValueError, match=r"none of the 2 images has a \.lines\.txt"):
        validate(Reader(4), plain, CULane(tmp_path / "list/val.txt"), device="cpu")


def test_bdd100k_validate(tmp_path: Path, plain: LaneLayout) -> None:
    layout = dataclasses.replace(
        BDD100K_LAYOUT, input_size=(320, 184), mean=plain.mean, std=plain.std
    )
    lane = np.array([[300, 719], [600, 300]], np.float32)
    labels = [{"name": f"{n}.png", "labels": [lane_label(lane.tolist())]} for n in "ab"]
    paint(tmp_path / "a.png", {0: lane}, (1280, 720))
    paint(tmp_path / "b.png", {}, (1280, 720))
    found = BDD100K(write(tmp_path / "labels.json", json.dumps(labels)))
    result = validate(Reader(1), layout, found, device="cpu")
    assert result["accuracy"] == pytest.approx(0.5, abs=0.02)  # all of one image, none of the other
    assert 0.5 * 2 / 14 < result["iou"] < 0.5 * 2 / 4  # painted 6 pixels wide, true lanes are 2
    assert result["images"] == 2


def test_negatives_validate(tmp_path: Path, plain: LaneLayout) -> None:
    for index in range(20):  # more than are read at once
        lanes = {17: PAINTED, 19: {1: PAINTED[1]}}.get(index, {})
        paint(tmp_path / f"{index:02d}.png", lanes)
    result = validate(Reader(4), plain, Negatives(tmp_path), device="cpu")
    assert result == {"false_images": 0.1, "false_lanes": 0.15, "images": 20}


# --- real files


@pytest.mark.parametrize(
    ("kind", "path", "count"),
    [
        ("tusimple", "tusimple/label_data_0313_val.json", 34),
        ("tusimple", "tusimple/label_data_0601_val.json", 6),
        ("culane", "culane/list/night.txt", 10),
        ("negatives", "roads_unlabelled", 288),
    ],
)
def test_real_data_sets(data: Path, kind: str, path: str, count: int) -> None:
    found = open_dataset(kind, data / path)
    assert len(found) == count
    samples: list[LabelledImage] = [found[0], found[count - 1]]
    for sample in samples:
        assert sample.image.shape[1] == 640 and sample.image.mean() > 5
        assert (len(sample.lanes) >= 2) == (kind != "negatives")


@pytest.mark.parametrize("name", ["8.yaml", "9.yaml", "10.yaml", "11.yaml"])
def test_shipped_run_learns_nothing_that_it_is_measured_on(
    data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    """By the files' bytes, as sets may hold the same picture under two names."""
    configs = Path(training.__file__).parent / "configs" / "shipped"
    config, held_out = (read_config(configs / of) for of in (name, "held_out.yaml"))
    (tmp_path / "data").symlink_to(data)
    (tmp_path / "training").symlink_to(configs.parents[1])
    monkeypatch.chdir(tmp_path)

    def images(sources: tuple[Source, ...]) -> dict[str, Path]:
        found: list[Path] = []
        for source in sources:
            if "scenes" in str(source.path):
                continue
            dataset = source.open()
            if isinstance(dataset, PolylineImages):
                found += [dataset.root / record.image for record in dataset.records]
            elif isinstance(dataset, TuSimple):
                found += [path for path, _ in dataset.records]
            elif isinstance(dataset, Negatives):
                found += dataset.images
        return {hashlib.md5(path.read_bytes()).hexdigest(): path for path in found}

    learnt, measured = images(config.data), images(config.validation + held_out.validation)
    assert len(learnt) > 800 and len(measured) > 300
    assert not {(learnt[key], measured[key]) for key in learnt.keys() & measured.keys()}
    assert not any("culane_val" in path.parts for path in learnt.values())
