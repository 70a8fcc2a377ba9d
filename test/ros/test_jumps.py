"""map -> odom jumps, as after a closed loop: the map follows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from graph import MAP, Camera, NodeProcess, Robot, points_of, transform, xyz
from room import camera_pose, distance_to_walls_m
from scipy.spatial.transform import Rotation

LOOKS = np.linspace(-1.0, 1.0, 12)


def jump(x: float, y: float, yaw_deg: float) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = Rotation.from_euler("z", yaw_deg, degrees=True).as_matrix()
    T[:2, 3] = x, y
    return T


class Localised:
    """A camera in the middle of the room, with ``map -> odom`` apart from ``odom -> camera``."""

    def __init__(self, robot: Robot) -> None:
        self.robot, self.camera = robot, Camera(robot, "camera")
        self.T_map_odom = np.eye(4)

    def shoot(self, yaw_rad: float) -> None:
        stamp_s = time.time()
        self.robot.publish("/tf", transform(self.T_map_odom, stamp_s, MAP, "odom"))
        self.robot.publish("/tf", transform(camera_pose(yaw_rad), stamp_s, "odom", self.camera.frame))
        self.camera.shoot(stamp_s, yaw_rad, tf=False)
        time.sleep(0.1)

    def shoot_until_used(self, more: int, yaws_rad: np.ndarray) -> None:
        target = self.robot.counts("camera")[1] + more
        turns = iter(np.tile(yaws_rad, 100))

        def step() -> bool:
            self.shoot(float(next(turns)))
            return self.robot.counts("camera")[1] >= target

        self.robot.wait(step, f"{more} more shots are used")

    def off_m(self, T_map_room: np.ndarray) -> np.ndarray:
        """Distance of the newest cloud's points from the walls of a room that is there."""
        points = xyz(points_of(self.robot.newest("semantic_cloud"))).astype(float)
        return distance_to_walls_m((points - T_map_room[:3, 3]) @ T_map_room[:3, :3])


@pytest.fixture
def robot_at(robot: Robot, start: Callable[..., NodeProcess]) -> Iterator[Callable[..., Localised]]:
    nodes: list[NodeProcess] = []

    def begin(**parameters: object) -> Localised:
        robot.forget()
        nodes.append(start(map__carving=False, **parameters))
        robot.wait_active()
        localised = Localised(robot)
        localised.shoot_until_used(len(LOOKS), LOOKS)
        robot.wait(lambda: robot.newest("semantic_cloud"), "a cloud")
        return localised

    yield begin
    for node in nodes:
        assert node.process.poll() is None, node.log()
        node.stop()
    robot.unpublish()


def test_the_cloud_follows_a_jump(robot: Robot, robot_at: Callable[..., Localised]) -> None:
    localised = robot_at()
    voxels = robot.newest("status").voxels
    localised.T_map_odom = jump(0.5, -0.3, 10.0)
    localised.shoot_until_used(3, np.zeros(1))

    def followed() -> bool:
        robot.received["semantic_cloud"].clear()
        localised.shoot(0.0)
        robot.wait(lambda: robot.newest("semantic_cloud"), "a cloud")
        # 5 cm voxels of depth in millimetres; of one that did not follow most would be off.
        return bool((localised.off_m(localised.T_map_odom) < 0.08).mean() > 0.98)

    robot.wait(followed, "all that was seen before the jump is where the room is now")
    assert (localised.off_m(np.eye(4)) < 0.08).mean() < 0.5
    assert robot.newest("status").voxels < 1.1 * voxels, "nothing is there twice"
    stages = {stage.stage: stage.count for stage in robot.newest("status").stages}
    assert stages["follow"] == 1


def test_small_steps_and_those_that_shall_not_be_followed_move_nothing(
    robot: Robot, robot_at: Callable[..., Localised]
) -> None:
    localised = robot_at(inputs__follow_jumps_m=0.2)
    for step in range(1, 6):
        localised.T_map_odom = jump(0.03 * step, 0.0, 0.5 * step)
        localised.shoot(0.0)
    localised.shoot_until_used(3, np.zeros(1))
    stages = {stage.stage for stage in robot.newest("status").stages}
    assert "integrate" in stages
    assert "follow" not in stages
