"""What a perfect camera sees of a scene, whoever draws it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ws3d_ros.sensors.frame import Pinhole


@dataclass(frozen=True)
class View:
    """What a perfect camera sees.

    Attributes:
        color: (H, W, 3) uint8 RGB.
        depth_m: (H, W) float32 along the optical axis, 0 where nothing is.
        instance: (H, W) uint16 number of the thing, 0 where nothing is.
    """

    color: np.ndarray
    depth_m: np.ndarray
    instance: np.ndarray


class Viewer(Protocol):
    """Draws the scene that it was shown."""

    def view(self, camera: Pinhole, T_map_camera: np.ndarray) -> View:
        """The scene from a pose (4x4, optical frame: x right, y down, z forward)."""
