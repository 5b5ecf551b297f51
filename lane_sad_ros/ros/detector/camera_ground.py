"""Where the pixels of one camera of a node lie on the road: camera_info, and how it is mounted."""

from __future__ import annotations

from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from lane_sad_ros.road.camera import CalibrationError, CameraModel
from lane_sad_ros.road.ground import GroundProjector, Mounting
from lane_sad_ros.ros import qos
from lane_sad_ros.ros.detector.parameters import DetectorParameters
from lane_sad_ros.ros.detector.topics import Topic
from lane_sad_ros.ros.detector.transforms import Transforms, UnknownTransform

_HELD = 5  # camera_infos in the queue; only the newest counts


class NoGround(Exception):
    """Pixels cannot be taken to the road; the text is one line for the user.

    reason: a name for it. wanted: whether the user has asked for the road, so that this is a
    problem and not a choice.
    """

    def __init__(self, reason: str, words: str, wanted: bool) -> None:
        super().__init__(words)
        self.reason = reason
        self.wanted = wanted


class CameraGround:
    """Gives the projector for each image of a camera, made anew only when something changes.

    The camera is what the newest camera_info says. Its mounting is that of the parameters where
    camera_height is above 0, else that of TF at the image's stamp (the newest one where TF is
    behind).
    """

    def __init__(
        self,
        node: LifecycleNode,
        topic: Topic,
        settings: DetectorParameters,
        transforms: Transforms,
        *,
        rectified: bool = False,
    ) -> None:
        """topic: of camera_info. rectified: whether the images are, see `CameraModel.from_info`."""
        self.topic = topic.name
        self._asked = topic.asked
        self._rectified = rectified
        self._node = node
        self._settings = settings
        self._transforms = transforms
        self._info: tuple[object, CameraInfo] | None = None
        self._seen: tuple[object, CameraModel | CalibrationError] | None = None
        self._made: tuple[object, GroundProjector] | None = None
        self._subscriptions: list[Any] = []

    def open(self) -> None:
        """Subscribes to camera_info, and to TF where it says how the camera is mounted.

        A camera_info of before stays in force until the next one.
        """
        self._subscribe(qos.image_qos("best_effort", _HELD))
        if self._settings.use_tf and self._settings.mounting is None:
            self._transforms.listen()

    def look(self) -> None:
        """Subscribes to what was published once and is kept for late comers, where there is such.

        Only then: the publishers of others would warn of a subscription that asks for too much.
        """
        if len(self._subscriptions) != 1:
            return
        publishers = self._node.get_publishers_info_by_topic(self._asked)
        if any(map(qos.is_latched, publishers)):
            self._subscribe(qos.latched_qos())

    def close(self) -> list[Any]:
        """Forgets the subscriptions and returns them, for the caller to destroy."""
        subscriptions, self._subscriptions = self._subscriptions, []
        return subscriptions

    def apply(self, settings: DetectorParameters) -> None:
        """Takes over the parameters."""
        self._settings = settings

    @property
    def source(self) -> str:
        """In words: where the calibration is taken from."""
        if self._settings.camera_height > 0:
            return f"{self.topic} and the parameters camera_height, camera_pitch, ..."
        return f"{self.topic} and the transform to {self._settings.base_frame}"

    def projector(self, header: Header, image_size: tuple[int, int]) -> GroundProjector:
        """For an image of (width, height) `image_size` with this header. Raises NoGround."""
        camera = self._camera(image_size)
        key, mounting = self._mounting(header)
        inputs = key, self._settings.ground_range
        made = self._made
        if made is not None and made[0] == inputs and made[1].camera is camera:
            return made[1]
        try:
            projector = GroundProjector(camera, mounting, max_range=self._settings.ground_range)
        except CalibrationError as error:
            raise NoGround("bad_mounting", f"{self._whence()}: {error}", True) from error
        if not projector.sees_road:
            raise NoGround(
                "no_road",
                f"{self._whence()}: the camera sees no road within "
                f"{self._settings.ground_range:g} m: it looks above the horizon. Pitch is positive "
                "downwards, and a camera's frame in TF must be the optical one, z along the view",
                True,
            )
        self._made = inputs, projector
        return projector

    def _subscribe(self, profile: QoSProfile) -> None:
        self._subscriptions.append(
            self._node.create_subscription(CameraInfo, self._asked, self._received, profile)
        )

    def _received(self, message: CameraInfo) -> None:
        roi = message.roi
        key = (
            message.width,
            message.height,
            message.distortion_model,
            tuple(message.d),
            tuple(message.k),
            tuple(message.r),
            tuple(message.p),
            message.binning_x,
            message.binning_y,
            (roi.x_offset, roi.y_offset, roi.width, roi.height),
        )
        self._info = key, message

    def _camera(self, image_size: tuple[int, int]) -> CameraModel:
        info = self._info
        if info is None:
            raise self._problem(
                "no_camera_info",
                f"no camera_info on {self.topic}: lanes stay in pixels until the camera's driver "
                "publishes its calibration there",
            )
        key, message = info
        if self._seen is None or self._seen[0] != (key, image_size):
            camera: CameraModel | CalibrationError
            try:
                camera = CameraModel.from_info(message, image_size, rectified=self._rectified)
            except CalibrationError as error:
                camera = error
            self._seen = (key, image_size), camera
        camera = self._seen[1]
        if isinstance(camera, CalibrationError):
            words = str(camera).removeprefix("camera_info: ")
            raise self._problem("bad_camera_info", f"{self.topic}: {words}") from camera
        return camera

    def _mounting(self, header: Header) -> tuple[object, Mounting]:
        """How the camera is mounted, and what tells one mounting from another."""
        settings = self._settings
        if (mounting := settings.mounting) is not None:
            return mounting, mounting
        stay = "lanes stay in pixels until"
        height = "the parameter camera_height says how high the camera is"
        if len(settings.cameras) > 1:  # which no parameter can say of each
            off, no_frame, unknown = "it is on and TF knows the camera's mounting", "they do", ""
        else:
            off, no_frame, unknown = height, height, f"{height}, or "
        if not settings.use_tf:
            # A choice, also where there was a mounting before.
            raise NoGround("no_mounting", f"use_tf is off: {stay} {off}", False)
        frame = header.frame_id
        if not frame:
            raise self._problem(
                "no_mounting", f"the images name no frame_id to look up in TF: {stay} {no_frame}"
            )
        try:
            pose = self._transforms.pose(frame, settings.base_frame, Time.from_msg(header.stamp))
        except UnknownTransform as error:
            raise self._problem(
                "no_mounting", f"{str(error).rstrip('. ')}; {stay} {unknown}TF knows it"
            ) from error
        if pose.age > settings.stale_after:
            raise NoGround(
                "old_transform",
                f"the newest transform from {frame} to {settings.base_frame} is {pose.age:.1f} s "
                "from the image's stamp: are both of one clock?",
                True,
            )
        try:
            mounting = Mounting.from_transform(pose.translation, pose.quaternion)
        except CalibrationError as error:
            raise NoGround("bad_mounting", f"{self._whence()}: {error}", True) from error
        return (pose.translation, pose.quaternion), mounting

    def _problem(self, reason: str, words: str) -> NoGround:
        """A part that is missing: a choice, unless the parameters ask for it or it was there."""
        wanted = self._settings.camera_height > 0 or self._made is not None
        return NoGround(reason, words, wanted)

    def _whence(self) -> str:
        if self._settings.camera_height > 0:
            return "camera_height, camera_pitch, ..."
        return f"the transform to {self._settings.base_frame}"
