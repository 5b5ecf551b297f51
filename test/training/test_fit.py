"""Whole training runs at a tiny size: what they leave, going on after a kill, several processes."""

import argparse
import dataclasses
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

import training.clock
import training.fit
import training.legs
from lane_sad_ros.arguments import duration
from lane_sad_ros.files import replacing
from lane_sad_ros.network.weights import load, load_network, read_metadata, save_network
from training.cli import main
from training.clock import Clock, process_seconds
from training.config import Config, Source, plain, read_config
from training.datasets.packed import Origin, pack
from training.datasets.synthetic import write_scenes
from training.distillation import Distillation
from training.distributed import SyncedBatchNorm2d
from training.fit import fit
from training.history import History, read_history
from training.legs import export_leg, import_leg, import_newer
from training.supervision import DeepSupervision
from training.validation import merit

ROOT = Path(__file__).parents[2]
# Without the largest network, which takes a gigabyte of checkpoints.
CONFIGS = [
    path
    for path in sorted((ROOT / "training" / "configs").glob("*_*.yaml"))
    if "r101" not in path.stem
]


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


def test_run_leaves_weights_that_load(config: Config, scenes: Path, tmp_path: Path) -> None:
    data = (Source(scenes, share=2.0, licence="CC BY 4.0"),)
    config = dataclasses.replace(config, data=data)
    results = fit(config, tmp_path)
    network, layout, metadata = load(tmp_path / "weights.safetensors")
    assert (network.input_size, layout.crop) == ((64, 32), (0, 160, 1280, 720))
    assert not any(module._forward_hooks for module in network.modules())
    assert metadata["training"]["steps"] == 4
    assert metadata["training"]["distillation"]["weight"] == 0.1
    (source,) = metadata["training"]["data"]
    assert (source["labels"], source["images"]) == (scenes.name, 4)
    assert (source["share"], source["licence"]) == (2.0, "CC BY 4.0")
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


def test_the_precision_of_the_configuration_is_that_of_the_run(
    config: Config, tmp_path: Path
) -> None:
    losses = []
    for precision in ("float32", "bfloat16"):
        changed = dataclasses.replace(config, precision=precision, steps=1, validation=())
        fit(changed, tmp_path / precision)
        losses.append(read_history(tmp_path / precision)[0]["loss/total"])
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


def test_history_tells_when_distillation_began(config: Config, tmp_path: Path) -> None:
    fit(dataclasses.replace(config, steps=12), tmp_path)
    losses = [entry for entry in read_history(tmp_path) if "loss/total" in entry]
    assert [entry["step"] for entry in losses] == list(range(1, 13))
    assert [("loss/distillation" in entry) for entry in losses] == [False] * 2 + [True] * 10
    rates = [entry["learning_rate"] for entry in losses]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == pytest.approx(config.optimizer.learning_rate, rel=0.1)
    assert rates[-1] < 0.1 * rates[0]
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


def test_stopped_run_with_deep_supervision_goes_on_exactly(config: Config, tmp_path: Path) -> None:
    deep = DeepSupervision(weight=0.5)
    config = dataclasses.replace(config, deep_supervision=deep, steps=2, validation=())
    fit(config, tmp_path / "whole")
    for until in (1, 2):
        fit(config, tmp_path / "parts", until=until)
    assert same(tmp_path / "whole", tmp_path / "parts")


def test_killed_run_goes_on_exactly(config: Config, tmp_path: Path) -> None:
    """SIGKILL somewhere in the middle, in a process of its own; bit for bit the unbroken run."""
    path = write_config(config, tmp_path / "config.yaml", steps=16, save_every=3)
    run = tmp_path / "run"
    command = [sys.executable, "-m", "training", "fit", str(path), "--output", str(run)]
    # Sums differ in the last bit with the number of threads; tests before may have changed ours.
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
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
    assert read_history(run) == read_history(tmp_path / "whole")
    assert list(run.glob(".*")) == []  # nothing half-written is left


def broken_off(config: Config, run: Path, monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
    """A run that ends, as by a kill, at the given one of the times that it writes weights."""
    left = writes

    def write(*arguments: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt
        save_network(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(training.fit, "save_network", write)
        with pytest.raises(KeyboardInterrupt):
            fit(config, run)


def test_history_and_figures_survive_a_kill_while_validating(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(config, validate_every=2)
    results = fit(config, tmp_path / "whole")
    history = read_history(tmp_path / "whole")
    assert [e["step"] for e in history if "scenes/accuracy" in e] == [2, 4]
    for writes in (1, 1, 3):  # in the middle twice, at the end
        broken_off(config, tmp_path / "run", monkeypatch, writes)
    for _ in range(2):  # the finished run is left as it is
        assert fit(config, tmp_path / "run") == results
        assert read_history(tmp_path / "run") == history


def test_best_weights_are_kept_beside_the_last(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracies = iter([0.2, 0.6, 0.6, 0.4])
    monkeypatch.setattr(
        training.fit, "validate", lambda *_arguments: {"accuracy": next(accuracies)}
    )
    fit(dataclasses.replace(config, validate_every=1), tmp_path)
    told = [read_metadata(tmp_path / f"{name}.safetensors") for name in ("best", "weights")]
    assert [metadata["training"]["steps"] for metadata in told] == [2, 4]
    assert [metadata["figures"]["scenes"]["accuracy"] for metadata in told] == [0.6, 0.4]


def test_the_average_is_what_is_measured_and_kept(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[dict[str, Tensor]] = []

    def validate(network: nn.Module, *_arguments: object) -> dict[str, float]:
        measured.append({name: part.clone() for name, part in network.state_dict().items()})
        return {"accuracy": 0.5}

    monkeypatch.setattr(training.fit, "validate", validate)
    fit(dataclasses.replace(config, average=0.5), tmp_path)
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    name = "classify.weight"
    average = state["average"][f"module.{name}"]
    assert not torch.equal(average, state["network"][name])
    assert torch.equal(weights(tmp_path)[name], average)
    assert torch.equal(measured[-1][name], average)


def test_merit_is_the_mean_of_each_sets_main_figure() -> None:
    figures = {
        "tusimple": {"accuracy": 0.9, "fp": 0.5},
        "culane": {"f1": 0.7, "precision": 0.1},
        "bdd100k": {"accuracy": 0.9, "iou": 0.2},
        "negatives": {"false_images": 0.5},
    }
    assert merit(figures) == pytest.approx((0.9 + 0.7 + 0.2) / 3)
    assert merit({"negatives": {"false_images": 0.5}}) is None


# --- checkpoints


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def flip(path: Path) -> None:
    """One bit of a weight."""
    content = bytearray(path.read_bytes())
    state = torch.load(path, weights_only=True)
    part = max(state["network"].values(), key=lambda tensor: tensor.numel()).numpy().tobytes()
    content[content.index(part) + len(part) // 2] ^= 1
    path.write_bytes(content)


def test_damaged_checkpoint_gives_way_to_the_one_before(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(config, tmp_path / "whole")
    fit(config, tmp_path / "run", until=2)
    fit(config, tmp_path / "run", until=3)
    for damage in (truncate, empty, zero, flip):
        run = tmp_path / damage.__name__
        shutil.copytree(tmp_path / "run", run)
        damage(run / "last.pt")
        capsys.readouterr()
        fit(config, run)
        told = capsys.readouterr().out
        assert f"{run / 'last.pt'}: damaged, so the one before is taken; " in told
        assert same(run, tmp_path / "whole")
        for name in ("last.pt", "previous.pt"):
            damage(run / name)
        with pytest.raises(ValueError, match=r"last.pt, .*previous.pt: damaged; remove to begin"):
            fit(config, run)


def test_checkpoint_that_is_not_finite_is_never_written(config: Config, tmp_path: Path) -> None:
    """Where saving comes between two looks at the loss."""
    optimizer = dataclasses.replace(config.optimizer, kind="sgd", learning_rate=1e8, clip=1e30)
    config = dataclasses.replace(
        config, optimizer=optimizer, steps=20, log_every=1000, save_every=1
    )
    with pytest.raises(FloatingPointError, match=r"not finite at step \d+; nothing of it was sav"):
        fit(config, tmp_path)
    for path in tmp_path.glob("*.pt"):
        state = torch.load(path, weights_only=True)
        assert all(part.isfinite().all() for part in state["network"].values())
    assert not (tmp_path / "weights.safetensors").exists()


@pytest.mark.parametrize(
    ("name", "limit", "every"),
    [("last.pt", 2_000_000, 1), ("history.jsonl", 2000, 1000), ("weights.safetensors", 0, 1)],
)
def test_full_disk_is_told_by_the_name_of_the_file(
    config: Config, tmp_path: Path, name: str, limit: int, every: int
) -> None:
    """A limit on the size of files, in a process of its own, stands for the disk."""
    path = write_config(config, tmp_path / "config.yaml", steps=20, save_every=every)
    run = tmp_path / "run"
    program = (
        "import resource, sys, training.checkpoint\n"
        "from training.cli import main\n"
        f"if {limit}: resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "else:\n"
        "    save = training.checkpoint.save\n"
        "    def saved(*arguments):\n"
        "        resource.setrlimit(resource.RLIMIT_FSIZE, (10**8, -1))\n"
        "        save(*arguments)\n"
        "        resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, -1))\n"
        "    training.checkpoint.save = saved\n"
        f"sys.exit(main(['fit', {str(path)!r}, '--output', {str(run)!r}]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    # TensorBoard's events are about as long as the history; its thread complains for itself.
    assert re.fullmatch(rf"error: {run}/({name}|events\S+): File too large", last)
    assert name == "history.jsonl" or "Traceback" not in done.stderr


# --- legs


def test_clock_ends_a_leg_that_goes_on_exactly(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """How long a step takes is not in question: the time is up at once, or never."""
    assert fit(config, tmp_path / "run", until=2, clock=Clock(1000)) != {}
    capsys.readouterr()
    fit(config, tmp_path / "run", clock=Clock(1e-3))
    assert "step 2 of 4: to be continued" in capsys.readouterr().out
    fit(config, tmp_path / "run", clock=Clock(1000))
    fit(config, tmp_path / "whole")
    assert same(tmp_path / "run", tmp_path / "whole")


def test_validation_that_does_not_fit_is_done_by_the_next_leg(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(1000)
    clock.check = Clock(-1000).check  # type: ignore[method-assign]
    for _ in range(2):
        assert fit(config, tmp_path, clock=clock) == {}
        said = capsys.readouterr().out
        assert said.count("step 4: no time left to validate; the next leg begins with it") == 1
    assert read_metadata(tmp_path / "weights.safetensors")["figures"] == {}
    assert fit(config, tmp_path)["scenes"]["images"] == 4


def test_validation_that_was_put_off_comes_first(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(1000)
    clock.check = Clock(-1000).check  # type: ignore[method-assign]
    fit(config, tmp_path, until=3, clock=clock)
    capsys.readouterr()
    assert fit(config, tmp_path, until=4)["scenes"]["images"] == 4
    assert "step 3, scenes: accuracy" in capsys.readouterr().out


def test_leg_travels_in_small_files(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.legs, "PART", 1_000_000)
    path = write_config(config, tmp_path / "config.yaml")
    leg, run, other = tmp_path / "leg", tmp_path / "run", tmp_path / "elsewhere"
    command = ["fit", str(path), "--output"]
    fit(config, run, until=2)
    assert main([*command, str(run), "--for", "1s", "--export-leg", str(leg)]) == 0
    assert max(part.stat().st_size for part in leg.iterdir()) == 1_000_000
    assert main([*command, str(other), "--import-leg", str(leg), "--export-leg", str(leg)]) == 0
    fit(config, tmp_path / "whole")
    assert same(other, tmp_path / "whole")
    import_leg(leg, tmp_path / "third")
    for name in ("last.pt", "weights.safetensors", "history.jsonl", "config.yaml"):
        assert (tmp_path / "third" / name).read_bytes() == (other / name).read_bytes()
    with pytest.raises(ValueError, match="third: holds a run"):
        import_leg(leg, tmp_path / "third")
    fit(config, tmp_path / "behind", until=1)
    import_newer(leg, tmp_path / "behind")
    assert same(tmp_path / "behind", other)
    (part,) = leg.glob("last.pt.01.*")
    part.write_bytes(part.read_bytes()[:-1] + b"?")
    with pytest.raises(ValueError, match=r"last.pt.01.\w+: damaged; copy the leg again"):
        import_leg(leg, tmp_path / "fourth")
    assert not (tmp_path / "fourth").exists()


def test_an_interrupted_export_leaves_the_leg_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, leg = tmp_path / "run", tmp_path / "leg"
    run.mkdir()

    def write_run(step: int) -> None:
        for name in ("weights.safetensors", "last.pt"):
            (run / name).write_text(f"{name} of step {step}")

    @contextmanager
    def full_disk(path: Path) -> Iterator[Path]:
        if path.name.startswith("last.pt"):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        with replacing(path) as partial:
            yield partial

    write_run(1)
    export_leg(run, leg)
    write_run(2)
    with monkeypatch.context() as patch:
        patch.setattr(training.legs, "replacing", full_disk)
        with pytest.raises(OSError, match="No space left"):
            export_leg(run, leg)
    import_leg(leg, tmp_path / "first")
    assert (tmp_path / "first" / "last.pt").read_text() == "last.pt of step 1"
    count = export_leg(run, leg)
    import_leg(leg, tmp_path / "second")
    assert (tmp_path / "second" / "last.pt").read_text() == "last.pt of step 2"
    assert len(list(leg.iterdir())) == count == 3


def test_a_run_that_is_further_than_the_leg_is_kept(config: Config, tmp_path: Path) -> None:
    fit(config, tmp_path / "run", until=1)
    export_leg(tmp_path / "run", tmp_path / "leg")
    fit(config, tmp_path / "run", until=2)
    further = (tmp_path / "run" / "last.pt").read_bytes()
    import_newer(tmp_path / "leg", tmp_path / "run")
    assert (tmp_path / "run" / "last.pt").read_bytes() == further


def test_the_first_process_alone_hands_a_leg_on(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.fit.fit", lambda *_, **__: None)
    monkeypatch.setenv("RANK", "1")
    path, none = write_config(config, tmp_path / "c.yaml"), tmp_path / "none"
    assert main(["fit", str(path), "--import-leg", str(none), "--export-leg", str(none)]) == 0
    assert not none.exists()


def test_commands_stop_when_the_time_is_up_and_go_on(
    config: Config,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of an hour, nothing is left to a process that took so long to begin."""
    began = 3590.0
    for name in ("fit", "leg"):
        monkeypatch.setattr(f"training.cli.{name}.process_seconds", lambda: began)
    path, leg = write_config(config, tmp_path / "c.yaml"), tmp_path / "leg"
    first, second = leg / "run", tmp_path / "elsewhere"
    assert main(["leg", str(path), str(tmp_path / "short"), "--for", "1h"]) == 0
    assert "no curves yet: nothing was logged" in capsys.readouterr().out
    fit(config, first, until=2)
    for words in (["fit", str(path), "--output", str(first)], ["leg", str(path), str(leg)]):
        capsys.readouterr()
        assert main([*words, "--for", "1h"]) == 0
        assert "step 2 of 4: to be continued" in capsys.readouterr().out
    began = 600.0
    assert main(["leg", str(path), str(leg), "--run", str(second), "--for", "1h"]) == 0
    assert f"{second / 'last.pt'}: going on from step 2" in capsys.readouterr().out
    assert read_metadata(second / "weights.safetensors")["training"]["steps"] == 4
    assert (leg / "curves.png").exists()


def test_what_a_process_took_to_begin_is_part_of_the_leg() -> None:
    assert 0 < process_seconds() < 24 * 3600
    assert Clock(100).step_fits()
    assert not Clock(100, gone=99).step_fits()


@pytest.mark.parametrize(("start", "fits"), [(5, True), (25, False)])
def test_first_step_is_expected_to_take_as_long_as_the_start(
    start: float, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy machine makes both slow: 25 s and as many again leave too little of a minute."""
    now = 1000.0
    monkeypatch.setattr(training.clock, "time", SimpleNamespace(monotonic=lambda: now))
    clock = Clock(60, gone=2)
    now += start - 2
    assert clock.step_fits() is fits


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("9m", 540), ("1.5h", 5400), ("1h30m", 5400), ("", None),
                          ("9", None), ("m", None), ("0s", None), ("-3m", None), ("1.2.3m", None)],
)  # fmt: skip
def test_times_are_read(text: str, seconds: float | None) -> None:
    if seconds is not None:
        assert duration(text) == seconds
        return
    with pytest.raises(argparse.ArgumentTypeError, match="not a time above 0"):
        duration(text)


# --- broken images


def with_broken(scenes: Path, folder: Path, count: int) -> tuple[Source, ...]:
    """A copy of the scenes in which the first images are cut short."""
    shutil.copytree(scenes.parent, folder)
    for image in sorted(folder.rglob("*.jpg"))[:count]:
        image.write_bytes(image.read_bytes()[:300])
    return (Source(folder / scenes.name),)


@pytest.mark.parametrize(("workers", "cache"), [(0, 8), (1, 8), (0, "device")])
def test_broken_image_is_left_out_and_named(
    config: Config,
    scenes: Path,
    tmp_path: Path,
    workers: int,
    cache: int | str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    data = with_broken(scenes, tmp_path / "set", 1)
    broken = sorted((tmp_path / "set").rglob("*.jpg"))[0]
    config = dataclasses.replace(config, data=data, workers=workers, cache=cache, steps=8)
    fit(config, tmp_path / "run")
    told = [line for line in capfd.readouterr().err.splitlines() if broken.name in line]
    assert len(told) == 1
    assert told[0].endswith("left out")


@pytest.mark.parametrize("workers", [0, 1])
def test_set_of_broken_images_is_one_line(
    config: Config, scenes: Path, tmp_path: Path, workers: int, capfd: pytest.CaptureFixture[str]
) -> None:
    data = with_broken(scenes, tmp_path / "set", 4)
    path = write_config(config, tmp_path / "c.yaml", data=data, workers=workers)
    assert main(["fit", str(path), "--output", str(tmp_path / "run")]) == 1
    errors = capfd.readouterr().err
    assert "Traceback" not in errors
    assert errors.splitlines()[-1].startswith("error: 20 images in a row cannot be used, the last")


def test_what_cannot_be_measured_is_told_before_training(config: Config, tmp_path: Path) -> None:
    pack(config.data[0].open(), tmp_path / "packed", Origin("scenes", "", "", 640))
    validation = (Source(tmp_path / "packed", "packed"),)
    with pytest.raises(ValueError, match="no official metric for such a set"):
        fit(dataclasses.replace(config, validation=validation), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_other_run_in_the_folder_is_kept(config: Config, tmp_path: Path) -> None:
    fit(config, tmp_path)
    before = (tmp_path / "weights.safetensors").read_bytes()
    with pytest.raises(ValueError, match=r"holds a run with other settings \(batch, seed\)"):
        fit(dataclasses.replace(config, seed=2, batch=4), tmp_path)
    assert (tmp_path / "weights.safetensors").read_bytes() == before
    fit(dataclasses.replace(config, log_every=2), tmp_path)


def test_cut_history_is_gone_on_with(tmp_path: Path) -> None:
    history = History(tmp_path, 0, 0)
    for step in (1, 2, 3):
        history.add(step, {"loss/total": 1.0 / step})
    history.close()
    path = tmp_path / "history.jsonl"
    path.write_text(path.read_text()[:-5])
    history = History(tmp_path, 1, 1)
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
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    for name, start in (("two", several), ("one", [])):
        command = [sys.executable, *start, "-m", "training", "fit", str(path)]
        done = subprocess.run(
            [*command, "--output", str(tmp_path / name)],
            cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
            timeout=300, start_new_session=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
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
