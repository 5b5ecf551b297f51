"""The names that `import lane_sad_ros` offers, and what they cost."""

import subprocess
import sys

import numpy as np
import pytest

import lane_sad_ros
from lane_sad_ros import Frame, LaneDetector, Lanes


def test_every_name_is_there_and_no_other() -> None:
    for name in lane_sad_ros.__all__:
        assert getattr(lane_sad_ros, name) is not None
    assert set(lane_sad_ros.__all__) <= set(dir(lane_sad_ros))
    with pytest.raises(AttributeError, match="LaneFinder"):
        _ = lane_sad_ros.LaneFinder


@pytest.mark.parametrize(
    ("name", "without"),
    [
        ("", {"torch", "cv2", "rclpy", "numpy", "rosbags"}),
        ("Lanes", {"torch", "cv2", "rclpy", "rosbags"}),
        ("Frame", {"torch", "cv2", "rclpy", "rosbags"}),
        ("RoadModel", {"torch", "rclpy", "rosbags"}),
        ("open_frames", {"torch", "rclpy"}),
        ("LaneDetector", {"rclpy", "rosbags", "torch._inductor"}),
    ],
)
def test_a_name_imports_only_what_it_needs(name: str, without: set[str]) -> None:
    used = f"lane_sad_ros.{name or '__all__'}"
    code = f"import sys, lane_sad_ros; {used}; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert not without & set(loaded)


def test_a_detector_is_called_with_arrays_and_frames(make_weights) -> None:
    detector = LaneDetector.from_weights(make_weights(), device="cpu")
    images = np.random.default_rng(0).integers(0, 256, (2, 96, 128, 3), np.uint8)
    lanes = detector(images[0])
    assert isinstance(lanes, Lanes)
    assert len(lanes) == len(list(lanes)) == 4
    assert lanes[1] is lanes.items[1]
    assert [lane.slot for lane in lanes] == [0, 1, 2, 3]
    one, other = detector([images[0], Frame(images[1][:, :, ::-1], "rgb")])
    for found, image in ((one, images[0]), (other, images[1])):
        for lane, alone in zip(found, detector(image), strict=True):
            assert lane.exists == alone.exists
            np.testing.assert_allclose(lane.points, alone.points, atol=1e-2)
    assert detector([]) == []
    with pytest.raises(ValueError, match="uint8"):
        detector(np.zeros((96, 128, 3), np.float32))
    for nothing in (None, [images[0], None]):
        with pytest.raises(ValueError, match="None is no image; cv2.imread"):
            detector(nothing)
