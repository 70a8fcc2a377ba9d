"""A jump is noticed once, a stray stamp is none, and late messages are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ws3d_ros.node.time_jumps import JUMP_NS, LEAP_NS, TimeWatch

S = 1_000_000_000


class Watched:
    """A watch and what it told."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.jumps: list[tuple[str, float]] = []
        self.strays: list[tuple[str, float]] = []
        self.watch = TimeWatch(
            lambda stream, by_s: self.jumps.append((stream, by_s)),
            lambda stream, by_s: self.strays.append((stream, by_s)),
            lambda: self.now_s,
        )

    def see(self, stream: str, *stamps_ns: int) -> list[bool]:
        return [self.watch.see(stream, stamp_ns) for stamp_ns in stamps_ns]


def test_forward_and_slightly_back_is_no_jump() -> None:
    watched = Watched()
    assert all(watched.see("color", 10 * S, 11 * S, 11 * S - JUMP_NS, 12 * S, 12 * S + LEAP_NS))
    assert watched.see("tf", 10 * S) == [True]  # another stream may be far behind
    assert watched.jumps == watched.strays == []


def test_one_jump_of_all_streams_counts_once() -> None:
    watched = Watched()
    for stream in ("color", "depth", "tf"):
        watched.see(stream, 100 * S)
    first = [watched.see(stream, 10 * S) for stream in ("tf", "color", "depth")]
    assert first == [[False], [False], [False]]  # nobody believes the first
    second = [watched.see(stream, 11 * S) for stream in ("tf", "color", "depth")]
    assert second == [[True], [True], [True]]
    assert watched.jumps == [("tf", pytest.approx(-89.0))]


def test_every_loop_counts() -> None:
    watched = Watched()
    for _ in range(5):
        watched.see("color", *(second * S for second in range(3)))
    assert [by_s for _, by_s in watched.jumps] == pytest.approx([-1.0] * 4)


def test_a_jump_ahead_is_told_with_its_sign() -> None:
    watched = Watched()
    assert watched.see("color", 10 * S, 3600 * S, 3601 * S) == [True, False, True]
    assert watched.jumps == [("color", pytest.approx(3591.0))]


def test_a_stream_that_paused_for_long_did_not_jump() -> None:
    watched = Watched()
    watched.see("tf", 10 * S)
    watched.now_s = 3600.0
    assert watched.see("tf", 3610 * S) == [True]
    assert watched.jumps == []


def test_what_waited_while_the_process_stood_still_makes_no_jump_of_what_follows() -> None:
    watched = Watched()
    for tenth in range(100):  # a delay of 50 ms
        watched.now_s = 500.05 + tenth / 10
        assert watched.see("color", 10 * S + tenth * S // 10) == [True]
    watched.now_s = 540.0  # 30 s later: what is left of the first four seconds, then what is new
    assert watched.see("color", 20 * S, 22 * S, 24 * S, 49 * S + 9 * S // 10, 50 * S) == [True] * 5
    assert watched.see("color", 70 * S) == [False]  # ahead of all that passed
    assert watched.jumps == watched.strays == []


def test_a_slow_bag_is_watched_like_a_quick_one() -> None:
    watched = Watched()
    for second in range(600):  # at half its speed
        watched.now_s = 2.0 * second
        watched.see("tf", second * S)
    assert watched.see("tf", 600 * S + LEAP_NS + 2 * S) == [False]


@pytest.mark.parametrize("wrong_s", [0, 5, 90, 10_000])
def test_one_wrong_stamp_is_no_jump(wrong_s: int) -> None:
    watched = Watched()
    assert watched.see("color", 50 * S, wrong_s * S, 51 * S, 52 * S) == [True, False, True, True]
    assert watched.jumps == []
    assert watched.strays == [("color", pytest.approx(wrong_s - 50))]


def test_two_publishers_that_take_turns_do_not_wipe_each_other_out() -> None:
    watched = Watched()
    for second in range(20):
        assert watched.see("tf", (100 + second) * S, second * S) == [True, False]
    assert watched.jumps == []


@given(
    st.lists(st.integers(-LEAP_NS, LEAP_NS), min_size=1, max_size=30),
    st.integers(-(10**18), 10**18).filter(lambda by: by < -3 * LEAP_NS or by > 3 * LEAP_NS),
)
def test_a_stream_always_comes_back(steps: list[int], by: int) -> None:
    # Whatever the stream did, after a jump at most one message is lost before all is believed again.
    watched = Watched()
    stamp = 2 * 10**18
    for step in steps:
        stamp += step
        watched.see("color", stamp)
    watched.see("color", stamp, stamp)
    assert watched.see("color", *(stamp + by + i * S for i in range(4)))[1:] == [True] * 3
