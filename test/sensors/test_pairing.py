"""Pairs against a brute-force oracle; what waits for tf ends one way or the other."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ws3d_ros.sensors.pairing import Paired, Pairer, WaitingRoom
from ws3d_ros.sensors.transforms import TransformError

TOLERANCE = 20
FAR_LATER_S = 1e9


def oracle(colors: list[int], depths: list[int]) -> set[tuple[int, int]]:
    """All pairs within the tolerance, nearest first, each image once."""
    candidates = sorted(
        (abs(color - depth), color, depth)
        for color in colors
        for depth in depths
        if abs(color - depth) <= TOLERANCE
    )
    pairs: set[tuple[int, int]] = set()
    for _, color, depth in candidates:
        if all(color != other and depth != another for other, another in pairs):
            pairs.add((color, depth))
    return pairs


class Run:
    """Feeds a pairer with stamps as payloads and keeps what it says."""

    def __init__(self, **options: object) -> None:
        self.pairer: Pairer[int, int] = Pairer(TOLERANCE, **options)  # type: ignore[arg-type]
        self.pairs: list[tuple[int | None, int | None]] = []
        self.dropped: list[tuple[int, str]] = []

    def color(self, stamp: int, now_s: float = 0.0) -> Run:
        return self._keep(self.pairer.add_color(stamp, stamp, now_s))

    def depth(self, stamp: int, now_s: float = 0.0) -> Run:
        return self._keep(self.pairer.add_depth(stamp, stamp, now_s))

    def poll(self, now_s: float) -> Run:
        return self._keep(self.pairer.poll(now_s))

    def _keep(self, result: Paired[int, int]) -> Run:
        self.pairs += [(pair.color, pair.depth) for pair in result.pairs]
        self.dropped += [(dropped.stamp_ns, dropped.reason) for dropped in result.dropped]
        for pair in result.pairs:
            assert pair.stamp_ns == (pair.color if pair.depth is None else pair.depth)
        return self


stamps = st.lists(st.integers(0, 600), max_size=30, unique=True).map(sorted)


@given(stamps, stamps, st.randoms(use_true_random=False))
def test_however_the_streams_interleave_the_pairs_are_the_nearest(
    colors: list[int], depths: list[int], random: object
) -> None:
    order = ["color"] * len(colors) + ["depth"] * len(depths)
    random.shuffle(order)  # type: ignore[attr-defined]
    run = Run(capacity=100)
    coming = {"color": iter(colors), "depth": iter(depths)}
    for side in order:
        getattr(run, side)(next(coming[side]))
    run.poll(FAR_LATER_S)
    expected = oracle(colors, depths)
    assert set(run.pairs) == expected
    assert len(run.pairs) == len(expected)
    # Nobody is lost: paired, dropped or still waiting.
    assert 2 * len(run.pairs) + len(run.dropped) + len(run.pairer) == len(colors) + len(depths)
    paired = {color for color, _ in expected}, {depth for _, depth in expected}
    for stamp, reason in run.dropped:
        assert stamp not in paired[0 if reason == "no_depth_match" else 1]
        assert reason in ("no_depth_match", "no_color_match")


@given(
    st.lists(st.tuples(st.sampled_from(["color", "depth"]), st.integers(0, 300)), max_size=60),
    st.integers(1, 8),
)
def test_any_order_of_arrival_loses_nobody_and_stays_bounded(
    arrivals: list[tuple[str, int]], capacity: int
) -> None:
    run = Run(capacity=capacity)
    for side, stamp in arrivals:
        getattr(run, side)(stamp)
        assert len(run.pairer) <= 2 * capacity
    assert 2 * len(run.pairs) + len(run.dropped) + len(run.pairer) == len(arrivals)
    assert all(abs(color - depth) <= TOLERANCE for color, depth in run.pairs)  # type: ignore[operator]
    for side in range(2):
        used = [pair[side] for pair in run.pairs]
        assert len(used) == len(set(used))
    repeats = sum(count - 1 for count in Counter(arrivals).values())
    assert sum(reason == "duplicate" for _, reason in run.dropped) == repeats


def test_equal_stamps_pair_at_once_whoever_comes_first() -> None:
    assert Run().color(100).depth(100).pairs == [(100, 100)]
    assert Run().depth(100).color(100).pairs == [(100, 100)]


def test_a_lost_depth_image_does_not_shift_the_pairs_by_one() -> None:
    """At 60 Hz the next depth image is within the tolerance of the colour image that lost its own."""
    run = Run().color(0)
    for stamp in (17, 33, 50):
        run.depth(stamp).color(stamp)
    assert run.pairs == [(17, 17), (33, 33), (50, 50)]
    assert run.dropped == [(0, "no_depth_match")]


def test_an_uncertain_pair_waits_for_the_next_image_or_for_its_patience() -> None:
    run = Run(patience_s=0.1).color(100, now_s=0.0).depth(110, now_s=0.01)
    assert run.pairs == []
    assert run.poll(0.05).pairs == []
    assert run.poll(0.12).pairs == [(100, 110)]
    run = Run().color(100).depth(110).color(133)
    assert run.pairs == [(100, 110)]


def test_an_image_is_dropped_as_soon_as_its_partner_cannot_come() -> None:
    run = Run().color(100)
    assert run.depth(119).dropped == []
    run = Run().color(100)
    assert run.depth(121).dropped == [(100, "no_depth_match")]
    run = Run().depth(100)
    assert run.color(121).dropped == [(100, "no_color_match")]


def test_a_silent_stream_fills_the_queue_and_the_oldest_leave() -> None:
    run = Run(capacity=3)
    for stamp in range(0, 500, 100):
        run.color(stamp)
    assert run.dropped == [(0, "no_depth_match"), (100, "no_depth_match")]
    assert len(run.pairer) == 3


def test_a_repeated_image_is_counted_even_after_its_pair_left() -> None:
    run = Run().color(100).depth(100).color(100)
    assert run.pairs == [(100, 100)]
    assert run.dropped == [(100, "duplicate")]


@pytest.mark.parametrize("side", ["color", "depth"])
def test_with_one_stream_images_pass_through(side: str) -> None:
    run = Run(color=side == "color", depth=side == "depth")
    for stamp in (5, 7, 7, 6):
        getattr(run, side)(stamp)
    expected = [(stamp, None) if side == "color" else (None, stamp) for stamp in (5, 7, 6)]
    assert run.pairs == expected
    assert run.dropped == [(7, "duplicate")]
    assert len(run.pairer) == 0


def test_a_clock_that_jumps_back_starts_anew_after_clear() -> None:
    run = Run().color(1000).depth(1000).color(1100)
    waited = run.pairer.clear()
    assert [(dropped.stamp_ns, dropped.reason) for dropped in waited] == [(1100, "time_jump")]
    run.color(0).depth(0).color(1000).depth(1000)
    assert run.pairs == [(1000, 1000), (0, 0), (1000, 1000)]


class Tf:
    """Knows one transform a stamp, as far as told."""

    def __init__(self) -> None:
        self.known_to = 0
        self.known_from = 0

    def lookup(self, frame: str, stamp_ns: int) -> np.ndarray:
        if frame != "camera":
            raise TransformError("unknown_frame", f"tf has no frame '{frame}'")
        if stamp_ns > self.known_to:
            raise TransformError("too_new", f"ends {stamp_ns - self.known_to} ns before")
        if stamp_ns < self.known_from:
            raise TransformError("too_old", "begins after")
        return np.full((4, 4), float(stamp_ns))


def test_a_measurement_waits_until_tf_knows_its_time() -> None:
    tf = Tf()
    room: WaitingRoom[str] = WaitingRoom(tf.lookup, deadline_s=1.0)
    assert room.add(10, "camera", "a", 0.0) == []
    assert room.add(20, "camera", "b", 0.1) == []
    assert room.poll(0.2).ready == []
    tf.known_to = 15
    ready = room.poll(0.3).ready
    assert [(guest.stamp_ns, guest.payload, guest.pose[0, 0]) for guest in ready] == [(10, "a", 10.0)]
    tf.known_to = 25
    assert [guest.payload for guest in room.poll(0.4).ready] == ["b"]
    assert len(room) == 0


def test_the_deadline_drops_with_the_reason_of_the_last_failure() -> None:
    room: WaitingRoom[str] = WaitingRoom(Tf().lookup, deadline_s=1.0)
    room.add(10, "camera", "a", 0.0)
    room.add(10, "lidar", "b", 0.5)
    assert room.poll(0.99).dropped == []
    assert [(d.stamp_ns, d.reason) for d in room.poll(1.0).dropped] == [(10, "tf_too_new")]
    (dropped,) = room.poll(1.5).dropped
    assert dropped.reason == "tf_unknown_frame"
    assert "'lidar'" in dropped.message


def test_what_tf_has_forgotten_is_dropped_at_once() -> None:
    tf = Tf()
    tf.known_from, tf.known_to = 50, 100
    room: WaitingRoom[str] = WaitingRoom(tf.lookup, deadline_s=1.0)
    room.add(10, "camera", "a", 0.0)
    room.add(60, "camera", "b", 0.0)
    result = room.poll(0.0)
    assert [d.reason for d in result.dropped] == ["tf_too_old"]
    assert [guest.payload for guest in result.ready] == ["b"]


def test_what_lies_within_a_pause_of_tf_is_dropped_at_once() -> None:
    def lookup(frame: str, stamp_ns: int) -> np.ndarray:
        raise TransformError("gap", "the tf link paused")

    room: WaitingRoom[str] = WaitingRoom(lookup, deadline_s=1.0)
    room.add(10, "camera", "a", 0.0)
    assert [d.reason for d in room.poll(0.0).dropped] == ["tf_gap"]


def test_even_past_the_deadline_a_known_transform_is_used() -> None:
    tf = Tf()
    room: WaitingRoom[str] = WaitingRoom(tf.lookup, deadline_s=1.0)
    room.add(10, "camera", "a", 0.0)
    tf.known_to = 10
    assert [guest.payload for guest in room.poll(5.0).ready] == ["a"]


def test_a_full_room_keeps_the_newest() -> None:
    tf = Tf()
    room: WaitingRoom[int] = WaitingRoom(tf.lookup, deadline_s=1.0, capacity=3)
    dropped = [drop for stamp in range(1, 6) for drop in room.add(stamp, "camera", stamp, 0.0)]
    assert [(drop.stamp_ns, drop.reason) for drop in dropped] == [(1, "tf_queue_full"), (2, "tf_queue_full")]
    tf.known_to = 10
    assert [guest.payload for guest in room.poll(0.0).ready] == [3, 4, 5]


def test_clear_sends_all_away() -> None:
    room: WaitingRoom[int] = WaitingRoom(Tf().lookup, deadline_s=1.0)
    room.add(1, "camera", 1, 0.0)
    assert [drop.reason for drop in room.clear()] == ["time_jump"]
    assert len(room) == 0
