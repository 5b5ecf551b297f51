"""What only a GPU can show: `benchmark/gpu.sh` runs these on a machine that has one."""

import numpy as np
import pytest
import torch

from lane_sad_ros.detection import ENGINES, Frame, LaneDetector
from lane_sad_ros.detection.agreement import Agreement
from lane_sad_ros.detection.engines.auto import PICTURE
from lane_sad_ros.detection.engines.cuda import Captured
from lane_sad_ros.image_files import read_image

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
ON_CUDA = [name for name, engine in ENGINES.items() if "cuda" in engine.devices]


def road() -> Frame:
    return Frame(read_image(PICTURE))


def on_cuda(name: str) -> LaneDetector:
    from lane_sad_ros.detection import EngineError

    try:
        return LaneDetector.from_weights(device="cuda", engine=name)
    except EngineError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", ON_CUDA)
def test_the_gpu_finds_what_the_cpu_finds(name: str) -> None:
    detector, cpu = on_cuda(name), LaneDetector.from_weights(device="cpu", engine="eager")
    agreement = Agreement()
    frame = road()
    for shift in range(0, 120, 8):
        moved = Frame(np.ascontiguousarray(np.roll(frame.pixels, shift, axis=1)))
        agreement.add(cpu(moved), detector(moved))
    assert agreement.within(1.0), (agreement.flags, agreement.pixels())


@pytest.mark.parametrize("name", ON_CUDA)
def test_cameras_of_any_size_run_as_one_batch(name: str) -> None:
    detector = on_cuda(name)
    frame = road()
    frames = [frame, Frame(np.ascontiguousarray(frame.pixels[::2, ::2])), frame]
    for batch in (frames, frames[:1], frames):
        for found, alone in zip(detector(batch), map(detector, batch), strict=True):
            agreement = Agreement()
            agreement.add(alone, found)
            assert agreement.within(1.0)


def test_results_of_one_call_outlive_the_next() -> None:
    detector = on_cuda("cudagraph")
    (first,) = detector.detect([road()], segmentation=True)
    kept = [lane.points.copy() for lane in first.lanes], first.segmentation.copy()
    detector.detect([Frame(np.zeros((720, 1280, 3), np.uint8))], segmentation=True)
    for lane, points in zip(first.lanes, kept[0], strict=True):
        np.testing.assert_array_equal(lane.points, points)
    np.testing.assert_array_equal(first.segmentation, kept[1])


def test_captured_functions_follow_their_inputs_and_shapes() -> None:
    captured = Captured(lambda a, b: a * 2 + b)
    for size in (3, 5, 3):
        for value in (1.0, 7.0):
            a, b = torch.full((size,), value, device="cuda"), torch.ones(size, device="cuda")
            assert captured(a, b).tolist() == [2 * value + 1] * size


def test_a_batch_too_large_for_the_memory_leaves_the_detector_usable() -> None:
    detector = on_cuda("eager")
    torch.cuda.set_per_process_memory_fraction(0.02)
    try:
        with pytest.raises(torch.cuda.OutOfMemoryError):
            detector([road()] * 512)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
    assert len(detector(road()).present) >= 2


def test_stages_are_timed_on_the_device() -> None:
    stages = on_cuda("cudagraph").detect([road()])[0].stages
    assert all(0 < seconds < 10 for seconds in stages.values())
