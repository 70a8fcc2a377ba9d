"""How well found boxes agree with the true ones: mean average precision of upright boxes in 3D.

As in the detection benchmarks of SUN RGB-D and ScanNet (VoteNet, Qi et al., ICCV 2019): of each class, the
surest boxes first, a box is right when its intersection over union with its best true box of that scene
reaches the threshold and nobody was there before. Precision, made to fall only, is integrated over recall
at every point (PASCAL VOC 2010 and later).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

THRESHOLDS = (0.25, 0.5)


@dataclass(frozen=True)
class Boxes:
    """The boxes of one scene, M of them.

    Attributes:
        center_m: (M, 3).
        size_m: (M, 3) length, width and height.
        yaw_rad: (M,) turn of the length from x about z.
        label: (M,) integer classes 1..C.
        score: (M,) larger is surer; of no matter for true boxes.
    """

    center_m: np.ndarray
    size_m: np.ndarray
    yaw_rad: np.ndarray
    label: np.ndarray
    score: np.ndarray


def detection_precision(
    scenes: Sequence[tuple[Boxes, Boxes]], classes: int, thresholds: Sequence[float] = THRESHOLDS
) -> np.ndarray:
    """(C, T) float64 average precision of each class at each threshold, NaN where there is no true box.

    The mAP is its ``nanmean`` over classes.

    Args:
        scenes: true and found boxes of each.
        classes: C.
        thresholds: T intersections over union.
    """
    overlaps = [overlap(found, true) for true, found in scenes]
    table = np.full((classes, len(thresholds)), np.nan)
    for number in range(1, classes + 1):
        count = sum(int((true.label == number).sum()) for true, _ in scenes)
        if not count:
            continue
        alike = [
            (found.score[found.label == number], iou[np.ix_(found.label == number, true.label == number)])
            for (true, found), iou in zip(scenes, overlaps, strict=True)
        ]
        for column, threshold in enumerate(thresholds):
            table[number - 1, column] = _one_class(alike, count, threshold)
    return table


def of_one_class(boxes: Boxes) -> Boxes:
    """The same boxes, all of class 1: for how well things are found, whatever they are called."""
    return replace(boxes, label=np.ones_like(boxes.label))


def overlap(a: Boxes, b: Boxes) -> np.ndarray:
    """(A, B) float64 intersection over union of upright boxes, exact: their footprints are clipped."""
    top = np.minimum.outer(a.center_m[:, 2] + a.size_m[:, 2] / 2, b.center_m[:, 2] + b.size_m[:, 2] / 2)
    bottom = np.maximum.outer(a.center_m[:, 2] - a.size_m[:, 2] / 2, b.center_m[:, 2] - b.size_m[:, 2] / 2)
    height = np.clip(top - bottom, 0.0, None)
    reach = np.add.outer(*(np.hypot(boxes.size_m[:, 0], boxes.size_m[:, 1]) / 2 for boxes in (a, b)))
    apart = np.hypot(*(np.subtract.outer(a.center_m[:, axis], b.center_m[:, axis]) for axis in (0, 1)))
    shared = np.zeros_like(height)
    for i, j in zip(*np.nonzero((height > 0) & (apart < reach)), strict=True):
        shared[i, j] = height[i, j] * shared_footprint_m2(a, int(i), b, int(j))
    union = np.add.outer(a.size_m.prod(1), b.size_m.prod(1)) - shared
    return np.asarray(shared / np.maximum(union, 1e-12))


def shared_footprint_m2(a: Boxes, i: int, b: Boxes, j: int) -> float:
    """Area that the footprints of two boxes share (Sutherland and Hodgman, 1974)."""
    polygon = _footprint(a, i)
    corners = _footprint(b, j)
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        polygon = _left_of(polygon, start, end)
        if len(polygon) < 3:
            return 0.0
    x, y = (polygon - polygon[0]).T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _left_of(polygon: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The part of a convex polygon (n, 2) on the left of the line from ``start`` to ``end``."""
    along = end - start
    side = along[0] * (polygon[:, 1] - start[1]) - along[1] * (polygon[:, 0] - start[0])
    kept = []
    for here, s, there, t in zip(polygon, side, np.roll(polygon, -1, 0), np.roll(side, -1), strict=True):
        if s >= 0:
            kept.append(here)
        if s * t < 0:
            kept.append(here + (there - here) * (s / (s - t)))
    return np.array(kept).reshape(-1, 2)


def _footprint(boxes: Boxes, row: int) -> np.ndarray:
    """(4, 2) corners, counter-clockwise."""
    cosine, sine = np.cos(boxes.yaw_rad[row]), np.sin(boxes.yaw_rad[row])
    corners = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * boxes.size_m[row, :2] / 2
    return np.asarray(corners @ np.array([[cosine, sine], [-sine, cosine]]) + boxes.center_m[row, :2])


def _one_class(scenes: list[tuple[np.ndarray, np.ndarray]], count: int, threshold: float) -> float:
    """Average precision from scores (P,) and overlaps (P, G) of each scene; ``count`` true boxes in all."""
    score, right = [], []
    for surest, iou in scenes:
        taken: set[int] = set()
        for row in np.argsort(-surest, kind="stable"):
            best = int(iou[row].argmax()) if iou.shape[1] else -1
            hit = best >= 0 and iou[row, best] >= threshold and best not in taken
            if hit:
                taken.add(best)
            score.append(surest[row])
            right.append(hit)
    order = np.argsort(-np.array(score), kind="stable")
    hits = np.cumsum(np.array(right, float)[order])
    precision = hits / np.arange(1, len(hits) + 1)
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    return float((falling * np.diff(hits, prepend=0.0)).sum() / count)
