"""docs/integration speaks the languages of Nav2 and MoveIt: their parameters' names and types, our topics.

Nav2 and MoveIt ignore a parameter that they do not know, so that a misspelt one looks as if it worked.
The names were read from their sources:

- ros-navigation/navigation2, branch main at a3a97043 (2026-08-21): what the files named below declare.
  Those in use are also declared by the branches kilted (71a1d84f), jazzy (f4108e5b) and, but for the
  two of override_lethal_cost, humble (3c3db59d).
- moveit/moveit2, branch main at 8fcb5d23 (2026-08-19): pointcloud_octomap_updater.cpp and
  occupancy_map_monitor_middleware_handle.cpp.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ws3d_ros.config import Config

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "integration"
NAV2 = (FOLDER / "nav2_params.yaml").read_text()
MOVEIT = (FOLDER / "sensors_3d.yaml").read_text()

# nav2_costmap_2d/src/costmap_2d_ros.cpp
COSTMAP = {
    "always_send_full_costmap": bool,
    "filters": list,
    "footprint": str,
    "footprint_padding": float,
    "global_frame": str,
    "height": int,
    "initial_transform_timeout": float,
    "map_vis_z": float,
    "origin_x": float,
    "origin_y": float,
    "plugins": list,
    "publish_frequency": float,
    "resolution": float,
    "robot_base_frame": str,
    "robot_radius": float,
    "rolling_window": bool,
    "track_unknown_space": bool,
    "transform_tolerance": float,
    "update_frequency": float,
    "width": int,
}
PLUGINS: dict[str, dict[str, type]] = {
    # nav2_costmap_2d/plugins/obstacle_layer.cpp
    "nav2_costmap_2d::ObstacleLayer": {
        "enabled": bool,
        "footprint_clearing_enabled": bool,
        "min_obstacle_height": float,
        "max_obstacle_height": float,
        "combination_method": int,
        "observation_sources": str,
    },
    # nav2_costmap_2d/plugins/inflation_layer.cpp
    "nav2_costmap_2d::InflationLayer": {
        "enabled": bool,
        "inflation_radius": float,
        "cost_scaling_factor": float,
        "inflate_unknown": bool,
        "inflate_around_unknown": bool,
    },
    # nav2_costmap_2d/plugins/static_layer.cpp
    "nav2_costmap_2d::StaticLayer": {
        "enabled": bool,
        "subscribe_to_updates": bool,
        "footprint_clearing_enabled": bool,
        "map_topic": str,
        "map_subscribe_transient_local": bool,
    },
    # nav2_costmap_2d/plugins/costmap_filters/costmap_filter.cpp and keepout_filter.cpp
    "nav2_costmap_2d::KeepoutFilter": {
        "enabled": bool,
        "filter_info_topic": str,
        "transform_tolerance": float,
        "override_lethal_cost": bool,
        "lethal_override_cost": int,
    },
}
# nav2_costmap_2d/plugins/obstacle_layer.cpp, of each of the observation_sources
SOURCE = {
    "topic": str,
    "sensor_frame": str,
    "observation_persistence": float,
    "expected_update_rate": float,
    "data_type": str,
    "min_obstacle_height": float,
    "max_obstacle_height": float,
    "inf_is_valid": bool,
    "marking": bool,
    "clearing": bool,
    "obstacle_max_range": float,
    "obstacle_min_range": float,
    "raytrace_max_range": float,
    "raytrace_min_range": float,
}
NODES: dict[str, dict[str, type]] = {
    # nav2_map_server/src/costmap_filter_info/costmap_filter_info_server.cpp
    "ws3d_keepout_filter_info_server": {
        "filter_info_topic": str,
        "type": int,
        "mask_topic": str,
        "base": float,
        "multiplier": float,
    },
    # nav2_lifecycle_manager/src/lifecycle_manager.cpp
    "lifecycle_manager_ws3d_keepout": {"autostart": bool, "node_names": list, "bond_timeout": float},
}
# moveit_ros/perception/pointcloud_octomap_updater/src/pointcloud_octomap_updater.cpp; all but ns are needed
UPDATER = {
    "point_cloud_topic": str,
    "max_range": float,
    "padding_offset": float,
    "padding_scale": float,
    "point_subsample": int,
    "max_update_rate": float,
    "filtered_cloud_topic": str,
}


def fits(values: dict[str, Any], known: dict[str, type]) -> None:
    """Every name is known and has the type that its owner declares: a whole number is no double."""
    for name, value in values.items():
        assert name in known, f"unknown parameter {name}"
        assert type(value) is known[name], f"{name}: {value!r} is no {known[name].__name__}"


def costmap(name: str) -> dict[str, Any]:
    parameters = yaml.safe_load(NAV2)[name][name]["ros__parameters"]
    assert isinstance(parameters, dict)
    return parameters


@pytest.mark.parametrize("name", ["local_costmap", "global_costmap"])
def test_costmaps_speak_nav2(name: str) -> None:
    parameters = costmap(name)
    parts = {key: value for key, value in parameters.items() if isinstance(value, dict)}
    fits({key: value for key, value in parameters.items() if key not in parts}, COSTMAP)
    assert set(parts) == {*parameters["plugins"], *parameters["filters"]}
    for part in parts.values():
        sources = {key: value for key, value in part.items() if isinstance(value, dict)}
        assert set(sources) == set(part.get("observation_sources", "").split())
        plain = {key: value for key, value in part.items() if key not in {"plugin", *sources}}
        fits(plain, PLUGINS[part["plugin"]])
        for source in sources.values():
            fits(source, SOURCE)


@pytest.mark.parametrize("name", ["local_costmap", "global_costmap"])
def test_what_clears_is_marked_again(name: str) -> None:
    """The conditions under which test/planning/test_costmap.py finds that costmaps are right."""
    layer = costmap(name)["semantic_layer"]
    marks = layer["obstacles"]
    assert marks["marking"]
    assert not layer["traversable"]["marking"]
    assert marks["obstacle_max_range"] >= Config().map.window_radius_m
    for source in (marks, layer["traversable"]):
        assert source["clearing"]
        assert source["raytrace_max_range"] <= marks["obstacle_max_range"]
        assert source["observation_persistence"] == 0.0
        assert source["max_obstacle_height"] > source["min_obstacle_height"]
        assert source["expected_update_rate"] > 2.0 / Config().output.cloud_rate_hz


def test_the_servers_of_the_mask_speak_nav2() -> None:
    tree = yaml.safe_load(NAV2)
    for node, known in NODES.items():
        fits(tree[node]["ros__parameters"], known)
    assert set(tree) == {"local_costmap", "global_costmap", *NODES}
    info = tree["ws3d_keepout_filter_info_server"]["ros__parameters"]
    assert (info["type"], info["base"], info["multiplier"]) == (0, 0.0, 1.0)
    for name in ("local_costmap", "global_costmap"):
        assert costmap(name)["keepout_filter"]["filter_info_topic"] == info["filter_info_topic"]
    manager = tree["lifecycle_manager_ws3d_keepout"]["ros__parameters"]
    assert manager["node_names"] == ["ws3d_keepout_filter_info_server"]


def test_moveit_finds_all_that_it_needs() -> None:
    tree = yaml.safe_load(MOVEIT)
    assert set(tree) == {"sensors", *tree["sensors"]}
    for name in tree["sensors"]:
        sensor = dict(tree[name])
        assert sensor.pop("sensor_plugin") == "occupancy_map_monitor/PointCloudOctomapUpdater"
        fits(sensor, UPDATER)
        assert set(sensor) == set(UPDATER)


def test_topics_are_ours() -> None:
    interfaces = (ROOT / "docs" / "interfaces.md").read_text()
    topics = set(re.findall(r"/ws3d/(\w+)", NAV2 + MOVEIT))
    assert {"obstacles", "traversable", "keepout_mask", "cloud_without_targets"} <= topics
    assert not {topic for topic in topics if f"`~/{topic}`" not in interfaces}


@pytest.mark.parametrize("text", [NAV2, MOVEIT], ids=["nav2", "moveit"])
def test_files_have_no_aliases(text: str) -> None:
    """ROS's own reader of parameter files refuses them."""
    assert not [token for token in yaml.scan(text) if isinstance(token, (yaml.AliasToken, yaml.AnchorToken))]
