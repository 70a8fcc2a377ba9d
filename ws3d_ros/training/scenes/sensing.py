"""What real sensors make of a perfect view: a depth camera's errors, and a LiDAR's sweep."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ws3d_ros.sensors.frame import Pinhole
from ws3d_ros.training.scenes.view import View, Viewer

BASELINE_M = 0.075
DISPARITY_STEP_PX = 1 / 8
DISPARITY_SIGMA_PX = 0.05
RANGE_SIGMA_M = 0.01
FACE = Pinhole(1024, 640, 512.0, 512.0, 511.5, 319.5)
"""One of four pictures around the LiDAR; 32 degrees up and down, 0.1 degrees between pixels."""


@dataclass(frozen=True)
class Sweep:
    """One turn of a LiDAR with R rings and S steps; rows without a return are left out.

    Attributes:
        points_m: (N, 3) float32 in the LiDAR's frame (x forward, y left, z up).
        intensity: (N,) float32, 0 to 255.
        ring: (N,) uint16, 0 is the lowest.
        instance: (N,) uint16 number of the thing that was hit.
    """

    points_m: np.ndarray
    intensity: np.ndarray
    ring: np.ndarray
    instance: np.ndarray


@dataclass(frozen=True)
class DepthErrors:
    """How a depth camera errs.

    Attributes:
        max_m: it sees no farther.
        sigma_px: standard deviation of disparities, in pixels of the given camera.
        step_px: disparities are rounded to this.
        steepest_deg: surfaces seen at a larger angle (0 is straight on) are lost half of the time.
        dark: grey value, 0 to 255, below which surfaces are lost half of the time.
    """

    max_m: float = 8.0
    sigma_px: float = DISPARITY_SIGMA_PX
    step_px: float = DISPARITY_STEP_PX
    steepest_deg: float = 90.0
    dark: float = 0.0


def depth_camera(
    view: View, camera: Pinhole, rng: np.random.Generator, errors: DepthErrors = DepthErrors()
) -> np.ndarray:
    """(H, W) uint16 millimetres, 0 invalid, as a structured-light or active stereo camera would see it.

    Disparity noise and its quantisation make the error grow with the square of the distance
    (Khoshelham and Elberink, Sensors 2012). Where depth jumps, on surfaces seen at a very flat
    angle, and on dark ones there are holes.
    """
    depth = view.depth_m
    seen = (depth > 0.25) & (depth < errors.max_m)
    safe = np.where(seen, depth, 1.0)
    disparity = camera.fx * BASELINE_M / safe
    coarse = rng.standard_normal((camera.height // 16, camera.width // 16)).astype(np.float32)
    disparity += errors.sigma_px * cv2.resize(
        coarse, (camera.width, camera.height), interpolation=cv2.INTER_CUBIC
    )
    disparity = np.round(disparity / errors.step_px) * errors.step_px
    kernel = np.ones((3, 3), np.uint8)
    jump = cv2.dilate(safe, kernel) / cv2.erode(safe, kernel) > 1.06
    ragged = cv2.GaussianBlur(jump.astype(np.float32), (0, 0), 1.2)
    speckle = cv2.resize(coarse, (camera.width, camera.height), interpolation=cv2.INTER_LINEAR)
    holes = ragged + 0.1 * speckle > 0.45
    if errors.steepest_deg < 90.0 or errors.dark > 0.0:
        weak = (_steepness(safe, camera) > np.tan(np.radians(errors.steepest_deg))) | (
            view.color.mean(2) < errors.dark
        )
        holes |= weak & (speckle > 0)
    valid = seen & ~holes & (disparity > 0)
    return np.where(valid, camera.fx * BASELINE_M * 1000.0 / np.maximum(disparity, 1e-3), 0).astype(np.uint16)


def _steepness(depth_m: np.ndarray, camera: Pinhole) -> np.ndarray:
    """(H, W) tangent of the angle between each pixel's surface and the image plane."""
    down, right = np.gradient(depth_m)
    return np.asarray(np.hypot(down * camera.fy, right * camera.fx) / depth_m)


def lidar_sweep(
    viewer: Viewer,
    T_map_lidar: np.ndarray,
    rng: np.random.Generator,
    rings: int = 16,
    steps: int = 512,
    elevation_deg: tuple[float, float] = (-22.5, 22.5),
    face: Pinhole = FACE,
) -> Sweep:
    """One turn from one place, all beams at the same instant.

    Four pictures cover the circle (``face``: 90 degrees wide, and high enough for the rings); each
    beam takes the pixel that it falls on, and that pixel's own direction, so that every point lies on
    a surface up to the range noise.
    """
    azimuth = np.linspace(-np.pi, np.pi, steps, endpoint=False)
    elevation = np.radians(np.linspace(*elevation_deg, rings))
    quarter_of = np.round(azimuth / (np.pi / 2)).astype(int) % 4
    parts = []
    for quarter in range(4):
        yaw = quarter * np.pi / 2
        R_lidar_camera = np.array([[np.sin(yaw), 0, np.cos(yaw)], [-np.cos(yaw), 0, np.sin(yaw)], [0, -1, 0]])
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = T_map_lidar[:3, :3] @ R_lidar_camera, T_map_lidar[:3, 3]
        view = viewer.view(face, T)
        local = azimuth[quarter_of == quarter] - yaw
        ring, step = (
            grid.reshape(-1) for grid in np.meshgrid(np.arange(rings), np.arange(len(local)), indexing="ij")
        )
        u = np.round(face.cx - face.fx * np.tan(local[step])).astype(int).clip(0, face.width - 1)
        v = np.round(face.cy - face.fy * np.tan(elevation[ring]) / np.cos(local[step])).astype(int)
        z = view.depth_m[v, u]
        ray = np.stack([(u - face.cx) / face.fx, (v - face.cy) / face.fy, np.ones(len(u))], 1)
        length = np.linalg.norm(ray, axis=1)
        distance = z * length + rng.normal(0, RANGE_SIGMA_M, len(u))
        keep = (z > 0) & (rng.random(len(u)) > 0.01)
        points = (ray / length[:, None] * distance[:, None]) @ R_lidar_camera.T
        intensity = view.color[v, u].mean(1) / (1.0 + 0.02 * distance**2)
        parts.append((points[keep], intensity[keep], ring[keep], view.instance[v, u][keep]))
    points_m, intensity, ring, instance = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Sweep(
        points_m.astype(np.float32),
        intensity.astype(np.float32),
        ring.astype(np.uint16),
        instance.astype(np.uint16),
    )
