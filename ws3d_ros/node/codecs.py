"""Sensor messages to what the core works on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
import torch
from sensor_msgs.msg import CameraInfo as CameraInfoMessage
from sensor_msgs.msg import CompressedImage, Image, PointCloud2
from std_msgs.msg import Header

from ws3d_ros.sensors.camera import CameraInfo, CameraModel
from ws3d_ros.sensors.checkup.content import cloud_unit_problem, depth_unit_problem
from ws3d_ros.sensors.cloud import TIME_NAMES, Returns, decode_cloud
from ws3d_ros.sensors.depth import decode_compressed_depth, decode_depth, register_depth
from ws3d_ros.sensors.errors import SensorError
from ws3d_ros.sensors.frame import FloatArray, Frame, Pinhole, Scan
from ws3d_ros.sensors.image import decode_compressed_image, decode_image
from ws3d_ros.sensors.motion import Motion, undo

AnyImage: TypeAlias = Image | CompressedImage  # type: ignore[valid-type]


@dataclass(frozen=True)
class Shot:
    """What one camera sent for one moment.

    Attributes:
        color, depth: at least one of them.
        color_info, depth_info: calibrations; without its own, depth is taken as registered to colour.
        T_color_depth: (4, 4), depth camera's points to the colour camera's; None where both images
            have the same frame.
        color_rectified, depth_rectified: the images were rectified before they were published.
    """

    sensor: str
    color: AnyImage | None
    depth: AnyImage | None
    color_info: CameraInfoMessage | None
    depth_info: CameraInfoMessage | None
    T_color_depth: FloatArray | None = None
    color_rectified: bool = False
    depth_rectified: bool = False

    @property
    def header(self) -> Header:
        """Time and frame of the camera that the shot is told in: colour where there is colour."""
        message = self.color if self.color is not None else self.depth
        assert message is not None
        return message.header


def stamp_ns(header: Header) -> int:
    """The stamp of a message in nanoseconds."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def check_bytes(message: AnyImage | PointCloud2, most_mb: float) -> None:
    """Lets pass what is not larger than ``inputs.max_message_mb``; looks at nothing else.

    Raises:
        SensorError: ``too_large``, for more than ``most_mb`` million bytes of data.
    """
    size_mb = len(message.data) * 1e-6
    if size_mb > most_mb:
        raise SensorError(
            "too_large",
            f"a message of {size_mb:.4g} MB is more than inputs.max_message_mb = {most_mb:g}, so it was not "
            "used: let the driver send less, or raise the setting if there is memory for dozens of them",
        )


def decode_shot(shot: Shot, T_map_camera: FloatArray, depth_scale: float) -> Frame:
    """One rectified frame with one camera for colour and depth.

    Raises:
        SensorError: what the decoders raise; ``depth_unit`` for depth that no camera can measure;
            ``no_camera_info``.
    """
    color = depth_m = None
    camera: Pinhole | None = None
    if shot.color is not None:
        color, camera = _rectified_color(shot)
    if shot.depth is not None:
        depth_m, depth_camera = _rectified_depth(shot, depth_scale)
        if color is None or camera is None:
            camera = depth_camera
        else:
            color, depth_m, camera = _join(color, camera, depth_m, depth_camera, shot.T_color_depth)
    assert camera is not None
    return Frame(
        stamp_ns=stamp_ns(shot.header),
        camera=camera,
        T_map_camera=T_map_camera,
        color=None if color is None else torch.from_numpy(np.ascontiguousarray(color)),
        depth_m=None if depth_m is None else torch.from_numpy(np.ascontiguousarray(depth_m)),
        sensor=shot.sensor,
    )


def decode_sweep(
    message: PointCloud2, T_map_lidar: FloatArray, sensor: str, motion: Motion | None = None
) -> Scan:
    """One LiDAR sweep, as if all of it had been measured at its stamp where ``motion`` and times are known.

    Raises:
        SensorError: see :func:`decode_points`.
    """
    points, intensity, after_s = decode_points(message)
    if motion is not None and after_s is not None:
        points = undo(points, after_s, motion)
    return Scan(
        stamp_ns=stamp_ns(message.header),
        points_m=torch.from_numpy(points),
        T_map_lidar=T_map_lidar,
        intensity=None if intensity is None else torch.from_numpy(intensity),
        sensor=sensor,
    )


def has_times(message: PointCloud2) -> bool:
    """Whether its points say when they were measured; asks for names only."""
    return any(field.name in TIME_NAMES for field in message.fields)


def decode_points(message: PointCloud2) -> Returns:
    """What a cloud holds.

    Raises:
        SensorError: see :func:`ws3d_ros.sensors.cloud.decode_cloud`; ``cloud_unit`` for points so far away
            that they cannot be in metres.
    """
    returns = decode_cloud(
        [(field.name, field.offset, field.datatype, field.count) for field in message.fields],
        message.height,
        message.width,
        message.point_step,
        message.row_step,
        message.is_bigendian,
        message.data,
        stamp_ns(message.header),
    )
    if wrong := cloud_unit_problem(returns.points):
        raise SensorError("cloud_unit", wrong)
    return returns


def camera_info(message: CameraInfoMessage) -> CameraInfo:
    """The plain values of a calibration."""
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


def decode_color(message: AnyImage) -> np.ndarray:
    """(H, W, 3) uint8 RGB."""
    if isinstance(message, CompressedImage):
        return decode_compressed_image(message.format, message.data)
    return decode_image(*_raw(message))


def decode_any_depth(message: AnyImage, depth_scale: float) -> FloatArray:
    """(H, W) float32 metres, 0 where invalid."""
    if isinstance(message, CompressedImage):
        return decode_compressed_depth(message.format, message.data, depth_scale)
    return decode_depth(*_raw(message), depth_scale)


def encoding_of(message: AnyImage) -> str:
    """What an image says that its pixels are."""
    return str(message.format if isinstance(message, CompressedImage) else message.encoding)


def _raw(message: Image) -> tuple[str, int, int, int, bool, Any]:
    return (
        message.encoding,
        message.height,
        message.width,
        message.step,
        bool(message.is_bigendian),
        message.data,
    )


def _rectified_color(shot: Shot) -> tuple[np.ndarray, Pinhole]:
    assert shot.color is not None
    color = decode_color(shot.color)
    model = _model(shot.color_info, color, shot.color_rectified)
    return model.rectify_color(color), model.pinhole


def _rectified_depth(shot: Shot, depth_scale: float) -> tuple[FloatArray, Pinhole]:
    assert shot.depth is not None
    depth_m = decode_any_depth(shot.depth, depth_scale)
    _check_unit(depth_m, encoding_of(shot.depth), depth_scale)
    info = shot.depth_info if shot.depth_info is not None else shot.color_info
    model = _model(info, depth_m, shot.depth_rectified)
    return model.rectify_depth(depth_m), model.pinhole


def _model(info: CameraInfoMessage | None, image: np.ndarray, rectified: bool) -> CameraModel:
    if info is None:
        raise SensorError("no_camera_info", "no camera_info has come yet")
    height, width = image.shape[:2]
    return CameraModel.from_info(camera_info(info), width, height, rectified)


def _join(
    color: np.ndarray,
    color_camera: Pinhole,
    depth_m: FloatArray,
    depth_camera: Pinhole,
    T_color_depth: FloatArray | None,
) -> tuple[np.ndarray, FloatArray, Pinhole]:
    """Colour and depth in the same pixels, no finer than depth is: that is where the points come from."""
    if T_color_depth is None and _same_view(color_camera, depth_camera):
        return _resized(color, depth_camera), depth_m, depth_camera
    shrink = min(1.0, depth_camera.fx / color_camera.fx)
    camera = color_camera.scaled_to(round(color_camera.width * shrink), round(color_camera.height * shrink))
    pose = np.eye(4) if T_color_depth is None else T_color_depth
    return _resized(color, camera), register_depth(depth_m, depth_camera, camera, pose), camera


def _same_view(a: Pinhole, b: Pinhole) -> bool:
    """Whether two cameras at one place look through the same window, whatever their pixels."""
    scaled = a.scaled_to(b.width, b.height)
    # Half a pixel: what resizing rounds anyway.
    return all(abs(x - y) < 0.5 for x, y in zip(scaled.matrix().flat, b.matrix().flat, strict=True))


def _resized(color: np.ndarray, camera: Pinhole) -> np.ndarray:
    if color.shape[:2] == (camera.height, camera.width):
        return color
    method = cv2.INTER_AREA if color.shape[1] > camera.width else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(color, (camera.width, camera.height), interpolation=method))


def _check_unit(depth_m: FloatArray, encoding: str, depth_scale: float) -> None:
    """Raises SensorError(``depth_unit``) when the values cannot be metres."""
    valid = depth_m[::4, ::4]
    valid = valid[valid > 0]
    if len(valid) == 0:
        return
    wrong = depth_unit_problem(float(np.median(valid)), encoding, depth_scale)
    if wrong:
        raise SensorError("depth_unit", wrong)
