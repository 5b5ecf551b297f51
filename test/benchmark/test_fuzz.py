"""A short form of the fuzzing, and the failures that the long form has found."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark import fuzz
from lane_sad_ros.formats import bdd100k, culane, lines
from lane_sad_ros.image_files import BadImage, decode_image
from lane_sad_ros.recordings import bags
from lane_sad_ros.recordings.message_types import BagError

CASES = 60
DEAR = {"weights": 10}


@pytest.mark.parametrize("reader", list(fuzz.readers(Path("/nonexistent"), makes_bags=False)))
def test_hostile_input_is_read_or_refused_in_a_line(tmp_path: Path, reader: str) -> None:
    case = fuzz.readers(tmp_path)[reader]
    outcome = fuzz.run(case, seed=1, cases=DEAR.get(reader, CASES))
    assert outcome.cases and outcome.failures == {}


@pytest.mark.parametrize("error", [KeyError("x"), RecursionError(), ValueError("a\nb")])
def test_what_is_not_refused_in_a_line_is_found(error: Exception) -> None:
    def case(_: object) -> Callable[[], object]:
        def call() -> None:
            raise error

        return call

    assert len(fuzz.run(case, seed=0, cases=3).failures) == 1


def test_metadata_that_names_its_own_folder(tmp_path: Path) -> None:
    text = "rosbag2_bagfile_information: {relative_file_paths: /a}"
    (tmp_path / "metadata.yaml").write_text(text)
    with pytest.raises(BagError, match="is no file of a recording"):
        bags.topics(tmp_path)


def test_a_chunk_of_png_that_claims_gigabytes() -> None:
    whole = fuzz.example_images()[2]
    bomb = whole[:33] + struct.pack(">I", 2**31 - 1) + whole[37:]
    with pytest.raises(BadImage, match="the PNG of .* bytes lacks its end"):
        decode_image(bomb)


def test_a_tile_of_tiff_that_claims_gigabytes() -> None:
    tags = ((0x100, 32), (0x101, 24), (0x142, 2**15), (0x143, 2**15))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    with pytest.raises(BadImage, match="not an image"):
        decode_image(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(100))


@pytest.mark.parametrize(
    "frame",
    [
        {"labels": 5}, {"labels": [5]}, {"frames": 5}, {"frames": [5]},
        {"frames": [{"objects": 1}]},
        {"labels": [{"category": 5}]}, {"labels": [{"category": "lane", "attributes": 5}]},
        {"labels": [{"category": "lane", "poly2d": [[1, 2]]}]},
        {"labels": [{"category": "lane", "poly2d": [5]}]},
        {"labels": [{"category": "lane", "poly2d": [{"vertices": [[10**400, 1], [1, 1]]}]}]},
        {"labels": [{"category": "lane", "poly2d": [{"vertices": 5}]}]},
        {"labels": [{"category": "lane", "poly2d": [{"types": "LL"}]}]},
        {"labels": [{"category": "lane", "poly2d": [{"vertices": [[1e300, 1], [1, 1]]}]}]},
    ],
)  # fmt: skip
def test_bdd100k_labels_of_another_shape(frame: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"^a: b, label \d+: not a lane label of BDD100K \("):
        bdd100k.borders_of(frame, "a: b")


@pytest.mark.parametrize("number", ["1e300", "inf", "nan", "1e9"])
def test_numbers_beyond_all_bounds(tmp_path: Path, number: str) -> None:
    (tmp_path / "a.lines.txt").write_text(f"1 2 {number} 4\n")
    with pytest.raises(ValueError, match=r"a.lines.txt:1: .*not finite"):
        culane.read_lanes(tmp_path / "a.lines.txt")
    written = {"inf": "Infinity", "nan": "NaN"}.get(number, number)
    lane = '{"slot": 0, "name": "a", "exists": true, "probability": 1, "points": [[0, 1, X]]}'
    record = f'{{"image_size": [4, 4], "lanes": [{lane}]}}'
    (tmp_path / "a.jsonl").write_text(record.replace("X", written))
    with pytest.raises(ValueError, match=r"a.jsonl:1: .*not finite"):
        lines.read_lanes(tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl").write_text('{"image_size": [Infinity, 4], "lanes": []}')
    with pytest.raises(ValueError, match=r"a.jsonl:1: not a record of lanes"):
        lines.read_lanes(tmp_path / "a.jsonl")
