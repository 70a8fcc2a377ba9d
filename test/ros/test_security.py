"""The policy for SROS 2 enclaves names what the node does, and nothing else."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET
from collections.abc import Callable

import numpy as np
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
