"""Voxels to the bytes of a PointCloud2.

The cloud is one structured numpy array, handed over as ``array.array``: the only way in which
rclpy takes a large ``data`` field without looking at every byte (benchmarks/packing.py).
"""

from __future__ import annotations

import array

import numpy as np
import torch
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header
from torch import Tensor

from ws3d_ros.reconstruction.window import Window

POINT = np.dtype(
    [
        ("x", "<f4"),
        ("y", "<f4"),
        ("z", "<f4"),
        ("rgb", "<u4"),
        ("label", "<u4"),
        ("instance", "<u4"),
        ("confidence", "<f4"),
        ("rgb_camera", "<u4"),
    ]
)
"""32 bytes a point. ``rgb``: the label's colour, 0x00RRGGBB (RViz and PCL read its bits as a
float). ``rgb_camera``: the colour that cameras saw, 0xAARRGGBB, alpha 255 where one did and 0
where none did."""

PLACE = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4")])
"""The beginning of :data:`POINT`."""

FIELDS = [
    PointField(
        name=name,
        offset=POINT.fields[name][1],  # type: ignore[index]
        datatype=PointField.UINT32 if name in ("label", "instance", "rgb_camera") else PointField.FLOAT32,
        count=1,
    )
    for name in POINT.names or ()
]


def pack_palette(palette: np.ndarray) -> np.ndarray:
    """(C, 3) uint8 RGB to (C,) uint32 0x00RRGGBB."""
    wide = palette.astype(np.uint32)
    return wide[:, 0] << 16 | wide[:, 1] << 8 | wide[:, 2]


def pack_points(window: Window, palette: np.ndarray) -> np.ndarray:
    """The voxels of a window as (N,) of :data:`POINT`.

    Args:
        palette: (C,) uint32 from :func:`pack_palette`, one for each label, ``unknown`` first.
    """
    label = window.label.cpu().numpy()
    xyz = window.points_m.cpu().numpy()
    points = np.empty(len(label), POINT)
    points["x"], points["y"], points["z"] = xyz[:, 0], xyz[:, 1], xyz[:, 2]
    points["rgb"] = palette.take(label)
    points["label"] = label
    points["instance"] = window.instance.cpu().numpy()
    points["confidence"] = window.confidence.cpu().numpy()
    points["rgb_camera"] = _pack_camera_color(window.color)
    return points


def _pack_camera_color(color: Tensor) -> np.ndarray:
    """(N, 3) float32 RGB 0..255, NaN where unseen, to (N,) uint32 0xAARRGGBB."""
    # One product instead of shifts: whole numbers below 2**24 are exact in float32.
    places = torch.tensor([65536.0, 256.0, 1.0], device=color.device)
    rgb = (color.nan_to_num().add_(0.5).floor_() @ places).to(torch.int32)
    alpha = torch.where(color[:, 0].isnan(), 0, -1 << 24).to(torch.int32)
    return (rgb | alpha).cpu().numpy().view(np.uint32)


def pack_places(points_m: np.ndarray, header: Header) -> PointCloud2:
    """A cloud message of (N, 3) points: x, y and z alone, 12 bytes a point."""
    places = np.ascontiguousarray(points_m, "<f4").view(PLACE)[:, 0]
    return pack_cloud(places, header, FIELDS[:3])


def pack_cloud(points: np.ndarray, header: Header, fields: list[PointField] = FIELDS) -> PointCloud2:
    """A cloud message of (N,) :data:`POINT`, or what ``fields`` say, unorganised, without invalid points."""
    data = array.array("B")
    data.frombytes(points.view(np.uint8).data)
    cloud = PointCloud2(
        header=header,
        height=1,
        width=len(points),
        fields=fields,
        is_bigendian=False,
        point_step=points.itemsize,
        row_step=points.itemsize * len(points),
        is_dense=True,
    )
    cloud.data = data  # not in the constructor, which copies element by element
    return cloud
