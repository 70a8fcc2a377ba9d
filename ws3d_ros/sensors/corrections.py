"""Notices when localisation corrects itself: ``map -> odom`` jumps, as after a closed loop (REP-105)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from ws3d_ros.sensors.frame import FloatArray


@dataclass(frozen=True)
class Correction:
    """One jump.

    Attributes:
        stamp_ns: since when the new one holds; between it and the last before, tf would interpolate.
        T_map_odom: (4, 4) after the jump.
        T_new_old: (4, 4) what is believed to be at a place of the map, to where that is: what was seen just
            before the jump is moved by it.
        shift_m, turn_rad: how far it moved the robot, and turned it.
    """

    stamp_ns: int
    T_map_odom: FloatArray
    T_new_old: FloatArray
    shift_m: float
    turn_rad: float


class Corrections:
    """Watches ``map -> odom``.

    Attributes:
        newest: the last jump, or None. Measurements from before it are placed by it, and not by what tf said
            at their time: the map has moved on.
    """

    def __init__(self, tolerance_m: float) -> None:
        """Smaller jumps than that, see :func:`motion_m`, are none; with 0 there are none at all."""
        self._tolerance_m = tolerance_m
        self.clear()

    def clear(self) -> None:
        """Time began again."""
        self._last: tuple[int, FloatArray] | None = None
        self.newest: Correction | None = None

    def see(self, stamp_ns: int, T_map_odom: FloatArray, robot_m: FloatArray) -> Correction | None:
        """A transform (4, 4) came.

        Args:
            robot_m: (3,) where the robot was last in the map.
        """
        last = self._last
        if last is not None and stamp_ns <= last[0]:
            return None
        self._last = stamp_ns, T_map_odom
        if last is None or self._tolerance_m == 0.0:
            return None
        T_new_old = T_map_odom @ np.linalg.inv(last[1])
        if motion_m(T_new_old, robot_m) <= self._tolerance_m:
            return None
        self.newest = Correction(stamp_ns, T_map_odom, T_new_old, *shift_and_turn(T_new_old, robot_m))
        return self.newest


def motion_m(T_new_old: FloatArray, point_m: FloatArray) -> float:
    """How far a motion (4, 4) of the map's frame moves what is within two metres of a point (3,), at most."""
    shift_m, turn_rad = shift_and_turn(T_new_old, point_m)
    return shift_m + 2.0 * turn_rad


def shift_and_turn(T_new_old: FloatArray, point_m: FloatArray) -> tuple[float, float]:
    """Metres by which a motion (4, 4) moves a point (3,), and its turn in radians."""
    shift = T_new_old[:3, :3] @ point_m + T_new_old[:3, 3] - point_m
    return float(np.linalg.norm(shift)), float(Rotation.from_matrix(T_new_old[:3, :3]).magnitude())
