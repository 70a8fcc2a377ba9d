"""A rosbag2 as posed frames and sweeps: images paired and rectified, poses by /tf.

What the node does while a robot drives, off line: nothing waits and no frame is lost to lateness.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rosbags.highlevel import AnyReader

from ws3d_ros.sensors.camera import CameraInfo, CameraModel
from ws3d_ros.sensors.cloud import decode_cloud
from ws3d_ros.sensors.corrections import Correction, Corrections
from ws3d_ros.sensors.depth import decode_compressed_depth, decode_depth, register_depth
from ws3d_ros.sensors.errors import SensorError
from ws3d_ros.sensors.frame import FloatArray, Frame, Pinhole, Scan
from ws3d_ros.sensors.image import decode_compressed_image, decode_image
from ws3d_ros.sensors.ledger import Ledger
from ws3d_ros.sensors.motion import motion_at, undo
from ws3d_ros.sensors.pairing import Pair, Paired, Pairer
from ws3d_ros.sensors.transforms import TransformError
from ws3d_ros.training.datasets.bag_topics import (
    COMPRESSED,
    BagError,
    BagTopics,
    bare,
    base_name,
    buffered,
    find_topics,
    gaps_of,
    messages_of,
    open_bag,
    read_transforms,
    stamp_ns,
    stamps_of,
)
from ws3d_ros.training.datasets.rgbd_folder import seen_by

TOLERANCE_NS = 20_000_000
"""Colour and depth this near belong together, as in the node."""
CAMERA, LIDAR = "camera", "lidar"


class Bag:
    """One camera and one LiDAR of a recording.

    Attributes:
        topics: which topics they are.
        ledger: what became of each measurement so far; those without a pose are dropped as ``tf_…``.
        jumps: of ``map -> odom``, to be taken out by who follows them: those that came before the last
            measurement that was given. Measurements are placed as in the node.

    Raises:
        BagError: when there is no bag, or its topics need a choice (see ``find_topics``).
    """

    def __init__(
        self,
        path: str | Path,
        topics: BagTopics | None = None,
        depth_scale: float = 0.001,
        odom_frame: str = "odom",
        follow_jumps_m: float = 0.0,
    ) -> None:
        """``depth_scale``: metres for one unit of 16-bit depth; the rest as in the settings ``inputs``."""
        self._path = Path(path)
        self.topics = topics or find_topics(self._path)
        self.ledger = Ledger()
        self._depth_scale, self._odom_frame = depth_scale, odom_frame
        self._corrections, self.jumps = Corrections(follow_jumps_m), deque[Correction]()
        self._robot_m = np.zeros(3)
        with open_bag(self._path) as reader:
            transforms = read_transforms(reader)
            self._transforms = buffered(transforms)
            self._map_odom_ns = stamps_of(transforms, self.topics.map_frame, odom_frame)
            self._gaps = gaps_of(transforms, self.topics.map_frame, odom_frame)
            infos = (self.topics.color_info, self.topics.depth_info)
            self._infos = {topic: _first_info(reader, topic) for topic in infos if topic is not None}

    def measurements(self) -> Iterator[Frame | Scan]:
        """Everything that has a pose, in the order of the recording; map points are in its fixed frame.

        Raises:
            BagError: when nothing could be used; the message says why.
        """
        count = 0
        self._coming_ns, self._seen_ns = deque(self._map_odom_ns), 0
        self._corrections.clear()
        self.jumps.clear()
        with open_bag(self._path) as reader:
            for sensor, stamp, what in self._paired(reader):
                try:
                    measurement = self._scan(stamp, what) if sensor == LIDAR else self._frame(stamp, what)
                except SensorError as error:
                    self.ledger.dropped(sensor, error.reason, str(error))
                    continue
                self.ledger.used(sensor)
                count += 1
                yield measurement
        if count == 0:
            why = [text for each in self.ledger.snapshot().values() for text in each.messages.values()]
            raise BagError(f"nothing in '{self._path}' could be used: {'; '.join(why) or 'it is empty'}")

    def _paired(self, reader: AnyReader) -> Iterator[tuple[str, int, Any]]:
        """Sweeps, and pairs of images, each with its time: (sensor, stamp, message or pair)."""
        topics = self.topics
        pairer: Pairer[Any, Any] = Pairer(
            TOLERANCE_NS, color=topics.color is not None, depth=topics.depth is not None
        )
        wanted = {topics.color, topics.depth, topics.lidar} - {None}
        now_s = 0.0
        for connection, message in messages_of(reader, lambda c: base_name(c.topic) in wanted):
            stamp, base = stamp_ns(message.header), base_name(connection.topic)
            now_s = stamp / 1e9
            if base == topics.lidar:
                self.ledger.received(LIDAR)
                yield LIDAR, stamp, message
                continue
            self.ledger.received(CAMERA)
            add = pairer.add_color if base == topics.color else pairer.add_depth
            yield from self._settled(add(stamp, (connection.msgtype, message), now_s))
        yield from self._settled(pairer.poll(now_s + 1.0))

    def _settled(self, paired: Paired[Any, Any]) -> Iterator[tuple[str, int, Any]]:
        for dropped in paired.dropped:
            self.ledger.dropped(CAMERA, dropped.reason, dropped.message)
        for pair in paired.pairs:
            yield CAMERA, pair.stamp_ns, pair

    def _pose(self, frame: str, stamp: int) -> FloatArray:
        while self._coming_ns and self._seen_ns < stamp:  # up to the first that is not older
            self._seen_ns = self._coming_ns.popleft()
            with suppress(TransformError):  # one that was none, and left out
                T_map_odom = self._transforms.lookup(self.topics.map_frame, self._odom_frame, self._seen_ns)
                jump = self._corrections.see(self._seen_ns, T_map_odom, self._robot_m)
                self.jumps.extend([] if jump is None else [jump])
        self._gaps.check(frame, stamp, self._transforms.links)
        newest = self._corrections.newest
        if newest is not None and stamp < newest.stamp_ns:
            pose = newest.T_map_odom @ self._transforms.lookup(self._odom_frame, frame, stamp)
        else:
            pose = self._transforms.lookup(self.topics.map_frame, frame, stamp)
        self._robot_m = pose[:3, 3]
        return pose

    def _scan(self, stamp: int, message: Any) -> Scan:
        points, intensity, after_s = decode_cloud(
            [(field.name, field.offset, field.datatype, field.count) for field in message.fields],
            *(message.height, message.width, message.point_step, message.row_step),
            *(bool(message.is_bigendian), message.data, stamp),
        )
        frame = bare(message.header.frame_id)
        pose = self._pose(frame, stamp)
        fixed = (self._odom_frame, self.topics.map_frame)
        if after_s is not None and (motion := motion_at(self._transforms.lookup, fixed, frame, stamp)):
            points = undo(points, after_s, motion)
        kept = None if intensity is None else torch.from_numpy(intensity)
        return Scan(stamp, torch.from_numpy(points), pose, kept, LIDAR)

    def _frame(self, stamp: int, pair: Pair[Any, Any]) -> Frame:
        """Colour and depth in the pixels of depth; in those of colour where depth is not registered to it."""
        color = depth_m = camera = None
        frame = ""
        if pair.depth is not None:
            depth_m, camera, frame = self._depth(*pair.depth)
        if pair.color is not None:
            color, color_camera, color_frame = self._color(*pair.color)
            if depth_m is None or camera is None:
                camera, frame = color_camera, color_frame
            elif color_frame == frame:
                color = seen_by(camera, color, color_camera)
            else:
                T_color_depth = self._transforms.lookup(color_frame, frame, stamp)
                depth_m = register_depth(depth_m, camera, color_camera, T_color_depth)
                camera, frame = color_camera, color_frame
        assert camera is not None
        return Frame(
            stamp,
            camera,
            self._pose(frame, stamp),
            None if color is None else torch.from_numpy(np.ascontiguousarray(color)),
            None if depth_m is None else torch.from_numpy(np.ascontiguousarray(depth_m)),
            CAMERA,
        )

    def _color(self, kind: str, message: Any) -> tuple[np.ndarray, Pinhole, str]:
        if kind == COMPRESSED:
            color = decode_compressed_image(message.format, message.data)
        else:
            color = decode_image(*_raster(message))
        model = self._model(self.topics.color_info, color, self.topics.color)
        return model.rectify_color(color), model.pinhole, bare(message.header.frame_id)

    def _depth(self, kind: str, message: Any) -> tuple[FloatArray, Pinhole, str]:
        if kind == COMPRESSED:
            depth_m = decode_compressed_depth(message.format, message.data, self._depth_scale)
        else:
            depth_m = decode_depth(*_raster(message), self._depth_scale)
        model = self._model(self.topics.depth_info or self.topics.color_info, depth_m, self.topics.depth)
        return model.rectify_depth(depth_m), model.pinhole, bare(message.header.frame_id)

    def _model(self, info_topic: str | None, image: np.ndarray, topic: str | None) -> CameraModel:
        info = self._infos.get(info_topic or "")
        if info is None:
            raise SensorError("no_camera_info", "the bag has no camera_info for an image topic")
        height, width = image.shape[:2]
        return CameraModel.from_info(
            info, width, height, rectified="rect" in (topic or "").split("/image")[-1]
        )


def _first_info(reader: AnyReader, topic: str) -> CameraInfo | None:
    """The first calibration on a topic; it holds for the whole recording."""
    for _, message in messages_of(reader, lambda c: c.topic == topic):
        return CameraInfo(
            width=int(message.width),
            height=int(message.height),
            distortion_model=message.distortion_model,
            D=tuple(message.d),
            K=tuple(message.k),
            R=tuple(message.r),
            P=tuple(message.p),
            binning_x=int(message.binning_x),
            binning_y=int(message.binning_y),
            roi_x_offset=int(message.roi.x_offset),
            roi_y_offset=int(message.roi.y_offset),
            roi_width=int(message.roi.width),
            roi_height=int(message.roi.height),
        )
    return None


def _raster(message: Any) -> tuple[str, int, int, int, bool, Any]:
    return (
        *(message.encoding, message.height, message.width, message.step),
        *(bool(message.is_bigendian), message.data),
    )
