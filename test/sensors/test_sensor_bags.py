"""Frames of real sensors decode to what such sensors see. Needs ../shared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ws3d_ros.sensors.camera import CameraInfo, CameraModel, back_project
from ws3d_ros.sensors.cloud import decode_cloud
from ws3d_ros.sensors.depth import decode_compressed_depth
from ws3d_ros.sensors.image import decode_compressed_image
from ws3d_ros.sensors.transforms import TransformBuffer

SHARED = Path(__file__).resolve().parents[2].parent / "shared"


def messages(bag: str, stop_after: int = 8) -> dict[str, list[Any]]:
    """The first messages of each topic."""
    rosbags = pytest.importorskip("rosbags.highlevel", reason="rosbags is not installed")
    from rosbags.typesys import Stores, get_typestore

    path = SHARED / "data" / bag
    if not path.exists():
        pytest.skip(f"../shared/data/{bag} is not here")
    found: dict[str, list[Any]] = {}
    with rosbags.AnyReader([path], default_typestore=get_typestore(Stores.ROS2_HUMBLE)) as reader:
        for connection, _, raw in reader.messages():
            kept = found.setdefault(connection.topic, [])
            if len(kept) < stop_after:
                kept.append(reader.deserialize(raw, connection.msgtype))
            if len(found) == len(reader.topics) and all(
                len(kept) >= min(stop_after, reader.topics[topic].msgcount) for topic, kept in found.items()
            ):
                break
    return found


def stamp_ns(message: Any) -> int:
    return int(message.header.stamp.sec) * 10**9 + int(message.header.stamp.nanosec)


def info_of(message: Any) -> CameraInfo:
    return CameraInfo(
        message.width,
        message.height,
        message.distortion_model,
        *(tuple(map(float, values)) for values in (message.d, message.k, message.r, message.p)),
    )


def buffer_of(bag: dict[str, list[Any]]) -> TransformBuffer:
    buffer = TransformBuffer()
    for topic in ("/tf_static", "/tf"):
        for message in bag.get(topic, []):
            for link in message.transforms:
                place, turn = link.transform.translation, link.transform.rotation
                buffer.set(
                    link.header.frame_id,
                    link.child_frame_id,
                    stamp_ns(link),
                    (place.x, place.y, place.z),
                    (turn.x, turn.y, turn.z, turn.w),
                    static=topic == "/tf_static",
                )
    return buffer


def test_an_rgbd_camera_in_a_kitchen() -> None:
    bag = messages("redkitchen_bag")
    camera = CameraModel.from_info(info_of(bag["/camera/color/camera_info"][0]), 640, 480)
    buffer = buffer_of(bag)
    clouds = []
    depth_topic = "/camera/aligned_depth_to_color/image_raw/compressedDepth"
    for message in (bag[depth_topic][0], bag[depth_topic][7]):
        depth_m = decode_compressed_depth(message.format, message.data)
        valid = depth_m[depth_m > 0]
        assert depth_m.shape == (480, 640)
        assert valid.size > 0.6 * depth_m.size
        assert 0.4 < np.percentile(valid, 1) < np.median(valid) < np.percentile(valid, 99) < 6.0
        points = back_project(torch.from_numpy(depth_m), camera.pinhole, stride=8)
        seen = points[points[..., 2] > 0].double().numpy()
        T = buffer.lookup("map", message.header.frame_id, stamp_ns(message))
        clouds.append(seen @ T[:3, :3].T + T[:3, 3])
    # 8 frames apart the camera has hardly moved: most points of one lie near the other's.
    gaps = np.linalg.norm(clouds[0][::4, None] - clouds[1][None], axis=-1).min(axis=1)
    assert np.median(gaps) < 0.05
    color = bag["/camera/color/image_raw/compressed"][0]
    image = decode_compressed_image(color.format, color.data)
    assert image.shape == (480, 640, 3)
    # The red kitchen is red.
    assert image[..., 0].mean() > image[..., 2].mean() + 10


def test_a_lidar_on_a_street() -> None:
    bag = messages("kitti00_bag")
    message = bag["/velodyne_points"][0]
    points, intensity, _ = decode_cloud(
        [(field.name, field.offset, field.datatype, field.count) for field in message.fields],
        message.height,
        message.width,
        message.point_step,
        message.row_step,
        message.is_bigendian,
        message.data,
    )
    assert len(points) == message.width
    assert intensity is not None
    assert 0 <= intensity.min() <= intensity.max() <= 1
    assert np.linalg.norm(points, axis=1).max() < 130
    # The sensor stands 1.73 m above the street.
    flat = points[np.linalg.norm(points[:, :2], axis=1) < 10]
    assert -1.9 < np.median(flat[flat[:, 2] < -1.2][:, 2]) < -1.5
    T = buffer_of(bag).lookup("map", message.header.frame_id, stamp_ns(message))
    # The map has the first camera's axes (y down), so the street is at positive y.
    assert (points[::50] @ T[:3, :3].T + T[:3, 3])[:, 1].mean() == pytest.approx(
        -points[::50, 2].mean(), abs=0.5
    )
