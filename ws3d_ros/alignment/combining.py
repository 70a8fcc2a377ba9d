"""What images say and what the 3D network says, as one: each counts by how much it deserves belief."""

from __future__ import annotations

import torch
from torch import Tensor

LEAST = 1e-12
"""Probabilities are not taken for smaller than this: a single source cannot rule a word out."""


def combine(image: Tensor, share: Tensor, network: Tensor) -> Tensor:
    """The logarithmic opinion pool of two sources (Genest and Zidek, Statistical Science 1986).

    ``log p = α log p_image + (1 - α) log p_network + const``.

    Args:
        image: (N, C) float32, rows sum to 1; where α is 0 it does not matter.
        share: (N,) float32 α in 0..1, see :func:`image_share`.
        network: (N, C) float32, rows sum to 1; where α is 1 it does not matter.

    Returns:
        (N, C) float32, rows sum to 1.
    """
    log_image, log_network = (source.clamp(min=LEAST).log() for source in (image, network))
    return torch.softmax(torch.lerp(log_network, log_image, share[:, None]), dim=1)


def image_share(evidence: Tensor, network_weight: float) -> Tensor:
    """(N,) ``α = evidence / (evidence + network_weight)``: without a view the network alone speaks, and
    the more views the less it is heard.

    Args:
        evidence: (N,) float32 of images, ``Window.feature_weight``.
        network_weight: the evidence that the network is worth, > 0.
    """
    return evidence / (evidence + network_weight)
