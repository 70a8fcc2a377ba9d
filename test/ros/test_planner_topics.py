"""What planners subscribe to, from the live node, with the qualities of service that Nav2 asks for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from graph import BEST_EFFORT, LATCHED, MAP, RELIABLE, NodeProcess, Robot, cloud, transform
from nav_msgs.msg import OccupancyGrid
from room import HIGH_M, LOW_M, distance_to_walls_m, sweep
from sensor_msgs.msg import Image, PointCloud2
from ws3d_ros.msg import InstanceArray

VOXEL_M = 0.05
AT_M = (0.2, -0.1, 0.5)
STEP_M, ROBOT_M = 0.1, 1.1


@pytest.fixture(scope="module")
def turn(robot: Robot, start: Callable[..., NodeProcess]) -> Callable[[], None]:
    """Gives the node another sweep of a LiDAR; the node names nothing."""
    robot.listen(PointCloud2, "obstacles", BEST_EFFORT)
    robot.listen(PointCloud2, "traversable", BEST_EFFORT)
    robot.listen(InstanceArray, "instances", RELIABLE)
    start(
        inputs__cameras='[""]',
        inputs__lidars='["lidar"]',
        inputs__min_range_m=0.3,
        map__voxel_size_m=VOXEL_M,
        map__min_weight=0.0,
        planning__step_height_m=STEP_M,
        planning__robot_height_m=ROBOT_M,
        output__cloud_rate_hz=5.0,
        output__map_period_s=0.5,
    )
    robot.wait_active()

    def sweep_again() -> None:
        stamp_s = time.time()
        pose = np.eye(4)
        pose[:3, 3] = AT_M
        robot.publish("/tf", transform(pose, stamp_s, MAP, "lidar_link"))
        robot.publish("/lidar/points", cloud(sweep(AT_M), stamp_s, "lidar_link"))
        time.sleep(0.1)

    return sweep_again


def after(turn: Callable[[], None], robot: Robot, topic: str) -> Any:
    """What came on a topic, while the LiDAR goes on."""

    def newest() -> Any:
        turn()
        return robot.newest(topic)

    return robot.wait(newest, topic)


def in_map(message: PointCloud2) -> np.ndarray:
    assert message.header.frame_id == "lidar_link"
    assert message.header.stamp.sec > 0
    return np.frombuffer(message.data, np.float32).reshape(-1, 3) + np.array(AT_M, np.float32)


def test_clouds_part_the_walls_from_the_floor(robot: Robot, turn: Callable[[], None]) -> None:
    found = {}
    for topic in ("obstacles", "traversable"):
        found[topic] = in_map(after(turn, robot, topic))
        assert len(found[topic]) > 500
        assert distance_to_walls_m(found[topic]).max() < VOXEL_M
    height = found["obstacles"][:, 2]
    assert height.min() > STEP_M
    assert height.max() <= ROBOT_M + 1e-4  # from millimetres of tf to float32
    assert np.abs(found["traversable"][:, 2]).max() < STEP_M


def test_a_mask_comes_to_who_subscribes_late(robot: Robot, turn: Callable[[], None]) -> None:
    turn()
    robot.listen(OccupancyGrid, "keepout_mask", LATCHED)
    grid: OccupancyGrid = robot.wait(lambda: robot.newest("keepout_mask"), "a mask")
    assert grid.header.frame_id == MAP
    cost = np.array(grid.data, np.int8).reshape(grid.info.height, grid.info.width)
    origin = np.array([grid.info.origin.position.x, grid.info.origin.position.y])
    row, column = np.nonzero(cost >= 0)
    places = origin + (np.stack([column, row], 1) + 0.5) * grid.info.resolution
    to_wall = np.minimum(places - LOW_M[:2], HIGH_M[:2] - places).min(1)
    value = cost[row, column]
    assert set(value.tolist()) == {0, 100}
    assert np.abs(to_wall[value == 100]).max() < 2 * VOXEL_M
    assert to_wall[value == 0].min() > -VOXEL_M
    assert (value == 0).sum() > 500


def test_objects_come_even_if_there_are_none(robot: Robot, turn: Callable[[], None]) -> None:
    message = after(turn, robot, "instances")
    assert message.header.frame_id == MAP
    assert list(message.instances) == []


def test_a_picture_of_the_map_for_people(robot: Robot, turn: Callable[[], None]) -> None:
    for layer in ("color", "label", "instance"):
        robot.listen(Image, f"rendered/{layer}", RELIABLE)
    for layer in ("color", "label", "instance"):
        image = after(turn, robot, f"rendered/{layer}")
        assert image.encoding == "rgb8"
        assert len(image.data) == image.step * image.height
    shades = np.frombuffer(robot.newest("rendered/color").data, np.uint8)
    assert len(np.unique(shades)) > 10  # no camera: walls and floor in shades of grey
