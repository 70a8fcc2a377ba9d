"""What few labels teach: terms over regions, labelled or not.

WS3D++ asks for a boundary-aware energy and a region-level contrast gated by confidence; the formulas
here are ours (docs/method.md names the nearest published ones).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize


def energy(
    probability: Tensor, label: Tensor, edges: Tensor, boundary: Tensor, smooth: float, sure: float
) -> Tensor:
    """Energy of a labelled region graph: low where labels hold, surfaces agree, nothing wavers.

    ``mean_labelled −log p_r(y_r) + smooth · Σ_e (1−b_e) |p_i−p_j|² / Σ_e (1−b_e) + sure · mean_unlabelled H(p_r)``

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


class ClassQueues:
    """For each class the newest vectors of regions that were sure to be of it.

    Attributes:
        vectors: (C, L, D) unit vectors.
        filled: (C,) int64 how many there are.
    """

    def __init__(self, classes: int, length: int, dim: int) -> None:
        self.vectors = torch.zeros(classes, length, dim)
        self.filled = torch.zeros(classes, dtype=torch.int64)
        self._next = torch.zeros(classes, dtype=torch.int64)

    def push(self, vectors: Tensor, label: Tensor) -> None:
        """Adds (R, D) vectors of classes (R,); the oldest go."""
        length = self.vectors.shape[1]
        for vector, name in zip(normalize(vectors.detach().float(), dim=1), label.tolist(), strict=True):
            self.vectors[name, self._next[name]] = vector
            self._next[name] = (self._next[name] + 1) % length
            self.filled[name] = min(int(self.filled[name]) + 1, length)

    def state(self) -> dict[str, Tensor]:
        """To go on after an interruption."""
        return {"vectors": self.vectors, "filled": self.filled, "next": self._next}

    def restore(self, state: dict[str, Tensor]) -> None:
        """The way back from :meth:`state`."""
        self.vectors, self.filled, self._next = state["vectors"], state["filled"], state["next"]


def contrast(vectors: Tensor, label: Tensor, queues: ClassQueues, temperature: float = 0.1) -> Tensor:
    """Regions are drawn to their class' queue, away from others' (InfoNCE with classes, Khosla et al. 2020).

    Args:
        vectors: (R, D) of regions.
        label: (R,) int64 known or confidently guessed class; -1 takes no part.
        queues: of earlier batches; regions of classes that have nothing there take no part.
    """
    there = torch.arange(queues.vectors.shape[1]) < queues.filled[:, None]  # (C, L)
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
