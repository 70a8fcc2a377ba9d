"""A bag as frames and sweeps: on small ones written here, and on the recording that ships."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from ws3d_ros.sensors.camera import back_project
from ws3d_ros.sensors.frame import Frame, Scan
from ws3d_ros.training.datasets.bag import Bag
from ws3d_ros.training.datasets.bag_topics import BagError

SAMPLE = Path(__file__).resolve().parents[2] / "samples/room"
STORE = get_typestore(Stores.ROS2_HUMBLE)
T = STORE.types
WIDTH, HEIGHT, FOCAL = 8, 6, 10.0
COLOR = np.arange(WIDTH * HEIGHT * 3, dtype=np.uint8).reshape(HEIGHT, WIDTH, 3)
DEPTH_MM = np.full((HEIGHT, WIDTH), 1500, np.uint16)
Message = tuple[str, float, Any]
"""Topic, seconds and message."""


def header(frame: str, stamp_s: float) -> Any:
    seconds, rest = divmod(round(stamp_s * 1e9), 10**9)
    return T["std_msgs/msg/Header"](T["builtin_interfaces/msg/Time"](seconds, rest), frame)


def image(pixels: np.ndarray, encoding: str, stamp_s: float, frame: str = "optical") -> Any:
    step = pixels.nbytes // len(pixels)
    data = pixels.view(np.uint8).reshape(-1)
    return T["sensor_msgs/msg/Image"](header(frame, stamp_s), *pixels.shape[:2], encoding, 0, step, data)


def png(pixels: np.ndarray, stamp_s: float) -> Any:
    """As compressed_depth_image_transport writes it."""
    data = np.concatenate([np.zeros(12, np.uint8), cv2.imencode(".png", pixels)[1].reshape(-1)])
    return T["sensor_msgs/msg/CompressedImage"](
        header("optical", stamp_s), "16UC1; compressedDepth png", data
    )


def info(frame: str = "optical") -> Any:
    K = np.array([FOCAL, 0, 3.5, 0, FOCAL, 2.5, 0, 0, 1])
    P = np.array([FOCAL, 0, 3.5, 0, 0, FOCAL, 2.5, 0, 0, 0, 1, 0])
    region = T["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    size = (HEIGHT, WIDTH)
    return T["sensor_msgs/msg/CameraInfo"](
        header(frame, 0.0), *size, "plumb_bob", np.zeros(5), K, np.eye(3).reshape(-1), P, 0, 0, region
    )


def cloud(points: np.ndarray, stamp_s: float) -> Any:
    fields = [T["sensor_msgs/msg/PointField"](name, 4 * i, 7, 1) for i, name in enumerate("xyz")]
    data = points.astype("<f4").view(np.uint8).reshape(-1)
    return T["sensor_msgs/msg/PointCloud2"](
        header("lidar", stamp_s), 1, len(points), fields, False, 12, 12 * len(points), data, True
    )


def link(parent: str, child: str, x_m: float, stamp_s: float) -> Any:
    pose = T["geometry_msgs/msg/Transform"](
        T["geometry_msgs/msg/Vector3"](x_m, 0.0, 0.0), T["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0)
    )
    stamped = T["geometry_msgs/msg/TransformStamped"](header(parent, stamp_s), child, pose)
    return T["tf2_msgs/msg/TFMessage"]([stamped])


def write(path: Path, messages: list[Message]) -> Path:
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections: dict[str, Any] = {}
        for topic, stamp_s, message in messages:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, message.__msgtype__, typestore=STORE)
            data = STORE.serialize_cdr(message, message.__msgtype__)
            writer.write(connections[topic], round(stamp_s * 1e9), data)
    return path


def driving(frames: tuple[str, ...] = ("optical", "lidar")) -> list[Message]:
    """A robot that goes 1 m/s along x from second 1 to 3, and how its sensors sit."""
    moving: list[Message] = [("/tf", s, link("map", "base", s, s)) for s in (1.0, 2.0, 3.0)]
    return [*moving, *(("/tf_static", 0.5, link("base", frame, 0.25, 0.5)) for frame in frames)]


def test_images_are_paired_and_everything_has_its_pose(tmp_path: Path) -> None:
    points = np.array([[1.0, 2.0, 3.0], [np.nan, 0.0, 0.0], [4.0, 5.0, 6.0]])
    bag = write(
        tmp_path / "bag",
        [
            *driving(),
            ("/cam/color/camera_info", 1.0, info()),
            ("/cam/depth/camera_info", 1.0, info()),
            ("/cam/color/image", 1.5, image(COLOR, "rgb8", 1.5)),
            ("/cam/depth/image/compressedDepth", 1.51, png(DEPTH_MM, 1.51)),  # late by less than 20 ms
            ("/points", 2.0, cloud(points, 2.0)),
            ("/cam/color/image", 2.5, image(COLOR, "rgb8", 2.5)),  # has no depth
        ],
    )
    reader = Bag(bag)
    scan, frame = sorted(reader.measurements(), key=lambda m: isinstance(m, Frame))
    assert isinstance(frame, Frame)
    assert isinstance(scan, Scan)
    assert frame.color is not None
    assert frame.depth_m is not None
    np.testing.assert_array_equal(frame.color.numpy(), COLOR)
    np.testing.assert_allclose(frame.depth_m, DEPTH_MM * 0.001, rtol=1e-6)  # float32
    assert frame.stamp_ns == 1_510_000_000
    np.testing.assert_allclose(frame.T_map_camera[:3, 3], [1.76, 0, 0], atol=1e-9)
    assert (frame.camera.fx, frame.camera.cx) == (FOCAL, 3.5)
    np.testing.assert_allclose(scan.T_map_lidar[:3, 3], [2.25, 0, 0], atol=1e-9)
    assert scan.points_m.tolist() == [[1, 2, 3], [4, 5, 6]]
    counts = reader.ledger.snapshot()["camera"]
    assert (counts.received, counts.used) == (3, 1)


def test_depth_of_another_camera_is_registered(tmp_path: Path) -> None:
    """The depth camera sits 0.15 m to the right of the colour camera: at 1.5 m that is one pixel."""
    depth_mm = DEPTH_MM.copy()
    depth_mm[:, 4] = 0
    bag = write(
        tmp_path / "bag",
        [
            *driving(("optical",)),
            ("/tf_static", 0.5, link("optical", "ir", 0.15, 0.5)),
            ("/cam/color/camera_info", 1.0, info()),
            ("/cam/depth/camera_info", 1.0, info("ir")),
            ("/cam/depth/image", 1.5, image(depth_mm, "16UC1", 1.5, "ir")),
            ("/cam/color/image", 1.5, image(COLOR, "rgb8", 1.5)),
        ],
    )
    (frame,) = Bag(bag).measurements()
    assert isinstance(frame, Frame)
    assert frame.depth_m is not None
    row = frame.depth_m[3].tolist()
    assert row[0] == 0.0, "beyond the left edge of depth"
    assert row[1:5] == pytest.approx([1.5] * 4)
    np.testing.assert_allclose(frame.T_map_camera[:3, 3], [1.75, 0, 0], atol=1e-9)


def test_a_camera_without_depth_gives_colour_alone(tmp_path: Path) -> None:
    messages = [("/cam/camera_info", 1.0, info()), ("/cam/image", 2.0, image(COLOR, "rgb8", 2.0))]
    (frame,) = Bag(write(tmp_path / "bag", [*driving(), *messages])).measurements()
    assert isinstance(frame, Frame)
    assert frame.depth_m is None
    assert frame.color is not None


def test_what_has_no_pose_is_counted_and_a_bag_without_any_says_why(tmp_path: Path) -> None:
    early = ("/points", 0.5, cloud(np.ones((2, 3)), 0.5))
    bag = write(tmp_path / "one", [*driving(), early, ("/points", 2.0, cloud(np.ones((2, 3)), 2.0))])
    reader = Bag(bag)
    assert len(list(reader.measurements())) == 1
    assert dict(reader.ledger.snapshot()["lidar"].dropped) == {"too_old": 1}
    for messages, why in (
        ([early, *driving()], "begins 0.500 s after"),
        ([("/cam/image", 2.0, image(COLOR, "rgb8", 2.0)), *driving()], "no camera_info"),
        ([early], "tf has no frame"),
    ):
        reader = Bag(write(tmp_path / why[:8], messages))
        with pytest.raises(BagError, match=f"nothing in .* could be used: .*{why}"):
            list(reader.measurements())


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="samples/room is not here")
def test_the_recording_that_ships_agrees_with_its_truth() -> None:
    """Points of frames and sweeps lie on the true surface, whose voxels have 5 cm."""
    with np.load(SAMPLE / "ground_truth.npz") as truth:
        cells = set(map(tuple, np.floor(truth["points_m"].astype(float) / 0.05).astype(int)))
    shares: dict[type, list[float]] = {Frame: [], Scan: []}
    for index, measurement in enumerate(Bag(SAMPLE).measurements()):
        if index % 12:
            continue
        if isinstance(measurement, Frame):
            assert measurement.depth_m is not None
            optical = back_project(measurement.depth_m, measurement.camera, 8).reshape(-1, 3)
            points, pose = (
                optical[(optical[:, 2] > 0) & (optical[:, 2] < 3)].numpy(),
                measurement.T_map_camera,
            )
        else:
            points, pose = measurement.points_m.numpy()[::20], measurement.T_map_lidar
        placed = points @ pose[:3, :3].T + pose[:3, 3]
        near = [np.floor((placed + shift) / 0.05).astype(int) for shift in (0.0, 0.025, -0.025)]
        shares[type(measurement)].append(
            float(np.mean([any(tuple(cell) in cells for cell in three) for three in zip(*near, strict=True)]))
        )
    # It gives 0.9995 and 0.85 (the sweep sees what the camera never saw); 10 cm off along each axis, 0.1.
    assert np.mean(shares[Frame]) > 0.98
    assert np.mean(shares[Scan]) > 0.75


def test_jumps_of_localisation_are_told_and_measurements_placed_by_them(tmp_path: Path) -> None:
    """map -> odom creeps until second 2 and is 0.5 m from 2.2 on: what is between is placed by that."""
    points = np.array([[1.0, 2.0, 3.0]])
    jump = [
        ("/tf", s, link("map", "odom", 0.02 * s if s < 2.1 else 0.5, s)) for s in (1.0, 1.5, 2.0, 2.2, 3.0)
    ]
    base = [("/tf", s, link("odom", "base", s, s)) for s in (1.0, 2.0, 3.0)]
    sits = [("/tf_static", 0.5, link("base", "lidar", 0.25, 0.5))]
    sweeps = [("/points", s, cloud(points, s)) for s in (1.2, 1.4, 2.1, 2.6)]
    path = write(tmp_path / "bag", [*jump, *base, *sits, *sweeps])
    for tolerance_m, shifts in ((0.1, (0.024, 0.028, 0.5, 0.5)), (0.0, (0.024, 0.028, 0.27, 0.5))):
        bag = Bag(path, follow_jumps_m=tolerance_m)
        for _ in range(2):  # it may be read again
            told = []
            for scan, stamp_s, x in zip(bag.measurements(), (1.2, 1.4, 2.1, 2.6), shifts, strict=True):
                assert isinstance(scan, Scan)
                assert scan.T_map_lidar[0, 3] == pytest.approx(stamp_s + 0.25 + x, abs=1e-6)
                told.append([correction.shift_m for correction in bag.jumps])
                bag.jumps.clear()
            assert told == ([[], [], [pytest.approx(0.46)], []] if tolerance_m else [[], [], [], []])


def test_what_lies_within_a_pause_of_tf_has_no_place(tmp_path: Path) -> None:
    steady = [("/tf", s, link("map", "base", s, s)) for s in (1.0, 1.1, 1.2, 1.3, 1.4, 2.4, 2.5)]
    sits = [("/tf_static", 0.5, link("base", "lidar", 0.25, 0.5))]
    sweeps = [("/points", s, cloud(np.ones((2, 3)), s)) for s in (1.35, 1.4, 1.9, 2.4)]
    bag = Bag(write(tmp_path / "bag", [*steady, *sits, *sweeps]))
    assert [round(scan.stamp_ns * 1e-9, 2) for scan in bag.measurements()] == [1.35, 1.4, 2.4]
    (lidar,) = bag.ledger.snapshot().values()
    assert dict(lidar.dropped) == {"gap": 1}
    assert "'map' -> 'base' paused for 1.0 s, while it moved 1.0 m" in lidar.messages["gap"]
