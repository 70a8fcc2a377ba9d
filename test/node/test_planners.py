"""Clouds and masks for planners as they come out of the node."""

from __future__ import annotations

import types
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("ws3d_ros.msg", reason="the messages are not built (make venv)")
from sensor_msgs.msg import PointField
from stand_ins import MOVEIT, SHAPES
from std_msgs.msg import Header
from windows import box_cells, window

from ws3d_ros.config import PlanningConfig
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.node import planners as planners_module
from ws3d_ros.node.outputs import palette, things
from ws3d_ros.node.planners import Planners, cloud_from, mask_message
from ws3d_ros.node.snapshot import Sight, Snapshot
from ws3d_ros.planning.mask import Mask
from ws3d_ros.sensors.rigid import pose_matrix

WORDS = Vocabulary.of(["floor", "cup", "table"])
FLOOR, CUP, TABLE = 1, 2, 3
POSE = pose_matrix((1.0, 2.0, 0.8), (0.5, -0.5, 0.5, -0.5))
SIGHT = Sight("camera_optical", 12_000_000_034, POSE)


class Publisher:
    def __init__(self, topic: str) -> None:
        self.topic, self.listeners = topic, 0
        self.sent: list[Any] = []
        self.is_activated = True

    def get_subscription_count(self) -> int:
        return self.listeners

    def publish(self, message: Any) -> None:
        self.sent.append(message)


class Node:
    """As much of a lifecycle node as publishers need."""

    def __init__(self) -> None:
        self.publishers: dict[str, Publisher] = {}
        self.context = types.SimpleNamespace(ok=lambda: True)

    def create_lifecycle_publisher(self, kind: Any, topic: str, profile: Any) -> Publisher:
        return self.publishers.setdefault(topic, Publisher(topic))

    def destroy_lifecycle_publisher(self, publisher: Publisher) -> None:
        del self.publishers[publisher.topic]


def made(node: Any) -> Planners:
    return Planners(node, PlanningConfig())


def snapshot() -> Snapshot:
    """A floor of 2 x 2 m, a table and a cup on it."""
    table = box_cells((10, 10, 1), (20, 20, 15))
    cup = box_cells((14, 14, 15), (16, 16, 17))
    floor = box_cells((0, 0, 0), (40, 40, 1))
    parts = [(floor, FLOOR, 1), (table, TABLE, 2), (cup, CUP, 3)]
    scene = window(
        torch.cat([cells for cells, _, _ in parts]),
        normal=torch.tensor([[0.0, 0.0, 1.0]]).expand(sum(len(cells) for cells, _, _ in parts), 3),
        label=torch.cat([torch.full((len(cells),), label, dtype=torch.int16) for cells, label, _ in parts]),
        instance=torch.cat([torch.full((len(cells),), id_, dtype=torch.int32) for cells, _, id_ in parts]),
    )
    return Snapshot(scene, WORDS, 0.0, SIGHT)


def points(message: Any) -> np.ndarray:
    return np.frombuffer(message.data, np.float32).reshape(-1, 3)


def in_map(message: Any) -> np.ndarray:
    """(n, 3) map points, ascending."""
    places = points(message) @ POSE[:3, :3].T + POSE[:3, 3]
    return places[np.lexsort(places.round(3).T)]


def ascending(places: torch.Tensor) -> np.ndarray:
    found = places.numpy()
    return found[np.lexsort(found.round(3).T)]


def test_a_cloud_is_in_the_sensors_frame_at_its_time() -> None:
    places = np.random.default_rng(0).normal(size=(50, 3))
    message = cloud_from(places, SIGHT)
    assert message.header.frame_id == "camera_optical"
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (12, 34)
    assert (message.height, message.width, message.point_step, message.row_step) == (1, 50, 12, 600)
    assert [(field.name, field.offset, field.datatype) for field in message.fields] == [
        ("x", 0, PointField.FLOAT32),
        ("y", 4, PointField.FLOAT32),
        ("z", 8, PointField.FLOAT32),
    ]
    expected = (np.linalg.inv(POSE) @ np.c_[places, np.ones(50)].T).T[:, :3]
    np.testing.assert_allclose(points(message), expected, atol=1e-6)  # float32 below 10 m
    assert cloud_from(np.zeros((0, 3)), SIGHT).width == 0


def test_a_mask_is_rows_of_y() -> None:
    mask = Mask(np.array([[0, 20, -1], [100, -1, 80]], np.int8), 0.05, (-1.0, 2.0))
    grid = mask_message(mask, Header(frame_id="map"))
    assert list(grid.data) == [0, 20, -1, 100, -1, 80]
    assert (grid.info.width, grid.info.height) == (3, 2)
    assert grid.info.resolution == pytest.approx(0.05)
    assert (grid.info.origin.position.x, grid.info.origin.position.y) == (-1.0, 2.0)
    assert grid.info.origin.orientation.w == 1.0


def test_nothing_is_made_for_nobody() -> None:
    node = Node()
    planners = made(node)
    planners.publish_window(snapshot())
    assert planners.window_listeners() == planners.mask_listeners() == 0
    assert not any(publisher.sent for publisher in node.publishers.values())
    planners.destroy()
    assert not node.publishers


def test_each_listener_gets_its_own() -> None:
    node, now = Node(), snapshot()
    planners = made(node)
    for topic in ("~/obstacles", "~/cloud_without_targets"):
        node.publishers[topic].listeners = 1
    assert planners.window_listeners() == 2
    planners.publish_window(now)
    assert not node.publishers["~/traversable"].sent
    label = now.window.label
    (obstacles,), (rest,) = (node.publishers[f"~/{t}"].sent for t in ("obstacles", "cloud_without_targets"))
    solid = ascending(now.window.points_m[label != FLOOR])
    np.testing.assert_allclose(in_map(obstacles), solid, atol=1e-5)
    np.testing.assert_allclose(in_map(rest), ascending(now.window.points_m[label != CUP]), atol=1e-5)
    node.publishers["~/traversable"].listeners = 1
    planners.publish_window(now)
    (free,) = node.publishers["~/traversable"].sent
    below_table = ((now.window.points_m[:, :2] > 0.5) & (now.window.points_m[:, :2] < 1.0)).all(1)
    np.testing.assert_allclose(
        in_map(free), ascending(now.window.points_m[(label == FLOOR) & ~below_table]), atol=1e-5
    )


def test_settings_may_change() -> None:
    node, now = Node(), snapshot()
    planners = made(node)
    node.publishers["~/cloud_without_targets"].listeners = 1
    planners.settings = replace(planners.settings, targets=["table"])
    planners.publish_window(now)
    (rest,) = node.publishers["~/cloud_without_targets"].sent
    assert rest.width == int((now.window.label != TABLE).sum())


def test_without_a_measurement_rays_have_no_beginning_and_masks_are_there() -> None:
    node, now = Node(), replace(snapshot(), sight=None)
    planners = made(node)
    for publisher in node.publishers.values():
        publisher.listeners = 1
    planners.publish_window(now)
    assert not any(publisher.sent for publisher in node.publishers.values())
    planners.publish_mask(now, Header(frame_id="map"))
    assert len(node.publishers["~/keepout_mask"].sent) == 1


def test_a_mask_comes_when_it_changed() -> None:
    node, now = Node(), snapshot()
    planners, sent = made(node), node.publishers["~/keepout_mask"].sent
    header = Header(frame_id="map")
    for _ in range(2):
        planners.publish_mask(now, header)
    assert len(sent) == 1
    assert sorted(set(sent[0].data)) == [0, 100]
    planners.restart()
    planners.publish_mask(now, header)
    assert len(sent) == 2
    empty = replace(now, window=window(torch.zeros(0, 3, dtype=torch.int64)))
    planners.publish_mask(empty, header)
    assert len(sent) == 2


def test_moveit_hears_of_targets_that_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"moveit_msgs": MOVEIT, "shape_msgs": SHAPES}
    monkeypatch.setattr(planners_module, "messages_of", known.get)
    node, now = Node(), snapshot()
    planners = made(node)
    assert not planners.wants_targets()
    node.publishers["~/planning_scene"].listeners = 1
    assert planners.wants_targets()
    for targets in (["cup"], ["3"], ["table"]):
        planners.settings = replace(planners.settings, targets=targets)
        planners.publish_targets(now, things(now.window, WORDS), palette(WORDS), Header(frame_id="map"))
    said = [
        [(one.id, one.operation) for one in scene.world.collision_objects]
        for scene in node.publishers["~/planning_scene"].sent
    ]
    add, remove = MOVEIT.CollisionObject.ADD, MOVEIT.CollisionObject.REMOVE
    assert said == [[("ws3d_3", add)], [("ws3d_3", add)], [("ws3d_3", remove), ("ws3d_2", add)]]
