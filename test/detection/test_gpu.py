"""What only a GPU can show: `benchmark/gpu.sh` runs these on a machine that has one."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from lane_sad_ros.detection import ENGINES, Frame, LaneDetector
from lane_sad_ros.detection.agreement import Agreement
from lane_sad_ros.detection.engines.auto import PICTURE
from lane_sad_ros.detection.engines.cuda import Captured
from lane_sad_ros.detection.preprocess import Preprocessor
from lane_sad_ros.image_files import read_image

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
SHADES = range(0, 256, 51)
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
            assert agreement.within(2.0), agreement.pixels()  # either may be 1 off, in bfloat16


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


def test_images_are_uploaded_from_pinned_memory_that_no_later_one_overwrites() -> None:
    layout = LaneDetector.from_weights(engine="eager", device="cpu").layout
    preprocess = Preprocessor(layout, torch.device("cuda"))
    shape = (*layout.image_size[::-1], 3)
    torch.cuda._sleep(100_000_000)  # the device lags behind while all are staged
    kept = [preprocess.upload([Frame(np.full(shape, shade, np.uint8))] * 3) for shade in SHADES]
    for images, shade in zip(kept, SHADES, strict=True):
        assert (images == shade).all()


@pytest.mark.parametrize("name", ["eager", "cudagraph"])
def test_a_detector_works_on_whatever_stream_it_is_called_on(name: str) -> None:
    detector, frame = on_cuda(name), road()
    before = detector(frame)
    aside = torch.cuda.Stream()
    with torch.cuda.stream(aside):
        for _ in range(3):
            for lane, same in zip(detector(frame), before, strict=True):
                np.testing.assert_allclose(lane.points, same.points, atol=1e-2)


FAILS = """
import torch
from lane_sad_ros.detection import LaneDetector
detector = LaneDetector.from_weights(device="cuda", engine="eager")
assert detector.answers()
try:
    torch.zeros(1, device="cuda")[torch.tensor([9], device="cuda")].cpu()
except RuntimeError:
    print(detector.answers())
"""


def test_a_device_that_has_failed_is_noticed() -> None:
    """In a process of its own, as no other call to CUDA succeeds in it from then on."""
    ran = subprocess.run([sys.executable, "-c", FAILS], capture_output=True, text=True, timeout=90)
    assert ran.stdout.split()[-1:] == ["False"], ran.stderr


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
