"""The report: a page that needs nothing else, with the numbers of the JSON beside it."""

import dataclasses
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from report_page import Page

from lane_sad_ros.evaluation.replay import Replay, ReplayFrame
from lane_sad_ros.evaluation.scores import score
from lane_sad_ros.lanes import Lane, Lanes
from lane_sad_ros.pictures.comparison import draw_comparison
from lane_sad_ros.reports.charts import Axis, Part, Plot, bar
from lane_sad_ros.reports.drive_report import worst_frames, write_report
from lane_sad_ros.reports.page import WORST, check_report_path

SIZE = (320, 180)
SLOTS = ("left_1", "right_1")


def lanes(*us: float | None) -> Lanes:
    found = []
    for slot, u in enumerate(us):
        vs = np.arange(175, 60, -5, dtype=np.float32)
        points = np.stack([np.full_like(vs, u or 0), vs, np.ones_like(vs)], axis=1)
        found.append(Lane(slot, u is not None, 0.9, points if u is not None else points[:0]))
    return Lanes(SIZE, tuple(found))


BOTH = lanes(100, 220)


def replay(
    pairs: Sequence[tuple[Lanes | None, Lanes | None]],
    latencies: Sequence[float | None] | None = None,
    **about: str,
) -> Replay:
    frames = tuple(
        ReplayFrame(
            index,
            index * 100_000_000,
            truth,
            found,
            latencies[index] if latencies else None,
            {"network": 0.02} if latencies else {},
        )
        for index, (truth, found) in enumerate(pairs)
    )
    return Replay(frames, "live, in real time", SLOTS, dict(about))


def written(folder: Path, played: Replay, title: str = "A drive") -> tuple[Page, dict[str, object]]:
    path = folder / "report.html"
    write_report(path, played, score(played), title=title)
    return Page(path.read_text(encoding="utf-8")), json.loads((folder / "report.json").read_text())


def test_page_needs_no_other_file(tmp_path: Path) -> None:
    played = replay([(BOTH, BOTH), (BOTH, lanes(100, None))], [0.02, 0.03])
    page, _ = written(tmp_path, played)
    assert page.sources and all(source.startswith("data:image/jpeg;") for source in page.sources)
    assert not {"script", "link", "iframe"} & set(page.tags)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "url(" not in text and "@import" not in text


def test_page_says_the_numbers_of_the_json(tmp_path: Path) -> None:
    pairs = [(BOTH, BOTH), (BOTH, lanes(100, None)), (BOTH, lanes(100, 300)), (BOTH, None)]
    page, numbers = written(tmp_path, replay(pairs, [0.021, 0.032, 0.153, None]))
    assert numbers["frames"] == {"all": 4, "with_truth": 4, "answered": 3, "dropped": 1}
    assert numbers["culane"]["tp"] == 4 and numbers["culane"]["fn"] == 4  # type: ignore[index]
    assert "1 of 4 frames were not answered" in page.text
    assert "1 answer came later than the next frame of the drive" in page.text  # 153 ms, 10 Hz
    assert "True lanes found 4 of 8 true ones; 4 missed, 1 false" in page.text
    assert "Frames answered 3 of 4; 1 not answered, 1 late" in page.text
    f1 = numbers["culane"]["f1"]  # type: ignore[index]
    assert f"{100 * f1:.1f} %" in page.text
    accuracy = numbers["tusimple"]["accuracy"]  # type: ignore[index]
    assert f"{100 * accuracy:.1f} %" in page.text
    assert f"{numbers['timing']['latency_ms']['99th']:.1f} ms" in page.text  # type: ignore[index]
    assert "96.64 %" in page.text and "70.8 %" in page.text  # the paper's row


def test_what_comes_from_outside_is_escaped(tmp_path: Path) -> None:
    hostile = "<script>alert('1')</script>&\"x"
    played = replay([(BOTH, BOTH)], [0.02], weights=hostile)
    page, numbers = written(tmp_path, played, title=hostile)
    assert "script" not in page.tags
    assert page.text.count("<script>alert('1')</script>&\"x") == 3  # title, heading, setting
    assert numbers["title"] == hostile


@pytest.mark.parametrize(
    "played",
    [
        replay([]),
        replay([(BOTH, BOTH)]),
        replay([(None, BOTH), (None, None)], [0.02, None]),
        replay([(BOTH, None), (BOTH, None)]),
        replay([(lanes(None, None), lanes(None, None))], [0.02]),
    ],
    ids=["no frame", "no time", "no truth", "no answer", "no lane"],
)
def test_whatever_is_missing_the_page_is_whole(tmp_path: Path, played: Replay) -> None:
    page, numbers = written(tmp_path, played)
    assert numbers["frames"]["all"] == len(played.frames)  # type: ignore[index]
    assert "nan" not in re.findall(r"[a-z]+", page.text.lower())


def test_a_deadline_is_told(tmp_path: Path) -> None:
    played = replay([(BOTH, BOTH)] * 2, [0.02, 0.04])
    page, _ = written(tmp_path, dataclasses.replace(played, deadline=0.03))
    assert "1 answer came more than 30.0 ms after its image." in page.text


def test_good_drive_is_said_to_be_good(tmp_path: Path) -> None:
    page, _ = written(tmp_path, replay([(BOTH, BOTH)] * 3, [0.02] * 3))
    assert "All 3 frames were answered, none late." in page.text


def test_same_replay_gives_the_same_files(tmp_path: Path) -> None:
    files = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        played = replay([(BOTH, lanes(103, 220)), (BOTH, lanes(100, None))], [0.02, 0.02])
        written(tmp_path / name, played)
        kinds = ("html", "json")
        files.append([(tmp_path / name / f"report.{kind}").read_bytes() for kind in kinds])
    assert files[0] == files[1]


def test_worst_frames_come_first_and_apart_from_each_other() -> None:
    pairs: list[tuple[Lanes, Lanes | None]] = [(BOTH, BOTH) for _ in range(60)]
    pairs[20] = pairs[21] = (BOTH, lanes(None, None))  # a tenth of a second apart
    pairs[40] = (BOTH, lanes(100, None))
    pairs[50] = (BOTH, None)  # not answered: nothing to show
    found = [frame.index for frame in worst_frames(score(replay(pairs)), WORST)]
    assert found[:2] == [20, 40]
    assert 21 not in found and 50 not in found and len(found) <= WORST


def test_a_report_ends_in_html(tmp_path: Path) -> None:
    played = replay([(BOTH, BOTH)])
    with pytest.raises(ValueError, match="HTML page"):
        write_report(tmp_path / "report.json", played, score(played), title="A drive")


def test_a_report_that_cannot_be_written_is_told_before(tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    (tmp_path / "a.html").mkdir()
    for path, reason in (("a file/new/b.html", "a file is no folder"), ("a.html", "is a folder")):
        with pytest.raises(ValueError, match=reason):
            check_report_path(tmp_path / path)
    assert check_report_path(tmp_path / "new" / "b.html") == tmp_path / "new" / "b.html"
    assert not (tmp_path / "new").exists()


def test_a_name_of_other_bytes_than_utf_8_is_shown_as_far_as_it_goes(tmp_path: Path) -> None:
    """As of a file that was written under another encoding."""
    named = os.fsdecode(b"dr\xe9ve.mcap")
    page, _ = written(tmp_path, replay([(BOTH, BOTH)], bag=named), title=f"Lanes of {named}")
    assert "Lanes of dr?ve.mcap" in page.text


def _numbers(attribute: str, text: str) -> list[float]:
    return [float(value) for value in re.findall(rf'\b{attribute}="([\d.]+)%?"', text)]


def test_bars_are_as_long_as_their_values() -> None:
    drawn = bar([Part(1.0, "fill-blue"), Part(3.0, "fill-red")], full=8.0)
    assert _numbers("x", drawn) == [0.0, 12.5]
    assert _numbers("width", drawn) == [12.5, 37.5]
    beyond = bar([Part(3.0, "fill-blue")], full=2.0, reference=1.0)
    assert _numbers("width", beyond) == [100.0] and _numbers("x1", beyond) == [50.0]


def test_marks_lie_where_their_values_are() -> None:
    plot = Plot(Axis("x", 0, 10), Axis("y", 0, 1), "all", height=200)
    plot.dot(2.5, 0.25, "fill-blue", "a dot")
    drawn = plot.drawn()
    assert _numbers("cx", drawn) == [25.0] and _numbers("cy", drawn) == [150.0]
    assert "<title>a dot</title>" in drawn


@pytest.mark.parametrize(("values", "high"), [([3.0, 41.0], 50), ([0.7], 0.8), ([], 1), ([0.0], 1)])
def test_axis_ends_at_a_round_number_above(values: list[float], high: float) -> None:
    axis = Axis.from_zero("ms", values)
    assert (axis.low, axis.high) == (0.0, pytest.approx(high))
    assert axis.ticks()[0] == 0 and axis.ticks()[-1] == pytest.approx(high)


def test_comparison_marks_what_is_missed_and_false() -> None:
    image = np.full((180, 320, 3), 90, np.uint8)
    plain = draw_comparison(image, BOTH, BOTH)
    marked = draw_comparison(image, BOTH, BOTH, missed={0}, false={1})
    assert (image == 90).all()
    red = (plain[..., 2] > 150) & (plain[..., 0] < 80) & (plain[..., 1] < 80)
    assert not red.any()
    red = (marked[..., 2] > 150) & (marked[..., 0] < 80) & (marked[..., 1] < 80)
    assert red[:, :160].any() and red[:, 160:].any()
