"""Points of one measurement to one row a voxel: means of position, normal and colour, and evidence.

Depth images are thinned first: a pixel is kept only as often as its voxel still gets about
``PIXELS_PER_SIDE``² of them, so near surfaces, which have most of the pixels, cost no more than far
ones. benchmarks/fusion.py measures what that costs in accuracy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ws3d_ros.reconstruction.keys import COORDINATE_LIMIT, unique_cells
from ws3d_ros.reconstruction.range_image import RangeImage
from ws3d_ros.sensors.frame import FloatArray, Frame, Pinhole, Scan

PIXELS_PER_SIDE = 2
"""Pixels kept along the side of a voxel that faces the camera."""
HALF_TRUST_M = 2.5
"""Distance at which a pixel of a depth camera counts half."""
SCAN_HALF_TRUST_M = 60.0
"""Range at which a LiDAR return counts half. Near by it counts as much as a pixel that faces its surface."""
GRAZING_COSINE = 0.1
"""Least cosine of the viewing angle in a weight; normals cannot tell steeper ones apart."""
UNKNOWN_COSINE = 0.3
"""Stands for the cosine where there is no normal: edges and specks."""

_FLYING_STEP = 2  # pixels; the smear at a depth edge is one or two pixels wide
_FLYING_JUMP = 0.03  # of the depth, at least
_FLYING_SLOPE = 11.4  # tangent of 85 degrees: surfaces up to there are no smear
_STEEPEST = 4.0  # tangent of the steepest surface that gets a normal; beyond, it is an edge
_COARSEST = 16  # pixels; no grid is coarser, however near the surface
_NORMAL_REACH = 0.5  # voxels to the neighbours from which a normal is taken
_FARTHEST = 16  # pixels to these neighbours


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
    depth_m, camera = frame.depth_m, frame.camera
    v, u = pick_pixels(depth_m, camera, voxel_size_m, min_depth_m, max_depth_m)
    flying = is_flying(depth_m, camera, v, u)
    v, u = v[~flying], u[~flying]
    z = depth_m[v, u]
    step = (_NORMAL_REACH * voxel_size_m * camera.fx / z).clamp(1, _FARTHEST).round().long()
    normal = normals(depth_m, camera, v, u, step)
    point = unproject(camera, v, u, z)
    cosine = -(normal * point).sum(-1) / point.norm(dim=-1)
    cosine = torch.where(cosine == 0, UNKNOWN_COSINE, cosine.clamp(min=GRAZING_COSINE))
    weight = cosine / (1 + (z / HALF_TRUST_M) ** 2)
    color = None if frame.color is None else frame.color[v, u].float()
    return reduce(point, normal, color, weight, frame.T_map_camera, voxel_size_m)


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
    """Rows and columns, (N,) int64 each, of the pixels to use.

    A pixel on a grid of 2^k pixels is kept where a voxel at its depth is at least
    ``PIXELS_PER_SIDE`` · 2^k pixels wide; without this, every valid pixel would do the same work.
    """
    wide = voxel_size_m * camera.fx / PIXELS_PER_SIDE  # pixels of a grid cell, times depth
    finest = min(_COARSEST, 2 ** max(0, math.floor(math.log2(wide / max_depth_m))))
    z = depth_m[::finest, ::finest]
    grid = _grid(z.shape[0], z.shape[1], _COARSEST // finest).to(z.device) * finest
    # The widest grid that is fine enough is in (wide/2z, wide/z]; this pixel's is at least that.
    kept = (z >= min_depth_m) & (z <= max_depth_m) & ((grid * z > wide / 2) | (grid == _COARSEST))
    v, u = kept.nonzero().unbind(-1)
    return v * finest, u * finest


@lru_cache(maxsize=8)
def _grid(height: int, width: int, coarsest: int) -> Tensor:
    """(height, width) float32: the widest grid, a power of two up to ``coarsest``, that holds a pixel."""
    grid = torch.ones(height, width)
    step = 2
    while step <= coarsest:
        grid[::step, ::step] = step
        step *= 2
    return grid


def is_flying(depth_m: Tensor, camera: Pinhole, v: Tensor, u: Tensor) -> Tensor:
    """(N,) bool: the pixel hangs between a near and a far surface and belongs to neither."""
    z = depth_m[v, u]
    jump = max(_FLYING_JUMP, _FLYING_SLOPE * _FLYING_STEP / camera.fx) * z
    flying = torch.zeros_like(z, dtype=torch.bool)
    for dv, du in ((0, _FLYING_STEP), (_FLYING_STEP, 0)):
        (one, one_valid), (other, other_valid) = (
            _neighbour(depth_m, v + sign * dv, u + sign * du) for sign in (1, -1)
        )
        one, other = one - z, other - z
        between = (one * other < 0) & (one.abs() > jump) & (other.abs() > jump)
        flying |= between & one_valid & other_valid
    return flying


def normals(depth_m: Tensor, camera: Pinhole, v: Tensor, u: Tensor, step: Tensor) -> Tensor:
    """(N, 3) float32 unit normals in the camera frame, towards the camera; 0 where unknown.

    Cross product of the differences to the neighbours ``step`` pixels (N,) away along rows and
    columns, leaving out those across a depth edge.
    """
    z = depth_m[v, u]
    centre = unproject(camera, v, u, z)
    farthest = _STEEPEST * step * z / camera.fx + 0.01 * z
    tangents = []
    for dv, du in ((0, step), (step, 0)):
        tangent = torch.zeros_like(centre)
        for sign in (1, -1):
            row, column = v + sign * dv, u + sign * du
            depth, valid = _neighbour(depth_m, row, column)
            same = valid & ((depth - z).abs() < farthest)
            difference = unproject(camera, row, column, depth) - centre
            tangent += sign * difference * same[:, None]
        tangents.append(tangent)
    return facing(torch.linalg.cross(*tangents), centre)


def facing(direction: Tensor, point: Tensor) -> Tensor:
    """Directions as unit vectors towards the origin, from which the points, (N, 3) each, are seen."""
    direction = torch.nn.functional.normalize(direction, dim=-1)
    away = (direction * point).sum(-1, keepdim=True) > 0
    return torch.where(away, -direction, direction)


def _neighbour(depth_m: Tensor, v: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """Depth at these pixels, and whether they lie in the image and are valid."""
    height, width = depth_m.shape
    inside = (v >= 0) & (v < height) & (u >= 0) & (u < width)
    depth = depth_m[v.clamp(0, height - 1), u.clamp(0, width - 1)]
    return depth, inside & (depth > 0)


def unproject(camera: Pinhole, v: Tensor, u: Tensor, z: Tensor) -> Tensor:
    """(N, 3) points in the camera frame of pixels at depth z."""
    return torch.stack([(u - camera.cx) / camera.fx * z, (v - camera.cy) / camera.fy * z, z], dim=-1)


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
    scaled = (point @ pose[:3, :3].T + pose[:3, 3]) / voxel_size_m
    cell = scaled.floor()
    inside = ((cell >= -COORDINATE_LIMIT) & (cell < COORDINATE_LIMIT)).all(dim=-1)
    outside = len(inside) - int(inside.sum())
    if outside:
        scaled, cell, normal, weight = scaled[inside], cell[inside], normal[inside], weight[inside]
        color = None if color is None else color[inside]
    coords, inverse = unique_cells(cell.long())

    def summed(values: Tensor) -> Tensor:
        zeros = values.new_zeros((len(coords), *values.shape[1:]))
        return zeros.index_add_(0, inverse, values)

    total = summed(weight)
    # Positions are averaged within the voxel: small numbers keep their digits far from the origin.
    parts = [scaled - cell, normal] if color is None else [scaled - cell, normal, color]
    means = summed(torch.cat(parts, dim=-1) * weight[:, None]) / total[:, None]
    return Observation(
        coords=coords,
        point_m=(means[:, :3] + coords) * voxel_size_m,
        normal=means[:, 3:6] @ pose[:3, :3].T,
        color=torch.zeros_like(means[:, :3]) if color is None else means[:, 6:],
        weight=total,
        color_weight=torch.zeros_like(total) if color is None else total,
        points=len(scaled),
        outside=outside,
    )
