"""Labelled images of data sets, rendered scenes and recordings as one drive: frames with stamps.

Image files are passed on as they are, without being decoded, where they are JPEG or PNG. Stamps are
the recording's own where it has any. Where it has none, frames of one clip are a frame apart, and
those that do not follow on each other, as the images of most data sets, a gap: nobody should track
lanes from one street to another.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.files import SourceError, read_json_lines
from lane_sad_ros.formats import bdd100k, culane, lines, tusimple
from lane_sad_ros.formats.inputs import dataset_input, kind_of
from lane_sad_ros.formats.points import points
from lane_sad_ros.image_files import BadImage, decode_image, image_header, read_bytes
from lane_sad_ros.lanes import SLOTS_4, SLOTS_6, Lane, Lanes
from lane_sad_ros.messages.images import bayer_encoding, frame_from_message
from lane_sad_ros.names import IMAGE_TYPES
from lane_sad_ros.recordings import bags
from lane_sad_ros.recordings.message_types import BagError
from lane_sad_ros.recordings.sources import IMAGE_RATE, names_in, open_frames
from lane_sad_ros.road.camera import CameraModel
from lane_sad_ros.road.ego import EgoLane
from lane_sad_ros.road.ground import Mounting

START_NS = 10**9
"""The first stamp where the recording has none: 0 would mean that there is no stamp."""
GAP = 2.0
"""Seconds between frames that do not follow on each other; tracking starts anew after one."""

_QUALITY = 95  # of JPEGs that are made of other images

Polyline = NDArray[np.float32]
OnBad = Callable[[str], None]


@dataclass(frozen=True)
class EncodedImage:
    """A compressed image: its bytes, "jpeg" or "png", and (width, height)."""

    data: bytes
    format: str
    size: tuple[int, int]


@dataclass(frozen=True)
class LabelledFrame:
    """One frame of a drive.

    truth: the true lanes, in the drive's slots; None where the frame is not labelled. A true lane
    of a higher number than there are slots has no slot. camera, ego: where they are known.
    """

    stamp_ns: int
    name: str
    image: EncodedImage
    truth: Lanes | None
    camera: CameraModel | None = None
    ego: EgoLane | None = None


class LabelledDrive(ABC):
    """Frames in order of time. Iterating starts at the first frame each time.

    name: what was opened, for messages to people. slots: the names of the truth's slots. count: how
    many frames there should be. mounting: how the camera sits on the vehicle, if it is known and
    stays. on_bad: is called with a line for each frame that cannot be used, which is left out.
    """

    mounting: Mounting | None = None

    def __init__(self, name: str, slots: tuple[str, ...], count: int | None, on_bad: OnBad) -> None:
        self.name = name
        self.slots = slots
        self.count = count
        self.on_bad = on_bad

    @abstractmethod
    def __iter__(self) -> Iterator[LabelledFrame]: ...


def open_drive(
    name: str,
    on_bad: OnBad,
    *,
    labels: Path | None = None,
    clips: bool = False,
    rate: float = IMAGE_RATE,
    gap: float = GAP,
    topic: str | None = None,
) -> LabelledDrive:
    """The drive of a name such as "tusimple:ROOT:JSON"; see `lane_sad bag make --help`.

    labels: for images, videos and bags, the true lanes as `lane_sad detect` writes lanes. clips:
    also the frames of TuSimple's clips that have no label. rate: Hz. gap: see `GAP`. topic: the
    image topic of a bag that has several.
    Raises ValueError (FileNotFoundError where a file is missing) that says what would be right.
    """
    kind, _, rest = name.partition(":")
    if kind == "scenes":
        return _Scenes(Path(rest), rate, gap, on_bad)
    if not kind_of(name):
        return _Recording(Path(name), labels, rate, topic, on_bad)
    given, clock = dataset_input(name), _Clock(rate, gap)
    if kind == "tusimple":
        return _TuSimple(given.root, given.listing, clips, clock, on_bad)
    if kind == "culane":
        return _CULane(given.root, given.listing, clock, on_bad)
    return _BDD100K(given.root, given.listing, clock, on_bad)


def encoded(data: bytes, name: str, *, upright: bool = True) -> EncodedImage:
    """An image file; what is neither JPEG nor PNG, or lies on its side, becomes a JPEG.

    upright: see `decode_image`; what is not to be turned may lie on its side. Raises SourceError.
    """
    header = image_header(data)
    kept = header is not None and header.whole and header.kind in ("JPEG", "PNG")
    if header and kept and (header.orientation == 1 or not upright):
        return EncodedImage(data, header.kind.lower(), header.stored)
    try:
        return _as_jpeg(decode_image(data, upright=upright))
    except BadImage as error:
        raise SourceError(f"{name}: {error}") from error


def lanes_by_position(polylines: Sequence[Polyline], slots: int, size: tuple[int, int]) -> Lanes:
    """True lanes N×2 (u, v), in slots by their position around the ego lane.

    A lane that no slot is for, one of a single point and one of none, which data sets have, get
    numbers beyond the slots.
    """
    from lane_sad_ros.formats.slots import slot_numbers  # PyTorch takes seconds to import

    long = [lane for lane in polylines if len(lane) >= 2]
    by_slot: dict[int, Polyline] = {}
    others: list[Polyline] = [lane for lane in polylines if len(lane) < 2]
    for slot, lane in zip(slot_numbers(long, slots, *size), long, strict=True):
        if slot < 0 or slot in by_slot:
            others.append(lane)
        else:
            by_slot[slot] = lane
    by_slot |= {slots + index: lane for index, lane in enumerate(others)}
    return true_lanes(by_slot, slots, size)


def true_lanes(
    by_slot: Mapping[int, Polyline],
    slots: int,
    size: tuple[int, int],
    ground: Mapping[int, Polyline] | None = None,
) -> Lanes:
    """Lanes that are there for sure; slots without one are absent.

    by_slot: N×2 pixels. ground: N×3 metres of the same points.
    """
    lanes = []
    for slot in range(max([slots, *(number + 1 for number in by_slot)])):
        pixels = by_slot.get(slot)
        on_road = None if ground is None else ground.get(slot, np.zeros((0, 3), np.float32))
        if pixels is None:
            lanes.append(Lane(slot, False, 0.0, np.zeros((0, 3), np.float32), on_road))
            continue
        if len(pixels) and pixels[0, 1] < pixels[-1, 1]:  # from the bottom to the top
            pixels, on_road = pixels[::-1], None if on_road is None else on_road[::-1]
        points = np.column_stack([pixels, np.ones(len(pixels))]).astype(np.float32)
        lanes.append(Lane(slot, True, 1.0, points, on_road))
    return Lanes(size, tuple(lanes))


class _Clock:
    """Stamps for frames that have none."""

    def __init__(self, rate: float, gap: float) -> None:
        self._step = max(1, round(1e9 / rate))
        self._gap = max(self._step, round(1e9 * gap))

    def stamps(self, follows: Iterable[bool]) -> Iterator[int]:
        """follows: of each frame, whether it is the next one after the frame before."""
        now = START_NS
        for index, next_one in enumerate(follows):
            now += 0 if index == 0 else self._step if next_one else self._gap
            yield now


@dataclass(frozen=True)
class _File:
    """An image file, its name for people, and what makes its truth of its size."""

    path: Path
    name: str
    follows: bool
    truth: Callable[[tuple[int, int]], Lanes | None]


class _Files(LabelledDrive):
    """A drive of image files."""

    def __init__(
        self,
        name: str,
        slots: tuple[str, ...],
        files: Sequence[_File],
        clock: _Clock,
        on_bad: OnBad,
    ) -> None:
        super().__init__(name, slots, len(files), on_bad)
        self._files = files
        self._clock = clock

    def __iter__(self) -> Iterator[LabelledFrame]:
        stamps = self._clock.stamps(file.follows for file in self._files)
        for file, stamp in zip(self._files, stamps, strict=True):
            try:
                image = encoded(read_bytes(file.path), str(file.path))
                yield LabelledFrame(stamp, file.name, image, file.truth(image.size))
            except ValueError as error:
                self.on_bad(str(error))


class _TuSimple(_Files):
    def __init__(self, root: Path, labels: Path, clips: bool, clock: _Clock, on_bad: OnBad) -> None:
        records = tusimple.read_records(labels)
        if not records:
            raise ValueError(f"{labels}: holds no record")
        files = []
        for record in records:
            name = Path(record["raw_file"])
            clip = tusimple.clip_of(name) if clips else []
            before = [frame for frame in clip[:-1] if (root / frame).is_file()]
            files += [
                _File(root / frame, str(frame), index > 0, lambda _: None)
                for index, frame in enumerate(before)
            ]
            files.append(_File(root / name, str(name), bool(before), _tusimple_truth(record)))
        super().__init__(f"{labels}", SLOTS_6, files, clock, on_bad)


def _tusimple_truth(record: Mapping[str, Any]) -> Callable[[tuple[int, int]], Lanes]:
    def truth(size: tuple[int, int]) -> Lanes:
        rows = np.asarray(record["h_samples"], np.float32)
        lanes = []
        for columns in record["lanes"]:
            lane = np.stack([np.asarray(columns, np.float32), rows], axis=1)
            lanes.append(lane[lane[:, 0] >= 0])
        return lanes_by_position(lanes, len(SLOTS_6), size)

    return truth


class _CULane(_Files):
    def __init__(self, root: Path, listing: Path, clock: _Clock, on_bad: OnBad) -> None:
        names = list(culane.image_names(listing))
        if not names:
            raise ValueError(f"{listing}: names no image; one path per line is needed")
        files = [_File(root / name, name, False, _culane_truth(root, name)) for name in names]
        super().__init__(f"{listing}", SLOTS_4, files, clock, on_bad)


def _culane_truth(root: Path, name: str) -> Callable[[tuple[int, int]], Lanes | None]:
    def truth(size: tuple[int, int]) -> Lanes | None:
        path = root / culane.lines_file(name)
        if not path.is_file():  # as the frames of a video between the labelled ones
            return None
        return lanes_by_position(culane.read_lanes(path), len(SLOTS_4), size)

    return truth


class _BDD100K(_Files):
    def __init__(self, images: Path, labels: Path, clock: _Clock, on_bad: OnBad) -> None:
        found: list[tuple[str, dict[str, Any], str]] = []
        for file in sorted(labels.glob("*.json")) if labels.is_dir() else [labels]:
            found += [(name, frame, f"{file}: {name}") for name, frame in bdd100k.frames_of(file)]
        if not found:
            raise ValueError(f"{labels}: no label file (*.json) in here; masks tell no lanes apart")

        def truth_of(frame: dict[str, Any], where: str) -> Callable[[tuple[int, int]], Lanes]:
            def truth(size: tuple[int, int]) -> Lanes:
                lanes = bdd100k.centre_lines(bdd100k.borders_of(frame, where))
                official = lanes_by_position(lanes, len(SLOTS_6), bdd100k.IMAGE_SIZE)
                return official.scaled_to(size)

            return truth

        files = [
            _File(images / name, name, False, truth_of(frame, where))
            for name, frame, where in found
        ]
        super().__init__(f"{labels}", SLOTS_6, files, clock, on_bad)


@dataclass(frozen=True)
class RenderedScene:
    """A rendered scene: its image below the folder, and all that is true of it.

    stamp_ns: None for a scene that stands alone.
    """

    name: str
    stamp_ns: int | None
    truth: Lanes
    camera: CameraModel
    mounting: Mounting
    ego: EgoLane


def read_scenes(folder: Path) -> list[RenderedScene]:
    """What `python -m training synthesize` wrote into a folder.

    Raises FileNotFoundError or ValueError that name the file, the line and what would be right.
    """
    file = folder / "scenes.jsonl"
    if not file.is_file():
        raise FileNotFoundError(
            f"{folder}: no scenes.jsonl in this folder; one that `python -m training synthesize` "
            "filled is needed"
        )
    scenes = [_scene(record, f"{file}:{number}") for number, record in read_json_lines(file)]
    if not scenes:
        raise ValueError(f"{file}: holds no scene")
    return scenes


class _Scenes(LabelledDrive):
    """A folder of `python -m training synthesize`: scenes that stand alone, or a drive."""

    def __init__(self, folder: Path, rate: float, gap: float, on_bad: OnBad) -> None:
        self._folder = folder
        self._clock = _Clock(rate, gap)
        self._scenes = read_scenes(folder)
        super().__init__(str(folder), SLOTS_6, len(self._scenes), on_bad)
        if self._scenes[0].stamp_ns is not None:
            self.mounting = _common_mounting([scene.mounting for scene in self._scenes])

    def __iter__(self) -> Iterator[LabelledFrame]:
        stamps = self._clock.stamps(False for _ in self._scenes)
        for scene, stamp in zip(self._scenes, stamps, strict=True):
            path = self._folder / scene.name
            try:
                image = encoded(read_bytes(path), str(path))
                if image.size != scene.truth.image_size:
                    raise SourceError(
                        f"{path}: {_size(image.size)} pixels, but "
                        f"scenes.jsonl says {_size(scene.truth.image_size)}"
                    )
            except SourceError as error:
                self.on_bad(str(error))
                continue
            yield LabelledFrame(
                stamp if scene.stamp_ns is None else scene.stamp_ns,
                scene.name,
                image,
                scene.truth,
                scene.camera,
                scene.ego,
            )


def _scene(record: dict[str, Any], where: str) -> RenderedScene:
    """A line of scenes.jsonl, see docs/scenes.md."""
    try:
        values, ego = record["camera"], record["ego_lane"]
        camera = CameraModel(
            values["width"],
            values["height"],
            np.reshape(values["k"], (3, 3)),
            values["distortion_model"],
            tuple(values["d"]),
        )
        angles = (values["roll"], values["pitch"], values["yaw"])
        pixels, ground = (
            {SLOTS_6.index(lane["slot"]): points(lane[name], axes) for lane in record["lanes"]}
            for name, axes in (("pixels", 2), ("ground", 3))
        )
        size = values["width"], values["height"]
        return RenderedScene(
            record["raw_file"],
            START_NS + round(1e9 * record["stamp"]) if "stamp" in record else None,
            true_lanes(pixels, len(SLOTS_6), size, ground),
            camera,
            Mounting.from_angles(values["height_m"], *angles),
            _ego_lane(ego, SLOTS_6.index("left_1") in pixels, SLOTS_6.index("right_1") in pixels),
        )
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{where}: not a scene ({reason}); see docs/scenes.md") from error


def _ego_lane(values: dict[str, Any], left_seen: bool, right_seen: bool) -> EgoLane:
    """Of a scene; width and offset are null where one of the borders is not marked."""
    names = ("width", "lateral_offset", "heading", "curvature")
    valid = values["width"] is not None and values["lateral_offset"] is not None
    numbers = (float(values[name]) if valid else math.nan for name in names)
    return EgoLane(valid, left_seen, right_seen, *numbers)


def _common_mounting(mountings: Sequence[Mounting]) -> Mounting | None:
    """The middle one where they differ by no more than a driving car nods, else None."""
    positions = np.array([mounting.position for mounting in mountings])
    views = np.array([mounting.rotation[:, 2] for mounting in mountings])
    middle = views.mean(axis=0)
    if (
        np.ptp(positions, axis=0).max() > 0.01
        or np.linalg.norm(views - middle, axis=1).max() > 0.01
    ):
        return None
    return mountings[int(np.linalg.norm(views - middle, axis=1).argmin())]


class _Recording(LabelledDrive):
    """An image, a folder of images, a video or a bag, with its lanes in a file of their own."""

    def __init__(
        self, path: Path, labels: Path | None, rate: float, topic: str | None, on_bad: OnBad
    ) -> None:
        self._source = open_frames(path, topic=topic, rate=rate, on_bad=on_bad)
        self._rate = rate
        self._compressed: bags.ImageTopic | None = None
        if self._source.kind == "bag":
            images = bags.ImageTopic(path, topic)
            self._compressed = images if images.type == IMAGE_TYPES[1] else None
        slots: tuple[str, ...] = SLOTS_6
        self._labels: dict[str, Lanes] = {}
        if labels is not None:
            slots, self._labels = lines.read_lanes(labels)
        super().__init__(str(path), slots, self._source.count, on_bad)

    def __iter__(self) -> Iterator[LabelledFrame]:
        unused = set(self._labels)
        for stamp, name, image in self._images():
            unused.discard(name)
            truth = self._labels.get(name)
            if truth is not None and truth.image_size != image.size:
                self.on_bad(
                    f"{self.name}: {name}: {_size(image.size)} pixels, but its lanes lie on "
                    f"{_size(truth.image_size)}; they were left out"
                )
                truth = None
            yield LabelledFrame(stamp, name, image, truth)
        if unused:
            self.on_bad(
                f"{self.name}: has no frame of {len(unused)} of {len(self._labels)} labels, "
                f"first {min(unused)}"
            )

    def _images(self) -> Iterator[tuple[int, str, EncodedImage]]:
        path, kind = self._source.path, self._source.kind
        if kind in ("folder", "image"):
            folder = path if kind == "folder" else path.parent
            names = names_in(path) if kind == "folder" else [path.name]
            stamps = _Clock(self._rate, 0.0).stamps(True for _ in names)
            for name, stamp in zip(names, stamps, strict=True):
                try:
                    yield stamp, name, encoded(read_bytes(folder / name), str(folder / name))
                except SourceError as error:
                    self.on_bad(str(error))
            return
        if self._compressed is not None:
            yield from self._passed_on(self._compressed)
            return
        # A video's stamps count from its start, a bag's are those of its messages.
        start = 0 if kind == "bag" else START_NS
        for frame in self._source:
            yield start + frame.stamp_ns, frame.name, _as_jpeg(frame.image)

    def _passed_on(self, topic: bags.ImageTopic) -> Iterator[tuple[int, str, EncodedImage]]:
        try:
            for index, recorded in enumerate(topic.raw()):
                name = f"{index:06d}"
                try:
                    message = topic.parse(recorded)
                    if bayer_encoding(message):  # the format of what is written does not say so
                        image = _as_jpeg(frame_from_message(message).pixels)
                    else:
                        data, where = message.data.tobytes(), f"{self.name}: {name}"
                        image = encoded(data, where, upright=False)  # as `frame_from_message`
                except ValueError as error:
                    self.on_bad(str(error))
                    continue
                yield recorded.stamp_ns, name, image
        except BagError as error:
            self.on_bad(str(error))


def _as_jpeg(image: NDArray[np.uint8]) -> EncodedImage:
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return EncodedImage(data.tobytes(), "jpeg", (image.shape[1], image.shape[0]))


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
