"""small_house as a rosbag2: its images, or its sweeps, as a robot would have recorded them.

Images and sweeps carry no time: they are taken to be 0.1 s apart, as everywhere in the package. The robot
goes to the end and the same way back, so that a recording is long enough to see memory settle.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from scipy.spatial.transform import Rotation

from ws3d_ros.training.datasets.posed_folder import PERIOD_NS

CAMERA, LIDAR = "camera_optical", "lidar"
COLOR, DEPTH, INFO = "/camera/color/image", "/camera/depth/image", "/camera/color/camera_info"
POINTS = "/lidar/points"
IMAGE_TYPE = "sensor_msgs/msg/CompressedImage"
IMAGE_TOPICS = {
    f"{COLOR}/compressed": IMAGE_TYPE,
    f"{DEPTH}/compressedDepth": IMAGE_TYPE,
    INFO: "sensor_msgs/msg/CameraInfo",
}
START_NS = 1_700_000_000_000_000_000


def record_images(house: Path, bag: Path) -> None:
    """RGB-D at 10 Hz, to the end of the sequence and back."""
    meta = json.loads((house / "meta.json").read_text())
    with _Recording(bag, IMAGE_TOPICS) as out:
        for stamp_ns, index in _there_and_back(len(meta["poses"])):
            out.pose(stamp_ns, CAMERA, np.array(meta["poses"][index]))
            color, depth = (house / f"{kind}/{index:04d}" for kind in ("rgb", "depth"))
            out.image(
                f"{COLOR}/compressed", stamp_ns, "rgb8; jpeg compressed bgr8", color.with_suffix(".jpg")
            )
            depth_format = "16UC1; compressedDepth png"
            out.image(
                f"{DEPTH}/compressedDepth", stamp_ns, depth_format, depth.with_suffix(".png"), bytes(12)
            )
            out.info(stamp_ns, meta)


def record_sweeps(house: Path, bag: Path, laps: int) -> None:
    """LiDAR at 10 Hz, as often there and back."""
    poses = json.loads((house / "lidar.json").read_text())["poses"]
    sweeps = []
    for index in range(len(poses)):
        with np.load(house / f"lidar/{index:04d}.npz") as sweep:
            sweeps.append(np.ascontiguousarray(sweep["xyz"], np.float32))
    with _Recording(bag, {POINTS: "sensor_msgs/msg/PointCloud2"}) as out:
        for stamp_ns, index in _there_and_back(len(poses), laps):
            out.pose(stamp_ns, LIDAR, np.array(poses[index]))
            out.sweep(stamp_ns, sweeps[index])


def _there_and_back(count: int, laps: int = 1) -> list[tuple[int, int]]:
    """Stamps and numbers of the measurements."""
    order = [*range(count), *reversed(range(count))] * laps
    return [(START_NS + place * PERIOD_NS, index) for place, index in enumerate(order)]


class _Recording:
    def __init__(self, bag: Path, topics: dict[str, str]) -> None:
        self._store = get_typestore(Stores.ROS2_JAZZY)
        self._writer = Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP)
        self._topics = {**topics, "/tf": "tf2_msgs/msg/TFMessage"}

    def __enter__(self) -> _Recording:
        self._writer.open()
        self._connections = {
            topic: self._writer.add_connection(topic, kind, typestore=self._store)
            for topic, kind in self._topics.items()
        }
        return self

    def __exit__(self, *failure: object) -> None:
        self._writer.close()

    def pose(self, stamp_ns: int, frame: str, T_map_sensor: np.ndarray) -> None:
        place = dict(zip("xyz", T_map_sensor[:3, 3].tolist(), strict=True))
        turn = dict(zip("xyzw", Rotation.from_matrix(T_map_sensor[:3, :3]).as_quat().tolist(), strict=True))
        motion = self._make(
            "geometry_msgs/msg/Transform",
            translation=self._make("geometry_msgs/msg/Vector3", **place),
            rotation=self._make("geometry_msgs/msg/Quaternion", **turn),
        )
        stamped = self._make(
            "geometry_msgs/msg/TransformStamped",
            header=self._header(stamp_ns, "map"),
            child_frame_id=frame,
            transform=motion,
        )
        self._write("/tf", stamp_ns, transforms=[stamped])

    def image(self, topic: str, stamp_ns: int, kind: str, file: Path, before: bytes = b"") -> None:
        data = np.frombuffer(before + file.read_bytes(), np.uint8)
        self._write(topic, stamp_ns, header=self._header(stamp_ns, CAMERA), format=kind, data=data)

    def info(self, stamp_ns: int, meta: dict[str, Any]) -> None:
        fx, fy, cx, cy = meta["K"]
        self._write(
            INFO,
            stamp_ns,
            header=self._header(stamp_ns, CAMERA),
            width=meta["width"],
            height=meta["height"],
            distortion_model="plumb_bob",
            d=np.zeros(5),
            k=np.array([fx, 0, cx, 0, fy, cy, 0, 0, 1.0]),
            r=np.eye(3).reshape(-1),
            p=np.array([fx, 0, cx, 0, 0, fy, cy, 0, 0, 0, 1.0, 0]),
            binning_x=0,
            binning_y=0,
            roi=self._make(
                "sensor_msgs/msg/RegionOfInterest",
                x_offset=0,
                y_offset=0,
                height=0,
                width=0,
                do_rectify=False,
            ),
        )

    def sweep(self, stamp_ns: int, points_m: np.ndarray) -> None:
        fields = [
            self._make("sensor_msgs/msg/PointField", name=name, offset=4 * place, datatype=7, count=1)
            for place, name in enumerate("xyz")
        ]
        self._write(
            POINTS,
            stamp_ns,
            header=self._header(stamp_ns, LIDAR),
            height=1,
            width=len(points_m),
            fields=fields,
            is_bigendian=False,
            point_step=12,
            row_step=12 * len(points_m),
            data=points_m.view(np.uint8).reshape(-1),
            is_dense=True,
        )

    def _header(self, stamp_ns: int, frame: str) -> Any:
        seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
        stamp = self._make("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)
        return self._make("std_msgs/msg/Header", stamp=stamp, frame_id=frame)

    def _make(self, kind: str, **values: Any) -> Any:
        return self._store.types[kind](**values)

    def _write(self, topic: str, stamp_ns: int, **values: Any) -> None:
        kind = self._topics[topic]
        self._writer.write(
            self._connections[topic], stamp_ns, self._store.serialize_cdr(self._make(kind, **values), kind)
        )
