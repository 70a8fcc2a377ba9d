"""Real maps as voxels, for benchmarks of the sparse network.

Depth frames and sweeps of ../shared/data go through ``VoxelMap`` as in the node; where they are
not here, the frames of samples/room do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore
from torch import Tensor

from ws3d_ros.config import InputConfig, MapConfig
from ws3d_ros.reconstruction.keys import unpack_keys
from ws3d_ros.reconstruction.voxel_map import VoxelMap
from ws3d_ros.reconstruction.window import Window
from ws3d_ros.sensors.camera import CameraInfo, CameraModel
from ws3d_ros.sensors.cloud import decode_cloud
from ws3d_ros.sensors.depth import decode_compressed_depth
from ws3d_ros.sensors.frame import Frame, Scan
from ws3d_ros.sensors.image import decode_compressed_image
from ws3d_ros.sensors.transforms import TransformBuffer, TransformError
from ws3d_ros.training.datasets.posed_folder import PosedFolder

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
SAMPLE = ROOT / "samples" / "room"
KINDS = {
    "info": "/color/camera_info",
    "color": "/color/image_raw/compressed",
    "depth": "/aligned_depth_to_color/image_raw/compressedDepth",
    "sweep": "/velodyne_points",
}
"""How the topics end that are read."""


@dataclass(frozen=True)
class Place:
    """A map that a network can read.

    Attributes:
        name: where it is from and how it was cut or joined.
        coords: (N, 4) int64 (batch, x, y, z), ascending; batch 0.
        color: (N, 3) float32 0..255, NaN where unknown.
        normal: (N, 3) float32, 0 where unknown.
    """

    name: str
    coords: Tensor
    color: Tensor
    normal: Tensor

    def __len__(self) -> int:
        return len(self.coords)


def load(name: str, voxel_size_m: float = 0.05, every: int = 1) -> Place | None:
    """A whole map, of a folder of ../shared/data or of ``samples/room``; None if it is not here."""
    found = measurements(name)
    if found is None:
        return None
    far_m = 60.0 if name == "kitti00_bag" else 6.0
    voxel_map = VoxelMap(
        MapConfig(voxel_size_m=voxel_size_m, budget_mb=4000, min_weight=0.0),
        InputConfig(max_depth_m=far_m, max_range_m=far_m),
        1,
        torch.device("cpu"),
    )
    for i, measurement in enumerate(found):
        if i % every == 0:
            voxel_map.integrate(measurement)
    return _place(f"{name} at {voxel_size_m * 100:g} cm", voxel_map.everything())


def measurements(name: str) -> Iterator[Frame | Scan] | None:
    """What the sensors saw, of a folder of ../shared/data or of ``samples/room``; None if it is not here."""
    path = SAMPLE if name == "samples/room" else DATA / name
    if not path.is_dir():
        return None
    return _bag(path) if (path / "metadata.yaml").exists() else _folder(path)


def cut(place: Place, voxels: int) -> Place:
    """The ``voxels`` cells nearest to the middle of the map, along the floor: one connected part."""
    center = place.coords[:, 1:].double().median(dim=0).values
    nearest = (place.coords[:, 1:3] - center[:2]).norm(dim=1).argsort(stable=True)[:voxels]
    kept = nearest.sort().values
    return Place(
        f"{place.name}, the middle {voxels:,}", place.coords[kept], place.color[kept], place.normal[kept]
    )


def join(a: Place, b: Place) -> Place:
    """Both maps in one cloud, side by side along x, apart and on the same phase of stride 16."""
    gap = 64
    shift = int(a.coords[:, 1].max()) - int(b.coords[:, 1].min()) + gap
    offset = torch.tensor([0, (shift + 15) // 16 * 16, 0, 0])
    return Place(
        f"{a.name} + {b.name}",
        torch.cat([a.coords, b.coords + offset]),
        torch.cat([a.color, b.color]),
        torch.cat([a.normal, b.normal]),
    )


def _place(name: str, window: Window) -> Place:
    cells = unpack_keys(window.keys)
    coords = torch.cat([torch.zeros_like(cells[:, :1]), cells], dim=1)
    return Place(name, coords, window.color, window.normal)


def _folder(path: Path) -> Iterator[Frame | Scan]:
    for item in PosedFolder(path).frames():
        yield item.frame


def _bag(path: Path) -> Iterator[Frame | Scan]:
    """Measurements whose pose is known; colour is that of the last image before."""
    with AnyReader([path], default_typestore=get_typestore(Stores.ROS2_HUMBLE)) as reader:

        def messages(*endings: str) -> Iterator[tuple[str, Any]]:
            wanted = [c for c in reader.connections if c.topic.endswith(endings)]
            for connection, _, raw in reader.messages(wanted):
                yield connection.topic, reader.deserialize(raw, connection.msgtype)

        poses, camera, color = TransformBuffer(cache_s=1e9), None, None
        for topic, message in messages("/tf_static", "/tf"):
            for link in message.transforms:
                place, turn = link.transform.translation, link.transform.rotation
                poses.set(
                    link.header.frame_id,
                    link.child_frame_id,
                    _stamp_ns(link),
                    (place.x, place.y, place.z),
                    (turn.x, turn.y, turn.z, turn.w),
                    static=topic == "/tf_static",
                )
        for topic, message in messages(*KINDS.values()):
            kind = next(kind for kind, ending in KINDS.items() if topic.endswith(ending))
            if kind == "info":
                camera = _camera(message)
            elif kind == "color":
                color = torch.from_numpy(decode_compressed_image(message.format, message.data))
            else:
                with suppress(TransformError):
                    pose = poses.lookup("map", message.header.frame_id, _stamp_ns(message))
                    if kind == "sweep":
                        yield Scan(_stamp_ns(message), _points(message), pose)
                    elif camera is not None:
                        depth_m = torch.from_numpy(decode_compressed_depth(message.format, message.data))
                        yield Frame(_stamp_ns(message), camera.pinhole, pose, color, depth_m)


def _stamp_ns(message: Any) -> int:
    return int(message.header.stamp.sec) * 10**9 + int(message.header.stamp.nanosec)


def _camera(message: Any) -> CameraModel:
    numbers = (tuple(map(float, values)) for values in (message.d, message.k, message.r, message.p))
    info = CameraInfo(message.width, message.height, message.distortion_model, *numbers)
    return CameraModel.from_info(info, message.width, message.height)


def _points(message: Any) -> Tensor:
    fields = [(f.name, f.offset, f.datatype, f.count) for f in message.fields]
    shape = (message.height, message.width, message.point_step, message.row_step)
    return torch.from_numpy(decode_cloud(fields, *shape, message.is_bigendian, message.data)[0])
