"""The rates of training, measured on a few rendered scenes at a tiny size."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from benchmark import training_rate
from training.datasets.synthetic import write_scenes


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rate")
    labels = write_scenes(folder / "scenes", count=2, seed=1)
    values = {
        "crop": [0, 160, 1280, 720],
        "input_size": [64, 32],
        "data": [{"path": str(labels)}],
        "distillation": {"start": 1000},
        "workers": 0,
        "device": "cpu",
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_each_stage_of_each_batch_has_a_rate(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rates.json"
    words = ["--batch", "2", "4", "--seconds", "0.05", "--json", str(out), "cache=device"]
    assert training_rate.main([str(config), *words]) == 0
    rates = json.loads(out.read_text())["rates"]
    assert [rate["batch"] for rate in rates] == [2, 4]
    for rate in rates:
        assert all(rate[stage] > 0 for stage in ("draw", "change", "step", "fit"))
    assert "batch 4: draw" in capsys.readouterr().out


def test_the_whole_loss_is_in_the_step(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()
    learn = training_rate.Learner.learn

    def noted(*args, **kwargs):
        terms = learn(*args, **kwargs)
        seen.update(terms)
        return terms

    monkeypatch.setattr(training_rate.Learner, "learn", noted)
    assert training_rate.main([str(config), "batch=2", "--seconds", "0"]) == 0
    assert {"segmentation", "iou", "existence", "distillation"} <= seen


def test_what_is_wrong_is_said(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert training_rate.main([str(config), "data=[{path: /nowhere.json}]"]) == 1
    assert "/nowhere.json" in capsys.readouterr().err


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_no_step_waits_for_the_gpu(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "rates.json"
    words = ["device=cuda", "cache=device", "precision=bfloat16", "--seconds", "1"]
    assert training_rate.main([str(config), *words, "--json", str(out)]) == 0
    (rate,) = json.loads(out.read_text())["rates"]
    assert rate["waits"] == 0
    assert 0 < rate["busy"] <= 1.05
