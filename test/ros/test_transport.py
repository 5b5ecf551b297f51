"""The Fast DDS profile of the package: given and advised, unless the user has chosen transports."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lane_sad_ros.ros import qos

ROOT = Path(__file__).resolve().parents[2]
PROFILES = ["FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"]
BUILTIN = "FASTDDS_BUILTIN_TRANSPORTS"


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (*PROFILES, BUILTIN):
        monkeypatch.delenv(variable, raising=False)


def test_launch_files_leave_chosen_transports_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("launch.actions", exc_type=ImportError)  # a folder of ours is launch too
    from lane_sad_ros.ros.launch_files import transport

    given = {"fastdds_profile": "true"}
    assert list(transport(given)) == PROFILES
    monkeypatch.setenv(BUILTIN, "UDPv4")
    assert transport(given) == {}


def test_the_environment_leaves_chosen_transports_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    if not (ROOT / ".venv" / "packages.stamp").exists():
        pytest.skip("not in the environment of make env")
    assert f"{PROFILES[0]}={ROOT}/config/fastdds.xml" in _environment()
    monkeypatch.setenv(BUILTIN, "UDPv4")
    assert not [line for line in _environment() if line.startswith(PROFILES[0])]
    monkeypatch.setenv(PROFILES[0], "/my/own.xml")
    assert f"{PROFILES[0]}=/my/own.xml" in _environment()


def test_the_profile_is_not_advised_where_transports_are_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "fastdds.xml" in qos.transport_hint("rmw_fastrtps_cpp")
    monkeypatch.setenv(BUILTIN, "UDPv4")
    assert "fastdds.xml" not in qos.transport_hint("rmw_fastrtps_cpp")


def _environment() -> list[str]:
    command = [ROOT / "tools" / "env-run", "env"]
    return subprocess.run(
        command, env=os.environ, capture_output=True, text=True, check=True
    ).stdout.splitlines()
