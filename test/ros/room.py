"""A small room made of six painted planes, seen exactly: what the live tests show to the node."""

from __future__ import annotations

import numpy as np

LOW_M, HIGH_M = np.array([-2.0, -1.5, 0.0]), np.array([2.0, 1.5, 2.5])
WIDTH, HEIGHT = 160, 120
FX = FY = 100.0
CX, CY = 79.5, 59.5
# Paint of the planes x low, y low, z low, x high, y high, z high.
PAINT = np.array(
    [[200, 40, 40], [40, 200, 40], [120, 90, 60], [40, 40, 200], [200, 200, 40], [230, 230, 230]], np.uint8
)
# Optical axes (x right, y down, z forward) of a camera that looks along the map's x axis.
LOOK_ALONG_X = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


def camera_pose(yaw_rad: float, position_m: tuple[float, float, float] = (0.0, 0.0, 1.2)) -> np.ndarray:
    """(4, 4) camera to map, for a level camera that looks towards ``yaw_rad``."""
    c, s = np.cos(yaw_rad), np.sin(yaw_rad)
    pose = np.eye(4)
    pose[:3, :3] = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]) @ LOOK_ALONG_X
    pose[:3, 3] = position_m
    return pose


def hit(origin_m: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance (in lengths of the ray) to the walls and number of the plane, from inside the room."""
    with np.errstate(divide="ignore"):
        to_low, to_high = (LOW_M - origin_m) / rays, (HIGH_M - origin_m) / rays
    ahead = np.maximum(to_low, to_high)
    axis = ahead.argmin(-1)
    plane = axis + 3 * (np.take_along_axis(rays, axis[..., None], -1)[..., 0] > 0)
    return ahead.min(-1), plane


def rgbd(pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(H, W, 3) uint8 colour and (H, W) float32 depth along the optical axis."""
    u, v = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    rays = np.stack([(u - CX) / FX, (v - CY) / FY, np.ones_like(u)], -1)
    depth_m, plane = hit(pose[:3, 3], rays @ pose[:3, :3].T)
    return PAINT[plane], depth_m.astype(np.float32)


def sweep(position_m: tuple[float, float, float] = (0.0, 0.0, 1.2)) -> np.ndarray:
    """(N, 3) float32 points of a level LiDAR, in its own axes, which are the map's."""
    azimuth, elevation = np.meshgrid(
        np.linspace(-np.pi, np.pi, 720, endpoint=False), np.linspace(-0.5, 0.5, 32)
    )
    rays = np.stack(
        [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)], -1
    )
    distance_m, _ = hit(np.array(position_m), rays)
    return (rays * distance_m[..., None]).reshape(-1, 3).astype(np.float32)


def distance_to_walls_m(points_m: np.ndarray) -> np.ndarray:
    """(N,) distance of map points to the nearest plane of the room."""
    return np.abs(np.concatenate([points_m - LOW_M, points_m - HIGH_M], 1)).min(1)
