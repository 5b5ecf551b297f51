"""From received images to published lanes: the work of an active `lane_detector`."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.time import Time
from std_msgs.msg import Header

from lane_sad_ros.detection import Detection, Frame, LaneDetector
from lane_sad_ros.image_files import BadImage
from lane_sad_ros.messages.images import frame_from_message
from lane_sad_ros.road.model import Road
from lane_sad_ros.ros.detector.camera import Camera, Warn
from lane_sad_ros.ros.detector.diagnostics import ERROR, Report
from lane_sad_ros.ros.detector.ground import NoGround
from lane_sad_ros.ros.detector.newest import NewestFrames, Received
from lane_sad_ros.ros.detector.parameters import FROM_WEIGHTS, DetectorParameters
from lane_sad_ros.ros.detector.transforms import Transforms


@dataclasses.dataclass
class _Job:
    """One frame on its way. stages: seconds spent so far, by name."""

    camera: Camera
    received: Received
    frame: Frame
    stages: dict[str, float]

    @property
    def header(self) -> Header:
        return self.received.message.header


class Pipeline:
    """A detector with its cameras, and the thread that feeds it.

    Creating one loads and warms up the detector: it raises ValueError (weights, device, engine)
    or whatever the engine raises.
    """

    def __init__(self, node: LifecycleNode, settings: DetectorParameters, warn: Warn) -> None:
        self._node = node
        self._warn = warn
        self._settings = settings
        if settings.camera_height > 0 and len(settings.cameras) > 1:
            raise ValueError(
                f"camera_height is {settings.camera_height:g}: that is how one camera is mounted, "
                f"not {' and '.join(settings.cameras)}; set it to 0 and let TF connect the frames "
                f"of the cameras with {settings.base_frame}"
            )
        self._detector = _load(settings)
        self._apply_thresholds()
        self._newest = NewestFrames()
        self._worker: threading.Thread | None = None
        self._busy: tuple[str, float] | None = None
        self._transforms = Transforms(node)
        self.cameras = {
            name: Camera(node, name, settings, self._transforms, warn) for name in settings.cameras
        }

    def start(self) -> None:
        """Subscribes to the cameras and begins to work."""
        self._newest = NewestFrames()
        self._worker = threading.Thread(target=self._work, name="worker", daemon=True)
        self._worker.start()
        for camera in self.cameras.values():
            camera.open(self._receive)

    def stop(self, timeout: float | None = None) -> tuple[bool, list[Any]]:
        """Ends the work after the present frame.

        Returns whether it ended within `timeout` seconds (None: waits), and the subscriptions,
        for the caller to destroy.
        """
        self._newest.close()
        subscriptions = [closed for camera in self.cameras.values() for closed in camera.close()]
        ended = True
        if self._worker is not None:
            self._worker.join(timeout)
            ended = not self._worker.is_alive()
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
        busy = self._busy
        if busy is not None and now - busy[1] > self._settings.stale_after:
            report.add(ERROR, f"has been busy with {busy[0]} for {now - busy[1]:.1f} s")

    def _receive(self, camera: str, message: Any) -> None:
        if self._newest.put(camera, message, time.monotonic()):
            self.cameras[camera].monitor.dropped()

    def _work(self) -> None:
        newest = self._newest
        while (frames := newest.take()) is not None:
            try:
                self._process(frames)
            # Whatever went wrong with these frames, the next ones deserve their chance.
            except Exception as error:
                for name in frames:
                    self._failed(self.cameras[name], error)
            self._busy = None

    def _process(self, frames: dict[str, Received]) -> None:
        jobs = [job for name, taken in frames.items() if (job := self._prepare(name, taken))]
        self._enter("detection")
        segmentation = any(job.camera.segmentation_heard for job in jobs)
        done = self._detect(jobs, segmentation)
        self._enter("publishing")
        roads = [self._publish(job, detection, len(done)) for job, detection in done]
        for (job, detection), road in zip(done, roads, strict=True):
            began = time.monotonic()
            job.camera.publish_pictures(
                job.frame, road, detection.segmentation, self._detector.layout, job.header
            )
            ended = time.monotonic()
            job.camera.monitor.took(ended, {"pictures": ended - began})

    def _prepare(self, name: str, received: Received) -> _Job | None:
        """The frame of a message, unless nobody wants it or it is bad."""
        began = self._enter("conversion")
        camera = self.cameras[name]
        if not camera.heard:
            camera.monitor.unheard(began)
            return None
        try:
            frame = frame_from_message(received.message)
        except BadImage as error:
            self._bad(camera, error.reason, str(error))
            return None
        stages = {"wait": began - received.time, "convert": time.monotonic() - began}
        return _Job(camera, received, frame, stages)

    def _detect(self, jobs: Sequence[_Job], segmentation: bool) -> list[tuple[_Job, Detection]]:
        """Detections of all jobs that can be used, in one batch where no frame spoils it."""
        if not jobs:
            return []
        try:
            frames = [job.frame for job in jobs]
            detections = self._detector.detect(frames, segmentation=segmentation)
        except ValueError as error:
            if len(jobs) > 1:
                return [done for job in jobs for done in self._detect([job], segmentation)]
            self._bad(jobs[0].camera, "unusable_frame", str(error))
            return []
        return list(zip(jobs, detections, strict=True))

    def _publish(self, job: _Job, detection: Detection, batch: int) -> Road:
        began = time.monotonic()
        road = self._understand(job, detection)
        understood = time.monotonic()
        job.camera.publish_lanes(road, self._detector.layout, job.header)
        ended = time.monotonic()
        job.stages.update(detection.stages)
        job.stages["road"] = understood - began
        job.stages["publish"] = ended - understood
        job.stages["total"] = ended - job.received.time
        stamp = Time.from_msg(job.header.stamp)
        if stamp.nanoseconds:
            age = self._node.get_clock().now().nanoseconds - stamp.nanoseconds
            job.stages["stamp to output"] = age * 1e-9
        job.camera.monitor.took(ended, job.stages)
        job.camera.monitor.processed(ended, len(road.lanes.present), batch)
        return road

    def _understand(self, job: _Job, detection: Detection) -> Road:
        """The road that the lanes of a frame tell of: on the ground where it is calibrated."""
        camera, lanes = job.camera, detection.lanes
        camera.road.projector = None
        if camera.ground_heard:
            try:
                camera.road.projector = camera.calibration.projector(job.header, lanes.image_size)
                camera.monitor.on_ground(camera.calibration.source)
            except NoGround as error:
                camera.monitor.no_ground(time.monotonic(), error.reason, str(error), error.wanted)
                if error.wanted:
                    self._warn(f"{camera.name} ground", f"no lanes on the road: {error}")
        # Images without a stamp are as far apart as they arrive.
        stamp_ns = Time.from_msg(job.header.stamp).nanoseconds or int(1e9 * job.received.time)
        return camera.road.update(lanes, stamp_ns, ego=camera.ego_heard)

    def _bad(self, camera: Camera, reason: str, words: str) -> None:
        camera.monitor.bad(time.monotonic(), reason, words)
        self._warn(f"{camera.name} {reason}", f"bad frame on {camera.topic} ({reason}): {words}")

    def _failed(self, camera: Camera, error: Exception) -> None:
        words = f"{type(error).__name__}: {error}"
        camera.monitor.failed(time.monotonic(), words)
        self._warn(f"{camera.name} failed", f"a frame of {camera.topic} failed: {words}")

    def _enter(self, step: str) -> float:
        now = time.monotonic()
        self._busy = (step, now)
        return now

    def _apply_thresholds(self) -> None:
        decoding, settings = self._detector.layout.decoding, self._settings
        existence, point = settings.existence_threshold, settings.point_threshold
        self._detector.set_thresholds(
            existence=decoding.existence_threshold if existence == FROM_WEIGHTS else existence,
            point=decoding.point_threshold if point == FROM_WEIGHTS else point,
        )


def _load(settings: DetectorParameters) -> LaneDetector:
    """The detector, after a first run for every batch size that can occur."""
    left, top, right, bottom = settings.crop
    detector = LaneDetector.from_weights(
        Path(settings.weights).expanduser() if settings.weights else None,
        device=settings.device,
        engine=settings.engine,
        crop=(left, top, right, bottom) if any(settings.crop) else None,
    )
    for batch in range(1, len(settings.cameras) + 1):
        detector.warm_up(batch)
    return detector
