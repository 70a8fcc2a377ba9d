"""Colour images of any encoding that ROS drivers send, to RGB."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from ws3d_ros.sensors.errors import SensorError
from ws3d_ros.sensors.raster import Array, Buffer, decompress, raw_pixels


def decode_image(
    encoding: str, height: int, width: int, step: int, is_bigendian: bool, data: Buffer
) -> Array:
    """The pixels of a raw image (``sensor_msgs/Image``) as (H, W, 3) uint8 RGB, in memory of its own.

    16-bit values keep their upper byte. Channels without a name (``8UC3``, ``8UC4``) are taken as
    BGR(A), as OpenCV writes them. YUV is ITU-R BT.601 with video range, as cameras send it.

    Raises:
        SensorError: ``bad_encoding``, ``bad_size``, ``bad_step`` or ``truncated``.
    """
    layout = _layout(encoding)
    if height % layout.even_rows or width % layout.even_columns:
        raise SensorError(
            "bad_size",
            f"a '{encoding}' image cannot have {width} x {height} pixels: it shares colour in pairs",
        )
    rows = height * 3 // 2 if layout.planar else height
    dtype = np.dtype("u1") if layout.bytes == 1 else np.dtype(">u2" if is_bigendian else "<u2")
    return _to_rgb(layout, raw_pixels(rows, width, step, layout.channels, dtype, data))


def decode_compressed_image(format: str, data: Buffer) -> Array:
    """The pixels of a JPEG or PNG (``sensor_msgs/CompressedImage``) as (H, W, 3) uint8 RGB.

    Args:
        format: as image_transport writes it, ``jpeg``, ``png`` or ``rgb8; jpeg compressed bgr8``.
            The file itself tells which of the two it is; the encoding before the semicolon tells
            what a single channel means (``bayer_rggb8; png compressed`` is demosaiced).

    Raises:
        SensorError: ``bad_encoding``, ``bad_size``, ``truncated`` or ``corrupt``.
    """
    if "compressedDepth" in format:
        raise SensorError(
            "bad_encoding",
            f"this is compressed depth ('{format}') on a topic for colour; remap it to the depth topic",
        )
    pixels = decompress(data)
    if pixels.ndim == 3:
        return _to_rgb(_LAYOUTS["bgr8" if pixels.shape[2] == 3 else "bgra8"], pixels)
    encoding = format.split(";")[0].strip()
    return _to_rgb(
        _LAYOUTS[encoding if encoding.startswith("bayer") and encoding in _LAYOUTS else "mono8"], pixels
    )


@dataclass(frozen=True)
class _Layout:
    """How an encoding stores its pixels, and the way to RGB. Planar: half as many chroma rows follow."""

    channels: int
    bytes: int
    convert: Callable[[Array], Array]
    even_rows: int = 1
    even_columns: int = 1
    planar: bool = False


def _by(code: int) -> Callable[[Array], Array]:
    return lambda pixels: np.asarray(cv2.cvtColor(pixels, code))


def _demosaic(code: int) -> Callable[[Array], Array]:
    def convert(mosaic: Array) -> Array:
        if min(mosaic.shape[:2]) < 3:
            raise SensorError("bad_size", "a Bayer mosaic needs at least 3 x 3 pixels; check the driver")
        return np.asarray(cv2.cvtColor(mosaic, code))

    return convert


_RGB: Callable[[Array], Array] = np.copy
_GREY = _by(cv2.COLOR_GRAY2RGB)
_BGR, _BGRA, _RGBA = _by(cv2.COLOR_BGR2RGB), _by(cv2.COLOR_BGRA2RGB), _by(cv2.COLOR_RGBA2RGB)
_UYVY, _YUY2 = _by(cv2.COLOR_YUV2RGB_UYVY), _by(cv2.COLOR_YUV2RGB_YUY2)
_NV12, _NV21 = _by(cv2.COLOR_YUV2RGB_NV12), _by(cv2.COLOR_YUV2RGB_NV21)
_BAYER = {
    "rggb": _demosaic(cv2.COLOR_BayerBG2RGB),  # OpenCV names a mosaic by its second row, ROS by its first
    "bggr": _demosaic(cv2.COLOR_BayerRG2RGB),
    "gbrg": _demosaic(cv2.COLOR_BayerGR2RGB),
    "grbg": _demosaic(cv2.COLOR_BayerGB2RGB),
}

_LAYOUTS = {
    "rgb8": _Layout(3, 1, _RGB),
    "bgr8": _Layout(3, 1, _BGR),
    "rgba8": _Layout(4, 1, _RGBA),
    "bgra8": _Layout(4, 1, _BGRA),
    "mono8": _Layout(1, 1, _GREY),
    "mono16": _Layout(1, 2, _GREY),
    "rgb16": _Layout(3, 2, _RGB),
    "bgr16": _Layout(3, 2, _BGR),
    "rgba16": _Layout(4, 2, _RGBA),
    "bgra16": _Layout(4, 2, _BGRA),
    "8UC1": _Layout(1, 1, _GREY),
    "8UC3": _Layout(3, 1, _BGR),
    "8UC4": _Layout(4, 1, _BGRA),
    "16UC1": _Layout(1, 2, _GREY),
    "yuv422": _Layout(2, 1, _UYVY, even_columns=2),
    "uyvy": _Layout(2, 1, _UYVY, even_columns=2),
    "yuv422_yuy2": _Layout(2, 1, _YUY2, even_columns=2),
    "yuyv": _Layout(2, 1, _YUY2, even_columns=2),
    "nv12": _Layout(1, 1, _NV12, even_rows=2, even_columns=2, planar=True),
    "nv21": _Layout(1, 1, _NV21, even_rows=2, even_columns=2, planar=True),
    **{f"bayer_{name}8": _Layout(1, 1, convert) for name, convert in _BAYER.items()},
    **{f"bayer_{name}16": _Layout(1, 2, convert) for name, convert in _BAYER.items()},
}


def _layout(encoding: str) -> _Layout:
    if encoding in _LAYOUTS:
        return _LAYOUTS[encoding]
    if encoding in ("32FC1", "64FC1"):
        raise SensorError(
            "bad_encoding",
            f"this is a depth image ('{encoding}') on a topic for colour; remap it to the depth topic",
        )
    raise SensorError(
        "bad_encoding",
        f"colour images of encoding '{encoding}' are not supported; set the driver to one of "
        f"{', '.join(_LAYOUTS)}",
    )


def _to_rgb(layout: _Layout, pixels: Array) -> Array:
    if pixels.dtype.itemsize == 2:
        pixels = (pixels >> 8).astype(np.uint8)
    return layout.convert(pixels)
