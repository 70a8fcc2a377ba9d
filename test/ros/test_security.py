"""The policy for SROS 2 enclaves names what the node does, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from graph import ROOT, Camera, NodeProcess, Robot, camera_info, cloud, transform
from rosgraph_msgs.msg import Clock
from tf2_msgs.msg import TFMessage

OPTIONAL = {
    ("publish", "/ws3d/detections"),
    ("publish", "/ws3d/label_info"),
    ("publish", "/ws3d/planning_scene"),
    ("reply", "/ws3d/get_type_description"),
}
"""Only where vision_msgs, moveit_msgs, or a ROS newer than Humble are installed."""


def allowed() -> set[tuple[str, str]]:
    """What is allowed and its full name, of each line of the policy."""
    profile = ET.parse(ROOT / "config/sros2/ws3d.policy.xml").find("enclaves/enclave/profiles/profile")
    assert profile is not None
    assert (profile.get("ns"), profile.get("node")) == ("/", "ws3d")
    return {
        (what, full(name.text or ""))
        for group in profile
        for what in ("publish", "subscribe", "reply")
        if group.get(what) == "ALLOW"
        for name in group
    }


def full(name: str) -> str:
    """As ``~`` and relative names are read for the node /ws3d."""
    return name.replace("~", "/ws3d", 1) if name[0] == "~" else name if name[0] == "/" else f"/{name}"


def done(robot: Robot) -> set[tuple[str, str]]:
    """What the node does now, by the graph."""
    graph = {
        "publish": robot.node.get_publisher_names_and_types_by_node,
        "subscribe": robot.node.get_subscriber_names_and_types_by_node,
        "reply": robot.node.get_service_names_and_types_by_node,
    }
    return {(what, name) for what, ask in graph.items() for name, _ in ask("ws3d", "/")}


def test_the_policy_names_all_that_the_node_does(robot: Robot, start: Callable[..., NodeProcess]) -> None:
    node = start(inputs__lidars='["lidar"]', use_sim_time=True)
    robot.wait_active()
    seen: set[tuple[str, str]] = set()

    def play(transport: str, complete: Callable[[], bool]) -> None:
        camera = Camera(robot, "camera", transport)

        def step() -> bool:
            now_s = time.time()
            robot.publish("/clock", Clock())
            robot.publish("/tf_static", TFMessage())
            robot.publish("/tf", transform(np.eye(4), now_s, "map", "lidar"))
            robot.publish("/lidar/points", cloud(np.ones((10, 3)), now_s, "lidar"))
            camera.shoot(now_s, 0.0)
            camera.send("depth/camera_info", camera_info(now_s, camera.frame))
            seen.update(done(robot))
            time.sleep(0.1)
            return complete()

        robot.wait(step, f"the node listens to {transport}")
        robot.unpublish()

    play("16UC1", lambda: {("subscribe", f"/camera/{side}/image") for side in ("color", "depth")} <= seen)
    never = OPTIONAL | {("subscribe", "/camera/depth/image/compressed")}
    play("compressed", lambda: allowed() - seen <= never)  # else something is allowed and never done
    assert node.stop() == 0
    assert seen <= allowed(), "the enclave would refuse this"


@pytest.fixture
def no_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An enclave without its keys, which is refused whether the middleware knows security at all or not."""
    (tmp_path / "enclaves" / "ws3d").mkdir(parents=True)
    for name, value in {"ENABLE": "true", "STRATEGY": "Enforce", "KEYSTORE": str(tmp_path)}.items():
        monkeypatch.setenv(f"ROS_SECURITY_{name}", value)
    monkeypatch.setenv("ROS_SECURITY_ENCLAVE_OVERRIDE", "/ws3d")


@pytest.mark.usefixtures("no_keys")
def test_a_node_that_an_enclave_refuses_says_so_and_ends(start: Callable[..., NodeProcess]) -> None:
    node = start()
    assert node.process.wait(60.0) == 3
    log = node.log()
    assert "ROS refuses to make the node" in log
    assert "config/sros2/ws3d.policy.xml" in log
    assert "Traceback" not in log


@pytest.mark.usefixtures("no_keys")
@pytest.mark.parametrize("command", ["play", "doctor"])
def test_a_command_that_an_enclave_refuses_says_so_and_ends(command: str) -> None:
    arguments = [str(ROOT / "samples" / "room")] if command == "play" else ["--seconds", "1"]
    program = [sys.executable, "-m", "ws3d_ros.cli.main", command, *arguments]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=60.0)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "ROS_SECURITY_ENCLAVE_OVERRIDE" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
