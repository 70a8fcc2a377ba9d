"""Notices places that no robot can have come to in the time: tf jumped, and what is measured then smears."""

from __future__ import annotations

import numpy as np

from ws3d_ros.sensors.frame import FloatArray

FASTEST_M_PER_S = 50.0
LEAST_M = 1.0
"""Shorter leaps are corrections of localisation."""


class Leaps:
    """Watches where sensors are. For one thread."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, FloatArray]] = {}

    def clear(self) -> None:
        """Time began again, or the map moved."""
        self._last.clear()

    def see(self, sensor: str, stamp_ns: int, place_m: FloatArray) -> tuple[float, float] | None:
        """A sensor is at (3,) metres in the map at that time; metres and seconds of a leap since the last."""
        last_ns, last_m = self._last.get(sensor, (stamp_ns, place_m))
        self._last[sensor] = stamp_ns, place_m
        way_m, passed_s = float(np.linalg.norm(place_m - last_m)), abs(stamp_ns - last_ns) / 1e9
        return (way_m, passed_s) if way_m > max(LEAST_M, FASTEST_M_PER_S * passed_s) else None
