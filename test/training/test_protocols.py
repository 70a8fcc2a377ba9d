"""Protocols: fixed by seed, nested, and exactly as few as they say."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ws3d_ros.training.protocols import (
    DETECTION_SHARES,
    POINTS,
    SCENE_SHARES,
    hide,
    limited_points,
    limited_scenes,
    novel_classes,
)


def test_the_lists_are_those_that_were_published() -> None:
    assert limited_scenes(100, 0.05, seed=0) == [1, 11, 72, 81, 99]
    assert limited_scenes(100, DETECTION_SHARES[0], seed=1) == [0, 24, 27, 34, 48, 50, 52, 62, 82, 91]
    assert novel_classes(("wall", "bed", "sofa", "desk", "sink"), 2, seed=0, never=("wall",)) == (
        "sofa",
        "desk",
    )


@given(
    shares=st.sampled_from([SCENE_SHARES, DETECTION_SHARES]),
    scenes=st.integers(1, 500),
    seed=st.integers(0, 9),
)
def test_scene_lists_are_nested_and_of_their_size(shares: tuple[float, ...], scenes: int, seed: int) -> None:
    lists = [limited_scenes(scenes, share, seed) for share in shares]
    for smaller, larger, share in zip(lists, [*lists[1:], range(scenes)], shares, strict=True):
        assert set(smaller) <= set(larger)
        assert len(smaller) == max(1, round(share * scenes))


@given(seed=st.integers(0, 9), scene=st.integers(0, 9))
def test_point_lists_are_nested_and_true(seed: int, scene: int) -> None:
    label = np.random.default_rng(0).integers(-1, 4, 500)
    before: set[int] = set()
    for count in POINTS:
        left = limited_points(label, count, scene, seed)
        kept = np.flatnonzero(left >= 0)
        assert len(kept) == count
        assert (left[kept] == label[kept]).all()
        assert before <= set(kept.tolist())
        before = set(kept.tolist())


def test_a_scene_with_fewer_labels_keeps_them_all() -> None:
    label = np.array([-1, 2, -1, 0])
    assert limited_points(label, 20, 0, 0).tolist() == label.tolist()


def test_hidden_classes_have_no_labels() -> None:
    assert hide(np.array([0, 1, -1, 2]), ("a", "b", "c"), ("b", "c")).tolist() == [0, -1, -1, -1]
