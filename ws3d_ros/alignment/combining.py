"""What images say and what the 3D network says, as one: each counts by how much it deserves belief."""

from __future__ import annotations

import torch
from torch import Tensor

LEAST = 1e-6
"""Probabilities are not taken for smaller than this: a single source cannot rule a word out."""
IMAGE_POWER = 0.55
NETWORK_POWER = 0.45
"""How much either counts where both speak. Their ratio and ``TONED_DOWN`` were chosen on six procedural
flats that nothing was trained on and on samples/room (benchmarks/combining.py). There the network is at home,
and a sum of 1.4 is better calibrated; elsewhere it is not, and 1 claims no more than either of them."""
TONED_DOWN = 0.5
"""Power of a word's share of all that the network says; its probabilities are divided by that where images
speak, too. Otherwise frequent words win too often when two sources are multiplied."""
COMMON = 0.95
"""Of that share; the rest is spread over all words, so that what is never said gets no boundless bonus."""


def spoken(network: Tensor) -> Tensor:
    """(C,) each word's share of what the network says, (N, C) with rows of zeros where it has not read."""
    heard = (network.sum(1) > 0).sum().clamp(min=1)
    return COMMON * network.sum(0) / heard + (1.0 - COMMON) / max(network.shape[1], 1)


def powers(seen: Tensor, heard: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How much each voxel's image, network and toning count: (N,) float32 each.

    Args:
        seen, heard: (N,) bool: whether an image, the network says anything of it.
    """
    both = seen & heard
    image = torch.where(both, IMAGE_POWER, seen.float())
    network = torch.where(both, NETWORK_POWER, heard.float())
    return image, network, torch.where(both, NETWORK_POWER * TONED_DOWN, 0.0)


def pool(image: Tensor, network: Tensor, said: Tensor) -> Tensor:
    """A logarithmic opinion pool of two calibrated sources (Genest and Zidek, Statistical Science 1986).

    ``log p = a log p_image + b (log p_network - t log said) + const`` (logit adjustment, Menon et al., ICLR
    2021, by what the network says instead of known frequencies). Where one of them says nothing the other
    speaks alone, unchanged.

    Args:
        image: (N, C) float32, rows sum to 1, or to 0 where no image says anything.
        network: (N, C) float32, rows sum to 1, or to 0 where it has not read.
        said: (C,) of :func:`spoken`, of all that the network says and not of these rows alone.

    Returns:
        (N, C) float32, rows sum to 1, or to 0 where neither says anything.
    """
    seen, heard = (source.sum(1) > 0 for source in (image, network))
    a, b, tone = (power[:, None] for power in powers(seen, heard))
    log_image, log_network = (source.clamp(min=LEAST).log() for source in (image, network))
    both = torch.softmax(a * log_image + b * log_network - tone * said.log(), dim=1)
    alone = torch.where(seen[:, None], image, network)
    return torch.where((seen & heard)[:, None], both, alone)
