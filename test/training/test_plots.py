"""Pictures of distillation, and that the example in its documentation runs."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

import training.plots
from lane_sad_ros.lanes import LaneLayout
from lane_sad_ros.network.architectures import build_network
from training.distillation import Distillation, SelfAttentionDistillation
from training.history import History
from training.plots import (
    MAPPINGS,
    draw,
    look,
    mapping_name,
    overlay,
    plot_starts,
    read_images,
    start_of,
)

DOCUMENT = Path(__file__).parents[2] / "docs" / "distillation.md"


@pytest.fixture
def scene() -> np.ndarray[Any, Any]:
    """128×96 BGR: sky above, which the tiny layout crops, a bright stripe on the road below."""
    image = np.full((96, 128, 3), (200, 60, 40), np.uint8)
    image[24:] = 70
    cv2.line(image, (40, 95), (60, 30), (255, 255, 255), 4)
    return image


# --- attention


def test_look_shows_distributions_and_leaves_the_network_alone(
    tiny_layout: LaneLayout, scene: np.ndarray[Any, Any]
) -> None:
    network = build_network("enet_sad", 4, (64, 48)).eval()
    images = [scene, cv2.flip(scene, 1)]
    looks = look(network, tiny_layout, images, Distillation(entropy=0.7))
    assert len(looks) == 2
    assert list(looks[0].maps) == ["encoder1", "encoder2", "encoder3", "encoder4"]
    assert looks[0].maps["encoder1"].shape == (12, 16)
    for found in looks:
        for name, attention in found.maps.items():
            assert attention.sum() == pytest.approx(1, abs=1e-4)
            entropy = -(attention * np.log(attention)).sum() / np.log(attention.size)
            assert entropy == pytest.approx(0.7, abs=0.01)
            assert 0 < found.focus[name] < 1
    # RGB, cropped to the part that the network sees: no sky.
    np.testing.assert_array_equal(looks[0].view, cv2.resize(
        scene[24:, :, ::-1], (64, 48), interpolation=cv2.INTER_AREA))  # fmt: skip
    assert not any(module._forward_hooks for module in network.modules())


def test_look_is_of_each_image_alone(tiny_layout: LaneLayout, scene: np.ndarray[Any, Any]) -> None:
    network = build_network("resnet18", 4, (64, 48)).eval()
    alone = look(network, tiny_layout, [scene], Distillation())[0]
    beside = look(network, tiny_layout, [cv2.flip(scene, 1), scene], Distillation())[1]
    assert list(alone.maps) == ["layer1", "layer2", "layer3", "layer4"]
    for name in alone.maps:
        np.testing.assert_allclose(alone.maps[name], beside.maps[name], atol=1e-5)


def test_overlay_is_bright_where_the_attention_is() -> None:
    attention = np.full((12, 16), 1e-4, np.float32)
    attention[3:5, 10:12] = 0.2
    view = np.full((48, 64, 3), 120, np.uint8)
    light = overlay(view, attention).sum(axis=2)
    assert np.unravel_index(light.argmax(), light.shape)[0] // 4 in (3, 4)
    assert light[14:18, 42:46].min() > 3 * np.median(light)
    # Elsewhere the image is seen, dimmed and without its colour.
    assert 120 < np.median(light) < 3 * 120


def test_mapping_functions_have_names() -> None:
    names = ["Σ|A|", "Σ|A|²", "Σ|A|⁴", "max |A|²", "max |A|⁴"]
    assert [mapping_name(*mapping) for mapping in MAPPINGS] == names
    assert mapping_name("sum", 0.5) == "Σ|A|⁰·⁵"


# --- the command


def run_folder(folder: Path, weights: Path, start: int, weight: float) -> Path:
    folder.mkdir()
    (folder / "weights.safetensors").write_bytes(weights.read_bytes())
    settings = {"distillation": {"start": start, "weight": weight}}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    history = History(folder, 0, 0)
    for step in range(1, 6):
        history.add(step, {"loss/task": 1 / step, "val/accuracy": 0.5 + step / 20})
    history.close()
    return folder


def test_draw_makes_what_the_runs_have(
    make_weights: Callable[..., Path], tmp_path: Path, scene: np.ndarray[Any, Any]
) -> None:
    photo = tmp_path / "scene.png"
    cv2.imwrite(str(photo), scene)
    first = run_folder(tmp_path / "without", make_weights(), 0, 0.0)
    second = run_folder(tmp_path / "with", make_weights(seed=1), 2, 0.1)
    both, one = tmp_path / "both", tmp_path / "one"
    draw([first, second], both, [photo])
    draw([make_weights()], one, [photo])
    assert sorted(f.name for f in both.iterdir()) == ["attention.jpg", "mappings.jpg", "starts.png"]
    # A weights file has no history.
    assert sorted(f.name for f in one.iterdir()) == ["attention.jpg", "mappings.jpg"]
    two_rows, one_row = (cv2.imread(str(f / "attention.jpg")).shape[0] for f in (both, one))
    assert two_rows > 1.3 * one_row


def test_scenes_are_shown_where_no_images_are_named(
    make_weights: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scene: np.ndarray[Any, Any],
) -> None:
    monkeypatch.setattr(training.plots, "rendered_images", lambda: iter([scene]))
    draw([make_weights()], tmp_path / "out")
    assert cv2.imread(str(tmp_path / "out" / "attention.jpg")).mean() > 20


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    runs = [tmp_path / name for name in ("seed1/late", "seed2/late", "control")]
    for run in runs:
        run.mkdir(parents=True)
    assert training.plots._names(runs) == ["seed1/late", "seed2/late", "control"]


def test_folders_of_images_are_read_by_name(tmp_path: Path) -> None:
    for name, grey in (("b.png", 20), ("a.png", 10), ("note.txt", 0)):
        cv2.imwrite(str(tmp_path / "x.png"), np.full((4, 4, 3), grey, np.uint8))
        (tmp_path / "x.png").rename(tmp_path / name)
    assert [int(image.mean()) for image in read_images([tmp_path])] == [10, 20]


def test_errors_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty: no image in this folder \(.jpg"):
        read_images([tmp_path / "empty"])
    with pytest.raises(ValueError, match="gone.png"):
        read_images([tmp_path / "gone.png"])
    with pytest.raises(
        FileNotFoundError, match="config.yaml: no such file; name the folder of a run"
    ):
        start_of(tmp_path / "empty")


# --- curves


def test_curves_are_means_of_the_steps_that_all_runs_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[list[float], list[float]]] = []
    plot = training.plots.Axes.plot

    def recorded(axes: Any, x: Any, y: Any, *style: Any, **options: Any) -> Any:
        drawn.append((list(x), list(y)))
        return plot(axes, x, y, *style, **options)

    monkeypatch.setattr(training.plots.Axes, "plot", recorded)
    first = [{"step": 1, "val/accuracy": 0.2}, {"step": 2, "val/accuracy": 0.6}]
    second = [{"step": 1, "val/accuracy": 0.4}, {"step": 3, "val/accuracy": 0.9}]
    late = [{"step": 1, "val/accuracy": 0.25}, {"step": 2, "val/accuracy": 0.7}]
    plot_starts({"no SAD": [first, second], "late": [late]}, tmp_path / "starts.png")
    # Each group, and its difference to the first at the steps that both have.
    assert drawn == [
        ([1], [pytest.approx(0.3)]),
        ([1], [0.0]),
        ([1, 2], [0.25, 0.7]),
        ([1], [pytest.approx(-0.05)]),
    ]
    assert (tmp_path / "starts.png").stat().st_size > 1000


def test_curves_of_many_sets_go_on_in_a_line_below(tmp_path: Path) -> None:
    names = [f"{letter}/f1" for letter in "abcde"]
    runs = [[{"step": 1, **dict.fromkeys(names, 0.5)}, {"step": 2, **dict.fromkeys(names, 0.6)}]]
    shapes = []
    for sets in (4, 5):
        shown = [
            [{k: v for k, v in entry.items() if k in ["step", *names[:sets]]} for entry in runs[0]]
        ]
        plot_starts({"no SAD": shown, "late": shown}, tmp_path / "starts.png")
        shapes.append(cv2.imread(str(tmp_path / "starts.png")).shape)
    assert (shapes[1][0], shapes[1][1]) == (2 * shapes[0][0], shapes[0][1])


# --- the documentation


class Own(nn.Module):
    """Somebody's network, with the layers that the example names."""

    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Conv2d(1, 4, 3, padding=1)
        self.layer2 = nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.layer3 = nn.Conv2d(4, 6, 3, padding=1)
        self.layer4 = nn.Conv2d(6, 6, 3, stride=2, padding=1)
        self.out = nn.Linear(6, 2)

    def forward(self, images: Tensor) -> Tensor:
        features = images
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            features = layer(features).relu()
        logits: Tensor = self.out(features.mean(dim=(2, 3)))
        return logits


def test_the_documented_example_distils(monkeypatch: pytest.MonkeyPatch) -> None:
    document = DOCUMENT.read_text().replace("lane_sad_ros.training.", "training.")
    training_loop, measuring = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    torch.manual_seed(0)
    network = Own()
    losses: list[float] = []
    loss = SelfAttentionDistillation.loss

    def recorded(self: SelfAttentionDistillation, *features: Any) -> Tensor:
        value = loss(self, *features)
        losses.append(value.item())
        return value

    monkeypatch.setattr(SelfAttentionDistillation, "loss", recorded)
    known = {
        "network": network,
        "loader": [(torch.randn(4, 1, 16, 16), torch.randint(0, 2, (4,))) for _ in range(103)],
        "task_loss": nn.functional.cross_entropy,
        "optimizer": torch.optim.SGD(network.parameters(), 0.01),
    }
    loop, remove = training_loop.split("sad.remove()")[0], "sad.remove()"
    printed: list[dict[str, float]] = []
    exec(loop, known)
    assert len(losses) == 3  # steps 100, 101 and 102
    assert all(value > 0 for value in losses)
    exec(measuring, known | {"print": printed.append})
    exec(remove, known)
    assert {"share/layer2", "share/layer3"} <= set(printed[0])
    assert printed[0]["share/layer2"] > 0
    assert not any(module._forward_hooks for module in network.modules())


def test_documented_settings_are_all_there_are() -> None:
    section = DOCUMENT.read_text().split("## Settings")[1].split("##")[0]
    entries = re.findall(r"^- ((?:`\w+`(?:, )?)+)", section, re.MULTILINE)
    named = re.findall(r"`(\w+)`", " ".join(entries))
    assert sorted(named) == sorted(Distillation.__dataclass_fields__)
    defaults = {"weight": 0.1, "start": 0, "entropy": 0.8, "power": 2}
    assert {name: getattr(Distillation(), name) for name in defaults} == defaults
