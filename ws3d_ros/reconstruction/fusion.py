"""Points of one measurement to one row a voxel: means of position, normal and colour, and evidence.

Depth images are thinned first: near surfaces, which have most of the pixels, are read on a coarser
grid, such that a voxel that faces the camera still gets ``PIXELS_PER_SIDE``² pixels or a few more.
benchmarks/fusion.py measures what that costs in accuracy.

Points are (N, 3) tensors that lie in memory component by component, which is several times faster.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ws3d_ros.reconstruction.keys import COORDINATE_LIMIT, unique_cells
from ws3d_ros.reconstruction.range_image import RangeImage
from ws3d_ros.sensors.frame import FloatArray, Frame, Pinhole, Scan

PIXELS_PER_SIDE = 2
"""Least number of pixels kept along the side of a voxel that faces the camera."""
STEPS = (1, 2, 3, 4, 6, 8, 12, 16)
"""Grids of pixels, finest first."""
HALF_TRUST_M = 2.5
"""Distance at which a pixel of a depth camera counts half."""
SCAN_HALF_TRUST_M = 60.0
"""Range at which a LiDAR return counts half. Near by it counts as much as a pixel that faces its surface."""
GRAZING_COSINE = 0.1
"""Least cosine of the viewing angle in a weight; normals cannot tell steeper ones apart."""
UNKNOWN_COSINE = 0.3
"""Stands for the cosine where there is no normal: edges and specks."""

_FLYING_JUMP = 0.03  # of the depth, at least
_FLYING_SLOPE = 11.4  # tangent of 85 degrees: surfaces up to there are no smear between two others
_STEEPEST = 4.0  # tangent of the steepest surface that gets a normal; beyond, it is an edge


@dataclass(frozen=True)
class Observation:
    """What one measurement says about M voxels.

    Attributes:
        coords: (M, 3) int64 voxel coordinates, unique.
        point_m, normal, color: (M, 3) float32 weighted means in the map frame; normals not of unit
            length, 0 where unknown; colour RGB 0..255, 0 where ``color_weight`` is 0.
        weight, color_weight: (M,) float32.
        points: number of points that were used.
        outside: number of points beyond the range of keys, not used.
    """

    coords: Tensor
    point_m: Tensor
    normal: Tensor
    color: Tensor
    weight: Tensor
    color_weight: Tensor
    points: int
    outside: int


def observe_frame(frame: Frame, voxel_size_m: float, min_depth_m: float, max_depth_m: float) -> Observation:
    """The voxels that a depth image touches. ``frame.depth_m`` must be there.

    The weight of a pixel is cos(theta) / (1 + (z / z0)²): the noise of depth cameras grows with the
    square of the distance (Khoshelham and Elberink, Sensors 2012) and with the angle.
    """
    assert frame.depth_m is not None
    camera = frame.camera
    pixel, step = pick_pixels(frame.depth_m, camera, voxel_size_m, min_depth_m, max_depth_m)
    z, slope_x, slope_y, flying = read_surface(frame.depth_m, camera, pixel, step)
    solid = (~flying).nonzero()[:, 0]
    pixel, z, slope_x, slope_y = (values.index_select(0, solid) for values in (pixel, z, slope_x, slope_y))
    row = pixel.div(camera.width, rounding_mode="floor")
    x = ((pixel - row * camera.width).float() - camera.cx) / camera.fx
    y = (row.float() - camera.cy) / camera.fy
    point = torch.stack([x * z, y * z, z])

    toward = -(1 + x * slope_x + y * slope_y)
    normal = torch.stack([slope_x, slope_y, toward])
    per_length = normal.square().sum(0).rsqrt()
    known = per_length.isfinite()
    normal = torch.where(known, normal * per_length, 0.0)
    cosine = (per_length / (x * x + y * y + 1).sqrt()).clamp(min=GRAZING_COSINE)
    weight = torch.where(known, cosine, UNKNOWN_COSINE) / (1 + (z / HALF_TRUST_M) ** 2)
    color = None if frame.color is None else frame.color.reshape(-1, 3).index_select(0, pixel).float()
    return reduce(point.T, normal.T, color, weight, frame.T_map_camera, voxel_size_m)


def observe_scan(
    scan: Scan, image: RangeImage, voxel_size_m: float, min_range_m: float, max_range_m: float
) -> Observation:
    """The voxels that a sweep touches; normals from the sweep as an ``image``."""
    range_m = scan.points_m.norm(dim=-1)
    used = (range_m >= min_range_m) & (range_m <= max_range_m)
    point = scan.points_m[used]
    weight = 1 / (1 + (range_m[used] / SCAN_HALF_TRUST_M) ** 2)
    return reduce(point, image.normals(point), None, weight, scan.T_map_lidar, voxel_size_m)


def pick_pixels(
    depth_m: Tensor, camera: Pinhole, voxel_size_m: float, min_depth_m: float, max_depth_m: float
) -> tuple[Tensor, Tensor]:
    """The pixels to use: those of the coarsest grid that is fine enough for their depth.

    The outermost points of a grid are left out, as they lack neighbours.

    Returns:
        pixel: (N,) int64, row * width + column.
        step: (N,) int64, of the pixel's grid.
    """
    height, width = depth_m.shape
    pixels = [torch.zeros(0, dtype=torch.int64, device=depth_m.device)]
    steps = [pixels[0]]
    far_m = max_depth_m * (1 + 1e-6)  # the farthest depth itself is used
    for step, coarser in zip(STEPS, (*STEPS[1:], None), strict=True):
        near_m = min_depth_m
        if coarser is not None:  # it takes over where a voxel is wide enough for it
            near_m = max(near_m, voxel_size_m * camera.fx / (PIXELS_PER_SIDE * coarser))
        if near_m >= far_m:
            continue
        z = depth_m[step : height - step : step, step : width - step : step]
        row, column = ((z >= near_m) & (z < far_m)).nonzero().unbind(-1)
        pixels.append((row + 1) * (step * width) + (column + 1) * step)
        steps.append(torch.full_like(row, step))
        far_m = near_m
    return torch.cat(pixels), torch.cat(steps)


def read_surface(
    depth_m: Tensor, camera: Pinhole, pixel: Tensor, step: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Depth and slope at pixels, (N,), from their neighbours ``step`` pixels away, which lie in the image.

    Returns:
        z: (N,) float32 depth.
        slope_x, slope_y: (N,) float32. With the ray (x, y, 1), the normal of the surface towards the camera
            is (slope_x, slope_y, -(1 + x * slope_x + y * slope_y)); NaN where there is none. It is the
            cross product of the differences to the neighbours, leaving out those across a depth edge.
        flying: (N,) bool, the pixel hangs between a near and a far surface and belongs to neither.
    """
    flat = depth_m.reshape(-1)
    z = flat.index_select(0, pixel)
    flying = torch.zeros_like(z, dtype=torch.bool)
    slopes = []
    for offset, focal in ((step, camera.fx), (step * camera.width, camera.fy)):
        after = flat.index_select(0, pixel + offset) - z
        before = flat.index_select(0, pixel - offset) - z
        per_step = step.float() / focal
        jump = (_FLYING_SLOPE * per_step).clamp(min=_FLYING_JUMP) * z
        least = torch.minimum(after, before)
        # A neighbour without depth differs by -z.
        flying |= (torch.maximum(after, before) > jump) & (least < -jump) & (least > -z)
        edge = (_STEEPEST * per_step + 0.01).clamp(max=0.5) * z
        same_after, same_before = (after.abs() < edge).float(), (before.abs() < edge).float()
        rise = after * same_after - before * same_before
        run = (after + z) * same_after + (before + z) * same_before
        slopes.append(rise / (run * per_step))
    return z, slopes[0], slopes[1], flying


def reduce(
    point: Tensor,
    normal: Tensor,
    color: Tensor | None,
    weight: Tensor,
    T_map_sensor: FloatArray,
    voxel_size_m: float,
) -> Observation:
    """Weighted means over the points of each voxel.

    Args:
        point, normal: (N, 3) float32 in the sensor's frame; color: (N, 3) float32 or None.
        weight: (N,) float32 > 0.
        T_map_sensor: (4, 4).
    """
    pose = torch.as_tensor(T_map_sensor, dtype=torch.float32, device=point.device)
    scaled = (pose[:3, :3] @ point.T + pose[:3, 3:]) / voxel_size_m
    cell = scaled.floor()
    outside = 0
    if cell.numel() and float(cell.abs().max()) >= COORDINATE_LIMIT:
        inside = (cell.abs() < COORDINATE_LIMIT).all(dim=0)
        outside = len(inside) - int(inside.sum())
        scaled, cell, normal, weight = scaled[:, inside], cell[:, inside], normal[inside], weight[inside]
        color = None if color is None else color[inside]
    coords, inverse = unique_cells(cell.long().T)

    # Positions are averaged within the voxel: small numbers keep their digits far from the origin.
    parts = [scaled - cell, normal.T, torch.ones_like(weight)[None]]
    if color is not None:
        parts.append(color.T)
    weighted = torch.cat(parts) * weight
    sums = weighted.new_zeros((len(weighted), len(coords))).index_add_(1, inverse, weighted).T
    total = sums[:, 6]
    means = sums / total[:, None]
    return Observation(
        coords=coords,
        point_m=(means[:, :3] + coords) * voxel_size_m,
        normal=means[:, 3:6] @ pose[:3, :3].T,
        color=torch.zeros_like(means[:, :3]) if color is None else means[:, 7:],
        weight=total,
        color_weight=torch.zeros_like(total) if color is None else total,
        points=len(weight),
        outside=outside,
    )
