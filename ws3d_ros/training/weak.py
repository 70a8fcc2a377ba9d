"""What few labels teach: terms over regions, labelled or not.

WS3D++ asks for a boundary-aware energy and a region-level contrast gated by confidence; the formulas
here are ours (docs/method.md names the nearest published ones).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ws3d_ros.instances.superpoints import Regions


def energy(
    probability: Tensor, label: Tensor, edges: Tensor, boundary: Tensor, smooth: float, sure: float
) -> Tensor:
    """Energy of a labelled region graph: low where labels hold, surfaces agree, nothing wavers.

    ``mean_labelled −log p_r(y_r) + smooth · Σ_e (1−b_e) |p_i−p_j|² / Σ_e (1−b_e)
    + sure · mean_unlabelled H(p_r)``

    A border that the boundary network believes in costs nothing to cross.

    Args:
        probability: (R, C), rows sum to 1.
        label: (R,) int64, -1 for unlabelled.
        edges: (E, 2) int64 regions that touch.
        boundary: (E,) how likely a class ends between them; no gradient flows into it.
        smooth, sure: weights of the second and third term.
    """
    labelled = label >= 0
    log_p = torch.log(probability.clamp(min=1e-8))
    total = probability.sum() * 0.0
    if bool(labelled.any()):
        total = total - log_p[labelled].gather(1, label[labelled, None]).mean()
    if len(edges) and smooth:
        open_ = 1.0 - boundary.detach()
        apart = (probability[edges[:, 0]] - probability[edges[:, 1]]).square().sum(1)
        total = total + smooth * (open_ * apart).sum() / open_.sum().clamp(min=1e-6)
    if bool((~labelled).any()) and sure:
        total = total - sure * (probability * log_p).sum(1)[~labelled].mean()
    return total


class ClassQueues(nn.Module):
    """For each class the newest vectors of regions that were sure to be of it; saved with a model's weights.

    Attributes:
        vectors: (C, L, D) unit vectors.
        filled: (C,) int64 how many there are.
        following: (C,) int64 where the next one goes.
    """

    vectors: Tensor
    filled: Tensor
    following: Tensor

    def __init__(self, classes: int, length: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.zeros(classes, length, dim))
        self.register_buffer("filled", torch.zeros(classes, dtype=torch.int64))
        self.register_buffer("following", torch.zeros(classes, dtype=torch.int64))

    def push(self, vectors: Tensor, label: Tensor) -> None:
        """Adds (R, D) vectors of classes (R,); the oldest go."""
        length = self.vectors.shape[1]
        for vector, name in zip(normalize(vectors.detach().float(), dim=1), label.tolist(), strict=True):
            self.vectors[name, self.following[name]] = vector
            self.following[name] = (self.following[name] + 1) % length
            self.filled[name] = (self.filled[name] + 1).clamp(max=length)


def contrast(vectors: Tensor, label: Tensor, queues: ClassQueues, temperature: float = 0.1) -> Tensor:
    """Regions are drawn to their class' queue, away from others' (InfoNCE with classes, Khosla et al. 2020).

    Args:
        vectors: (R, D) of regions.
        label: (R,) int64 known or confidently guessed class; -1 takes no part.
        queues: of earlier batches; regions of classes that have nothing there take no part.
    """
    place = torch.arange(queues.vectors.shape[1], device=vectors.device)
    there = place < queues.filled[:, None]  # (C, L)
    taking_part = (label >= 0) & (queues.filled[label.clamp(min=0)] > 0)
    if not bool(taking_part.any()) or int((queues.filled > 0).sum()) < 2:
        return vectors.sum() * 0.0
    memory, owner = queues.vectors[there], there.nonzero()[:, 0]
    logits = normalize(vectors[taking_part], dim=1) @ memory.T / temperature
    log_p = torch.log_softmax(logits, dim=1)
    mine = owner == label[taking_part, None]
    return -(log_p * mine).sum(1).div(mine.sum(1)).mean()


def gate(probability: Tensor, label: Tensor, threshold: float) -> Tensor:
    """(R,) known class, else the likeliest one where it is at least ``threshold`` likely, else -1."""
    sure, guess = probability.detach().max(1)
    return torch.where(label >= 0, label, torch.where(sure >= threshold, guess, -1))


def told_boundary(regions: Regions, label: Tensor) -> Tensor:
    """(N, 2) float32 what few labels tell of boundaries.

    1 along borders between regions of different classes, 0 within labelled regions; NaN elsewhere: two
    regions of one class may be two things, and nothing is known beside regions without label.
    """
    out = torch.full((len(regions.of_voxel), 2), torch.nan, device=label.device)
    out[label[regions.of_voxel] >= 0] = 0.0
    ends = torch.cat([regions.inputs, regions.outputs])
    out[ends] = torch.nan
    a, b = label[regions.of_voxel[regions.inputs]], label[regions.of_voxel[regions.outputs]]
    out[ends[((a != b) & (a >= 0) & (b >= 0)).repeat(2)]] = 1.0
    return out
