"""How well the lanes of a drive were found: the figures over its frames."""

import dataclasses
import json
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from lane_sad_ros.evaluation import culane, tusimple
from lane_sad_ros.evaluation.culane import Counts
from lane_sad_ros.evaluation.replay import Replay, ReplayFrame
from lane_sad_ros.evaluation.scores import Scores, score
from lane_sad_ros.formats import tusimple as tusimple_files
from lane_sad_ros.lanes import Lane, Lanes

SIZE = (1280, 720)
SLOTS = ("left_1", "right_1")
LEFT, RIGHT = 400.0, 900.0


def lane(slot: int, u: float | None, probability: float = 0.9, lean: float = 0.0) -> Lane:
    """An upright lane, `lean` pixels along a row for each row."""
    if u is None:
        return Lane(slot, False, 0.1, np.zeros((0, 3), np.float32))
    vs = np.arange(710, 250, -10, dtype=np.float32)
    points = np.stack([u + lean * (vs - 710), vs, np.ones_like(vs)], axis=1).astype(np.float32)
    return Lane(slot, True, probability, points)


def lanes(*us: float | None, probability: float = 0.9) -> Lanes:
    return Lanes(SIZE, tuple(lane(slot, u, probability) for slot, u in enumerate(us)))


def replay(*pairs: tuple[Lanes | None, Lanes | None], latency: Sequence[float] = ()) -> Replay:
    frames = tuple(
        ReplayFrame(
            index,
            index * 50_000_000,
            truth,
            prediction,
            latency[index] if latency else None,
            {"network": latency[index]} if latency else {},
        )
        for index, (truth, prediction) in enumerate(pairs)
    )
    return Replay(frames, "offline", SLOTS, notes=("A note of the replay.",))


BOTH = lanes(LEFT, RIGHT)


def test_all_found_is_perfect() -> None:
    scores = score(replay((BOTH, BOTH), (BOTH, BOTH)))
    assert scores.tusimple == tusimple.Result(1.0, 0.0, 0.0, 2)
    assert scores.culane == Counts(4, 0, 0)
    assert [(slot.name, slot.counts, slot.error) for slot in scores.slots] == [
        ("left_1", Counts(2, 0, 0), 0.0),
        ("right_1", Counts(2, 0, 0), 0.0),
    ]
    assert [frame.overlap for frame in scores.per_frame] == [1.0, 1.0]


def test_figures_are_those_of_the_official_metrics() -> None:
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(12):
        truth = lanes(*rng.uniform(100, 1100, 2))
        shifted = (lane(slot, float(true.points[0, 0] + rng.normal(0, 15)), lean=0.02)
                   for slot, true in enumerate(truth))  # fmt: skip
        pairs.append((truth, Lanes(SIZE, tuple(shifted))))
    scores = score(replay(*pairs))
    rows = list(range(160, 720, 10))

    def columns(of: Lanes) -> list[list[float]]:
        result: list[list[float]] = tusimple_files.to_record(of, "", rows, 0.0)["lanes"]
        return result

    expected = [
        tusimple.score(
            {"lanes": columns(truth), "h_samples": rows},
            {"lanes": columns(found), "run_time": 0.0},
        )
        for truth, found in pairs
    ]
    assert scores.tusimple is not None
    figures = (scores.tusimple.accuracy, scores.tusimple.fp, scores.tusimple.fn)
    assert figures == pytest.approx(np.mean(expected, axis=0))
    counts = sum(
        (
            culane.score(*([one.points[:, :2] for one in of.scaled_to((1640, 590))] for of in pair))
            for pair in pairs
        ),
        Counts(0, 0, 0),
    )
    assert scores.culane == counts
    assert 0 < counts.tp < 24  # neither all nor none, or the comparison says little


def test_a_frame_that_was_not_answered_counts_as_one_without_lanes() -> None:
    scores = score(replay((BOTH, BOTH), (BOTH, None)))
    assert scores.tusimple == tusimple.Result(0.5, 0.0, 0.5, 2, absent=1)
    assert scores.culane == Counts(2, 0, 2)
    assert (scores.frames.answered, scores.frames.dropped) == (1, 1)
    assert [frame.answered for frame in scores.per_frame] == [True, False]
    assert any(note.startswith("1 frames with truth were not answered") for note in scores.notes)


def test_frames_without_truth_count_in_time_alone() -> None:
    scores = score(replay((None, lanes(1, 2)), (None, None), (BOTH, BOTH), latency=(0.1, 0.2, 0.3)))
    assert scores.culane == Counts(2, 0, 0)
    assert (scores.frames.all, scores.frames.with_truth) == (3, 1)
    assert scores.timing.max == 0.3
    assert [frame.index for frame in scores.per_frame] == [2]
    assert any(note.startswith("2 of 3 frames have no truth") for note in scores.notes)


def test_a_drive_without_truth_has_figures_of_time_alone() -> None:
    scores = score(replay((None, BOTH), latency=(0.1,)))
    assert scores.tusimple is None and scores.culane == Counts(0, 0, 0)
    assert scores.as_dict()["tusimple"] is None
    assert any("No frame has true lanes" in note for note in scores.notes)


def test_answers_in_pixels_of_another_size_are_scaled() -> None:
    half = BOTH.scaled_to((640, 360))
    scores = score(replay((BOTH, half), (half, BOTH), (BOTH, BOTH)))
    assert scores.culane == Counts(6, 0, 0)
    assert scores.tusimple == tusimple.Result(1.0, 0.0, 0.0, 3)
    assert scores.slots[0].error == pytest.approx(0.0, abs=0.02)
    assert any(note.startswith("2 frames were answered in pixels") for note in scores.notes)
    assert any("640x360, 1280x720" in note for note in scores.notes)


def test_slots_tell_a_lane_in_the_wrong_slot_from_a_shifted_one() -> None:
    swapped = Lanes(SIZE, (lane(0, None), lane(1, LEFT)))
    shifted = lanes(LEFT + 4, RIGHT)
    scores = score(replay((BOTH, swapped), (BOTH, shifted)))
    left, right = scores.slots
    # The lane of the wrong slot is a lane found to CULane, and a wrong one to the slots.
    assert scores.culane == Counts(3, 0, 1)
    assert (left.counts, right.counts) == (Counts(1, 0, 1), Counts(1, 1, 1))
    assert left.error == pytest.approx(4, abs=0.02) and right.error == 0


def test_a_true_lane_without_a_slot_counts_in_all_but_the_slots() -> None:
    more = Lanes(SIZE, (*BOTH, lane(2, 100.0)))
    scores = score(replay((more, BOTH)))
    assert scores.culane == Counts(2, 0, 1)
    assert [slot.counts for slot in scores.slots] == [Counts(1, 0, 0)] * 2


def test_true_lanes_without_a_point_count_as_each_metric_has_them() -> None:
    empty = Lane(2, True, 1.0, np.zeros((0, 3), np.float32))
    scores = score(replay((Lanes(SIZE, (*BOTH, empty)), BOTH)))
    assert scores.tusimple is not None and scores.tusimple.fn == pytest.approx(1 / 3)
    assert scores.culane == Counts(2, 0, 0)
    assert any("1 true lanes have no point" in note for note in scores.notes)


def test_a_probability_meets_a_threshold_as_the_float32_that_messages_carry() -> None:
    sent = lanes(LEFT, RIGHT, probability=float(np.float32(0.9)))  # just below 0.9
    assert score(replay((BOTH, sent))).by_probability == score(replay((BOTH, BOTH))).by_probability


def test_thresholds_of_iou_and_probability() -> None:
    # 8 pixels of 1640 off: the IoU lies between 0.5 and 0.7.
    near = Lanes(SIZE, (lane(0, LEFT + 6.2, 0.95), lane(1, RIGHT + 300, 0.6)))
    scores = score(replay((BOTH, near)))
    at_iou = {entry.threshold: entry.counts for entry in scores.by_iou}
    assert at_iou[0.5] == scores.culane == Counts(1, 1, 1)
    assert at_iou[0.1] == Counts(1, 1, 1) and at_iou[0.9] == Counts(0, 2, 2)
    at_probability = {entry.threshold: entry.counts for entry in scores.by_probability}
    assert at_probability[0.5] == Counts(1, 1, 1)
    assert at_probability[0.7] == Counts(1, 0, 1)
    assert at_probability[0.99] == Counts(0, 0, 2)


def test_the_rows_are_told_however_few() -> None:
    for first, told in ((710, "the rows 710 there"), (700, "700, 710 there"), (160, "710 there")):
        assert told in " ".join(score(replay((BOTH, BOTH)), first).notes)


def test_the_worst_frames_come_first() -> None:
    empty = lanes(None, None)
    extra = Lanes(SIZE, (lane(0, LEFT), lane(1, RIGHT), lane(0, 100.0)))
    scores = score(
        replay(
            (BOTH, BOTH),
            (BOTH, lanes(LEFT + 5, RIGHT)),
            (BOTH, lanes(LEFT, None)),
            (BOTH, None),
            (empty, empty),
            (BOTH, extra),
        )
    )
    assert [frame.index for frame in scores.worst(4)] == [3, 2, 5, 1]
    assert scores.per_frame[4].overlap == 1.0


def test_time() -> None:
    seconds = tuple(0.001 * number for number in range(1, 101))
    timing = score(replay(*[(None, BOTH)] * 100, latency=seconds)).timing
    assert (timing.median, timing.p90, timing.p99, timing.max) == pytest.approx(
        (0.0505, 0.0901, 0.09901, 0.1)
    )
    # Frames are 50 ms apart; the last one has no next frame to be late for.
    assert timing.late == 49
    drive = replay(*[(None, BOTH)] * 100, latency=seconds)
    assert score(dataclasses.replace(drive, deadline=0.0905)).timing.late == 10
    assert score(dataclasses.replace(drive, rate=2.0)).timing.late == 74
    assert timing.stages["network"] == pytest.approx((0.0505, 0.09901))


def test_figures_are_json_and_keep_time_apart() -> None:
    def text(latency: Sequence[float]) -> str:
        figures = score(replay((BOTH, BOTH), (BOTH, None), latency=latency)).as_dict()
        assert figures.pop("timing")["latency_ms"]["max"] == pytest.approx(1000 * max(latency))
        return json.dumps(figures, allow_nan=False)

    assert text((0.1, 0.2)) == text((0.3, 0.4))
    figures = json.loads(text((0.1, 0.2)))
    assert figures["tusimple"] == {"accuracy": 0.5, "fp": 0.0, "fn": 0.5}
    assert figures["culane"] == {
        "tp": 2, "fp": 0, "fn": 2, "precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3),
    }  # fmt: skip


@pytest.mark.parametrize("build", [lambda: replay(), lambda: replay((lanes(), lanes()))])
def test_nothing_at_all_is_scored_too(build: Callable[[], Replay]) -> None:
    scores: Scores = score(build())
    assert scores.culane == Counts(0, 0, 0)
    json.dumps(scores.as_dict(), allow_nan=False)
