"""The types that sensors hand to the rest of the system.

Frames follow REP-103 and REP-105: map points are metres, z up; camera points are in the
optical frame (x right, y down, z forward). ``T_map_camera`` takes camera points to map
points. Depth is distance along the optical axis (z), not along the ray.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

FloatArray = np.ndarray
"""An array of floating point numbers; shapes are given where it is used."""


@dataclass(frozen=True)
class Pinhole:
    """A rectified pinhole camera: pixel (u, v) sees the ray ((u-cx)/fx, (v-cy)/fy, 1).

    Pixel centres are at whole numbers (OpenCV's convention).
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    def scaled_to(self, width: int, height: int) -> Pinhole:
        """The same camera with another number of pixels over the same field of view."""
        sx, sy = width / self.width, height / self.height
        return Pinhole(
            width,
            height,
            self.fx * sx,
            self.fy * sy,
            (self.cx + 0.5) * sx - 0.5,
            (self.cy + 0.5) * sy - 0.5,
        )

    def matrix(self) -> FloatArray:
        """The 3x3 intrinsic matrix, float64."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])


@dataclass(frozen=True)
class Frame:
    """One camera image with depth, colour or both, in one rectified optical frame.

    Attributes:
        stamp_ns: time of the measurement, nanoseconds.
        camera: intrinsics shared by ``color`` and ``depth_m``.
        T_map_camera: (4, 4) float64, camera points to map points.
        color: (H, W, 3) uint8 RGB, or None.
        depth_m: (H, W) float32 metres along the optical axis, 0 where invalid, or None for
            a camera without depth (its image still colours and names what other sensors mapped).
        sensor: name of the camera, for counting and messages.
    """

    stamp_ns: int
    camera: Pinhole
    T_map_camera: FloatArray
    color: Tensor | None
    depth_m: Tensor | None
    sensor: str = "camera"


@dataclass(frozen=True)
class Scan:
    """One LiDAR sweep.

    Attributes:
        stamp_ns: time of the measurement, nanoseconds.
        points_m: (N, 3) float32, finite, in the sensor's own frame.
        T_map_lidar: (4, 4) float64, sensor points to map points.
        intensity: (N,) float32 in the sensor's own unit, or None.
        sensor: name of the LiDAR.
    """

    stamp_ns: int
    points_m: Tensor
    T_map_lidar: FloatArray
    intensity: Tensor | None = None
    sensor: str = "lidar"
