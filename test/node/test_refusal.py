"""What ROS refuses, as in a strict enclave, is named, asked for again, and leaves nothing behind."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed (make venv)")
from rclpy.qos import QoSProfile

from ws3d_ros.node import inputs
from ws3d_ros.node.inputs import Input
from ws3d_ros.node.refusal import RefusedError, refusal
from ws3d_ros.node.topics import CLOUD
from ws3d_ros.node.transforms import TransformListener


class Graph:
    """A node in a graph where one driver publishes clouds, and some topics are refused."""

    def __init__(self, refused: set[str]) -> None:
        self.refused, self.open = refused, []  # type: ignore[var-annotated]
        self.offer = SimpleNamespace(topic_type=CLOUD, qos_profile=QoSProfile(depth=1), node_name="driver")

    def create_subscription(self, kind: Any, topic: str, *arguments: Any, **named: Any) -> str:
        if topic in self.refused:
            raise RefusedError("create_subscription() could not create data reader")
        self.open.append(topic)
        return topic

    def destroy_subscription(self, topic: str) -> None:
        self.open.remove(topic)

    def resolve_topic_name(self, name: str) -> str:
        return f"/{name}"

    def get_publishers_info_by_topic(self, topic: str) -> list[Any]:
        return [self.offer] if topic == "/lidar/points" else []

    def has_parameter(self, name: str) -> bool:
        return False


def test_a_refused_input_says_so_and_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [time.monotonic()]
    monkeypatch.setattr(inputs.time, "monotonic", lambda: now_s[0])
    graph = Graph({"/lidar/points"})
    lidar = Input(graph, "lidar/points", "points", lambda message: None)  # type: ignore[arg-type]
    assert not lidar.look()
    assert lidar.source is None
    assert "to let us hear /lidar/points: create_subscription()" in lidar.explain(set())
    assert lidar.has_alternatives(set())  # somebody publishes it: being silent is a mistake
    graph.refused.clear()
    now_s[0] += inputs.REFUSED_FOR_S / 2
    assert not lidar.look()
    now_s[0] += inputs.REFUSED_FOR_S
    assert lidar.look()
    assert graph.open == ["/lidar/points"]
    assert lidar.source is not None
    assert lidar.source.topic == "/lidar/points"


def test_half_of_tf_is_closed_again() -> None:
    graph = Graph({"/tf_static"})
    with pytest.raises(RefusedError):
        TransformListener(graph, None, None, print, print)  # type: ignore[arg-type]
    assert graph.open == []


def test_the_policy_is_named_where_security_is_on() -> None:
    error = RefusedError("no\n")
    assert refusal("to start", error, {}) == "ROS refuses to start: no"
    secured = refusal("to start", error, {"ROS_SECURITY_ENABLE": "true"})
    assert "ws3d.policy.xml" in secured
