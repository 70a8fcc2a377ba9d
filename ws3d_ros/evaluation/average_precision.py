"""How well found objects agree with the true ones: average precision as ScanNet's benchmark counts it.

The convention is that of ScanNet's instance benchmark (Dai et al., CVPR 2017,
BenchmarkScripts/3d_evaluation/evaluate_semantic_instance.py in github.com/ScanNet/ScanNet):

- A found object hits a true one of its class when their intersection over union is *greater* than a
  threshold. Of several that hit the same one, the surest counts and the others are wrong.
- What mostly covers points without a truth, or true objects too small to count, is neither right nor
  wrong: it is left out where the share of such points is greater than the threshold.
- Precision over recall, one point for each distinct confidence and (0, 1) before them, is integrated
  with trapezoids.
- AP is the mean over the thresholds 0.50, 0.55 … 0.90. (Papers write 0.5:0.95:0.05; the benchmark's
  range ends before 0.95.) AP50 and AP25 are those of one threshold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

THRESHOLDS = (*(round(0.5 + 0.05 * step, 2) for step in range(9)), 0.25)
"""Intersections over union: the nine of AP (the first is AP50's), and that of AP25."""

MIN_POINTS = 100
"""Smaller objects, true or found, do not count, as in the benchmark."""


@dataclass(frozen=True)
class LabelledObjects:
    """The objects of one scene, point by point. Each point belongs to one object at most.

    Attributes:
        instance: (N,) integer ids, 0 for none.
        label: (N,) integer classes 1..C, 0 for none. The class of an object is that of most of its
            points.
        confidence: (N,) 0..1, None for the truth. That of an object is the mean over its points.
    """

    instance: Tensor
    label: Tensor
    confidence: Tensor | None = None


@dataclass(frozen=True)
class AveragePrecision:
    """Figures over the classes that occur in the truth, each in 0..1; NaN where none does.

    Attributes:
        ap, ap50, ap25: means over classes.
        per_class: (C, 3) float64: the three for each class; NaN for classes that do not occur.
        count: (C,) int64 true objects of each class.
    """

    ap: float
    ap50: float
    ap25: float
    per_class: np.ndarray
    count: np.ndarray


def average_precision(
    scenes: Iterable[tuple[LabelledObjects, LabelledObjects]],
    classes: int,
    without: Sequence[int] = (),
    min_points: int = MIN_POINTS,
) -> AveragePrecision:
    """The figures of some scenes, each a pair of truth and prediction over the same points.

    Args:
        classes: C.
        without: classes 1..C that are no objects (wall, floor); true points of theirs are points
            without a truth.
        min_points: smaller objects do not count.

    Raises:
        ValueError: when truth and prediction of a scene differ in length, or a label is outside 0..C.
    """
    overlaps = [_overlap(truth, found, classes, frozenset(without)) for truth, found in scenes]
    count = np.zeros(classes, np.int64)
    for overlap in overlaps:
        counted = overlap.true_size >= min_points
        count += np.bincount(overlap.true_class[counted], minlength=classes + 1)[1:]
    table = np.full((classes, len(THRESHOLDS)), np.nan)
    for number in np.nonzero(count)[0]:
        alike = [overlap.of_class(int(number) + 1, min_points) for overlap in overlaps]
        for column, threshold in enumerate(THRESHOLDS):
            judged = [one.judge(threshold) for one in alike]
            score = np.concatenate([score for score, _ in judged])
            hit = np.concatenate([hit for _, hit in judged])
            table[number, column] = area_below_precision(score, hit, int(count[number]))
    per_class = np.stack([table[:, :9].mean(1), table[:, 0], table[:, 9]], axis=1)
    mean = per_class[count > 0].mean(0) if count.any() else np.full(3, np.nan)
    return AveragePrecision(float(mean[0]), float(mean[1]), float(mean[2]), per_class, count)


def class_agnostic(objects: LabelledObjects, without: Sequence[int] = ()) -> LabelledObjects:
    """The same objects, all of class 1; points of the classes ``without`` become points of none."""
    keep = objects.label > 0
    for label in without:
        keep &= objects.label != label
    return LabelledObjects(objects.instance * keep, keep.long(), objects.confidence)


@dataclass(frozen=True)
class Partition:
    """How a scene was cut, in shares of 0..1; NaN where there is nothing to count.

    Attributes:
        split: true objects of which two or more found ones are pieces: most points of a piece are the
            object's.
        joined: found objects that hold most points of two or more true ones.
    """

    split: float
    joined: float


def partition(
    scenes: Iterable[tuple[LabelledObjects, LabelledObjects]], min_points: int = MIN_POINTS
) -> Partition:
    """Over- and under-segmentation, classes apart from 0 ignored; smaller objects do not count."""
    pieces, wholes = [], []
    for truth, found in scenes:
        overlap = _overlap(class_agnostic(truth), class_agnostic(found), 1, frozenset())
        true, large = overlap.true_size >= min_points, overlap.found_size >= min_points
        shared = overlap.shared[np.ix_(true, large)]
        pieces.append((2 * shared > overlap.found_size[large]).sum(1))
        wholes.append((2 * shared > overlap.true_size[true][:, None]).sum(0))
    split, joined = np.concatenate([[], *pieces]) > 1, np.concatenate([[], *wholes]) > 1
    return Partition(*(float(many.mean()) if len(many) else float("nan") for many in (split, joined)))


def area_below_precision(score: np.ndarray, hit: np.ndarray, true_objects: int) -> float:
    """Area below precision over recall of found objects, with trapezoids.

    Args:
        score: (M,) confidences.
        hit: (M,) bool, whether each is right.
        true_objects: how many there are to find.

    >>> area_below_precision(np.array([0.9, 0.8]), np.array([True, False]), 2)
    0.5
    """
    order = np.argsort(-score, kind="stable")
    last_of_score = np.nonzero(np.diff(score[order], append=np.nan) != 0)[0]
    right = np.cumsum(hit[order])[last_of_score]
    precision = np.concatenate([[1.0], right / (last_of_score + 1)])
    recall = np.concatenate([[0.0], right / true_objects])
    return float(((precision[1:] + precision[:-1]) / 2 * np.diff(recall)).sum())


@dataclass(frozen=True)
class _OneClass:
    """The objects of one class in one scene: G true ones that count, P found ones that are large enough.

    ``iou`` is (G, P), ``ignored`` (P,) the share of points that are neither right nor wrong.
    """

    iou: np.ndarray
    ignored: np.ndarray
    score: np.ndarray

    def judge(self, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """Scores of the found objects that count, and which of them are right."""
        if len(self.iou) == 0:
            counted = self.ignored <= threshold
            return self.score[counted], np.zeros(int(counted.sum()), bool)
        best = self.iou.argmax(0)
        hits = self.iou.max(0) > threshold
        right = np.zeros(len(self.score), bool)
        surest = sorted(np.nonzero(hits)[0], key=lambda found: self.score[found], reverse=True)
        taken: set[int] = set()
        for found in surest:
            right[found] = int(best[found]) not in taken
            taken.add(int(best[found]))
        counted = hits | (self.ignored <= threshold)
        return self.score[counted], right[counted]


@dataclass(frozen=True)
class _Overlap:
    """Which objects of one scene share how many points: ``shared`` (G, P)."""

    shared: np.ndarray
    true_size: np.ndarray
    true_class: np.ndarray
    found_size: np.ndarray
    found_class: np.ndarray
    score: np.ndarray
    void: np.ndarray  # (P,) points without a truth

    def of_class(self, number: int, min_points: int) -> _OneClass:
        found = (self.found_class == number) & (self.found_size >= min_points)
        true = self.true_class == number
        small = true & (self.true_size < min_points)
        true &= ~small
        shared = self.shared[np.ix_(true, found)]
        union = self.true_size[true][:, None] + self.found_size[found] - shared
        ignored = self.void[found] + self.shared[np.ix_(small, found)].sum(0)
        return _OneClass(shared / union, ignored / self.found_size[found], self.score[found])


def _overlap(
    truth: LabelledObjects, found: LabelledObjects, classes: int, without: frozenset[int]
) -> _Overlap:
    true_label, true_instance = _numpy(truth.label), _numpy(truth.instance)
    label, instance = _numpy(found.label), _numpy(found.instance)
    assert found.confidence is not None
    confidence = found.confidence.double().cpu().numpy()
    if len({len(true_label), len(true_instance), len(label), len(instance), len(confidence)}) != 1:
        raise ValueError(f"truth has {len(true_label)} points, prediction {len(label)}")
    for what in (true_label, label):
        if len(what) and not 0 <= what.min() <= what.max() <= classes:
            raise ValueError(f"labels must be 0..{classes}, not {what.min()}..{what.max()}")
    true_class, true_row = _objects(true_instance, true_label, classes)
    # An object without a class, or of one that is no object, is no truth.
    real = np.array([number > 0 and number not in without for number in true_class], bool)
    real = np.concatenate([[False], real])
    true_row = np.where(real[true_row], np.cumsum(real)[true_row], 0)
    found_class, row = _objects(instance, label, classes)
    table = np.zeros((int(real.sum()) + 1, len(found_class) + 1), np.int64)
    np.add.at(table, (true_row, row), 1)
    size = table.sum(0)[1:]
    return _Overlap(
        shared=table[1:, 1:],
        true_size=table.sum(1)[1:],
        true_class=true_class[real[1:]],
        found_size=size,
        found_class=found_class,
        score=np.bincount(row, weights=confidence, minlength=len(size) + 1)[1:] / np.maximum(size, 1),
        void=table[0, 1:],
    )


def _objects(instance: np.ndarray, label: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Class of each object, by majority, and the number 1.. of each point's object, 0 for none."""
    ids, place = np.unique(instance, return_inverse=True)
    number = np.cumsum(ids > 0) * (ids > 0)
    row = number[place.reshape(-1)]
    votes = np.zeros((int((ids > 0).sum()) + 1, classes + 1), np.int64)
    np.add.at(votes, (row, label), 1)
    return votes[1:].argmax(1), row


def _numpy(values: Tensor) -> np.ndarray:
    return np.asarray(values.long().cpu().numpy())
