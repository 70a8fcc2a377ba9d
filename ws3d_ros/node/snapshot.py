"""What outputs and services get of the map: a copy, with the words that it is named by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ws3d_ros.instances.objects import State
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.reconstruction.window import Window
from ws3d_ros.sensors.frame import FloatArray, Frame, Scan

T_LIDAR_OPTICAL = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
"""REP-103: x ahead and z up in a LiDAR's frame; z ahead and y down in an optical one."""


@dataclass(frozen=True)
class Sight:
    """Where and when a sensor measured.

    Attributes:
        frame_id: the sensor's frame.
        T_map_sensor: (4, 4) float64, its points to map points at ``stamp_ns``.
    """

    frame_id: str
    stamp_ns: int
    T_map_sensor: FloatArray


@dataclass(frozen=True)
class Snapshot:
    """A copy of a part of the map, with the words that its labels mean.

    Attributes:
        arrived_s: steady time at which the newest measurement in it arrived.
        sight: of that measurement; None while there was none (a map may have been loaded).
        states: of the objects, by instance.
        eyes: (B, 4, 4) float32 T_map_camera, from where to show it to people: the last virtual cameras, or
            where the newest measurement was made; None as ``sight``.
        named_s: steady times at which those keyframes arrived, the last ones, whose names are in it.
    """

    window: Window
    words: Vocabulary
    arrived_s: float
    sight: Sight | None = None
    states: Mapping[int, State] = field(default_factory=dict)
    eyes: Tensor | None = None
    named_s: tuple[float, ...] = ()


def ahead(measurement: Frame | Scan) -> Tensor:
    """(1, 4, 4) float32: an optical frame where the sensor is, which looks to where the sensor does."""
    if isinstance(measurement, Frame):
        pose = measurement.T_map_camera
    else:
        pose = measurement.T_map_lidar @ T_LIDAR_OPTICAL
    return torch.from_numpy(pose).float()[None]
