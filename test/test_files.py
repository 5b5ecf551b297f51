"""Files appear whole or not at all, where they should, and are read with care."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lane_sad_ros import files
from lane_sad_ros.files import SourceError, below, is_among, parse_yaml, read_yaml, replacing

# --- a disk that is full: the system lets no file grow beyond a size

FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from lane_sad_ros import files, image_files, video_files
from lane_sad_ros.recordings import writing
from lane_sad_ros.recordings.message_types import MESSAGES
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
path = Path(sys.argv[1])
noise = [np.random.default_rng(n).integers(0, 256, (96, 128, 3), np.uint8) for n in range(30)]
try:
    if path.suffix == ".json":
        files.write_json(path, list(range(100_000)))
    elif path.suffix == ".jsonl":
        with files.writing_lines(path) as add:
            for n in range(10_000):
                add({"number": n})
    elif path.suffix == ".png":
        image_files.write_image(path, np.concatenate(noise))
    elif path.suffix in (".mp4", ".avi", ".mkv"):
        with video_files.writing_video(path, 10) as add:
            for image in noise:
                add(image)
    else:
        with writing.writing_bag(path) as bag:
            for n, image in enumerate(noise):
                bag.write("/image", MESSAGES.image(image, "bgr8", MESSAGES.header(n, "")), n)
except OSError as error:
    named = error.filename or str(error)
    sys.exit(0 if named.startswith(str(path)) else f"not named: {error!r}")
sys.exit("no error")
"""


@pytest.mark.parametrize("ending", ["json", "jsonl", "png", "mp4", "avi", "mkv", "mcap", "db3"])
def test_a_full_disk_is_told_and_leaves_the_old_file(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    path.write_text("as it was")
    done = subprocess.run([sys.executable, "-c", FULL, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert path.read_text() == "as it was" and os.listdir(tmp_path) == [path.name]


# --- temporary files


def test_a_planted_link_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "guessed")
    (tmp_path / ".a.guessed.partial.json").symlink_to(mine)
    with pytest.raises(FileExistsError):
        files.write_json(tmp_path / "a.json", 1)
    assert mine.read_text() == "mine" and not (tmp_path / "a.json").exists()


def test_a_link_is_followed_and_a_pipe_written_to(tmp_path: Path) -> None:
    link, pipe = tmp_path / "link.json", tmp_path / "pipe"
    link.symlink_to(tmp_path / "disk" / "real.json")
    files.write_json(link, 1)
    assert link.is_symlink() and json.loads((tmp_path / "disk" / "real.json").read_text()) == 1
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    files.write_json(pipe, 2)
    assert os.read(reader, 100) == b"2\n" and pipe.is_fifo()
    os.close(reader)


def test_temporary_names_cannot_be_guessed(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.txt") as one, replacing(tmp_path / "a.txt") as two:
        assert one != two and one.suffix == ".txt" and str(os.getpid()) not in one.name
        one.touch()
        two.touch()
    before = os.umask(0o027)
    os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o666 & ~before


# --- names


@pytest.mark.parametrize(
    "name", ["/etc/a", "../a", "a/../../b", "", ".", "a\0b", "out/x", "deep/y"]
)
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "out").symlink_to(tmp_path)
    (folder / "deep").symlink_to("..")
    with pytest.raises(SourceError, match="leads out of"):
        below(folder, name)
    assert below(folder, "b/c.jpg") == folder / "b/c.jpg"


def test_an_input_is_known_by_whatever_name(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "link").symlink_to("a")
    os.link(tmp_path / "a", tmp_path / "hard")
    for name in ("a", "link", "hard", "../" + tmp_path.name + "/a"):
        assert is_among(tmp_path / name, [None, tmp_path / "a"])
    assert is_among(tmp_path / "a", [tmp_path])
    (tmp_path / "b").touch()
    assert not is_among(tmp_path / "b", [tmp_path / "a", tmp_path / "none"])
    assert not is_among(tmp_path / "new", [tmp_path / "a", tmp_path / "new"])


# --- text, JSON, YAML


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\n')
    assert list(files.read_json_lines(path)) == [(1, {"a": 1})]
    path.write_bytes(b"\xef\xbb\xbfa: 1")
    assert read_yaml(path) == {"a": 1}


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 5000, '{"a": ' * 50_000, "nul"])
def test_json_that_is_none_is_one_line_that_names_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"^[^\n]*a\.jsonl:1: not JSON [^\n]*$"):
        list(files.read_json_lines(path))


BOMB = "a0: &a0 [x, x]\n" + "\n".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)
)


@pytest.mark.parametrize(
    "text",
    [
        BOMB, "a: &a [*a]", "&a {b: *a}", "[" * 5000, "a: 2020-02-31", "{[1]: 2}", "a: [", "\x01",
        "!!python/object/apply:os.system [true]", "a: &a {<<: *a}", "? " * 3000, "a: *b",
        "- !!binary 1", "!!timestamp x", "1: 2\n1e999999: .inf\n!!int '': 1",
    ],
)  # fmt: skip
def test_yaml_that_harms_is_one_line_that_names_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"^[^\n]*a\.yaml: not YAML \([^\n]*$"):
        read_yaml(path)


def test_yaml_is_read_as_it_was() -> None:
    text = "a: &a {b: [1, 2.5, true, null, x]}\nc: {<<: *a, d: 2020-02-03}\n"
    assert parse_yaml(text) == yaml.safe_load(text)
    assert parse_yaml("") is None


def test_yaml_larger_than_any_such_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("x" * 2_000_001)
    with pytest.raises(ValueError, match=r"a\.yaml: not YAML of at most 2 MB"):
        read_yaml(path)
