"""Packed sets: what goes in comes out, broken ones are named, interrupted packing goes on."""

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.cli import main
from training.config import Config, Source, differing, plain, read_config
from training.datasets import LabelledImage, Reading, open_dataset
from training.datasets import packed as packed_module
from training.datasets.packed import Origin, Packed, bytes_needed, pack, size_of, verify
from training.datasets.synthetic import write_scenes

ORIGIN = Origin("a set", "CC BY 4.0", "labels", 640)


class Images:
    """Smooth images of all kinds of labels."""

    description = "a set"
    slots = 4

    def __init__(self, count: int, weights: np.ndarray | None = None) -> None:
        self.count, self.weights, self.read = count, weights, 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> LabelledImage:
        self.read += 1
        ramp = np.linspace(0, 200, 96)[None, :, None] + np.zeros((40, 1, 3)) + index
        lanes = tuple(
            np.array([[k, 39.5], [k + 2, 20], [k + 9.25, 3]], np.float32) for k in range(index % 3)
        )
        classes = np.full((40, 96), index, np.uint8) if index % 4 == 3 else None
        slots = tuple(range(len(lanes))) if index % 2 else None
        return LabelledImage(ramp.astype(np.uint8), lanes, slots, classes, index % 5 == 0)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_module, "PART", 4)


def test_what_is_packed_comes_out(tmp_path: Path) -> None:
    images = Images(10, np.arange(10.0))
    pack(images, tmp_path / "set", ORIGIN)
    found = open_dataset("packed", tmp_path / "set")
    assert len(found) == 10 and found.weights is not None and found.weights[3] == 3
    assert found.slots == 4
    for index in (9, *range(10)):
        sample, wanted = found[index], images[index]
        assert np.abs(sample.image.astype(int) - wanted.image).max() < 12
        assert len(sample.lanes) == len(wanted.lanes)
        for lane, true in zip(sample.lanes, wanted.lanes, strict=True):
            np.testing.assert_array_equal(lane, true)
        assert (sample.slots, sample.partial) == (wanted.slots, wanted.partial)
        if wanted.classes is None:
            assert sample.classes is None
        else:
            np.testing.assert_array_equal(sample.classes, wanted.classes)
    assert bytes_needed(images) == pytest.approx(size_of(tmp_path / "set"), rel=1.0)


def test_packed_images_are_scaled_where_less_is_needed(tmp_path: Path) -> None:
    pack(Images(5), tmp_path / "set", ORIGIN)
    sample = Packed(tmp_path / "set", Reading(max_width=48))[2]
    assert sample.image.shape == (20, 48, 3)
    np.testing.assert_allclose(sample.lanes[1][0], [0.25, 19.5])


def test_interrupted_packing_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "set"

    def interrupt(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(Images(10), folder, ORIGIN, interrupt)
    with pytest.raises(FileNotFoundError, match="that `python -m training pack` has finished"):
        Packed(folder)
    first = (folder / "images-0000.bin").read_bytes()
    rest = Images(10)
    pack(rest, folder, ORIGIN)
    assert rest.read == 6  # the first part was there
    assert (folder / "images-0000.bin").read_bytes() == first
    verify(folder)
    with pytest.raises(ValueError, match="set: holds another packed set"):
        pack(Images(9), folder, ORIGIN)


def test_broken_packs_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    pack(Images(6), folder, ORIGIN)
    data = (folder / "images-0001.bin").read_bytes()
    (folder / "images-0001.bin").write_bytes(data[:-1] + b"x")
    Packed(folder)
    with pytest.raises(ValueError, match=r"images-0001\.bin: its bytes are not those"):
        verify(folder)
    (folder / "images-0001.bin").write_bytes(data)
    labels = (folder / "labels-0000.npz").read_bytes()
    (folder / "labels-0000.npz").write_bytes(labels + b"x")
    with pytest.raises(ValueError, match=r"labels-0000\.npz: its bytes are not those"):
        verify(folder)
    (folder / "labels-0000.npz").write_bytes(labels)
    verify(folder)
    (folder / "images-0001.bin").write_bytes(data[:-1])
    with pytest.raises(ValueError, match=r"images-0001\.bin: not whole"):
        Packed(folder)
    (folder / "labels-0001.npz").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"labels-0001\.npz: not the labels"):
        Packed(folder)


def test_a_configurations_sets_are_packed_and_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((72, 128, 3), 90, np.uint8))
    lanes = {"width": 128, "height": 72, "lanes": [[[60, 70], [64, 30]]]}
    lines = [json.dumps({"image": f"{name}.png", **lanes}) for name in ("a", "b")]
    (tmp_path / "lanes.json").write_text("\n".join(lines))
    config = tmp_path / "run.yaml"
    config.write_text(
        f"data:\n- {{kind: lanes, path: {tmp_path}/lanes.json, share: 2.0, licence: MIT}}\n"
    )
    assert main(["pack", str(config), str(tmp_path / "out"), "--dry-run"]) == 0
    assert "MB in all" in capsys.readouterr().out and not (tmp_path / "out").exists()
    assert main(["pack", str(config), str(tmp_path / "out"), "--width", "64"]) == 0
    (source,) = read_config(tmp_path / "out/config.yaml").data
    assert (source.kind, source.share, source.licence) == ("packed", 2.0, "MIT")
    dataset = source.open()
    assert isinstance(dataset, Packed) and dataset.manifest["licence"] == "MIT"
    assert dataset[1].image.shape == (36, 64, 3)
    assert main(["pack", str(config), str(tmp_path / "out"), "--width", "64"]) == 0
    capsys.readouterr()
    (tmp_path / "lanes.json").write_text("\n".join(lines).replace("60", "61"))
    assert main(["pack", str(config), str(tmp_path / "out"), "--width", "64"]) == 1
    assert "holds another packed set" in capsys.readouterr().err


def test_scenes_are_packed_as_seeds_and_rendered_where_they_are_trained_on(tmp_path: Path) -> None:
    labels = write_scenes(tmp_path / "scenes", 2, seed=5, size=(160, 90))
    config = tmp_path / "run.yaml"
    config.write_text(f"data:\n- {{path: {labels}, share: 2.0}}\n")
    assert main(["pack", str(config), str(tmp_path / "out"), "--seeds"]) == 0
    (source,) = read_config(tmp_path / "out/config.yaml").data
    assert (source.kind, source.share, source.name) == ("scenes", 2.0, "00_scenes")
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*.json")) < 2000
    found, wanted = source.open(), open_dataset("tusimple", labels)
    assert len(found) == len(wanted) == 2
    for index in range(2):
        np.testing.assert_array_equal(found[index].image, wanted[index].image)
        assert len(found[index].lanes) == len(wanted[index].lanes)
        for lane, true in zip(found[index].lanes, wanted[index].lanes, strict=True):
            np.testing.assert_array_equal(lane, true)
    recipe = source.path.read_text()
    source.path.write_text(recipe.replace('"count": 2', '"count": 3'))
    assert len(source.open()) == 3  # not those that lie there
    assert main(["pack", str(config), str(tmp_path / "out"), "--seeds"]) == 1
    assert source.path.read_text() != recipe
    source.path.write_text('{"count": 2}')
    with pytest.raises(ValueError, match=r"recipe\.json: not the recipe of scenes"):
        source.open()


def test_some_of_the_scenes_are_not_packed_as_the_recipe_of_all(tmp_path: Path) -> None:
    labels = write_scenes(tmp_path / "scenes", 2, seed=5, size=(160, 90))
    (tmp_path / "scenes/some.json").write_text(labels.read_text().splitlines()[0])
    config = tmp_path / "run.yaml"
    config.write_text(f"data:\n- {{path: {tmp_path}/scenes/some.json}}\n")
    assert main(["pack", str(config), str(tmp_path / "out"), "--seeds"]) == 0
    (source,) = read_config(tmp_path / "out/config.yaml").data
    assert (source.kind, len(source.open())) == ("packed", 1)


def test_runs_from_before_a_setting_was_there_are_the_same() -> None:
    config = Config(data=(Source(Path("a.json")),))
    values = plain(config)
    del values["data"][0]["licence"]
    assert differing(config, values) == []
    changed = dataclasses.replace(config, data=(Source(Path("b.json")),))
    assert differing(changed, values) == ["data"]
