"""How a LiDAR moved while it swept, undone: each of its points is put where it was at the sweep's stamp.

Drivers tell when each point was measured, in fields of many names and units. For the tenth of a second that
a sweep lasts the sensor is taken to shift and turn at steady rates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from ws3d_ros.sensors.frame import FloatArray
from ws3d_ros.sensors.transforms import TransformError

SWEEP_NS = 100_000_000
"""Poses are asked for so long after the stamp or, where tf has not come so far, before it."""
LONGEST_S = 0.5
"""Points further from the stamp than this are of no sweep: their times mean something else."""
LEAST_RAD = 1e-6
"""Less than this turns no point by more than a micrometre for each metre."""
FASTEST_M_S, FASTEST_RAD_S = 60.0, 30.0
"""What seems to move faster was put elsewhere: localisation jumped."""


@dataclass(frozen=True)
class Motion:
    """A sensor's way, from its place at a stamp to that ``duration_s`` later (earlier, if negative).

    Attributes:
        turn_rad: (3,) float64 rotation vector, in the sensor's frame at the stamp.
        shift_m: (3,) float64, likewise.
    """

    duration_s: float
    turn_rad: FloatArray
    shift_m: FloatArray


def motion_at(
    lookup: Callable[[str, str, int], FloatArray], fixed: Sequence[str], frame: str, stamp_ns: int
) -> Motion | None:
    """How a frame moves around a stamp; None where tf cannot tell, or tells what nothing can do.

    Args:
        lookup: ``T_target_source`` (4, 4) at a stamp, or TransformError.
        fixed: frames that it may move in, the first that tf knows counts: odometry does not jump.
    """
    for parent in fixed:
        for duration_ns in (SWEEP_NS, -SWEEP_NS):
            with suppress(TransformError):
                begin, end = lookup(parent, frame, stamp_ns), lookup(parent, frame, stamp_ns + duration_ns)
                return _between(begin, end, duration_ns * 1e-9)
    return None


def _between(T_fixed_begin: FloatArray, T_fixed_end: FloatArray, duration_s: float) -> Motion | None:
    turn = T_fixed_begin[:3, :3].T
    turn_rad = Rotation.from_matrix(turn @ T_fixed_end[:3, :3]).as_rotvec()
    shift_m = turn @ (T_fixed_end[:3, 3] - T_fixed_begin[:3, 3])
    fastest = abs(duration_s) * np.array([FASTEST_M_S, FASTEST_RAD_S])
    if (np.array([np.linalg.norm(shift_m), np.linalg.norm(turn_rad)]) > fastest).any():
        return None
    return Motion(duration_s, turn_rad, shift_m)


def seconds_after(times: np.ndarray, stamp_ns: int) -> FloatArray | None:
    """When points were measured, after a sweep's stamp.

    Whole numbers are nanoseconds from the stamp on (Ouster's ``t``, Livox' ``offset_time``); others are
    seconds from the stamp on (Velodyne's ``time``), seconds since 1970 (Hesai's and RoboSense's
    ``timestamp``), or nanoseconds since 1970 (Livox' ``timestamp``).

    Args:
        times: (N,) of any type, N >= 1.

    Returns:
        (N,) float32, at most ``LONGEST_S`` from 0; None where the numbers are no times of one sweep.
    """
    if times.dtype.kind in "iu":
        after_s = times.astype(np.float64) * 1e-9
    else:
        values = times.astype(np.float64)
        usual = abs(float(np.median(values)))
        if usual > 1e14:
            after_s = (values - stamp_ns) * 1e-9
        else:
            after_s = values - stamp_ns * 1e-9 if usual > 1e6 else values
    if not np.abs(after_s).max() <= LONGEST_S or np.ptp(after_s) == 0.0:  # so that NaN is none
        return None
    return after_s.astype(np.float32)


def undo(points: FloatArray, after_s: FloatArray, motion: Motion) -> FloatArray:
    """Points where the sensor would have seen them at the stamp.

    Turning and shifting at steady rates make a screw, for all points about the same axis: the exponential
    map of SE(3) in closed form (e.g. Lynch and Park, Modern Robotics, 2017, section 3.3.3).

    Args:
        points: (N, 3) float32, each in the sensor's frame of its own moment.
        after_s: (N,) float32 of :func:`seconds_after`.

    Returns:
        (N, 3) float32.
    """
    share = (after_s / motion.duration_s)[:, None].astype(np.float32)
    angle_rad = float(np.linalg.norm(motion.turn_rad))
    if angle_rad < LEAST_RAD:
        return points + share * motion.shift_m.astype(np.float32)
    axis = motion.turn_rad / angle_rad
    rate = _rate(axis, angle_rad, motion.shift_m)
    pitch, around = (axis * float(axis @ rate)).astype(np.float32), np.cross(axis, rate).astype(np.float32)
    axis, rate = axis.astype(np.float32), rate.astype(np.float32)
    cos, sin = np.cos(angle_rad * share), np.sin(angle_rad * share)
    along = (points @ axis)[:, None] * axis
    turned = along + cos * (points - along) + sin * np.cross(axis, points)
    shifted = share * pitch + (sin * (rate - pitch) + (1 - cos) * around) / np.float32(angle_rad)
    return np.asarray(turned + shifted, np.float32)


def _rate(axis: FloatArray, angle_rad: float, shift_m: FloatArray) -> FloatArray:
    """(3,) how fast it shifts, in its own frame, to come by ``shift_m`` while it turns by the angle."""
    x, y, z = axis
    across = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    sin = np.sin(angle_rad) / angle_rad
    bend = (1.0 - np.cos(angle_rad)) / angle_rad
    return np.linalg.solve(sin * np.eye(3) + bend * across + (1.0 - sin) * np.outer(axis, axis), shift_m)
