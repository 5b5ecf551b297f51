"""The configurations for RViz and Foxglove name topics, types and fields that the node has.

Neither program runs here; that they understand the configurations is not asserted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness import Client, wait_until

from lane_sad_ros.messages.lanes import POINT
from lane_sad_ros.ros.detector.parameters import DetectorParameters
from lane_sad_ros.ros.message_classes import message_class

VIEWS = Path(__file__).parents[2] / "rviz"
RVIZ = yaml.safe_load((VIEWS / "lanes.rviz").read_text())["Visualization Manager"]
FOXGLOVE = json.loads((VIEWS / "lanes.foxglove.json").read_text())
PANELS = FOXGLOVE["configById"]
OWN = {"/lane_detector/transition_event"}  # of every lifecycle node
SHOWS = {
    "MarkerArray": "visualization_msgs/msg/MarkerArray",
    "PointCloud2": "sensor_msgs/msg/PointCloud2",
}


@pytest.fixture
def topics(start_node: Callable[..., Any], client: Client) -> dict[str, str]:
    """The node's outputs and their types."""
    start_node()
    client.wait_for_state("active")

    def outputs() -> dict[str, str]:
        found = dict(client.node.get_topic_names_and_types())
        return {
            name: kinds[0]
            for name, kinds in found.items()
            if name.startswith("/lane_detector/") or name == "/diagnostics"
        }

    wait_until(lambda: "/lane_detector/segmentation" in outputs(), "the outputs")
    return outputs()


def image_type(topic: str) -> str:
    kind = "CompressedImage" if topic.endswith("/compressed") else "Image"
    return f"sensor_msgs/msg/{kind}"


def test_every_display_of_rviz_shows_a_topic_of_the_node(topics: dict[str, str]) -> None:
    displays = [d for d in RVIZ["Displays"] if "Topic" in d]
    shown = {display["Topic"]["Value"] for display in displays}
    assert shown == {
        f"/lane_detector/{name}" for name in ("markers", "points", "overlay", "overlay/compressed")
    }
    for display in displays:
        topic, kind = display["Topic"]["Value"], display["Class"].rpartition("/")[2]
        assert topics[topic] == SHOWS.get(kind, image_type(topic)), display["Name"]
        # The node offers reliable, volatile topics: asking for more would show nothing.
        assert display["Topic"]["Durability Policy"] == "Volatile"


def test_the_page_lists_every_output(topics: dict[str, str]) -> None:
    page = (VIEWS.parent / "docs/node.md").read_text()
    table = page.partition("| out |")[2].partition("\n\n")[0]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    named = {name.strip("` ") for row in rows for name in row.split(",")}
    assert {name.replace("~", "/lane_detector") for name in named} == set(topics) - OWN


def test_rviz_draws_in_the_frame_of_the_road() -> None:
    assert RVIZ["Global Options"]["Fixed Frame"] == DetectorParameters.base_frame
    (points,) = (d for d in RVIZ["Displays"] if d["Class"].endswith("PointCloud2"))
    assert points["Channel Name"] in POINT.names


def panels(layout: Any) -> Iterator[str]:
    if isinstance(layout, str):
        yield layout
    else:
        yield from panels(layout["first"])
        yield from panels(layout["second"])


def test_every_panel_of_foxglove_shows_something_of_the_node(topics: dict[str, str]) -> None:
    assert sorted(panels(FOXGLOVE["layout"])) == sorted(PANELS)
    image = PANELS["Image!overlay"]["imageMode"]["imageTopic"]
    assert topics[image] == image_type(image)
    road = PANELS["3D!road"]
    assert road["followTf"] == road["layers"]["grid"]["frameId"] == DetectorParameters.base_frame
    assert {topics[name] for name in road["topics"]} == set(SHOWS.values())
    assert road["topics"]["/lane_detector/points"]["colorField"] in POINT.names
    assert topics[PANELS["DiagnosticSummary!node"]["topicToRender"]] == (
        "diagnostic_msgs/msg/DiagnosticArray"
    )
    plotted = [path for panel in PANELS.values() for path in panel.get("paths", ())]
    assert len(plotted) == 4
    for path in plotted:
        topic, _, field = path["value"].partition(".")
        assert field in message_class(topics[topic]).get_fields_and_field_types()
        # With the header's stamps, or a window that follows, plots of recordings stay empty.
        assert path["timestampMethod"] == "receiveTime"
    assert not [name for name, panel in PANELS.items() if "followingViewWidth" in panel]
    assert all(panel["lichtblickPanelTitle"] for panel in PANELS.values())
