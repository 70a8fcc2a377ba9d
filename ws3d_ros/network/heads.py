"""What is read off the U-Net's features: language, classes, boundaries, the way to the object's centre."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ws3d_ros.network.sparse_tensor import SparseTensor


@dataclass(frozen=True)
class Reading:
    """What the network says of N voxels. Heads that it does not have are None.

    Attributes:
        embedding: (N, D) in the language space, not normalised; compare by cosine.
        classes: (N, C) logits of a closed set.
        boundary: (N, 2) logits: edge of a class, edge of an instance.
        offset_m: (N, 3) from the voxel to the centre of its object, metres.
    """

    embedding: Tensor
    classes: Tensor | None
    boundary: Tensor | None
    offset_m: Tensor | None


class Heads(nn.Module):
    """Linear in the U-Net's features but for boundary and offset, which get one hidden layer.

    Attributes:
        word_mean: (D,) the part that all word vectors share; it goes with the weights, so that words
            are centred at run time as they were in training. Zero for spaces that need none.
        logit_scale: (), what cosines are multiplied with before the softmax over words.
    """

    word_mean: Tensor
    logit_scale: Tensor

    def __init__(
        self, channels: int, dim: int, classes: int = 0, boundary: bool = False, offset: bool = False
    ) -> None:
        super().__init__()
        self.projector = nn.Linear(channels, dim)
        self.classes = nn.Linear(channels, classes) if classes else None
        self.boundary = _small(channels, 2) if boundary else None
        self.offset = _small(channels, 3) if offset else None
        self.register_buffer("word_mean", torch.zeros(dim))
        self.register_buffer("logit_scale", torch.tensor(20.0))

    def forward(self, x: SparseTensor) -> Reading:
        """All heads on the features of ``x``."""

        def read(head: nn.Module | None) -> Tensor | None:
            return None if head is None else head(x.features)

        return Reading(self.projector(x.features), read(self.classes), read(self.boundary), read(self.offset))

    def centred(self, words: Tensor) -> Tensor:
        """Word vectors (C, D) as embeddings are compared with them: without the common part, unit length."""
        return normalize(words - self.word_mean, dim=-1)

    def word_logits(self, embedding: Tensor, words: Tensor) -> Tensor:
        """(N, C): scaled cosine of each embedding (N, D) with each word vector (C, D)."""
        return self.logit_scale * (normalize(embedding, dim=-1) @ self.centred(words).T)


def _small(channels: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, outputs))
