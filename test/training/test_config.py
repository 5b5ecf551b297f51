"""Training configurations: YAML, inheritance, overrides, and the rows of the paper's tables."""

import dataclasses
import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import training.config
from training.config import Config, plain, read_config
from training.supervision import DeepSupervision

CONFIGS = Path(training.config.__file__).parent / "configs"


def write_config(folder: Path, name: str = "config.yaml", **values: object) -> Path:
    path = folder / name
    path.write_text(yaml.safe_dump(values))
    return path


def test_overrides_replace_values(tmp_path: Path) -> None:
    path = write_config(tmp_path, steps=10, data=[{"path": "a.json"}])
    config = read_config(path, ["steps=20", "objective.iou=0.5", "input_size=[320, 184]"])
    assert (config.steps, config.objective.iou, config.objective.existence) == (20, 0.5, 0.1)
    assert config.lane_layout().input_size == (320, 184)
    assert config.data[0].path == Path("a.json")
    assert read_config(path, ["optimizer.learning_rate=1e-3"]).optimizer.learning_rate == 0.001
    assert read_config(path, ["point_threshold=0.4"]).lane_layout().decoding.point_threshold == 0.4
    assert read_config(path, ["side_margin=3"]).lane_layout().decoding.side_margin == 3


def test_base_gives_what_a_file_leaves_out(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    write_config(tmp_path / "base", "all.yaml", steps=7, objective={"iou": 0.2, "existence": 0.3})
    write_config(tmp_path / "base", "set.yaml", base="all.yaml", batch=3)
    path = write_config(tmp_path, base="base/set.yaml", objective={"iou": 0.5})
    config = read_config(path)
    assert (config.steps, config.batch) == (7, 3)
    assert (config.objective.iou, config.objective.existence) == (0.5, 0.3)


def test_plain_values_make_the_same_configuration(tmp_path: Path) -> None:
    config = read_config(CONFIGS / "tusimple_enet_sad.yaml", ["seed=9"])
    assert read_config(write_config(tmp_path, **plain(config))) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stepz": 3}, "unknown key stepz; known are .*steps"),
        ({"steps": "many"}, "steps: expected int"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"objective": {"dice": 1}}, "unknown key dice; known are background, existence, iou"),
        ({"crop": [1, 2]}, "crop: expected 4 values, not 2"),
        ({"layout": "mars"}, "layout 'mars' is not one of tusimple"),
        ({"arch": "vgg"}, "arch 'vgg' is not one of enet_sad"),
        ({"data": [{"path": "x", "kind": "kitti"}]}, "data: kind 'kitti' is not one of tusimple"),
        ({"data": [{"path": "x", "share": 0}]}, "share must be above 0"),
        ({"distillation": {"mapping": "mean"}}, "distillation: the mapping is"),
        ({"distillation": {"ramp": -1}}, "distillation: the ramp is a number of steps"),
        ({"optimizer": {"kind": "lion"}}, "optimizer: the optimiser is"),
        ({"optimizer": {"warm_up": 500}}, "optimizer: warm_up is a share of the steps, below 1"),
        ({"optimizer": {"clip": 0}}, "optimizer: clip must be above 0, .inf for any gradient"),
        ({"average": 1.0}, "average is a decay, at least 0 and below 1, not 1"),
        ({"seed": -1}, "seed must not be negative"),
        ({"precision": "int8"}, "precision 'int8' is not one of float32"),
        ({"data": 3}, "data: expected a list"),
        ({"validation": [{"path": "a/x.json"}, {"path": "b/x.json"}]}, "must differ in .*: x, x"),
    ],
)
def test_wrong_configuration_is_explained(tmp_path: Path, values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_config(write_config(tmp_path, **values))


@pytest.mark.parametrize(
    "text",
    [
        "- a list",
        "steps: [",
        "\x80",
        "steps: " + "[" * 5000 + "]" * 5000,
        "a: &a [x, x]\n"
        + "".join(
            f"{new}: &{new} [{f'*{old}, ' * 9}]\n" for old, new in itertools.pairwise("abcdefghijk")
        ),
        "base: broken.yaml",
        "base: 3",
    ],
)
def test_file_that_is_no_mapping_is_explained(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"broken\.yaml") as caught:
        read_config(path)
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


def test_override_that_is_no_yaml_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'crop=\[1, ': the value is not YAML"):
        read_config(write_config(tmp_path), ["crop=[1, "])


def test_files_that_build_on_each_other_are_told(tmp_path: Path) -> None:
    write_config(tmp_path, "a.yaml", base="b.yaml")
    write_config(tmp_path, "b.yaml", base="a.yaml")
    with pytest.raises(ValueError, match=r"b.yaml, base: a.yaml builds on this file itself"):
        read_config(tmp_path / "a.yaml")


def test_there_is_a_configuration_for_each_row_of_the_papers_tables() -> None:
    for dataset, (network, arch), sad in itertools.product(
        ("tusimple", "culane", "bdd100k"),
        (("enet", "enet_sad"), ("r18", "resnet18"), ("r34", "resnet34"), ("r101", "resnet101")),
        ("_sad", ""),
    ):
        config = read_config(CONFIGS / f"{dataset}_{network}{sad}.yaml")
        assert (config.layout, config.arch) == (dataset, arch)
        assert (config.distillation.weight, config.distillation.start) == (0.1 if sad else 0, 40000)
        assert (config.distillation.mapping, config.distillation.power) == ("sum", 2.0)
        assert config.resolved_distillation().paths == training.config.paper_paths(arch)
        assert config.deep_supervision.weight == 0
        assert config.existence is (dataset != "bdd100k")
        objective = config.objective
        assert (objective.background, objective.iou) == (0.4, 0.1)
        assert objective.existence == (0.0 if dataset == "bdd100k" else 0.1)
        assert (config.steps, config.batch, config.optimizer.kind) == (60000, 12, "sgd")
        splits = [[(s.kind, s.split) for s in given] for given in (config.data, config.validation)]
        assert splits == [[(dataset, "train")], [(dataset, "val")]]


def test_deep_supervision_comes_instead_of_distillation() -> None:
    deep, control = (read_config(CONFIGS / f"tusimple_{n}.yaml") for n in ("enet_deep", "enet"))
    assert deep == dataclasses.replace(control, deep_supervision=DeepSupervision(weight=0.1))


def test_the_paper_distils_from_the_second_block_on() -> None:
    assert training.config.paper_paths("enet_sad") == (
        ("encoder2", "encoder3"),
        ("encoder3", "encoder4"),
    )
    assert training.config.paper_paths("resnet18") == (("layer2", "layer3"), ("layer3", "layer4"))
    assert Config().supervised_layers() == ("encoder2", "encoder3")


@pytest.mark.parametrize("name", ["base/paper", "ablation", "ablation_cpu", "ablation_full"])
def test_distillation_begins_with_the_last_third(name: str) -> None:
    config = read_config(CONFIGS / f"{name}.yaml")
    assert config.distillation.start == pytest.approx(config.steps * 2 / 3, abs=1)


def test_the_documented_deviations_are_those_of_the_files() -> None:
    """The column "here" of the table in docs/training.md: one value, or one for each data set."""
    page = (CONFIGS.parents[1] / "docs" / "training.md").read_text()
    text = page.partition("What the files say beside the paper")[2].partition("Lanes are")[0]
    rows = re.findall(r"^`([\w.]+)` \| (.+?) \|", text, re.MULTILINE)
    assert len(rows) > 20
    for dataset, number in (("tusimple", 0), ("culane", 1), ("bdd100k", 2)):
        for network in ("enet_sad", "r18_sad", "r34_sad", "r101_sad"):
            values: Any = plain(read_config(CONFIGS / f"{dataset}_{network}.yaml"))
            for key, cell in rows:
                told = re.findall(r"`(.+?)`", cell)
                assert len(told) in (1, 3), key
                value = values
                for name in key.split("."):
                    value = value[name]
                assert value == yaml.safe_load(told[number if len(told) == 3 else 0]), key
    named = {key for key, _ in rows}
    differing = {"optimizer.clip", "average", "augmentation.colour", "augmentation.scale", "steps"}
    assert differing | {"batch", "input_size", "lane_width", "crop"} <= named


def test_every_shipped_configuration_reads() -> None:
    for path in CONFIGS.rglob("*.yaml"):
        assert isinstance(read_config(path), Config)
