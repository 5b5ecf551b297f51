"""What the documentation says: its examples run, its commands are understood, its links lead on."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from lane_sad_ros import cli
from lane_sad_ros.messages.images import ENCODINGS
from lane_sad_ros.video_files import writing_video
from training import __main__ as training
from training.scenes import render, sample_camera, sample_scene

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "weights/README.md")),
    *sorted(ROOT.glob("docs/*.md")),
]
MOST_WORDS = 12_000


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str = "") -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return [text for kind, text in found if kind == language]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pictures that the examples read."""
    folder = tmp_path_factory.mktemp("examples")
    rng = np.random.default_rng(3)
    image = render(sample_scene(rng, sample_camera(rng, 1280, 720))).image
    assert cv2.imwrite(str(folder / "road.jpg"), image)
    with writing_video(folder / "drive.mp4", 20.0) as add:
        for _ in range(3):
            add(image)
    return folder


EXAMPLES = [
    pytest.param(text, id=f"{name_of(page)}-{number}")
    for page in (ROOT / "README.md", ROOT / "docs/python.md")
    for number, text in enumerate(blocks(page, "python"), start=1)
]


def test_there_are_three_examples_of_python() -> None:
    assert len(blocks(ROOT / "docs/python.md", "python")) == 3


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_runs_as_it_stands(
    example: str,
    files: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(files)
    exec(compile(example, "example", "exec"), {})
    assert capsys.readouterr().out


def commands(program: str) -> list[str]:
    """The calls of a program in all pages, continued lines joined, comments left out."""
    lines = (
        line.partition(" #")[0].strip()
        for page in PAGES
        for block in blocks(page)
        for line in block.replace("\\\n", " ").splitlines()
    )
    calls = (line.partition(program)[2] for line in lines if program in line)
    return sorted({call.strip() for call in calls})


PROGRAMS: list[tuple[str, Callable[[list[str]], int]]] = [
    ("lane_sad ", cli.main),
    ("-m training ", training.main),
]


@pytest.mark.parametrize(
    ("main", "call"),
    [pytest.param(main, call, id=call) for word, main in PROGRAMS for call in commands(word)],
)
def test_a_command_of_the_pages_is_understood(
    main: Callable[[list[str]], int], call: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # Told what no command knows, it does nothing, and names what it did not understand.
    with pytest.raises(SystemExit):
        main([*shlex.split(call), "--not-an-option"])
    assert capsys.readouterr().err.endswith("unrecognized arguments: --not-an-option\n")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_what_is_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        other = (page.parent / path).resolve() if path else page
        assert other.exists(), target
        if anchor:
            assert anchor in anchors(other), target


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_pages_are_short() -> None:
    assert sum(len(page.read_text().split()) for page in PAGES) <= MOST_WORDS


def test_every_encoding_is_listed() -> None:
    text = (ROOT / "docs/node.md").read_text().partition("### Encodings")[2].partition("\n#")[0]
    items = text.partition("\n- ")[2].partition("\n\n")[0]
    listed = set(re.findall(r"`(.*?)`", items))
    assert listed == set(ENCODINGS)
