"""Keyframes: how far apart two poses are. Which images are taken is tested with the pipeline."""

import pytest
from small_world import pose

from ws3d_ros.sensors.keyframes import motion


@pytest.mark.parametrize(("turn_deg", "moved_m"), [(0.0, 0.0), (30.0, 0.5), (180.0, 2.0)])
def test_motion_between_poses(turn_deg: float, moved_m: float) -> None:
    distance, angle = motion(pose(), pose(moved_m, yaw_deg=turn_deg))
    assert distance == pytest.approx(moved_m)
    assert angle == pytest.approx(turn_deg, abs=1e-4)  # arccos is steep near 0 and 180 degrees
