"""The first trainer: losses, configuration, a whole small run."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import training.fit
from lane_sad_ros.lanes import TUSIMPLE
from lane_sad_ros.network.weights import load, load_network
from training.__main__ import main
from training.datasets.synthetic import write_scenes
from training.datasets.tusimple import TuSimple
from training.fit import Config, fit, read_config
from training.objective import Objective, soft_iou_loss

# --- objective


def test_iou_is_the_papers_over_every_lane() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 6, 8, generator=generator, dtype=torch.float64)
    target = torch.randint(0, 4, (2, 6, 8), generator=generator)
    target[target == 3] = 0  # a lane that is nowhere does not count
    p = logits.softmax(1)
    losses = []
    for lane in (1, 2):
        overlap = sum(float(p[b, lane][target[b] == lane].sum()) for b in (0, 1))
        predicted, truth = float(p[:, lane].sum()), int((target == lane).sum())
        losses.append(1 - overlap / (predicted + truth - overlap))
    assert float(soft_iou_loss(p, target)) == pytest.approx(np.mean(losses), abs=1e-12)


def test_every_lane_is_trained_by_the_iou() -> None:
    logits = torch.zeros(1, 4, 4, 4, requires_grad=True)
    target = torch.arange(4).repeat(4, 1)[None]
    soft_iou_loss(logits.softmax(1), target).backward()
    assert logits.grad is not None
    assert (logits.grad[0].abs().sum(dim=(1, 2)) > 1e-3).all()


def test_total_is_weighted_like_the_paper() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 4, generator=generator)
    target = torch.randint(0, 3, (2, 4, 4), generator=generator)
    existence = torch.tensor([[2.0, -1.0], [0.0, 3.0]])
    exists = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    terms = Objective()(logits, existence, target, exists)
    log_p = logits.log_softmax(1).gather(1, target[:, None])[:, 0]
    weight = torch.where(target == 0, 0.4, 1.0)
    segmentation = -(weight * log_p).sum() / weight.sum()
    p = existence.sigmoid()
    flags = -(exists * p.log() + (1 - exists) * (1 - p).log()).mean()
    iou = soft_iou_loss(logits.softmax(1), target)
    expected = segmentation + 0.1 * iou + 0.1 * flags
    assert float(terms["total"]) == pytest.approx(float(expected), rel=1e-5)


def test_empty_image_is_no_trouble() -> None:
    logits = torch.zeros(1, 3, 4, 4, requires_grad=True)
    target = torch.zeros(1, 4, 4, dtype=torch.long)
    terms = Objective()(logits, None, target, torch.zeros(1, 2))
    terms["total"].backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


# --- configuration


def write_config(folder: Path, **values: object) -> Path:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_overrides_replace_values(tmp_path: Path) -> None:
    path = write_config(tmp_path, steps=10, data=[{"labels": "a.json"}])
    config = read_config(path, ["steps=20", "objective.iou=0.5", "input_size=[320, 184]"])
    assert read_config(path, ["point_threshold=0.4"]).lane_layout().decoding.point_threshold == 0.4
    assert (config.steps, config.objective.iou, config.objective.existence) == (20, 0.5, 0.1)
    assert config.lane_layout().input_size == (320, 184)
    assert config.data[0].labels == Path("a.json")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stepz": 3}, "unknown key stepz; known are .*steps"),
        ({"steps": "many"}, "steps: expected int"),
        ({"objective": {"dice": 1}}, "unknown key dice; known are background, existence, iou"),
        ({"crop": [1, 2]}, "crop: expected 4 values, not 2"),
        ({"layout": "mars"}, "layout 'mars' is not one of"),
    ],
)
def test_wrong_configuration_is_explained(tmp_path: Path, values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_config(write_config(tmp_path, **values))


def test_every_shipped_configuration_reads() -> None:
    folder = Path(training.fit.__file__).parent / "configs"
    configs = [read_config(path) for path in folder.glob("*.yaml")]
    assert configs
    assert all(config.lane_layout().slots == TUSIMPLE.slots for config in configs)


# --- a whole run


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("scenes"), count=4, seed=7)


@pytest.fixture
def config(scenes: Path) -> Config:
    return Config(
        crop=(0, 160, 1280, 720),
        input_size=(64, 32),
        data=(training.fit.Source(scenes),),
        validation=(scenes,),
        steps=4,
        batch=2,
        workers=0,
        device="cpu",
        save_every=2,
    )


def test_rendered_scenes_are_a_data_set(scenes: Path) -> None:
    found = TuSimple(scenes)
    assert len(found) == 4
    assert found[0].image.shape == (360, 640, 3)
    assert any(len(found[index].lanes) >= 2 for index in range(4))


def test_run_leaves_weights_that_load(config: Config, tmp_path: Path) -> None:
    results = fit(config, tmp_path / "run")
    network, layout, metadata = load(tmp_path / "run" / "weights.safetensors")
    assert (network.input_size, layout.crop) == ((64, 32), (0, 160, 1280, 720))
    assert metadata["training"]["steps"] == 4
    assert metadata["figures"]["labels"] == results[str(config.validation[0])]
    assert 0 <= metadata["figures"]["labels"]["accuracy"] <= 1


def test_interrupted_run_goes_on_exactly(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(config, tmp_path / "whole")
    save = training.fit._save

    def save_and_die(*arguments: object) -> None:
        save(*arguments)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training.fit, "_save", save_and_die)
        with pytest.raises(KeyboardInterrupt):
            fit(config, tmp_path / "broken")
    assert not (tmp_path / "broken" / "weights.safetensors").exists()
    fit(config, tmp_path / "broken")
    whole = load_network(tmp_path / "whole" / "weights.safetensors").state_dict()
    resumed = load_network(tmp_path / "broken" / "weights.safetensors").state_dict()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_commands_fail_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", str(tmp_path / "none.yaml")]) == 1
    assert "none.yaml" in capsys.readouterr().err
    path = write_config(tmp_path, data=[{"labels": str(tmp_path / "none.json")}])
    assert main(["fit", str(path), "--output", str(tmp_path / "run")]) == 1
    message = capsys.readouterr().err
    assert "none.json" in message
    assert message.count("\n") == 1
