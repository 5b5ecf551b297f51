"""The ablation: what is compared with what, that shared beginnings change nothing, resuming."""

import dataclasses
import json
import math
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

import training.ablation
from lane_sad_ros.network.architectures import build_network
from lane_sad_ros.network.weights import load_network
from training.ablation import (
    CONFIG,
    CONTROL,
    VARIANTS,
    run_ablation,
    soft_figures,
    statistics,
    summary,
    tables,
)
from training.augmentation import NONE, Changes, prepare
from training.config import Config, Source, read_config
from training.datasets import Reading
from training.distillation import (
    Distillation,
    SelfAttentionDistillation,
    collapse,
    spatial_softmax,
)
from training.fit import fit
from training.history import read_history


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three grey images with two lanes, in the TuSimple layout."""
    folder = tmp_path_factory.mktemp("scenes")
    rows = list(range(40, 90, 10))
    records = []
    for i in range(3):
        lanes = [[60 - (row - 40) // 2 + i for row in rows], [90 + (row - 40) for row in rows]]
        image = np.full((90, 160, 3), 60 + 10 * i, np.uint8)
        for lane in lanes:
            cv2.polylines(image, [np.column_stack([lane, rows])], False, (255, 255, 255), 2)
        cv2.imwrite(str(folder / f"{i}.png"), image)
        records.append({"raw_file": f"{i}.png", "lanes": lanes, "h_samples": rows})
    path = folder / "labels.json"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.fixture(scope="module")
def config(scenes: Path) -> Config:
    return Config(
        crop=(0, 160, 1280, 720),
        input_size=(64, 32),
        data=(Source(scenes),),
        validation=(Source(scenes),),
        # Much stronger than of use, so that four steps show it.
        distillation=Distillation(start=2, weight=100.0),
        steps=4,
        batch=2,
        average=0.5,
        workers=0,
        device="cpu",
        log_every=1,
    )


@pytest.fixture(scope="module")
def finished(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ablation with the control and "late", one seed."""
    output = tmp_path_factory.mktemp("ablation")
    run_ablation(config, output, seeds=1, only=["late"])
    return output


def test_a_run_that_goes_on_from_the_shared_beginning_is_the_run_from_its_own(
    config: Config, finished: Path, tmp_path: Path
) -> None:
    fit(config, tmp_path)
    alone, shared = (
        load_network(folder / "weights.safetensors").state_dict()
        for folder in (tmp_path, finished / "seed1" / "late")
    )
    assert all(torch.equal(alone[name], shared[name]) for name in alone)


def test_runs_differ_from_the_control_once_distillation_starts(finished: Path) -> None:
    control, late = (
        {
            entry["step"]: entry["loss/task"]
            for entry in read_history(finished / "seed1" / name)
            if "loss/task" in entry
        }
        for name in (CONTROL, "late")
    )
    assert sorted(control) == sorted(late) == [1, 2, 3, 4]
    same = [control[step] == late[step] for step in control]
    # The third step is the first with distillation, the fourth the first after it.
    assert same == [True, True, True, False]


def test_finished_runs_are_not_repeated_and_the_tables_stay(
    config: Config, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [finished / name for name in ("ablation.json", "ablation.md")]
    before = [file.read_bytes() for file in files]

    def refused(*_arguments: object) -> None:
        raise AssertionError("a finished run is repeated")

    monkeypatch.setattr(training.ablation, "fit", refused)
    run_ablation(config, finished, seeds=1, only=["late"])
    assert [file.read_bytes() for file in files] == before
    for name in ("starts.png", "differences.png"):
        assert (finished / name).stat().st_size > 1000


def test_more_seeds_add_runs_and_leave_the_first_alone(
    config: Config, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def stopped(config: Config, output: Path, until: int) -> None:
        asked.append((config.seed, output.name, until))
        raise KeyboardInterrupt

    monkeypatch.setattr(training.ablation, "fit", stopped)
    with pytest.raises(KeyboardInterrupt):
        run_ablation(config, finished, seeds=2, only=["late"])
    assert asked == [(2, "before_2", 2)]


def test_another_configuration_is_refused_by_name(config: Config, finished: Path) -> None:
    other = dataclasses.replace(config, batch=3)
    with pytest.raises(ValueError, match=r"other settings \(batch\)"):
        run_ablation(other, finished)


def test_an_ablation_goes_on_with_other_processes_and_on_another_device(
    config: Config, finished: Path, tmp_path: Path
) -> None:
    there = shutil.copytree(finished, tmp_path / "copy")
    other = dataclasses.replace(config, workers=config.workers + 1, device="auto")
    run_ablation(other, there)


@pytest.mark.parametrize("distillation", [Distillation(start=0), Distillation(start=4),
                                          Distillation(start=2, weight=0.0)])  # fmt: skip
def test_without_a_start_within_the_steps_there_is_nothing_to_compare(
    config: Config, tmp_path: Path, distillation: Distillation
) -> None:
    with pytest.raises(ValueError, match="needs a distillation that starts within the steps"):
        run_ablation(dataclasses.replace(config, distillation=distillation), tmp_path)


def test_variants_are_what_they_are_called() -> None:
    shared = read_config(CONFIG)
    found = {v.name: v.of(shared, seed=5).resolved_distillation() for v in VARIANTS}
    late = found["late"]
    assert late == shared.resolved_distillation()
    assert late.start * 3 == shared.steps * 2
    assert late.paths == (("encoder2", "encoder3"), ("encoder3", "encoder4"))
    changes = {
        name: {
            field.name: getattr(settings, field.name)
            for field in dataclasses.fields(settings)
            if getattr(settings, field.name) != getattr(late, field.name)
        }
        for name, settings in found.items()
    }
    e1, e2, e3, e4 = "encoder1", "encoder2", "encoder3", "encoder4"
    assert changes == {
        "none": {"weight": 0.0},
        "late": {},
        "early": {"start": shared.steps // 6},
        "strong": {"weight": 1.0},
        "strong_early": {"weight": 1.0, "start": shared.steps // 6},
        "deep": {"weight": 0.0, "start": 0},
        "low": {"paths": ((e1, e2),)},
        "backward": {"paths": ((e4, e3), (e3, e2))},
        "forward": {
            "paths": ((e1, e2), (e1, e3), (e1, e4), (e2, e3), (e2, e4), (e3, e4)),
        },
        "decoder": {
            "weight": 1.0,
            "paths": ((e2, "decoder1"), (e3, "decoder1"), (e4, "decoder1")),
        },
        "sharp": {"entropy": 0.6},
        "ramped": {"weight": 0.3, "ramp": shared.steps // 3},
        "sum1": {"power": 1.0},
        "sum4": {"power": 4.0},
        "max2": {"mapping": "max"},
        "max4": {"mapping": "max", "power": 4.0},
    }
    assert {v.of(shared, seed=5).seed for v in VARIANTS} == {5}
    supervised = {v.name for v in VARIANTS if v.of(shared, seed=5).deep_supervision.weight > 0}
    assert supervised == {"deep"}


@pytest.mark.parametrize("arch", ["enet_sad", "resnet18"])
def test_variants_distil_between_layers_that_the_network_has(arch: str) -> None:
    network = build_network(arch, lanes=2, input_size=(64, 32))
    config = dataclasses.replace(read_config(CONFIG), arch=arch)
    for variant in VARIANTS:
        sad = SelfAttentionDistillation(network, variant.of(config, 1).resolved_distillation())
        network(torch.zeros(1, 3, 32, 64))
        assert sad.loss().isfinite()
        sad.remove()


def test_statistics_are_of_pairs() -> None:
    runs = {"1": {"a": 0.5}, "2": {"a": 0.9}, "3": {"a": 0.7}}
    control = {"1": {"a": 0.4}, "2": {"a": 0.7}, "4": {"a": 0.0}}
    found = statistics(runs, control)["a"]
    assert found["mean"] == pytest.approx(0.7)
    assert found["sd"] == pytest.approx(0.2)
    # Seeds 1 and 2 have both runs: differences 0.1 and 0.2.
    assert found["difference"] == pytest.approx(0.15)
    assert found["error"] == pytest.approx(math.sqrt(0.005) / math.sqrt(2))
    # Of Student's t with one degree of freedom.
    assert found["interval"] == pytest.approx(12.706 * 0.05, rel=1e-4)


def test_one_run_has_no_spread() -> None:
    found = statistics({"1": {"a": 0.5}}, {"1": {"a": 0.25}})["a"]
    assert found == {
        "mean": 0.5, "sd": None, "difference": 0.25, "error": None, "interval": None,
    }  # fmt: skip


def made_up(**runs: list[float]) -> dict[str, Any]:
    """A summary with the accuracies of runs by variant."""
    attention = {f"set/lanes/encoder{block}": block / 2 for block in range(1, 5)}
    attention |= {"set/distance": 0.01, "distillation/share/encoder2": 0.04}
    by_seed = {
        name: {
            str(seed): {"set/accuracy": value, **attention}
            for seed, value in enumerate(values, start=1)
        }
        for name, values in runs.items()
    }
    return {
        "config": {"arch": "enet_sad"},
        "seeds": [1, 2],
        "variants": {
            name: {
                "description": f"|A| {name}",
                "runs": of,
                "statistics": statistics(of, by_seed["none"]),
            }
            for name, of in by_seed.items()
        },
    }


def test_tables_show_percent_and_which_runs_are_missing() -> None:
    found = made_up(none=[0.5, 0.7], late=[0.52, 0.73], low=[0.4], backward=[])
    text = tables(found, [Source(Path("set.json"))])
    text, attention = text.split("Attention on set")
    lines = {line.split("**")[1]: [] for line in text.splitlines() if "**" in line}
    for line in text.splitlines():
        if "**" in line:
            assert r"\|A\|" in line  # else it would be two more columns
            name = line.split("**")[1]
            lines[name].append([c.strip() for c in line.replace(r"\|", "").split("|")[2:-1]])
    assert lines == {
        "none": [["2", "60.00 ± 14.14"]],
        "late": [["2", "62.50 ± 14.85"], ["+2.50 ± 6.35"]],
        "low": [["1 of 2, others missing", "40.00"], ["-10.00"]],
    }
    assert attention.count("| **") == 3
    assert "| **low** | 0.0100 | 0.50 | 1.00 | 1.50 | 2.00 | E2 4 |" in attention


def test_summary_holds_what_was_measured(config: Config, finished: Path) -> None:
    found = summary(finished, config, [1])
    assert json.loads((finished / "ablation.json").read_text()) == json.loads(json.dumps(found))
    late = found["variants"]["late"]["runs"]["1"]
    name = config.validation[0].name
    assert {f"{name}/accuracy", f"{name}/iou", f"{name}/lanes/encoder1"} <= set(late)
    assert found["variants"]["early"]["runs"] == {}


def test_soft_figures_are_of_the_network_as_it_is(config: Config, finished: Path) -> None:
    network = load_network(finished / "seed1" / "late" / "weights.safetensors")
    source, distillation = config.validation[0], config.resolved_distillation()
    found = soft_figures(network, config, source, distillation)
    assert 0 < found["iou"] < 1
    assert found["loss"] > 0
    assert not any(module._forward_hooks for module in network.modules())
    # The same by hand, in one batch.
    layout = config.lane_layout()
    dataset = source.open(Reading.for_layout(layout))
    rng = np.random.default_rng(0)
    batch = default_collate([prepare(dataset[i], layout, NONE, rng) for i in range(3)])
    inputs, classes, exists, _ = Changes(layout, config.lane_width, torch.device("cpu"))(batch)
    sad = SelfAttentionDistillation(network, distillation)
    with torch.no_grad():
        terms = config.objective(*network.eval()(inputs), classes, exists)
        maps = {
            name: spatial_softmax(collapse(of)) for name, of in sad.features().items()
        }  # B×h×w, of the blocks in the paths
    assert found["loss"] == pytest.approx(terms["task"].item(), rel=1e-4)
    apart = [
        ((maps[low] - maps[high]) ** 2).sum().item() / 3
        for low, high in (("encoder2", "encoder3"), ("encoder3", "encoder4"))
    ]
    assert found["distance"] == pytest.approx(sum(apart), rel=1e-3)
    lanes = (classes > 0).float().reshape(3, 4, 8, 8, 8).amax(dim=(2, 4))
    share = (maps["encoder4"] * lanes).sum(dim=(1, 2)) / lanes.mean(dim=(1, 2))
    assert found["lanes/encoder4"] == pytest.approx(share.mean().item(), rel=1e-3)


def test_images_without_lanes_have_no_soft_iou(config: Config, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((90, 160, 3), 60, np.uint8))
    network, source = build_network("enet_sad", 6, (64, 32)), config.validation[0]
    distillation = config.resolved_distillation()
    empty = soft_figures(network, config, Source(tmp_path, "negatives"), distillation)
    assert "iou" not in empty
    alone = soft_figures(network, config, source, distillation)["iou"]
    record = {"raw_file": str(tmp_path / "a.png"), "lanes": [], "h_samples": [40]}
    more = tmp_path / "more.json"
    more.write_text(source.path.read_text() + json.dumps(record))
    with_empty = Source(more, root=source.path.parent)
    assert soft_figures(network, config, with_empty, distillation)["iou"] == pytest.approx(alone)


def test_slots_of_another_layout_are_refused_before_anything_is_trained(
    config: Config, tmp_path: Path
) -> None:
    for name in ("a.jpg", "laneseg_label_w16/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), np.zeros((60, 160), np.uint8))
    for name in ("list.txt", "a.lines.txt"):
        (tmp_path / name).write_text("/a.jpg\n" if name == "list.txt" else "")
    masked = dataclasses.replace(config, validation=(Source(tmp_path / "list.txt", "culane"),))
    with pytest.raises(ValueError, match="number 4 slots, the layout tusimple has 6"):
        run_ablation(masked, tmp_path / "ablation", seeds=1, only=["late"])
    assert not (tmp_path / "ablation").exists()


def test_the_full_experiment_is_of_full_size() -> None:
    config = read_config(CONFIG.with_name("ablation_full.yaml"))
    assert (config.arch, config.input_size, config.initial) == ("enet_sad", (512, 224), None)
    assert config.steps >= 20_000
    assert config.batch == 16
    starts = {v.name: v.of(config, 1).distillation.start for v in VARIANTS}
    assert (starts["late"], starts["strong_early"]) == (13333, 3333)
    real = {"label_data_0313_val", "label_data_0601_val", "culane_val", "ceymo_lines"}
    assert real <= {source.name for source in config.validation}
