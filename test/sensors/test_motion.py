"""Motion within a sweep: against a point-by-point oracle, and a wall that a turning LiDAR sees straight."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import expm, logm
from scipy.spatial.transform import Rotation

from ws3d_ros.sensors.motion import LONGEST_S, SWEEP_NS, Motion, motion_at, seconds_after, undo
from ws3d_ros.sensors.transforms import TransformBuffer

STAMP_NS = 1_700_000_000_123_456_789
AFTER_S = np.linspace(0.0, 0.0999, 50)
SECONDS = STAMP_NS * 1e-9


@pytest.mark.parametrize(
    ("times", "tolerance_s"),
    [
        ((AFTER_S * 1e9).astype(np.uint32), 2e-9),  # Ouster's t, Livox' offset_time
        ((AFTER_S - 0.1).astype(np.float32), 1e-8),  # Velodyne's time, where the stamp is of the last point
        (SECONDS + AFTER_S, 5e-7),  # Hesai, RoboSense; float64 of today resolves 2.4e-7 s
        (STAMP_NS + AFTER_S * 1e9, 5e-7),  # Livox; 2.6e-7 s
    ],
)
def test_times_as_drivers_write_them(times: np.ndarray, tolerance_s: float) -> None:
    after_s = seconds_after(times, STAMP_NS)
    assert after_s is not None
    assert after_s.dtype == np.float32
    begin = -0.1 if times.dtype == np.float32 else 0.0
    np.testing.assert_allclose(after_s, AFTER_S + begin, rtol=0, atol=tolerance_s + 1e-8)  # and of float32


@pytest.mark.parametrize(
    "times",
    [
        np.zeros(5, np.float32),  # a field that nobody filled in
        np.full(5, SECONDS),
        np.array([0.0, np.nan, 0.1]),
        np.array([0.0, np.inf]),
        np.array([0.0, 2.0 * LONGEST_S]),
        np.float32(SECONDS + AFTER_S),  # float32 of today is minutes apart, or all the same
        np.array([0, 2**32 - 1], np.uint32),
        SECONDS + 3600.0 + AFTER_S,  # another clock than the stamp's
    ],
)
def test_numbers_that_are_no_times_of_a_sweep(times: np.ndarray) -> None:
    assert seconds_after(times, STAMP_NS) is None


def small(size: int) -> st.SearchStrategy[list[float]]:
    return st.lists(st.floats(-0.5, 0.5), min_size=size, max_size=size)


@given(small(3), small(3), st.sampled_from([0.1, -0.1]), st.integers(0, 2**32 - 1))
def test_each_point_is_moved_by_the_way_up_to_its_time(
    turn: list[float], shift: list[float], duration_s: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    points = random.normal(size=(20, 3)).astype(np.float32) * 10
    after_s = random.uniform(-0.1, 0.1, 20).astype(np.float32)
    moved = undo(points, after_s, Motion(duration_s, np.array(turn), np.array(shift)))
    assert moved.dtype == np.float32
    step = np.eye(4)
    step[:3, :3], step[:3, 3] = Rotation.from_rotvec(turn).as_matrix(), shift
    rates = logm(step)
    for point, after, got in zip(points, after_s, moved, strict=True):
        way = expm(float(after) / duration_s * rates)
        np.testing.assert_allclose(got, way[:3, :3] @ point + way[:3, 3], atol=1e-4)  # float32 at 30 m


def pose_at(after_s: float) -> tuple[np.ndarray, Rotation]:
    """A robot that drives 2 m/s along its map's x, whichever way it looks, and turns 2 rad/s."""
    return np.array([2.0 * after_s, 0.0, 0.0]), Rotation.from_rotvec([0.0, 0.0, 2.0 * after_s])


def driving(times_s: np.ndarray, odom: str = "odom") -> TransformBuffer:
    transforms = TransformBuffer()
    transforms.set("map", odom, 0, (5.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0), static=True)
    transforms.set("base", "lidar", 0, (0.3, 0.0, 1.0), (0.0, 0.0, 1.0, 0.0), static=True)
    for after_s in times_s:
        place, turn = pose_at(float(after_s))
        transforms.set(odom, "base", STAMP_NS + round(after_s * 1e9), place.tolist(), turn.as_quat().tolist())
    return transforms


@pytest.mark.parametrize("until_s", [0.2, 0.0])  # tf beyond the sweep, and up to its stamp only
def test_a_wall_is_straight_for_a_lidar_that_drives_and_turns(until_s: float) -> None:
    transforms = driving(np.arange(-0.2, until_s + 0.001, 0.01))
    after_s = np.linspace(0.0, 0.1, 200)
    wall = np.stack([np.full(200, 8.0), np.linspace(-4, 4, 200), np.full(200, 1.5)], axis=1)
    seen = []
    for point, after in zip(wall, after_s, strict=True):  # each as the LiDAR sees it at its own time
        place, turn = pose_at(float(after))
        in_base = turn.inv().apply(point - np.array([5.0, 1.0, 0.0]) - place)
        seen.append(Rotation.from_quat([0, 0, 1, 0]).inv().apply(in_base - np.array([0.3, 0.0, 1.0])))
    points = np.array(seen, np.float32)
    motion = motion_at(transforms.lookup, ("odom", "map"), "lidar", STAMP_NS)
    assert motion is not None
    assert motion.duration_s == pytest.approx(0.1 if until_s else -0.1)
    T_map_lidar = transforms.lookup("map", "lidar", STAMP_NS)

    def off_the_wall_m(points: np.ndarray) -> float:
        placed = points @ T_map_lidar[:3, :3].T + T_map_lidar[:3, 3]
        return float(np.abs(placed[:, 0] - 8.0).max())

    assert off_the_wall_m(points) > 0.2
    # The robot's own way is a straight line while it turns, which is no screw: 2 cm in a turn of 11 degrees.
    assert off_the_wall_m(undo(points, after_s.astype(np.float32), motion)) < 0.02


def test_odometry_goes_before_the_map_and_where_tf_knows_nothing_there_is_no_motion() -> None:
    stamps_s = np.arange(-0.2, 0.2, 0.01)
    lookup = driving(stamps_s, "wheels").lookup
    motion = motion_at(lookup, ("odom", "map"), "lidar", STAMP_NS)  # no frame odom: by the map
    assert motion is not None
    assert np.linalg.norm(motion.turn_rad) == pytest.approx(0.2, abs=1e-6)
    assert motion_at(lookup, ("odom",), "lidar", STAMP_NS) is None
    assert motion_at(lookup, ("map",), "nowhere", STAMP_NS) is None
    assert motion_at(lookup, ("map",), "lidar", STAMP_NS + 20 * SWEEP_NS) is None
    assert motion_at(driving(np.array([-0.05, 0.05])).lookup, ("odom",), "lidar", STAMP_NS) is None


def test_a_leap_of_localisation_is_no_motion() -> None:
    transforms = driving(np.arange(-0.2, 0.2, 0.01))
    for after_ns in (SWEEP_NS - 10**7, SWEEP_NS, SWEEP_NS + 10**7):
        transforms.set("odom", "base", STAMP_NS + after_ns, (50.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    assert motion_at(transforms.lookup, ("odom", "map"), "lidar", STAMP_NS) is None
