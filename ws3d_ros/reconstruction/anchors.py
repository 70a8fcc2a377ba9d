"""Where the robot was when it saw what, so that the map can follow when localisation corrects itself.

Between two corrections of ``map -> odom`` odometry drifts, and the map bends with it. A correction says by
how much at the end of that *stretch*, and nothing else: what was seen there moves by all of it, what was seen
at its beginning stays, and in between the way of the robot is bent (trajectory bending, Dubbelman et al.,
ICRA 2012): the turn is shared out evenly over the way, positions follow from it, and what is then
missing of the shift is shared out as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from ws3d_ros.sensors.corrections import motion_m, shift_and_turn
from ws3d_ros.sensors.frame import FloatArray

APART_M = 0.25
"""Way between two anchors; a robot that only shakes makes none."""
START_M = 1.0
"""Every stretch begins here, so that the way of a voxel tells a stretch's first evidence from older, at 0."""
MOST_DRIFT = 0.25
"""A shift by more than this share of the metres driven, or a turn by as many radians a metre of way, is no
drift: the robot was somewhere else all the time, and all of the stretch moves alike."""


class Path:
    """The way of the robot since the last correction, by the poses of the sensor that came first."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """A new stretch begins."""
        self._sensor: str | None = None
        self._last = np.eye(4)  # anchor
        self._ways: list[float] = []  # of the anchors, and of the newest measurement
        self._points: list[FloatArray] = []

    def go(self, sensor: str, T_map_sensor: FloatArray) -> float:
        """A measurement was made at this pose (4, 4).

        Returns:
            how far the robot went, from ``START_M`` on; turning counts, see ``motion_m``.
        """
        if self._sensor is None:
            self._sensor, self._last = sensor, T_map_sensor
            self._ways, self._points = [START_M] * 2, [T_map_sensor[:3, 3]] * 2
        if self._sensor == sensor:
            step_m = motion_m(T_map_sensor @ np.linalg.inv(self._last), self._last[:3, 3])
            self._ways[-1], self._points[-1] = self._ways[-2] + step_m, T_map_sensor[:3, 3]
            if step_m >= APART_M:
                self._last = T_map_sensor
                self._ways.append(self._ways[-1])
                self._points.append(self._points[-1])
        return self._ways[-1]

    def bend(self, T_new_old: FloatArray) -> Bend | None:
        """How the stretch is to be bent so that its end moves by a correction; None before a measurement."""
        if self._sensor is None:
            return None
        return bend(np.array(self._ways), np.array(self._points), T_new_old)


@dataclass(frozen=True)
class Bend:
    """K >= 2 anchors of a stretch, before and after.

    Attributes:
        way_m: (K,) float64 ascending; two may be equal.
        share: (K,) float64 of the correction's turn.
        from_m, to_m: (K, 3) float64 positions of the sensor.
        turn: (3,) float64 the correction's turn as a rotation vector, radians.
    """

    way_m: FloatArray
    share: FloatArray
    from_m: FloatArray
    to_m: FloatArray
    turn: FloatArray

    def carry(self, way_m: Tensor, point_m: Tensor, *directions: Tensor) -> tuple[Tensor, ...]:
        """Points and directions there, (N, 3) each, that were seen at these ways (N,), after the correction.

        Between anchors what they say is interpolated. float64.
        """
        device = point_m.device
        columns = np.column_stack([self.share, self.from_m, self.to_m])
        at = _interpolated(
            way_m.double(), torch.from_numpy(self.way_m).to(device), torch.from_numpy(columns).to(device)
        )
        turn, before, after = torch.from_numpy(self.turn).to(device), at[:, 1:4], at[:, 4:7]
        offset, *turned = (_turned(each.double(), turn, at[:, 0]) for each in (point_m - before, *directions))
        return offset + after, *turned


def bend(way_m: FloatArray, point_m: FloatArray, T_new_old: FloatArray) -> Bend:
    """The way (K,) and positions (K, 3) of a stretch's anchors to what a correction makes of them.

    Args:
        T_new_old: (4, 4) what the end of the stretch moves by, in the map.
    """
    turn = Rotation.from_matrix(T_new_old[:3, :3]).as_rotvec()
    end = T_new_old[:3, :3] @ point_m[-1] + T_new_old[:3, 3]
    shift_m, turn_rad = shift_and_turn(T_new_old, point_m[-1])
    driven_m = float(np.linalg.norm(np.diff(point_m, axis=0), axis=1).sum())
    length = way_m[-1] - way_m[0]
    if shift_m >= MOST_DRIFT * driven_m or turn_rad >= MOST_DRIFT * length:
        whole = point_m @ T_new_old[:3, :3].T + T_new_old[:3, 3]
        return Bend(way_m, np.ones(len(way_m)), point_m, whole, turn)
    share = (way_m - way_m[0]) / length
    halfway = Rotation.from_rotvec((share[1:] + share[:-1])[:, None] / 2 * turn)
    steps = halfway.apply(np.diff(point_m, axis=0))
    bent = point_m[0] + np.concatenate([np.zeros((1, 3)), steps.cumsum(axis=0)])
    return Bend(way_m, share, point_m, bent + share[:, None] * (end - bent[-1]), turn)


def _interpolated(x: Tensor, grid: Tensor, values: Tensor) -> Tensor:
    """Rows of ``values`` (K, C) given at an ascending ``grid`` (K,), linearly at ``x`` (N,); ends go on."""
    right = torch.searchsorted(grid, x).clamp(1, len(grid) - 1)
    apart = (grid[right] - grid[right - 1]).clamp(min=1e-9)
    share = ((x - grid[right - 1]) / apart).clamp(0.0, 1.0)[:, None]
    return values[right - 1] + share * (values[right] - values[right - 1])


def _turned(vector: Tensor, turn: Tensor, share: Tensor) -> Tensor:
    """Each vector (N, 3) by its share (N,) of a rotation vector (3,); Rodrigues' formula."""
    angle = float(turn.norm())
    if angle == 0.0:
        return vector
    axis = (turn / angle).expand_as(vector)
    cosine, sine = (share * angle).cos()[:, None], (share * angle).sin()[:, None]
    along = (axis * vector).sum(1, keepdim=True) * axis
    return along + cosine * (vector - along) + sine * torch.linalg.cross(axis, vector)
