"""Topic, frame and type names that more than one room needs."""

from __future__ import annotations

BASE_FRAME = "base_link"
"""The vehicle frame, unless another one is named."""

CAMERA_FRAME = "camera"
"""The frame of images that name none."""

INFO_TOPIC = "/camera_info"
"""Where the calibration of a video or folder is written to."""

TF_TOPIC = "/tf_static"

DETECTOR = "/lane_detector"
"""The full name of the detector's node, unless another one is given; its topics lie below."""

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")

INFO_TYPE = "sensor_msgs/msg/CameraInfo"

LANES_TYPE = "lane_sad_ros/msg/LaneArray"

IMAGE_TOPIC = "/camera/image/compressed"
"""In a bag that is made of labelled images, as the three that follow."""

CAMERA_TOPIC = "/camera/camera_info"

TRUTH_TOPIC = "/truth/lanes"

EGO_TOPIC = "/truth/ego_lane"


def camera_info_topic(image_topic: str) -> str:
    """The topic beside the images, raw or compressed, where ROS has their camera_info."""
    return f"{image_topic.removesuffix('/compressed').rpartition('/')[0]}/camera_info"
