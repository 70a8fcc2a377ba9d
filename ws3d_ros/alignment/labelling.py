"""From features to words: how likely each word is for a voxel, and which one it gets."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ws3d_ros.reconstruction.window import UNKNOWN


def word_probabilities(feature: Tensor, words: Tensor, logit_scale: float) -> Tensor:
    """Softmax over words of scaled dot products.

    A voxel's feature is the mean of unit vectors: the less its views agreed, the shorter it is
    and the flatter the distribution. A zero feature gives the uniform one.

    Args:
        feature: (N, K), any floating type.
        words: (C, K) float32 unit vectors, compressed by the same basis.
        logit_scale: the encoder's; see ``Encoder.logit_scale``.

    Returns:
        (N, C) float32, rows sum to 1.
    """
    return torch.softmax(logit_scale * (feature.float() @ words.T), dim=1)


def certainty(probability: Tensor) -> Tensor:
    """1 - H(p) / log C along the last dimension: 1 for one sure word, 0 for all alike.

    With a single word there is nothing to be unsure about: 1.
    """
    count = probability.shape[-1]
    if count == 1:
        return torch.ones_like(probability[..., 0])
    entropy = torch.special.entr(probability).sum(-1)
    return (1.0 - entropy / math.log(count)).clamp(0.0, 1.0)


def decide(probability: Tensor, names: int, unknown_below: float) -> tuple[Tensor, Tensor]:
    """The most likely word of each voxel, or unknown.

    Unknown are voxels of which nothing is known (a row of zeros), those for which a background
    word wins, and those whose winning word is less likely than ``unknown_below``.

    Args:
        probability: (N, C + B) over the vocabulary's names, then its background words.
        names: C.
        unknown_below: in 0..1.

    Returns:
        label (N,) int16 (``UNKNOWN``, or index of the name plus one) and confidence (N,) float16,
        the probability of the label, 0 for unknown.
    """
    best, word = probability.max(dim=1)
    return choose(best, word, names, unknown_below)


def choose(best: Tensor, word: Tensor, names: int, unknown_below: float) -> tuple[Tensor, Tensor]:
    """As :func:`decide`, of the most likely word (N,) of each voxel and how likely it is, (N,)."""
    named = (word < names) & (best > 0) & (best >= unknown_below)
    label = torch.where(named, word + 1, UNKNOWN).to(torch.int16)
    return label, torch.where(named, best, 0.0).to(torch.float16)
