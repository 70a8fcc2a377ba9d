"""Depth of one camera as another camera would have measured it."""

from __future__ import annotations

import cv2
import numpy as np

from ws3d_ros.sensors.frame import FloatArray, Pinhole


def register_depth(
    depth_m: FloatArray, depth_camera: Pinhole, color_camera: Pinhole, T_color_depth: FloatArray
) -> FloatArray:
    """Depth in the colour camera's pixels, through forward projection with a z-buffer.

    Where the colour camera has finer pixels, depth is refined first (nearest neighbour), so that a
    surface stays closed. Rounding still leaves holes of one pixel: such a hole takes the mean of its
    left and right (else upper and lower) neighbours where these agree within 3 %; what lies behind
    an edge stays invalid. Cameras at the same place (``T_color_depth`` is the identity) need no
    z-buffer: each colour pixel looks its depth up.

    Args:
        depth_m: (H, W) float32 metres, 0 where invalid.
        T_color_depth: (4, 4), points of the depth camera to points of the colour camera.

    Returns:
        (color_camera.height, color_camera.width) float32 metres, 0 where invalid.
    """
    if depth_m.shape != (depth_camera.height, depth_camera.width):
        raise ValueError(
            f"depth is {depth_m.shape}, but its camera {(depth_camera.height, depth_camera.width)}"
        )
    if np.allclose(T_color_depth, np.eye(4), rtol=0.0, atol=1e-6):
        return _look_up(depth_m, depth_camera, color_camera)
    finer = max(color_camera.fx / depth_camera.fx, color_camera.fy / depth_camera.fy)
    if finer > 1.0:
        size = (int(np.ceil(depth_camera.width * finer)), int(np.ceil(depth_camera.height * finer)))
        depth_camera = depth_camera.scaled_to(*size)
        depth_m = np.asarray(cv2.resize(depth_m, size, interpolation=cv2.INTER_NEAREST_EXACT))
    return _fill_single_holes(_project(depth_m, depth_camera, color_camera, T_color_depth))


def _look_up(depth_m: FloatArray, depth_camera: Pinhole, color_camera: Pinhole) -> FloatArray:
    """Nearest depth pixel of each colour pixel, for cameras at the same place."""
    d, c = depth_camera, color_camera
    columns = np.rint((np.arange(c.width) - c.cx) * (d.fx / c.fx) + d.cx).astype(np.int64)
    rows = np.rint((np.arange(c.height) - c.cy) * (d.fy / c.fy) + d.cy).astype(np.int64)
    inside = ((rows >= 0) & (rows < d.height))[:, None] & ((columns >= 0) & (columns < d.width))
    near = depth_m[rows.clip(0, d.height - 1)[:, None], columns.clip(0, d.width - 1)]
    return np.where(inside, near, np.float32(0.0))


def _project(
    depth_m: FloatArray, depth_camera: Pinhole, color_camera: Pinhole, T_color_depth: FloatArray
) -> FloatArray:
    """Nearest of the points that fall on each colour pixel; 0 where none does."""
    v, u = np.nonzero(depth_m > 0)
    z = depth_m[v, u].astype(np.float64)
    x = (u - depth_camera.cx) / depth_camera.fx * z
    y = (v - depth_camera.cy) / depth_camera.fy * z
    x, y, z = T_color_depth[:3, :3] @ np.stack([x, y, z]) + T_color_depth[:3, 3:]
    front = z > 1e-6
    x, y, z = x[front], y[front], z[front]
    column = np.rint(x / z * color_camera.fx + color_camera.cx)
    row = np.rint(y / z * color_camera.fy + color_camera.cy)
    inside = (column >= 0) & (column < color_camera.width) & (row >= 0) & (row < color_camera.height)
    pixel = (row[inside] * color_camera.width + column[inside]).astype(np.int64)
    nearest = np.full(color_camera.height * color_camera.width, np.inf, np.float32)
    np.minimum.at(nearest, pixel, z[inside].astype(np.float32))
    nearest[np.isinf(nearest)] = 0.0
    return nearest.reshape(color_camera.height, color_camera.width)


def _fill_single_holes(depth_m: FloatArray) -> FloatArray:
    framed = np.pad(depth_m, 1)
    filled = depth_m.copy()
    pairs = [
        (framed[:-2, 1:-1], framed[2:, 1:-1]),  # above and below
        (framed[1:-1, :-2], framed[1:-1, 2:]),  # left and right, which win
    ]
    for one, other in pairs:
        nearer = np.minimum(one, other)
        hole = (depth_m == 0) & (nearer > 0) & (np.abs(one - other) <= 0.03 * nearer)
        filled[hole] = (0.5 * (one + other))[hole]
    return filled
