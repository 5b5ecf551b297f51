"""Engines: the same lanes as eager, what is kept on disk, and how auto chooses."""

import dataclasses
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lane_sad_ros import names
from lane_sad_ros.detection import LaneDetector
from lane_sad_ros.detection.agreement import Agreement
from lane_sad_ros.detection.engines import ENGINES, EngineError, Job, make_engine
from lane_sad_ros.detection.engines.auto import Trial, choose
from lane_sad_ros.detection.engines.cache import find, keep, key
from lane_sad_ros.lanes import Lane, Lanes
from lane_sad_ros.network.onnx_file import onnx_model
from lane_sad_ros.network.weights import load

CPU = torch.device("cpu")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "lane_sad_ros"


@pytest.fixture
def job(make_weights: Callable[..., Path]) -> Job:
    network, layout, _ = load(make_weights())
    return Job(network, layout, CPU)


def usable(name: str, job: Job) -> None:
    """Skips the test where the engine can't run."""
    fault = ENGINES[name].fault(job)
    if fault:
        pytest.skip(f"{name} {fault}")
    if name == "compiled" and not os.environ.get("LANE_SAD_SLOW"):
        pytest.skip("compiling takes minutes; set LANE_SAD_SLOW=1")


def pixels(batch: int, job: Job) -> torch.Tensor:
    width, height = job.layout.input_size
    generator = torch.Generator().manual_seed(batch)
    shape = (batch, height, width, 3)
    made = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return made.permute(0, 3, 1, 2)


def test_every_engine_has_a_line_of_help() -> None:
    assert list(names.ENGINES) == [names.AUTO, *ENGINES]


@pytest.mark.filterwarnings("ignore")  # of the libraries about themselves
@pytest.mark.parametrize("name", [name for name in ENGINES if name != "eager"])
def test_engines_give_what_eager_gives(name, make_weights, cache) -> None:
    network, layout, _ = load(make_weights(existence=name != "openvino", shared_encoder=True))
    device = torch.device("cpu" if "cpu" in ENGINES[name].devices else "cuda")
    if device.type == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    job = Job(network, layout, device, threads=1)
    usable(name, job)
    eager, engine = make_engine("eager", Job(network, layout, CPU)), make_engine(name, job)
    half = ENGINES[name].bound != ENGINES["eager"].bound
    for batch in (1, 2, 1):
        given = pixels(batch, job)
        with torch.inference_mode():
            expected, found = eager(given), engine(given.to(device))
        for one, other in zip(expected, found, strict=True):
            assert (one is None) == (other is None)
            if one is not None:
                off = (other.cpu() - one).abs()
                # Where two pixels of a pool are nearly equal, rounding takes the other one.
                assert off.median() < 0.01 * one.abs().max() if half else off.max() < 1e-3


def test_0_threads_are_those_that_the_process_had(job) -> None:
    make_engine("eager", job)
    before = torch.get_num_threads()
    try:
        for threads in (before + 1, before + 2):
            make_engine("eager", dataclasses.replace(job, threads=threads))
            assert torch.get_num_threads() == threads
        make_engine("eager", job)
        assert torch.get_num_threads() == before
    finally:
        torch.set_num_threads(before)


def test_what_is_not_installed_is_said(job, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(EngineError, match=r"openvino needs openvino; .*lane_sad_ros\[openvino\]"):
        make_engine("openvino", job)
    with pytest.raises(EngineError, match="cudagraph runs on cuda only, not on cpu"):
        make_engine("cudagraph", job)


@pytest.mark.filterwarnings("ignore")
def test_converted_networks_are_kept_and_made_again_when_damaged(job, cache) -> None:
    usable("openvino", job)
    given = pixels(1, job)
    expected = make_engine("openvino", job)(given)[0].clone()
    (kept,) = cache.glob("*.blob")
    made = kept.stat().st_mtime_ns
    torch.testing.assert_close(make_engine("openvino", job)(given)[0], expected)
    assert kept.stat().st_mtime_ns == made
    kept.write_bytes(kept.read_bytes()[:1000])
    torch.testing.assert_close(make_engine("openvino", job)(given)[0], expected)
    (kept,) = cache.glob("*.blob")
    assert kept.stat().st_size > 1000


@pytest.mark.filterwarnings("ignore")
def test_an_onnx_file_that_was_replaced_is_read_anew(make_weights, cache, tmp_path) -> None:
    path, given, answers = tmp_path / "a.onnx", None, []
    for seed in (0, 1):
        network, layout, _ = load(make_weights(seed=seed))
        job = Job(path, layout, CPU)
        usable("openvino", job)
        path.write_bytes(onnx_model(network, layout).SerializeToString())
        given = pixels(1, job)
        answers.append(make_engine("openvino", job)(given)[0].clone())
        torch.testing.assert_close(
            answers[-1],
            make_engine("eager", Job(network, layout, CPU))(given)[0],
            atol=1e-3,
            rtol=0,
        )
    assert not torch.equal(*answers)


def test_ctrl_c_is_heard_after_openvino_was_used_twice(job, make_weights, cache) -> None:
    """In a process of its own: OpenVINO has a stack for signals, which has to be there for them."""
    usable("openvino", job)
    program = (
        "import gc, signal, sys\n"
        "import numpy as np\n"
        "from lane_sad_ros import LaneDetector\n"
        "options = {'device': 'cpu', 'engine': 'openvino'}\n"
        "first, second = (LaneDetector.from_weights(sys.argv[1], **options) for _ in range(2))\n"
        "first(np.zeros((96, 128, 3), np.uint8)), second(np.zeros((96, 128, 3), np.uint8))\n"
        "del first; gc.collect()\n"
        "del second; gc.collect()\n"
        "try:\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "except KeyboardInterrupt:\n"
        "    print('heard')\n"
    )
    call = [sys.executable, "-c", program, str(make_weights())]
    done = subprocess.run(call, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr


def test_the_cache_keeps_apart_what_differs(make_weights, cache) -> None:
    jobs = [Job(*load(make_weights(seed=seed))[:2], CPU) for seed in (0, 0, 1)]
    keys = [key(job, "engine") for job in jobs]
    assert keys[0] == keys[1] != keys[2]
    assert key(jobs[0], "engine", "2") != keys[0]
    keep(keys[0], ".bin", b"zero")
    keep(keys[2], ".bin", b"one")
    kept = [find(name, ".bin") for name in keys]
    assert [path and path.read_bytes() for path in kept] == [b"zero", b"zero", b"one"]
    assert find(keys[0], ".xml") is None


def test_a_cache_that_cannot_be_written_is_done_without(cache) -> None:
    cache.parent.mkdir()
    cache.write_text("a file where the folder would be")
    keep("key", ".bin", b"content")
    assert find("key", ".bin") is None


def test_a_cache_of_another_user_is_done_without(cache, monkeypatch) -> None:
    def forbidden(path: Path, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.stat", forbidden)
    monkeypatch.setattr("os.scandir", forbidden)
    keep("key", ".bin", b"content")
    assert find("key", ".bin") is None


def test_a_user_without_a_home_does_without_a_cache(job, auto, monkeypatch) -> None:
    """As in a container that runs as a number without a name."""

    def unknown(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    able = dataclasses.replace(ENGINES["openvino"], needs=())
    monkeypatch.setitem(ENGINES, "openvino", able)
    keep("key", ".bin", b"content")
    assert find("key", ".bin") is None
    for _ in range(2):
        why = choose(job, lambda *_: Trial(lanes_of(10), 0.2))[1]
        assert why.startswith("fastest")
        assert "measured before" not in why


# --- auto


@pytest.fixture
def auto(make_weights, tiny_layout, cache, monkeypatch) -> Callable[[], LaneDetector]:
    """Makes a detector with engine auto, of eager and OpenVINO, that finds all lanes always."""
    monkeypatch.delenv("LANE_SAD_ENGINE")
    for name in ENGINES.keys() - {"eager", "openvino"}:
        monkeypatch.setitem(ENGINES, name, dataclasses.replace(ENGINES[name], bound=0.0))
    decoding = dataclasses.replace(
        tiny_layout.decoding, existence_threshold=0.0, point_threshold=0.0
    )
    path = make_weights(layout=dataclasses.replace(tiny_layout, decoding=decoding))
    return lambda: LaneDetector.from_weights(path, device="cpu")


def test_auto_tries_engines_in_processes_and_remembers_one(auto, monkeypatch) -> None:
    first = auto().description
    assert first["engine"] in ("eager", "openvino")
    assert "eager" in first["engine_reason"]
    assert "fails" not in first["engine_reason"]
    monkeypatch.setattr("sys.executable", "/nonexistent/python")
    assert auto().description["engine_reason"] == f"{first['engine_reason']}, measured before"


def test_a_choice_that_is_damaged_is_made_again(job, auto, cache) -> None:
    chosen = choose(job, lambda *_: Trial(lanes_of(10), 0.2))
    (choice,) = cache.glob("*.json")
    choice.write_text("{")
    assert choose(job, lambda *_: Trial(lanes_of(10), 0.2)) == chosen


@pytest.mark.parametrize(
    ("columns", "seconds", "engine", "words"),
    [
        ((10.2, 50, None), 0.1, "openvino", "eager 200.0 ms, openvino 100.0 ms"),
        ((10.2, 50, None), 0.3, "eager", "eager 200.0 ms, openvino 300.0 ms"),
        ((14.0, 50, None), 0.1, "eager", "openvino gives other lanes (4.0 pixels off)"),
        ((10, 50, 90), 0.1, "eager", "openvino gives other lanes"),
        ((), 0.1, "eager", "openvino fails: no such instruction"),
    ],
)
def test_auto_takes_the_fastest_of_those_with_the_same_lanes(
    job, auto, monkeypatch, columns, seconds, engine, words
) -> None:
    def tried(_: Job, name: str) -> Trial:
        if name == "eager":
            return Trial(lanes_of(10, 50, None), 0.2)
        if not columns:
            raise EngineError("no such instruction")
        return Trial(lanes_of(*columns), seconds)

    engine_without_needs = dataclasses.replace(ENGINES["openvino"], needs=())
    monkeypatch.setitem(ENGINES, "openvino", engine_without_needs)
    found, why, works = choose(job, tried)
    assert works
    assert found == engine
    assert words in why


def test_the_environment_names_the_engine_that_auto_takes(auto, monkeypatch) -> None:
    monkeypatch.setenv("LANE_SAD_ENGINE", "eager")
    assert auto().description["engine_reason"] == "named by LANE_SAD_ENGINE"
    monkeypatch.setenv("LANE_SAD_ENGINE", "auto")
    assert auto().description["engine"] in ("eager", "openvino")
    monkeypatch.setenv("LANE_SAD_ENGINE", "steam")
    with pytest.raises(ValueError, match="'steam' is not one of auto, eager"):
        auto()


def test_auto_does_not_try_what_is_known_to_be_slower(job, auto, monkeypatch) -> None:
    able = dataclasses.replace(ENGINES["openvino"], needs=())
    monkeypatch.setitem(ENGINES, "openvino", able)
    monkeypatch.setitem(ENGINES, "onnx", dataclasses.replace(able, slower_than="openvino"))
    asked = []

    def tried(_: Job, name: str) -> Trial:
        asked.append(name)
        return Trial(lanes_of(10), 0.2)

    choose(job, tried)
    assert asked == ["eager", "openvino"]
    monkeypatch.setitem(ENGINES, "openvino", dataclasses.replace(able, bound=0.0))
    choose(job, tried)
    assert asked[2:] == ["eager", "onnx"]


def test_what_failed_is_tried_again_on_another_day(job, auto, cache, monkeypatch) -> None:
    """It may have lacked memory that others took."""
    able = dataclasses.replace(ENGINES["openvino"], needs=())
    monkeypatch.setitem(ENGINES, "openvino", able)
    lacking = True

    def tried(_: Job, name: str) -> Trial:
        if name == "openvino" and lacking:
            raise EngineError("out of memory")
        return Trial(lanes_of(10), 0.2 if name == "eager" else 0.1)

    assert choose(job, tried)[0] == "eager"
    lacking = False
    assert choose(job, tried)[0] == "eager"  # not at every start
    (choice,) = cache.glob("*.json")
    yesterday = choice.stat().st_mtime - 90_000
    os.utime(choice, (yesterday, yesterday))
    assert choose(job, tried)[0] == "openvino"


class Deadly(nn.Module):
    """Whoever unpickles it gets a signal."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__()
        self.number = number

    def __reduce__(self) -> tuple:
        return signal.raise_signal, (self.number,)


@pytest.mark.parametrize(
    ("number", "words", "remembered"),
    [
        (signal.SIGKILL, "ended by SIGKILL", 0),
        (signal.SIGSEGV, f"ended with exit code {-signal.SIGSEGV}", 1),
    ],
)
def test_a_trial_that_somebody_has_ended_is_not_remembered(
    job, auto, cache, monkeypatch, number, words, remembered
) -> None:
    able = dataclasses.replace(ENGINES["openvino"], needs=())
    monkeypatch.setitem(ENGINES, "openvino", able)
    engine, why, works = choose(dataclasses.replace(job, network=Deadly(number)))
    assert (engine, works) == ("eager", False)
    assert why == f"eager fails: {words}; openvino fails: {words}"
    assert len(list(cache.glob("*.json"))) == remembered


@pytest.fixture
def trying(make_weights, tmp_path) -> Iterator[tuple[subprocess.Popen, int]]:
    """A process that hears signals as the node does and tries an engine, and the end of a pipe to
    which the trial writes when it has begun. It fails with "went on" when there is a file `go`.
    """
    (tmp_path / "networks.py").write_text(
        "import os, sys, time\n"
        "from torch import nn\n"
        "class Waiting(nn.Module):\n"
        "    def forward(self, images):\n"
        "        pipe = os.open(os.environ['FOLDER'] + '/pipe', os.O_WRONLY)\n"
        "        os.write(pipe, b'begun')\n"
        "        while not os.path.exists(os.environ['FOLDER'] + '/go'):\n"
        "            time.sleep(0.01)\n"
        "        raise RuntimeError('went on')\n"
    )
    program = (
        "import signal, sys, torch\n"
        "from lane_sad_ros.detection.engines import Job\n"
        "from lane_sad_ros.detection.engines.auto import tried\n"
        "from lane_sad_ros.network.weights import load\n"
        "from networks import Waiting\n"
        "signal.signal(signal.SIGINT, lambda *_: None)\n"
        "try:\n"
        "    tried(Job(Waiting(), load(sys.argv[1])[1], torch.device('cpu')), 'eager')\n"
        "except Exception as error:\n"
        "    print(repr(error))\n"
    )
    os.mkfifo(tmp_path / "pipe")
    pipe = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    with subprocess.Popen(
        [sys.executable, "-c", program, str(make_weights())],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "FOLDER": str(tmp_path)},
        start_new_session=True,
    ) as process:
        try:
            assert heard(pipe) == b"begun"
            yield process, pipe
        finally:
            (tmp_path / "go").touch()
            os.close(pipe)


def heard(pipe: int) -> bytes:
    """What is written to a pipe next; nothing where its writer has ended."""
    assert select.select([pipe], [], [], 60)[0], "nothing was written, and the writer goes on"
    return os.read(pipe, 100)


def test_ctrl_c_is_no_failure_of_the_engine_that_is_tried(trying, tmp_path) -> None:
    process, _ = trying
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    (tmp_path / "go").touch()
    assert process.communicate()[0] == "EngineError('went on')\n"


def test_a_trial_ends_with_the_process_that_waits_for_it(trying) -> None:
    process, pipe = trying
    process.kill()
    assert heard(pipe) == b""


def test_a_choice_is_of_one_version_of_pytorch(job, auto, cache, monkeypatch) -> None:
    able = dataclasses.replace(ENGINES["openvino"], needs=())
    monkeypatch.setitem(ENGINES, "openvino", able)

    def tried(_: Job, name: str) -> Trial:
        return Trial(lanes_of(10), 0.2)

    choose(job, tried)
    assert "measured before" in choose(job, tried)[1]
    monkeypatch.setattr(torch, "__version__", "99.0")
    assert "measured before" not in choose(job, tried)[1]


def test_a_library_that_is_broken_fails_no_detector(job, auto, monkeypatch) -> None:
    def broken(_: torch.device) -> bool:
        raise ImportError("built for another NumPy")

    for name in ("eager", "openvino"):
        changed = dataclasses.replace(ENGINES[name], needs=(), works=broken)
        monkeypatch.setitem(ENGINES, name, changed)
        if name == "openvino":
            with pytest.raises(EngineError, match="engine eager fails: built for another NumPy;"):
                choose(job)
        else:
            monkeypatch.setitem(ENGINES, "openvino", dataclasses.replace(changed, works=bool))
            assert choose(job)[0] == "openvino"


def test_onnx_files_without_an_engine_say_what_is_needed(tmp_path, job, auto) -> None:
    file = Job(tmp_path / "a.onnx", job.layout, torch.device("cuda:0"))
    with pytest.raises(EngineError, match="engine openvino runs on cpu only, not on cuda:0"):
        choose(file)


# --- agreement


def lanes_of(*columns: float | None) -> Lanes:
    rows = np.arange(100, 50, -10, dtype=np.float32)
    lanes = []
    for slot, column in enumerate(columns):
        exists = column is not None
        points = np.column_stack([np.full(5, column or 0), rows, np.ones(5)]).astype(np.float32)
        lanes.append(Lane(slot, exists, 1.0, points if exists else points[:0]))
    return Lanes((200, 100), tuple(lanes))


def test_agreement_counts_flags_and_measures_points() -> None:
    agreement = Agreement()
    assert agreement.within(0.0)
    agreement.add(lanes_of(10, 50, None, None), lanes_of(10.25, 50, None, None))
    assert agreement.flags == 1.0
    assert agreement.pixels() == pytest.approx(0.25)
    assert agreement.within(0.5)
    assert not agreement.within(0.2)
    agreement.add(lanes_of(10, None, None, None), lanes_of(10, None, 7, None))
    assert agreement.flags == 7 / 8
    assert not agreement.within(0.5)
