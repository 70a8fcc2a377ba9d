"""Depth images of any encoding that ROS drivers send, to metres."""

from __future__ import annotations

import struct

import numpy as np

from ws3d_ros.sensors.errors import SensorError
from ws3d_ros.sensors.frame import FloatArray
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
        _, a, b = _CONFIG_HEADER.unpack_from(content)
        content = content[_CONFIG_HEADER.size :]
    raw = decode_rvl(content) if compression.strip().endswith("rvl") else decompress(content)
    if raw.dtype != np.uint16 or raw.ndim != 2:
        raise SensorError(
            "bad_encoding",
            f"the compressed depth ('{format}') holds {raw.dtype} pixels of shape {raw.shape}, not 16-bit "
            "depth; it may be a colour image: check what the topic carries",
        )
    return _metres_from_inverse(raw, a, b) if encoding == "32FC1" else _metres_from_units(raw, depth_scale)


def unit_problem(depth_m: FloatArray) -> str | None:
    """What is odd about a depth image that looks as if its unit were wrong, or None.

    Robots look at things between a few centimetres and some tens of metres: a median beyond 100 m
    or below 1 cm is more likely metres taken for millimetres, or the other way round.
    """
    valid = depth_m[depth_m > 0]
    if valid.size == 0:
        return None
    median_m = float(np.median(valid))
    if 0.01 <= median_m <= 100.0:
        return None
    return (
        f"half of the depth is {'nearer' if median_m < 1 else 'farther'} than {median_m:.4g} m, so its unit must "
        "be wrong: 32FC1 has to be metres, and for 16UC1 depth_scale is the metres of one unit (0.001 for mm)"
    )


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
            f"the compressed 32FC1 depth has the quantisation parameters {a:g} and {b:g}, which mean nothing; "
            "the publisher is not compressed_depth_image_transport, or the message was damaged",
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
