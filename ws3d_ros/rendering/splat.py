"""Views of the map: which voxel does each pixel see?

One pass: every voxel is a square as large as its projection; a pixel keeps the nearest. Depth and
voxel number are packed into one integer, so that the nearest is an atomic minimum.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ws3d_ros.sensors.frame import FloatArray, Pinhole

MAX_RADIUS_PX = 12
"""Splats grow no larger: what is nearer is about to touch the camera."""
DEPTH_STEP_M = 1e-4
"""Depths are compared in steps of 0.1 mm; on a tie the lower voxel number wins."""
EMPTY = torch.iinfo(torch.int64).max


@dataclass(frozen=True)
class Views:
    """B rendered views of H x W pixels.

    Attributes:
        id: (B, H, W) int32 index of the point seen, -1 for none.
        depth_m: (B, H, W) float32 along the optical axis, 0 where nothing is seen.
        color: (B, H, W, 3) float32 as given, 0 where nothing is seen; None if none was given.
        normal: (B, H, W, 3) float32 as given, 0 where nothing is seen; None if none was given.
    """

    id: Tensor
    depth_m: Tensor
    color: Tensor | None
    normal: Tensor | None


def render(
    points_m: Tensor,
    camera: Pinhole,
    T_map_camera: Tensor | FloatArray,
    voxel_size_m: float,
    color: Tensor | None = None,
    normal: Tensor | None = None,
    near_m: float = 0.05,
) -> Views:
    """Renders points as squares of a voxel's size.

    Args:
        points_m: (N, 3) float32 in the map frame.
        camera: of all views.
        T_map_camera: (B, 4, 4) camera points to map points.
        voxel_size_m: edge of the squares.
        color, normal: (N, 3) float32 attributes to look up for each pixel.
        near_m: points nearer than this are not drawn.
    """
    poses = torch.as_tensor(T_map_camera, dtype=torch.float64)
    height, width = camera.height, camera.width
    buffer = torch.full((len(poses), height * width), EMPTY, dtype=torch.int64, device=points_m.device)
    for view, pose in enumerate(poses):
        # Inverted in double precision: maps can be far from their origin.
        inverse = torch.linalg.inv(pose).to(points_m.device, torch.float32)
        splat(points_m @ inverse[:3, :3].T + inverse[:3, 3], camera, voxel_size_m, near_m, buffer[view])
    seen = buffer != EMPTY
    id = torch.where(seen, buffer & 0xFFFFFFFF, -1).to(torch.int32).view(-1, height, width)
    depth = torch.where(seen, (buffer >> 32).to(torch.float32) * DEPTH_STEP_M, 0.0).view(-1, height, width)
    return Views(id, depth, pick(color, id), pick(normal, id))


def splat(local_m: Tensor, camera: Pinhole, voxel_size_m: float, near_m: float, buffer: Tensor) -> None:
    """Draws (N, 3) camera points into a (H * W,) buffer of packed depth and index."""
    z = local_m[:, 2]
    index = torch.nonzero(z > near_m)[:, 0]
    z = z[index]
    u = (local_m[index, 0] / z * camera.fx + camera.cx).round()
    v = (local_m[index, 1] / z * camera.fy + camera.cy).round()
    radius = (0.5 * voxel_size_m * max(camera.fx, camera.fy) / z).round().clamp(max=MAX_RADIUS_PX)
    inside = (u >= -radius) & (u < camera.width + radius) & (v >= -radius) & (v < camera.height + radius)
    index, z, u, v, radius = (values[inside] for values in (index, z, u, v, radius))
    packed = (z / DEPTH_STEP_M).round().to(torch.int64) << 32 | index
    u, v = u.to(torch.int64), v.to(torch.int64)
    for size in range(MAX_RADIUS_PX + 1):
        chosen = radius == size
        if not bool(chosen.any()):
            continue
        offset = torch.arange(-size, size + 1, device=z.device)
        column = (u[chosen, None] + offset)[:, None, :].expand(-1, len(offset), -1)
        line = (v[chosen, None] + offset)[:, :, None].expand(-1, -1, len(offset))
        drawn = (column >= 0) & (column < camera.width) & (line >= 0) & (line < camera.height)
        value = packed[chosen, None, None].expand_as(drawn)
        buffer.scatter_reduce_(0, (line * camera.width + column)[drawn], value[drawn], "amin")


def pick(values: Tensor | None, id: Tensor) -> Tensor | None:
    """(N, 3) attributes of the points seen, (B, H, W, 3), 0 where nothing is seen."""
    if values is None:
        return None
    if len(values) == 0:
        return torch.zeros((*id.shape, 3), dtype=values.dtype, device=id.device)
    picked = values[id.clamp(min=0).long()]
    return torch.where((id >= 0)[..., None], picked, 0.0)
