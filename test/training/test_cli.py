"""The commands: where overrides may stand, what the help lists, what `fit` needs installed."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from training.ablation import CONFIG
from training.cli import main
from training.config import Config, keys, plain

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "words",
    [
        ["fit", "CONFIG", "stepz=3", "--output", "OUT"],
        ["fit", "CONFIG", "--output", "OUT", "stepz=3"],
        ["fit", "--output", "OUT", "CONFIG", "stepz=3"],
        ["fit", "CONFIG", "steps=2", "--output", "OUT", "batch=2", "stepz=3"],
        ["ablation", "OUT", "stepz=3", "--seeds", "1"],
        ["ablation", "OUT", "--seeds", "1", "stepz=3"],
        ["ablation", "OUT", "--only", "late", "early", "stepz=3"],
    ],
)
def test_overrides_stand_before_and_behind_options(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """That they are read is seen by what a wrong one says."""
    names = {"CONFIG": str(CONFIG), "OUT": str(tmp_path / "run")}
    assert main([names.get(word, word) for word in words]) == 1
    assert "unknown key stepz" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fit", str(CONFIG), "--outptu", "run"], "unrecognized arguments: --outptu"),
        (["data", "tusimple", "labels.json", "steps=2"], "unrecognized arguments: steps=2"),
        (["ablation", "run", "--only", "latest"], "no kind latest; known are none, late"),
    ],
)
def test_wrong_use_is_told(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def flat(values: dict[str, Any], prefix: str = "") -> set[str]:
    """The keys of nested values, with dots."""
    found = set()
    for key, value in values.items():
        name = f"{prefix}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, dict) else {name}
    return found


def test_help_of_fit_lists_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--help"])
    text = capsys.readouterr().out
    told = dict(re.findall(r"^  (\S+) \(.+\) = .+\n      (.+)$", text, re.MULTILINE))
    assert {name for name in told if "[]" not in name} == flat(plain(Config()))
    assert {"data[].path", "data[].share", "validation[].kind"} <= told.keys()
    assert "  optimizer.learning_rate (float) = 0.002\n      at its highest\n" in text
    assert "  precision (str) = float32\n      float32, bfloat16 or float16\n" in text
    assert all(len(key.text) > 5 for key in keys())


def test_training_needs_no_reader_of_bags() -> None:
    program = (
        "import sys\n"
        "for name in ('rosbags', 'apsw', 'lz4', 'mcap'):\n"
        "    sys.modules[name] = None\n"  # importing it fails
        "import training.fit, training.cli\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
