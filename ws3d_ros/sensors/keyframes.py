"""Which images are worth encoding: those that show enough that is new, and show it well."""

from __future__ import annotations

import numpy as np

from ws3d_ros.config import SemanticsConfig
from ws3d_ros.sensors.frame import FloatArray, Frame
from ws3d_ros.sensors.sharpness import Blur


class Keyframes:
    """Remembers the last keyframe of each camera."""

    def __init__(self) -> None:
        self._poses: dict[str, FloatArray] = {}
        self._blur: dict[str, Blur] = {}

    def take(self, frame: Frame, novel: bool, settings: SemanticsConfig) -> bool:
        """Whether a frame with an image is a keyframe; if so, later ones are compared with it.

        It is if its camera moved or turned enough since its last one, or if what it shows is ``novel``; not
        while it is blurred, unless the camera went on moving as far again.
        """
        assert frame.color is not None
        last = self._poses.get(frame.sensor)
        moved_m, turned_deg = (0.0, 0.0) if last is None else motion(last, frame.T_map_camera)

        def went(times: float) -> bool:
            distance_m, angle_deg = times * settings.keyframe_distance_m, times * settings.keyframe_angle_deg
            return moved_m >= distance_m or turned_deg >= angle_deg

        if last is not None and not novel and not went(1.0):
            return False
        if self._blur.setdefault(frame.sensor, Blur()).blurred(frame.color) and not went(2.0):
            return False
        self._poses[frame.sensor] = frame.T_map_camera
        return True

    def clear(self) -> None:
        """The next image of each camera is compared with none."""
        self._poses.clear()


def motion(T_map_a: FloatArray, T_map_b: FloatArray) -> tuple[float, float]:
    """How far apart two poses (4, 4) are: metres, and degrees of the rotation between them."""
    between = np.linalg.inv(T_map_a) @ T_map_b
    cosine = (np.trace(between[:3, :3]) - 1.0) / 2.0
    return float(np.linalg.norm(between[:3, 3])), float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))
