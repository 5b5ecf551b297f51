"""Whole training runs at a tiny size: what they leave, going on after a kill, several processes."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, nn

from lane_sad_ros.network.weights import load, load_network
from training.cli import main
from training.config import Config, Source, plain, read_config
from training.datasets.synthetic import write_scenes
from training.distillation import Distillation
from training.fit import fit
from training.history import History, read_history
from training.parallel import SyncedBatchNorm2d

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "training" / "configs").glob("*_*.yaml"))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("run") / "scenes", count=4, seed=7)


@pytest.fixture
def config(scenes: Path) -> Config:
    return Config(
        crop=(0, 160, 1280, 720),
        input_size=(64, 32),
        data=(Source(scenes),),
        validation=(Source(scenes),),
        distillation=Distillation(start=2),
        steps=4,
        batch=2,
        workers=0,
        device="cpu",
        log_every=1,
        save_every=2,
    )


def weights(run: Path) -> dict[str, Tensor]:
    return load_network(run / "weights.safetensors").state_dict()


def same(first: Path, second: Path) -> bool:
    one, other = weights(first), weights(second)
    return all(torch.equal(one[name], other[name]) for name in one)


def write_config(config: Config, path: Path, **changes: object) -> Path:
    path.write_text(yaml.safe_dump(plain(dataclasses.replace(config, **changes))))  # type: ignore[arg-type]
    return path


# --- a run


def test_run_leaves_weights_that_load(config: Config, tmp_path: Path) -> None:
    results = fit(config, tmp_path)
    network, layout, metadata = load(tmp_path / "weights.safetensors")
    assert (network.input_size, layout.crop) == ((64, 32), (0, 160, 1280, 720))
    assert not any(module._forward_hooks for module in network.modules())
    assert metadata["training"]["steps"] == 4
    assert metadata["training"]["distillation"]["weight"] == 0.1
    assert metadata["figures"] == results == json.loads((tmp_path / "figures.json").read_text())
    assert 0 <= results["scenes"]["accuracy"] <= 1
    assert read_config(tmp_path / "config.yaml") == config


def test_images_on_the_device_make_the_same_run(config: Config, tmp_path: Path) -> None:
    ranges = dataclasses.replace(config.augmentation, hidden=0.5, cut=0.5)
    config = dataclasses.replace(config, augmentation=ranges, steps=2, validation=())
    fit(config, tmp_path / "host")
    fit(dataclasses.replace(config, cache="device", workers=1), tmp_path / "device")
    assert same(tmp_path / "host", tmp_path / "device")
    with pytest.raises(ValueError, match="cache is a number of MB or device, not 'disk'"):
        dataclasses.replace(config, cache="disk")


def test_history_tells_when_distillation_began(config: Config, tmp_path: Path) -> None:
    fit(dataclasses.replace(config, steps=12), tmp_path)
    losses = [entry for entry in read_history(tmp_path) if "loss/total" in entry]
    assert [entry["step"] for entry in losses] == list(range(1, 13))
    assert [("loss/distillation" in entry) for entry in losses] == [False] * 2 + [True] * 10
    (measured,) = [entry for entry in losses if "distillation/share/encoder2" in entry]
    assert measured["step"] == 10
    assert measured["distillation/entropy/encoder4"] == pytest.approx(0.8, abs=1e-3)
    assert measured["distillation/share/encoder3"] > 0


def test_until_its_start_distillation_changes_nothing(config: Config, tmp_path: Path) -> None:
    fit(config, tmp_path / "with", until=2)
    without = dataclasses.replace(config, distillation=Distillation(weight=0.0))
    fit(without, tmp_path / "without", until=2)
    assert same(tmp_path / "with", tmp_path / "without")
    fit(config, tmp_path / "with")
    fit(without, tmp_path / "without")
    assert not same(tmp_path / "with", tmp_path / "without")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_trains(path: Path, scenes: Path, tmp_path: Path) -> None:
    """Two steps, one with distillation, on four rendered scenes; the rest is the file's own."""
    config = read_config(path, ["steps=2", "batch=2", "workers=0", "device=cpu", "compile=false"])
    source = (Source(scenes),)
    config = dataclasses.replace(
        config,
        data=source,
        validation=source,
        input_size=(64, 32),
        initial=None,
        distillation=dataclasses.replace(config.distillation, start=1),
    )
    results = fit(config, tmp_path)
    assert results["scenes"]["images"] == 4
    last = read_history(tmp_path)[0]
    assert last["step"] == 2
    assert ("loss/distillation" in last) == (config.distillation.weight > 0)
    assert load(tmp_path / "weights.safetensors")[0].arch == config.arch


# --- going on


def test_stopped_run_goes_on_exactly(config: Config, tmp_path: Path) -> None:
    fit(config, tmp_path / "whole")
    for until in (1, 3, 4):
        fit(config, tmp_path / "parts", until=until)
    assert same(tmp_path / "whole", tmp_path / "parts")


def test_killed_run_goes_on_exactly(config: Config, tmp_path: Path) -> None:
    """SIGKILL somewhere in the middle, in a process of its own; bit for bit the unbroken run."""
    path = write_config(config, tmp_path / "config.yaml", steps=16, save_every=3)
    run = tmp_path / "run"
    command = [sys.executable, "-m", "training", "fit", str(path), "--output", str(run)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while len(read_history(run)) < 7 and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (run / "last.pt").exists()
    assert not (run / "weights.safetensors").exists()
    config = read_config(path)
    fit(config, run)
    fit(config, tmp_path / "whole")
    assert same(run, tmp_path / "whole")
    steps = [entry["step"] for entry in read_history(run) if "loss/total" in entry]
    assert steps == list(range(1, 17))


def test_other_run_in_the_folder_is_kept(config: Config, tmp_path: Path) -> None:
    fit(config, tmp_path)
    before = (tmp_path / "weights.safetensors").read_bytes()
    with pytest.raises(ValueError, match=r"holds a run with other settings \(batch, seed\)"):
        fit(dataclasses.replace(config, seed=2, batch=4), tmp_path)
    assert (tmp_path / "weights.safetensors").read_bytes() == before
    fit(dataclasses.replace(config, log_every=2), tmp_path)


def test_cut_history_is_gone_on_with(tmp_path: Path) -> None:
    history = History(tmp_path, 0)
    for step in (1, 2, 3):
        history.add(step, {"loss/total": 1.0 / step})
    history.close()
    path = tmp_path / "history.jsonl"
    path.write_text(path.read_text()[:-5])
    history = History(tmp_path, 1)
    history.add(2, {"loss/total": 9.0})
    history.close()
    assert [(e["step"], e["loss/total"]) for e in read_history(tmp_path)] == [(1, 1.0), (2, 9.0)]


def test_loss_that_is_not_finite_stops_the_run(config: Config, tmp_path: Path) -> None:
    optimizer = dataclasses.replace(config.optimizer, learning_rate=1e30)
    with pytest.raises(FloatingPointError, match="not finite at step"):
        fit(dataclasses.replace(config, optimizer=optimizer), tmp_path)


def test_weights_of_another_network_are_no_start(config: Config, tmp_path: Path) -> None:
    fit(dataclasses.replace(config, arch="resnet18", steps=1), tmp_path / "first")
    initial = tmp_path / "first" / "weights.safetensors"
    with pytest.raises(ValueError, match="resnet18.* cannot start .*enet_sad"):
        fit(dataclasses.replace(config, initial=initial), tmp_path / "second")
    fit(dataclasses.replace(config, arch="resnet18", initial=initial), tmp_path / "third")


# --- several processes


def test_two_processes_train_as_one(config: Config, tmp_path: Path) -> None:
    """torchrun with two gloo processes; without dropout, whose masks are drawn by each process."""
    path = write_config(
        config,
        tmp_path / "config.yaml",
        arch="resnet18",
        dropout=False,
        steps=3,  # few: differences of rounding double with every step
        batch=4,
        distillation=Distillation(start=1),
        optimizer=dataclasses.replace(config.optimizer, kind="sgd", learning_rate=0.003),
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["-m", "training", "fit", str(path), "--output", str(tmp_path / "two")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    fit(read_config(path), tmp_path / "one")
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-4, msg=name)
    for name in ("total", "distillation"):
        losses = [
            [e[f"loss/{name}"] for e in read_history(tmp_path / run) if f"loss/{name}" in e]
            for run in ("one", "two")
        ]
        assert losses[0] == pytest.approx(losses[1], rel=2e-2)


def test_batch_that_cannot_be_shared_is_refused(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightning_fabric import Fabric

    monkeypatch.setattr(Fabric, "world_size", 3)
    with pytest.raises(ValueError, match="batch of 2 .* evenly by 3 processes"):
        fit(config, tmp_path)


def test_synced_batch_norm_alone_is_batch_norm(tmp_path: Path) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'rendezvous'}", rank=0, world_size=1
    )
    try:
        plain_norm, synced = nn.BatchNorm2d(5), SyncedBatchNorm2d(5)
        images = torch.randn(4, 5, 6, 7, generator=torch.Generator().manual_seed(0))
        first, second = images.clone().requires_grad_(), images.clone().requires_grad_()
        for norm, inputs in ((plain_norm, first), (synced, second)):
            (norm(inputs) * torch.arange(7.0)).square().sum().backward()
        torch.testing.assert_close(second.grad, first.grad, rtol=1e-3, atol=1e-3)
        for name, value in plain_norm.state_dict().items():
            torch.testing.assert_close(synced.state_dict()[name], value)
    finally:
        torch.distributed.destroy_process_group()


# --- the command


def test_commands_fail_with_one_line(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", str(tmp_path / "none.yaml")]) == 1
    assert "none.yaml" in capsys.readouterr().err
    path = write_config(config, tmp_path / "c.yaml", data=(Source(tmp_path / "none.json"),))
    assert main(["fit", str(path), "--output", str(tmp_path / "run")]) == 1
    message = capsys.readouterr().err
    assert "none.json" in message
    assert message.count("\n") == 1
