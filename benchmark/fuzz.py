"""Hostile input for everything that reads what others wrote: python -m benchmark.fuzz [--for 60].

Each reader may give an answer or refuse with its own error (a ValueError or OSError, whose text is
one line); anything else, more than 2 s of work or 400 MB more is a failure. Input is made of whole
examples by cutting, flipping, repeating and replacing (bytes, or values of a tree), so that it gets
past the first check. The same seed gives the same cases.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import resource
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import yaml

from lane_sad_ros.arguments import positive
from lane_sad_ros.cli.common import silence_libraries
from lane_sad_ros.formats import bdd100k, culane, lines, tusimple
from lane_sad_ros.formats.drives import encoded, read_scenes
from lane_sad_ros.formats.labelme import read_annotation
from lane_sad_ros.formats.polylines import read_polylines
from lane_sad_ros.image_files import decode_image, image_header
from lane_sad_ros.messages.images import ENCODINGS, frame_from_message
from lane_sad_ros.network import weights
from lane_sad_ros.recordings import bags, writing
from lane_sad_ros.recordings.camera_info import read_camera_info
from lane_sad_ros.recordings.message_types import MESSAGES
from lane_sad_ros.road.camera import CameraModel
from lane_sad_ros.road.parameters import RoadParameters
from training.config import read_config

SLOW = 2.0
MEMORY = 400

_WORDS: tuple[Any, ...] = (
    *(0, 1, -1, 2, 255, 65535, 2**31, 2**32, 2**63, 2**64, 10**30, 0.5, -0.0, 1e-300, 1e300),
    *(float("inf"), float("-inf"), float("nan"), None, True, "", "a", "nan", "²", "\0", "\ufeff"),
    *("../../a", "/a", [], {}, [[]], [None], {"a": 1}, [[1, 2]], "1" * 100),
)


@dataclass
class Outcome:
    """What became of one reader's cases."""

    cases: int = 0
    refused: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    failures: dict[str, str] = field(default_factory=dict)


Case = Callable[[random.Random], Callable[[], object]]
"""Makes a case: what to call."""


def main() -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmark.fuzz", description=__doc__)
    parser.add_argument(
        "--for",
        type=positive,
        default=60.0,
        dest="span",
        metavar="S",
        help="seconds in all (default: %(default)g)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the cases (default: %(default)s)"
    )
    parser.add_argument(
        "--only", nargs="*", default=[], metavar="READER", help="these readers only"
    )
    options = parser.parse_args()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    silence_libraries()
    with tempfile.TemporaryDirectory() as folder:
        chosen = {
            name: case
            for name, case in readers(Path(folder)).items()
            if not options.only or name in options.only
        }
        found = {
            name: run(case, options.seed, seconds=options.span / len(chosen))
            for name, case in chosen.items()
        }
    print(table(found))
    for name, outcome in found.items():
        for failure, trace in outcome.failures.items():
            print(f"\n{name}: {failure}\n{trace}")
    return 1 if any(outcome.failures for outcome in found.values()) else 0


def run(case: Case, seed: int, *, seconds: float = 1e9, cases: int = 10**9) -> Outcome:
    """Cases of one reader, for so many seconds or so many."""
    outcome = Outcome()
    end = time.monotonic() + seconds
    while outcome.cases < cases and (began := time.monotonic()) < end:
        call = case(random.Random(f"{seed} {outcome.cases}"))
        before, failure = _memory(), ""
        start = time.process_time()  # what else the machine does matters not
        try:
            call()
        except (ValueError, OSError) as error:
            outcome.refused += 1
            if type(error) is UnicodeDecodeError or "\n" in str(error):
                failure = f"refused in {type(error).__name__} of several lines or none of ours"
        except Exception as error:
            failure = f"{type(error).__name__} at {traceback.extract_tb(error.__traceback__)[-1]}"
        took = time.process_time() - start
        if took > SLOW:
            failure = f"{took:.1f} s in case {outcome.cases}"
        if _memory() - before > MEMORY:
            failure = f"{_memory() - before:.0f} MB more in case {outcome.cases}"
        if failure:
            outcome.failures.setdefault(failure, f"case {outcome.cases}\n{traceback.format_exc()}")
        outcome.cases += 1
        outcome.seconds += time.monotonic() - began
        outcome.slowest = max(outcome.slowest, took)
    return outcome


def table(found: dict[str, Outcome]) -> str:
    """The outcomes, a line for each reader."""
    lines = [
        f"{'reader':<22}{'cases':>9}{'cases/s':>9}{'refused':>9}{'slowest':>11}{'failures':>9}"
    ]
    for name, one in found.items():
        rate, slowest = one.cases / max(one.seconds, 1e-9), 1000 * one.slowest
        lines.append(
            f"{name:<22}{one.cases:>9}{rate:>9.0f}{one.refused / max(one.cases, 1):>9.0%}"
            f"{slowest:>8.0f} ms{len(one.failures):>9}"
        )
    lines.append(f"{'all':<22}{sum(one.cases for one in found.values()):>9}")
    return "\n".join(lines)


def readers(folder: Path, makes_bags: bool = True) -> dict[str, Case]:
    """Each reader with its cases; folder: for the files that some of them read.

    makes_bags: whether whole bags are written there first, which those of bags need.
    """

    def file(name: str, read: Callable[[Path], object], whole: list[bytes]) -> Case:
        def case(rng: random.Random) -> Callable[[], object]:
            path = folder / name
            path.write_bytes(damaged(rng, rng.choice(whole)))
            return lambda: read(path)

        return case

    def tree(name: str, read: Callable[[Path], object], value: Any, as_yaml: bool = False) -> Case:
        def case(rng: random.Random) -> Callable[[], object]:
            path = folder / name
            changed = mutated(rng, value)
            text = yaml.safe_dump(changed) if as_yaml else json.dumps(changed)
            path.write_text(text, encoding="utf-8", errors="surrogateescape")
            return lambda: read(path)

        return case

    images = example_images()
    bag_files = {
        ending: _bag(folder / f"whole.{ending}") if makes_bags else b""
        for ending in ("mcap", "db3")
    }
    return {
        "image file": lambda rng: lambda: decode_image(damaged(rng, rng.choice(images))),
        "image header": lambda rng: lambda: image_header(damaged(rng, rng.choice(images))),
        "image to a bag": lambda rng: lambda: encoded(damaged(rng, rng.choice(images)), "a"),
        "raw image": _image(raw_image),
        "compressed image": _image(lambda rng: compressed_image(rng, images)),
        "CameraInfo": _camera,
        "mcap": file("a.mcap", _read_bag, [bag_files["mcap"]]),
        "db3": file("a.db3", _read_bag, [bag_files["db3"]]),
        "metadata.yaml": tree("metadata.yaml", lambda p: bags.topics(p.parent), _METADATA, True),
        "TuSimple": tree("a.json", _read_tusimple, _TUSIMPLE),
        "TuSimple, bytes": file("a.json", _read_tusimple, [json.dumps(_TUSIMPLE).encode()]),
        "CULane": file("a.lines.txt", culane.read_lanes, [b"1.5 2 3 4e2\n\n-1 590.25 7 8\n"]),
        "CULane list": file("l.txt", lambda p: list(culane.image_names(p)), [b"/a/1.jpg 1 1\n"]),
        "BDD100K": tree("b.json", _read_bdd100k, _BDD100K),
        "lanes.json": tree("lanes.json", read_polylines, _POLYLINES),
        "labelme": tree("labelme.json", read_annotation, _LABELME),
        "lanes.jsonl": tree("lanes.jsonl", lines.read_lanes, _LANES),
        "scenes.jsonl": tree("scenes.jsonl", lambda p: read_scenes(p.parent), _SCENE),
        "calibration": tree("c.yaml", read_camera_info, _CALIBRATION, True),
        "calibration, bytes": file(
            "c.yaml", read_camera_info, [yaml.safe_dump(_CALIBRATION).encode()]
        ),
        "parameters": tree("p.yaml", RoadParameters.from_file, _PARAMETERS, True),
        "training config": tree("t.yaml", read_config, _CONFIG, True),
        "weights": _weights(folder / "w.safetensors"),
    }


def damaged(rng: random.Random, data: bytes) -> bytes:
    """Bytes cut, flipped, repeated or replaced at up to six places."""
    changed = bytearray(data)
    for _ in range(rng.randint(0, 6)):
        at = rng.randint(0, len(changed))
        end = min(len(changed), at + rng.choice((1, 2, 4, 8, 64)))
        how = rng.randrange(6)
        if how == 0:
            del changed[at:]
        elif how == 1:
            del changed[at:end]
        elif how == 2:
            changed[at:at] = changed[at:end] * rng.choice((1, 2, 100))
        elif how == 3:
            changed[at:end] = bytes(rng.choice((0, 0xFF)) for _ in range(end - at))
        elif how == 4:
            changed[at:end] = rng.randbytes(end - at)
        elif at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
    return bytes(changed)


def mutated(rng: random.Random, value: Any) -> Any:
    """A tree with up to three of its values replaced, removed or doubled."""
    root = [copy.deepcopy(value)]
    for _ in range(rng.randint(0, 3)):
        places = list(_places(root))
        parent, key = rng.choice(places)
        how = rng.randrange(4)
        if how == 0 and parent is not root:
            del parent[key]
        elif how == 1 and isinstance(parent, list):
            parent.insert(key, copy.deepcopy(parent[key]))
        elif how == 2:
            parent[key] = copy.deepcopy(rng.choice(places)[0])
        else:
            parent[key] = copy.deepcopy(rng.choice(_WORDS))
    return root[0]


def _places(parent: Any) -> Iterator[tuple[Any, Any]]:
    keys = range(len(parent)) if isinstance(parent, list) else list(parent)
    for key in keys:
        yield parent, key
        if isinstance(parent[key], (list, dict)):
            yield from _places(parent[key])


def _memory() -> float:
    """Peak megabytes of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# --- whole examples


def example_images() -> list[bytes]:
    """A small picture in each kind of file that is read."""
    picture = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
    return [
        cv2.imencode(ending, picture, options)[1].tobytes()
        for ending, options in (
            (".jpg", []), (".jpg", [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]), (".png", []), (".bmp", []),
            (".webp", [cv2.IMWRITE_WEBP_QUALITY, 80]), (".webp", []), (".tiff", []), (".ppm", []),
            (".gif", []),
        )
    ]  # fmt: skip


def _number(rng: random.Random) -> int:
    return rng.choice((0, 1, 2, 7, 16, 31, 32, 33, 640, 65535, 2**31 - 1, 2**32 - 1))


def raw_image(rng: random.Random) -> SimpleNamespace:
    """The fields of a sensor_msgs/Image, but for its header."""
    width, height = rng.choice((16, _number(rng))), rng.choice((16, _number(rng)))
    return SimpleNamespace(
        encoding=rng.choice((*ENCODINGS, "", "BGR8", "32FC1", "bayer_", "\0", "x" * 1000)),
        width=width,
        height=height,
        step=rng.choice((3 * width, 2 * width, width, 6 * width, _number(rng))) % 2**32,
        is_bigendian=rng.choice((0, 1, 255)),
        data=rng.randbytes(rng.choice((0, 1, 16 * 16 * 3, 16 * 16 * 8, rng.randint(0, 4096)))),
    )


def compressed_image(rng: random.Random, images: list[bytes]) -> SimpleNamespace:
    """The fields of a sensor_msgs/CompressedImage, but for its header."""
    kinds = ("jpeg", "png", "", "bayer_rggb8; png compressed ", "bayer_gbrg16; jpeg", "\0", "; ;")
    data = damaged(rng, rng.choice((*images, *images, rng.randbytes(100))))
    return SimpleNamespace(format=rng.choice(kinds), data=data)


def camera_info(rng: random.Random) -> SimpleNamespace:
    """The fields of a sensor_msgs/CameraInfo of 640x480 pixels, but for its header."""

    def numbers(count: int) -> list[float]:
        values = [rng.uniform(-2, 2) for _ in range(count)]
        return [rng.choice((v, v, v, 0.0, 1e308, float("nan"), float("inf"))) for v in values]

    roi = dict.fromkeys(("x_offset", "y_offset", "width", "height"), 0)
    roi = {name: rng.choice((0, 0, _number(rng))) for name in roi}
    k = [500.0, 0.0, 320.0, 0.0, 500.0, 240.0, 0.0, 0.0, 1.0]
    p = [500.0, 0.0, 320.0, 0.0, 0.0, 500.0, 240.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    return SimpleNamespace(
        width=rng.choice((640, 640, _number(rng))),
        height=rng.choice((480, 480, _number(rng))),
        k=rng.choice((k, numbers(9))),
        d=numbers(rng.choice((0, 3, 4, 5, 8, 14))),
        p=rng.choice((p, numbers(12))),
        distortion_model=rng.choice(("plumb_bob", "rational_polynomial", "equidistant", "", "x")),
        binning_x=rng.choice((0, 1, 2, _number(rng))),
        binning_y=rng.choice((0, 1, 2, _number(rng))),
        roi=SimpleNamespace(**roi),
    )


def _image(make: Callable[[random.Random], SimpleNamespace]) -> Case:
    def case(rng: random.Random) -> Callable[[], object]:
        message = make(rng)
        return lambda: frame_from_message(message)

    return case


def _camera(rng: random.Random) -> Callable[[], object]:
    info = camera_info(rng)
    info.k, info.p = (rng.choice((v, v, v[:3], [])) for v in (info.k, info.p))
    size = rng.choice((None, (640, 480), (320, 240), (max(1, _number(rng)), 1)))

    def call() -> None:
        camera = CameraModel.from_info(info, size, rectified=rng.random() < 0.2)
        rays = camera.rays(np.array([[0, 0], [320, 240], [1e9, -1e9], [np.nan, 0]]))
        camera.project(rays)

    return call


def _weights(path: Path) -> Case:
    """Weights files with all that they say of themselves, and no weights."""
    shipped = weights.default_weights_path().read_bytes()
    (length,) = struct.unpack_from("<Q", shipped)
    ((name, text),) = json.loads(shipped[8 : 8 + length])["__metadata__"].items()
    metadata = json.loads(text)

    def case(rng: random.Random) -> Callable[[], object]:
        said = {"__metadata__": {name: json.dumps(mutated(rng, metadata))}}
        header = json.dumps(said).encode()
        path.write_bytes(
            struct.pack("<Q", len(header)) + rng.choice((header, damaged(rng, header)))
        )
        return lambda: weights.load(path)

    return case


def _bag(path: Path) -> bytes:
    with writing.writing_bag(path) as bag:
        for index in range(4):
            header = MESSAGES.header(index + 1, "camera")
            pixels = np.full((4, 6, 3), index, np.uint8)
            bag.write("/image", MESSAGES.image(pixels, "bgr8", header), index)
            bag.write("/header", header, index)
    return path.read_bytes()


def _read_bag(path: Path) -> None:
    bags.topics(path)
    topic = bags.ImageTopic(path)
    for recorded in topic.raw():
        frame_from_message(topic.parse(recorded))


def _read_tusimple(path: Path) -> None:
    for record in tusimple.read_records(path):
        tusimple.lanes_of(record)
        tusimple.clip_of(Path(record["raw_file"]))


def _read_bdd100k(path: Path) -> None:
    for name, frame in bdd100k.frames_of(path):
        bdd100k.centre_lines(bdd100k.borders_of(frame, f"{path}: {name}"))


_TUSIMPLE = {"raw_file": "clips/1/20.jpg", "h_samples": [160, 170], "lanes": [[-2, 5], [1, 2]]}
_BDD100K = [
    {
        "name": "a.jpg",
        "labels": [
            {
                "category": "lane/single white",
                "attributes": {"laneDirection": "parallel", "laneStyle": "solid"},
                "poly2d": [{"vertices": [[1, 700.5], [2, 600], [3, 500], [4, 1]], "types": "LCCC"}],
            },
            {"category": "lane", "attributes": {"laneTypes": "x"}, "poly2d": [[1, 2, "L"]] * 3},
        ],
    },
    {"name": "b", "frames": [{"objects": [{"category": "car"}]}]},
]
_POLYLINES = {"image": "a.jpg", "width": 64, "height": 48, "lanes": [[[1, 2], [3, 4]]], "x": 1}
_LABELME = {
    "imagePath": "a.jpg",
    "imageWidth": 64,
    "imageHeight": 48,
    "flags": {"checked": True},
    "shapes": [{"label": "lane", "shape_type": "linestrip", "points": [[1, 2.5], [3, 4]]}],
}
_LANES = {
    "frame": "a.jpg",
    "stamp": 0.5,
    "image_size": [64, 48],
    "lanes": [
        {"slot": 0, "name": "left_1", "exists": True, "probability": 0.9, "points": [[1, 2, 0.5]]},
        {"slot": 1, "name": "right_1", "exists": False, "probability": 0.1, "points": []},
    ],
}
_SCENE = {
    "raw_file": "1.jpg",
    "stamp": 0.1,
    "camera": {
        "width": 64, "height": 48, "k": [50, 0, 32, 0, 50, 24, 0, 0, 1], "d": [0, 0, 0, 0, 0],
        "distortion_model": "plumb_bob", "roll": 0.0, "pitch": 0.1, "yaw": 0.0, "height_m": 1.5,
    },
    "lanes": [{"slot": "left_1", "pixels": [[1, 2], [3, 4]], "ground": [[1, 2, 0], [3, 4, 0]]}],
    "ego_lane": {"width": 3.5, "lateral_offset": 0.1, "heading": 0.0, "curvature": 0.001},
}  # fmt: skip
_CALIBRATION = {
    "image_width": 64,
    "image_height": 48,
    "camera_matrix": {"rows": 3, "cols": 3, "data": [50, 0, 32, 0, 50, 24, 0, 0, 1]},
    "distortion_model": "plumb_bob",
    "distortion_coefficients": {"rows": 1, "cols": 5, "data": [0.1, 0, 0, 0, 0]},
    "projection_matrix": {"rows": 3, "cols": 4, "data": [50, 0, 32, 0, 0, 50, 24, 0, 0, 0, 1, 0]},
}
_PARAMETERS = {"/**": {"ros__parameters": {"camera_height": 1.5, "base_frame": "base_link"}}}
_CONFIG = {
    "layout": "tusimple",
    "input_size": [64, 32],
    "data": [{"kind": "lanes", "path": "a.json", "share": 0.5, "labels": {"ends": "bottom"}}],
    "optimizer": {"kind": "sgd", "learning_rate": 0.01},
    "distillation": {"start": 2},
    "steps": 4,
    "precision": "float32",
}
_METADATA = {
    "rosbag2_bagfile_information": {"version": 8, "relative_file_paths": ["whole.mcap", "a.mcap"]}
}


if __name__ == "__main__":
    sys.exit(main())
