"""A LiDAR that turns while it sweeps: where its points say when they were measured, walls are thin."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from graph import MAP, NodeProcess, Robot, cloud, points_of, transform, xyz
from room import distance_to_walls_m, hit
from scipy.spatial.transform import Rotation

LIDAR, PLACE_M = "lidar_link", np.array([0.0, 0.0, 1.2])
SWEEP_S, TURN_RAD_S = 0.1, 2.0
SWEEPS = 8


def turned(yaw_rad: np.ndarray | float) -> Rotation:
    return Rotation.from_rotvec(np.multiply.outer(yaw_rad, [0.0, 0.0, 1.0]))


def turning_sweep(yaw_rad: float) -> np.ndarray:
    """(N, 4) points, each in the sensor's axes of its own moment, and seconds after the first."""
    azimuth, elevation = np.meshgrid(
        np.linspace(-np.pi, np.pi, 720), np.linspace(-0.5, 0.5, 32), indexing="ij"
    )
    after_s = SWEEP_S * (azimuth.ravel() + np.pi) / (2 * np.pi)
    flat = np.cos(elevation)
    rays = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)], -1).reshape(-1, 3)
    distance_m, _ = hit(PLACE_M, turned(yaw_rad + TURN_RAD_S * after_s).apply(rays))
    return np.column_stack([rays * distance_m[:, None], after_s])


@pytest.mark.parametrize(("field", "thick"), [("t", False), ("u", True)])
def test_walls_of_a_lidar_that_turns(
    field: str, thick: bool, robot: Robot, start: Callable[..., NodeProcess]
) -> None:
    """``u`` is no name of a time: the same points, as if all had been measured at once."""
    robot.forget()
    node = start(inputs__cameras='[""]', inputs__lidars='["lidar"]', map__carving=False)
    robot.wait_active()

    def drive() -> bool:
        stamp_s = time.time()
        for after_s in np.linspace(0.0, SWEEP_S, 6):
            pose = np.eye(4)
            pose[:3, :3] = turned(TURN_RAD_S * (stamp_s % 100.0 + after_s)).as_matrix()
            pose[:3, 3] = PLACE_M
            robot.publish("/tf", transform(pose, stamp_s + after_s, MAP, LIDAR))
        points = turning_sweep(TURN_RAD_S * (stamp_s % 100.0))
        time.sleep(SWEEP_S)
        robot.publish("/lidar/points", cloud(points, stamp_s, LIDAR, f"xyz{field}"))
        return robot.counts("lidar")[1] >= SWEEPS

    robot.wait(drive, "sweeps are used")
    voxels = robot.newest("status").voxels
    robot.wait(
        lambda: robot.newest("semantic_cloud") and robot.newest("semantic_cloud").width >= 0.9 * voxels,
        "a cloud",
    )
    off_m = distance_to_walls_m(xyz(points_of(robot.newest("semantic_cloud"))).astype(float))
    assert node.stop() == 0
    robot.unpublish()
    assert (np.percentile(off_m, 95) > 0.15) == thick
    if not thick:
        assert np.percentile(off_m, 99) < 0.02  # what is left is of float32 and of voxels at edges
