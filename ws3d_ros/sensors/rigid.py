"""Rigid motions as seven floats.

On so few numbers plain floats are several times faster than arrays, and transforms are looked up
for every measurement that waits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ws3d_ros.sensors.frame import FloatArray

Pose = tuple[float, float, float, float, float, float, float]
"""x, y, z and the unit quaternion qx, qy, qz, qw."""

IDENTITY: Pose = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)


def pose_matrix(translation: Sequence[float], quaternion_xyzw: Sequence[float]) -> FloatArray:
    """(4, 4) float64 of a translation and a quaternion, which is normalised."""
    qx, qy, qz, qw = quaternion_xyzw
    norm = math.sqrt(qx * qx + qy * qy + qz * qz + qw * qw)
    x, y, z = translation
    return matrix((x, y, z, qx / norm, qy / norm, qz / norm, qw / norm))


def compose(a: Pose, b: Pose) -> Pose:
    """First b, then a."""
    ax, ay, az, aw = a[3:]
    bx, by, bz, bw = b[3:]
    x, y, z = _rotate(a[3:], b[0], b[1], b[2])
    return (
        x + a[0],
        y + a[1],
        z + a[2],
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def inverse(a: Pose) -> Pose:
    """The way back."""
    back = (-a[3], -a[4], -a[5], a[6])
    x, y, z = _rotate(back, a[0], a[1], a[2])
    return (-x, -y, -z, *back)


def interpolate(a: Pose, b: Pose, share: float) -> Pose:
    """Straight between the places; slerp (Shoemake, SIGGRAPH 1985) along the shorter arc."""
    keep = 1.0 - share
    dot = a[3] * b[3] + a[4] * b[4] + a[5] * b[5] + a[6] * b[6]
    sign = 1.0 if dot >= 0.0 else -1.0
    angle = math.acos(min(abs(dot), 1.0))
    if angle < 1e-4:
        # The chord and the arc are one to within 1e-9; the quotient of sines is not safe here.
        wa, wb = keep, sign * share
    else:
        wa, wb = math.sin(keep * angle) / math.sin(angle), sign * math.sin(share * angle) / math.sin(angle)
    qx, qy = wa * a[3] + wb * b[3], wa * a[4] + wb * b[4]
    qz, qw = wa * a[5] + wb * b[5], wa * a[6] + wb * b[6]
    norm = math.sqrt(qx * qx + qy * qy + qz * qz + qw * qw)
    return (
        keep * a[0] + share * b[0],
        keep * a[1] + share * b[1],
        keep * a[2] + share * b[2],
        qx / norm,
        qy / norm,
        qz / norm,
        qw / norm,
    )


def matrix(pose: Pose) -> FloatArray:
    """(4, 4) float64."""
    x, y, z, qx, qy, qz, qw = pose
    return np.array(
        [
            [1 - 2 * (qy * qy + qz * qz), 2 * (qx * qy - qz * qw), 2 * (qx * qz + qy * qw), x],
            [2 * (qx * qy + qz * qw), 1 - 2 * (qx * qx + qz * qz), 2 * (qy * qz - qx * qw), y],
            [2 * (qx * qz - qy * qw), 2 * (qy * qz + qx * qw), 1 - 2 * (qx * qx + qy * qy), z],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )


def _rotate(q: tuple[float, float, float, float], x: float, y: float, z: float) -> tuple[float, float, float]:
    """v + 2 w (q × v) + 2 q × (q × v), for a unit quaternion."""
    qx, qy, qz, qw = q
    tx, ty, tz = 2.0 * (qy * z - qz * y), 2.0 * (qz * x - qx * z), 2.0 * (qx * y - qy * x)
    return (
        x + qw * tx + qy * tz - qz * ty,
        y + qw * ty + qz * tx - qx * tz,
        z + qw * tz + qx * ty - qy * tx,
    )
