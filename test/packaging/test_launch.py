"""The launch files: what they hand to the nodes, and that they say what is wrong.

For detect.launch.py the node is real up to the interpreter: `python:=` names a program that writes
down what it was called with. One test of it, and those of evaluate.launch.py, run the nodes.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from lane_sad_ros.recordings import writing
from lane_sad_ros.recordings.message_types import MESSAGES

pytest.importorskip("launch_ros", exc_type=ImportError)
pytest.importorskip("ros2launch", exc_type=ImportError)

ROOT = Path(__file__).resolve().parents[2]
DEFAULTS = yaml.safe_load((ROOT / "config" / "detector.yaml").read_text())["/**"]["ros__parameters"]
LAUNCH = ["ros2", "launch", "lane_sad_ros", "detect.launch.py"]
EVALUATE = ["ros2", "launch", "lane_sad_ros", "evaluate.launch.py"]
IMAGES = "/camera/image/compressed"
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]
Arguments = dict[str, Any]


def _write_recorder(program: Path, record: Path) -> None:
    """A program that writes down its arguments and environment."""
    program.write_text(
        f"#!{sys.executable}\n"
        "import json, os, sys\n"
        f"json.dump([sys.argv[1:], dict(os.environ)], open({str(record)!r}, 'w'))\n"
    )
    program.chmod(0o755)


@pytest.fixture
def launch(tmp_path: Path) -> Callable[..., Arguments]:
    """Launches with the given arguments; returns what the node would have got."""
    record = tmp_path / "record.json"
    interpreter = tmp_path / "an interpreter"
    _write_recorder(interpreter, record)

    def run(
        *arguments: str, environment: dict[str, str] | None = None, command: list[str] = LAUNCH
    ) -> Arguments:
        variables = {
            name: value
            for name, value in os.environ.items()
            if not name.endswith("_DEFAULT_PROFILES_FILE")
        }
        result = subprocess.run(
            [*command, f"python:={interpreter}", *arguments],
            env={**variables, "ROS_LOG_DIR": str(tmp_path / "log"), **(environment or {})},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        got, variables = json.loads(record.read_text())
        options = got[got.index("--ros-args") + 1 :]
        pairs = [pair for pair in itertools.pairwise(options) if pair[0][0] == "-"]
        parameters: Arguments = {}
        for flag, file in pairs:
            if flag == "--params-file":
                content = yaml.full_load(Path(file).read_text())  # launch writes Python tuples
                parameters |= next(iter(content.values()))["ros__parameters"]
        return {
            "parameters": parameters,
            "remappings": [value for flag, value in pairs if flag == "-r"],
            "log_level": [value for flag, value in pairs if flag == "--log-level"],
            "environment": variables,
        }

    return run


PAIRS = list(itertools.pairwise("abcdefghijklmnopqrstuvwxyz"))  # each stands for two of the other


def _failure(*arguments: str, launch: list[str] = LAUNCH) -> str:
    result = subprocess.run([*launch, *arguments], capture_output=True, text=True, timeout=60)
    assert result.returncode != 0
    return result.stdout + result.stderr


@pytest.mark.parametrize(
    ("launch", "some"),
    [
        (
            LAUNCH,
            "image camera_info image_transport weights device rviz bag params_file namespace "
            "python use_sim_time log_level cameras tracking base_frame use_tf camera_height "
            "camera_pitch",
        ),
        (EVALUATE, "bag truth report pace player rate deadline weights device params_file python"),
    ],
    ids=["detect", "evaluate"],
)
def test_every_argument_is_described(launch: list[str], some: str) -> None:
    result = subprocess.run([*launch, "--show-args"], capture_output=True, text=True, check=True)
    names = {line.strip(" ':") for line in result.stdout.splitlines() if line.startswith("    '")}
    assert set(some.split()) <= names
    assert "no description given" not in result.stdout.lower()


def test_without_arguments_the_node_has_the_defaults_of_its_file(
    launch: Callable[..., Arguments],
) -> None:
    got = launch()
    assert got["parameters"] == {**DEFAULTS, "exit_with_parent": True}
    assert [rule for rule in got["remappings"] if not rule.startswith("__")] == []


def test_a_parameter_file_is_overridden_by_given_arguments_only(
    launch: Callable[..., Arguments], tmp_path: Path
) -> None:
    mine = {"device": "cpu", "image_transport": "compressed", "weights": "mine.safetensors"}
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"/**": {"ros__parameters": mine}}))
    got = launch(f"params_file:={file}", "device:=cuda:1")
    assert got["parameters"] == {**mine, "device": "cuda:1", "exit_with_parent": True}


def test_topics_namespace_and_log_level(launch: Callable[..., Arguments]) -> None:
    got = launch("image:=/cam/image_raw", "camera_info:=/cam/info", "namespace:=car")
    assert {
        "image:=/cam/image_raw",
        "image/compressed:=/cam/image_raw/compressed",
        "camera_info:=/cam/info",
        "__ns:=/car",
    } <= set(got["remappings"])
    assert got["log_level"] == ["car.lane_detector:=info"]


def test_a_topic_that_is_compressed_already_is_not_made_so_twice(
    launch: Callable[..., Arguments],
) -> None:
    got = launch("image:=/cam/compressed", "image_transport:=compressed")
    assert "image/compressed:=/cam/compressed" in got["remappings"]


def test_cameras_have_topics_of_their_own(launch: Callable[..., Arguments]) -> None:
    got = launch("cameras:=[front, rear]", "image:=image_raw")
    assert got["parameters"]["cameras"] == ("front", "rear")
    assert {"front/image:=front/image_raw", "rear/image:=rear/image_raw"} <= set(got["remappings"])


def test_cameras_do_not_share_one_topic() -> None:
    assert "below each camera" in _failure("cameras:=front,rear", "image:=/cam/image_raw")


def _cameras_file(folder: Path, cameras: object) -> Path:
    """Parameters of a driver, and of the node in namespace car."""
    file = folder / "rig.yaml"
    mine = {"lane_detector": {"ros__parameters": {"cameras": cameras}}}
    driver = {"ros__parameters": {"cameras": ["front", "rear"]}}
    file.write_text(yaml.safe_dump({"driver": driver, "car": mine}, sort_keys=False))
    return file


def test_cameras_are_those_of_the_nodes_own_section(
    launch: Callable[..., Arguments], tmp_path: Path
) -> None:
    arguments = (f"params_file:={_cameras_file(tmp_path, ['left'])}", "image:=image_raw")
    rules = {rule for rule in launch(*arguments)["remappings"] if "/compressed" not in rule}
    assert {rule for rule in rules if "image" in rule} == {"image:=image_raw"}
    rules = set(launch(*arguments, "namespace:=car")["remappings"])
    assert "left/image:=left/image_raw" in rules
    assert not any(rule.startswith(("image:", "front/")) for rule in rules)


def test_cameras_of_a_file_are_a_list(tmp_path: Path) -> None:
    file = _cameras_file(tmp_path, "left")
    said = _failure(f"params_file:={file}", "namespace:=car", "image:=/cam/image_raw")
    assert "cameras must be a list of names, such as [front, rear], not 'left'" in said


def test_how_the_camera_is_mounted(launch: Callable[..., Arguments]) -> None:
    got = launch("camera_height:=1.5", "camera_pitch:=-0.07", "base_frame:=base_footprint")
    expected = {"camera_height": 1.5, "camera_pitch": -0.07, "base_frame": "base_footprint"}
    assert got["parameters"] == {**DEFAULTS, **expected, "exit_with_parent": True}
    got = launch("camera_height:=1", "use_tf:=false", "tracking:=false")
    expected = {"camera_height": 1.0, "use_tf": False, "tracking": False}
    assert got["parameters"] == {**DEFAULTS, **expected, "exit_with_parent": True}
    assert isinstance(got["parameters"]["camera_height"], float)


def test_simulated_time(launch: Callable[..., Arguments]) -> None:
    assert launch("use_sim_time:=true")["parameters"]["use_sim_time"] is True


def test_true_and_false_may_be_written_as_in_python(launch: Callable[..., Arguments]) -> None:
    parameters = launch("use_sim_time:=True", "tracking:=False", "rviz:=False")["parameters"]
    assert parameters["use_sim_time"] is True
    assert parameters["tracking"] is False


@pytest.mark.parametrize(
    "variable", ["FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"]
)
def test_transport_profile_is_given_unless_there_is_one(
    variable: str, launch: Callable[..., Arguments]
) -> None:
    profile = Path(launch()["environment"][variable])
    assert profile.name == "fastdds.xml"
    assert profile.is_file()
    assert variable not in launch("fastdds_profile:=false")["environment"]
    own = launch(environment={variable: "/my/own.xml"})["environment"]
    assert own[variable] == "/my/own.xml"


@pytest.mark.parametrize(
    ("argument", "complaint"),
    [
        ("weights:=/no/such/file", "weights:=/no/such/file does not exist"),
        ("params_file:=/no/such/file", "params_file:=/no/such/file does not exist"),
        ("bag:=/no/such/bag", "bag:=/no/such/bag does not exist"),
        ("python:=/no/such/python", "python:=/no/such/python is no program"),
        ("image_transport:=theora", "theora"),
        ("camera_height:=high", "camera_height:=high is no number"),
    ],
)
def test_wrong_arguments_are_named(argument: str, complaint: str) -> None:
    assert complaint in _failure(argument)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: &a [x, x]\n" + "".join(f"{c}: &{c} [*{b}, *{b}]\n" for b, c in PAIRS), "its aliases"),
        ("[" * 5000, "nested too deep"),
    ],
    ids=["bomb", "deep"],
)
def test_hostile_parameter_files_are_named(text: str, complaint: str, tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(text)
    told = _failure(f"params_file:={file}")
    assert f"detect.launch.py: {file}: not YAML ({complaint}" in told


def test_rviz_that_is_missing_is_named() -> None:
    if shutil.which("rviz2"):
        pytest.skip("rviz2 is installed here")
    assert "needs RViz" in _failure("rviz:=true")


@pytest.fixture
def rviz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package rviz2 whose program writes down its arguments, into this file."""
    prefix, record = tmp_path / "prefix", tmp_path / "rviz.json"
    program = prefix / "lib" / "rviz2" / "rviz2"
    program.parent.mkdir(parents=True)
    _write_recorder(program, record)
    marker = prefix / "share" / "ament_index" / "resource_index" / "packages" / "rviz2"
    marker.parent.mkdir(parents=True)
    marker.touch()
    monkeypatch.setenv(
        "AMENT_PREFIX_PATH", f"{prefix}{os.pathsep}{os.environ['AMENT_PREFIX_PATH']}"
    )
    return record


@pytest.mark.parametrize(
    ("arguments", "node"),
    [([], ""), (["namespace:=car"], "/car/lane_detector"),
     (["namespace:=car", "cameras:=front,rear"], "/car/lane_detector/front")],
)  # fmt: skip
def test_rviz_shows_the_topics_of_the_node(
    launch: Callable[..., Arguments], rviz: Path, arguments: list[str], node: str
) -> None:
    launch("rviz:=true", "base_frame:=base_footprint", *arguments)
    command, _ = json.loads(rviz.read_text())
    assert "--params-file" not in command
    assert Path(command[command.index("-d") + 1]).name == "lanes.rviz"
    assert command[command.index("-f") + 1] == "base_footprint"
    displays = yaml.safe_load((ROOT / "rviz" / "lanes.rviz").read_text())["Visualization Manager"]
    shown = {d["Topic"]["Value"] for d in displays["Displays"] if "Topic" in d}
    expected = {f"{topic}:={topic.replace('/lane_detector', node, 1)}" for topic in shown}
    given = {rule for rule in command if rule.startswith("/lane_detector")}
    assert given == (expected if node else set())


def _sim_time(command: list[str]) -> bool:
    (parameters,) = yaml.safe_load(
        Path(command[command.index("--params-file") + 1]).read_text()
    ).values()
    return bool(parameters["ros__parameters"]["use_sim_time"])


@pytest.mark.parametrize("in_file", [False, True])
def test_rviz_has_the_time_of_the_node(
    launch: Callable[..., Arguments], rviz: Path, tmp_path: Path, in_file: bool
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"/**": {"ros__parameters": {"use_sim_time": True}}}))
    launch("rviz:=true", f"params_file:={file}" if in_file else "use_sim_time:=true")
    assert _sim_time(json.loads(rviz.read_text())[0]) is True


def test_a_launch_file_around_it_has_the_say(
    launch: Callable[..., Arguments], rviz: Path, tmp_path: Path
) -> None:
    around = tmp_path / "around.launch.py"
    around.write_text(
        "from launch import LaunchDescription\n"
        "from launch.actions import IncludeLaunchDescription\n"
        "from launch_ros.actions import PushRosNamespace, SetParameter\n"
        "def generate_launch_description():\n"
        "    return LaunchDescription([\n"
        "        PushRosNamespace('car'), SetParameter('use_sim_time', True),\n"
        f"        IncludeLaunchDescription({str(ROOT / 'launch' / 'detect.launch.py')!r})])\n"
    )
    file = f"params_file:={_cameras_file(tmp_path, ['left'])}"
    got = launch("rviz:=true", file, "image:=image_raw", command=["ros2", "launch", str(around)])
    assert got["log_level"] == ["car.lane_detector:=info"]
    assert {"__ns:=/car", "left/image:=left/image_raw"} <= set(got["remappings"])
    command, _ = json.loads(rviz.read_text())
    assert "/lane_detector/markers:=/car/lane_detector/left/markers" in command
    assert "use_sim_time:=True" in command
    assert "--params-file" not in command  # which would come before it


class Launch:
    """A launch with a process group of its own, as a terminal starts it."""

    def __init__(self, *command: str, logs: Path) -> None:
        self.process = subprocess.Popen(
            command,
            env={**os.environ, "ROS_LOG_DIR": str(logs), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # A launch in the background of a script ignores SIGINT; this one is to hear it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def wait_for_output(self, words: str) -> str:
        """The next line with these words."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if words in line:
                return line
            assert "cannot configure" not in line
        pytest.fail("everything ended at once")

    def send(self, number: signal.Signals) -> None:
        """SIGINT to the whole group, as Ctrl-C does it; the others to ros2 launch alone."""
        if number == signal.SIGINT:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)

    def finish(self) -> str:
        """What was printed until launch and all nodes were gone, which ends the pipe."""
        try:
            return self.process.communicate(timeout=60)[0]
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_node_ends_with_its_launch(
    number: signal.Signals, tmp_path: Path, make_weights: Callable[..., Path]
) -> None:
    launch = Launch(*LAUNCH, f"weights:={make_weights()}", "device:=cpu", logs=tmp_path)
    launch.wait_for_output("active\n")
    launch.send(number)
    output = launch.finish()
    if number == signal.SIGINT:
        assert "process has finished cleanly" in output


def test_a_node_that_was_killed_is_started_anew(
    tmp_path: Path, make_weights: Callable[..., Path]
) -> None:
    arguments = [f"weights:={make_weights()}", "device:=cpu", "respawn:=true"]
    launch = Launch(*LAUNCH, *arguments, logs=tmp_path)
    started = launch.wait_for_output("process started with pid")
    launch.wait_for_output("active\n")
    os.kill(int(started.split("[")[-1].strip("]\n ")), signal.SIGKILL)
    launch.wait_for_output("active\n")
    launch.send(signal.SIGINT)
    assert "process has finished cleanly" in launch.finish()


@pytest.fixture
def evaluation(tmp_path: Path, make_weights: Callable[..., Path]) -> list[str]:
    """Arguments that evaluate a bag of ten images without true lanes, into a folder `report`."""
    bag = tmp_path / "drive.mcap"
    with writing.writing_bag(bag) as writer:
        for index in range(10):
            stamp_ns = 10**18 + index * 50_000_000
            header = MESSAGES.header(stamp_ns, "camera")
            pixels = np.full((96, 128, 3), 20 * index, np.uint8)
            writer.write(IMAGES, MESSAGES.jpeg(pixels, header), stamp_ns)
    weights = f"weights:={make_weights()}"
    return [f"bag:={bag}", weights, "device:=cpu", f"report:={tmp_path / 'report'}"]


@pytest.mark.parametrize("in_namespace", [False, True])
def test_an_evaluation_ends_by_itself(
    in_namespace: bool, evaluation: list[str], tmp_path: Path
) -> None:
    arguments = [*evaluation, "truth:=none", "deadline:=9"]
    if in_namespace:  # with the parameters of the vehicle, whose cameras the bag knows nothing of
        arguments += ["namespace:=car", f"params_file:={_cameras_file(tmp_path, ['left'])}"]
    launch = Launch(*EVALUATE, *arguments, logs=tmp_path)
    output = launch.finish()
    assert launch.process.returncode == 0, output
    assert "10 answered" in output
    assert output.count("process has finished cleanly") == 2
    assert (tmp_path / "report" / "report.json").is_file()


def test_a_failed_evaluation_is_told_by_the_exit_code(
    evaluation: list[str], tmp_path: Path
) -> None:
    launch = Launch(*EVALUATE, *evaluation, logs=tmp_path)
    output = launch.finish()
    assert launch.process.returncode == 1
    assert "/truth/lanes" in output
    assert "the evaluation failed (exit code 1)" in output


def test_an_evaluation_has_the_parameters_of_its_file(
    evaluation: list[str], tmp_path: Path
) -> None:
    mine = {"truth_topic": "", "report": str(tmp_path / "mine"), "pace": "real_time"}
    mine |= {"player": "own", "image_reliability": "best_effort", "image_topic": IMAGES}
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"lane_evaluator": {"ros__parameters": mine}}))
    arguments = [argument for argument in evaluation if not argument.startswith("report:=")]
    launch = Launch(*EVALUATE, *arguments, f"evaluator_params_file:={file}", logs=tmp_path)
    output = launch.finish()
    assert launch.process.returncode == 0, output
    assert "in real time" in output
    assert (tmp_path / "mine" / "report.json").is_file()


@pytest.mark.parametrize("number", SIGNALS)
def test_an_evaluation_ends_with_its_launch(
    number: signal.Signals, evaluation: list[str], tmp_path: Path
) -> None:
    slow = tmp_path / "slow.yaml"
    slow.write_text(yaml.safe_dump({"/**": {"ros__parameters": {"rate": 0.01}}}))
    arguments = ("pace:=real_time", "player:=own", f"evaluator_params_file:={slow}", "truth:=none")
    launch = Launch(*EVALUATE, *evaluation, *arguments, logs=tmp_path)
    launch.wait_for_output("playing 10 images")
    launch.send(number)
    output = launch.finish()
    assert "Traceback" not in output
    if number == signal.SIGINT:  # else nobody was left to pass on what the nodes printed
        assert "interrupted" in output


@pytest.mark.parametrize(
    ("argument", "complaint"),
    [
        ("bag:=/no/such/bag", "bag:=/no/such/bag does not exist"),
        ("rate:=fast", "rate:=fast is no number"),
        (
            "image_topic:=/none",
            "image_topic:=/none is not one of the image topics of the bag: /cam",
        ),
        ("python:=/no/such/python", "python:=/no/such/python is no program"),
        ("evaluator_params_file:=/none", "evaluator_params_file:=/none does not exist"),
        ("weights:=/no/such/file", "weights:=/no/such/file does not exist"),
    ],
)
def test_wrong_arguments_of_an_evaluation_are_named(
    argument: str, complaint: str, evaluation: list[str]
) -> None:
    assert complaint in _failure(*evaluation, argument, launch=EVALUATE)
