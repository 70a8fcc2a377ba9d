"""Depth images of any encoding that ROS drivers send, to metres; depth in another camera's pixels."""

from __future__ import annotations

import struct

import cv2
import numpy as np

from ws3d_ros.sensors.errors import SensorError
from ws3d_ros.sensors.frame import FloatArray, Pinhole
from ws3d_ros.sensors.raster import Array, Buffer, decompress, is_png, octets, raw_pixels
from ws3d_ros.sensors.rvl import decode_rvl

_CONFIG_HEADER = struct.Struct("<iff")
"""What compressed_depth_image_transport puts before the image: a format number and two parameters."""


def decode_depth(
    encoding: str,
    height: int,
    width: int,
    step: int,
    is_bigendian: bool,
    data: Buffer,
    depth_scale: float = 0.001,
) -> FloatArray:
    """A raw depth image (``sensor_msgs/Image``) as (H, W) float32 metres, 0 where invalid.

    Args:
        encoding: ``16UC1`` or ``mono16`` (units of ``depth_scale`` metres) or ``32FC1`` (metres).
        depth_scale: metres for one unit of 16-bit depth.

    Raises:
        SensorError: ``bad_encoding``, ``bad_size``, ``bad_step`` or ``truncated``.
    """
    order = ">" if is_bigendian else "<"
    if encoding in ("16UC1", "mono16"):
        raw = raw_pixels(height, width, step, 1, np.dtype(f"{order}u2"), data)[..., 0]
        return _metres_from_units(raw, depth_scale)
    if encoding == "32FC1":
        return _valid(raw_pixels(height, width, step, 1, np.dtype(f"{order}f4"), data)[..., 0])
    raise _bad_encoding(encoding)


def decode_compressed_depth(format: str, data: Buffer, depth_scale: float = 0.001) -> FloatArray:
    """Depth of compressed_depth_image_transport as (H, W) float32 metres, 0 where invalid.

    ``16UC1`` is stored as it is. ``32FC1`` is stored as quantised inverse depth: a raw value r > 0
    means A / (r - B) metres, A and B standing in the header. A 16-bit PNG without the header, as
    the ``compressed`` transport makes of ``16UC1``, is read, too.

    Args:
        format: e.g. ``16UC1; compressedDepth png`` or ``32FC1; compressedDepth rvl``.
        depth_scale: metres for one unit of ``16UC1``.

    Raises:
        SensorError: ``bad_encoding``, ``bad_size``, ``truncated`` or ``corrupt``.
    """
    encoding, _, compression = format.partition(";")
    encoding = encoding.strip()
    if encoding not in ("16UC1", "mono16", "32FC1"):
        raise _bad_encoding(format)
    content = octets(data)
    a, b = 0.0, 0.0
    if not is_png(content):
        if content.size <= _CONFIG_HEADER.size:
            raise SensorError(
                "truncated", f"compressed depth of {content.size} bytes holds no image; check the driver"
            )
        _, a, b = _CONFIG_HEADER.unpack(content[: _CONFIG_HEADER.size].tobytes())
        content = content[_CONFIG_HEADER.size :]
    raw = decode_rvl(content) if compression.strip().endswith("rvl") else decompress(content)
    if raw.dtype != np.uint16 or raw.ndim != 2:
        raise SensorError(
            "bad_encoding",
            f"the compressed depth ('{format}') holds {raw.dtype} pixels of shape {raw.shape}, not 16-bit "
            "depth; it may be a colour image: check what the topic carries",
        )
    return _metres_from_inverse(raw, a, b) if encoding == "32FC1" else _metres_from_units(raw, depth_scale)


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


def _valid(depth_m: FloatArray) -> FloatArray:
    depth_m = depth_m.astype(np.float32)
    depth_m[~(np.isfinite(depth_m) & (depth_m > 0))] = 0.0
    return depth_m


def _metres_from_units(raw: Array, depth_scale: float) -> FloatArray:
    return raw.astype(np.float32) * np.float32(depth_scale)


def _metres_from_inverse(raw: Array, a: float, b: float) -> FloatArray:
    if not (np.isfinite(a) and np.isfinite(b) and a > 0):
        raise SensorError(
            "corrupt",
            f"the compressed 32FC1 depth has the quantisation parameters {a:g} and {b:g}, which mean "
            "nothing; the publisher is not compressed_depth_image_transport, or the message was damaged",
        )
    with np.errstate(divide="ignore", over="ignore"):
        depth_m = np.float32(a) / (raw.astype(np.float32) - np.float32(b))
    return _valid(np.where(raw > 0, depth_m, 0.0))


def _bad_encoding(encoding: str) -> SensorError:
    return SensorError(
        "bad_encoding",
        f"depth of encoding '{encoding}' is not supported; it must be 16UC1 (millimetres, see depth_scale) "
        "or 32FC1 (metres), raw or as compressedDepth. Is this the topic of a colour image?",
    )


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
    T = T_color_depth.astype(np.float32)
    a = ((np.arange(depth_camera.width) - depth_camera.cx) / depth_camera.fx).astype(np.float32)
    b = ((np.arange(depth_camera.height) - depth_camera.cy) / depth_camera.fy).astype(np.float32)[:, None]
    # A pixel's ray is (a, b, 1), so that its turned point is a sum of a row, a column and a constant.
    x, y, z = (depth_m * ((T[i, 0] * a + T[i, 2]) + T[i, 1] * b) + T[i, 3] for i in range(3))
    with np.errstate(divide="ignore", invalid="ignore"):
        column = np.rint(x / z * np.float32(color_camera.fx) + np.float32(color_camera.cx))
        row = np.rint(y / z * np.float32(color_camera.fy) + np.float32(color_camera.cy))
    hits = (depth_m > 0) & (z > 1e-6)
    hits &= (column >= 0) & (column < color_camera.width) & (row >= 0) & (row < color_camera.height)
    pixel = row[hits].astype(np.intp) * color_camera.width + column[hits].astype(np.intp)
    nearest = np.full(color_camera.height * color_camera.width, np.inf, np.float32)
    np.minimum.at(nearest, pixel, z[hits])
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
