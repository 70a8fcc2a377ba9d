"""A rosbag2 of a robot's walk through a rendered flat, with its ground truth beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from scipy.spatial.transform import Rotation

from ws3d_ros.sensors.frame import Pinhole
from ws3d_ros.training.scenes.furniture import credits
from ws3d_ros.training.scenes.render import Renderer
from ws3d_ros.training.scenes.scene import Scene
from ws3d_ros.training.scenes.sensing import Sweep, depth_camera, lidar_sweep
from ws3d_ros.training.scenes.trajectory import Walk

CAMERA = Pinhole(640, 480, 525.0, 525.0, 319.5, 239.5)
OPTICAL, LIDAR = "camera_color_optical_frame", "lidar_link"
COLOR = "/camera/camera/color/image_raw/compressed"
COLOR_INFO = "/camera/camera/color/camera_info"
DEPTH = "/camera/camera/aligned_depth_to_color/image_raw/compressedDepth"
DEPTH_INFO = "/camera/camera/aligned_depth_to_color/camera_info"
POINTS = "/lidar/points"
INSTANCES = "/ground_truth/instances"
VOXEL_M = 0.05
START_NS = 1_700_000_000_000_000_000
_POINT = np.dtype(
    {
        "names": ["x", "y", "z", "intensity", "ring", "time"],
        "formats": ["<f4", "<f4", "<f4", "<f4", "<u2", "<f4"],
        "offsets": [0, 4, 8, 12, 16, 20],
        "itemsize": 24,
    }
)
_TF_RATE_HZ = 30.0


def transform(
    x: float, y: float, z: float, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0
) -> np.ndarray:
    """(4, 4) from a place and angles about z, then y, then x, radians (REP-103)."""
    T = np.eye(4)
    T[:3, :3] = Rotation.from_euler("ZYX", [yaw, pitch, roll]).as_matrix()
    T[:3, 3] = x, y, z
    return T


T_BASE_CAMERA_LINK = transform(0.10, 0.0, 1.20, pitch=np.radians(12))
T_CAMERA_LINK_OPTICAL = transform(0, 0, 0, yaw=-np.pi / 2, roll=-np.pi / 2)
T_BASE_LIDAR = transform(-0.05, 0.0, 0.95)
T_MAP_ODOM = transform(0.3, -0.2, 0.0, yaw=0.05)


@dataclass(frozen=True)
class Rates:
    """Measurements a second."""

    camera_hz: float = 5.0
    lidar_hz: float = 2.0


def write_bag(
    folder: Path, scene: Scene, walk: Walk, renderer: Renderer, seed: int, rates: Rates | None = None
) -> None:
    """Writes ``metadata.yaml``, the mcap, ``ground_truth.json``, ``ground_truth.npz`` and ``CREDITS.md``.

    ``folder`` must not exist. The same arguments give the same pictures and poses.
    """
    rates = rates or Rates()
    rng = np.random.default_rng([seed, 3])
    renderer.show(scene)
    truth = _Voxels()
    events = sorted(_schedule(walk, rates), key=lambda event: (event[0], event[1]))
    writer = Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer:
        out = _Recorder(writer)
        out.static(walk.stamp_ns[0])
        for stamp_ns, what in events:
            T_map_base = walk.pose(stamp_ns)
            if what == "tf":
                out.dynamic(stamp_ns, T_map_base)
            elif what == "camera":
                T_map_camera = T_map_base @ T_BASE_CAMERA_LINK @ T_CAMERA_LINK_OPTICAL
                view = renderer.view(CAMERA, T_map_camera, smooth=True)
                grain = rng.normal(0, 1.0, view.color.shape[:2])[..., None]
                color = np.clip(view.color + grain, 0, 255).astype(np.uint8)
                out.images(stamp_ns, color, depth_camera(view, CAMERA, rng), view.instance)
                truth.add(view.depth_m, view.instance, T_map_camera)
            else:
                sweep = lidar_sweep(renderer, T_map_base @ T_BASE_LIDAR, rng)
                out.sweep(stamp_ns, sweep)
    points_m, instance = truth.result()
    np.savez_compressed(folder / "ground_truth.npz", points_m=points_m.astype(np.float16), instance=instance)
    (folder / "ground_truth.json").write_text(json.dumps(_description(scene, seed), indent=1) + "\n")
    (folder / "CREDITS.md").write_text(_credits(scene))


def _schedule(walk: Walk, rates: Rates) -> Iterator[tuple[int, str]]:
    """When what happens. The sensors start a little after tf, and end before it."""
    first, last = int(walk.stamp_ns[0]), int(walk.stamp_ns[-1])
    for name, rate, delay in (
        ("tf", _TF_RATE_HZ, 0.0),
        ("camera", rates.camera_hz, 0.11),
        ("lidar", rates.lidar_hz, 0.13),
    ):
        count = int((last - first) / 1e9 * rate - delay * rate)
        for index in range(count + (name == "tf")):
            yield first + round((delay + index / rate) * 1e9), name


class _Voxels:
    """The true surface that the camera saw, one point a voxel, with the instance seen most often."""

    def __init__(self) -> None:
        self._votes: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, depth_m: np.ndarray, instance: np.ndarray, T_map_camera: np.ndarray) -> None:
        """One view; every second pixel is plenty at 5 cm."""
        v, u = np.nonzero(depth_m[::2, ::2] > 0)
        v, u = v * 2, u * 2
        z = depth_m[v, u].astype(float)
        rays = np.stack([(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones(len(u))], 1)
        points = (rays * z[:, None]) @ T_map_camera[:3, :3].T + T_map_camera[:3, 3]
        rows = np.column_stack([np.floor(points / VOXEL_M).astype(np.int64), instance[v, u]])
        self._votes.append(np.unique(rows, axis=0, return_counts=True))

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """(N, 3) centres in metres and (N,) uint16 instances."""
        rows = np.concatenate([rows for rows, _ in self._votes])
        counts = np.concatenate([counts for _, counts in self._votes])
        unique, inverse = np.unique(rows, axis=0, return_inverse=True)
        total = np.bincount(inverse.reshape(-1), weights=counts)
        order = np.lexsort((-total, *unique[:, 2::-1].T))
        winners = unique[order]
        first = np.concatenate([[True], (np.diff(winners[:, :3], axis=0) != 0).any(1)])
        return (winners[first, :3] + 0.5) * VOXEL_M, winners[first, 3].astype(np.uint16)


def _description(scene: Scene, seed: int) -> dict[str, Any]:
    things = {}
    for number, thing in enumerate(scene.things, start=1):
        low, high = thing.mesh.bounds.astype(float).round(3).tolist()
        name = thing.model.name if thing.model else f"{thing.word} (made by the generator)"
        things[str(number)] = {"class": thing.word, "name": name, "low_m": low, "high_m": high}
    return {
        "seed": seed,
        "frame": "map",
        "voxel_size_m": VOXEL_M,
        "camera": {"width": CAMERA.width, "height": CAMERA.height, "K": CAMERA.matrix().reshape(-1).tolist()},
        "rooms": [{"kind": room.kind, "low_m": room.low_m, "high_m": room.high_m} for room in scene.rooms],
        "instances": things,
    }


def _credits(scene: Scene) -> str:
    lines = credits([thing.model for thing in scene.things if thing.model is not None])
    return (
        "# Credits\n\nRendered from these furniture models of the Sweet Home 3D catalogues (Debian package\n"
        "sweethome3d-furniture), which were scaled, coloured and placed by a program; the recording is a\n"
        "work derived from them. CC-BY 3.0: https://creativecommons.org/licenses/by/3.0/\n\n"
        + "".join(f"- {line}\n" for line in lines)
    )


class _Recorder:
    """Core types to serialised messages."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._store = get_typestore(Stores.ROS2_JAZZY)
        self._type: Callable[[str], Any] = lambda name: self._store.types[name]
        image, info = "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/CameraInfo"
        self._connections: dict[str, Connection] = {
            topic: writer.add_connection(
                topic,
                kind,
                typestore=self._store,
                offered_qos_profiles=[_qos(latched=topic == "/tf_static")],
            )
            for topic, kind in {
                "/tf": "tf2_msgs/msg/TFMessage",
                "/tf_static": "tf2_msgs/msg/TFMessage",
                COLOR: image,
                COLOR_INFO: info,
                DEPTH: image,
                DEPTH_INFO: info,
                POINTS: "sensor_msgs/msg/PointCloud2",
                INSTANCES: image,
            }.items()
        }

    def static(self, stamp_ns: int) -> None:
        """The robot's fixed frames."""
        frames = [
            ("base_link", "camera_link", T_BASE_CAMERA_LINK),
            ("camera_link", OPTICAL, T_CAMERA_LINK_OPTICAL),
            ("base_link", LIDAR, T_BASE_LIDAR),
        ]
        self._transforms("/tf_static", stamp_ns, frames)

    def dynamic(self, stamp_ns: int, T_map_base: np.ndarray) -> None:
        """Where the robot is: localisation's correction and odometry."""
        frames = [
            ("map", "odom", T_MAP_ODOM),
            ("odom", "base_link", np.linalg.inv(T_MAP_ODOM) @ T_map_base),
        ]
        self._transforms("/tf", stamp_ns, frames)

    def images(self, stamp_ns: int, color: np.ndarray, depth_mm: np.ndarray, instance: np.ndarray) -> None:
        """One RGB-D frame with its ground truth."""
        jpeg = cv2.imencode(".jpg", color[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])[1].reshape(-1)
        self._compressed(COLOR, stamp_ns, "rgb8; jpeg compressed bgr8", jpeg)
        # The header of compressed_depth_image_transport: an enum and two floats, unused for 16UC1.
        header = np.zeros(12, np.uint8)
        self._compressed(
            DEPTH, stamp_ns, "16UC1; compressedDepth png", np.concatenate([header, _png(depth_mm)])
        )
        self._compressed(INSTANCES, stamp_ns, "16UC1; png compressed", _png(instance))
        for topic in (COLOR_INFO, DEPTH_INFO):
            self._camera_info(topic, stamp_ns)

    def sweep(self, stamp_ns: int, sweep: Sweep) -> None:
        """One LiDAR turn as a cloud of 24 bytes a point."""
        rows = np.zeros(len(sweep.points_m), _POINT)
        rows["x"], rows["y"], rows["z"] = np.round(sweep.points_m.T * 256.0) / 256.0  # 4 mm: packs well
        rows["intensity"], rows["ring"] = np.round(sweep.intensity), sweep.ring
        field = self._type("sensor_msgs/msg/PointField")
        kinds = {"f4": 7, "u2": 4}
        formats = {name: _POINT.fields[name] for name in _POINT.names or ()} if _POINT.fields else {}
        message = self._type("sensor_msgs/msg/PointCloud2")(
            header=self._header(stamp_ns, LIDAR),
            height=1,
            width=len(rows),
            fields=[
                field(name=name, offset=int(entry[1]), datatype=kinds[entry[0].str[1:]], count=1)
                for name, entry in formats.items()
            ],
            is_bigendian=False,
            point_step=_POINT.itemsize,
            row_step=_POINT.itemsize * len(rows),
            data=rows.view(np.uint8).reshape(-1),
            is_dense=True,
        )
        self._write(POINTS, stamp_ns, message)

    def _transforms(self, topic: str, stamp_ns: int, frames: list[tuple[str, str, np.ndarray]]) -> None:
        stamped, kind = (
            self._type("geometry_msgs/msg/TransformStamped"),
            self._type("geometry_msgs/msg/Transform"),
        )
        vector, quaternion = (
            self._type("geometry_msgs/msg/Vector3"),
            self._type("geometry_msgs/msg/Quaternion"),
        )
        transforms = []
        for parent, child, T in frames:
            place = dict(zip("xyz", T[:3, 3].tolist(), strict=True))
            turn = dict(zip("xyzw", Rotation.from_matrix(T[:3, :3]).as_quat().tolist(), strict=True))
            pose = kind(translation=vector(**place), rotation=quaternion(**turn))
            transforms.append(
                stamped(header=self._header(stamp_ns, parent), child_frame_id=child, transform=pose)
            )
        self._write(topic, stamp_ns, self._type("tf2_msgs/msg/TFMessage")(transforms=transforms))

    def _camera_info(self, topic: str, stamp_ns: int) -> None:
        K = CAMERA.matrix()
        region = self._type("sensor_msgs/msg/RegionOfInterest")
        message = self._type("sensor_msgs/msg/CameraInfo")(
            header=self._header(stamp_ns, OPTICAL),
            height=CAMERA.height,
            width=CAMERA.width,
            distortion_model="plumb_bob",
            d=np.zeros(5),
            k=K.reshape(-1),
            r=np.eye(3).reshape(-1),
            p=np.column_stack([K, np.zeros(3)]).reshape(-1),
            binning_x=0,
            binning_y=0,
            roi=region(x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
        )
        self._write(topic, stamp_ns, message)

    def _compressed(self, topic: str, stamp_ns: int, kind: str, data: np.ndarray) -> None:
        make = self._type("sensor_msgs/msg/CompressedImage")
        self._write(topic, stamp_ns, make(header=self._header(stamp_ns, OPTICAL), format=kind, data=data))

    def _header(self, stamp_ns: int, frame: str) -> Any:
        seconds, nanoseconds = divmod(int(stamp_ns), 10**9)
        stamp = self._type("builtin_interfaces/msg/Time")(sec=seconds, nanosec=nanoseconds)
        return self._type("std_msgs/msg/Header")(stamp=stamp, frame_id=frame)

    def _write(self, topic: str, stamp_ns: int, message: Any) -> None:
        connection = self._connections[topic]
        self._writer.write(connection, int(stamp_ns), self._store.serialize_cdr(message, connection.msgtype))


def _png(image: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1]).reshape(-1)


def _qos(latched: bool) -> Qos:
    forever = QosTime(sec=2147483647, nsec=4294967295)
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=1 if latched else 10,
        reliability=QosReliability.RELIABLE,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=forever,
        lifespan=forever,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=forever,
        avoid_ros_namespace_conventions=False,
    )
