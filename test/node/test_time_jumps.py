"""A jump back is noticed once, and late messages are none."""

from __future__ import annotations

import pytest

from ws3d_ros.node.time_jumps import JUMP_NS, TimeWatch

S = 1_000_000_000


def test_forward_and_slightly_back_is_no_jump() -> None:
    jumps: list[tuple[str, float]] = []
    watch = TimeWatch(lambda stream, back_s: jumps.append((stream, back_s)))
    for stamp in (10 * S, 11 * S, 11 * S - JUMP_NS, 12 * S, 100 * S):
        watch.see("color", stamp)
    watch.see("tf", 10 * S)  # another stream may be far behind
    assert jumps == []


def test_one_jump_of_all_streams_counts_once() -> None:
    jumps: list[tuple[str, float]] = []
    watch = TimeWatch(lambda stream, back_s: jumps.append((stream, back_s)))
    for stream in ("color", "depth", "tf"):
        watch.see(stream, 100 * S)
    for stream in ("tf", "color", "depth"):
        watch.see(stream, 10 * S)
    assert jumps == [("tf", pytest.approx(90.0))]
    assert watch.jumps == 1


def test_every_loop_counts() -> None:
    watch = TimeWatch(lambda stream, back_s: None)
    for _ in range(5):
        for second in range(3):
            watch.see("color", second * S)
    assert watch.jumps == 4
