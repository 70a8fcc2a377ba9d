"""Batch norms of a trained network taken into its convolutions, where they cost nothing."""

from __future__ import annotations

from copy import deepcopy
from itertools import pairwise

import torch
from torch import nn

from ws3d_ros.network.layers import BatchNorm, Convolution
from ws3d_ros.network.student import Student


def fold_batch_norms(student: Student) -> Student:
    """A copy for inference, in which each norm behind a convolution has become its scale and bias.

    ``γ (x W - μ) / σ + β = x (W γ/σ) + (β - μ γ/σ)``, reckoned in float64.

    Args:
        student: trained; left as it is.

    Returns:
        The same function as ``student.eval()`` up to rounding, without gradients. ``save`` refuses it.
    """
    folded = deepcopy(student).eval().requires_grad_(False)
    for parent in folded.modules():
        for (_, convolution), (name, norm) in pairwise(list(parent.named_children())):
            if isinstance(convolution, Convolution) and isinstance(norm, BatchNorm):
                _take_in(convolution, norm.bn)
                setattr(parent, name, nn.Identity())
    return folded


def _take_in(convolution: Convolution, norm: nn.BatchNorm1d) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    kernel = convolution.kernel
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    before = 0.0 if convolution.bias is None else convolution.bias.double()
    bias = norm.bias.double() + (before - norm.running_mean.double()) * scale
    convolution.kernel = nn.Parameter((kernel.double() * scale).to(kernel.dtype), requires_grad=False)
    convolution.bias = nn.Parameter(bias.to(kernel.dtype), requires_grad=False)
