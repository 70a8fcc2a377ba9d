"""A room with boxes in it, seen by depth cameras and LiDARs: exact rays against axis-aligned boxes."""

from __future__ import annotations

import numpy as np
import torch

from ws3d_ros.sensors.frame import Frame, Pinhole, Scan

CAMERA = Pinhole(320, 240, 262.0, 262.0, 159.5, 119.5)
ROOM = ((-3.02, -2.51, 0.015), (3.03, 2.53, 2.59))
"""Not on the faces of voxels: there, rounding would decide."""


def look(eye: tuple[float, float, float], target: tuple[float, float, float]) -> np.ndarray:
    """Pose of a camera (z forward, y down) at ``eye`` that looks at ``target``."""
    forward = np.subtract(target, eye) / np.linalg.norm(np.subtract(target, eye))
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = eye
    return pose


def cast(eye: np.ndarray, ray: np.ndarray, boxes: list[tuple]) -> np.ndarray:
    """How many lengths of each ray, (N, 3), to the first surface of the room or a box."""
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1 / ray
        low, high = ((np.asarray(corner) - eye) * inverse for corner in ROOM)
        nearest = np.maximum(low, high).min(axis=1)
        for box in boxes:
            low, high = ((np.asarray(corner) - eye) * inverse for corner in box)
            enter = np.minimum(low, high).max(axis=1)
            leave = np.maximum(low, high).min(axis=1)
            hit = (enter < leave) & (enter > 0)
            nearest = np.where(hit, np.minimum(nearest, enter), nearest)
    return nearest


def depth_frame(
    pose: np.ndarray,
    boxes: list[tuple] = (),
    stamp_ns: int = 1,
    noise: np.random.Generator | None = None,
    camera: Pinhole = CAMERA,
) -> Frame:
    """What a depth camera sees; with noise like that of a structured-light camera and 2 % holes."""
    v, u = np.mgrid[: camera.height, : camera.width]
    ray = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones_like(u, float)], -1)
    depth = cast(pose[:3, 3], ray.reshape(-1, 3) @ pose[:3, :3].T, boxes).reshape(u.shape)
    if noise is not None:
        depth = depth + 1.4e-3 * depth**2 * noise.standard_normal(depth.shape)
        depth[noise.random(depth.shape) < 0.02] = 0.0
    color = torch.stack([torch.from_numpy(u % 256), torch.from_numpy(v % 256), torch.full(u.shape, 7)], -1)
    return Frame(stamp_ns, camera, pose, color.to(torch.uint8), torch.from_numpy(depth.astype(np.float32)))


def sweep(
    pose: np.ndarray,
    boxes: list[tuple] = (),
    stamp_ns: int = 1,
    noise: np.random.Generator | None = None,
    rings: int = 32,
) -> Scan:
    """What a LiDAR with rings from -25 to +15 degrees sees; noise 2 cm."""
    elevation, azimuth = np.meshgrid(
        np.radians(np.linspace(-25, 15, rings)),
        np.linspace(-np.pi, np.pi, 900, endpoint=False),
        indexing="ij",
    )
    ray = np.stack(
        [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)], -1
    ).reshape(-1, 3)
    distance = cast(pose[:3, 3], ray @ pose[:3, :3].T, boxes)
    if noise is not None:
        distance = distance + 0.02 * noise.standard_normal(distance.shape)
    points = torch.from_numpy((ray * distance[:, None]).astype(np.float32))
    return Scan(stamp_ns, points, pose)
