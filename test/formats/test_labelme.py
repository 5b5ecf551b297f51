"""Lanes that people correct in labelme."""

import json
from pathlib import Path

import numpy as np
import pytest

from lane_sad_ros.formats.labelme import CHECKED, read_annotation, write_annotation

LANES = [
    np.array([[10.25, 90.0], [20.5, 40.0]], np.float32),
    np.array([[70.0, 90.0, 1.0], [60.0, 60.0, 0.9], [55.0, 41.5, 0.8]], np.float32),
]


def test_lanes_come_back_as_they_were(tmp_path: Path) -> None:
    write_annotation(tmp_path / "a.json", "a.jpg", (128, 96), LANES)
    found = read_annotation(tmp_path / "a.json")
    assert not found.checked
    assert (found.polylines.image, found.polylines.size) == ("a.jpg", (128, 96))
    for lane, wanted in zip(found.polylines.lanes, LANES, strict=True):
        np.testing.assert_array_equal(lane, wanted[:, :2])


def test_what_a_person_changes_is_read(tmp_path: Path) -> None:
    write_annotation(tmp_path / "a.json", "a.jpg", (128, 96), LANES)
    record = json.loads((tmp_path / "a.json").read_text())
    record["flags"][CHECKED] = True
    record["shapes"] = [{"label": "x", "points": [[1, 2], [3, 4]], "shape_type": "line"}]
    (tmp_path / "a.json").write_text(json.dumps(record))
    found = read_annotation(tmp_path / "a.json")
    assert found.checked
    assert [lane.tolist() for lane in found.polylines.lanes] == [[[1, 2], [3, 4]]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shapes": [{"points": [[1, 2], [3, 4]], "shape_type": "polygon"}]}, "polygon.*linestrip"),
        ({"shapes": [{"points": [[1, 2]], "shape_type": "linestrip"}]}, "two points"),
        ({"shapes": [{"points": [[1, float("nan")]] * 2, "shape_type": "line"}]}, "two points"),
        ({"shapes": 3}, "not a labelme file"),
        ({"imageWidth": None}, "not a labelme file"),
    ],
)
def test_other_shapes_are_refused_in_words(tmp_path: Path, change: dict, words: str) -> None:
    write_annotation(tmp_path / "a.json", "a.jpg", (128, 96), LANES)
    record = json.loads((tmp_path / "a.json").read_text()) | change
    (tmp_path / "a.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=rf"a\.json: .*{words}"):
        read_annotation(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(ValueError, match=r"a\.json: not JSON .*a labelme file"):
        read_annotation(tmp_path / "a.json")
