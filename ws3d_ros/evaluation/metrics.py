"""How well predicted labels agree with the truth.

Everything follows from one table: ``confusion[t, p]`` counts the voxels of true class ``t`` that
were called ``p``. Column 0 is "unknown", which is always wrong; there is no row for it, because
voxels without a true class do not count.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Scores:
    """Figures over the classes that occur in the truth, each in 0..1.

    Attributes:
        miou: mean over classes of intersection over union.
        macc: mean over classes of the share of a class' voxels that were found (recall).
        fmiou: mean of intersection over union weighted by how often a class occurs.
        accuracy: share of all voxels that are right.
        iou: (C,) intersection over union, NaN for classes that do not occur.
        recall: (C,), NaN for classes that do not occur.
        count: (C,) int64 voxels of the class.
    """

    miou: float
    macc: float
    fmiou: float
    accuracy: float
    iou: Tensor
    recall: Tensor
    count: Tensor


def confusion_matrix(truth: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """Counts (C, C + 1) int64: row t - 1 for true class t in 1..C, column p for label p in 0..C.

    Args:
        truth: (N,) integer, 1..C; anything else does not count.
        predicted: (N,) integer, 0 for unknown.
        classes: C.

    Raises:
        ValueError: when the shapes differ or a predicted label is outside 0..C.

    >>> confusion_matrix(torch.tensor([1, 1, 2, 0]), torch.tensor([1, 0, 1, 2]), 2).tolist()
    [[1, 1, 0], [0, 1, 0]]
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"truth has {tuple(truth.shape)} labels, prediction {tuple(predicted.shape)}")
    counted = (truth >= 1) & (truth <= classes)
    true_class, label = truth[counted].long(), predicted[counted].long()
    if len(label) and (int(label.min()) < 0 or int(label.max()) > classes):
        raise ValueError(f"predicted labels must be 0..{classes}, not {int(label.min())}..{int(label.max())}")
    cells = (true_class - 1) * (classes + 1) + label
    return torch.bincount(cells, minlength=classes * (classes + 1)).view(classes, classes + 1)


def scores(confusion: Tensor) -> Scores:
    """The figures of a confusion matrix of :func:`confusion_matrix`.

    Raises:
        ValueError: when no voxel has a true class.
    """
    count = confusion.sum(1)
    total = int(count.sum())
    if total == 0:
        raise ValueError("no voxel has a true class; nothing to score")
    table = confusion.double()
    right = table[:, 1:].diagonal()
    union = table.sum(1) + table[:, 1:].sum(0) - right
    present = count > 0
    iou = torch.where(present, right / union, torch.nan)
    recall = torch.where(present, right / count, torch.nan)
    return Scores(
        miou=float(iou[present].mean()),
        macc=float(recall[present].mean()),
        fmiou=float((iou[present] * count[present]).sum() / total),
        accuracy=float(right.sum() / total),
        iou=iou,
        recall=recall,
        count=count,
    )


@dataclass(frozen=True)
class BaseAndNovel:
    """How well classes with and without labels in training were named, each 0..1.

    Attributes:
        base_miou, novel_miou: mean intersection over union of either kind.
        hiou: their harmonic mean; 0 where one of them is 0.
    """

    base_miou: float
    novel_miou: float
    hiou: float


def base_and_novel(result: Scores, novel: Collection[int]) -> BaseAndNovel:
    """Harmonic IoU of a base/novel split, as in PLA (Ding et al., CVPR 2023), over classes that occur.

    Args:
        novel: classes 1..C that had no label in training; all others are base classes.

    Raises:
        ValueError: when no base class, or no novel class, occurs in the truth.
    """
    is_novel = torch.zeros(len(result.iou), dtype=torch.bool)
    is_novel[[number - 1 for number in novel]] = True
    present = ~result.iou.isnan()
    if not (present & is_novel).any() or not (present & ~is_novel).any():
        raise ValueError("the harmonic IoU needs a base class and a novel class that occur in the truth")
    base, unseen = float(result.iou[present & ~is_novel].mean()), float(result.iou[present & is_novel].mean())
    return BaseAndNovel(base, unseen, 2 * base * unseen / (base + unseen) if base + unseen > 0 else 0.0)


def calibration_error(confidence: Tensor, correct: Tensor, bins: int = 15) -> float:
    """Expected calibration error (Guo et al., ICML 2017, equal-width bins), 0..1.

    The mean, weighted by how many fall into a bin, of the gap between how sure the labels are
    and how many of them are right.

    Args:
        confidence: (N,) in 0..1.
        correct: (N,) bool.
        bins: number of equal bins of 0..1.

    >>> calibration_error(torch.tensor([0.8, 0.8]), torch.tensor([True, False]))  # doctest: +ELLIPSIS
    0.30...
    """
    confidence = confidence.double()
    which = (confidence * bins).long().clamp(0, bins - 1)
    gap = torch.zeros(bins, dtype=torch.float64, device=confidence.device)
    gap.index_add_(0, which, confidence - correct.double())
    return float(gap.abs().sum() / max(len(confidence), 1))
