"""What the student is taught by, as pure functions over tensors.

Language is aligned at three levels (docs/method.md): each voxel with the name of its thing, each
thing as a whole with its name, and each scene with all names in it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, normalize

from ws3d_ros.training.datasets.labelled_cloud import NONE


def point_alignment(logits: Tensor, name: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy of voxels with the words of their things, rare words lifted.

    Args:
        logits: (N, C) scaled cosines with all words.
        name: (N,) int64 index of the word, -1 for none.
        weight: (C,) of each word.
    """
    known = name >= 0
    if not bool(known.any()):
        return logits.sum() * 0.0
    return cross_entropy(logits, name, weight, ignore_index=NONE)


def lift_rare(name: Tensor, classes: int) -> Tensor:
    """(C,) weights that fall with the root of how often a class is in the batch; bounded for a few voxels."""
    count = torch.bincount(name[name >= 0], minlength=classes).float()
    return (count + 200.0).rsqrt()


def region_means(values: Tensor, region: Tensor, regions: int) -> Tensor:
    """(R, D) mean of ``values`` (N, D) over the rows of each region; ``region`` (N,) from 0 to R - 1."""
    total = values.new_zeros(regions, values.shape[1]).index_add(0, region, values)
    count = torch.bincount(region, minlength=regions).clamp(min=1)
    return total / count[:, None].to(total.dtype)


def region_alignment(embedding: Tensor, words: Tensor, scale: Tensor, region: Tensor, name: Tensor) -> Tensor:
    """Cross-entropy of whole things with their words: a cup counts as much as a wall.

    Args:
        embedding: (N, D) unit vectors of voxels.
        words: (C, D) unit vectors.
        scale: of the cosines.
        region: (N,) int64 thing of each voxel, from 0; -1 for none.
        name: (N,) int64 as in :func:`point_alignment`, the same all over a thing.
    """
    inside = (region >= 0) & (name >= 0)
    if not bool(inside.any()):
        return embedding.sum() * 0.0
    ids, place = torch.unique(torch.where(inside, region, -1), return_inverse=True)
    first = int(ids[0] < 0)  # the rest of the world, where there is any, is no thing
    mean = normalize(region_means(embedding, place, len(ids))[first:], dim=1)
    of_region = torch.empty(len(ids), dtype=name.dtype, device=name.device)
    of_region[place] = name
    return cross_entropy(scale * mean @ words.T, of_region[first:])


def scene_alignment(embedding: Tensor, words: Tensor, batch: Tensor, name: Tensor) -> Tensor:
    """One minus the cosine of what a scene shows on the whole with the words of all that is in it.

    Both sides are means over voxels, so that each word counts by what it covers.

    Args:
        embedding, words, name: as in :func:`region_alignment`.
        batch: (N,) int64 scene of each voxel.
    """
    known = name >= 0
    if not bool(known.any()):
        return embedding.sum() * 0.0
    scenes = int(batch.amax()) + 1
    shown = region_means(embedding, torch.where(known, batch, scenes), scenes + 1)[:scenes]
    told = region_means(words[name[known]], batch[known], scenes)
    present = torch.bincount(batch[known], minlength=scenes) > 0
    return (1.0 - (normalize(shown, dim=1) * normalize(told, dim=1)).sum(1))[present].mean()


def boundary(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy plus Dice (Milletari et al., 3DV 2016), mean over the kinds of boundary.

    Args:
        logits: (N, 2).
        target: (N, 2) float, 1 on a boundary; a row with NaN is left out.
    """
    known = ~target.isnan().any(1)
    if not bool(known.any()):
        return logits.sum() * 0.0
    logits, target = _rows(logits, known), target[known]
    chance = torch.sigmoid(logits)
    overlap = 2.0 * (chance * target).sum(0) + 1.0
    dice = 1.0 - overlap / (chance.sum(0) + target.sum(0) + 1.0)
    return binary_cross_entropy_with_logits(logits, target) + dice.mean()


def offset(predicted_m: Tensor, target_m: Tensor) -> Tensor:
    """Mean distance between predicted and true way to the centre of the thing, plus one minus their cosine.

    After PointGroup (Jiang et al., CVPR 2020).

    Args:
        predicted_m: (N, 3).
        target_m: (N, 3); NaN for voxels of no thing.
    """
    known = ~target_m.isnan().any(1)
    if not bool(known.any()):
        return predicted_m.sum() * 0.0
    predicted_m, target_m = _rows(predicted_m, known), target_m[known]
    distance = (predicted_m - target_m).abs().sum(1).mean()
    turned = 1.0 - (normalize(predicted_m, dim=1) * normalize(target_m, dim=1)).sum(1).mean()
    return distance + turned


def _rows(values: Tensor, mask: Tensor) -> Tensor:
    """``values[mask]``, whose gradient is added by all threads: that of a mask is by one."""
    return values.index_select(0, mask.nonzero()[:, 0])
