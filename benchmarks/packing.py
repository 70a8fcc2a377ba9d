"""A 500,000-point cloud into a PointCloud2: our way against the usual ones.

    python benchmarks/packing.py [--points 500000]

Each way makes the same 32-byte points from the same arrays and ends with a message whose bytes are
set. rclpy looks at every element of `data` unless it is an `array.array`; with
ROS_PYTHON_CHECK_FIELDS=1, as in our tests, at even more. Run it twice to see both.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from common import save, summary, times_ms
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from ws3d_ros.node.packing import FIELDS, POINT, pack_cloud, pack_palette, pack_points
from ws3d_ros.reconstruction.window import Window

FIELD_CHECKS = os.environ.get("ROS_PYTHON_CHECK_FIELDS", "0") == "1"


def window(count: int) -> Window:
    """Random voxels of a labelled map."""
    torch.manual_seed(0)
    return Window(
        voxel_size_m=0.05,
        stamp_ns=0,
        keys=torch.arange(count),
        points_m=torch.randn(count, 3),
        color=torch.rand(count, 3) * 255,
        normal=torch.zeros(count, 3),
        weight=torch.ones(count),
        feature=torch.zeros(count, 0, dtype=torch.float16),
        feature_weight=torch.zeros(count),
        label=torch.randint(0, 65, (count,), dtype=torch.int16),
        confidence=torch.rand(count).half(),
        instance=torch.randint(0, 500, (count,), dtype=torch.int32),
    )


def ways(points: np.ndarray) -> dict[str, Callable[[], Any]]:
    """Structured array to message, by name of the way."""
    header = Header(frame_id="map")

    def assigned(data: Any) -> PointCloud2:
        message = PointCloud2(header=header, height=1, width=len(points), fields=FIELDS)
        message.data = data
        return message

    found: dict[str, Callable[[], Any]] = {
        "ours: array.array of bytes": lambda: pack_cloud(points, header),
        "bytes": lambda: assigned(points.tobytes()),
        "list": lambda: assigned(list(points.tobytes())),
    }
    if not FIELD_CHECKS:  # these refuse numpy arrays
        found["numpy assignment"] = lambda: assigned(points.view(np.uint8))
    if importlib.util.find_spec("sensor_msgs_py"):
        from sensor_msgs_py.point_cloud2 import create_cloud

        # It wants the array's types to be those of the fields.
        alike = points.view([(name, "<f4" if name == "rgb" else points.dtype[name]) for name in POINT.names])
        found["sensor_msgs_py.create_cloud"] = lambda: create_cloud(header, FIELDS, alike)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--points", type=int, default=500_000)
    count = parser.parse_args().points
    voxels = window(count)
    palette = pack_palette(np.random.default_rng(0).integers(0, 256, (65, 3)).astype(np.uint8))
    points = pack_points(voxels, palette)
    assert points.dtype == POINT

    rows = {"window to structured array (ours)": summary(times_ms(lambda: pack_points(voxels, palette)))}
    whole = times_ms(lambda: pack_cloud(pack_points(voxels, palette), Header(frame_id="map")))
    rows["window to message (ours, both steps)"] = summary(whole)
    for name, way in ways(points).items():
        rows[name] = summary(times_ms(way, runs=20 if name.startswith("ours") else 5, warmup=1))
    for name, row in rows.items():
        print(f"{name:40} p50 {row['p50_ms']:9.2f} ms   p95 {row['p95_ms']:9.2f} ms")
    notes = []
    if "sensor_msgs_py.create_cloud" not in rows:
        notes.append("sensor_msgs_py is not installed here (it is not on PyPI), so it was not measured")
        print(notes[-1])
    result = {"points": count, "bytes_per_point": POINT.itemsize, "field_checks": FIELD_CHECKS, "ways": rows}
    save("packing_checked" if FIELD_CHECKS else "packing", {**result, "notes": notes})


if __name__ == "__main__":
    main()
