"""What RViz is told to show is what the node publishes, in the quality that it offers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ws3d_ros.config import Config

ROOT = Path(__file__).resolve().parents[2]
CONFIG = yaml.safe_load((ROOT / "config" / "rviz" / "perception.rviz").read_text())
SHOWN = {
    display["Topic"]["Value"]: display
    for display in CONFIG["Visualization Manager"]["Displays"]
    if "Topic" in display
}
TYPES = {"PointCloud2": "PointCloud2", "MarkerArray": "MarkerArray", "Image": "Image"}


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


@pytest.mark.parametrize("topic", sorted(SHOWN))
def test_topic_is_documented_with_this_type_and_quality(topic: str) -> None:
    row = documented()[topic]
    display: dict[str, Any] = SHOWN[topic]
    assert f"`{TYPES[display['Class'].split('/')[1]]}`" in row
    is_latched = "latched" in row
    assert (display["Topic"]["Durability Policy"] == "Transient Local") == is_latched


def test_only_the_nodes_own_topics_are_on() -> None:
    on = {topic for topic, display in SHOWN.items() if display["Enabled"]}
    assert on == {"/ws3d/semantic_cloud", "/ws3d/semantic_map", "/ws3d/markers"}
    assert all(SHOWN[topic]["Enabled"] == SHOWN[topic]["Value"] for topic in SHOWN)


def test_clouds_are_coloured_by_label() -> None:
    for topic in ("/ws3d/semantic_cloud", "/ws3d/semantic_map"):
        assert SHOWN[topic]["Color Transformer"] == "RGB8"
