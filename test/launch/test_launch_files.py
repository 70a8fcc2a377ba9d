"""The launch files, run by the real ``launch`` where it is installed.

They start a stand-in for the node that writes down how it was called: its arguments, the
parameters' files and the environment. What matters is what arrives there.
"""

from __future__ import annotations

import ast
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from ws3d_ros.config import settings

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "launch").glob("*.launch.py"))


def has_launch() -> bool:
    """Whether ROS's launch is here, not just a folder of that name."""
    if find_spec("launch_ros") is None:
        return False
    import launch

    return hasattr(launch, "LaunchDescription")


needs_launch = pytest.mark.skipif(
    not has_launch(), reason="launch and launch_ros are not installed (PyPI does not have them)"
)

LAUNCH = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

path, *said = sys.argv[1:]
service = LaunchService(argv=said)
arguments = [tuple(word.split(":=", 1)) for word in said]
source = PythonLaunchDescriptionSource(path)
service.include_launch_description(
    LaunchDescription([IncludeLaunchDescription(source, launch_arguments=arguments)])
)
sys.exit(service.run())
"""

# Writes down its call; then, where asked to, does as the node does when it becomes active.
STAND_IN = """#!{python}
import json, os, sys, time
files = [word for before, word in zip(sys.argv, sys.argv[1:]) if before == "--params-file"]
call = {{
    "arguments": sys.argv[1:],
    "files": [open(file).read() for file in files],
    "environment": {{key: value for key, value in os.environ.items() if "PROFILES" in key}},
}}
with open({calls!r}, "a") as stream:
    print(json.dumps(call), file=stream)
if os.environ.get("STAND_IN_BECOMES_ACTIVE"):
    import rclpy
    from rclpy.lifecycle import LifecycleNode
    rclpy.init()
    node = LifecycleNode("ws3d")
    while node.count_subscribers("/ws3d/transition_event") == 0:  # launch listens for it
        time.sleep(0.05)
    node.trigger_configure()
    node.trigger_activate()
    time.sleep(1.0)  # a reliable event needs its sender for a moment
"""


class Bench:
    """A package of that name with a stand-in for the node, and a way to launch files with it."""

    def __init__(self, folder: Path) -> None:
        self._calls = folder / "calls"
        self._played = folder / "played"
        self._programs = folder / "bin"
        self._prefix = folder / "prefix"
        marker = self._prefix / "share" / "ament_index" / "resource_index" / "packages" / "ws3d_ros"
        for path in (marker, self._prefix / "share" / "ws3d_ros" / "package.xml"):
            path.parent.mkdir(parents=True)
            path.touch()
        self._write(
            self._prefix / "lib" / "ws3d_ros" / "perception",
            STAND_IN.format(python=sys.executable, calls=str(self._calls)),
        )
        self._write(self._programs / "ros2", f'#!/bin/sh\necho "$@" >> {self._played}\n')
        self.environment: dict[str, str] = {}

    def launch(self, name: str, *said: str, until: Callable[[], bool] | None = None) -> str:
        """Launches a file until it ends by itself or ``until`` holds; returns what it printed."""
        environment = {key: value for key, value in os.environ.items() if "PROFILES" not in key} | {
            "AMENT_PREFIX_PATH": f"{self._prefix}:{os.environ.get('AMENT_PREFIX_PATH', sys.prefix)}",
            "PATH": f"{self._programs}:{os.environ['PATH']}",
            "ROS_DISTRO": "kilted",
            "ROS_LOG_DIR": str(self._programs.parent / "log"),
            **self.environment,
        }
        path = ROOT / "launch" / f"{name}.launch.py"
        with subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(path), *said],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        ) as process:
            if until is not None:
                while not until() and process.poll() is None:
                    time.sleep(0.05)
                process.send_signal(signal.SIGINT)
            return process.communicate(timeout=60)[0]

    def calls(self) -> list[dict[str, Any]]:
        """How the stand-in was called, each time."""
        return (
            [json.loads(line) for line in self._calls.read_text().splitlines()]
            if self._calls.exists()
            else []
        )

    def played(self) -> list[str]:
        """The arguments of ``ros2`` each time."""
        return lines(self._played)

    @staticmethod
    def _write(path: Path, text: str) -> None:
        path.parent.mkdir(parents=True)
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)


def lines(path: Path) -> list[str]:
    """A file's lines, none where it was never written."""
    return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def remaps(call: dict[str, Any]) -> dict[str, str]:
    """Remappings and names (``__ns``, ``__node``) of a call."""
    words = call["arguments"]
    return dict(word.split(":=", 1) for before, word in pairwise(words) if before == "-r")


def parameters(call: dict[str, Any]) -> dict[str, Any]:
    """Parameters of a call, dotted; later files win, as in ROS."""
    found: dict[str, Any] = {}
    for file in call["files"]:
        for node in yaml.safe_load(file).values():
            for group, value in node["ros__parameters"].items():
                leaves = value.items() if isinstance(value, dict) else [("", value)]
                found |= {f"{group}.{leaf}".strip("."): item for leaf, item in leaves}
    return found


def argument_table(name: str) -> dict[str, tuple[str, ...]]:
    """TOPICS or PARAMETERS of perception.launch.py, without importing launch."""
    tree = ast.parse((ROOT / "launch" / "perception.launch.py").read_text())
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == name:
            assert isinstance(statement.value, ast.Dict)
            return {
                ast.literal_eval(key): tuple(
                    part.value if isinstance(part, ast.Constant) else ast.unparse(part) for part in row.elts
                )
                for key, row in zip(statement.value.keys, statement.value.values, strict=True)
                if key is not None and isinstance(row, ast.Tuple)
            }
    raise AssertionError(f"perception.launch.py has no {name}")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_compiles_and_describes_itself(path: Path) -> None:
    tree = ast.parse(path.read_text())
    compile(tree, str(path), "exec")
    assert ast.get_docstring(tree)
    assert any(
        isinstance(part, ast.FunctionDef) and part.name == "generate_launch_description" for part in tree.body
    )


def test_arguments_set_parameters_that_exist() -> None:
    known = {setting.name: setting.type.__name__ for setting in settings()}
    known |= {"use_sim_time": "bool", "autostart": "bool"}
    for parameter, kind, _ in argument_table("PARAMETERS").values():
        assert known[parameter] == kind


def test_arguments_are_documented() -> None:
    text = (ROOT / "docs" / "interfaces.md").read_text()
    for argument, (target, *_) in (argument_table("TOPICS") | argument_table("PARAMETERS")).items():
        assert f"`{argument}`" in text
        assert f"`{target}`" in text


@needs_launch
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_argument_is_explained_and_documented(path: Path) -> None:
    from launch.launch_description_sources import get_launch_description_from_python_launch_file

    described = get_launch_description_from_python_launch_file(str(path)).get_launch_arguments()
    documented = (ROOT / "docs" / "interfaces.md").read_text()
    names = [argument.name for argument in described]
    assert len(names) == len(set(names)) > 15, "the included file's arguments are shown, too, each once"
    for argument in described:
        assert argument.description != "no description given"
        assert f"`{argument.name}`" in documented


@needs_launch
def test_without_arguments_only_the_parameters_file_speaks(bench: Bench) -> None:
    bench.launch("perception")
    (call,) = bench.calls()
    assert remaps(call) == {"__node": "ws3d", "__ns": "/"}
    assert parameters(call) == {setting.name: setting.default for setting in settings()}
    profiles = call["environment"]["FASTDDS_DEFAULT_PROFILES_FILE"]
    assert Path(profiles) == ROOT / "config" / "fastdds_large.xml"


@needs_launch
def test_arguments_arrive_with_their_types(bench: Bench) -> None:
    bench.launch(
        "perception",
        "namespace:=robot_1",
        "params_file:=",
        "color_topic:=/c",
        "lidar_topic:=/l",
        "vocabulary:=chair, coffee mug",
        "encoder:=none",
        "map_frame:=1",
        "use_sim_time:=true",
        "autostart:=false",
        "log_level:=debug",
    )
    (call,) = bench.calls()
    assert remaps(call) == {
        "__node": "ws3d",
        "__ns": "/robot_1",
        "camera/color/image": "/c",
        "lidar/points": "/l",
    }
    assert parameters(call) == {
        "semantics.vocabulary": "chair, coffee mug",
        "semantics.encoder": "none",
        "inputs.map_frame": "1",
        "use_sim_time": True,
        "autostart": False,
    }
    assert "robot_1.ws3d:=debug" in call["arguments"]


@needs_launch
def test_wrong_choice_is_refused(bench: Bench) -> None:
    assert "autostart" in bench.launch("perception", "autostart:=maybe")
    assert bench.calls() == []


@needs_launch
def test_missing_parameters_file_is_refused(bench: Bench) -> None:
    assert "there is no file '/no/such.yaml'" in bench.launch("perception", "params_file:=/no/such.yaml")
    assert bench.calls() == []


@needs_launch
@pytest.mark.parametrize(
    ("distribution", "variable"),
    [("jazzy", "FASTRTPS_DEFAULT_PROFILES_FILE"), ("kilted", "FASTDDS_DEFAULT_PROFILES_FILE")],
)
def test_the_users_fast_dds_profile_stays(bench: Bench, distribution: str, variable: str) -> None:
    bench.environment = {"ROS_DISTRO": distribution, variable: "/mine.xml"}
    bench.launch("perception")
    assert bench.calls()[0]["environment"] == {variable: "/mine.xml"}


@needs_launch
@pytest.mark.parametrize(
    ("name", "said", "topics"),
    [
        (
            "realsense",
            [],
            {
                "camera/color/image": "/camera/camera/color/image_raw",
                "camera/depth/image": "/camera/camera/aligned_depth_to_color/image_raw",
                "camera/color/camera_info": "/camera/camera/color/camera_info",
            },
        ),
        (
            "realsense",
            ["camera_namespace:=head", "camera_name:=d435", "depth_topic:=/d"],
            {
                "camera/color/image": "/head/d435/color/image_raw",
                "camera/depth/image": "/d",
                "camera/color/camera_info": "/head/d435/color/camera_info",
            },
        ),
        ("ouster", [], {"lidar/points": "/ouster/points"}),
        (
            "ouster",
            ["ouster_ns:=roof", "color_topic:=/c"],
            {"lidar/points": "/roof/points", "camera/color/image": "/c"},
        ),
        ("velodyne", [], {"lidar/points": "/velodyne_points"}),
    ],
)
def test_sensor_files_know_their_drivers_topics(
    bench: Bench, name: str, said: list[str], topics: dict[str, str]
) -> None:
    bench.launch(name, *said)
    (call,) = bench.calls()
    assert {topic: to for topic, to in remaps(call).items() if not topic.startswith("__")} == topics
    file = yaml.safe_load((ROOT / "config" / "sensors" / f"{name}.yaml").read_text())
    given = file["/**"]["ros__parameters"]["inputs"]
    assert {key: parameters(call)[f"inputs.{key}"] for key in given} == given


@needs_launch
def test_the_users_parameters_take_the_sensor_files_place(bench: Bench, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("/**:\n  ros__parameters:\n    map:\n      voxel_size_m: 0.1\n")
    bench.launch("velodyne", f"params_file:={mine}")
    assert parameters(bench.calls()[0]) == {"map.voxel_size_m": 0.1}


@needs_launch
def test_respawns_when_asked_to(bench: Bench) -> None:
    bench.launch("perception", "respawn:=true", until=lambda: len(bench.calls()) > 1)
    assert len(bench.calls()) == 2


@needs_launch
def test_bag_plays_once_the_node_is_active(bench: Bench) -> None:
    bench.launch("bag", "bag:=/some/bag", "rate:=0.5")
    assert bench.played() == [], "the stand-in did not become active"
    bench.environment = {"STAND_IN_BECOMES_ACTIVE": "1"}
    bench.launch("bag", "bag:=/some/bag", "rate:=0.5", "loop:=true")
    assert bench.played() == ["bag play /some/bag --clock --rate 0.5 --loop"]
    assert parameters(bench.calls()[-1])["use_sim_time"] is True
