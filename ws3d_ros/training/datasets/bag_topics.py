"""What is in a rosbag2: which topic is which sensor, and the fixed frame of its tf tree."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_typestore

from ws3d_ros.sensors.gaps import Gaps
from ws3d_ros.sensors.transforms import TransformBuffer, TransformError

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
CAMERA_INFO, CLOUD, TF = "sensor_msgs/msg/CameraInfo", "sensor_msgs/msg/PointCloud2", "tf2_msgs/msg/TFMessage"
DEPTH_ENCODINGS = {"16UC1", "mono16", "32FC1"}
MOST_POSES = 200
# Image topics of common drivers that hold neither the colour nor the depth of the scene.
NO_COLOR_WORDS = ("infra", "mask", "label", "instance", "segment", "ground_truth", "fisheye", "confidence")


class BagError(ValueError):
    """A bag that cannot be read, or whose topics need a choice. The message says which."""


@dataclass(frozen=True)
class BagTopics:
    """The topics of one camera and one LiDAR; None for what the bag does not have.

    Image topics are base names, as image_transport uses them: without ``/compressed``. ``up`` is the
    direction in the map frame that the sensors were held upright by: z in a map after REP-105, but
    many data sets have the first camera as their map.
    """

    color: str | None
    depth: str | None
    color_info: str | None
    depth_info: str | None
    lidar: str | None
    map_frame: str
    duration_s: float
    up: tuple[float, float, float]

    @property
    def outdoor(self) -> bool:
        """A LiDAR without a depth camera: streets rather than rooms."""
        return self.lidar is not None and self.depth is None


def bag_folder(path: Path) -> Path:
    """The folder of a rosbag2, given the folder or a file in it.

    Raises:
        BagError: if there is no bag there.
    """
    folder = path.parent if path.is_file() else path
    if not (folder / "metadata.yaml").exists():
        hint = (
            "; `ros2 bag reindex` writes it"
            if any(folder.glob("*.db3")) or any(folder.glob("*.mcap"))
            else ""
        )
        raise BagError(f"there is no rosbag2 at '{path}': {folder / 'metadata.yaml'} is missing{hint}")
    return folder


@contextmanager
def open_bag(path: Path) -> Iterator[AnyReader]:
    """A reader of a rosbag2.

    Raises:
        BagError: if there is no bag there.
    """
    try:
        with AnyReader([bag_folder(path)], default_typestore=get_typestore(Stores.ROS2_HUMBLE)) as reader:
            yield reader
    except AnyReaderError as error:
        raise BagError(f"'{path}' is no rosbag2 that can be read: {error}") from error


def find_topics(
    path: Path, color: str | None = None, depth: str | None = None, lidar: str | None = None
) -> BagTopics:
    """Sorts the topics of a bag by type and content; names that are given win.

    Raises:
        BagError: if there are several candidates for a role, or no sensor at all.
    """
    with open_bag(path) as reader:
        types = {c.topic: c.msgtype for c in reader.connections if c.msgcount}
        images = [topic for topic, kind in types.items() if kind in (IMAGE, COMPRESSED)]
        depths = {base_name(topic) for topic in images if is_depth(reader, topic)}
        colors = {
            base_name(topic)
            for topic in images
            if base_name(topic) not in depths and not any(word in topic for word in NO_COLOR_WORDS)
        }
        infos = [topic for topic, kind in types.items() if kind == CAMERA_INFO]
        lidars = {topic for topic, kind in types.items() if kind == CLOUD}
        color = color or only(colors, "color")
        depth = depth or only(prefer_registered(depths), "depth")
        lidar = lidar or only(lidars, "lidar")
        if not (color or depth or lidar):
            raise BagError(
                f"'{path}' has no image and no point cloud; its topics: {', '.join(types) or 'none'}"
            )
        transforms = read_transforms(reader)
        map_frame = root_frame(transforms)
        return BagTopics(
            color,
            depth,
            nearest(color, infos),
            nearest(depth, infos),
            lidar,
            map_frame,
            reader.duration / 1e9,
            upwards(reader, transforms, map_frame, color or depth, lidar),
        )


def base_name(topic: str) -> str:
    """The image_transport base name of an image topic."""
    head, _, tail = topic.rpartition("/")
    return head if tail in ("compressed", "compressedDepth") else topic


def is_depth(reader: AnyReader, topic: str) -> bool:
    """Asks the first message: by encoding, or by format and name where it is compressed."""
    for connection, message in messages_of(reader, lambda c: c.topic == topic):
        if connection.msgtype == IMAGE:
            return message.encoding in DEPTH_ENCODINGS and not any(word in topic for word in NO_COLOR_WORDS)
        return "compressedDepth" in message.format or topic.endswith("/compressedDepth")
    return False


def messages_of(reader: AnyReader, wanted: Callable[[Connection], bool]) -> Iterator[tuple[Connection, Any]]:
    """The messages of some connections, in order of time."""
    connections = [connection for connection in reader.connections if wanted(connection)]
    if not connections:
        return  # to rosbags, an empty list means all of them
    for connection, _, raw in reader.messages(connections):
        yield connection, reader.deserialize(raw, connection.msgtype)


def prefer_registered(depths: set[str]) -> set[str]:
    """Of a raw depth and the same depth registered to colour, the registered one."""
    registered = {topic for topic in depths if "aligned" in topic or "registered" in topic}
    return registered if len(registered) == 1 else depths


def only(candidates: set[str], role: str) -> str | None:
    """The one candidate, or None where there is none.

    Raises:
        BagError: if there are several.
    """
    if len(candidates) > 1:
        raise BagError(
            f"several topics could be the {role}: {', '.join(sorted(candidates))}. Say --{role} TOPIC."
        )
    return next(iter(candidates), None)


def nearest(image: str | None, infos: list[str]) -> str | None:
    """The camera_info topic that shares the longest beginning with an image topic."""
    if image is None or not infos:
        return None
    return max(infos, key=lambda info: (len(os.path.commonpath([info, image])), -len(info)))


def read_transforms(reader: AnyReader) -> list[tuple[bool, Any]]:
    """All transforms of a bag, each with whether it is static."""
    return [
        (connection.topic.endswith("tf_static"), transform)
        for connection, message in messages_of(reader, lambda c: c.msgtype == TF)
        for transform in message.transforms
    ]


def buffered(transforms: list[tuple[bool, Any]]) -> TransformBuffer:
    """The transforms that :func:`read_transforms` gives; those that are no transforms are left out."""
    buffer = TransformBuffer(cache_s=1e9)  # all of the bag
    for static, each in transforms:
        t, q = each.transform.translation, each.transform.rotation
        place, turn = (t.x, t.y, t.z), (q.x, q.y, q.z, q.w)
        with suppress(TransformError):
            buffer.set(*_link(each), stamp_ns(each.header), place, turn, static=static)
    return buffer


def gaps_of(transforms: list[tuple[bool, Any]], parent: str, child: str) -> Gaps:
    """The pauses of moving links, without the one from ``child`` to ``parent``: it moves by corrections."""
    gaps = Gaps(most=None)
    for static, each in transforms:
        if not static and _link(each) != (parent, child):
            t, q = each.transform.translation, each.transform.rotation
            gaps.see(*_link(each), stamp_ns(each.header), (t.x, t.y, t.z, q.x, q.y, q.z, q.w))
    return gaps


def stamps_of(transforms: list[tuple[bool, Any]], parent: str, child: str) -> list[int]:
    """When a moving link was published, ns, ascending."""
    mine = (each for static, each in transforms if not static and _link(each) == (parent, child))
    return sorted({stamp_ns(each.header) for each in mine})


def _link(transform: Any) -> tuple[str, str]:
    return bare(transform.header.frame_id), bare(transform.child_frame_id)


def root_frame(transforms: list[tuple[bool, Any]]) -> str:
    """The frame of the tf tree that has no parent; ``map`` where there is none, or several with it."""
    parents = {bare(each.child_frame_id): bare(each.header.frame_id) for _, each in transforms}
    roots = sorted(set(parents.values()) - set(parents))
    return roots[0] if roots and "map" not in roots else "map"


def upwards(
    reader: AnyReader,
    transforms: list[tuple[bool, Any]],
    map_frame: str,
    image: str | None,
    lidar: str | None,
) -> tuple[float, float, float]:
    """The mean of the sensor's upward axis in the map: -y of a camera's optical frame, z of a LiDAR.

    z of the map where that is within 45 degrees of it (cameras look down), or where tf does not tell.
    """
    buffer = buffered(transforms)
    axis = np.array([0.0, -1.0, 0.0]) if image else np.array([0.0, 0.0, 1.0])
    frame = frame_of(reader, image or lidar)
    stamps = [stamp_ns(each.header) for static, each in transforms if not static]
    total = np.zeros(3)
    for stamp in stamps[:: len(stamps) // MOST_POSES + 1]:
        with suppress(TransformError):
            total += buffer.lookup(map_frame, frame, stamp)[:3, :3] @ axis
    length = np.linalg.norm(total)
    if length == 0 or total[2] / length > math.cos(math.radians(45.0)):
        return (0.0, 0.0, 1.0)
    x, y, z = total / length
    return (float(x), float(y), float(z))


def frame_of(reader: AnyReader, base: str | None) -> str:
    """The frame_id of a topic's first message; empty where there is none."""
    topics = (base, f"{base}/compressed", f"{base}/compressedDepth")
    for _, message in messages_of(reader, lambda c: c.topic in topics):
        return bare(message.header.frame_id)
    return ""


def bare(frame: str) -> str:
    """A frame's name without the leading slash of old recordings."""
    return frame.lstrip("/")


def stamp_ns(header: Any) -> int:
    """A header's stamp in nanoseconds."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)
