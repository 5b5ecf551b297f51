"""How far off `lane_sad calibrate` is: on rendered straight drives of five cameras.

python -m benchmark.mounting [--weights FILE]

A drive has hills, nods, traffic and lane changes: 20 s at 4 Hz. The exit code is 1 where a
mounting was not found.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from lane_sad_ros.arguments import add_weights
from lane_sad_ros.detection import LaneDetector
from lane_sad_ros.road.calibration import calibrate
from lane_sad_ros.road.camera import CalibrationError, CameraModel
from training.scenes import DURATION, Drive, SceneCamera, drive_camera

LANE_WIDTH = 3.65  # metres, of the drive's lanes
_CAMERA = drive_camera(640, 360)
CAMERAS = {
    "the drive's": _CAMERA,
    "low and wide": replace(_CAMERA, fx=360.0, fy=360.0, height_m=1.2, pitch=0.02, yaw=0.02),
    "high, down, barrel": replace(
        _CAMERA,
        height_m=2.1,
        pitch=0.12,
        yaw=-0.03,
        roll=0.02,
        distortion=(-0.25, 0.06, 1e-3, -5e-4, 0.0),
    ),
    "narrow, rolled": replace(
        _CAMERA, fx=700.0, fy=700.0, height_m=1.4, pitch=0.03, yaw=0.01, roll=-0.015
    ),
    "pincushion": replace(
        _CAMERA, height_m=1.7, pitch=0.06, roll=0.01, distortion=(0.08, 0.0, 0.0, 0.0, 0.0)
    ),
}


class Straight(Drive):
    """Hills, nods, traffic and lane changes, but no bends."""

    @staticmethod
    def _bends(arc: NDArray[np.float64], side: float) -> NDArray[np.float64]:
        return np.zeros_like(arc)


def model_of(camera: SceneCamera) -> CameraModel:
    """What a rendered camera does to directions."""
    return CameraModel(camera.width, camera.height, camera.k, "plumb_bob", camera.distortion)


def main() -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmark.mounting",
        description="Errors of `lane_sad calibrate` on rendered straight drives.",
    )
    add_weights(parser)
    options = parser.parse_args()
    detector = LaneDetector.from_weights(options.weights, device=options.device)
    print("| camera | drive | pitch, ° | yaw, ° | roll, ° | height, % |")
    print("|---|---|---|---|---|---|")
    failed = False
    for name, camera in CAMERAS.items():
        for seed in (0, 1):
            try:
                cells = [f"{error:+.2f}" for error in _errors(detector, camera, seed)]
            except CalibrationError as error:
                cells, failed = [str(error)], True
            print(f"| {name} | {seed} | {' | '.join(cells)} |", flush=True)
    return int(failed)


def _errors(detector: LaneDetector, camera: SceneCamera, seed: int) -> list[float]:
    """Of pitch, yaw and roll in degrees, and of the height in per cent."""
    drive = Straight(seed, camera)
    times = tqdm(np.arange(0, DURATION, 0.25), leave=False)
    frames = [detector(drive.frame(float(t)).image) for t in times]
    found = calibrate(frames, model_of(camera), LANE_WIDTH)
    angles = ((found.pitch, camera.pitch), (found.yaw, camera.yaw), (found.roll, camera.roll))
    return [
        *(math.degrees(is_ - true) for is_, true in angles),
        100 * (found.height / camera.height_m - 1),
    ]


if __name__ == "__main__":
    sys.exit(main())
