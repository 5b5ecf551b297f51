"""The short forms of the faults and of the long run, over real DDS with a network of no size."""

from __future__ import annotations

import pytest

pytest.importorskip("harness", exc_type=ImportError)

from benchmark import faults, soak


def test_the_node_lives_with_the_short_faults(make_weights, capsys):
    assert faults.main(["--short", "--weights", str(make_weights())]) == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    assert len(rows) == sum(fault.short for fault in faults.FAULTS)
    assert all(row.endswith("| pass |") for row in rows)


def test_a_run_looks_at_the_process(make_weights, capsys):
    options = ["--duration", "4", "--parts", "2", "--rate", "5", "--weights", str(make_weights())]
    soak.main(options)
    rows = capsys.readouterr().out.splitlines()[2:4]
    assert all("MiB" in row for row in rows)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        ({"memory": 110.0}, "memory grew by 10.0%"),
        ({"handles": 33}, "33 handles instead of 30"),
        ({"threads": 14}, "14 threads instead of 10"),
    ],
)
def test_what_grows_is_told(changes, said):
    first = soak.Stretch(10.0, 0.03, soak.Usage(100.0, 30, 10))
    look = soak.Usage(**{"memory": 101.0, "handles": 31, "threads": 10, **changes})
    problems = soak.problems(first, soak.Stretch(9.9, 0.03, look))
    assert problems == ([said] if said else [])


def test_a_rate_that_falls_is_told():
    look = soak.Usage(100.0, 30, 10)
    first, last = soak.Stretch(10.0, 0.03, look), soak.Stretch(8.0, 0.03, look)
    assert soak.problems(first, last) == ["8.00 lanes/s instead of 10.00"]
