"""Names of topics, frames, types and engines that more than one room needs."""

from __future__ import annotations

import re

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

AUTO = "auto"
"""The engine that is chosen for the machine."""

ENGINES = {
    AUTO: "the fastest one on this machine that gives the same lanes as eager",
    "eager": "PyTorch as it is, works everywhere",
    "compiled": "PyTorch compiled for this CPU, minutes at the first start, needs a C++ compiler",
    "openvino": "OpenVINO on the CPU",
    "openvino-bf16": "OpenVINO in bfloat16, on CPUs that have it",
    "onnx": "ONNX Runtime on CPU or CUDA",
    "cudagraph": "PyTorch in half precision as CUDA graphs",
    "cudagraph-bf16": "the same in bfloat16",
    "tensorrt": "Torch-TensorRT in half precision on CUDA",
}
"""Ways to run the network, in one line each."""


def engines_text() -> str:
    """All engines with their lines."""
    return "; ".join(f"{name}: {text}" for name, text in ENGINES.items())


def camera_info_topic(image_topic: str) -> str:
    """The topic beside the images, raw or compressed, where ROS has their camera_info."""
    return f"{image_topic.removesuffix('/compressed').rpartition('/')[0]}/camera_info"


def is_rectified(image_topic: str) -> bool:
    """Whether images are free of the lens's distortion by the name of their topic: image_rect."""
    name = image_topic.removesuffix("/compressed").rpartition("/")[2]
    return re.search("(?<![a-z])rect", name) is not None
