"""RVL, the depth compression of compressed_depth_image_transport's ``rvl`` variant.

Wilson, "Fast Lossless Depth Image Compression", ISS 2017: runs of zeros and of other values in
turn, values as differences to the last one, all numbers cut into groups of three bits.
"""

from __future__ import annotations

import numpy as np

from ws3d_ros.sensors.errors import SensorError
from ws3d_ros.sensors.raster import Array, check_size

_MAX_GROUPS = 10
"""Groups in a number of at most 30 bits; runs and differences are far smaller."""

_MAX_PIXELS = 1 << 24
"""Runs of zeros make any number of pixels of few bytes, so the limit is lower than for other images."""


def decode_rvl(content: Array) -> Array:
    """(H, W) uint16 of (L,) uint8: width and height as int32, then the code.

    Raises:
        SensorError: ``truncated``, ``bad_size`` or ``corrupt``.
    """
    if content.size < 8:
        raise SensorError("truncated", f"RVL depth of {content.size} bytes holds no image; check the driver")
    width, height = (int(value) for value in content[:8].view("<i4"))
    check_size(height, width, _MAX_PIXELS)
    numbers = _numbers(content[8:])
    runs = _runs(numbers, height * width)
    # The image is made only now that its runs are known to fill it.
    pixels = np.zeros(height * width, np.uint16)
    deltas = np.concatenate([numbers[start : start + nonzeros] for _, start, nonzeros in runs])
    # Signs are folded into the lowest bit; sums beyond 16 bits wrap.
    values = np.cumsum((deltas >> 1) ^ -(deltas & 1), dtype=np.int32).astype(np.uint16)
    at = used = 0
    for zeros, _, nonzeros in runs:
        at += zeros
        pixels[at : at + nonzeros] = values[used : used + nonzeros]
        at += nonzeros
        used += nonzeros
    return pixels.reshape(height, width)


def _numbers(code: Array) -> Array:
    """All numbers of the code, int32. A group with its highest bit set is followed by more of its number."""
    words = code[: code.size // 4 * 4].reshape(-1, 4)[:, ::-1]
    nibbles = np.stack([words >> 4, words & 0xF], axis=-1).ravel()
    ends = np.flatnonzero(nibbles < 8)
    starts = np.concatenate([[0], ends[:-1] + 1])[: ends.size]
    lengths = ends - starts + 1
    if lengths.max(initial=0) > _MAX_GROUPS:
        raise _corrupt()
    numbers = (nibbles[starts] & 7).astype(np.int32)
    for group in range(1, int(lengths.max(initial=0))):
        longer = np.flatnonzero(lengths > group)
        numbers[longer] |= (nibbles[starts[longer] + group] & 7).astype(np.int32) << 3 * group
    return numbers


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
