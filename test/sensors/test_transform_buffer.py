"""Our transform buffer keeps the contract, and what only it promises."""

from __future__ import annotations

import contextlib
import logging
import math
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from sensors.transform_contract import (
    NO_TURN,
    SECOND,
    T0,
    TOLERANCE,
    TransformContract,
    random_pose,
    refusal,
    rigid,
)

from ws3d_ros.sensors.rigid import pose_matrix
from ws3d_ros.sensors.transforms import TransformBuffer, TransformError


@pytest.fixture
def buffer() -> TransformBuffer:
    return TransformBuffer()


class TestTransformBuffer(TransformContract):
    """The contract."""


def test_messages_name_the_link_and_how_late_it_is(buffer: TransformBuffer) -> None:
    buffer.set("map", "odom", T0 + SECOND, (0, 0, 0), NO_TURN)
    buffer.set("map", "odom", T0 + 2 * SECOND, (0, 0, 0), NO_TURN)
    buffer.set("odom", "base", T0 + SECOND, (0, 0, 0), NO_TURN)
    late = str(refusal(buffer, "map", "base", T0 + SECOND + SECOND // 2))
    assert "'odom' -> 'base'" in late
    assert "0.500 s before" in late
    early = str(refusal(buffer, "map", "base", T0))
    assert "'map' -> 'odom'" in early or "'odom' -> 'base'" in early
    assert "1.000 s after" in early


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("map", "base", T0, (math.nan, 0, 0), NO_TURN), "finite"),
        (("map", "base", T0, (0, math.inf, 0), NO_TURN), "finite"),
        (("map", "base", T0, (0, 0, 0), (0, 0, math.nan, 1)), "finite"),
        (("map", "base", T0, (0, 0, 0), (0, 0, 0, 0)), "length 0"),
        (("map", "base", T0, (0, 0, 0), (0, 0, 0, 1.1)), "length 1.1"),
        (("map", "map", T0, (0, 0, 0), NO_TURN), "own parent"),
        (("map", "", T0, (0, 0, 0), NO_TURN), "name"),
    ],
)
def test_impossible_transforms_are_refused_and_keep_nothing(
    buffer: TransformBuffer, arguments: tuple, word: str
) -> None:
    with pytest.raises(TransformError, match=word) as caught:
        buffer.set(*arguments)
    assert caught.value.reason == "bad_transform"
    assert refusal(buffer, "map", "base", T0).reason == "unknown_frame"


def test_a_loop_is_refused(buffer: TransformBuffer) -> None:
    buffer.set("a", "b", T0, (0, 0, 0), NO_TURN)
    buffer.set("b", "c", T0, (0, 0, 0), NO_TURN)
    with pytest.raises(TransformError, match="a -> b -> c") as caught:
        buffer.set("c", "a", T0, (0, 0, 0), NO_TURN)
    assert caught.value.reason == "bad_transform"
    np.testing.assert_array_equal(buffer.lookup("a", "c", T0), np.eye(4))


def test_a_quaternion_slightly_off_unit_length_is_normalised(buffer: TransformBuffer) -> None:
    buffer.set("map", "base", T0, (1, 2, 3), (0, 0, 0.6 * 1.004, 0.8 * 1.004))
    np.testing.assert_allclose(
        buffer.lookup("map", "base", T0), rigid((1, 2, 3), (0, 0, 0.6, 0.8)), atol=TOLERANCE
    )


def test_older_than_the_memory_is_told_and_not_kept(buffer: TransformBuffer) -> None:
    assert buffer.set("map", "base", T0 + 60 * SECOND, (0, 0, 0), NO_TURN)
    assert not buffer.set("map", "base", T0, (0, 0, 0), NO_TURN)
    assert refusal(buffer, "map", "base", T0).reason == "too_old"


def test_of_two_with_one_stamp_the_later_wins(buffer: TransformBuffer) -> None:
    buffer.set("map", "base", T0, (1, 0, 0), NO_TURN)
    buffer.set("map", "base", T0, (2, 0, 0), NO_TURN)
    assert buffer.lookup("map", "base", T0)[0, 3] == 2.0


def test_two_parents_are_told_once(buffer: TransformBuffer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for step in range(6):
            buffer.set(("map", "odom")[step % 2], "base", T0 + step, (0, 0, 0), NO_TURN)
    assert len(caplog.records) == 1
    assert "'map'" in caplog.text
    assert "'odom'" in caplog.text


def test_nearly_equal_turns_interpolate_without_blowing_up(buffer: TransformBuffer) -> None:
    for step, angle in enumerate((0.0, 1e-9, 1e-5, 1e-3)):
        buffer.set(
            "map", "base", T0 + step * SECOND, (0, 0, 0), Rotation.from_rotvec([0, 0, angle]).as_quat()
        )
    for step, angle in enumerate((0.5e-9, 0.5e-5, 0.5e-3)):
        found = buffer.lookup("map", "base", T0 + step * SECOND + SECOND // 2)
        # 1e-8: half of the middle interval's start angle, which the list rounds away.
        assert found[1, 0] == pytest.approx(angle, rel=0.02, abs=1e-8)


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 3), min_size=1, max_size=7))
def test_random_trees_match_matrix_products(seed: int, parents: list[int]) -> None:
    """Frame i + 1 hangs below one of the frames before it; all look-ups against plain matrices."""
    rng = np.random.default_rng(seed)
    buffer = TransformBuffer()
    T_root = [np.eye(4)]
    for child, pick in enumerate(parents, start=1):
        parent = pick % child
        pose = random_pose(rng)
        buffer.set(str(parent), str(child), T0, *pose, static=bool(rng.integers(2)))
        T_root.append(T_root[parent] @ rigid(*pose))
    for target in range(len(T_root)):
        for source in range(len(T_root)):
            np.testing.assert_allclose(
                buffer.lookup(str(target), str(source), T0),
                np.linalg.inv(T_root[target]) @ T_root[source],
                atol=TOLERANCE,
            )


def test_readers_and_writers_may_share_it(buffer: TransformBuffer) -> None:
    problems: list[object] = []
    stop = threading.Event()

    def look_up() -> None:
        for stamp_ns in (T0, 0):
            with contextlib.suppress(TransformError):
                buffer.lookup("map", "base", stamp_ns)

    def read() -> None:
        try:
            while not stop.is_set():
                look_up()
        except Exception as problem:
            problems.append(problem)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for step in range(2000):
        if step % 100 == 99:
            buffer.clear()
        buffer.set("map", "odom", T0 + step * SECOND // 100, (step, 0, 0), NO_TURN)
        buffer.set("odom", "base", T0 + step * SECOND // 100, (-step, 0, 0), NO_TURN)
    stop.set()
    for reader in readers:
        reader.join()
    assert problems == []
    assert buffer.lookup("map", "base", T0 + 1999 * SECOND // 100)[0, 3] == pytest.approx(0.0)


@given(st.integers(0, 2**32 - 1), st.floats(0.5, 2.0))
def test_a_pose_becomes_its_matrix_whatever_the_length_of_its_quaternion(seed: int, length: float) -> None:
    place, turn = random_pose(np.random.default_rng(seed))
    T = pose_matrix(place, [part * length for part in turn])
    np.testing.assert_allclose(T, rigid(place, turn), atol=1e-12)
