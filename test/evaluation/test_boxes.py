"""Overlaps of upright boxes against random points in them, average precision by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ws3d_ros.evaluation.boxes import Boxes, detection_precision, of_one_class, overlap


def boxes(*rows: tuple[float, ...], label: int = 1) -> Boxes:
    """Of x, y, z, length, width, height, yaw, score."""
    table = np.array(rows, float).reshape(-1, 8)
    return Boxes(table[:, :3], table[:, 3:6], table[:, 6], np.full(len(table), label), table[:, 7])


def inside(one: Boxes, points: np.ndarray) -> np.ndarray:
    away = points - one.center_m[0]
    cosine, sine = np.cos(one.yaw_rad[0]), np.sin(one.yaw_rad[0])
    along = np.stack(
        [cosine * away[:, 0] + sine * away[:, 1], cosine * away[:, 1] - sine * away[:, 0], away[:, 2]], 1
    )
    return (np.abs(along) <= one.size_m[0] / 2).all(1)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 100_000))
def test_overlap_is_that_of_random_points(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (
        boxes((*rng.uniform(-0.5, 0.5, 3), *rng.uniform(0.3, 2.0, 3), rng.uniform(-4, 4), 1))
        for _ in range(2)
    )
    points = rng.uniform(-2.0, 2.0, (200_000, 3))
    in_a, in_b = inside(a, points), inside(b, points)
    expected = (in_a & in_b).sum() / max((in_a | in_b).sum(), 1)
    # The smallest union, 0.3³ m³ of 64, holds 80 points: four sigmas are 0.2; usual ones hold thousands.
    allowed = 4 * 0.5 / np.sqrt(max((in_a | in_b).sum(), 1)) + 1e-3
    assert overlap(a, b)[0, 0] == pytest.approx(expected, abs=allowed)


def test_overlaps_that_are_known() -> None:
    unit = boxes((0, 0, 0, 1, 1, 1, 0, 1))
    others = boxes(
        (0, 0, 0, 1, 1, 1, np.pi / 2, 1),
        (0.5, 0, 0, 1, 1, 1, 0, 1),
        (0, 0, 2, 1, 1, 1, 0, 1),
        (0, 0, 0, 1, 1, 1, np.pi / 4, 1),
    )
    octagon = 2 * (np.sqrt(2) - 1)  # what two unit squares share, one turned by 45 degrees
    expected = [1.0, 1 / 3, 0.0, octagon / (2 - octagon)]
    np.testing.assert_allclose(overlap(unit, others)[0], expected, atol=1e-9)


def test_precision_by_hand() -> None:
    true = boxes((0, 0, 0, 1, 1, 1, 0, 0), (5, 0, 0, 1, 1, 1, 0, 0))
    found = boxes(
        (0, 0, 0, 1, 1, 1, 0, 0.9),  # right
        (0.1, 0, 0, 1, 1, 1, 0, 0.8),  # the same one again: wrong
        (5.5, 0, 0, 1, 1, 1, 0, 0.7),  # overlaps by a third: right at 0.25 only
    )
    table = detection_precision([(true, found)], classes=2)
    np.testing.assert_allclose(table[0], [(1 + 2 / 3) / 2, 0.5])
    assert np.isnan(table[1]).all(), "no true box of that class"


def test_nothing_found_is_zero() -> None:
    assert detection_precision([(boxes((0, 0, 0, 1, 1, 1, 0, 0)), boxes())], 1).tolist() == [[0.0, 0.0]]


def plainly(scenes: list[tuple[Boxes, Boxes]], number: int, threshold: float) -> float:
    """Average precision of a class as the definition says it, box by box over all scenes at once."""
    claims = [
        (float(found.score[row]), place, row)
        for place, (_, found) in enumerate(scenes)
        for row in np.flatnonzero(found.label == number)
    ]
    taken: set[tuple[int, int]] = set()
    hits = []
    for _, place, row in sorted(claims, reverse=True):
        true, found = scenes[place]
        iou = np.where(true.label == number, overlap(found, true)[row], -1.0)
        best = int(iou.argmax())
        hits.append(bool(iou[best] >= threshold and (place, best) not in taken))
        taken |= {(place, best)} if hits[-1] else set()
    count = sum(int((true.label == number).sum()) for true, _ in scenes)
    precisions = [sum(hits[: n + 1]) / (n + 1) for n in range(len(hits))]
    return sum(max(precisions[n:]) for n, hit in enumerate(hits) if hit) / count


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 100_000))
def test_precision_is_that_of_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def drawn(count: int) -> Boxes:
        center, size = rng.uniform(-0.8, 0.8, (count, 3)), rng.uniform(0.5, 1.5, (count, 3))
        return Boxes(center, size, rng.uniform(-4, 4, count), rng.integers(1, 3, count), rng.random(count))

    scenes = [(drawn(5), drawn(8)) for _ in range(3)]
    table = detection_precision(scenes, classes=2)
    for number in (1, 2):
        if any((true.label == number).any() for true, _ in scenes):
            expected = [plainly(scenes, number, threshold) for threshold in (0.25, 0.5)]
            np.testing.assert_allclose(table[number - 1], expected, atol=1e-12)


def test_a_wrong_name_counts_only_where_names_do() -> None:
    true, found = boxes((0, 0, 0, 1, 1, 1, 0, 0)), boxes((0, 0, 0, 1, 1, 1, 0, 0.9), label=2)
    assert detection_precision([(true, found)], 2)[0].tolist() == [0.0, 0.0]
    alike = [(of_one_class(true), of_one_class(found))]
    assert detection_precision(alike, 1).tolist() == [[1.0, 1.0]]
