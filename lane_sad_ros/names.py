"""Topic, frame and type names that more than one room needs."""

from __future__ import annotations

BASE_FRAME = "base_link"
"""The vehicle frame, unless another one is named."""

CAMERA_FRAME = "camera"
"""The frame of images that name none."""

INFO_TOPIC = "/camera_info"
"""Where the calibration of a video or folder is written to."""

TF_TOPIC = "/tf_static"

LANES_TYPE = "lane_sad_ros/msg/LaneArray"

IMAGE_TOPIC = "/camera/image/compressed"
"""In a bag that is made of labelled images, as the three that follow."""

CAMERA_TOPIC = "/camera/camera_info"

TRUTH_TOPIC = "/truth/lanes"

EGO_TOPIC = "/truth/ego_lane"
