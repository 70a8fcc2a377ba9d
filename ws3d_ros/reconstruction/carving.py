"""Free space: which voxels does a measurement look through?

A voxel in front of what was measured behind it is not there (any more). Each such look costs it
log-odds, each hit gains some, and what falls below zero is removed: a thing that was seen for long
needs nine looks, a ghost of a moment two. The tests are conservative: the nearest measured depth
around the voxel's pixel counts, so that edges, slanted walls and noise carve nothing.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from ws3d_ros.sensors.frame import Frame, Scan

HIT, MISS, MOST = 0.85, 0.4, 3.5
"""Log-odds, as OctoMap's (Hornung et al. 2013): one hit, one look through, and the most that counts."""
CELL = 4
"""Pixels to a cell of the coarse depth image that voxels are tested against."""
AZIMUTH_CELLS = 900
ELEVATION_CELLS = 180
"""Cells of 0.4 degrees around and 1 degree up and down: about the spacing of LiDAR rings."""


def seen_through_by_frame(points_m: Tensor, frame: Frame, voxel_size_m: float, max_depth_m: float) -> Tensor:
    """(N,) bool: the voxels at (N, 3) ``points_m`` that the depth image looks through."""
    assert frame.depth_m is not None
    pose = torch.as_tensor(frame.T_map_camera, dtype=torch.float32, device=points_m.device)
    local = (points_m - pose[:3, 3]) @ pose[:3, :3]
    z = local[:, 2].clamp(min=1e-3)
    camera = frame.camera
    u = (local[:, 0] / z * camera.fx + camera.cx).round().to(torch.int64)
    v = (local[:, 1] / z * camera.fy + camera.cy).round().to(torch.int64)
    inside = (local[:, 2] > voxel_size_m) & (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height)
    nearest = nearest_depth(frame.depth_m.clamp(max=max_depth_m))
    cell = nearest[v.clamp(0, camera.height - 1) // CELL, u.clamp(0, camera.width - 1) // CELL]
    margin = (0.03 * z).clamp(min=2.0 * voxel_size_m)
    return inside & (z + margin < cell)


def nearest_depth(depth_m: Tensor) -> Tensor:
    """(ceil(H / 4), ceil(W / 4)) least depth of the 3x3 cells around; 0 where any pixel is invalid."""
    coarse = -max_pool2d(-depth_m[None], CELL, stride=CELL, ceil_mode=True)
    return -max_pool2d(-coarse, 3, stride=1, padding=1)[0]


def seen_through_by_scan(points_m: Tensor, scan: Scan, voxel_size_m: float) -> Tensor:
    """(N,) bool: the voxels at (N, 3) ``points_m`` that the sweep's rays pass.

    A voxel is passed when rays in its own cell of a spherical image, and in all neighbouring cells
    that have any, end well behind it.
    """
    pose = torch.as_tensor(scan.T_map_lidar, dtype=torch.float32, device=points_m.device)
    cells = torch.full((AZIMUTH_CELLS * ELEVATION_CELLS,), torch.inf, device=points_m.device)
    cell, distance = spherical_cells(scan.points_m)
    cells.scatter_reduce_(0, cell, distance, "amin")
    image = cells.view(1, ELEVATION_CELLS, AZIMUTH_CELLS)
    around = torch.cat([image[..., -1:], image, image[..., :1]], dim=2)  # azimuth wraps
    nearest = -max_pool2d(-around, 3, stride=1, padding=(1, 0))
    cell, distance = spherical_cells((points_m - pose[:3, 3]) @ pose[:3, :3])
    measured = image.flatten()[cell].isfinite()
    margin = (0.05 * distance).clamp(min=2.0 * voxel_size_m)
    return measured & (distance + margin < nearest.flatten()[cell])


def spherical_cells(points_m: Tensor) -> tuple[Tensor, Tensor]:
    """Cell (N,) int64 of the spherical image and range (N,) of (N, 3) points in the sensor's frame."""
    distance = points_m.norm(dim=1)
    azimuth = torch.atan2(points_m[:, 1], points_m[:, 0])
    elevation = torch.asin((points_m[:, 2] / distance.clamp(min=1e-6)).clamp(-1.0, 1.0))
    column = ((azimuth / (2 * math.pi) + 0.5) * AZIMUTH_CELLS).long().clamp(0, AZIMUTH_CELLS - 1)
    row = ((elevation / math.pi + 0.5) * ELEVATION_CELLS).long().clamp(0, ELEVATION_CELLS - 1)
    return row * AZIMUTH_CELLS + column, distance


def chunks_in_view(center_m: Tensor, half_diagonal_m: float, frame: Frame, far_m: float) -> Tensor:
    """(C,) bool: chunks with (C, 3) centres that touch the camera's view up to ``far_m``."""
    pose = torch.as_tensor(frame.T_map_camera, dtype=torch.float32, device=center_m.device)
    local = (center_m - pose[:3, 3]) @ pose[:3, :3]
    x, y, z = local.unbind(1)
    camera, slack = frame.camera, half_diagonal_m
    # Distance to each side plane of the view, positive inside.
    inside = (z > -slack) & (z < far_m + slack)
    for side, focal, low, high in (
        (x, camera.fx, -0.5 - camera.cx, camera.width - 0.5 - camera.cx),
        (y, camera.fy, -0.5 - camera.cy, camera.height - 0.5 - camera.cy),
    ):
        inside &= (side * focal - low * z) > -slack * math.hypot(focal, low)
        inside &= (high * z - side * focal) > -slack * math.hypot(focal, high)
    return inside
