"""`LaneDetector`: frames of any kind in, lanes in pixels of the original image out."""

import dataclasses
import gc
import itertools
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lane_sad_ros.detection import (
    DeviceError,
    Frame,
    LaneDetector,
    segmentation_to_image,
)
from lane_sad_ros.detection.engines import ENGINES, EngineError, Forward, Job, cuda
from lane_sad_ros.detection.engines.auto import Trial, choose
from lane_sad_ros.detection.peaks import RowPeaks
from lane_sad_ros.detection.preprocess import HostPreprocessor, Normalise, Preprocessor
from lane_sad_ros.lanes import LaneLayout
from lane_sad_ros.network.architectures import build_network
from lane_sad_ros.network.weights import WeightsError, load

# RGB of the paint that `PaintNetwork` takes for the lane of each slot.
PAINT = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0))


class PaintNetwork(nn.Module):
    """A network whose answer is known: a pixel of a slot's paint belongs to that slot."""

    def __init__(self, layout: LaneLayout, existence: bool = True) -> None:
        super().__init__()
        self.layout = layout
        self.existence = existence

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        shape = (1, 3, 1, 1)
        std, mean = torch.tensor(self.layout.std), torch.tensor(self.layout.mean)
        lit = images * std.view(shape) + mean.view(shape) > 0.5
        paints = torch.tensor(((0, 0, 0), *PAINT[: len(self.layout.slots)]), dtype=torch.bool)
        painted = (lit[:, None] == paints.view(1, -1, 3, 1, 1)).all(dim=2)
        segmentation = torch.where(painted, 20.0, -20.0)
        if not self.existence:
            return segmentation, None
        return segmentation, torch.where(painted[:, 1:].any(dim=3).any(dim=2), 5.0, -5.0)


def bgr(slot: int) -> tuple[int, int, int]:
    red, green, blue = PAINT[slot]
    return 255 * blue, 255 * green, 255 * red


def road(size: tuple[int, int], lanes: dict[int, tuple[float, float]]) -> NDArray[np.uint8]:
    """Black, with a wide line of each slot's paint from (u, bottom) to (u, row 0), u in shares."""
    image = np.zeros((size[1], size[0], 3), np.uint8)
    for slot, (bottom, top) in lanes.items():
        ends = ((round(bottom * size[0]), size[1] - 1), (round(top * size[0]), 0))
        cv2.line(image, *ends, bgr(slot), size[0] // 16)
    return image


def capturing(
    layout: LaneLayout, monkeypatch: pytest.MonkeyPatch
) -> tuple[LaneDetector, list[int]]:
    """A detector that captures, and the batch of each of its graphs; a graph here runs anew."""
    batches = []

    def capture(function: Callable[..., Any], inputs: tuple[Tensor, ...]) -> tuple[Any, Any, Any]:
        held = tuple(part.clone() for part in inputs)
        outputs = function(*held)

        def replay() -> None:
            for target, part in zip(outputs, function(*held), strict=True):
                target.copy_(part)

        batches.append(len(inputs[0]))
        return SimpleNamespace(replay=replay), held, outputs

    monkeypatch.setattr(cuda, "_capture", capture)
    engine = dataclasses.replace(ENGINES["eager"], captures=True)
    monkeypatch.setitem(ENGINES, "eager", engine)
    return LaneDetector(PaintNetwork(layout), layout, device="cpu"), batches


@pytest.fixture
def known(tiny_layout: LaneLayout) -> LaneDetector:
    return LaneDetector(PaintNetwork(tiny_layout), tiny_layout, device="cpu")


ROAD = {0: (0.1, 0.3), 1: (0.3, 0.4), 2: (0.7, 0.6)}


@pytest.mark.parametrize("size", [(128, 96), (640, 480), (1000, 500), (90, 70)])
def test_lanes_come_back_where_they_were_drawn(known: LaneDetector, size: tuple[int, int]) -> None:
    lanes = known.detect([Frame(road(size, ROAD))])[0].lanes
    assert lanes.image_size == size
    assert [lane.exists for lane in lanes] == [True, True, True, False]
    for slot, (bottom, top) in ROAD.items():
        points = lanes[slot].points
        assert points[0, 1] > 0.9 * size[1]
        share = points[:, 1] / (size[1] - 1)
        expected = (top + (bottom - top) * share) * size[0]
        np.testing.assert_allclose(points[:, 0], expected, atol=0.012 * size[0])


def test_flipped_image_gives_flipped_lanes(known: LaneDetector) -> None:
    image = road((640, 480), ROAD)
    swapped = np.zeros_like(image)
    for slot in range(4):
        swapped[(image == bgr(slot)).all(axis=2)] = bgr(3 - slot)
    straight = known.detect([Frame(image)])[0].lanes
    flipped = known.detect([Frame(swapped[:, ::-1])])[0].lanes
    for lane in straight:
        mirror = flipped[3 - lane.slot]
        assert mirror.exists == lane.exists
        np.testing.assert_allclose(639 - mirror.points[:, 0], lane.points[:, 0], atol=0.05)


@pytest.mark.parametrize("existence", [True, False])
def test_one_slot_for_all_lanes(tiny_layout: LaneLayout, existence: bool) -> None:
    """Two classes, as for BDD100K: all lanes in the map, the clearest as points."""
    layout = dataclasses.replace(tiny_layout, slots=("lane",))
    detector = LaneDetector(PaintNetwork(layout, existence), layout, device="cpu")
    image = road((640, 480), {0: (0.2, 0.3)})
    cv2.line(image, (576, 479), (512, 0), bgr(0), 12)  # narrow, so that smoothing pales it
    empty, both = detector.detect([Frame(np.zeros_like(image)), Frame(image)], segmentation=True)
    (lane,) = empty.lanes
    assert (lane.exists, len(lane.points)) == (False, 0)
    assert lane.probability == pytest.approx(0.0, abs=0.01)
    (lane,) = both.lanes
    assert lane.exists
    expected = lane.points[:, 2].mean() if not existence else 1 / (1 + np.exp(-5))
    assert lane.probability == pytest.approx(float(expected), abs=1e-4)
    share = lane.points[:, 1] / 479
    np.testing.assert_allclose(lane.points[:, 0], (0.3 - 0.1 * share) * 640, atol=8)
    assert both.segmentation is not None
    full = segmentation_to_image(both.segmentation, layout, (640, 480))
    assert full.max() == 1
    assert full[479, 128] == full[479, 576] == 1


def test_network_in_training_mode_is_run_in_evaluation_mode(tiny_layout: LaneLayout) -> None:
    size = tiny_layout.input_size
    network = build_network("enet_sad", len(tiny_layout.slots), size).train()
    image = Frame(np.random.default_rng(3).integers(0, 255, (*size[::-1], 3), np.uint8))
    detector = LaneDetector(network, tiny_layout, device="cpu")
    first, second = (detector.detect([image], segmentation=True)[0] for _ in range(2))
    assert first.segmentation is not None and second.segmentation is not None
    np.testing.assert_array_equal(first.segmentation, second.segmentation)  # no dropout


def test_the_host_resizes_as_other_devices_do(tiny_layout: LaneLayout) -> None:
    rng = np.random.default_rng(1)
    shapes = [(96, 128, 3), (200, 300, 3), (96, 128), (96, 128, 3), (200, 300, 3)]
    frames = [
        Frame(rng.integers(0, 256, shape, dtype=np.uint8), order)
        for shape, order in zip(shapes, ["bgr", "rgb", "bgr", "bgr", "bgr"], strict=True)
    ]
    host, other = HostPreprocessor(tiny_layout), Preprocessor(tiny_layout, torch.device("cpu"))
    for batch in (frames, frames[:1], frames[2:3]):
        difference = host(batch).int() - other(batch).int()
        assert difference.abs().max() <= 1


def test_what_is_captured_finds_what_is_found_without(
    tiny_layout: LaneLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = LaneDetector(PaintNetwork(tiny_layout), tiny_layout, device="cpu")
    captured, _ = capturing(tiny_layout, monkeypatch)
    large, small = (640, 480), (320, 240)
    first, second = road(large, {0: (0.2, 0.3)}), road(large, {2: (0.6, 0.6)})
    grey = road(small, {3: (0.9, 0.5)}).max(axis=2)  # white: no slot's paint
    frames = [
        Frame(first),
        Frame(np.ascontiguousarray(second[..., ::-1]), "rgb"),
        Frame(road(small, {1: (0.4, 0.5)})),
        Frame(grey),
        Frame(second),
    ]
    captured.detect(frames[::-1])
    found = captured.detect(frames, segmentation=True)
    assert [[lane.slot for lane in one.lanes.present] for one in found] == [[0], [2], [1], [], [2]]
    for one, other in zip(plain.detect(frames, segmentation=True), found, strict=True):
        assert one.lanes.image_size == other.lanes.image_size
        np.testing.assert_array_equal(one.segmentation, other.segmentation)
        for lane, same in zip(one.lanes, other.lanes, strict=True):
            np.testing.assert_allclose(lane.points, same.points, atol=1e-3)


def test_cameras_of_any_sizes_need_no_graph_that_warming_up_did_not_make(
    tiny_layout: LaneLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector, batches = capturing(tiny_layout, monkeypatch)
    detector.warm_up(1)
    detector.warm_up(2)
    assert batches == [1, 2]
    first, second = (road(size, {}) for size in ((1920, 1080), (640, 480)))
    cameras = [Frame(first), Frame(second, "rgb"), Frame(second.max(axis=2))]
    for pair in itertools.product(cameras, repeat=2):
        detector.detect(pair[:1])
        detector.detect(pair)
    assert batches == [1, 2]


def test_the_network_sees_the_crop_to_the_row(tiny_layout: LaneLayout) -> None:
    shades = (np.arange(960) - 240) * 255 / 719  # the crop begins at row 240
    column = shades.clip(0).round().astype(np.uint8)
    image = np.ascontiguousarray(np.broadcast_to(column[:, None, None], (960, 1280, 3)))
    expected = torch.from_numpy(shades[240:].reshape(48, 15).mean(axis=1))
    for preprocess in (
        HostPreprocessor(tiny_layout),
        Preprocessor(tiny_layout, torch.device("cpu")),
    ):
        seen = preprocess([Frame(image)])
        assert seen.shape == (1, 3, 48, 64)
        rows = seen.double().mean(dim=(0, 1, 3))
        torch.testing.assert_close(rows[1:-1], expected[1:-1], atol=1.0, rtol=0)


def test_colours_are_normalised_by_the_layouts_mean_and_scatter(tiny_layout: LaneLayout) -> None:
    mean, std = (0.1, 0.2, 0.3), (0.2, 0.4, 0.5)
    normalise = Normalise(dataclasses.replace(tiny_layout, mean=mean, std=std))
    pixels = torch.tensor([[0, 51, 255]] * 3, dtype=torch.uint8)[:, None]  # RGB, 1×3 each
    expected = [
        [(share - m) / s for share in (0.0, 0.2, 1.0)] for m, s in zip(mean, std, strict=True)
    ]
    torch.testing.assert_close(normalise(pixels)[:, 0], torch.tensor(expected))


@pytest.mark.parametrize("arch", ["enet_sad", "resnet18"])
def test_batch_equals_single(make_weights: Callable[..., Path], arch: str) -> None:
    detector = LaneDetector.from_weights(make_weights(arch=arch), device="cpu")
    detector.set_thresholds(existence=0.0, point=0.0)
    rng = np.random.default_rng(0)
    frames = [
        Frame(rng.integers(0, 256, (*shape, 3), dtype=np.uint8))
        for shape in ((96, 128), (200, 300), (480, 640))
    ]
    together = detector.detect(frames, segmentation=True)
    for frame, detection in zip(frames, together, strict=True):
        single = detector.detect([frame], segmentation=True)[0]
        assert single.lanes.image_size == detection.lanes.image_size == frame.size
        for a, b in zip(single.lanes, detection.lanes, strict=True):
            assert a.exists == b.exists
            assert a.probability == pytest.approx(b.probability, abs=1e-5)
            np.testing.assert_allclose(a.points, b.points, atol=0.05)
        assert (single.segmentation == detection.segmentation).mean() > 0.999


def test_channel_order_grey_and_views(make_weights: Callable[..., Path]) -> None:
    detector = LaneDetector.from_weights(make_weights(), device="cpu")
    rng = np.random.default_rng(1)
    padded = rng.integers(0, 256, (96, 140, 4), dtype=np.uint8)
    view = padded[:, :128, :3]
    read_only = view.copy()
    read_only.flags.writeable = False

    def existence(pixels: NDArray[np.uint8], order: str = "bgr") -> list[float]:
        lanes = detector.detect([Frame(pixels, order)])[0].lanes
        return [lane.probability for lane in lanes]

    expected = existence(view.copy())
    assert existence(view) == pytest.approx(expected, abs=1e-6)
    assert existence(read_only) == pytest.approx(expected, abs=1e-6)
    assert existence(view[..., ::-1], "rgb") == pytest.approx(expected, abs=1e-6)
    assert existence(view, "rgb") != pytest.approx(expected, abs=1e-6)
    grey = view[..., 0]
    coloured = np.repeat(grey[..., None], 3, axis=2)
    assert existence(grey) == pytest.approx(existence(coloured), abs=1e-6)


def test_thresholds_change_at_run_time(known: LaneDetector) -> None:
    frame = Frame(road((128, 96), ROAD))
    known.set_thresholds(existence=0.999)
    assert not known.detect([frame])[0].lanes.present
    known.set_thresholds(existence=0.5)
    assert len(known.detect([frame])[0].lanes.present) == 3
    with pytest.raises(ValueError, match="point_threshold must be"):
        known.set_thresholds(point=1.5)


class DoubtfulNetwork(PaintNetwork):
    """One that takes each painted lane to exist with a probability of 0.38."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        segmentation, existence = super().forward(images)
        assert existence is not None
        return segmentation, 0.1 * existence - 1


def test_doubtful_lanes_are_found_below_a_lower_threshold(tiny_layout: LaneLayout) -> None:
    detector = LaneDetector(DoubtfulNetwork(tiny_layout), tiny_layout, device="cpu")
    frame = Frame(road((128, 96), ROAD))
    assert not detector.detect([frame])[0].lanes.present
    detector.set_thresholds(existence=0.3)
    assert [lane.slot for lane in detector.detect([frame])[0].lanes.present] == list(ROAD)


def test_segmentation_lies_on_the_image(known: LaneDetector) -> None:
    image = road((256, 192), ROAD)
    detection = known.detect([Frame(image)], segmentation=True)[0]
    assert detection.segmentation is not None
    full = segmentation_to_image(detection.segmentation, known.layout, (256, 192))
    assert full.shape == (192, 256)
    assert not full[:48].any()  # above the crop
    for slot in ROAD:
        drawn = (image[48:] == bgr(slot)).all(axis=2)
        found = full[48:] == 1 + slot
        assert (drawn & found).sum() / (drawn | found).sum() > 0.8


def test_crop_can_be_replaced(tiny_layout: LaneLayout) -> None:
    detector = LaneDetector(
        PaintNetwork(tiny_layout), tiny_layout, device="cpu", crop=(0.0, 0.5, 1.0, 1.0)
    )
    lane = detector.detect([Frame(road((128, 96), ROAD))])[0].lanes[1]
    assert lane.exists
    assert lane.points[:, 1].min() >= 47
    with pytest.raises(ValueError, match="shares of the image"):
        LaneDetector(PaintNetwork(tiny_layout), tiny_layout, crop=(0.0, 0.9, 1.0, 0.5))


def test_no_gradients_are_kept(make_weights: Callable[..., Path]) -> None:
    network, layout, _ = load(make_weights())
    detector = LaneDetector(network, layout, device="cpu")
    kept: list[bool] = []
    for module in network.modules():
        module.register_forward_hook(
            lambda _module, _inputs, output: kept.append(
                any(part.requires_grad for part in output if isinstance(part, Tensor))
            )
        )
    detector.detect([Frame(np.zeros((96, 128, 3), np.uint8))])
    assert kept
    assert not any(kept)


def test_stages_are_timed(known: LaneDetector) -> None:
    stages = known.detect([Frame(road((128, 96), ROAD))])[0].stages
    assert list(stages) == ["preprocess", "network", "decode"]
    assert all(seconds > 0 for seconds in stages.values())


def test_no_frames_no_detections(known: LaneDetector) -> None:
    assert known.detect([]) == []


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), "uint8"),
        (np.zeros((4, 4, 2), np.uint8), "4x4x2"),
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
    ],
)
def test_bad_frames_are_refused(pixels: NDArray[np.uint8], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Frame(pixels)
    with pytest.raises(ValueError, match="channel order"):
        Frame(np.zeros((4, 4, 3), np.uint8), "hsv")


def test_frame_too_small_for_the_crop(tiny_layout: LaneLayout) -> None:
    detector = LaneDetector(
        PaintNetwork(tiny_layout), tiny_layout, device="cpu", crop=(0.1, 0.1, 0.4, 0.4)
    )
    with pytest.raises(ValueError, match="too small for the crop"):
        detector.detect([Frame(np.zeros((1, 1, 3), np.uint8))])


@pytest.mark.parametrize("device", ["cuda:77", "nonsense", "tpu"])
def test_device_that_is_not_there(make_weights: Callable[..., Path], device: str) -> None:
    with pytest.raises(DeviceError, match="this machine has .*cpu"):
        LaneDetector.from_weights(make_weights(), device=device)


@pytest.mark.parametrize(
    ("cuda", "words"),
    [
        (None, "is built without CUDA"),
        ("13.0", r"is for CUDA 13\.0 and finds no card with a driver for it"),
    ],
)
def test_why_there_is_no_gpu_is_said(
    make_weights: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    cuda: str | None,
    words: str,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.version.cuda", cuda)
    with pytest.raises(DeviceError, match=words):
        LaneDetector.from_weights(make_weights(), device="cuda")


@pytest.fixture
def with_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for any device is told that there is a GPU."""
    monkeypatch.setattr(
        "lane_sad_ros.detection.detector.find_device", lambda _: torch.device("cuda:0")
    )


@pytest.mark.usefixtures("with_gpu")
def test_an_engine_of_the_cpu_gets_the_cpu_beside_a_gpu(
    make_weights: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = make_weights()
    of_cpu = dataclasses.replace(ENGINES["eager"], devices=("cpu",))
    monkeypatch.setitem(ENGINES, "eager", of_cpu)
    detector = LaneDetector.from_weights(weights, engine="eager")
    assert detector.description["device"] == "cpu"
    monkeypatch.setenv("LANE_SAD_ENGINE", "eager")
    assert LaneDetector.from_weights(weights).description["device"] == "cpu"
    with pytest.raises(EngineError, match="eager runs on cpu only, not on cuda:0"):
        LaneDetector.from_weights(weights, device="cuda", engine="eager")


@pytest.mark.usefixtures("with_gpu")
def test_weights_that_only_the_cpu_can_run_get_the_cpu_beside_a_gpu(
    tiny_layout: LaneLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LANE_SAD_ENGINE")
    asked = []

    def chosen(job: Job) -> tuple[str, str, bool]:
        asked.append(str(job.device))
        raise EngineError("enough")

    monkeypatch.setattr("lane_sad_ros.detection.detector.choose", chosen)
    # ONNX Runtime for the CPU alone, and all libraries there.
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    of_cpu = dataclasses.replace(ENGINES["onnx"], works=lambda device: device.type == "cpu")
    monkeypatch.setitem(ENGINES, "onnx", of_cpu)
    for network in (tmp_path / "weights.onnx", PaintNetwork(tiny_layout)):
        with pytest.raises(EngineError, match="enough"):
            LaneDetector(network, tiny_layout, engine="auto")
    assert asked == ["cpu", "cuda:0"]


@pytest.fixture
def with_old_gpu(with_gpu: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that PyTorch has nothing for; auto has eager alone."""
    eager = ENGINES["eager"]

    def made(job: Job) -> Forward:
        if job.device.type == "cuda":
            raise RuntimeError("CUDA error: no kernel image is available\nCompile with")
        return eager.make(job)

    def tried(job: Job, name: str) -> Trial:
        raise EngineError("CUDA error: no kernel image is available")

    for name in ENGINES.keys() - {"eager"}:
        monkeypatch.setitem(ENGINES, name, dataclasses.replace(ENGINES[name], bound=0.0))
    monkeypatch.setitem(ENGINES, "eager", dataclasses.replace(eager, make=made))
    monkeypatch.setattr("torch.cuda.get_device_name", lambda _: "old")
    monkeypatch.setattr("lane_sad_ros.detection.detector.choose", lambda job: choose(job, tried))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("LANE_SAD_ENGINE")


@pytest.mark.usefixtures("with_old_gpu")
@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ("auto", "no other is installed; on cuda:0: eager fails: CUDA error: no kernel image"),
        ("eager", "asked for; engine eager on cuda:0 fails: CUDA error: no kernel image"),
    ],
)
def test_a_gpu_that_does_not_work_is_done_without(
    tiny_layout: LaneLayout, engine: str, words: str
) -> None:
    for _ in range(2):  # the second time from the cache
        detector = LaneDetector(PaintNetwork(tiny_layout), tiny_layout, engine=engine)
        assert detector.description["device"] == "cpu"
        assert words in detector.description["engine_reason"]
    assert len(detector(road((128, 96), ROAD)).present) == 3
    with pytest.raises(EngineError, match="eager on cuda:0 fails: CUDA .*; use device cpu$"):
        LaneDetector(PaintNetwork(tiny_layout), tiny_layout, engine=engine, device="cuda")


def test_a_gpu_is_not_left_for_what_fails_on_the_cpu_too(
    tiny_layout: LaneLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a network that other processes can't load."""
    asked = []

    def chosen(job: Job) -> tuple[str, str, bool]:
        asked.append(job.device.type)
        return "eager", "eager fails", False

    monkeypatch.delenv("LANE_SAD_ENGINE")
    monkeypatch.setattr("lane_sad_ros.detection.detector.choose", chosen)
    # A device that any machine has, in place of a GPU.
    monkeypatch.setattr(
        "lane_sad_ros.detection.detector.find_device", lambda _: torch.device("meta")
    )
    anywhere = dataclasses.replace(ENGINES["eager"], devices=("cpu", "meta"))
    monkeypatch.setitem(ENGINES, "eager", anywhere)
    detector = LaneDetector(PaintNetwork(tiny_layout), tiny_layout, engine="auto")
    assert asked == ["meta", "cpu"]
    assert detector.description["device"] == "meta"


def test_the_memory_of_a_detector_is_free_when_it_is_let_go(tiny_layout: LaneLayout) -> None:
    detector = LaneDetector(PaintNetwork(tiny_layout), tiny_layout, device="cpu")
    detector(road((128, 96), {0: (0.5, 0.5)}))
    gone = weakref.ref(detector)
    gc.disable()
    try:
        del detector
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("on_host", [True, False])
def test_a_network_that_overflows_is_an_error(
    tiny_layout: LaneLayout, monkeypatch: pytest.MonkeyPatch, number: float, on_host: bool
) -> None:
    class Overflowing(PaintNetwork):
        def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
            segmentation, existence = super().forward(images)
            segmentation[:, 1:] = number
            assert existence is not None
            return segmentation, existence.fill_(5.0)

    if not on_host:
        monkeypatch.setattr("lane_sad_ros.detection.detector.make_row_peaks", RowPeaks)
    detector = LaneDetector(Overflowing(tiny_layout), tiny_layout, device="cpu")
    with pytest.raises(FloatingPointError, match="use engine eager"):
        detector(road((128, 96), {0: (0.5, 0.5)}))


def test_unknown_engine(make_weights: Callable[..., Path]) -> None:
    with pytest.raises(ValueError, match="engine 'warp' is not one of auto, eager, compiled"):
        LaneDetector.from_weights(make_weights(), device="cpu", engine="warp")


def test_missing_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.safetensors"):
        LaneDetector.from_weights(tmp_path / "none.safetensors", device="cpu")
