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
from ws3d_ros.node.transforms import OwnTransforms, Tf2Transforms, TransformListener, Transforms


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


class Buffer:
    """A source of transforms, fed without a listener."""

    def __init__(self, source: Transforms) -> None:
        self.lookup, self.clear, self.links, self._keep = (
            source.lookup,
            source.clear,
            source.links,
            source.keep,
        )

    def set(self, *link: Any, static: bool = False) -> None:
        self._keep(message(*link).transforms[0], static)


class Listening:
    """Our buffer behind its listener's callbacks."""

    def __init__(self, node: Node) -> None:
        self.jumps: list[str] = []
        self.strays: list[str] = []
        self.warnings: list[tuple[str, str]] = []
        self.kept: list[str] = []
        watch = TimeWatch(
            lambda stream, by_s: self.jumps.append(stream), lambda stream, by_s: self.strays.append(stream)
        )
        own = OwnTransforms()
        self.listener = TransformListener(
            *(node, own, watch, lambda key, text: self.warnings.append((key, text))),
            lambda transform: self.kept.append(transform.child_frame_id),
        )
        self.lookup, self.links = own.lookup, own.links

    def set(self, *link: Any, static: bool = False) -> None:
        (self.listener.on_static if static else self.listener.on_moving)(message(*link))


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=os.getpid() % 100 + 1)
    node = Node("transforms", context=context)
    yield node
    node.destroy_node()
    context.try_shutdown()


@pytest.fixture
def listening(node: Node) -> Iterator[Listening]:
    listening = Listening(node)
    yield listening
    listening.listener.close()


class TestOwnTransforms(TransformContract):
    @pytest.fixture
    def buffer(self) -> Buffer:
        return Buffer(OwnTransforms())


@pytest.mark.skipif(transforms.tf2_ros is None, reason="tf2_ros is not installed (it is not on PyPI)")
class TestTf2Transforms(TransformContract):
    @pytest.fixture
    def buffer(self) -> Buffer:
        return Buffer(Tf2Transforms())


def test_leading_slashes_of_ros_1_do_not_matter(listening: Listening) -> None:
    listening.set("/map", "/base", T0, (1, 2, 3), NO_TURN)
    np.testing.assert_array_equal(listening.lookup("/map", "base", T0)[:3, 3], (1, 2, 3))


def test_a_jump_back_is_seen(listening: Listening) -> None:
    listening.set("map", "base", T0, (0, 0, 0), NO_TURN)
    for second in (60, 59):
        listening.set("map", "base", T0 - second * SECOND, (0, 0, 0), NO_TURN)
    assert listening.jumps == ["tf of 'base'"]


def test_one_stamp_from_the_future_does_not_lock_a_link(listening: Listening) -> None:
    for offset in (0, 3600 * SECOND, SECOND):
        listening.set("map", "base", T0 + offset, (offset / SECOND, 0, 0), NO_TURN)
    assert listening.lookup("map", "base", T0 + SECOND // 2)[0, 3] == pytest.approx(0.5)
    assert listening.strays == ["tf of 'base'"]
    assert listening.jumps == []


def test_a_transform_without_a_stamp_is_refused_and_told(listening: Listening) -> None:
    listening.set("map", "base", 0, (0, 0, 0), NO_TURN)
    assert listening.links() == {}
    assert listening.warnings[0][0] == "tf base"
    assert "no stamp" in listening.warnings[0][1]


def test_a_transform_that_is_none_is_refused_and_told(listening: Listening) -> None:
    listening.set("map", "base", T0, (0, float("nan"), 0), NO_TURN)
    [(key, text)] = listening.warnings
    assert key == "tf base"
    assert "not finite" in text
    assert listening.kept == []


def test_what_moves_and_is_kept_is_passed_on(listening: Listening) -> None:
    listening.set("map", "odom", T0, (1, 2, 3), NO_TURN)
    listening.set("base", "camera", T0, (1, 2, 3), NO_TURN, static=True)
    listening.set("map", "base", T0 + 3600 * SECOND, (0, 0, 0), NO_TURN)
    listening.set("map", "odom", T0 + SECOND, (0, 0, 0), NO_TURN)
    assert listening.kept == ["odom", "base", "odom"]
