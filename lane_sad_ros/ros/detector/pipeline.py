"""From received images to published lanes: the work of an active `lane_detector`."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rclpy.lifecycle import LifecycleNode

from lane_sad_ros.detection import Detection, LaneDetector
from lane_sad_ros.ros.detector.camera_stream import CameraStream, Task
from lane_sad_ros.ros.detector.diagnostics import ERROR, Report
from lane_sad_ros.ros.detector.newest import NewestFrames, Received
from lane_sad_ros.ros.detector.outputs import Warn
from lane_sad_ros.ros.detector.parameters import FROM_WEIGHTS, DetectorParameters
from lane_sad_ros.ros.detector.transforms import Transforms

_PATIENCE = 0.5  # of stale_after for one step of the work
_REMEDY = (
    "If that does not end, the node cannot go on by itself: deactivate, clean up, configure and "
    "activate it, or end it (with respawn:=true detect.launch.py starts it anew)"
)


class Pipeline:
    """A detector with its cameras, and the thread that feeds it.

    Creating one loads and warms up the detector: it raises ValueError (weights, device, engine)
    or whatever the engine raises.
    """

    def __init__(self, node: LifecycleNode, settings: DetectorParameters, warn: Warn) -> None:
        self._settings = settings
        if conflict := settings.conflict():
            raise ValueError(conflict)
        self._warn = warn
        self._detector = _load(settings)
        self.lost = False
        """Whether the device has failed for good."""
        self._batches = self._warm_up(len(settings.cameras))
        self._apply_thresholds()
        self._newest = NewestFrames()
        self._worker: threading.Thread | None = None
        self._busy: tuple[str, float] | None = None
        self._transforms = Transforms(node)
        self.cameras = {
            name: CameraStream(node, name, settings, self._transforms, warn)
            for name in settings.cameras
        }

    def start(self) -> None:
        """Subscribes to the cameras and begins to work, unless it `hangs`."""
        self._newest = NewestFrames()
        self._worker = threading.Thread(target=self._work, name="worker", daemon=True)
        self._worker.start()
        for camera in self.cameras.values():
            camera.open(self._receive)

    @property
    def hangs(self) -> str:
        """In words: in what work hangs that `stop` has given up; empty where it is over."""
        if self._worker is None or not self._worker.is_alive() or not self._newest.abandoned:
            return ""
        return f"the detector is still {self.occupation}. {_REMEDY}"

    def stop(self, timeout: float) -> tuple[bool, list[Any]]:
        """Ends the work after the present frame.

        Returns whether it ended within `timeout` seconds, and the subscriptions, for the caller to
        destroy. Work that did not end publishes nothing any more.
        """
        self._newest.close()
        subscriptions = [closed for camera in self.cameras.values() for closed in camera.close()]
        ended = True
        if self._worker is not None:
            self._worker.join(timeout)
            ended = not self._worker.is_alive()
            self._newest.abandoned = not ended
        subscriptions += self._transforms.close()
        return ended, subscriptions

    def apply(self, settings: DetectorParameters) -> None:
        """Takes over the parameters that may change at any time."""
        self._settings = settings
        self._apply_thresholds()
        for camera in self.cameras.values():
            camera.apply(settings)

    def report(self, report: Report, now: float) -> None:
        """Adds what the detector is and does to the node's status."""
        report.values.update({key: str(value) for key, value in self._detector.description.items()})
        thresholds = self._detector.thresholds
        report.values["existence_threshold"] = f"{thresholds.existence_threshold:g}"
        report.values["point_threshold"] = f"{thresholds.point_threshold:g}"
        if stalled := self.stalled(now):
            report.add(ERROR, f"{stalled}. {_REMEDY}")

    @property
    def occupation(self) -> str:
        """In words: what the work that goes on is busy with, more exactly when it hangs."""
        return self.stalled(time.monotonic()) or "busy"

    def stalled(self, now: float) -> str:
        """In words: in what the work hangs, and for how long; empty where it does not."""
        busy = self._busy
        if busy is None or now - busy[1] <= _PATIENCE * self._settings.stale_after:
            return ""
        return f"busy with {busy[0]} for {now - busy[1]:.1f} s"

    def _receive(self, camera: str, message: Any) -> None:
        if self._newest.put(camera, message, time.monotonic()):
            self.cameras[camera].dropped()

    def _work(self) -> None:
        newest = self._newest
        while (frames := newest.take()) is not None:
            self._process(frames, newest)
            self._busy = None

    def _process(self, frames: dict[str, Received], newest: NewestFrames) -> None:
        self._enter("conversion")
        tasks = []
        for name, received in frames.items():
            with self.cameras[name].failing_alone():
                if (task := self.cameras[name].take(received)) is not None:
                    tasks.append(task)
        self._enter("detection")
        segmentation = any(task.camera.outputs.segmentation_heard for task in tasks)
        done = self._detect(tasks, segmentation)
        self.lost |= len(done) < len(tasks) and not self._detector.answers()
        if newest.abandoned:
            return
        self._enter("publishing")
        layout, published = self._detector.layout, []
        for task, detection, batch in done:
            with task.camera.failing_alone():
                road = task.camera.publish(task, detection, layout, batch)
                published.append((task, detection, road))
        for task, detection, road in published:
            with task.camera.failing_alone():
                task.camera.draw(task, detection, layout, road)

    def _detect(
        self, tasks: Sequence[Task], segmentation: bool
    ) -> list[tuple[Task, Detection, int]]:
        """Detections of all tasks that can be used, in one batch where no frame spoils it, and how
        many frames were in the batch.
        """
        frames = [task.frame for task in tasks]
        if len(tasks) > 1:
            if self._batches:
                try:
                    detections = self._detector.detect(frames, segmentation=segmentation)
                    return [(*pair, len(tasks)) for pair in zip(tasks, detections, strict=True)]
                except ValueError:  # a frame that cannot be used, which is told below
                    pass
                except Exception as error:
                    self._one_by_one(len(tasks), error)
            return [done for task in tasks for done in self._detect([task], segmentation)]
        for task in tasks:
            with task.camera.failing_alone():
                try:
                    (detection,) = self._detector.detect(frames, segmentation=segmentation)
                    return [(task, detection, 1)]
                except ValueError as error:
                    task.camera.refuse("unusable_frame", str(error))
        return []

    def _warm_up(self, cameras: int) -> bool:
        """A first run for every batch size that can occur; whether batches are possible."""
        self._detector.warm_up(1)
        for batch in range(2, cameras + 1):
            try:
                self._detector.warm_up(batch)
            except Exception as error:
                self._one_by_one(batch, error)
                return False
        return True

    def _one_by_one(self, frames: int, error: Exception) -> None:
        """Tells of a batch that failed, whatever the engine raised. One by one, the frames that
        can be used are answered, and less memory is needed.
        """
        words = " ".join(f"{type(error).__name__}: {error}".split())
        self._warn("batch", f"{frames} frames at once failed, one by one is tried: {words}")

    def _enter(self, step: str) -> None:
        self._busy = (step, time.monotonic())

    def _apply_thresholds(self) -> None:
        decoding, settings = self._detector.layout.decoding, self._settings
        existence, point = settings.existence_threshold, settings.point_threshold
        self._detector.set_thresholds(
            existence=decoding.existence_threshold if existence == FROM_WEIGHTS else existence,
            point=decoding.point_threshold if point == FROM_WEIGHTS else point,
        )


def _load(settings: DetectorParameters) -> LaneDetector:
    left, top, right, bottom = settings.crop
    return LaneDetector.from_weights(
        Path(settings.weights).expanduser() if settings.weights else None,
        device=settings.device,
        engine=settings.engine,
        threads=settings.threads,
        crop=(left, top, right, bottom) if any(settings.crop) else None,
    )
