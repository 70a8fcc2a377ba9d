"""After the last step: norms whose statistics are of whole maps, not of the last few batches."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from ws3d_ros.network.student import Student
from ws3d_ros.training.batch import Batch


@torch.no_grad()
def settle_norms(student: Student, batches: Iterable[Batch]) -> None:
    """Estimates the running statistics of all batch norms anew, as plain means over these batches.

    In training they follow the last ten batches or so, of crops and mixtures; a robot reads whole rooms.
    After "precise BN" (Wu and Johnson, arXiv 2105.07576).

    Args:
        student: changed in place; left in evaluation mode.
        batches: as the student will meet them.
    """
    norms = [module for module in student.modules() if isinstance(module, nn.BatchNorm1d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch: the mean over all batches
    student.train()
    for batch in batches:
        student(batch.voxels)
    student.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
