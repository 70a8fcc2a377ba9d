"""Our quaternions against ROS's own, where that is installed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ws3d_ros.sensors.rigid import pose_matrix

oracle = pytest.importorskip("tf_transformations", reason="tf_transformations is not installed")
component = st.floats(-1.0, 1.0)


@given(st.tuples(component, component, component, component))
def test_rotations_are_those_of_tf_transformations(quaternion: tuple[float, float, float, float]) -> None:
    length = np.linalg.norm(quaternion)
    if length < 1e-3:
        return
    x, y, z, w = (float(value) for value in np.array(quaternion) / length)
    expected = oracle.quaternion_matrix([x, y, z, w])
    # Both are double precision; the quaternion is of unit length to 1e-16.
    np.testing.assert_allclose(
        pose_matrix((1.0, 2.0, 3.0), (x, y, z, w))[:3, :3], expected[:3, :3], atol=1e-12
    )
