"""What images say and what the 3D network says, as one: each counts by how much it deserves belief."""

from __future__ import annotations

import torch
from torch import Tensor

LEAST = 1e-12
"""Probabilities are not taken for smaller than this: a single source cannot rule a word out."""
LEAST_POOLED = 1e-6
"""The same for :func:`pool`."""
IMAGE_POWER = 0.75
NETWORK_POWER = 0.65
"""How much either counts where both speak. More than 1 together: their errors are mostly their own, so that
what both say is surer than what one says; less than 2: not all of them are. These and ``TONED_DOWN`` were
chosen on six procedural flats that nothing was trained on and on samples/room (benchmarks/combining.py)."""
TONED_DOWN = 0.5
"""Power of a word's share of all that the network says of the window; its probabilities are divided by that
where images speak, too. Otherwise frequent words win too often when two sources are multiplied."""
COMMON = 0.95
"""Of that share; the rest is spread over all words, so that what is never said gets no boundless bonus."""


def pool(image: Tensor, network: Tensor) -> Tensor:
    """A logarithmic opinion pool of two calibrated sources (Genest and Zidek, Statistical Science 1986).

    ``log p = a log p_image + b (log p_network - t log mean p_network) + const``, the mean over the window
    (logit adjustment, Menon et al., ICLR 2021, by what the network says instead of known frequencies).
    Where one of them says nothing the other speaks alone, unchanged.

    Args:
        image: (N, C) float32, rows sum to 1, or to 0 where no image says anything. Voxels should have heard
            their neighbours already (``regularise.smooth``): so has the network, and the two are alike then.
        network: (N, C) float32, rows sum to 1, or to 0 where it has not read.

    Returns:
        (N, C) float32, rows sum to 1, or to 0 where neither says anything.
    """
    seen, heard = (source.sum(1, keepdim=True) > 0 for source in (image, network))
    said = network.sum(0) / heard.sum().clamp(min=1)
    prior = (COMMON * said + (1.0 - COMMON) / max(network.shape[1], 1)).log()
    log_image, log_network = (source.clamp(min=LEAST_POOLED).log() for source in (image, network))
    both = torch.softmax(IMAGE_POWER * log_image + NETWORK_POWER * (log_network - TONED_DOWN * prior), dim=1)
    return torch.where(seen & heard, both, torch.where(seen, image, network))


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
