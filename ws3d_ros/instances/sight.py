"""What a measurement says about places: that they are free, that there is a surface, or nothing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ws3d_ros.reconstruction.carving import in_view, seen_through_in_depth, seen_through_in_sweep
from ws3d_ros.reconstruction.range_image import range_image
from ws3d_ros.sensors.frame import Frame, Scan

_NOISE = 0.02  # of the distance: sensors' errors
NEAR_VOXELS = 1.5
"""What is measured so near to a voxel's middle is the voxel's surface."""


@dataclass(frozen=True)
class Sight:
    """Of N places, (N,) bool each; a place of which nothing is true was outside of the view.

    Attributes:
        free: the measurement looks through it.
        surface: there is something at it.
        hidden: it is in view, behind something nearer.
    """

    free: Tensor
    surface: Tensor
    hidden: Tensor


def look(measurement: Frame | Scan, points_m: Tensor, voxel_size_m: float, max_range_m: float) -> Sight:
    """What a depth image or a sweep says about voxels around (N, 3) points in the map frame.

    An image without depth says nothing. Beyond ``max_range_m`` nothing is said.
    """
    if isinstance(measurement, Frame):
        return _look_in_depth(measurement, points_m, voxel_size_m, max_range_m)
    image = range_image(measurement.points_m.to(points_m.device))
    local = _to_sensor(points_m, measurement.T_map_lidar)
    distance = local.norm(dim=1)
    row, column = image.cells(local)
    height, width = image.range_m.shape
    inside = (row >= 0) & (row < height) & (distance <= max_range_m)
    place = row.clamp(0, height - 1).long() * width + column.long() % width
    measured = torch.where(inside, image.range_m.reshape(-1)[place], 0.0)
    free = seen_through_in_sweep(image, local, voxel_size_m) & inside
    return _judged(free, measured, distance, voxel_size_m)


def _look_in_depth(frame: Frame, points_m: Tensor, voxel_size_m: float, max_range_m: float) -> Sight:
    nothing = torch.zeros(len(points_m), dtype=torch.bool, device=points_m.device)
    if frame.depth_m is None:
        return Sight(nothing, nothing, nothing)
    depth_m = frame.depth_m.to(points_m.device)
    camera, local = frame.camera, _to_sensor(points_m, frame.T_map_camera)
    rows = in_view(camera, local, 0.0, max_range_m).nonzero()[:, 0]
    x, y, z = local[rows].unbind(-1)
    z_safe = z.clamp(min=1e-3)
    column = (camera.fx * x / z_safe + camera.cx).round().long().clamp(0, camera.width - 1)
    row = (camera.fy * y / z_safe + camera.cy).round().long().clamp(0, camera.height - 1)
    free = seen_through_in_depth(depth_m, camera, local[rows], voxel_size_m, max_range_m)
    there = _judged(free, depth_m[row, column], z, voxel_size_m)
    return Sight(*(nothing.index_put((rows,), values) for values in vars(there).values()))


def _judged(free: Tensor, measured_m: Tensor, distance_m: Tensor, voxel_size_m: float) -> Sight:
    near = NEAR_VOXELS * voxel_size_m + _NOISE * distance_m
    valid = (measured_m > 0) & ~free
    surface = valid & ((measured_m - distance_m).abs() <= near)
    return Sight(free, surface, valid & (measured_m < distance_m - near))


def _to_sensor(points_m: Tensor, T_map_sensor: object) -> Tensor:
    pose = torch.as_tensor(T_map_sensor, dtype=torch.float64).to(points_m.device)
    return ((points_m.double() - pose[:3, 3]) @ pose[:3, :3]).float()
