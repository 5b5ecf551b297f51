"""How PyTorch's threads wait for each other, which they decide when PyTorch is loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest

NAMES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
LOOK = """
import os, sys
for name in {names}:  # what is set for all Python here
    os.environ.pop(name, None)
os.environ |= {own}
class Finder:
    def find_spec(self, name, *_):
        if name == "torch":
            print([os.environ.get(n) for n in {names}])
            sys.exit()
sys.meta_path.insert(0, Finder())
import {module}, torch
"""


def settings_of(module: str, **own: str) -> str:
    """The settings at the moment when a program of this module loads PyTorch."""
    code = LOOK.format(names=NAMES, module=module, own=own)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return run.stdout.strip()


@pytest.mark.parametrize(
    "module",
    ["lane_sad_ros", "lane_sad_ros.cli", "lane_sad_ros.ros.detector.node", "demo.frame_player"],
)
def test_threads_do_not_spin_for_long_whatever_the_way_in(module):
    assert settings_of(module) == "[None, '1000', '1']"


@pytest.mark.parametrize("name", NAMES)
def test_the_user_s_own_setting_is_the_only_one(name):
    expected = ["PASSIVE" if name == each else None for each in NAMES]
    assert settings_of("lane_sad_ros", **{name: "PASSIVE"}) == str(expected)
