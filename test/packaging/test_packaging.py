"""What the package promises to the tools that build, install and run it."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

import lane_sad_ros

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = ElementTree.parse(ROOT / "package.xml").getroot()

FIELDS = {
    "Lane": {
        "id": "uint8",
        "name": "string",
        "exists": "boolean",
        "probability": "float",
        "u": "sequence<float>",
        "v": "sequence<float>",
        "score": "sequence<float>",
        "ground": "sequence<geometry_msgs/Point32>",
    },
    "LaneArray": {
        "header": "std_msgs/Header",
        "image_width": "uint32",
        "image_height": "uint32",
        "ground_frame": "string",
        "lanes": "sequence<lane_sad_ros/Lane>",
    },
    "LaneExistence": {
        "header": "std_msgs/Header",
        "exists": "sequence<boolean>",
        "probability": "sequence<float>",
    },
    "EgoLane": {
        "header": "std_msgs/Header",
        "valid": "boolean",
        "left_seen": "boolean",
        "right_seen": "boolean",
        "width": "float",
        "lateral_offset": "float",
        "heading": "float",
        "curvature": "float",
    },
}


# --- Messages


def test_every_message_file_is_in_the_contract() -> None:
    assert {path.stem for path in (ROOT / "msg").glob("*.msg")} == set(FIELDS)


@pytest.mark.parametrize("name", FIELDS)
def test_message_has_the_fields_of_the_contract(name: str) -> None:
    messages = pytest.importorskip("lane_sad_ros.msg", exc_type=ImportError)
    assert getattr(messages, name).get_fields_and_field_types() == FIELDS[name]


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_of_a_message_is_described(name: str) -> None:
    """On its line, or on the one above."""
    described = set()
    above = ""
    for line in (ROOT / "msg" / f"{name}.msg").read_text().splitlines():
        declaration, _, comment = (part.strip() for part in line.partition("#"))
        if declaration and (comment or above):
            described.add(declaration.split()[1])
        above = "" if declaration else comment
    assert described == set(FIELDS[name])


# --- Manifests


def test_manifest_is_format_3_with_what_ros_asks_for() -> None:
    assert MANIFEST.get("format") == "3"
    assert MANIFEST.findtext("name") == "lane_sad_ros"
    assert MANIFEST.findtext("license") == "Apache-2.0"
    assert MANIFEST.findtext("export/build_type") == "ament_cmake"
    assert MANIFEST.findtext("member_of_group") == "rosidl_interface_packages"
    for tag in ("description", "maintainer"):
        assert MANIFEST.findtext(tag)


def _declared() -> set[str]:
    return {element.text or "" for element in MANIFEST if element.tag.endswith("depend")}


def test_manifest_declares_what_cmake_finds() -> None:
    found = re.findall(r"find_package\((\w+)", (ROOT / "CMakeLists.txt").read_text())
    assert found
    assert set(found) <= _declared()


def _imports(folder: str) -> set[str]:
    names = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"lane_sad_ros"}


# rosdep's key of a module where it is another name than the module's; None where there is none
# (engines and charts come from pip; what reads bags serves the command line, which needs no ROS).
ROSDEP_KEYS = {
    "cv2": "python3-opencv",
    "jinja2": "python3-jinja2",
    "markupsafe": "python3-jinja2",  # which needs it
    "numpy": "python3-numpy",
    "tf2_ros": "tf2_ros_py",
    "tqdm": "python3-tqdm",
    "yaml": "python3-yaml",
    "lz4": None,
    "matplotlib": None,
    "mcap": None,
    "onnx": None,
    "onnxruntime": None,
    "openvino": None,
    "rosbags": None,
    "safetensors": None,
    "torch": None,
    "torch_tensorrt": None,
    "zstandard": None,
}


@pytest.mark.parametrize("folder", ["lane_sad_ros", "launch"])
def test_manifest_declares_what_the_code_imports(folder: str) -> None:
    keys = {ROSDEP_KEYS.get(name, name) for name in _imports(folder)}
    assert {key for key in keys if key} <= _declared()


def test_version_is_the_same_everywhere() -> None:
    version = MANIFEST.findtext("version")
    assert lane_sad_ros.__version__ == version
    released = re.findall(
        r"^(\d+\.\d+\.\d+) \(.*\)$", (ROOT / "CHANGELOG.rst").read_text(), flags=re.MULTILINE
    )
    assert released[0] == version


def test_requirements_are_pinned() -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    packages = [line for line in lines if line and not line.startswith("#")]
    loose = [line for line in packages if not re.match(r"[\w.\-]+==[\w.]+( ; [^@]*)?$", line)]
    assert packages
    assert not loose


# --- The wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of the source distribution of a copy: building leaves files beside the sources."""
    source = tmp_path_factory.mktemp("wheel") / "source"
    source.mkdir()
    for name in (
        "setup.py",
        "pyproject.toml",
        "MANIFEST.in",
        "package.xml",
        "LICENSE",
        "README.md",
    ):
        shutil.copy(ROOT / name, source)
    for name in ("lane_sad_ros", "weights", "training"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([sys.executable, "setup.py", "--quiet", "sdist"], cwd=source, check=True)
    (made,) = (source / "dist").iterdir()
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation"]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", source, made],
        check=True,
        capture_output=True,
    )
    return zipfile.ZipFile(next(source.glob("*.whl")))


def test_wheel_has_every_file_of_the_package_its_training_and_its_weights(
    wheel: zipfile.ZipFile,
) -> None:
    package = [path for path in (ROOT / "lane_sad_ros").rglob("*") if path.is_file()]
    beside = [*(ROOT / "training").rglob("*.py"), *(ROOT / "training").rglob("*.yaml")]
    beside += [*(ROOT / "weights").glob("*.safetensors")]
    expected = {str(path.relative_to(ROOT)) for path in package if path.suffix != ".pyc"}
    expected |= {f"lane_sad_ros/{path.relative_to(ROOT)}" for path in beside}
    assert expected <= set(wheel.namelist())


def test_wheel_brings_one_top_level_module(wheel: zipfile.ZipFile) -> None:
    top = {name.partition("/")[0] for name in wheel.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"lane_sad_ros"}


def test_wheel_has_version_and_command_of_the_package(wheel: zipfile.ZipFile) -> None:
    info = f"lane_sad_ros-{MANIFEST.findtext('version')}.dist-info"
    entry_points = wheel.read(f"{info}/entry_points.txt").decode()
    (target,) = re.findall(r"^lane_sad = ([\w.]+):main$", entry_points, flags=re.MULTILINE)
    assert f"{target.replace('.', '/')}/__init__.py" in wheel.namelist()


# --- The development environment


def _environment_only() -> None:
    if not (ROOT / ".venv" / "packages.stamp").exists():
        pytest.skip("not in the environment of make env")


def test_commands_of_the_environment_survive_another_ros_in_the_shell() -> None:
    _environment_only()
    foreign = {
        "AMENT_PREFIX_PATH": "/opt/ros/elsewhere",
        "CMAKE_PREFIX_PATH": "/opt/ros/elsewhere",
        "LD_LIBRARY_PATH": "/opt/ros/elsewhere/lib",
        "PYTHONPATH": "/opt/ros/elsewhere/lib/python3/site-packages",
        "RMW_IMPLEMENTATION": "rmw_of_elsewhere",
        "ROS_DISTRO": "elsewhere",
        "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1",
    }
    check = (
        "import os, sys, rclpy; rclpy.init(); rclpy.create_node('probe'); rclpy.shutdown(); "
        "print(sys.prefix, [k for k, v in os.environ.items() if 'elsewhere' in v])"
    )
    result = subprocess.run(
        [ROOT / "tools" / "env-run", "python", "-c", check],
        env={**os.environ, **foreign},
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.strip() == f"{ROOT / '.venv'} []"


def test_commands_of_the_environment_keep_arguments_and_exit_code() -> None:
    _environment_only()
    code = "import sys; print(sys.argv[1:]); sys.exit(7)"
    result = subprocess.run(
        [ROOT / "tools" / "env-run", "python", "-c", code, "a b", "", "$HOME"],
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stdout) == (7, "['a b', '', '$HOME']\n")


def test_the_command_is_there_in_the_environment(tmp_path: Path) -> None:
    _environment_only()
    result = subprocess.run(
        [ROOT / "tools" / "env-run", "lane_sad", "weights", "show", "/no/such file"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "/no/such file" in result.stderr


def test_no_cmake_file_names_the_machine_that_built_the_wheels() -> None:
    _environment_only()
    files = list((ROOT / ".venv" / "share").glob("*/cmake/*.cmake"))
    assert files
    assert not [path for path in files if "/opt/python/" in path.read_text()]


@pytest.mark.parametrize(
    ("python", "complaint"),
    [("/no/such/python", "PYTHON=/no/such/python is not a Python 3.10"), (None, "no Python 3.10")],
)
def test_make_env_says_which_python_it_needs(
    python: str | None, complaint: str, tmp_path: Path
) -> None:
    """With another interpreter named, or none in reach."""
    environment = {"PATH": str(tmp_path)}
    if python:
        environment["PYTHON"] = python
    result = subprocess.run(
        [shutil.which("bash") or "", ROOT / "tools" / "make-env"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode in (1, 2)
    assert complaint in result.stderr
    assert len(result.stderr.splitlines()) == 1


# --- The executables

EXECUTABLES = sorted(path.name for path in (ROOT / "scripts").iterdir())


def test_every_executable_is_installed() -> None:
    installed = re.findall(r"scripts/(\w+)", (ROOT / "CMakeLists.txt").read_text())
    assert installed == EXECUTABLES
    assert all(os.access(ROOT / "scripts" / name, os.X_OK) for name in EXECUTABLES)


def _launcher(name: str = "lane_detector", **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs an executable with an argument that is refused, so it ends at once."""
    pytest.importorskip("rclpy", exc_type=ImportError)
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / name, "--nonsense"],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("name", EXECUTABLES)
def test_launcher_runs_the_program(name: str) -> None:
    result = _launcher(name)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith(f"{name}: ")


def test_launcher_runs_the_node_under_the_python_asked_for(tmp_path: Path) -> None:
    """An empty virtual environment: all that the node needs comes from the first interpreter."""
    venv.create(tmp_path / "other env", with_pip=False)
    probe = tmp_path / "other env" / "lib" / "sitecustomize.py"
    probe.write_text("import sys; print('running', sys.prefix)")
    result = _launcher(
        LANE_SAD_PYTHON=str(tmp_path / "other env" / "bin" / "python"),
        PYTHONPATH=os.pathsep.join([str(probe.parent), os.environ.get("PYTHONPATH", "")]),
    )
    assert result.returncode == 2
    assert f"running {tmp_path / 'other env'}" in result.stdout
    assert "--nonsense" in result.stderr


def test_a_signal_before_the_program_is_loaded_ends_launcher_with_0() -> None:
    code = (
        "import os, signal, sys\n"
        "from lane_sad_ros.ros.executables import start\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'program':\n"
        "            os.kill(os.getpid(), signal.SIG{number})\n"
        "sys.meta_path.insert(0, Finder())\n"
        "start('program')\n"
    )
    for number in ("INT", "TERM"):
        command = [sys.executable, "-c", code.replace("{number}", number)]
        assert subprocess.run(command, capture_output=True).returncode == 0


def test_launcher_refuses_a_python_that_is_none() -> None:
    result = _launcher(LANE_SAD_PYTHON="/no/such/python")
    assert result.returncode == 1
    assert "LANE_SAD_PYTHON=/no/such/python" in result.stderr
    assert len(result.stderr.splitlines()) == 1
