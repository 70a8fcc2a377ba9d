"""The way of the robot, and how a correction bends it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from ws3d_ros.reconstruction.anchors import APART_M, START_M, Path, bend
from ws3d_ros.sensors.corrections import motion_m


def motion(x: float = 0.0, y: float = 0.0, z: float = 0.0, yaw_deg: float = 0.0) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = Rotation.from_euler("z", yaw_deg, degrees=True).as_matrix()
    T[:3, 3] = (x, y, z)
    return T


def about(point_m: np.ndarray, yaw_deg: float, shift_m: np.ndarray) -> np.ndarray:
    """A turn around a point and a shift."""
    T = motion(yaw_deg=yaw_deg)
    T[:3, 3] = point_m - T[:3, :3] @ point_m + shift_m
    return T


def walk(count: int = 60, step_m: float = 0.3, turn_deg: float = 6.0) -> list[np.ndarray]:
    """Poses once around a circle."""
    poses = [motion(5.0, -3.0, 1.0)]
    for _ in range(count):
        poses.append(poses[-1] @ motion(step_m, yaw_deg=turn_deg))
    return poses


def anchors(poses: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    steps = [motion_m(b @ np.linalg.inv(a), a[:3, 3]) for a, b in pairwise(poses)]
    return START_M + np.cumsum([0.0, *steps]), np.array([pose[:3, 3] for pose in poses])


def test_the_way_grows_with_motion_and_not_with_shaking() -> None:
    path, rng = Path(), np.random.default_rng(0)
    for _ in range(100):
        way_m = path.go("camera", motion(*rng.uniform(-0.02, 0.02, 3), yaw_deg=rng.uniform(-1, 1)))
        assert way_m < START_M + APART_M
    # The anchor is where the camera was first: up to 2 cm and a degree, twice, from the middle.
    here = motion(1.0)
    assert path.go("camera", here) == pytest.approx(START_M + 1.0, abs=0.15)
    before = path.go("lidar", motion(9.0))  # is not what the way is measured by
    assert path.go("camera", here @ motion(yaw_deg=30.0)) - before == pytest.approx(2.0 * np.radians(30.0))
    path.restart()
    assert path.bend(motion(1.0)) is None
    assert path.go("lidar", motion(9.0)) == START_M


def test_the_end_of_a_way_is_its_newest_measurement() -> None:
    path = Path()
    for x in (0.0, 0.2, 0.4, 0.6):
        way_m = path.go("camera", motion(x))
    bent = path.bend(motion(0.0, 0.06))
    assert bent is not None
    assert bent.way_m[-1] == pytest.approx(START_M + 0.6) == way_m
    assert np.allclose(bent.to_m[-1], [0.6, 0.06, 0.0])
    assert np.allclose(bent.to_m[0], 0.0)


def test_uniform_drift_is_undone() -> None:
    """Odometry that turns a little too much with each equal step: bending gives the true way back."""
    true, drifted = walk(), walk(turn_deg=6.0 + 5.0 / 60)
    way_m, point_m = anchors(drifted)
    bent = bend(way_m, point_m, true[-1] @ np.linalg.inv(drifted[-1]))
    error_m = np.linalg.norm(bent.to_m - np.array([pose[:3, 3] for pose in true]), axis=1)
    before_m = np.linalg.norm(point_m - np.array([pose[:3, 3] for pose in true]), axis=1)
    # A step is turned by the mean of its ends, but was drifted by its beginning: half a turn is left.
    assert before_m.max() > 0.2
    assert error_m.max() < 0.005
    assert np.allclose(bent.turn, [0.0, 0.0, np.radians(-5.0)], atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.floats(-8.0, 8.0), st.floats(-0.4, 0.4), st.floats(-0.4, 0.4), st.integers(0, 2**31))
def test_carrying_against_plain_matrices(yaw_deg: float, x: float, y: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    way_m, point_m = anchors(walk())
    T = about(point_m[-1], yaw_deg, np.array([x, y, 0.1]))
    bent = bend(way_m, point_m, T)
    seen_at = rng.uniform(START_M - 0.5, way_m[-1] + 0.5, 20)
    points, normals = rng.normal(0, 5, (20, 3)), rng.normal(0, 1, (20, 3))
    got = bent.carry(torch.from_numpy(seen_at), torch.from_numpy(points), torch.from_numpy(normals))
    rotation = Rotation.from_matrix(T[:3, :3]).as_rotvec()
    for i, way in enumerate(seen_at):
        share = np.clip((way - way_m[0]) / (way_m[-1] - way_m[0]), 0, 1)
        R = Rotation.from_rotvec(share * rotation).as_matrix()
        before = [np.interp(way, way_m, point_m[:, axis]) for axis in range(3)]
        after = [np.interp(way, way_m, bent.to_m[:, axis]) for axis in range(3)]
        assert np.allclose(got[0][i], R @ (points[i] - before) + after, atol=1e-9)
        assert np.allclose(got[1][i], R @ normals[i], atol=1e-9)
    ends = torch.tensor([START_M, way_m[-1]], dtype=torch.float64)
    point = torch.from_numpy(points[:2])
    moved, _ = bent.carry(ends, point, point)
    assert np.allclose(moved[0], points[0], atol=1e-9), "the beginning stays"
    assert np.allclose(moved[1], T[:3, :3] @ points[1] + T[:3, 3], atol=1e-9), "the end moves by all of it"


@pytest.mark.parametrize(
    ("driven", "T_new_old"),
    [
        (walk(10), motion(0.76)),  # of 3 m
        ([motion(yaw_deg=10.0 * i) for i in range(30)], motion(0.1)),  # turning on the spot shifts nothing
        (walk(4, 0.3, 0.0), motion(yaw_deg=18.0)),  # 0.31 rad on 1.2 m
    ],
)
def test_what_no_drift_explains_moves_all_that_was_seen_alike(
    driven: list[np.ndarray], T_new_old: np.ndarray
) -> None:
    way_m, point_m = anchors(driven)
    points = torch.rand(5, 3, dtype=torch.float64)
    moved, normal = bend(way_m, point_m, T_new_old).carry(torch.linspace(0, 9, 5), points, points)
    R = torch.from_numpy(T_new_old[:3, :3])
    assert torch.allclose(moved, points @ R.T + torch.from_numpy(T_new_old[:3, 3]))
    assert torch.allclose(normal, points @ R.T)


def test_a_robot_that_stands_has_one_anchor() -> None:
    path = Path()
    path.go("camera", motion())
    path.go("camera", motion(APART_M / 2))
    bent = path.bend(motion(0.5, yaw_deg=90.0))
    assert bent is not None
    moved, _ = bent.carry(torch.tensor([START_M]), torch.tensor([[1.0, 0.0, 0.0]]), torch.zeros(1, 3))
    assert np.allclose(moved[0], [0.5, 1.0, 0.0], atol=1e-9)
