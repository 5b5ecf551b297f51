"""The reports of the benchmarks that are scored from files, by their commands."""

import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from report_page import Page

from lane_sad_ros.cli import main
from lane_sad_ros.evaluation import culane
from lane_sad_ros.pictures.comparison import draw_masks
from lane_sad_ros.reports.benchmarks import CulaneImage, worst_of_culane

HOSTILE = "<script>&\"'.jpg"
GREEN = (0, 200, 0)


def run(*arguments: object) -> int:
    return main(["evaluate", *map(str, arguments)])


def report_of(path: Path) -> tuple[Page, dict[str, Any]]:
    page = Page(path.read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert all(source.startswith("data:image/jpeg;") for source in page.sources)
    return page, json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))


def upright(u: float) -> str:
    return " ".join(f"{u} {v}" for v in range(300, 590, 20)) + "\n"


def culane_files(folder: Path) -> list[object]:
    """Two categories: one image right, one with a lane missed and a false one, a crossroad."""
    lanes = {
        "truth/a.lines.txt": upright(500) + upright(900),
        "pred/a.lines.txt": upright(503) + upright(900),
        "truth/<script>&\"'.lines.txt": upright(500) + upright(900),
        "pred/<script>&\"'.lines.txt": upright(500) + upright(700),
        "truth/c.lines.txt": "",
        "pred/c.lines.txt": upright(800),
    }
    lists = {"test0_normal": f"/a.jpg\n/{HOSTILE}\n", "test8_cross": "/c.jpg\n"}
    for name, text in lanes.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    (folder / "lists").mkdir()
    for name, text in lists.items():
        (folder / f"lists/{name}.txt").write_text(text)
    cv2.imwrite(str(folder / "truth" / HOSTILE), np.full((590, 1640, 3), GREEN, np.uint8))
    where = ["--truth", folder / "truth", "--predictions", folder / "pred", "--jobs", 1]
    return ["culane", *where, "--categories", folder / "lists"]


def test_culane_categories_stand_beside_the_paper(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    assert run(*culane_files(tmp_path), "--report", path) == 0
    page, numbers = report_of(path)
    normal = numbers["categories"]["normal"]
    assert (normal["tp"], normal["fp"], normal["fn"], normal["images"]) == (3, 1, 1, 2)
    assert numbers["categories"]["cross"]["fp"] == 1
    row = "normal {0:.2f} % 90.1 % {1:.2f} % {2:.2f} % 3 1 1 2"
    shares = (100 * normal[name] for name in ("f1", "precision", "recall"))
    assert row.format(*shares) in page.text
    assert "cross 1 FP 1995 FP" in page.text
    assert f"{100 * numbers['f1']:.2f} %" in page.text
    text = path.read_text(encoding="utf-8")
    bars = re.findall(r'width="([\d.]+)%" height="12"><title>(\w+)', text)
    assert (f"{100 * normal['f1']:g}", "normal") in bars
    assert re.findall(r'class="line-reference" x1="([\d.]+)%"', text) == ["90.1", "70.8"]


def test_culane_draws_the_worst_images_that_are_there(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    assert run(*culane_files(tmp_path), "--report", path) == 0
    page, numbers = report_of(path)
    assert [image["name"] for image in numbers["worst"]] == [HOSTILE, "c.jpg"]
    assert f"{HOSTILE} (normal): 1 found, 1 missed, 1 false" in page.text
    first, second = page.images
    assert np.abs(first[5, 5].astype(int) - GREEN).max() < 12
    assert np.abs(second[5, 5].astype(int) - 48).max() < 12  # no such image


def test_an_image_of_two_categories_is_shown_once() -> None:
    counts = [culane.Counts(1, 0, 1), culane.Counts(0, 2, 0), culane.Counts(4, 0, 0)]
    scored = [
        CulaneImage("normal", "a", counts[0]),
        CulaneImage("night", "b", counts[1]),
        CulaneImage("night", "a", counts[0]),
        CulaneImage("night", "c", counts[2]),
    ]
    assert worst_of_culane(scored, 8) == [scored[1], scored[0]]
    assert worst_of_culane(scored, 1) == [scored[1]]


def tusimple_files(folder: Path, **changes: Any) -> list[object]:
    rows = list(range(160, 720, 10))
    lanes = [[500] * len(rows), [800] * len(rows)]
    truth = [{"raw_file": name, "lanes": lanes, "h_samples": rows} for name in ("a.jpg", HOSTILE)]
    found = [
        {"raw_file": "a.jpg", "lanes": lanes, "run_time": 10},
        {"raw_file": HOSTILE, "lanes": [lanes[0], [700] * len(rows)], "run_time": 10, **changes},
    ]
    for name, records in (("truth", truth), ("found", found)):
        (folder / f"{name}.json").write_text("\n".join(map(json.dumps, records)))
    return ["tusimple", "--truth", folder / "truth.json", "--predictions", folder / "found.json"]


def test_tusimple_says_how_the_images_differ(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    assert run(*tusimple_files(tmp_path), "--report", path) == 0
    page, numbers = report_of(path)
    assert (numbers["accuracy"], numbers["fp"], numbers["fn"]) == (0.75, 0.25, 0.25)
    assert "accuracy 75.00 % 96.64 %" in page.text and "FP 0.2500 0.0602" in page.text
    filled = {
        entry["from"]: entry["images"] for entry in numbers["distribution"] if entry["images"]
    }
    assert filled == {0.5: 1, 0.95: 1}
    assert [image["name"] for image in numbers["worst"]] == [HOSTILE, "a.jpg"]
    assert f"{HOSTILE}: accuracy 50.0 %, FP 0.5000, FN 0.5000" in page.text
    assert "All 2 images have truth and a prediction." in page.text


def test_tusimple_tells_why_an_image_failed(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    assert run(*tusimple_files(tmp_path, run_time=201), "--report", path) == 0
    assert "failed for its run time of 201 ms" in report_of(path)[0].text


def test_tusimple_says_what_is_missing(tmp_path: Path) -> None:
    arguments = tusimple_files(tmp_path)
    found = tmp_path / "found.json"
    found.write_text(found.read_text().split("\n")[0])
    path = tmp_path / "report.html"
    assert run(*arguments, "--absent-as-empty", "--report", path) == 0
    page, numbers = report_of(path)
    assert "1 images have no prediction" in page.text and numbers["absent_predictions"] == 1
    assert "All 2 images" not in page.text


def bdd100k_files(folder: Path) -> list[object]:
    mask = np.zeros((72, 128), np.uint8)
    for name in ("truth", "found", "images"):
        (folder / name).mkdir()
    for name, shift in (("a.png", 0), ("<b>.png", 1), ("none.png", 0)):
        truth = mask.copy()
        if name != "none.png":
            truth[:, 60:62] = 255
        cv2.imwrite(str(folder / "truth" / name), truth)
        cv2.imwrite(str(folder / "found" / name), np.roll(truth, shift, axis=1))
    cv2.imwrite(str(folder / "images" / "<b>.jpg"), np.full((72, 128, 3), GREEN, np.uint8))
    where = ["--truth", folder / "truth", "--predictions", folder / "found", "--jobs", 1]
    return ["bdd100k", *where, "--images", folder / "images"]


def test_bdd100k_draws_the_images_of_least_iou(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    assert run(*bdd100k_files(tmp_path), "--report", path) == 0
    page, numbers = report_of(path)
    assert numbers["accuracy"] == pytest.approx(0.5) and numbers["iou"] == pytest.approx(4 / 9)
    assert "accuracy 50.00 % 36.56 %" in page.text and "IoU 44.44 % 16.02 %" in page.text
    # The one without lanes has 0 as well, and nothing to look at.
    assert [image["name"] for image in numbers["worst"]] == ["<b>.png", "a.png"]
    assert "<b>.png: accuracy 50.0 %, IoU 33.3 %" in page.text
    assert np.abs(page.images[0][5, 5].astype(int) - GREEN).max() < 12


def test_mask_colours_say_what_was_found() -> None:
    truth, found = np.zeros((2, 10, 20), bool)
    truth[:, 4:6] = True
    found[:, 5:7] = True
    drawn = draw_masks(np.full((20, 40, 3), 90, np.uint8), truth, found)
    colours = [tuple(drawn[10, 2 * column]) for column in (3, 4, 5, 6)]
    assert colours[0] == (90, 90, 90)
    assert len(set(colours)) == 4


@pytest.mark.parametrize("files", [culane_files, tusimple_files, bdd100k_files])
def test_wrong_use_of_the_report(tmp_path: Path, capsys: Any, files: Any) -> None:
    arguments = files(tmp_path)
    same = tmp_path / "a.html", tmp_path / "a.json"
    for options, words in (
        (["--report", tmp_path / "a.pdf"], "ends in .html"),
        (["--report", same[0], "--json", same[1]], "the report writes its numbers there"),
    ):
        with pytest.raises(SystemExit) as end:
            run(*arguments, *options)
        assert end.value.code == 2
        assert words in capsys.readouterr().err


@pytest.mark.parametrize("files", [culane_files, tusimple_files, bdd100k_files])
def test_same_files_give_the_same_report(tmp_path: Path, files: Any) -> None:
    arguments = files(tmp_path)
    written = []
    for _ in range(2):
        assert run(*arguments, "--report", tmp_path / "report.html") == 0
        kinds = ("html", "json")
        written.append([(tmp_path / f"report.{kind}").read_bytes() for kind in kinds])
    assert written[0] == written[1]
