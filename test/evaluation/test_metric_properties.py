"""What holds of the official metrics for any lanes, and where their odd rules end it."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lane_sad_ros.evaluation import bdd100k, culane, tusimple

quickly = settings(max_examples=60, deadline=None, derandomize=True, database=None)

# --- CULane, on small images to be quick

SIZE = (240, 90)
RULES = culane.Rules(image_size=SIZE, width=9)
EXACT = culane.Rules(image_size=SIZE, width=9, tolerance=culane.TOLERANCE_EXACT)


@st.composite
def lanes(draw, most: int = 4, left: int = 0, right: int = 160):
    """Up to `most` lanes from the bottom up, between columns `left` and `right`, often bent."""
    found = []
    for _ in range(draw(st.integers(1, most))):
        ends = [draw(st.integers(left, right)) for _ in range(3)]
        v = np.arange(88, draw(st.integers(10, 60)), -11)
        u = np.polyval(np.polyfit([88, 50, 10], ends, 2), v).clip(left, right)
        found.append(np.stack((u, v), axis=1).astype(np.float32))
    return found


@st.composite
def scenes(draw):
    """True lanes, and predictions that are some of them, shifted, in any order."""
    truth = draw(lanes())
    offsets = st.integers(-8, 8)
    prediction = [lane + np.float32([draw(offsets), 0]) for lane in truth if draw(st.booleans())]
    prediction += draw(st.one_of(st.just([]), lanes(most=2)))
    return truth, draw(st.permutations(prediction))


def decided(truth, prediction, tolerance: float) -> bool:
    """Whether every matching within the tolerance of the best has the same number of pairs found.

    The official matching may lose `tolerance` for each pair against the best.
    """
    ious = culane.lane_ious(truth, prediction, SIZE, RULES.width)
    ious = ious if ious.shape[0] <= ious.shape[1] else ious.T
    rows = range(len(ious))
    weights: dict[int, float] = {}
    for columns in permutations(range(ious.shape[1]), len(ious)):
        chosen = ious[rows, columns]
        count = int((chosen > RULES.iou).sum())
        weights[count] = max(weights.get(count, 0.0), float(chosen.sum()))
    best = max(weights.values())
    return sum(best - weight <= tolerance * len(ious) + 1e-9 for weight in weights.values()) == 1


@quickly
@given(truth=lanes(most=6), data=st.data())
def test_culane_perfect_prediction(truth, data) -> None:
    prediction = data.draw(st.permutations(truth))
    for rules in (RULES, EXACT):
        counts = culane.score(truth, prediction, rules)
        assert (counts.precision, counts.recall, counts.f1) == (1.0, 1.0, 1.0)


@quickly
@given(scene=scenes(), data=st.data())
def test_culane_order_of_lanes_does_not_matter_outside_the_tolerance(scene, data) -> None:
    truth, prediction = scene
    assume(prediction)
    other = data.draw(st.permutations(truth)), data.draw(st.permutations(prediction))
    for rules in (RULES, EXACT):
        if decided(truth, prediction, rules.tolerance):
            assert culane.score(*other, rules) == culane.score(truth, prediction, rules)


@quickly
@given(scene=scenes(), far=lanes(most=1, left=190, right=230), data=st.data())
def test_culane_far_off_lane_never_helps_outside_the_tolerance(scene, far, data) -> None:
    truth, prediction = scene
    more = [*prediction]
    more.insert(data.draw(st.integers(0, len(prediction))), far[0])
    assert not culane.lane_ious(truth, far, SIZE, RULES.width).any()
    for rules in (RULES, EXACT):
        if not prediction or decided(truth, prediction, rules.tolerance):
            before, after = culane.score(truth, prediction, rules), culane.score(truth, more, rules)
            assert after == before + culane.Counts(0, 1, 0)
            assert after.f1 <= max(before.f1, 0.0)


# --- TuSimple

ROWS = list(range(240, 720, 20))


@st.composite
def columns(draw, most: int = 5):
    """Up to `most` lanes as lists of u, the upper rows of each without a point."""
    found = []
    for _ in range(draw(st.integers(1, most))):
        bottom, slope = draw(st.integers(200, 1000)), draw(st.integers(-10, 10)) / 10
        first = draw(st.integers(0, len(ROWS) - 2))
        lane = [max(bottom + slope * (row - 700), 0.0) for row in ROWS]
        found.append([-2.0] * first + lane[first:])
    return found


def figures(truth, prediction) -> tuple[float, float, float]:
    return tusimple.score(
        {"lanes": truth, "h_samples": ROWS}, {"lanes": prediction, "run_time": 1.0}
    )


@quickly
@given(truth=columns(), data=st.data())
def test_tusimple_perfect_prediction_of_up_to_five_lanes(truth, data) -> None:
    assert figures(truth, data.draw(st.permutations(truth))) == (1.0, 0.0, 0.0)


def test_tusimple_perfect_prediction_of_six_lanes_is_more_than_perfect() -> None:
    six = [[100.0 * (index + 1)] * len(ROWS) for index in range(6)]
    # The official script leaves out one lane of the sum, and divides by four all the same.
    assert figures(six, six) == (1.25, 0.0, 0.0)


@quickly
@given(truth=columns(), prediction=columns(most=6), data=st.data())
def test_tusimple_order_of_lanes_does_not_matter(truth, prediction, data) -> None:
    other = data.draw(st.permutations(truth)), data.draw(st.permutations(prediction))
    assert figures(*other) == pytest.approx(figures(truth, prediction))


@quickly
@given(truth=columns(), prediction=st.one_of(st.just([]), columns(most=6)))
def test_tusimple_far_off_lane_never_helps_where_it_has_a_point_in_each_row(
    truth, prediction
) -> None:
    far = [9000.0] * len(ROWS)
    before, after = figures(truth, prediction), figures(truth, [*prediction, far])
    if len(prediction) == len(truth) + tusimple.EXTRA_LANES:
        assert after == (0.0, 0.0, 1.0)  # one lane too many: the FP rate becomes 0, all else worst
    else:
        assert after[0] == before[0]
        assert after[1] >= before[1]
        assert after[2] == before[2]


def test_tusimple_far_off_lane_helps_where_it_and_the_truth_have_no_point() -> None:
    short = [-2.0] * (len(ROWS) - 3) + [600.0] * 3
    far = [-2.0] * (len(ROWS) - 1) + [9000.0]
    assert figures([short], [])[0] == 0.0
    assert figures([short], [far])[0] == (len(ROWS) - 3) / len(ROWS)


# --- BDD100K

masks = st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=4, max_size=4).map(
    np.array
)


@quickly
@given(truth=masks)
def test_bdd100k_perfect_prediction(truth) -> None:
    assert bdd100k.score(truth, truth) == ((1.0, 1.0) if truth.any() else (0.0, 0.0))


@quickly
@given(truth=masks, prediction=masks, extra=masks)
def test_bdd100k_lane_where_none_is_never_helps(truth, prediction, extra) -> None:
    before = bdd100k.score(truth, prediction)
    after = bdd100k.score(truth, prediction | (extra & ~truth))
    assert after[0] == before[0]  # accuracy is a recall
    assert after[1] <= before[1]
