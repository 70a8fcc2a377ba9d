"""Which point does each pixel see: a z-buffered splat.

Every point is a square that faces the camera, as wide as its voxel looks. Distance and number of
a point are packed into one integer, so that a minimum over integers is the depth test. Squares
are not drawn pixel by pixel: points are written once, largest squares first, and between sizes the
whole image is dilated by one pixel. The cost is that of the points in view plus that of the image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ws3d_ros.sensors.frame import Pinhole

MAX_RADIUS = 16
"""Pixels; no square is wider than 2 * 16 + 1."""
DEPTH_STEP_M = 2.0**-13
"""Depths are rounded to this, 0.12 mm; of equally deep points the first is seen."""

_NOTHING = (1 << 63) - 1


@dataclass(frozen=True)
class Views:
    """B images of a set of N points.

    Attributes:
        id: (B, H, W) int32, which point a pixel sees; -1 where none.
        depth_m: (B, H, W) float32 distance along the optical axis; 0 where none. Where the point has
            a normal: of the plane through the point, at the pixel; otherwise of the point.
        color: (B, H, W, 3) of the points' type, 0 where none; None if the points have no colours.
        normal: (B, H, W, 3) float32 in the map frame, 0 where none; None if the points have none.
    """

    id: Tensor
    depth_m: Tensor
    color: Tensor | None
    normal: Tensor | None


@torch.no_grad()
def render(
    points_m: Tensor,
    camera: Pinhole,
    T_map_camera: Tensor,
    voxel_size_m: float,
    color: Tensor | None = None,
    normal: Tensor | None = None,
    near_m: float = 0.1,
) -> Views:
    """Views of points from several places.

    Args:
        points_m: (N, 3) float32 in the map frame.
        camera: its width and height are those of the views.
        T_map_camera: (B, 4, 4) or (4, 4) array or tensor.
        voxel_size_m: edge of the square that a point stands for.
        color: (N, 3), any type. normal: (N, 3) float32.
        near_m: points nearer than this are not drawn.

    Raises:
        ValueError: for more than 2^31 - 1 points.
    """
    if len(points_m) >= 1 << 31:
        raise ValueError(f"{len(points_m)} points are too many for 32-bit numbers")
    poses = torch.as_tensor(T_map_camera, dtype=torch.float32, device=points_m.device).reshape(-1, 4, 4)
    height, width = camera.height + 2 * MAX_RADIUS, camera.width + 2 * MAX_RADIUS
    image = torch.full((len(poses), height, width), _NOTHING, device=points_m.device)
    for view, pose in zip(image, poses, strict=True):
        _splat(view, points_m, camera, pose, voxel_size_m, near_m)
    seen = image[:, MAX_RADIUS:-MAX_RADIUS, MAX_RADIUS:-MAX_RADIUS]
    empty = seen == _NOTHING
    number = torch.where(empty, 0, seen & 0xFFFFFFFF)
    depth_m = torch.where(empty, 0.0, (seen >> 32) * DEPTH_STEP_M)
    shown_color = None if color is None else _pick(color, number, empty)
    shown_normal = None
    if normal is not None:
        shown_normal = _pick(normal, number, empty)
        offset_m = _pick((points_m * normal).sum(-1), number, empty)
        depth_m = _on_plane(depth_m, shown_normal, offset_m, camera, poses, 2 * voxel_size_m)
    return Views(torch.where(empty, -1, number).int(), depth_m, shown_color, shown_normal)


def _splat(
    image: Tensor, points_m: Tensor, camera: Pinhole, pose: Tensor, voxel_size_m: float, near_m: float
) -> None:
    """Draws the points into one image of packed depths and numbers, with MAX_RADIUS pixels around it."""
    x, y, z = ((points_m - pose[:3, 3]) @ pose[:3, :3]).unbind(-1)
    column = torch.round(x / z * camera.fx + camera.cx) + MAX_RADIUS
    row = torch.round(y / z * camera.fy + camera.cy) + MAX_RADIUS
    drawn = (z >= near_m) & (column >= 0) & (column < image.shape[1]) & (row >= 0) & (row < image.shape[0])
    number = drawn.nonzero()[:, 0]
    z = z[number]
    place = row[number].long() * image.shape[1] + column[number].long()
    packed = (z / DEPTH_STEP_M).round().long() << 32 | number
    radius = (0.5 * max(camera.fx, camera.fy) * voxel_size_m / z + 0.5).long().clamp(max=MAX_RADIUS)
    by_radius = radius.argsort()
    place, packed = place[by_radius], packed[by_radius]
    ends = torch.bincount(radius, minlength=MAX_RADIUS + 1).cumsum(0).tolist()
    flat = image.view(-1)
    for size in range(MAX_RADIUS, -1, -1):
        group = slice(ends[size - 1] if size else 0, ends[size])
        flat.scatter_reduce_(0, place[group], packed[group], "amin")
        if size and ends[-1] > group.start:
            _dilate(image)


def _dilate(image: Tensor) -> None:
    """Each pixel becomes the least of the 3x3 around it."""
    for axis in (0, 1):
        lines = image.transpose(0, axis)
        before = lines.clone()
        torch.minimum(lines[1:], before[:-1], out=lines[1:])
        torch.minimum(lines[:-1], before[1:], out=lines[:-1])


def _pick(values: Tensor, number: Tensor, empty: Tensor) -> Tensor:
    """Values, (N, ...), of the points that the pixels see; 0 where they see none."""
    if len(values) == 0:
        return values.new_zeros((*number.shape, *values.shape[1:]))
    picked = values.index_select(0, number.flatten())
    picked[empty.flatten()] = 0
    return picked.view(*number.shape, *values.shape[1:])


def _on_plane(
    depth_m: Tensor, normal: Tensor, offset_m: Tensor, camera: Pinhole, poses: Tensor, reach_m: float
) -> Tensor:
    """Depth at which each pixel's ray meets the plane ``normal . x = offset_m`` of the point that it sees.

    A square shows one depth where a tilted surface has many, and of overlapping squares the nearest
    wins: without this, surfaces would come out nearer by up to a voxel. It moves depth by ``reach_m``
    at most, as planes seen edge-on may be met anywhere.
    """
    u = (torch.arange(camera.width, device=depth_m.device) - camera.cx) / camera.fx
    v = (torch.arange(camera.height, device=depth_m.device) - camera.cy) / camera.fy
    # Rows of [R | t]: the normal in the camera's frame, and how far along it the camera is.
    x, y, z, eye_m = (normal.flatten(1, 2) @ poses[:, :3]).view(*depth_m.shape, 4).unbind(-1)
    met = (offset_m - eye_m) / (x * u + y * v[:, None] + z)
    moved = torch.minimum(torch.maximum(met, depth_m - reach_m), depth_m + reach_m)
    return torch.where(met.isfinite() & (depth_m > 0), moved, depth_m)
