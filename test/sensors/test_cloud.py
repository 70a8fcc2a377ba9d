"""Clouds of any layout against a point-by-point oracle."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ws3d_ros.sensors.cloud import INTENSITY_NAMES, TIME_NAMES, decode_cloud
from ws3d_ros.sensors.errors import SensorError

CODES = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 8: "d"}
FLOAT32 = 7
XYZ = [("x", 0, FLOAT32, 1), ("y", 4, FLOAT32, 1), ("z", 8, FLOAT32, 1)]


@st.composite
def clouds(draw: Any) -> dict[str, Any]:
    """Arguments of decode_cloud: fields in any order, of any type, with gaps, rubbish in the gaps."""
    names = [
        "x",
        "y",
        "z",
        *draw(st.lists(st.sampled_from([*INTENSITY_NAMES, "rgb", "ring", "t"]), unique=True)),
    ]
    fields = []
    offset = 0
    for name in draw(st.permutations(names)):
        offset += draw(st.integers(0, 3))
        datatype = draw(st.integers(1, 8))
        count = (
            draw(st.sampled_from([0, 1]))
            if name in ("x", "y", "z", *INTENSITY_NAMES)
            else draw(st.integers(0, 3))
        )
        fields.append((name, offset, datatype, count))
        offset += struct.calcsize("<" + CODES[datatype]) * max(count, 1)
    height, width = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    point_step = offset + draw(st.integers(0, 5))
    row_step = width * point_step + draw(st.integers(0, 7))
    # Random bytes are all values, NaN and infinity among them; some points get NaN on purpose.
    seed = draw(st.integers(0, 2**32 - 1))
    data = bytearray(np.random.default_rng(seed).bytes(height * row_step + draw(st.integers(0, 4))))
    big = draw(st.booleans())
    for name, at, datatype, _ in fields:
        if name in ("x", "y", "z") and datatype >= FLOAT32 and draw(st.booleans()):
            odd = draw(st.sampled_from([math.nan, math.inf, -math.inf]))
            struct.pack_into((">" if big else "<") + CODES[datatype], data, at, odd)
    return {
        "fields": fields,
        "height": height,
        "width": width,
        "point_step": point_step,
        "row_step": row_step,
        "is_bigendian": big,
        "data": bytes(data),
    }


def oracle(cloud: dict[str, Any]) -> tuple[np.ndarray, np.ndarray | None]:
    """Point by point with struct."""
    places = {name: (offset, datatype) for name, offset, datatype, _ in cloud["fields"]}
    intensity_name = next((name for name in INTENSITY_NAMES if name in places), None)
    order = ">" if cloud["is_bigendian"] else "<"
    points, intensities = [], []
    for row in range(cloud["height"]):
        for column in range(cloud["width"]):
            start = row * cloud["row_step"] + column * cloud["point_step"]

            def value(name: str, start: int = start) -> np.float32:
                offset, datatype = places[name]
                (number,) = struct.unpack_from(order + CODES[datatype], cloud["data"], start + offset)
                with np.errstate(over="ignore"):
                    return np.float32(number)

            point = [value(name) for name in "xyz"]
            if np.isfinite(point).all():
                points.append(point)
                intensities.append(value(intensity_name) if intensity_name else None)
    return np.array(points, np.float32).reshape(-1, 3), np.array(
        intensities, np.float32
    ) if intensity_name else None


@given(clouds())
def test_any_layout_matches_the_oracle(cloud: dict[str, Any]) -> None:
    expected, expected_intensity = oracle(cloud)
    if len(expected) == 0:
        with pytest.raises(SensorError) as caught:
            decode_cloud(**cloud)
        assert caught.value.reason == "empty_cloud"
        return
    points, intensity, _ = decode_cloud(**cloud)
    assert points.dtype == np.float32
    np.testing.assert_array_equal(points, expected)
    if expected_intensity is None:
        assert intensity is None
    else:
        assert intensity is not None
        assert intensity.dtype == np.float32
        np.testing.assert_array_equal(intensity, expected_intensity)


def test_velodyne_like_cloud_is_exact_and_its_own() -> None:
    values = np.random.default_rng(0).normal(size=(1000, 4)).astype("<f4")
    data = bytearray(values.tobytes())
    fields = [*XYZ, ("intensity", 12, FLOAT32, 1)]
    points, intensity, after_s = decode_cloud(fields, 1, 1000, 16, 16000, False, data)
    data[:] = bytes(len(data))
    np.testing.assert_array_equal(points, values[:, :3])
    np.testing.assert_array_equal(intensity, values[:, 3])
    assert after_s is None
    assert points.flags.writeable


def test_a_row_step_of_zero_is_unset_where_there_is_one_row() -> None:
    data = np.arange(6, dtype="<f4").tobytes()
    points, _, _ = decode_cloud(XYZ, 1, 2, 12, 0, False, data)
    np.testing.assert_array_equal(points, [[0, 1, 2], [3, 4, 5]])
    with pytest.raises(SensorError):
        decode_cloud(XYZ, 2, 1, 12, 0, False, data)


@pytest.mark.parametrize(
    "odd", [("intensity", 12, FLOAT32, 3), ("intensity", 40, FLOAT32, 1), ("intensity", 0, 9, 1)]
)
def test_an_odd_intensity_does_not_spoil_the_points(odd: tuple[str, int, int, int]) -> None:
    points, intensity, _ = decode_cloud([*XYZ, odd], 1, 1, 24, 24, False, bytes(24))
    assert points.shape == (1, 3)
    assert intensity is None


@pytest.mark.parametrize(
    ("reason", "word", "changes"),
    [
        ("empty_cloud", "no points", {"width": 0, "row_step": 0, "data": b""}),
        ("empty_cloud", "no points", {"height": 0}),
        ("empty_cloud", "finite", {"data": np.full(12, np.nan, "<f4").tobytes()}),
        ("bad_cloud_fields", "its fields: y, z", {"fields": XYZ[1:]}),
        ("bad_cloud_fields", "its fields: none", {"fields": []}),
        ("bad_cloud_fields", "datatype 0", {"fields": [("x", 0, 0, 1), *XYZ[1:]]}),
        ("bad_cloud_fields", "2 values", {"fields": [("x", 0, FLOAT32, 2), *XYZ[1:]]}),
        ("bad_cloud_fields", "byte 13", {"fields": [("x", 9, FLOAT32, 1), *XYZ[1:]]}),
        ("bad_cloud_fields", "0 bytes", {"point_step": 0}),
        ("bad_cloud_fields", "byte 2 ", {"fields": [("x", -2, FLOAT32, 1), *XYZ[1:]]}),
        ("bad_step", "row_step", {"row_step": 23}),
        ("bad_step", "check the driver", {"width": -2}),
        ("truncated", "48 bytes, but 47", {"data": bytes(47)}),
        ("truncated", "came", {"height": 2**32 - 1, "width": 2**32 - 1, "row_step": 2**36}),
    ],
)
def test_impossible_clouds(reason: str, word: str, changes: dict[str, Any]) -> None:
    cloud: dict[str, Any] = {
        "fields": XYZ,
        "height": 2,
        "width": 2,
        "point_step": 12,
        "row_step": 24,
        "is_bigendian": False,
        "data": bytes(48),
    }
    with pytest.raises(SensorError, match=word) as caught:
        decode_cloud(**{**cloud, **changes})
    assert caught.value.reason == reason


@pytest.mark.parametrize("name", TIME_NAMES)
def test_times_belong_to_the_points_that_are_kept(name: str) -> None:
    values = np.zeros(6, [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), (name, "<f4")])
    values[name] = [0.0, 0.02, 0.04, 0.06, 0.08, 0.1]
    values["y"][2] = math.nan
    fields = [*XYZ, (name, 12, FLOAT32, 1)]
    points, _, after_s = decode_cloud(fields, 1, 6, 16, 96, False, values.tobytes())
    assert len(points) == 5
    np.testing.assert_allclose(after_s, [0.0, 0.02, 0.06, 0.08, 0.1], rtol=1e-6)
    _, _, odd = decode_cloud([*XYZ, (name, 13, FLOAT32, 1)], 1, 6, 16, 96, False, values.tobytes())
    assert odd is None  # ends behind the point
