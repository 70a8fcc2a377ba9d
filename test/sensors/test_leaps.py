"""Places that no robot comes to in the time."""

from __future__ import annotations

import numpy as np
import pytest

from ws3d_ros.sensors.leaps import Leaps


@pytest.mark.parametrize(
    ("way_m", "passed_s", "is_leap"),
    [
        (0.5, 0.0, False),  # a correction of localisation
        (3.0, 0.1, False),  # a car
        (20.0, 0.2, True),
        (20.0, 1.0, False),
        (1e9, 10.0, True),
        (20.0, -0.2, True),  # images of two cameras may overtake each other
    ],
)
def test_a_leap_is_farther_than_anything_drives(way_m: float, passed_s: float, is_leap: bool) -> None:
    leaps = Leaps()
    begin_ns = 1_700_000_000_000_000_000
    assert leaps.see("camera", begin_ns, np.zeros(3)) is None
    found = leaps.see("camera", begin_ns + round(passed_s * 1e9), np.array([0.0, way_m, 0.0]))
    assert (found == pytest.approx((way_m, abs(passed_s)))) if is_leap else found is None


def test_each_sensor_has_a_place_of_its_own_and_a_leap_counts_once() -> None:
    leaps = Leaps()
    far = np.array([30.0, 0.0, 0.0])
    leaps.see("camera", 0, np.zeros(3))
    assert leaps.see("lidar", 0, far) is None
    assert leaps.see("camera", 0, far) == (30.0, 0.0)
    assert leaps.see("camera", 0, far) is None
    leaps.clear()
    assert leaps.see("camera", 0, np.zeros(3)) is None
