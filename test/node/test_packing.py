"""The cloud, field by field, against struct."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("sensor_msgs", reason="ROS 2 is not installed (make venv)")
from sensor_msgs.msg import PointField
from std_msgs.msg import Header

from ws3d_ros.node.packing import POINT, pack_cloud, pack_palette, pack_points
from ws3d_ros.reconstruction.window import Window

PALETTE = np.array([[128, 128, 128], [255, 0, 1], [2, 254, 3]], np.uint8)


def window(count: int, seed: int) -> Window:
    """Random voxels; about a third of them were seen by no camera."""
    rng = np.random.default_rng(seed)
    color = rng.uniform(0, 255, (count, 3)).astype(np.float32)
    color[rng.random(count) < 0.3] = np.nan
    return Window(
        voxel_size_m=0.05,
        stamp_ns=0,
        keys=torch.arange(count),
        points_m=torch.from_numpy(rng.normal(0, 10, (count, 3)).astype(np.float32)),
        color=torch.from_numpy(color),
        normal=torch.zeros(count, 3),
        weight=torch.from_numpy(rng.uniform(0, 3, count).astype(np.float32)),
        feature=torch.zeros(count, 4, dtype=torch.float16),
        feature_weight=torch.zeros(count),
        label=torch.from_numpy(rng.integers(0, 3, count).astype(np.int16)),
        confidence=torch.from_numpy(rng.random(count).astype(np.float16)),
        instance=torch.from_numpy(rng.integers(0, 100_000, count).astype(np.int32)),
    )


def oracle(window: Window) -> bytes:
    """The same bytes, one struct.pack a voxel."""
    out = b""
    for i in range(len(window)):
        r, g, b = (int(c) for c in PALETTE[int(window.label[i])])
        if torch.isnan(window.color[i, 0]):
            seen = 0
        else:
            # Halves round up; the values are positive.
            cr, cg, cb = (int(np.float32(c) + np.float32(0.5)) for c in window.color[i].tolist())
            seen = 0xFF << 24 | cr << 16 | cg << 8 | cb
        out += struct.pack(
            "<fffIIIfI",
            *window.points_m[i].tolist(),
            r << 16 | g << 8 | b,
            int(window.label[i]),
            int(window.instance[i]),
            float(window.confidence[i]),
            seen,
        )
    return out


@given(count=st.integers(0, 40), seed=st.integers(0, 10_000))
def test_bytes_are_those_of_struct(count: int, seed: int) -> None:
    voxels = window(count, seed)
    cloud = pack_cloud(pack_points(voxels, pack_palette(PALETTE)), Header(frame_id="map"))
    assert bytes(cloud.data) == oracle(voxels)
    assert cloud.width * cloud.point_step == cloud.row_step == len(cloud.data)


def test_fields_say_where_everything_is() -> None:
    cloud = pack_cloud(np.zeros(3, POINT), Header(frame_id="map"))
    f32, u32 = PointField.FLOAT32, PointField.UINT32
    assert [(field.name, field.offset, field.datatype, field.count) for field in cloud.fields] == [
        ("x", 0, f32, 1),
        ("y", 4, f32, 1),
        ("z", 8, f32, 1),
        ("rgb", 12, f32, 1),
        ("label", 16, u32, 1),
        ("instance", 20, u32, 1),
        ("confidence", 24, f32, 1),
        ("rgb_camera", 28, u32, 1),
    ]
    assert (cloud.header.frame_id, cloud.height, cloud.width, cloud.point_step) == ("map", 1, 3, 32)
    assert not cloud.is_bigendian
    assert cloud.is_dense


def test_palette_colours_are_never_nan_as_floats() -> None:
    packed = pack_palette(np.array([[255, 255, 255], [0, 0, 0], [127, 128, 255]], np.uint8))
    assert not np.isnan(packed.view(np.float32)).any()


def test_sensor_msgs_py_reads_it() -> None:
    reader = pytest.importorskip("sensor_msgs_py.point_cloud2", reason="sensor_msgs_py is not installed")
    voxels = window(50, 1)
    cloud = pack_cloud(pack_points(voxels, pack_palette(PALETTE)), Header(frame_id="map"))
    points = reader.read_points(cloud)
    np.testing.assert_array_equal(points["label"], voxels.label.numpy())
    np.testing.assert_array_equal(points["x"], voxels.points_m[:, 0].numpy())
