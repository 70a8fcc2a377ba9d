"""Whatever bytes and headers come, decoders answer with an array or a SensorError."""

from __future__ import annotations

import contextlib
import struct

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ws3d_ros.sensors.cloud import decode_cloud
from ws3d_ros.sensors.depth import decode_compressed_depth, decode_depth
from ws3d_ros.sensors.errors import SensorError
from ws3d_ros.sensors.image import decode_compressed_image, decode_image

UINT32 = st.one_of(st.integers(0, 12), st.integers(0, 2**32 - 1))
COLOR = [
    "rgb8",
    "bgra8",
    "mono16",
    "bgr16",
    "8UC3",
    "yuv422",
    "nv21",
    "bayer_gbrg8",
    "bayer_rggb16",
    "32FC1",
    "?",
]
DEPTH = ["16UC1", "mono16", "32FC1", "rgb8", ""]
PICTURE = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
FILES = [
    bytes(cv2.imencode(kind, pixels)[1].tobytes())
    for kind, pixels in [
        (".png", PICTURE),
        (".jpg", PICTURE),
        (".jpg", PICTURE[..., 0]),
        (".png", PICTURE[..., 0].astype(np.uint16) * 257),
    ]
]


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    """A picture file with some bytes changed, some cut out, and perhaps something behind it."""
    data = bytearray(draw(st.sampled_from(FILES)))
    for _ in range(draw(st.integers(0, 6))):
        data[draw(st.integers(0, min(len(data) - 1, 60) if draw(st.booleans()) else len(data) - 1))] = draw(
            st.integers(0, 255)
        )
    cut = draw(st.integers(0, len(data)))
    return bytes(data[:cut] + data[cut + draw(st.integers(0, 40)) :] + draw(st.binary(max_size=4)))


@given(st.sampled_from(COLOR), UINT32, UINT32, UINT32, st.booleans(), st.binary(max_size=600))
def test_raw_colour(encoding: str, height: int, width: int, step: int, big: bool, data: bytes) -> None:
    with contextlib.suppress(SensorError):
        image = decode_image(encoding, height, width, step, big, data)
        assert image.shape == (height, width, 3)
        assert image.dtype == np.uint8


@given(st.sampled_from(DEPTH), UINT32, UINT32, UINT32, st.booleans(), st.binary(max_size=600))
def test_raw_depth(encoding: str, height: int, width: int, step: int, big: bool, data: bytes) -> None:
    with contextlib.suppress(SensorError):
        depth_m = decode_depth(encoding, height, width, step, big, data)
        assert depth_m.shape == (height, width)
        assert np.isfinite(depth_m).all()
        assert (depth_m >= 0).all()


@given(st.sampled_from(["jpeg", "rgb8; jpeg compressed bgr8", "bayer_rggb8; png"]), damaged_files())
def test_compressed_colour(format: str, data: bytes) -> None:
    with contextlib.suppress(SensorError):
        image = decode_compressed_image(format, data)
        assert image.ndim == 3
        assert image.dtype == np.uint8


@given(
    st.sampled_from([f"{encoding}; compressedDepth {code}" for encoding in DEPTH for code in ("png", "rvl")]),
    st.floats(width=32),
    st.floats(width=32),
    st.one_of(
        damaged_files(),
        st.binary(max_size=100),
        st.builds(
            lambda width, height, code: struct.pack("<ii", width, height) + code,
            st.integers(-1, 20),
            st.integers(-1, 20),
            st.binary(max_size=300),
        ),
    ),
)
def test_compressed_depth(format: str, a: float, b: float, data: bytes) -> None:
    with contextlib.suppress(SensorError):
        depth_m = decode_compressed_depth(format, struct.pack("<iff", 0, a, b) + data)
        assert depth_m.ndim == 2
        assert np.isfinite(depth_m).all()
        assert (depth_m >= 0).all()


fields = st.lists(
    st.tuples(st.sampled_from(["x", "y", "z", "intensity", "rgb"]), UINT32, st.integers(0, 255), UINT32),
    max_size=6,
)
PLAIN = [("x", 0, 7, 1), ("y", 4, 7, 1), ("z", 8, 7, 1)]


@given(
    st.one_of(fields, st.just(PLAIN)), UINT32, UINT32, UINT32, UINT32, st.booleans(), st.binary(max_size=600)
)
def test_clouds(
    layout: list[tuple[str, int, int, int]],
    height: int,
    width: int,
    point_step: int,
    row_step: int,
    big: bool,
    data: bytes,
) -> None:
    with contextlib.suppress(SensorError):
        points, _, _ = decode_cloud(layout, height, width, point_step, row_step, big, data)
        assert points.shape[1] == 3
        assert np.isfinite(points).all()
