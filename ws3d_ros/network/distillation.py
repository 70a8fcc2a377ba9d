"""One network taught by the words of another."""

from __future__ import annotations

import torch
from torch import Tensor


def distillation(logits: Tensor, teacher: Tensor, trust: Tensor, temperature: float) -> Tensor:
    """τ² KL(teacher ‖ student) over words, at temperature τ (Hinton et al., 2015), weighted by voxel.

    Args:
        logits: (N, C) of the student.
        teacher: (N, C) logits of the teacher over the same words.
        trust: (N,) how much the teacher is believed at each voxel; 0 where it saw nothing.
        temperature: τ.
    """
    log_student = torch.log_softmax(logits / temperature, dim=1)
    target = torch.softmax(teacher / temperature, dim=1)
    divergence = (target * (torch.log(target.clamp(min=1e-8)) - log_student)).sum(1)
    return temperature**2 * (divergence * trust).sum() / trust.sum().clamp(min=1e-6)
