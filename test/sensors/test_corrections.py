"""Jumps of map -> odom."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from ws3d_ros.sensors.corrections import Corrections, motion_m

ROBOT = np.array([20.0, 0.0, 0.0])


def pose(x: float = 0.0, y: float = 0.0, yaw_deg: float = 0.0) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = Rotation.from_euler("z", yaw_deg, degrees=True).as_matrix()
    T[:3, 3] = (x, y, 0.0)
    return T


def test_a_jump_is_told_by_what_it_does_to_the_robot() -> None:
    watch = Corrections(0.1)
    assert watch.see(1, pose(5.0), ROBOT) is None
    assert watch.see(2, pose(5.0), ROBOT) is None
    # About the map's origin, 20 m away: half a degree moves the robot by 17 cm.
    jump = watch.see(3, pose(yaw_deg=0.5) @ pose(5.0), ROBOT)
    assert jump is watch.newest
    assert jump is not None
    assert jump.shift_m == pytest.approx(20.0 * np.radians(0.5), rel=1e-3)
    assert jump.turn_rad == pytest.approx(np.radians(0.5))
    assert np.allclose(jump.T_new_old @ pose(5.0), jump.T_map_odom)
    assert np.allclose(jump.T_new_old, pose(yaw_deg=0.5))
    assert jump.stamp_ns == 3


def test_slow_drift_is_no_jump_however_far_it_goes() -> None:
    watch = Corrections(0.1)
    assert all(watch.see(i, pose(0.02 * i, yaw_deg=0.02 * i), 0 * ROBOT) is None for i in range(1, 500))
    assert watch.newest is None


def test_what_comes_late_is_not_compared() -> None:
    watch = Corrections(0.1)
    watch.see(5, pose(), ROBOT)
    assert watch.see(4, pose(3.0), ROBOT) is None
    assert watch.see(6, pose(0.05), ROBOT) is None


def test_after_time_began_again_there_is_nothing_to_compare_with() -> None:
    watch = Corrections(0.1)
    watch.see(1, pose(), ROBOT)
    watch.see(2, pose(1.0), ROBOT)
    watch.clear()
    assert watch.newest is None
    assert watch.see(1, pose(), ROBOT) is None


def test_with_a_tolerance_of_zero_the_map_never_follows() -> None:
    watch = Corrections(0.0)
    watch.see(1, pose(), ROBOT)
    assert watch.see(2, pose(9.0), ROBOT) is None


def test_a_motion_is_as_large_as_what_it_does_two_metres_away() -> None:
    T = pose(0.3, 0.4, yaw_deg=10.0)
    assert motion_m(T, np.zeros(3)) == pytest.approx(0.5 + 2.0 * np.radians(10.0))
    around = 2.0 * np.array([[np.cos(a), np.sin(a), 0.0] for a in np.linspace(0, 2 * np.pi, 100)])
    moved = around @ T[:3, :3].T + T[:3, 3] - around
    assert np.linalg.norm(moved, axis=1).max() <= motion_m(T, np.zeros(3))
