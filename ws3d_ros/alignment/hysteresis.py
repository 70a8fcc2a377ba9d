"""A voxel keeps its name until another is clearly better, or better twice: names do not flicker."""

from __future__ import annotations

import torch
from torch import Tensor

from ws3d_ros.reconstruction.window import UNKNOWN

CLEARLY = 1.25
"""Another word wins over the one that a voxel has if it is so many times as likely as that is now. On
samples/room and flats that nothing was trained on, names change a third less often with it, and are as often
right (benchmarks/combining.py)."""


def hold(
    old_label: Tensor, old_confidence: Tensor, probability: Tensor, label: Tensor, confidence: Tensor
) -> tuple[Tensor, Tensor]:
    """The label of each voxel after an update, and how likely it is now.

    The new label is taken if its word is ``CLEARLY`` more likely than the old word is now, and more
    likely than the old word was when the voxel was last named. What is held is remembered with what it
    is worth now, so that the second condition delays a change by one update and no more. Two names that
    take turns change a label at most once. From unknown to a name it takes no waiting.

    Args:
        old_label: (N,) integer, ``UNKNOWN`` where a voxel had no name. It must be of the same vocabulary.
        old_confidence: (N,) in 0..1, what this function gave for it.
        probability: (N, C + B) as :func:`ws3d_ros.alignment.labelling.decide` takes it.
        label, confidence: (N,) what it gave: the labels without memory.

    Returns:
        label (N,) int16 and confidence (N,) float16, the probability of that label now.
    """
    old = old_label.long()
    worth = probability.gather(1, (old[:, None] - 1).clamp(min=0))[:, 0]
    best = probability.amax(1)
    # Rounded as it will be remembered: two words that are equally sure in turn must not seem unequal.
    beaten = (best > CLEARLY * worth) & (best.half() > old_confidence)
    held = (old != UNKNOWN) & (worth > 0) & ~beaten
    return (
        torch.where(held, old, label.long()).to(torch.int16),
        torch.where(held, worth, confidence.float()).to(torch.float16),
    )
