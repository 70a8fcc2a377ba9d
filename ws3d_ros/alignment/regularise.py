"""Neighbouring voxels that look alike should bear the same name.

Labels of single voxels are noisy where views disagree and missing where no image looked. A few
sweeps let each voxel hear its neighbours: those with the same normal and colour are likely parts
of one surface and count much, those across a crease or a change of colour hardly count. What is
exchanged are probabilities, not labels, so that a sure voxel convinces an unsure one and not the
other way round.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from ws3d_ros.reconstruction.window import Window

NORMAL_SPREAD = 0.25
"""Difference 1 - |cos| of two normals at which the affinity has fallen to 1/e: about 41 degrees."""
COLOR_SPREAD = 20.0
"""Colour difference (Euclidean, 0..255 RGB) at which the affinity has fallen to 1/e."""
HALF_TRUST = 3.0
"""Feature weight (in views from near, squarely and sure) at which a voxel relies on itself by half."""
NETWORK_TRUST = 0.5
"""The same share for what the 3D network says: it has looked at the surroundings already."""

REGION_SHARE = 0.5
"""How much a voxel listens to the mean of its region."""


def affinity(window: Window, table: Tensor) -> Tensor:
    """How much each voxel listens to each of its neighbours, from their normals and colours.

    ``exp(-(1 - |cos|) / NORMAL_SPREAD - |dRGB| / COLOR_SPREAD)``; a normal or a colour that
    either of the two lacks says nothing, for or against.

    Args:
        window: N voxels.
        table: (N, 26) from :func:`ws3d_ros.alignment.neighbours.neighbour_table`.

    Returns:
        (N, N) float32 sparse CSR; rows sum to 1, or to 0 for voxels without neighbours.
    """
    present = table >= 0
    degree = present.sum(1)
    row = torch.repeat_interleave(torch.arange(len(table), device=table.device), degree)
    column = table[present]
    bent = 1.0 - (window.normal[row] * window.normal[column]).sum(1).abs()
    known = window.normal.abs().sum(1) > 0
    bent = torch.where(known[row] & known[column], bent, 0.0)
    changed = torch.linalg.vector_norm(window.color[row] - window.color[column], dim=1).nan_to_num_(0.0)
    likeness = torch.exp(-bent / NORMAL_SPREAD - changed / COLOR_SPREAD)
    total = torch.zeros(len(table), device=table.device).index_add_(0, row, likeness)
    start = torch.cat([degree.new_zeros(1), degree.cumsum(0)])
    share = likeness / total[row].clamp(min=1e-12)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(start, column, share, [len(table)] * 2, check_invariants=False)


def trust_in(weight: Tensor) -> Tensor:
    """(N,) feature weights to (N,) trust in 0..0.9: ``w / (w + HALF_TRUST)``, 0 where nothing was seen."""
    return (weight / (weight + HALF_TRUST)).clamp(max=0.9)


def smooth(probability: Tensor, trust: Tensor, neighbours: Tensor, sweeps: int) -> Tensor:
    """Word probabilities after ``sweeps`` rounds of listening.

    Each round a voxel's distribution becomes the mean of what it saw itself, weighted by
    ``trust``, and of what its neighbours say now, weighted by ``1 - trust`` (label propagation
    with clamped evidence, Zhou et al., NeurIPS 2003). A voxel that saw nothing takes over what
    its neighbours say.

    Args:
        probability: (N, C) float32, rows sum to 1.
        trust: (N,) float32 in 0..1: how much a voxel relies on itself; 0 where it saw nothing.
        neighbours: of :func:`affinity`.
        sweeps: number of rounds; 0 only clears the rows of voxels that saw nothing.

    Returns:
        (N, C) float32; rows sum to 1, or to 0 where neither the voxel nor any voxel within
        ``sweeps`` steps saw anything.
    """
    own = probability * trust[:, None]
    now = torch.where(trust[:, None] > 0, probability, 0.0)
    for _ in range(sweeps):
        now = own + (1.0 - trust[:, None]) * (neighbours @ now)
        now = now / now.sum(1, keepdim=True).clamp(min=1e-12)
    return now


def agree(probability: Tensor, region: Tensor) -> Tensor:
    """Word probabilities after every voxel heard the mean of its region, by ``REGION_SHARE``.

    Nothing passes from one region to another. A voxel that knows nothing takes over the mean.

    Args:
        probability: (N, C) float32, rows sum to 1, or to 0 where nothing is known.
        region: (N,) int64 from 0, as ``instances.superpoints.over_segment`` cuts voxels.

    Returns:
        (N, C) float32; rows sum to 1, or to 0 where nothing is known of a whole region.
    """
    count = int(region.amax()) + 1 if len(region) else 0
    known = (probability.sum(1) > 0).to(probability.dtype)
    total = probability.new_zeros(count, probability.shape[1]).index_add_(0, region, probability)
    members = probability.new_zeros(count).index_add_(0, region, known)
    mean = (total / members.clamp(min=1.0)[:, None])[region]
    return torch.lerp(probability, mean, torch.where(known > 0, REGION_SHARE, 1.0)[:, None])
