"""Networks as files for other programs: they say what they are, and give the same."""

import contextlib
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lane_sad_ros.cli import main
from lane_sad_ros.detection import EngineError, Frame, LaneDetector
from lane_sad_ros.image_files import write_image
from lane_sad_ros.lanes import Lanes
from lane_sad_ros.network.deploy import deployable
from lane_sad_ros.network.onnx_file import read_onnx
from lane_sad_ros.network.weights import WeightsError

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries about themselves


def pictures(count: int) -> list[Frame]:
    rng = np.random.default_rng(0)
    return [Frame(rng.integers(0, 256, (96, 128, 3), np.uint8)) for _ in range(count)]


def same(found: Lanes, expected: Lanes, pixels: float) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.exists == other.exists
        assert one.probability == pytest.approx(other.probability, abs=0.02)
        np.testing.assert_allclose(one.points[:, 0], other.points[:, 0], atol=pixels)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, tiny_layout) -> tuple[Path, Path]:
    """Random weights, and the ONNX file of `weights export`."""
    import torch

    from lane_sad_ros.network.architectures import build_network
    from lane_sad_ros.network.weights import save_network

    folder = tmp_path_factory.mktemp("export")
    weights = folder / "random.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_network("enet_sad", 4, tiny_layout.input_size)
    save_network(weights, network, tiny_layout, {"seed": 0}, {})
    assert (
        main(["weights", "export", "onnx", str(folder / "a.onnx"), "--weights", str(weights)]) == 0
    )
    return weights, folder / "a.onnx"


@pytest.fixture(scope="module")
def eight_bits(exported) -> tuple[Path, str]:
    """The ONNX file of `weights quantise`, measured on two pictures, and what it printed."""
    folder = exported[0].parent
    for index, frame in enumerate(pictures(2)):
        write_image(folder / "images" / f"{index}.png", frame.pixels)
    out = folder / "int8.onnx"
    arguments = ["weights", "quantise", str(folder / "images"), str(out)]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main([*arguments, "--weights", str(exported[0]), "--keep", "classify"]) == 0
    return out, printed.getvalue()


def test_weights_show_tells_what_an_exported_file_is(exported, tiny_layout, capsys) -> None:
    capsys.readouterr()
    assert main(["weights", "show", str(exported[1])]) == 0
    shown = capsys.readouterr().out
    for word in ("a.onnx", "enet_sad", "parameters", *tiny_layout.slots, "64x48", "opset: 18"):
        assert word in re.sub(" +", " ", shown)


def test_the_detector_runs_from_the_onnx_file_alone(exported, tiny_layout, tmp_path) -> None:
    weights, exported_file = exported
    alone = tmp_path / "alone.onnx"
    alone.write_bytes(exported_file.read_bytes())
    layout, about = read_onnx(alone)
    assert layout == tiny_layout
    assert about["training"] == {"seed": 0}
    assert about["export"]["opset"] == 18
    eager = LaneDetector.from_weights(weights, device="cpu")
    detector = LaneDetector.from_weights(alone, device="cpu", engine="onnx")
    for one in (eager, detector):
        one.set_thresholds(existence=0.0, point=0.0)
    for batch in (1, 3):
        frames = pictures(batch)
        for found, expected in zip(detector(frames), eager(frames), strict=True):
            same(found, expected, 0.05)
    with pytest.raises(EngineError, match="takes weights as safetensors, not alone.onnx"):
        LaneDetector.from_weights(alone, device="cpu", engine="eager")


def test_the_shipped_weights_are_exported(tmp_path) -> None:
    pytest.importorskip("openvino")
    assert main(["weights", "export", "openvino", str(tmp_path / "shipped.xml")]) == 0


def test_a_network_that_gives_something_else_is_not_exported(
    exported, tmp_path, capsys, monkeypatch
) -> None:
    def slightly_wrong(network):
        made = deployable(network)
        for parameter in made.parameters():
            parameter.mul_(1.01)
        return made

    monkeypatch.setattr("lane_sad_ros.network.onnx_file.deployable", slightly_wrong)
    out = tmp_path / "wrong.onnx"
    arguments = ["weights", "export", "onnx", str(out), "--weights", str(exported[0])]
    assert main(arguments) == 1
    assert "away from PyTorch's" in capsys.readouterr().err
    assert not out.exists()


def test_auto_runs_onnx_files(exported, monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("LANE_SAD_ENGINE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    detector = LaneDetector.from_weights(exported[1], device="cpu")
    assert detector.description["engine"] in ("openvino", "openvino-bf16", "onnx")
    assert len(detector(pictures(1)[0])) == 4


@pytest.mark.parametrize("file", ["exported", "eight_bits"])
def test_openvino_runs_onnx_files_as_onnx_runtime_does(file, request) -> None:
    pytest.importorskip("openvino")
    path = next(part for part in request.getfixturevalue(file) if str(part).endswith(".onnx"))
    openvino, onnx = (
        LaneDetector.from_weights(path, device="cpu", engine=engine)
        for engine in ("openvino", "onnx")
    )
    for detector in (openvino, onnx):
        detector.set_thresholds(existence=0.0, point=0.0)
    for found, expected in zip(openvino(pictures(2)), onnx(pictures(2)), strict=True):
        same(found, expected, 0.05 if file == "exported" else 1.0)


def test_openvino_files_are_written_in_pairs(exported, tmp_path) -> None:
    openvino = pytest.importorskip("openvino")
    out = tmp_path / "made" / "a.xml"
    arguments = ["weights", "export", "openvino", str(out), "--weights", str(exported[0])]
    assert main(arguments) == 0
    assert sorted(path.name for path in out.parent.iterdir()) == ["a.bin", "a.xml"]
    model = openvino.Core().compile_model(out, "CPU")
    found = model(np.zeros((2, 48, 64, 3), np.uint8))
    assert [found[index].shape for index in range(2)] == [(2, 5, 48, 64), (2, 4)]


def test_eight_bits_are_measured_on_images(exported, eight_bits) -> None:
    out, printed = eight_bits
    assert "of the flags are those of the weights" in printed
    export = read_onnx(out)[1]["export"]
    assert export["precision"] == "int8"
    assert export["calibration"] == {"source": str(out.parent / "images"), "images": 2}
    assert len(export["float32_layers"]) == 1
    assert out.stat().st_size < 0.6 * exported[1].stat().st_size


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "no such weights file"),
        (lambda path: path.write_bytes(b"\x08\x0a"), "not a complete ONNX file"),
        (lambda path: path.write_bytes(plain_onnx()), "make one with `lane_sad weights export"),
    ],
)
def test_other_onnx_files_are_refused(
    make: Callable[[Path], object], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "other.onnx"
    make(path)
    with pytest.raises(WeightsError, match=words):
        LaneDetector.from_weights(path, device="cpu")


def plain_onnx() -> bytes:
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [out])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString()


def test_a_file_of_the_wrong_name_is_wrong_use(tmp_path) -> None:
    with pytest.raises(SystemExit) as error:
        main(["weights", "export", "onnx", str(tmp_path / "a.pt")])
    assert error.value.code == 2


def test_the_benchmark_writes_what_it_prints(exported, tmp_path, capsys) -> None:
    json_file, plot = tmp_path / "b.json", tmp_path / "b.png"
    arguments = ["benchmark", "--weights", str(exported[0]), "--device", "cpu", "--repeats", "2"]
    arguments += ["--engine", "eager", "--batch", "1", "--batch", "2", "--json", str(json_file)]
    assert main([*arguments, "--plot", str(plot)]) == 0
    printed = capsys.readouterr().out
    result = json.loads(json_file.read_text())
    assert [entry["batch"] for entry in result["speed"]] == [1, 2]
    for entry in result["speed"]:
        assert list(entry["ms"]) == ["preprocess", "network", "decode", "total"]
        assert entry["of_eager"] == 1.0
        assert f"{entry['ms']['total']['median']:.2f}" in printed
    assert result["machine"]["processor"] in printed
    assert result["lanes"]["eager"] == {"flags_equal": 1.0, "pixels_99": 0.0}
    assert plot.stat().st_size > 1000
