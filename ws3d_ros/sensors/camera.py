"""Calibrated cameras: camera_info checked and brought to the image, images rectified, depth to points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor

from ws3d_ros.sensors.errors import SensorError
from ws3d_ros.sensors.frame import FloatArray, Pinhole
from ws3d_ros.sensors.raster import Array, check_size

_COEFFICIENTS = {"plumb_bob": (4, 5), "rational_polynomial": (8, 12, 14), "equidistant": (4,)}
_ALIASES = {"fisheye": "equidistant", "kannala_brandt4": "equidistant", "radtan": "plumb_bob"}


@dataclass(frozen=True)
class CameraInfo:
    """The values of a ``sensor_msgs/CameraInfo``; they say what its comments say."""

    width: int
    height: int
    distortion_model: str
    D: tuple[float, ...]
    K: tuple[float, ...]
    R: tuple[float, ...] = ()
    P: tuple[float, ...] = ()
    binning_x: int = 0
    binning_y: int = 0
    roi_x_offset: int = 0
    roi_y_offset: int = 0
    roi_width: int = 0
    roi_height: int = 0


class CameraModel:
    """How one camera sees, for images of one size.

    Attributes:
        pinhole: the camera after rectification; belongs to the rectified images.
        rectifies: False for a camera without distortion, whose images pass as they are.
    """

    def __init__(self, pinhole: Pinhole, lens: _Lens | None = None) -> None:
        self.pinhole = pinhole
        self.rectifies = lens is not None
        self._lens = lens

    @staticmethod
    def from_info(info: CameraInfo, width: int, height: int, rectified: bool = False) -> CameraModel:
        """The camera of images of ``width`` x ``height`` pixels. Equal arguments return the same object.

        What the calibration is for and what the images are may differ in scale: binning and the region
        of interest are applied, then all is scaled to the images. The rectified camera is P where P
        is filled in, else K; a camera without distortion keeps K. Binned pixels are taken as their
        middle, so that centres stay at whole numbers.

        Args:
            rectified: the images were rectified before (``image_rect``); P describes them.

        Raises:
            SensorError: ``bad_camera_info`` when the calibration is missing, impossible, of an
                unknown model, or for images of another shape; ``bad_size``.
        """
        return _camera_model(info, width, height, rectified)

    def rectify_color(self, color: Array) -> Array:
        """(H, W, 3) uint8 without distortion, bilinear; black where the camera did not look."""
        self._check(color)
        if self._lens is None:
            return color
        return np.asarray(cv2.remap(color, *self._lens.linear_maps, cv2.INTER_LINEAR))

    def rectify_depth(self, depth_m: FloatArray) -> FloatArray:
        """(H, W) float32 metres without distortion, nearest neighbour; 0 where the camera did not look."""
        self._check(depth_m)
        if self._lens is None:
            return depth_m
        rectified = np.asarray(cv2.remap(depth_m, *self._lens.nearest_maps, cv2.INTER_NEAREST))
        scale = self._lens.depth_scale
        return rectified if scale is None else rectified * scale

    def _check(self, image: Array) -> None:
        if image.shape[:2] != (self.pinhole.height, self.pinhole.width):
            raise ValueError(
                f"this camera is for {self.pinhole.width} x {self.pinhole.height} pixels, "
                f"not {image.shape[1]} x {image.shape[0]}"
            )


def back_project(depth_m: Tensor, camera: Pinhole, stride: int = 1) -> Tensor:
    """Points of a depth image in the camera's optical frame.

    Args:
        depth_m: (H, W) float32 metres along the optical axis, 0 where invalid.
        camera: the camera of the full image.
        stride: takes every ``stride``-th pixel of every ``stride``-th row, starting at 0.

    Returns:
        (ceil(H / stride), ceil(W / stride), 3) float32 metres; (0, 0, 0) where depth is invalid.
    """
    if depth_m.shape != (camera.height, camera.width):
        raise ValueError(f"depth is {tuple(depth_m.shape)}, but its camera {(camera.height, camera.width)}")
    z = depth_m[::stride, ::stride]
    u = torch.arange(0, camera.width, stride, dtype=z.dtype, device=z.device)
    v = torch.arange(0, camera.height, stride, dtype=z.dtype, device=z.device)
    x = z * ((u - camera.cx) / camera.fx)
    y = z * ((v - camera.cy) / camera.fy)[:, None]
    return torch.stack([x, y, z], dim=-1)


@dataclass(frozen=True)
class _Lens:
    """A raw camera with distortion, and the rectified one that its images are brought to."""

    raw: Pinhole
    rectified: Pinhole
    fisheye: bool
    D: tuple[float, ...]
    R: tuple[float, ...]

    @cached_property
    def _maps(self) -> tuple[Array, Array]:
        undistort = cv2.fisheye.initUndistortRectifyMap if self.fisheye else cv2.initUndistortRectifyMap
        size = (self.rectified.width, self.rectified.height)
        maps = undistort(
            self.raw.matrix(), np.array(self.D), self._rotation, self.rectified.matrix(), size, cv2.CV_32FC1
        )
        # What a wild lens sends out of all bounds shall be outside, not wrap around.
        x, y = (np.nan_to_num(np.clip(part, -1e4, 3e4), nan=-1e4) for part in maps)
        return x, y

    @cached_property
    def linear_maps(self) -> tuple[Array, Array]:
        """In fixed point, which remap reads faster than floating point."""
        return cv2.convertMaps(*self._maps, cv2.CV_16SC2)

    @cached_property
    def nearest_maps(self) -> tuple[Array, Array]:
        """Rounded to whole pixels; the integer part of the linear maps would be half a pixel off."""
        return cv2.convertMaps(*self._maps, cv2.CV_16SC2, nninterpolation=True)

    @cached_property
    def depth_scale(self) -> Array | None:
        """Rectified depth for one metre of raw depth, (H, W), where R turns the optical axis."""
        if np.allclose(self._rotation, np.eye(3)):
            return None
        ones = torch.ones(self.rectified.height, self.rectified.width)
        rays = back_project(ones, self.rectified).numpy()
        along = rays @ self._rotation[:, 2]
        ahead = along > 1e-3  # what lies beside or behind the camera, it did not look at
        return np.where(ahead, 1.0 / np.where(ahead, along, 1.0), 0.0).astype(np.float32)

    @property
    def _rotation(self) -> FloatArray:
        return np.array(self.R).reshape(3, 3)


@lru_cache(maxsize=32)
def _camera_model(info: CameraInfo, width: int, height: int, rectified: bool) -> CameraModel:
    check_size(height, width)
    _check_calibration(info)
    raw = _to_image(info, info.K[0], info.K[4], info.K[2], info.K[5], width, height)
    R = info.R if any(info.R) else (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    model = _ALIASES.get(info.distortion_model, info.distortion_model)
    # A fisheye without coefficients is still a fisheye.
    distorted = any(info.D) or (model == "equidistant" and len(info.D) > 0)
    turned = not np.allclose(np.reshape(R, (3, 3)), np.eye(3), rtol=0.0, atol=1e-9)
    if not (distorted or turned or rectified):
        return CameraModel(raw)
    ideal = raw
    if any(info.P):
        ideal = _to_image(info, info.P[0], info.P[5], info.P[2], info.P[6], width, height)
    if rectified:
        return CameraModel(ideal)
    D = info.D if model in _COEFFICIENTS else ()  # zeros, and maybe more than OpenCV takes
    return CameraModel(ideal, _Lens(raw, ideal, model == "equidistant", D, R))


def _to_image(
    info: CameraInfo, fx: float, fy: float, cx: float, cy: float, width: int, height: int
) -> Pinhole:
    """The camera of the full sensor as the camera of the images: cut, binned, scaled."""
    has_roi = info.roi_width > 0 and info.roi_height > 0
    cut = Pinhole(
        info.roi_width if has_roi else info.width,
        info.roi_height if has_roi else info.height,
        float(fx),  # a numpy scalar would make double precision of every tensor that it meets
        float(fy),
        float(cx - info.roi_x_offset * has_roi),
        float(cy - info.roi_y_offset * has_roi),
    )
    binned = cut.scaled_to(cut.width // max(info.binning_x, 1), cut.height // max(info.binning_y, 1))
    if (binned.width, binned.height) == (width, height):
        return binned
    if abs(binned.width * height - width * binned.height) > 0.01 * binned.width * height:
        raise _bad(
            f"it is for images of {binned.width} x {binned.height} pixels, but these have "
            f"{width} x {height}, which is another shape; it belongs to another camera or another mode"
        )
    return binned.scaled_to(width, height)


def _check_calibration(info: CameraInfo) -> None:
    """Raises SensorError(``bad_camera_info``) for values that no calibrated camera has."""
    if not any(info.K):
        raise _bad(
            "K is all zeros, so the driver has no calibration; calibrate the camera (ros2 run "
            "camera_calibration cameracalibrator) and give the driver the file (camera_info_url)"
        )
    _check_numbers("K", info.K, (9,))
    _check_numbers("R", info.R, (0, 9))
    _check_numbers("P", info.P, (0, 12))
    model = _ALIASES.get(info.distortion_model, info.distortion_model)
    if model in _COEFFICIENTS:
        _check_numbers(f"D of the model '{info.distortion_model}'", info.D, (0, *_COEFFICIENTS[model]))
    elif any(info.D):
        raise _bad(
            f"the distortion model '{info.distortion_model}' is not supported; it must be one of "
            f"{', '.join(_COEFFICIENTS)}, or rectify the images before (image_proc)"
        )
    _check_sizes(info)
    fx, fy = info.K[0], info.K[4]
    # The widest lenses have f = 0.2 widths; K in units of the image has f below 2 pixels.
    if not (0.05 * info.width < fx < 1000.0 * info.width and 0.05 * info.height < fy < 1000.0 * info.height):
        raise _bad(f"the focal lengths {fx:g} and {fy:g} do not fit {info.width} x {info.height} pixels")
    if any(info.P) and (info.P[0] <= 0.01 * info.width or info.P[5] <= 0.01 * info.height):
        raise _bad(f"the focal lengths {info.P[0]:g} and {info.P[5]:g} in P must be positive, and not tiny")
    most = 1000.0 * max(info.width, info.height)
    if max(map(abs, (*info.K, *info.P[:3], *info.P[4:7]))) > most:
        raise _bad(f"K or P has values beyond {most:g} pixels")
    if any(info.R):
        rotation = np.reshape(info.R, (3, 3))
        orthogonal = np.allclose(rotation @ rotation.T, np.eye(3), rtol=0.0, atol=1e-3)
        if not orthogonal or np.linalg.det(rotation) < 0.0:
            raise _bad("R is not a rotation; calibrate the camera again")


def _check_sizes(info: CameraInfo) -> None:
    sizes = (info.width, info.height)
    edges = (info.roi_x_offset + info.roi_width, info.roi_y_offset + info.roi_height)
    bins = (info.binning_x, info.binning_y)
    others = (info.roi_x_offset, info.roi_y_offset, info.roi_width, info.roi_height, *bins)
    if min(sizes) < 1 or max(sizes) > 1 << 16:
        raise _bad(f"it is for images of {info.width} x {info.height} pixels; fill in the width and height")
    if min(others) < 0 or edges[0] > info.width or edges[1] > info.height:
        raise _bad(f"its region of interest ends at {edges}, outside of {info.width} x {info.height} pixels")
    roi_sizes = (info.roi_width or info.width, info.roi_height or info.height)
    if any(count > size for count, size in zip(bins, roi_sizes, strict=True)):
        raise _bad(f"its binning {bins} leaves no pixel of {roi_sizes[0]} x {roi_sizes[1]}")


def _check_numbers(name: str, values: Sequence[float], lengths: tuple[int, ...]) -> None:
    if len(values) not in lengths:
        raise _bad(f"{name} has {len(values)} values; it must have {' or '.join(map(str, lengths))}")
    if not np.isfinite(values).all():
        raise _bad(f"{name} has values that are not finite: {tuple(values)}")


def _bad(what: str) -> SensorError:
    return SensorError("bad_camera_info", f"camera_info cannot be used: {what}")
