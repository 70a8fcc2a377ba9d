"""A corridor around a block, with boxes in it, and a robot that goes around while its odometry drifts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from small_world import BLUE, GREEN, RED

from ws3d_ros.sensors.frame import Frame, Pinhole

CAMERA = Pinhole(160, 120, 90.0, 90.0, 79.5, 59.5)
OUTER = np.array([[-5.02, -4.01, 0.015], [5.03, 4.03, 2.59]])
"""Not on the faces of voxels: there, rounding would decide."""
BLOCK = np.array([[-2.77, -1.76, -1.0], [2.78, 1.77, 3.0]])
BOXES = [
    np.array([[x - 0.23, y - 0.21, 0.0], [x + 0.22, y + 0.24, 0.47]])
    for x, y in ((2.0, -3.6), (4.5, 1.0), (-1.0, 3.5), (-4.4, 0.5), (-4.5, -3.4))
]
RATE_HZ = 5.0


def going_around(step_m: float = 0.15) -> list[np.ndarray]:
    """Poses (4, 4) of a robot that goes around the block from below its middle, a little more than once."""
    corners = [(0.0, -2.9), (3.9, -2.9), (3.9, 2.9), (-3.9, 2.9), (-3.9, -2.9), (0.4, -2.9)]
    poses: list[np.ndarray] = []
    for begin, end in pairwise(corners):
        way = np.subtract(end, begin)
        yaw = np.arctan2(way[1], way[0])
        if poses:
            poses += _turning(poses[-1], yaw)
        for share in np.arange(0.0, 1.0, step_m / np.linalg.norm(way)):
            poses.append(_at(*(begin + share * way), yaw))
    return poses


def drifting(poses: list[np.ndarray], yaw_deg_per_m: float, too_long: float) -> list[np.ndarray]:
    """What odometry makes of the same motion: each step turned and stretched a little."""
    result = [poses[0]]
    for before, after in pairwise(poses):
        step = np.linalg.inv(before) @ after
        gone = float(np.linalg.norm(step[:3, 3]))
        step[:3, 3] *= 1.0 + too_long
        result.append(result[-1] @ step @ _turn(np.radians(yaw_deg_per_m * gone)))
    return result


def shot(T_true: np.ndarray, T_believed: np.ndarray, index: int) -> Frame:
    """What a camera on the robot sees from where it is, stamped with where it is believed to be."""
    eye = T_true @ T_BASE_CAMERA
    u, v = np.meshgrid(np.arange(CAMERA.width), np.arange(CAMERA.height))
    rays = np.stack([(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones(u.shape)], -1)
    rays, origin = rays @ eye[:3, :3].T, eye[:3, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = ((corner - origin) / rays for corner in OUTER)
        ahead = np.maximum(low, high)
        depths = [np.where(np.arange(3) == 2, ahead, np.inf).min(-1), ahead[..., :2].min(-1)]
        for box in (BLOCK, *BOXES):
            low, high = ((corner - origin) / rays for corner in box)
            enter, leave = np.minimum(low, high).max(-1), np.maximum(low, high).min(-1)
            depths.append(np.where((enter < leave) & (enter > 0), enter, np.inf))
    nearest = np.argmin(depths, axis=0)
    color = np.array([RED, GREEN, GREEN, *[BLUE] * len(BOXES)], np.uint8)[nearest]
    depth_m = torch.from_numpy(np.min(depths, axis=0).astype(np.float32))
    stamp_ns = int(1e9 * (1 + index / RATE_HZ))
    return Frame(stamp_ns, CAMERA, T_believed @ T_BASE_CAMERA, torch.from_numpy(color), depth_m)


def _at(x: float, y: float, yaw: float) -> np.ndarray:
    T = _turn(yaw)
    T[:2, 3] = x, y
    return T


def _turn(yaw: float) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = Rotation.from_euler("z", yaw).as_matrix()
    return T


def _turning(pose: np.ndarray, yaw: float) -> list[np.ndarray]:
    """On the spot, in steps of at most 15 degrees."""
    now = np.arctan2(pose[1, 0], pose[0, 0])
    by = (yaw - now + np.pi) % (2 * np.pi) - np.pi
    steps = max(int(np.ceil(abs(by) / np.radians(15.0))), 1)
    return [pose @ _turn(by * (i + 1) / steps) for i in range(steps)]


T_BASE_CAMERA = np.eye(4)
"""1.2 m above the floor, 20 degrees to the right and 15 down: it sees the outer wall and the floor."""
T_BASE_CAMERA[:3, :3] = Rotation.from_euler("zy", [-20.0, 15.0], degrees=True).as_matrix() @ np.array(
    [[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]
)
T_BASE_CAMERA[2, 3] = 1.2
