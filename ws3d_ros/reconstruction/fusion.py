"""The points of one measurement, and their means over voxels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ws3d_ros.reconstruction.store import OFFSET, pack_keys
from ws3d_ros.sensors.frame import Frame, Pinhole, Scan

HALF_TRUST_M = 3.0
"""Distance at which a depth pixel counts half: a stereo or structured-light sensor's noise grows with z^2."""
SAMPLES_PER_VOXEL_EDGE = 2.0
"""Pixels are skipped as long as a far voxel's edge still gets this many."""
EDGE = 0.03
"""A neighbour whose depth differs by more than this share of z is on another surface."""
GRAZING = 0.1
"""Surfaces seen at a smaller cosine are not measured, only guessed."""
MAX_INDEX = 16_000_000
"""Largest dense index over the bounding box of a measurement; larger boxes are sorted instead."""


@dataclass(frozen=True)
class Points:
    """P points of one measurement in the map frame.

    Attributes:
        position_m: (P, 3) float32.
        normal: (P, 3) float32 unit normals towards the sensor, 0 where unknown.
        color: (P, 3) float32 RGB in 0..255, or None.
        weight: (P,) float32.
    """

    position_m: Tensor
    normal: Tensor
    color: Tensor | None
    weight: Tensor


@dataclass(frozen=True)
class Reduced:
    """One row a voxel, M voxels: keys (M,) and weighted means; ``color`` None as in :class:`Points`."""

    key: Tensor
    position_m: Tensor
    normal: Tensor
    color: Tensor | None
    weight: Tensor


def frame_points(frame: Frame, min_depth_m: float, max_depth_m: float, voxel_size_m: float) -> Points:
    """The surface points of a depth image, flying pixels and grazing ones left out.

    Weights are cos(theta) / (1 + (z / 3 m)^2).
    """
    depth, color = frame.depth_m, frame.color
    assert depth is not None
    step = pixel_step(depth, frame.camera, voxel_size_m, min_depth_m, max_depth_m)
    depth = depth[step // 2 :: step, step // 2 :: step]
    depth = torch.where((depth >= min_depth_m) & (depth <= max_depth_m), depth, 0.0)
    rays = pixel_rays(frame.camera, step).to(depth.device)
    grid = rays * depth[..., None]
    normal, solid = grid_normals(grid, depth)
    cosine = -(normal * normalize(rays, dim=-1)).sum(-1)
    known = normal.abs().sum(-1) > 0
    used = solid & (~known | (cosine > GRAZING))
    weight = torch.where(known, cosine, 0.5) / (1.0 + (depth / HALF_TRUST_M) ** 2)
    pose = torch.as_tensor(frame.T_map_camera, dtype=torch.float32, device=depth.device)
    return Points(
        grid[used] @ pose[:3, :3].T + pose[:3, 3],
        normal[used] @ pose[:3, :3].T,
        None if color is None else color[step // 2 :: step, step // 2 :: step][used].float(),
        weight[used],
    )


def scan_points(scan: Scan, min_range_m: float, max_range_m: float) -> Points:
    """The points of a sweep within the range, each of weight 1; a sweep says nothing of normals."""
    distance = scan.points_m.norm(dim=1)
    points = scan.points_m[(distance >= min_range_m) & (distance <= max_range_m)]
    pose = torch.as_tensor(scan.T_map_lidar, dtype=torch.float32, device=points.device)
    return Points(
        points @ pose[:3, :3].T + pose[:3, 3],
        torch.zeros_like(points),
        None,
        torch.ones(len(points), device=points.device),
    )


def pixel_step(depth: Tensor, camera: Pinhole, voxel_size_m: float, near_m: float, far_m: float) -> int:
    """Every how many pixels are enough, so that voxels at the 90th percentile of depth are still hit.

    More pixels would fall into the same voxels: at 5 cm and 2.5 m, each voxel is 10x10 pixels.
    """
    coarse = depth[::16, ::16]
    coarse = coarse[(coarse >= near_m) & (coarse <= far_m)]
    if len(coarse) == 0:
        return 1
    far = float(coarse.quantile(0.9))
    return max(1, min(8, int(voxel_size_m * camera.fx / far / SAMPLES_PER_VOXEL_EDGE)))


def pixel_rays(camera: Pinhole, step: int) -> Tensor:
    """(H', W', 3) float32 points at depth 1 of every ``step``-th pixel."""
    u = (torch.arange(step // 2, camera.width, step) - camera.cx) / camera.fx
    v = (torch.arange(step // 2, camera.height, step) - camera.cy) / camera.fy
    return torch.stack(
        [u.expand(len(v), -1), v[:, None].expand(-1, len(u)), torch.ones(len(v), len(u))], dim=-1
    )


def grid_normals(grid: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
    """Normals (H, W, 3) of a grid of camera points, facing the camera, 0 where unknown; and solid pixels.

    A side of a pixel counts when its neighbour is on the same surface (depth within 3 %). A pixel
    without any such neighbour to the left or right, or above or below, is a flying pixel between
    two surfaces, or noise: not solid.
    """
    tangent, alike = [], []
    for axis in (1, 0):
        after, before = torch.zeros_like(grid), torch.zeros_like(grid)
        size = grid.shape[axis] - 1
        step = grid.narrow(axis, 1, size) - grid.narrow(axis, 0, size)
        near = torch.minimum(depth.narrow(axis, 1, size), depth.narrow(axis, 0, size))
        same = (near > 0) & (step[..., 2].abs() <= EDGE * near)
        step = torch.where(same[..., None], step, 0.0)
        after.narrow(axis, 0, size).copy_(step)
        before.narrow(axis, 1, size).copy_(step)
        tangent.append(after + before)
        any_side = torch.zeros_like(depth, dtype=torch.bool)
        any_side.narrow(axis, 0, size).logical_or_(same)
        any_side.narrow(axis, 1, size).logical_or_(same)
        alike.append(any_side)
    # x right times y down points away from the camera; the surface faces it.
    normal = normalize(torch.linalg.cross(tangent[1], tangent[0]), dim=-1)
    solid = (depth > 0) & alike[0] & alike[1]
    return torch.where(solid[..., None], normal, 0.0), solid


def reduce(points: Points, voxel_size_m: float) -> tuple[Reduced, int]:
    """Weighted means of the points in each voxel; and how many points lie beyond the map's range."""
    coordinate = torch.floor(points.position_m / voxel_size_m).to(torch.int64)
    inside = (coordinate.abs() < OFFSET).all(dim=1)
    outside = len(coordinate) - int(inside.sum())
    if outside:
        points = Points(
            points.position_m[inside],
            points.normal[inside],
            None if points.color is None else points.color[inside],
            points.weight[inside],
        )
        coordinate = coordinate[inside]
    distinct, which = distinct_voxels(coordinate)
    parts = [points.position_m, points.normal]
    parts += [] if points.color is None else [points.color]
    weighted = torch.cat([*parts, torch.ones_like(points.weight[:, None])], dim=1) * points.weight[:, None]
    total = torch.zeros(len(distinct), weighted.shape[1], device=weighted.device).index_add_(
        0, which, weighted
    )
    weight = total[:, -1]
    mean = total[:, :-1] / weight[:, None]
    return (
        Reduced(
            pack_keys(distinct),
            mean[:, :3],
            mean[:, 3:6],
            None if points.color is None else mean[:, 6:9],
            weight,
        ),
        outside,
    )


def distinct_voxels(coordinate: Tensor) -> tuple[Tensor, Tensor]:
    """(P, 3) coordinates to the (M, 3) distinct ones, ordered, and for each point which one, (P,).

    One measurement spans a small box, where marking cells beats sorting points.
    """
    if len(coordinate) == 0:
        return coordinate, coordinate[:, 0]
    low = coordinate.amin(dim=0)
    nx, ny, nz = (coordinate.amax(dim=0) - low + 1).tolist()
    if nx * ny * nz > MAX_INDEX:
        return torch.unique(coordinate, dim=0, return_inverse=True)
    shifted = coordinate - low
    cell = (shifted[:, 0] * ny + shifted[:, 1]) * nz + shifted[:, 2]
    marked = torch.zeros(nx * ny * nz, dtype=torch.bool, device=cell.device)
    marked[cell] = True
    occupied = torch.nonzero(marked)[:, 0]
    number = torch.empty(nx * ny * nz, dtype=torch.int32, device=cell.device)
    number[occupied] = torch.arange(len(occupied), dtype=torch.int32, device=cell.device)
    distinct = torch.stack([occupied // (ny * nz), occupied // nz % ny, occupied % nz], dim=1) + low
    return distinct, number[cell].to(torch.int64)
