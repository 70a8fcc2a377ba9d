"""Bytes to rows of pixels, raw and compressed. Sizes are checked against the data before use."""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np

from ws3d_ros.sensors.errors import SensorError

Buffer = Any
"""Bytes, bytearray, memoryview, ``array.array('B')`` or a uint8 array: whatever has the buffer protocol."""

Array = np.ndarray
"""A numpy array; shape and dtype are given where it is used."""

MAX_SIDE = 16384
MAX_PIXELS = 1 << 26
"""Images with a longer side or more pixels (8192 x 8192) are refused."""

_PIXELS_PER_BYTE = 1032
"""The most that deflate makes of one byte (RFC 1951); a JPEG of one colour stays below it, too."""

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_JPEG_END = b"\xff\xd9"


def octets(data: Buffer) -> Array:
    """The data as (L,) uint8, without a copy."""
    return np.frombuffer(data, np.uint8)


def check_size(height: int, width: int, most: int = MAX_PIXELS) -> None:
    """Raises SensorError(``bad_size``) for an image without pixels or of an absurd size."""
    if min(height, width) < 1 or max(height, width) > MAX_SIDE or height * width > most:
        raise SensorError(
            "bad_size",
            f"the image says that it is {width} x {height} pixels; "
            "check the driver's resolution and that the topic carries images",
        )


def raw_pixels(
    height: int, width: int, step: int, channels: int, dtype: np.dtype[Any], data: Buffer
) -> Array:
    """A (height, width, channels) view of a raw image whose rows start every ``step`` bytes.

    The last row may lack its padding.

    Raises:
        SensorError: ``bad_size``, ``bad_step`` (rows overlap) or ``truncated`` (too little data).
    """
    check_size(height, width)
    pixel = channels * dtype.itemsize
    if step < width * pixel:
        raise SensorError(
            "bad_step",
            f"a row of {width} pixels of {pixel} bytes takes {width * pixel} bytes, but step says {step}; "
            "the driver fills in the wrong encoding or the wrong step",
        )
    buffer = octets(data)
    needed = step * (height - 1) + width * pixel
    if buffer.size < needed:
        raise SensorError(
            "truncated",
            f"a {width} x {height} image with step {step} needs {needed} bytes, but {buffer.size} came; "
            "check the driver's width, height and step",
        )
    return np.ndarray((height, width, channels), dtype, buffer, strides=(step, pixel, dtype.itemsize))


def decompress(data: Buffer) -> Array:
    """The pixels of a JPEG or PNG file as stored: (H, W) or (H, W, 3 or 4) in BGR(A) order, u8 or u16.

    Raises:
        SensorError: ``bad_encoding`` (neither JPEG nor PNG), ``bad_size``, ``truncated`` or ``corrupt``.
    """
    buffer = octets(data)
    content = buffer.tobytes()
    height, width, end = _read_header(content)
    check_size(height, width)
    if height * width > _PIXELS_PER_BYTE * len(content):
        raise SensorError(
            "bad_size",
            f"{len(content)} bytes cannot hold the {width} x {height} pixels that their header promises; "
            "the message is damaged or was made to do harm",
        )
    try:
        pixels = cv2.imdecode(buffer[:end], cv2.IMREAD_UNCHANGED)
    except cv2.error:
        pixels = None
    if pixels is None or pixels.shape[:2] != (height, width):
        raise SensorError(
            "corrupt", "the compressed image cannot be decoded; it was damaged on its way or by the driver"
        )
    return np.asarray(pixels)


def is_png(data: Buffer) -> bool:
    """Whether the data starts as a PNG file does."""
    return octets(data)[: len(_PNG)].tobytes() == _PNG


def _read_header(content: bytes) -> tuple[int, int, int]:
    """Height, width, and where the image ends."""
    if content.startswith(_PNG):
        return _size_in_png(content)
    if content.startswith(_JPEG):
        # Some drivers pad behind the end marker, so it need not come last.
        if _JPEG_END not in content:
            raise _truncated("JPEG", len(content))
        return *_size_in_jpeg(content), len(content)
    raise SensorError(
        "bad_encoding",
        f"the {len(content)} bytes of the compressed image are neither JPEG nor PNG; "
        "for other formats run 'ros2 run image_transport republish' and listen to its raw output",
    )


def _size_in_png(content: bytes) -> tuple[int, int, int]:
    """Height and width from the first chunk, the end of the last, if all are whole (PNG specification, 5.3).

    OpenCV allocates what a chunk's length says before it looks for the data, and some broken images make
    it read chunks behind the last.
    """
    at = len(_PNG)
    kind = b""
    while kind != b"IEND":
        if at + 12 > len(content):
            raise _truncated("PNG", len(content))
        length, kind = struct.unpack_from(">I4s", content, at)
        at += 12 + length
    if at > len(content):
        raise _truncated("PNG", len(content))
    if content[12:16] != b"IHDR":
        raise SensorError("corrupt", "the PNG has no header; it was damaged on its way or by the driver")
    width, height = struct.unpack_from(">II", content, 16)
    return height, width, at


def _size_in_jpeg(content: bytes) -> tuple[int, int]:
    """Height and width from the start-of-frame segment (ITU-T T.81, B.2.2)."""
    at = 2
    while at + 9 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker < 0xC0 or 0xD0 <= marker <= 0xD9:  # without a length: not allowed before the frame
            break
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", content, at + 5)
            return height, width
        else:
            at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    raise SensorError(
        "corrupt", "the JPEG has no readable header; it was damaged on its way or by the driver"
    )


def _truncated(kind: str, size: int) -> SensorError:
    return SensorError(
        "truncated",
        f"the {kind} image ends before its end marker ({size} bytes came); "
        "the message was cut: check the network and the driver",
    )
