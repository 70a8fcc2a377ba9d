"""Voxels of one small surface should bear one name, and nothing should pass from one surface to another.

Labels of single voxels are noisy where views disagree and missing where no image looked. Superpoints
(``instances.superpoints``) end at creases and changes of colour, so that a voxel may listen to its own as a
whole. What is exchanged are probabilities, not labels: a sure voxel convinces an unsure one, and not the
other way round.
"""

from __future__ import annotations

import torch
from torch import Tensor


def agree(probability: Tensor, evidence: Tensor, region: Tensor, share: float) -> Tensor:
    """Word probabilities after every voxel heard the mean of its region.

    A voxel becomes ``(1 - share)`` itself and ``share`` the mean of its region by evidence; one that knows
    nothing takes over the mean.

    Args:
        probability: (N, C) float32; a row counts only where there is evidence.
        evidence: (N,) float32, 0 where nothing is known of a voxel.
        region: (N,) int64 from 0, as ``instances.superpoints.over_segment`` cuts voxels.
        share: in 0..1; with 0 every voxel keeps to itself, also one that knows nothing.

    Returns:
        (N, C) float32; rows sum to 1, or to 0 where nothing is known of a voxel (of a whole region, if
        ``share`` is above 0).
    """
    known = evidence > 0
    own = probability * known[:, None]
    if share == 0.0 or len(region) == 0:
        return own
    count = int(region.amax()) + 1
    total = own.new_zeros(count, own.shape[1]).index_add_(0, region, own * evidence[:, None])
    weight = own.new_zeros(count).index_add_(0, region, evidence)
    mean = total / weight.clamp(min=1e-12)[:, None]
    return torch.lerp(own, mean[region], torch.where(known, share, 1.0)[:, None])
