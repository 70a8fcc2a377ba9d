"""RVL, the depth compression of compressed_depth_image_transport's ``rvl`` variant.

Wilson, "Fast Lossless Depth Image Compression", ISS 2017: runs of zeros and of other values in
turn, values as differences to the last one, all numbers cut into groups of three bits.
"""

from __future__ import annotations

import numpy as np

from ws3d_ros.sensors.errors import SensorError
from ws3d_ros.sensors.raster import Array, check_size


def decode_rvl(content: Array) -> Array:
    """(H, W) uint16 of (L,) uint8: width and height as int32, then the code.

    Raises:
        SensorError: ``truncated``, ``bad_size`` or ``corrupt``.
    """
    if content.size < 8:
        raise SensorError("truncated", f"RVL depth of {content.size} bytes holds no image; check the driver")
    width, height = (int(value) for value in content[:8].view("<i4"))
    check_size(height, width)
    numbers = _numbers(content[8:])
    runs = _runs(numbers, height * width)
    # The image is made only now that its runs are known to fill it.
    pixels = np.zeros(height * width, np.uint16)
    deltas = np.zeros(height * width, np.int64)
    at = 0
    kept = []
    for zeros, start, nonzeros in runs:
        at += zeros
        deltas[at : at + nonzeros] = numbers[start : start + nonzeros]
        kept.append((at, at + nonzeros))
        at += nonzeros
    # Signs are folded into the lowest bit.
    values = np.cumsum((deltas >> 1) ^ -(deltas & 1)).astype(np.uint16)
    for begin, end in kept:
        pixels[begin:end] = values[begin:end]
    return pixels.reshape(height, width)


def _numbers(code: Array) -> Array:
    """All numbers of the code, int64. A group with its highest bit set is followed by more of its number."""
    words = code[: code.size // 4 * 4].view("<u4")
    nibbles = (words[:, None] >> np.arange(28, -1, -4, dtype=np.uint32) & 0xF).ravel().astype(np.int64)
    ends = np.flatnonzero(nibbles < 8)
    if ends.size == 0:
        return np.zeros(0, np.int64)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 11:  # 32 bits
        raise _corrupt()
    nibbles = nibbles[: ends[-1] + 1]
    place = np.arange(nibbles.size) - np.repeat(starts, lengths)
    return np.add.reduceat((nibbles & 7) << (3 * place), starts)


def _runs(numbers: Array, pixels: int) -> list[tuple[int, int, int]]:
    """(zeros, index of the first value, values) until the image is full."""
    runs = []
    at = filled = 0
    while filled < pixels:
        if at + 2 > numbers.size:
            raise _corrupt()
        zeros, nonzeros = int(numbers[at]), int(numbers[at + 1])
        filled += zeros + nonzeros
        if filled > pixels or at + 2 + nonzeros > numbers.size:
            raise _corrupt()
        runs.append((zeros, at + 2, nonzeros))
        at += 2 + nonzeros
    return runs


def _corrupt() -> SensorError:
    return SensorError(
        "corrupt", "the RVL depth does not fill its image; it was damaged on its way or by the driver"
    )
