"""`lane_sad benchmark --live`: the node measured through DDS."""

import json
from pathlib import Path

import pytest

from lane_sad_ros.cli import main


def test_the_node_is_measured_from_publishing_to_lanes(tiny_weights, tmp_path, capsys) -> None:
    out = tmp_path / "live.json"
    arguments = ["--live", "10", "--seconds", "1", "--engine", "eager", "--device", "cpu"]
    assert (
        main(["benchmark", *arguments, "--weights", str(tiny_weights), "--json", str(out)]) == 0
    ), capsys.readouterr().err
    found = json.loads(out.read_text())["eager"]
    assert found["sent"] == 10
    assert 1 <= found["answered"] <= 10
    assert 0 < found["ms"]["median"] <= found["ms"]["p90"]
    assert found["cpu_ms"] > 0
    assert 50 < found["memory_mb"] < 2000
    assert "eager" in capsys.readouterr().out


def test_a_node_that_ends_is_told(tmp_path: Path, capsys) -> None:
    missing = tmp_path / "missing.safetensors"
    assert main(["benchmark", "--live", "10", "--weights", str(missing)]) == 1
    assert "missing.safetensors" in capsys.readouterr().err


def test_what_does_not_go_with_live_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["benchmark", "--live", "10", "--plot", "a.png"])
    assert "--live goes with neither --plot, --input nor --batch" in capsys.readouterr().err
