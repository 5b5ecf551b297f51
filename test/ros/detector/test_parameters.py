"""Parameters of the node: described, ranged, guarded, and the same in config/detector.yaml."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml
from harness import bgr_image, scene
from lane_sad_ros.msg import LaneArray
from rcl_interfaces.msg import ParameterType
from sensor_msgs.msg import Image

from lane_sad_ros.ros import declare
from lane_sad_ros.ros.detector.parameters import DetectorParameters

CONFIG = Path(__file__).parents[3] / "config" / "detector.yaml"


def test_the_configuration_file_holds_every_parameter_at_its_default():
    written = yaml.safe_load(CONFIG.read_text())["/**"]["ros__parameters"]
    defaults = {
        item.name: list(item.default) if isinstance(item.default, tuple) else item.default
        for item in dataclasses.fields(DetectorParameters)
    }
    assert written == defaults
    assert {k: type(v) for k, v in written.items()} == {k: type(v) for k, v in defaults.items()}


def test_a_node_started_with_the_configuration_file_has_the_defaults(start_node, tiny_weights):
    node = start_node(arguments=["--params-file", str(CONFIG)])
    expected = DetectorParameters(weights=str(tiny_weights), device="cpu")
    assert declare.read(node, DetectorParameters) == expected


def test_every_parameter_is_described(start_node, client):
    start_node(autostart=False)
    descriptors = client.describe()
    assert {item.name for item in dataclasses.fields(DetectorParameters)} <= set(descriptors)
    for item in dataclasses.fields(DetectorParameters):
        descriptor = descriptors[item.name]
        assert descriptor.description, item.name
        if descriptor.type in (ParameterType.PARAMETER_INTEGER, ParameterType.PARAMETER_DOUBLE):
            assert descriptor.integer_range or descriptor.floating_point_range, item.name
    assert descriptors["autostart"].read_only
    assert not descriptors["weights"].read_only


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("autostart", True, "read-only"),
        ("existence_threshold", 1.5, "Max: 1.0"),
        ("existence_threshold", -0.5, "between 0 and 1"),
        ("point_threshold", 1, "Wrong parameter type"),
        ("overlay_quality", 0, "Min: 1"),
        ("no_such_parameter", 1, "undeclared"),
    ],
)
def test_values_that_are_not_allowed_are_refused(start_node, client, name, value, words):
    start_node(autostart=False)
    result = client.set(name, value)
    assert not result.successful
    assert words in result.reason


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("image_transport", "compresed", "must be one of raw, compressed"),
        ("image_reliability", "best", "must be one of best_effort, reliable"),
        ("crop", [0.0, 0.5, 1.0], "four numbers"),
        ("crop", [0.0, 0.9, 1.0, 0.5], "top < bottom"),
        ("cameras", ["front", "front"], "twice"),
        ("cameras", ["front camera"], "topic name"),
        ("cameras", ["2nd"], "topic name"),
        ("image_depth", 1000, "Max: 100"),
    ],
)
def test_choices_are_checked(start_node, client, name, value, words):
    start_node(autostart=False)
    result = client.set(name, value)
    assert not result.successful
    assert words in result.reason


def test_what_the_detector_is_made_of_changes_only_while_unconfigured(start_node, client):
    start_node()
    client.wait_for_state("active")
    result = client.set("device", "auto")
    assert not result.successful
    assert "unconfigured" in result.reason
    assert client.change_state("deactivate")
    assert not client.set("cameras", ["front"]).successful
    assert client.change_state("cleanup")
    assert client.set("cameras", ["front"]).successful
    assert client.change_state("configure")
    assert client.change_state("activate")
    client.lanes("/lane_detector/front/lanes")
    front = client.publisher(Image, "/front/image")
    assert client.ask(front, bgr_image(scene()), "/lane_detector/front/lanes").lanes


def test_the_node_takes_its_own_parameters_and_says_which_are_fixed(start_node, client):
    """As `ros2 param load` of what `ros2 param dump` wrote does."""
    node = start_node()
    client.wait_for_state("active")
    descriptors = client.describe()
    for name, value in node.get_parameters_by_prefix("").items():
        assert client.set(name, value.value).successful, name
    assert not client.set("autostart", False).successful
    assert "while the node is configured" in descriptors["weights"].additional_constraints
    assert "while the node is configured" not in descriptors["tracking"].additional_constraints


def test_the_mounting_of_one_camera_is_not_taken_for_that_of_several(start_node, client):
    start_node(cameras=["front", "rear"])
    client.wait_for_state("active")
    result = client.set("camera_height", 1.5)
    assert not result.successful
    assert "not front and rear" in result.reason
    assert client.set("camera_pitch", 0.1).successful


def found(message: LaneArray) -> tuple[int, int]:
    """How many lanes and how many points."""
    return sum(lane.exists for lane in message.lanes), sum(len(lane.u) for lane in message.lanes)


def test_thresholds_change_what_comes_out_while_running(start_node, client):
    start_node()
    topic = client.lanes()
    camera = client.publisher(Image, "/image")
    lanes, points = found(client.ask(camera, bgr_image(scene()), topic))
    assert lanes > 0

    assert client.set("point_threshold", 1.0).successful
    assert found(client.ask(camera, bgr_image(scene()), topic)) == (0, 0)
    assert client.set("point_threshold", -1.0).successful
    assert found(client.ask(camera, bgr_image(scene()), topic)) == (lanes, points)

    assert client.set("existence_threshold", 1.0).successful
    assert found(client.ask(camera, bgr_image(scene()), topic)) == (0, 0)
    client.wait_for_status(
        lambda status: status.values.get("existence_threshold") == "1",
        "the threshold in effect",
        ": detector",
    )


def test_an_unknown_parameter_is_reported_with_what_was_probably_meant(start_node, client):
    start_node(start_type_description_service=True, existence_treshold=0.5, autostart=False)
    assert "did you mean existence_threshold" in client.wait_for_log("has none of that name")


def test_qos_overrides_are_reported_as_unknown_and_what_rclpy_declares_is_not(start_node, client):
    declared = {"use_sim_time": True, "start_type_description_service": True}
    start_node(**declared, **{"qos_overrides./image.subscription.depth": 1}, autostart=False)
    reported = client.wait_for_log("has none of that name")
    assert "parameter qos_overrides./image.subscription.depth is given" in reported


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-p", "existence_threshold:=2.0"], "existence_threshold out of range"),
        (["-p", "existence_threshold:=1"], "existence_threshold: a value of type number"),
        (["-p", "image_transport:=jpeg"], "image_transport: must be one of raw, compressed"),
        (["-p", "crop:=[0.5]"], "crop: needs four numbers"),
        (["-p", "crop:=[]"], "crop: needs four numbers"),
        (["-p", "cameras:=[]"], "cameras: at least one camera is needed"),
        (["-p", "engine:=[]"], "engine: must be a string, not an empty list"),
        (["-p", "use_sim_time:=1"], "use_sim_time: true or false is needed (Trying to set"),
        (["-p", "use_sim_time:=maybe"], "use_sim_time: true or false is needed (Trying to set"),
        (["-p", "use_sim_time:=[]"], "use_sim_time: true or false is needed"),
        (["--params-file", "/no/such/file.yaml"], "/no/such/file.yaml"),
        (["--", "--wieghts", "x"], "unknown argument --wieghts"),
    ],
)
def test_wrong_use_at_start_ends_in_one_line_and_exit_code_2(start_process, arguments, words):
    node = start_process(*arguments)
    assert node.end() == 2
    lines = [line for line in node.output.splitlines() if line.startswith("lane_detector: ")]
    assert len(lines) == 1
    assert words in lines[0]
    assert "Traceback" not in node.output


def test_the_page_lists_every_parameter():
    page = (CONFIG.parents[1] / "docs/node.md").read_text()
    table = page.partition("## Parameters")[2].partition("\n## ")[0]
    named = {name for row in table.splitlines() if row.startswith("| `") for name in _names(row)}
    assert named == {item.name for item in dataclasses.fields(DetectorParameters)}


def _names(row: str) -> list[str]:
    """The names in the first column of a row of a table."""
    return [name.strip("` ") for name in row.split("|")[1].split(",")]
