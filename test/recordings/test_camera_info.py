"""Calibration files of camera_calibration."""

from pathlib import Path

import numpy as np
import pytest

from lane_sad_ros.recordings.camera_info import read_camera_info
from lane_sad_ros.recordings.message_types import MESSAGES, typestore
from lane_sad_ros.road.camera import CalibrationError, CameraModel

FILE = """\
image_width: 1280
image_height: 720
camera_name: narrow_stereo
camera_matrix:
  rows: 3
  cols: 3
  data: [1000., 0., 640., 0., 1001., 360., 0., 0., 1.]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [-0.1, 0.01, 0., 0., 0.]
rectification_matrix:
  rows: 3
  cols: 3
  data: [1., 0., 0., 0., 1., 0., 0., 0., 1.]
projection_matrix:
  rows: 3
  cols: 4
  data: [900., 0., 641., 0., 0., 901., 361., 0., 0., 0., 1., 0.]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "camera.yaml"
    path.write_text(text)
    return path


def test_a_calibration_becomes_a_message(tmp_path: Path) -> None:
    message = read_camera_info(written(tmp_path, FILE), MESSAGES.header(7, "camera"))
    assert (message.width, message.height, message.header.frame_id) == (1280, 720, "camera")
    camera = CameraModel.from_info(message)
    np.testing.assert_array_equal(camera.k, [[1000, 0, 640], [0, 1001, 360], [0, 0, 1]])
    assert (camera.model, camera.coefficients) == ("plumb_bob", (-0.1, 0.01, 0, 0, 0))
    assert message.p.tolist()[:4] == [900, 0, 641, 0]
    # It can be written: every field has the type that the message definition says.
    typestore().serialize_cdr(message, message.__msgtype__)


def test_a_camera_comes_back_from_its_message() -> None:
    camera = CameraModel(64, 48, np.array([[50.0, 0, 31], [0, 51, 23], [0, 0, 1]]), "equidistant",
                         (0.1, 0.0, 0.0, 0.0))  # fmt: skip
    again = CameraModel.from_info(MESSAGES.camera_info(camera, MESSAGES.header(0, "")))
    np.testing.assert_array_equal(again.k, camera.k)
    assert (again.width, again.height, again.model) == (64, 48, "equidistant")
    assert again.coefficients == camera.coefficients


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "not YAML"),
        ("just a word", "not a file of camera_calibration"),
        ("image_width: 3", "lacks 'image_height'"),
        (FILE.replace("0., 0., 1.]\ndist", "0., 1.]\ndist"), "camera_matrix has 8 numbers"),
        (FILE.replace("plumb_bob", "barrel"), "unknown distortion model 'barrel'"),
        (FILE.replace("1000.", "0."), "not calibrated"),
        (FILE.replace("data: [1., 0.", "data: [2., 0."), "r is no rotation"),
    ],
)
def test_what_is_no_calibration_is_refused_in_one_line(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(CalibrationError, match=r"^[^\n]*camera\.yaml: [^\n]*$") as error:
        read_camera_info(written(tmp_path, text))
    assert said in str(error.value)
    with pytest.raises(CalibrationError, match="missing.yaml: cannot be read"):
        read_camera_info(tmp_path / "missing.yaml")
