"""What images say and what the 3D network says, as one: each counts by how much it deserves belief."""

from __future__ import annotations

import torch
from torch import Tensor

LEAST = 1e-12
"""Probabilities are not taken for smaller than this: a single source cannot rule a word out."""


def combine(image: Tensor, views: Tensor, network: Tensor, network_views: float) -> tuple[Tensor, Tensor]:
    """The logarithmic opinion pool of two sources (Genest and Zidek, Statistical Science 1986).

    ``log p = α log p_image + (1 - α) log p_network + const`` with ``α = views / (views + network_views)``:
    without a view the network alone speaks, and the more views the less it is heard.

    Args:
        image: (N, C) float32, rows sum to 1; what it says where ``views`` is 0 does not matter.
        views: (N,) float32 evidence of images, ``Window.feature_weight``.
        network: (N, C) float32, rows sum to 1.
        network_views: how many views the network is worth, 0 or more.

    Returns:
        (N, C) float32, rows sum to 1, and (N,) the evidence of both together, in views. Rows of no
        evidence at all mean nothing.
    """
    total = views + network_views
    alpha = (views / total.clamp(min=LEAST))[:, None]
    log_p = torch.lerp(network.clamp(min=LEAST).log(), image.clamp(min=LEAST).log(), alpha)
    return torch.softmax(log_p, dim=1), total
