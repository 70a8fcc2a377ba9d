"""The demo's recording: it has what it promises, and its parts agree with each other."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

ROOM = Path(__file__).resolve().parents[2] / "samples" / "room"
COLOR = "/camera/camera/color/image_raw/compressed"
DEPTH = "/camera/camera/aligned_depth_to_color/image_raw/compressedDepth"
INSTANCES = "/ground_truth/instances"
K = np.array([[525.0, 0, 319.5], [0, 525.0, 239.5], [0, 0, 1]])


@pytest.fixture(scope="module")
def messages() -> dict[str, list[tuple[int, Any]]]:
    """Topic to (stamp of the record in ns, message)."""
    store = get_typestore(Stores.ROS2_JAZZY)
    found: dict[str, list[tuple[int, Any]]] = defaultdict(list)
    with Reader(ROOM) as reader:
        for connection, stamp_ns, raw in reader.messages():
            found[connection.topic].append((stamp_ns, store.deserialize_cdr(raw, connection.msgtype)))
    return found


@pytest.fixture(scope="module")
def truth() -> tuple[cKDTree, np.ndarray]:
    """Tree of the labelled voxels, and their instances."""
    file = np.load(ROOM / "ground_truth.npz")
    return cKDTree(file["points_m"].astype(float)), file["instance"]


def stamp_of(header: Any) -> int:
    return int(header.stamp.sec) * 10**9 + int(header.stamp.nanosec)


def matrix(transform: Any) -> np.ndarray:
    T = np.eye(4)
    q, t = transform.rotation, transform.translation
    T[:3, :3] = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
    T[:3, 3] = t.x, t.y, t.z
    return T


def pose(messages: dict[str, list[tuple[int, Any]]], frame: str, stamp_ns: int) -> np.ndarray:
    """T_map_frame from the nearest tf message: at 30 Hz at most 17 ms off, about 1 cm and 1 degree."""
    parent = {
        t.child_frame_id: (t.header.frame_id, matrix(t.transform))
        for t in messages["/tf_static"][0][1].transforms
    }
    nearest = min(messages["/tf"], key=lambda item: abs(item[0] - stamp_ns))[1]
    parent |= {t.child_frame_id: (t.header.frame_id, matrix(t.transform)) for t in nearest.transforms}
    T = np.eye(4)
    while frame != "map":
        frame, step = parent[frame]
        T = step @ T
    return T


def frames(
    messages: dict[str, list[tuple[int, Any]]], step: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Points in the map (N, 3), their instances (N,), and the depth image in metres, of every nth frame."""
    for (_, depth), (_, instances) in list(zip(messages[DEPTH], messages[INSTANCES], strict=True))[::step]:
        depth_m = cv2.imdecode(depth.data[12:], cv2.IMREAD_UNCHANGED) / 1000.0
        instance = cv2.imdecode(instances.data, cv2.IMREAD_UNCHANGED)
        v, u = np.nonzero(depth_m > 0)
        rays = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones(len(u))], 1)
        T = pose(messages, depth.header.frame_id, stamp_of(depth.header))
        yield (rays * depth_m[v, u][:, None]) @ T[:3, :3].T + T[:3, 3], instance[v, u], depth_m


def test_it_is_small_enough_to_ship() -> None:
    assert sum(file.stat().st_size for file in ROOM.iterdir()) <= 10_000_000


def test_topics_types_and_counts(messages: dict[str, list[tuple[int, Any]]]) -> None:
    with Reader(ROOM) as reader:
        types = {connection.topic: connection.msgtype.split("/")[-1] for connection in reader.connections}
    assert types == {
        "/tf": "TFMessage",
        "/tf_static": "TFMessage",
        COLOR: "CompressedImage",
        "/camera/camera/color/camera_info": "CameraInfo",
        DEPTH: "CompressedImage",
        "/camera/camera/aligned_depth_to_color/camera_info": "CameraInfo",
        "/lidar/points": "PointCloud2",
        INSTANCES: "CompressedImage",
    }
    assert len(messages[COLOR]) == len(messages[DEPTH]) == len(messages[INSTANCES]) > 90
    assert len(messages["/lidar/points"]) > 35
    assert [field.name for field in messages["/lidar/points"][0][1].fields] == [
        "x",
        "y",
        "z",
        "intensity",
        "ring",
        "time",
    ]


def test_static_transforms_are_latched_in_the_metadata() -> None:
    with Reader(ROOM) as reader:
        durability = {
            c.topic: [q.durability.name for q in c.ext.offered_qos_profiles] for c in reader.connections
        }
    assert durability["/tf_static"] == ["TRANSIENT_LOCAL"]
    assert durability[COLOR] == ["VOLATILE"]


def test_stamps_rise_match_and_lie_within_tf(messages: dict[str, list[tuple[int, Any]]]) -> None:
    tf = [stamp for stamp, _ in messages["/tf"]]
    for topic, items in messages.items():
        stamps = [stamp for stamp, _ in items]
        assert stamps == sorted(stamps), topic
        if topic not in ("/tf", "/tf_static"):
            assert stamps == [stamp_of(message.header) for _, message in items]
            assert tf[0] <= stamps[0]
            assert stamps[-1] <= tf[-1]
    assert [s for s, _ in messages[COLOR]] == [s for s, _ in messages[DEPTH]]


def test_depth_lies_on_the_true_surface_and_has_its_instance(
    messages: dict[str, list[tuple[int, Any]]], truth: tuple[cKDTree, np.ndarray]
) -> None:
    tree, instance_of = truth
    for points, instance, depth_m in frames(messages, 15):
        assert (depth_m > 0).mean() > 0.9  # holes at edges only
        distance, row = tree.query(points[::97])
        # Half a voxel's diagonal is 4.3 cm; Kinect-like noise at 4 m is 2 cm more.
        assert (distance < 0.07).mean() > 0.95
        assert (instance_of[row] == instance[::97]).mean() > 0.93


def test_lidar_lies_on_the_true_surface_where_the_camera_saw_it(
    messages: dict[str, list[tuple[int, Any]]], truth: tuple[cKDTree, np.ndarray]
) -> None:
    kind = np.dtype({"names": list("xyz"), "formats": ["<f4"] * 3, "offsets": [0, 4, 8], "itemsize": 24})
    tree, _ = truth
    for _, cloud in messages["/lidar/points"][::8]:
        rows = np.frombuffer(cloud.data.tobytes(), kind)
        points = np.stack([rows[axis] for axis in "xyz"], 1).astype(float)
        T = pose(messages, cloud.header.frame_id, stamp_of(cloud.header))
        distance, _ = tree.query(points @ T[:3, :3].T + T[:3, 3])
        # The LiDAR sees all around, the camera a third of that: much was never seen, but what
        # is within reach of a seen voxel agrees. A wrong frame or sign leaves almost nothing.
        assert (distance < 0.07).mean() > 0.6


def test_things_have_names_and_are_where_their_points_are(truth: tuple[cKDTree, np.ndarray]) -> None:
    tree, instance_of = truth
    things = json.loads((ROOM / "ground_truth.json").read_text())["instances"]
    names = {thing["class"] for thing in things.values()}
    assert {"wall", "floor", "bed", "sofa", "table", "chair", "window", "door"} <= names
    for number in np.unique(instance_of):
        if number == 0:
            continue
        thing = things[str(number)]
        points = tree.data[instance_of == number]
        assert (points > np.array(thing["low_m"]) - 0.05).all(), thing["name"]
        assert (points < np.array(thing["high_m"]) + 0.05).all(), thing["name"]
