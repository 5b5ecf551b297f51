"""How the frames of a video, a folder or a bag are taken to the road, without ROS.

As for the node: the camera is what camera_info says, and its mounting what the parameters
camera_height, camera_pitch, ... say or else the transforms.
"""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lane_sad_ros.names import CAMERA_FRAME, INFO_TOPIC, TF_TOPIC, is_rectified
from lane_sad_ros.recordings import bags
from lane_sad_ros.recordings.camera_info import read_camera_info, recorded_camera_info
from lane_sad_ros.recordings.message_types import MESSAGES, BagError
from lane_sad_ros.recordings.sources import FrameSource, SourceFrame
from lane_sad_ros.road.camera import CalibrationError, CameraModel
from lane_sad_ros.road.ground import GroundProjector, Mounting
from lane_sad_ros.road.parameters import RoadParameters

_TF_TYPE = "tf2_msgs/msg/TFMessage"


class Projection:
    """Gives the projector for each frame of a source.

    parameters: in use. info, info_topic: CameraInfo of the camera, of `typestore()`, or None; the
    topic that it is of. note: why frames stay in pixels, where the source says less than it
    should. transforms: the messages of TF_TOPIC that were used.
    """

    def __init__(
        self,
        source: FrameSource,
        camera_info: str | None = None,
        params_file: str | None = None,
    ) -> None:
        """camera_info: a file of camera_calibration. params_file: see RoadParameters.from_file.

        Without them a bag may say all of it. Raises CalibrationError or ParameterError where one of
        the files cannot be used or is not enough, BagError for a bag that cannot be read.
        """
        self.parameters = RoadParameters.from_file(params_file) if params_file else RoadParameters()
        self.info, self.info_topic = None, INFO_TOPIC
        self._rectified = is_rectified(source.topic)
        self.transforms: list[Any] = []
        self.note = ""
        self._asked = bool(camera_info) or self.parameters.mounting is not None
        self._tree = _Tree()
        self._made: dict[tuple[tuple[int, int], str], GroundProjector | None] = {}
        if source.topic:
            try:
                self.info_topic, self.info = recorded_camera_info(source.path, source.topic)
            except CalibrationError:
                pass  # none is there, or none of this camera
            except BagError as error:  # what is there is damaged; the images need not be
                if self._asked and not camera_info:
                    raise
                self.note = str(error)
            if self.parameters.mounting is None:
                with suppress(BagError):  # there are none, or the bag was cut short: images tell
                    self._read_transforms(bags.Topic(source.path, TF_TOPIC, [_TF_TYPE]))
        if camera_info:
            self.info, self.note = read_camera_info(camera_info), ""
        if self._asked and self.info is None:
            raise CalibrationError(
                f"{source.path}: does not say what its camera sees, so that camera_height alone "
                "does not lead to the road; name a file of camera_calibration (--camera-info YAML)"
            )

    def projector(self, frame: SourceFrame) -> GroundProjector | None:
        """For this frame; None where it stays in pixels, see `note`.

        Raises CalibrationError where the calibration that was asked for is none for this frame.
        """
        size = frame.image.shape[1], frame.image.shape[0]
        key = size, frame.frame_id
        if key not in self._made:
            try:
                self._made[key] = self._make(size, frame.frame_id)
            except CalibrationError as error:
                if self._asked:
                    raise
                self.note = self.note or str(error)
                self._made[key] = None
        return self._made[key]

    def messages(self, frame: SourceFrame) -> dict[str, Any]:
        """What a bag of this frame's lanes needs to be understood, by topic: its camera_info."""
        if self.info is None:
            return {}
        header = MESSAGES.header(frame.stamp_ns, frame.frame_id or CAMERA_FRAME)
        return {self.info_topic: dataclasses.replace(self.info, header=header)}

    def static_transforms(self, frame: SourceFrame) -> list[Any]:
        """The transforms of such a bag, for TF_TOPIC."""
        mounting = self.parameters.mounting
        if mounting is None:
            return self.transforms
        child = frame.frame_id or CAMERA_FRAME
        return [MESSAGES.transform(mounting, self.parameters.base_frame, child, frame.stamp_ns)]

    def _read_transforms(self, topic: bags.Topic) -> None:
        for recorded in topic.raw():
            with suppress(BagError):  # a message that is damaged
                self.transforms.append(topic.parse(recorded))
                self._tree.add(self.transforms[-1])

    def _make(self, size: tuple[int, int], frame_id: str) -> GroundProjector | None:
        if self.info is None:
            return None
        camera = CameraModel.from_info(self.info, size, rectified=self._rectified)
        parameters = self.parameters
        mounting = parameters.mounting or self._tree.pose(frame_id, parameters.base_frame)
        if mounting is None:
            if not self._asked and not self.transforms:
                return None
            raise CalibrationError(
                "how the camera is mounted is not known: no static transform leads from "
                f"{frame_id or 'its frame, which has no name,'} to {parameters.base_frame}, and no "
                "camera_height is given (--params-file YAML, such as lane_sad calibrate writes)"
            )
        projector = GroundProjector(camera, mounting, max_range=parameters.ground_range)
        if not projector.sees_road:
            raise CalibrationError(
                f"the camera sees no road within {parameters.ground_range:g} m: it looks above the "
                "horizon. Pitch is positive downwards, and a camera's frame is the optical one"
            )
        return projector


class _Tree:
    """Static transforms, each of a frame in its parent."""

    def __init__(self) -> None:
        self._parents: dict[str, tuple[str, Mounting]] = {}
        self._broken: dict[str, CalibrationError] = {}

    def add(self, message: Any) -> None:
        """The transforms of a TFMessage; later ones of a frame replace earlier ones.

        As in tf2, one that is none is left out.
        """
        for stamped in message.transforms:
            t, q = stamped.transform.translation, stamped.transform.rotation
            child, parent = stamped.child_frame_id.lstrip("/"), stamped.header.frame_id.lstrip("/")
            try:
                pose = Mounting.from_transform((t.x, t.y, t.z), (q.x, q.y, q.z, q.w))
            except CalibrationError as error:
                self._broken[child] = CalibrationError(f"{TF_TOPIC}, {child} in {parent}: {error}")
            else:
                self._parents[child] = parent, pose

    def pose(self, frame: str, base: str) -> Mounting | None:
        """The pose of `frame` in `base`; None where they are not connected.

        Raises CalibrationError where that is for a transform that was left out.
        """
        there, here = self._up(frame.lstrip("/")), self._up(base)
        common = next((name for name in there if name in here), None)
        if common is None:
            for name in (*there, *here):
                if name in self._broken:
                    raise self._broken[name]
            return None
        (rotation, position), (turn, shift) = there[common], here[common]
        return Mounting(turn.T @ rotation, turn.T @ (position - shift))

    def _up(self, frame: str) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """The rotation and position of a frame in itself and each of its ancestors, upwards."""
        rotation: NDArray[np.float64] = np.eye(3)
        position: NDArray[np.float64] = np.zeros(3)
        found = {frame: (rotation, position)}
        while frame in self._parents:
            frame, pose = self._parents[frame]
            if frame in found:
                break  # a loop: not a tree
            rotation, position = pose.rotation @ rotation, pose.rotation @ position + pose.position
            found[frame] = rotation, position
        return found
