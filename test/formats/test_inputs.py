"""Inputs named by their data set mean the same for every command."""

from pathlib import Path

import pytest

from lane_sad_ros.formats import culane, tusimple
from lane_sad_ros.formats.inputs import dataset_input, kind_of


def test_the_last_colon_parts_root_and_file(tmp_path: Path) -> None:
    root = tmp_path / "a:b"
    root.mkdir()
    (root / "labels.json").touch()
    for listing in (root / "labels.json", "labels.json"):  # also below the root
        listed = str(listing).replace(str(root), "") if ":" in str(listing) else str(listing)
        given = dataset_input(f"tusimple:{root}:{listed.lstrip('/')}")
        assert (given.kind, given.root, given.listing) == ("tusimple", root, root / "labels.json")


@pytest.mark.parametrize("text", ["tusimple:", "culane:only", "bdd100k::x", "culane:x:"])
def test_the_right_form_is_said(text: str) -> None:
    with pytest.raises(ValueError, match=f"{text}: this form of input is {kind_of(text)}:[A-Z]+:"):
        dataset_input(text)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none.txt: no such LIST, nor below"):
        dataset_input(f"culane:{tmp_path}:none.txt")
    assert kind_of(f"{tmp_path}/culane") == kind_of("culane") == ""


def test_lists_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbf/driver/00000.jpg 1 1\n\n/driver/00030.jpg\n")
    assert list(culane.image_names(path)) == ["driver/00000.jpg", "driver/00030.jpg"]
    path.write_bytes(b"a.jpg\n///\n")
    with pytest.raises(ValueError, match=r"list.txt:2: /// is no image"):
        list(culane.image_names(path))
    path.write_bytes(b"\xff\xfea")
    with pytest.raises(ValueError, match=r"list.txt: not a text file"):
        list(culane.image_names(path))


def test_a_clip_ends_with_its_labelled_image() -> None:
    assert tusimple.clip_of(Path("clips/1/3.jpg")) == [Path(f"clips/1/{n}.jpg") for n in (1, 2, 3)]
    for name in ("x.jpg", "².jpg", "99999999999.jpg", "-1.jpg"):
        assert tusimple.clip_of(Path(name)) == []
