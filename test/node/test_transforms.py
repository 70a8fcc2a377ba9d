"""Both sources of transforms keep the contract of the buffer, fed as ROS feeds them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from sensors.transform_contract import NO_TURN, SECOND, T0, TransformContract

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed (make venv)")
pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not installed (make venv)")
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from tf2_msgs.msg import TFMessage

from ws3d_ros.node import transforms
from ws3d_ros.node.time_jumps import TimeWatch
from ws3d_ros.node.transforms import OwnTransforms, Tf2Transforms


def message(
    parent: str, child: str, stamp_ns: int, place: Sequence[float], turn: Sequence[float]
) -> TFMessage:
    link = TransformStamped(child_frame_id=child)
    link.header.frame_id = parent
    link.header.stamp.sec, link.header.stamp.nanosec = divmod(stamp_ns, SECOND)
    translation, rotation = link.transform.translation, link.transform.rotation
    translation.x, translation.y, translation.z = map(float, place)
    rotation.x, rotation.y, rotation.z, rotation.w = map(float, turn)
    return TFMessage(transforms=[link])


class Own:
    """Our buffer behind its subscriptions' callbacks."""

    def __init__(self, node: Node) -> None:
        self.jumps: list[str] = []
        self.warnings: list[tuple[str, str]] = []
        watch = TimeWatch(lambda stream, back_s: self.jumps.append(stream))
        self.source = OwnTransforms(node, watch, lambda key, text: self.warnings.append((key, text)))
        self.lookup, self.clear = self.source.lookup, self.source.clear

    def set(self, *link: Any, static: bool = False) -> None:
        (self.source.on_static if static else self.source.on_moving)(message(*link))


class Tf2:
    """tf2's buffer, filled as its listener does."""

    def __init__(self, node: Node) -> None:
        self.source = Tf2Transforms(node)
        self.lookup, self.clear = self.source.lookup, self.source.clear

    def set(self, *link: Any, static: bool = False) -> None:
        buffer = self.source.buffer
        fill = buffer.set_transform_static if static else buffer.set_transform
        fill(message(*link).transforms[0], "test")


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=os.getpid() % 100 + 1)
    node = Node("transforms", context=context)
    yield node
    node.destroy_node()
    context.try_shutdown()


class TestOwnTransforms(TransformContract):
    @pytest.fixture
    def buffer(self, node: Node) -> Iterator[Own]:
        own = Own(node)
        yield own
        own.source.close()


@pytest.mark.skipif(transforms.tf2_ros is None, reason="tf2_ros is not installed (it is not on PyPI)")
class TestTf2Transforms(TransformContract):
    @pytest.fixture
    def buffer(self, node: Node) -> Iterator[Tf2]:
        tf2 = Tf2(node)
        yield tf2
        tf2.source.close()


def test_leading_slashes_of_ros_1_do_not_matter(node: Node) -> None:
    own = Own(node)
    own.set("/map", "/base", T0, (1, 2, 3), NO_TURN)
    np.testing.assert_array_equal(own.lookup("/map", "base", T0)[:3, 3], (1, 2, 3))


def test_a_jump_back_is_seen(node: Node) -> None:
    own = Own(node)
    own.set("map", "base", T0, (0, 0, 0), NO_TURN)
    own.set("map", "base", T0 - 60 * SECOND, (0, 0, 0), NO_TURN)
    assert own.jumps == ["tf of 'base'"]


def test_a_transform_that_is_none_is_refused_and_told(node: Node) -> None:
    own = Own(node)
    own.set("map", "base", T0, (0, float("nan"), 0), NO_TURN)
    [(key, text)] = own.warnings
    assert key == "tf base"
    assert "not finite" in text
