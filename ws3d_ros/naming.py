"""Names out of what the map stores: features of images and embeddings of the 3D network, to words.

``name`` is the careful way: the voxels of one surface agree about each source, both sources are pooled, and
what a voxel was called before counts. ``rename`` is the quick way for whole maps and new words: every voxel
by itself. Nothing is encoded here, and the network is not asked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ws3d_ros.alignment.combining import pool, powers, spoken
from ws3d_ros.alignment.hysteresis import hold
from ws3d_ros.alignment.labelling import choose, decide, word_probabilities
from ws3d_ros.alignment.regularise import agree
from ws3d_ros.reconstruction.window import Window

AT_ONCE = 4_096
"""Voxels for which scores of all words are held at the same time, where each is for itself."""


@dataclass(frozen=True)
class Words:
    """What the vocabulary looks like: C names, then B background words, in each space that is in use.

    Attributes:
        names: C.
        image: (C + B, K) compressed vectors in the encoder's space; (C + B, 0) without an encoder.
        network: (C + B, E) compressed vectors in the network's space; (C + B, 0) without a network.
        image_scale, network_scale: of the cosines, so that their softmax is calibrated.
    """

    names: int
    image: Tensor
    network: Tensor
    image_scale: float = 0.0
    network_scale: float = 0.0


def name(
    window: Window,
    words: Words,
    region: Tensor,
    region_share: float,
    unknown_below: float,
    keep: bool = False,
) -> tuple[Tensor, Tensor]:
    """Label (N,) int16 and confidence (N,) float16 of each voxel.

    Args:
        window: N voxels.
        words: in use.
        region: (N,) int64 superpoint of each voxel, see :func:`ws3d_ros.alignment.regularise.agree`.
        region_share: how much a voxel listens to its superpoint.
        unknown_below: a label with less confidence becomes unknown.
        keep: what a voxel is called now counts, so that names do not flicker; it must be of the same words.
    """
    image, network = said(window, words)
    image = agree(image, window.feature_weight, region, region_share)
    network = agree(network, _heard(window).float(), region, region_share)
    probability = pool(image, network, spoken(network))
    label, confidence = decide(probability, words.names, unknown_below)
    if keep:
        return hold(window.label, window.confidence, probability, label, confidence)
    return label, confidence


def said(window: Window, words: Words) -> tuple[Tensor, Tensor]:
    """What images, and what the network says of each voxel by itself: (N, C + B) probabilities.

    Rows of the network's are 0 where it has not read; those of images are uniform where none saw anything.
    """
    return word_probabilities(window.feature, words.image, words.image_scale), _network(window, words)


def by_region(window: Window, words: Words, region: Tensor, count: int) -> Tensor:
    """(R, C + B) float32 sums over the voxels of each region of what both sources say of each by itself.

    What tells things apart: surfaces that agree say less, as they already know where things end.

    Args:
        window: N voxels.
        words: in use.
        region: (N,) int64 in 0..R-1.
        count: R.
    """
    common = _common(window, words)
    total = torch.zeros(count, len(words.image), device=window.keys.device)
    for first in range(0, len(window), AT_ONCE):
        rows = slice(first, first + AT_ONCE)
        part = _rows(window, rows)
        image, network = said(part, words)
        image = image * (part.feature_weight > 0)[:, None]
        total.index_add_(0, region[rows], pool(image, network, common))
    return total


def rename(window: Window, words: Words, unknown_below: float) -> tuple[Tensor, Tensor]:
    """As :func:`name`, but voxels hear nobody else and forget what they were called.

    The pool of two softmaxes is one softmax of summed scores, so that a voxel costs two matrix rows.
    """
    toned = _common(window, words).log()
    label, confidence = torch.empty_like(window.label), torch.empty_like(window.confidence)
    table = torch.cat([words.image_scale * words.image, words.network_scale * words.network], dim=1).T
    for first in range(0, len(window), AT_ONCE):
        part = _rows(window, slice(first, first + AT_ONCE))
        seen, heard = part.feature_weight > 0, _heard(part)
        image, network, tone = powers(seen, heard)
        stored = [part.feature * image[:, None]]
        if part.embedding is not None:
            stored.append(part.embedding * network[:, None])
        score = torch.addmm(tone[:, None] * -toned, torch.cat(stored, dim=1).float(), table)
        best, word = score.max(dim=1)
        chance = torch.exp(best - score.logsumexp(dim=1)) * (seen | heard)
        rows = slice(first, first + len(chance))
        label[rows], confidence[rows] = choose(chance, word, words.names, unknown_below)
    return label, confidence


def _common(window: Window, words: Words) -> Tensor:
    """(C + B,) each word's share of what the network says, by an even sample of the voxels."""
    return spoken(_network(_rows(window, slice(None, None, max(1, len(window) // AT_ONCE))), words))


def _network(window: Window, words: Words) -> Tensor:
    """(N, C + B) what the network says; rows of zeros where it has not read."""
    if window.embedding is None:
        return torch.zeros(len(window), len(words.network), device=window.keys.device)
    said = word_probabilities(window.embedding, words.network, words.network_scale)
    return said * _heard(window)[:, None]


def _heard(window: Window) -> Tensor:
    """(N,) whether the network has read a voxel."""
    if window.embedding is None:
        return torch.zeros(len(window), dtype=torch.bool, device=window.keys.device)
    return window.embedding.any(dim=1)


def _rows(window: Window, rows: slice) -> Window:
    """These rows of a window, of what names are made of."""
    embedding = None if window.embedding is None else window.embedding[rows]
    feature, weight = window.feature[rows], window.feature_weight[rows]
    return replace(
        window, keys=window.keys[rows], feature=feature, feature_weight=weight, embedding=embedding
    )
