"""Where boxes are to each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ws3d_ros.instances.places import NEAR_M, Boxes, holds

# A table, a lamp on it, a rug under it, a chair 0.3 m to its east, a picture 1 m above it, a sofa 4 m east.
LOW = np.array(
    [[0, 0, 0], [0.4, 0.4, 0.75], [-0.5, -0.5, 0], [1.3, 0.2, 0], [0.2, 0.2, 1.7], [5, 0, 0]], float
)
HIGH = np.array(
    [[1, 1, 0.75], [0.6, 0.6, 1.1], [1.5, 1.5, 0.02], [1.8, 0.7, 0.9], [0.8, 0.3, 2.2], [7, 1, 0.8]]
)
TABLE, LAMP, RUG, CHAIR, PICTURE, SOFA = range(6)
BOXES = Boxes(LOW, HIGH)


def mark(*rows: int) -> np.ndarray:
    values = np.zeros(6)
    values[list(rows)] = 1.0
    return values


def held(kind: str, landmark: int, viewer: tuple[float, float, float] | None = None) -> np.ndarray:
    at = None if viewer is None else np.array(viewer)
    return holds(kind, BOXES, [mark(landmark)], at).max(axis=1)


@pytest.mark.parametrize(
    ("kind", "landmark", "best"),
    [("on", TABLE, LAMP), ("under", TABLE, RUG), ("under", PICTURE, TABLE), ("above", LAMP, PICTURE)],
)
def test_the_right_thing_is_there(kind: str, landmark: int, best: int) -> None:
    values = held(kind, landmark)
    values[landmark] = 0.0
    assert values[best] > 0.5
    assert values[SOFA] < 0.01
    assert values[best] == values.max()


def test_near_falls_with_the_gap_of_the_boxes() -> None:
    values = held("near", TABLE)
    assert values[CHAIR] == pytest.approx(np.exp(-0.3 / NEAR_M))
    assert values[SOFA] == pytest.approx(np.exp(-4.0 / NEAR_M))
    assert held("next to", TABLE)[CHAIR] < values[CHAIR]


def test_a_chair_beside_a_table_is_not_on_it() -> None:
    assert held("on", TABLE)[CHAIR] < 0.01


@pytest.mark.parametrize(
    ("viewer", "kind"),
    [
        ((0.5, -5.0, 1.0), "right of"),
        ((0.5, 5.0, 1.0), "left of"),
        ((6.0, 0.5, 1.0), "in front of"),
        ((-5.0, 0.5, 1.0), "behind"),
    ],
)
def test_sides_are_the_viewers(viewer: tuple[float, float, float], kind: str) -> None:
    sides = ("left of", "right of", "in front of", "behind")
    values = {side: held(side, TABLE, viewer)[CHAIR] for side in sides}
    assert max(values, key=lambda side: values[side]) == kind
    assert values[kind] > 0.7


def test_between_is_on_the_way_from_one_to_the_other() -> None:
    values = holds("between", BOXES, [mark(TABLE), mark(SOFA)]).max(axis=1)
    assert values[CHAIR] > 0.5
    assert values[CHAIR] == values.max()
    assert values[TABLE] == values[SOFA] == 0.0
    swapped = holds("between", BOXES, [mark(SOFA), mark(TABLE)]).max(axis=1)
    assert swapped == pytest.approx(values)


corner = st.tuples(*[st.floats(-5, 5)] * 3)
size = st.tuples(*[st.floats(0.01, 3)] * 3)


@given(st.lists(st.tuples(corner, size), min_size=1, max_size=6))
def test_gaps_and_values_as_by_hand(boxes: list[tuple[tuple[float, ...], tuple[float, ...]]]) -> None:
    low = np.array([corner for corner, _ in boxes])
    high = low + np.array([size for _, size in boxes])
    made = Boxes(low, high)
    for i in range(len(low)):
        for j in range(len(low)):
            parts = [max(low[j][k] - high[i][k], low[i][k] - high[j][k], 0.0) for k in range(3)]
            assert made.gap_m[i, j] == pytest.approx(np.sqrt(sum(part**2 for part in parts)), abs=1e-9)
    ones = np.ones(len(low))
    for kind in ("near", "next to", "on", "under", "above", "in"):
        values = holds(kind, made, [ones])
        # Rounding may carry a share of a footprint a little over 1.
        assert ((values >= 0.0) & (values <= 1.0 + 1e-9)).all()


@given(seed=st.integers(0, 99))
def test_gaps_are_those_of_each_pair_of_boxes(seed: int) -> None:
    random = np.random.default_rng(seed)
    low = random.uniform(-2, 2, (7, 3))
    boxes = Boxes(low, low + random.uniform(0, 2, (7, 3)))
    for i in range(7):
        for j in range(7):
            gap = [
                max(boxes.low_m[i, k] - boxes.high_m[j, k], boxes.low_m[j, k] - boxes.high_m[i, k], 0.0)
                for k in range(3)
            ]
            assert boxes.apart_m[:, i, j] == pytest.approx(gap)
            assert boxes.gap_m[i, j] == pytest.approx(np.linalg.norm(gap))
