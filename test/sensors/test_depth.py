"""Depth of every encoding is metres, and lands in the colour camera's pixels."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ws3d_ros.sensors.depth import decode_compressed_depth, decode_depth, register_depth
from ws3d_ros.sensors.errors import SensorError
from ws3d_ros.sensors.frame import Pinhole
from ws3d_ros.sensors.rigid import pose_matrix

HEIGHT, WIDTH = 5, 7
RNG = np.random.default_rng(0)
UNITS = RNG.integers(0, 65536, (HEIGHT, WIDTH), dtype=np.uint16)
UNITS[0, :3] = (0, 1, 65535)
METRES = RNG.uniform(0.1, 9, (HEIGHT, WIDTH)).astype(np.float32)
METRES[0, :6] = (np.nan, np.inf, -np.inf, -1.0, 0.0, 3.5)
VALID = np.where(np.isfinite(METRES) & (METRES > 0), METRES, 0)


def message(pixels: np.ndarray, padding: int, big_endian: bool) -> tuple[int, bytes]:
    rows = pixels.astype(pixels.dtype.newbyteorder(">" if big_endian else "<")).view(np.uint8)
    return rows.shape[1] + padding, np.pad(rows, ((0, 0), (0, padding)), constant_values=0xAB).tobytes()


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("encoding", ["16UC1", "mono16"])
def test_16_bit_depth(encoding: str, padding: int, big_endian: bool) -> None:
    step, data = message(UNITS, padding, big_endian)
    found = decode_depth(encoding, HEIGHT, WIDTH, step, big_endian, data)
    assert found.dtype == np.float32
    # 1e-7: float32.
    np.testing.assert_allclose(found, UNITS / 1000, rtol=1e-7)
    found = decode_depth(encoding, HEIGHT, WIDTH, step, big_endian, data, depth_scale=0.00025)
    np.testing.assert_allclose(found, UNITS / 4000, rtol=1e-7)


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("padding", [0, 6])
def test_32_bit_depth_is_zero_where_invalid(padding: int, big_endian: bool) -> None:
    step, data = message(METRES, padding, big_endian)
    found = decode_depth("32FC1", HEIGHT, WIDTH, step, big_endian, data)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, VALID)


def png(units: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".png", units)[1].tobytes())


def rvl(units: np.ndarray) -> bytes:
    """The encoder of Wilson 2017, number by number, with the size before it as ROS writes it."""
    nibbles: list[int] = []

    def put(number: int) -> None:
        while number >= 8:
            nibbles.append(number & 7 | 8)
            number >>= 3
        nibbles.append(number)

    values = units.ravel().tolist()
    at = previous = 0
    while at < len(values):
        zeros = at
        while at < len(values) and values[at] == 0:
            at += 1
        put(at - zeros)
        start = at
        while at < len(values) and values[at] != 0:
            at += 1
        put(at - start)
        for value in values[start:at]:
            delta = value - previous
            put(2 * delta if delta >= 0 else -2 * delta - 1)
            previous = value
    nibbles += [0] * (-len(nibbles) % 8)
    words = [
        int("".join(f"{nibble:x}" for nibble in nibbles[i : i + 8]), 16) for i in range(0, len(nibbles), 8)
    ]
    return struct.pack("<ii", units.shape[1], units.shape[0]) + struct.pack(f"<{len(words)}I", *words)


CODES = {"png": png, "rvl": rvl}
NO_QUANTISATION = struct.pack("<iff", 0, 0.0, 0.0)


@pytest.mark.parametrize("code", CODES)
def test_compressed_16_bit_depth_is_exact(code: str) -> None:
    data = NO_QUANTISATION + CODES[code](UNITS)
    found = decode_compressed_depth(f"16UC1; compressedDepth {code}", data)
    np.testing.assert_allclose(found, UNITS / 1000, rtol=1e-7)


@pytest.mark.parametrize("format", ["16UC1; compressedDepth", "16UC1", "mono16; compressedDepth png"])
def test_older_format_strings_mean_png(format: str) -> None:
    np.testing.assert_allclose(
        decode_compressed_depth(format, NO_QUANTISATION + png(UNITS), 0.002), UNITS / 500, rtol=1e-7
    )


def test_a_16_bit_png_without_the_header_is_read() -> None:
    found = decode_compressed_depth("16UC1; png compressed ", png(UNITS))
    np.testing.assert_allclose(found, UNITS / 1000, rtol=1e-7)


@pytest.mark.parametrize("code", CODES)
def test_compressed_32_bit_depth_within_its_quantisation(code: str) -> None:
    """The publisher's defaults: depth_quantization 100, depth_max 10."""
    a = 100.0 * 101.0
    b = 1.0 - a / 10.0
    with np.errstate(divide="ignore"):
        raw = np.where(VALID > 0, a / VALID + b, 0).astype(np.uint16)
    data = struct.pack("<iff", 0, a, b) + CODES[code](raw)
    found = decode_compressed_depth(f"32FC1; compressedDepth {code}", data)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found == 0, VALID == 0)
    # The publisher truncates by up to one step of inverse depth, 1 / a.
    step_m = VALID**2 / a
    assert (np.abs(found - VALID) <= 1.1 * step_m).all()


@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.integers(1, 12), st.integers(1, 12))
def test_rvl_round_trip(seed: int, share_of_zeros: float, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    units = rng.integers(0, 65536, (height, width), dtype=np.uint16)
    units[rng.random(units.shape) < share_of_zeros] = 0
    found = decode_compressed_depth("16UC1; compressedDepth rvl", NO_QUANTISATION + rvl(units), 1.0)
    np.testing.assert_array_equal(found, units)


@pytest.mark.parametrize(
    ("reason", "format", "data"),
    [
        ("bad_encoding", "", NO_QUANTISATION + png(UNITS)),
        ("bad_encoding", "rgb8; jpeg compressed bgr8", NO_QUANTISATION + png(UNITS)),
        ("bad_encoding", "16UC1; compressedDepth png", NO_QUANTISATION + b"neither"),
        ("bad_encoding", "16UC1; compressedDepth png", NO_QUANTISATION + png(UNITS.astype(np.uint8))),
        ("bad_encoding", "16UC1; compressedDepth png", NO_QUANTISATION + png(np.zeros((4, 4, 3), np.uint8))),
        ("truncated", "16UC1; compressedDepth png", b""),
        ("truncated", "16UC1; compressedDepth png", NO_QUANTISATION),
        ("truncated", "16UC1; compressedDepth png", NO_QUANTISATION + png(UNITS)[:-20]),
        ("truncated", "16UC1; compressedDepth rvl", NO_QUANTISATION + bytes(7)),
        ("corrupt", "16UC1; compressedDepth rvl", NO_QUANTISATION + rvl(UNITS)[:-8]),
        (
            "corrupt",
            "16UC1; compressedDepth rvl",
            NO_QUANTISATION + struct.pack("<ii", 4000, 4000) + bytes(8),
        ),
        ("corrupt", "16UC1; compressedDepth rvl", NO_QUANTISATION + struct.pack("<ii", 4, 4) + b"\xff" * 40),
        ("bad_size", "16UC1; compressedDepth rvl", NO_QUANTISATION + struct.pack("<ii", -1, 4) + bytes(40)),
        (
            "bad_size",
            "16UC1; compressedDepth rvl",
            NO_QUANTISATION + struct.pack("<ii", 8000, 8000) + bytes(40),
        ),
        ("corrupt", "32FC1; compressedDepth png", NO_QUANTISATION + png(UNITS)),
        ("corrupt", "32FC1; compressedDepth png", struct.pack("<iff", 0, np.nan, 1.0) + png(UNITS)),
    ],
)
def test_impossible_compressed_depth(reason: str, format: str, data: bytes) -> None:
    with pytest.raises(SensorError) as caught:
        decode_compressed_depth(format, data)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("reason", "arguments"),
    [
        ("bad_encoding", ("rgb8", 4, 4, 12, False, bytes(48))),
        ("bad_size", ("16UC1", 0, 4, 8, False, bytes(48))),
        ("bad_step", ("32FC1", 4, 4, 8, False, bytes(48))),
        ("truncated", ("32FC1", 4, 4, 16, False, bytes(63))),
    ],
)
def test_impossible_raw_depth(reason: str, arguments: tuple) -> None:
    with pytest.raises(SensorError) as caught:
        decode_depth(*arguments)
    assert caught.value.reason == reason


DEPTH_CAMERA = Pinhole(80, 60, 70.0, 72.0, 39.0, 30.5)
COLOR_CAMERA = Pinhole(96, 64, 75.0, 75.0, 48.0, 31.0)
OFFSET = np.eye(4)
OFFSET[:3, 3] = (0.05, -0.01, 0.02)


def plane_depth(camera: Pinhole, normal: np.ndarray, distance: float) -> np.ndarray:
    """Depth of the plane normal · p = distance, in float64."""
    u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(u.shape)], axis=-1)
    return distance / (rays @ normal)


@pytest.mark.parametrize(
    "color_camera", [COLOR_CAMERA, COLOR_CAMERA.scaled_to(192, 128), COLOR_CAMERA.scaled_to(48, 32)]
)
def test_a_plane_stays_a_closed_plane(color_camera: Pinhole) -> None:
    normal = np.array([0.2, -0.1, 1.0])
    depth_m = plane_depth(DEPTH_CAMERA, normal, 2.0).astype(np.float32)
    found = register_depth(depth_m, DEPTH_CAMERA, color_camera, OFFSET)
    expected = plane_depth(color_camera, normal, 2.0 + normal @ OFFSET[:3, 3])
    assert found.dtype == np.float32
    seen = found > 0
    # One depth pixel's slope: half a pixel of rounding on each side, 0.2 / 70 of 2 m each.
    assert np.abs(found - expected)[seen].max() < 0.012
    # Depth's own field of view covers all of the colour image but a margin of its border.
    margin = color_camera.width // 8
    assert seen[margin:-margin, margin:-margin].all()


def test_what_is_nearer_hides_what_is_behind() -> None:
    depth_m = np.full((60, 80), 3.0, np.float32)
    depth_m[20:40, 30:50] = 1.0
    depth_m[RNG.random(depth_m.shape) < 0.1] = 0.0
    camera = Pinhole(90, 60, 66.0, 66.0, 44.0, 29.0)  # coarser than depth, which is then not refined
    turned = OFFSET @ pose_matrix((0, 0, 0), (0.0, 0.02, 0.01, 1.0))
    found = register_depth(depth_m, DEPTH_CAMERA, camera, turned)
    # Oracle: every depth pixel, one by one.
    expected = np.full((60, 90), np.inf)
    for v, u in np.argwhere(depth_m > 0):
        z = float(depth_m[v, u])
        x, y, z, _ = turned @ ((u - 39.0) / 70.0 * z, (v - 30.5) / 72.0 * z, z, 1.0)
        column, row = round(x / z * 66.0 + 44.0), round(y / z * 66.0 + 29.0)
        if 0 <= column < 90 and 0 <= row < 60:
            expected[row, column] = min(expected[row, column], z)
    hit = np.isfinite(expected)
    # Both in float64, handed out as float32.
    np.testing.assert_allclose(found[hit], expected[hit], rtol=1e-6)
    # Elsewhere there is nothing, or the mean of two neighbours that agree.
    for row, column in np.argwhere(~hit & (found > 0)):
        around = expected[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        assert around.min() <= found[row, column] <= around[np.isfinite(around)].max()


def test_the_holes_that_turning_leaves_are_filled() -> None:
    """Turned about the optical axis, the pixels of one grid miss some of the other."""
    depth_m = np.full((60, 80), 2.0, np.float32)
    rolled = pose_matrix((0, 0, 0), (0.0, 0.0, np.sin(0.2), np.cos(0.2)))
    found = register_depth(depth_m, DEPTH_CAMERA, DEPTH_CAMERA, rolled)
    np.testing.assert_allclose(found[15:45, 20:60], 2.0, rtol=1e-6)


def test_a_hole_between_things_that_are_apart_stays() -> None:
    depth_m = np.full((60, 80), 3.0, np.float32)
    depth_m[:, :40] = 2.0
    depth_m[:, 40] = 0.0
    # So near that nothing moves by half a pixel, so far that it is not the same place.
    near = pose_matrix((1e-5, 0, 0), (0, 0, 0, 1))
    found = register_depth(depth_m, DEPTH_CAMERA, DEPTH_CAMERA, near)
    np.testing.assert_array_equal(found, depth_m)
    depth_m[30, 20] = depth_m[31, 40] = 0.0
    depth_m[30, 19], depth_m[30, 21] = 1.98, 2.0
    assert register_depth(depth_m, DEPTH_CAMERA, DEPTH_CAMERA, near)[30, 20] == pytest.approx(1.99)


def test_behind_an_edge_depth_stays_invalid() -> None:
    """A near square, seen from 20 cm to its side, uncovers wall that the depth camera never saw."""
    depth_m = np.full((60, 80), 3.0, np.float32)
    depth_m[20:40, 30:50] = 1.0
    aside = np.eye(4)
    aside[0, 3] = 0.2
    found = register_depth(depth_m, DEPTH_CAMERA, DEPTH_CAMERA, aside)
    # The square moves by 70 * 0.2 / 1 = 14 pixels, the wall by 4.7: about 9 pixels uncovered.
    row = found[30]
    assert (row[44:64] == np.float32(1.0)).all()
    assert (row[36:43] == 0).all()


def test_cameras_at_one_place_look_depth_up() -> None:
    depth_m = RNG.uniform(1, 5, (60, 80)).astype(np.float32)
    depth_m[10:20] = 0
    np.testing.assert_array_equal(register_depth(depth_m, DEPTH_CAMERA, DEPTH_CAMERA, np.eye(4)), depth_m)
    twice = register_depth(depth_m, DEPTH_CAMERA, DEPTH_CAMERA.scaled_to(160, 120), np.eye(4))
    np.testing.assert_array_equal(twice, depth_m.repeat(2, 0).repeat(2, 1))
    wider = Pinhole(120, 60, 70.0, 72.0, 59.0, 30.5)
    np.testing.assert_array_equal(
        register_depth(depth_m, DEPTH_CAMERA, wider, np.eye(4)), np.pad(depth_m, ((0, 0), (20, 20)))
    )


def test_an_image_without_depth_registers_to_nothing() -> None:
    nothing = np.zeros((60, 80), np.float32)
    assert not register_depth(nothing, DEPTH_CAMERA, COLOR_CAMERA, OFFSET).any()


def test_depth_of_another_size_than_its_camera_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="camera"):
        register_depth(np.ones((4, 4), np.float32), DEPTH_CAMERA, COLOR_CAMERA, OFFSET)
