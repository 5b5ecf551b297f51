"""From camera frames to lanes: one `LaneDetector` for node, commands, evaluation and benchmark."""

from lane_sad_ros.detection.detector import Detection, LaneDetector, segmentation_to_image
from lane_sad_ros.detection.devices import DeviceError
from lane_sad_ros.detection.engines import ENGINES, EngineError
from lane_sad_ros.frames import Frame

__all__ = [
    "ENGINES",
    "Detection",
    "DeviceError",
    "EngineError",
    "Frame",
    "LaneDetector",
    "segmentation_to_image",
]
