"""What tests share that needs no ROS."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Test processes that run beside each other share the cores, and so do the programs they start.
_beside = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_threads = max(1, len(os.sched_getaffinity(0)) // _beside)
os.environ.setdefault("OMP_NUM_THREADS", str(_threads))

import cv2  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

from lane_sad_ros.lanes import SLOTS_4, Decoding, LaneLayout  # noqa: E402
from lane_sad_ros.network.architectures import build_network  # noqa: E402
from lane_sad_ros.network.weights import save_network  # noqa: E402

cv2.setNumThreads(_threads)


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """A shell's background jobs ignore SIGINT, and so would the programs that tests interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _one_engine(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests take eager where they name no engine, their processes too, and keep nothing outside."""
    os.environ["LANE_SAD_ENGINE"] = "eager"
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real driving data named by LANE_SAD_DATA; the test is skipped without it."""
    name = os.environ.get("LANE_SAD_DATA")
    if not name:
        pytest.skip("LANE_SAD_DATA names no folder of real driving data")
    folder = Path(name)
    if not folder.is_dir():
        pytest.skip(f"LANE_SAD_DATA={name} is not a folder")
    return folder


@pytest.fixture(scope="session")
def tiny_layout() -> LaneLayout:
    """Four slots on 128×96 images, the upper quarter cropped away, for a network of 64×48."""
    return LaneLayout(
        name="tiny",
        slots=SLOTS_4,
        image_size=(128, 96),
        crop=(0, 24, 128, 96),
        input_size=(64, 48),
        decoding=Decoding(rows=(32, 96, 4), smoothing=3),
    )


@pytest.fixture
def make_weights(tmp_path: Path, tiny_layout: LaneLayout) -> Callable[..., Path]:
    """Writes random weights, the same for the same seed; keywords go to `build_network`."""

    def make(
        layout: LaneLayout = tiny_layout,
        name: str = "random.safetensors",
        seed: int = 0,
        arch: str = "enet_sad",
        **options: Any,
    ) -> Path:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = build_network(arch, len(layout.slots), layout.input_size, **options)
        path = tmp_path / name
        save_network(path, network, layout, training={"seed": seed}, figures={})
        return path

    return make
