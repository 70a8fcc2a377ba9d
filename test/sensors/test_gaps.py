"""Pauses of tf: only those within which a frame moved far, of links that are steady otherwise."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ws3d_ros.sensors.checkup.links import Link
from ws3d_ros.sensors.gaps import FAR_M, LEAST_NS, LONGER, Gaps
from ws3d_ros.sensors.rigid import Pose
from ws3d_ros.sensors.transforms import TransformError

PERIOD_NS = 100_000_000
PARENTS = {"lidar": "base", "base": "odom", "gripper": "arm", "arm": "map", "odom": "map"}


def at(x_m: float, yaw_rad: float = 0.0) -> Pose:
    return x_m, 0.0, 0.0, 0.0, 0.0, math.sin(yaw_rad / 2), math.cos(yaw_rad / 2)


def steady(count: int, period_ns: int = PERIOD_NS) -> Gaps:
    """A link that was sent so often, the last time at 0."""
    gaps = Gaps()
    for i in range(1 - count, 1):
        gaps.see("odom", "base", i * period_ns, at(0.0))
    return gaps


@pytest.mark.parametrize(
    ("after_ns", "pose", "is_gap"),
    [
        (5 * PERIOD_NS, at(0.5), True),
        (5 * PERIOD_NS, at(0.0, 0.3), True),
        (5 * PERIOD_NS, at(0.0, 2 * math.pi - 0.3), True),  # the same turn, by a quaternion with w < 0
        (5 * PERIOD_NS, at(0.1, 0.1), False),  # hardly moved: any way between lies near
        (3 * PERIOD_NS, at(0.5), False),  # short for this link
    ],
)
def test_a_pause_counts_where_much_moved(after_ns: int, pose: Pose, is_gap: bool) -> None:
    gaps = steady(10)
    gaps.see("odom", "base", after_ns, pose)
    assert len(gaps.around(after_ns // 2)) == is_gap
    tree = {name: Link(parent, False, 0, after_ns) for name, parent in PARENTS.items()}
    gaps.check("lidar", 0, lambda: tree)  # there tf is sure
    gaps.check("lidar", after_ns, lambda: tree)
    gaps.check("gripper", after_ns // 2, lambda: tree)  # does not hang from what paused
    if is_gap:
        with pytest.raises(TransformError, match=r"'odom' -> 'base' paused for 0\.5 s") as caught:
            gaps.check("lidar", after_ns // 2, lambda: tree)
        assert caught.value.reason == "gap"
    else:
        gaps.check("lidar", after_ns // 2, lambda: tree)


def test_a_slow_link_is_no_pause_and_nor_is_what_is_not_known_yet() -> None:
    gaps = steady(10, 10 * PERIOD_NS)
    for i in range(1, 20):
        gaps.see("odom", "base", 10 * i * PERIOD_NS, at(float(i)))
    new = steady(1)
    new.see("odom", "base", 50 * PERIOD_NS, at(3.0))
    for each in (gaps, new):
        assert not any(each.around(i * PERIOD_NS + 1) for i in range(200))


def test_another_parent_and_another_time_begin_anew() -> None:
    gaps = steady(10)
    gaps.see("map", "base", 50 * PERIOD_NS, at(3.0))
    assert not gaps.around(PERIOD_NS)
    gaps = steady(10)
    gaps.see("odom", "base", 50 * PERIOD_NS, at(3.0))
    assert gaps.around(PERIOD_NS)
    gaps.clear()
    assert not gaps.around(PERIOD_NS)


@given(st.lists(st.integers(1, 40), unique=True, max_size=12), st.randoms(use_true_random=False))
def test_poses_that_come_late_leave_the_same_pauses_as_in_order(ticks: list[int], random: object) -> None:
    """Against the definition: of the stamps on both sides of a time, by all that came in the end."""
    late = [*ticks, 41]
    random.shuffle(ticks)  # type: ignore[attr-defined]
    gaps = steady(20)
    for tick in [41, *ticks]:
        gaps.see("odom", "base", tick * PERIOD_NS, at(0.15 * tick))
    stamps = sorted([0, *late])
    for tick in range(41):
        stamp = tick * PERIOD_NS + PERIOD_NS // 2
        before = max(each for each in stamps if each <= tick)
        after = min(each for each in stamps if each > tick)
        length_ns = (after - before) * PERIOD_NS
        far = 0.15 * (after - before) > FAR_M
        assert bool(gaps.around(stamp)) == (length_ns > max(LEAST_NS, LONGER * PERIOD_NS) and far)
