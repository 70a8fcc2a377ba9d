"""What RViz is told to show is what the node publishes, in the quality that it offers."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ws3d_ros.config import Config

ROOT = Path(__file__).resolve().parents[2]
CONFIG = yaml.safe_load((ROOT / "config" / "rviz" / "perception.rviz").read_text())
DISPLAYS: list[dict[str, Any]] = [
    display for display in CONFIG["Visualization Manager"]["Displays"] if "Topic" in display
]
TYPES = {
    "PointCloud2": "PointCloud2",
    "MarkerArray": "MarkerArray",
    "Image": "Image",
    "Map": "OccupancyGrid",
}
RAW = ("/lidar/points", "/camera/color/image")


def published() -> dict[str, str]:
    """The type of each publisher in the node's source, by a pattern of its topic's name in a plain start."""
    found = {}
    for path in sorted((ROOT / "ws3d_ros" / "node").glob("*.py")):
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call) or len(call.args) != 3:
                continue
            kind, topic, _quality = call.args
            parts = topic.values if isinstance(topic, ast.JoinedStr) else [topic]
            pattern = "".join(
                str(part.value) if isinstance(part, ast.Constant) else "[a-z]+" for part in parts
            )
            if isinstance(kind, ast.Name) and pattern.startswith("~/"):
                found["/ws3d/" + pattern[2:]] = kind.id
    return found


PUBLISHED = published()


def documented() -> dict[str, str]:
    """The row of docs/interfaces.md for each topic, by its absolute name in a plain start."""
    rows = [
        line for line in (ROOT / "docs" / "interfaces.md").read_text().splitlines() if line.startswith("| `")
    ]
    topics = {}
    for row in rows:
        name = row.split("`")[1]
        topics["/ws3d/" + name[2:] if name.startswith("~/") else "/" + name.lstrip("/")] = row
    return topics


def test_fixed_frame_is_the_map() -> None:
    options = CONFIG["Visualization Manager"]["Global Options"]
    assert options["Fixed Frame"] == Config().inputs.map_frame


@pytest.mark.parametrize("display", DISPLAYS, ids=lambda display: str(display["Name"]))
def test_topic_is_documented_with_this_type_and_quality(display: dict[str, Any]) -> None:
    row = documented()[topic_of(display)]
    assert f"`{TYPES[display['Class'].split('/')[1]]}`" in row
    is_latched = "latched" in row
    assert (display["Topic"]["Durability Policy"] == "Transient Local") == is_latched


@pytest.mark.parametrize("display", DISPLAYS, ids=lambda display: str(display["Name"]))
def test_the_node_publishes_it_with_this_type(display: dict[str, Any]) -> None:
    topic = topic_of(display)
    if topic in RAW:
        return
    types = {kind for pattern, kind in PUBLISHED.items() if re.fullmatch(pattern, topic)}
    assert types == {TYPES[display["Class"].split("/")[1]]}


def test_only_the_nodes_own_topics_are_on() -> None:
    on = {topic_of(display) for display in DISPLAYS if display["Enabled"]}
    assert on == {topic_of(display) for display in DISPLAYS} - {*RAW, "/ws3d/rendered/instance"}
    assert all(display["Enabled"] == display["Value"] for display in DISPLAYS)


def test_there_is_a_cloud_by_label_by_instance_and_by_confidence() -> None:
    near = [display for display in DISPLAYS if topic_of(display) == "/ws3d/semantic_cloud"]
    by = {display.get("Channel Name", display["Color Transformer"]) for display in near}
    assert by == {"RGB8", "instance", "confidence"}
    assert [display["Enabled"] for display in near].count(True) == 1


def topic_of(display: dict[str, Any]) -> str:
    return str(display["Topic"]["Value"])
