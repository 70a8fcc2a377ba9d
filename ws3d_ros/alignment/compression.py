"""Fewer channels for a feature, without changing which word it is nearest to.

A feature meets the rest of the system only through dot products with words. What lies outside
the span of all words can therefore be dropped for nothing, and what lies along directions in
which words hardly differ for little. The basis comes from the encoder's own vectors of a broad
list of words, never from data, so that the same encoder always gives the same basis and maps
made on different days can be merged.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ws3d_ros.language.encoder import TextEncoder


@dataclass(frozen=True)
class FeatureBasis:
    """K orthonormal directions of the encoder's space.

    Attributes:
        directions: (K, D) float32, orthonormal rows; the most telling first.
        space: the encoder's space, which a map made with this basis belongs to.
    """

    directions: Tensor
    space: str

    @property
    def channels(self) -> int:
        """Number of channels K of a compressed vector."""
        return int(self.directions.shape[0])

    def compress(self, vectors: Tensor) -> Tensor:
        """(..., D) to (..., K). Dot products of vectors inside the basis' span stay as they are."""
        return vectors @ self.directions.T

    def compress_grid(self, dense: Tensor) -> Tensor:
        """(D, h, w) image features to (K, h, w)."""
        return torch.einsum("kd,dhw->khw", self.directions, dense)

    def expand(self, compressed: Tensor) -> Tensor:
        """(..., K) back to (..., D): the nearest vectors that the basis can express."""
        return compressed @ self.directions


def feature_basis(encoder: TextEncoder, words: list[str], channels: int) -> FeatureBasis:
    """The ``channels`` directions that keep most of the words' vectors (in least squares).

    These are the first right singular vectors of the matrix of word vectors (Eckart and Young,
    1936). The mean is not removed, so that cosines and not only their differences survive.

    Args:
        encoder: whose space it is.
        words: a broad list; order and repetition do not matter.
        channels: K; 0, or not less than D, keeps all channels.

    Raises:
        ValueError: when there are no words to make a basis from.
    """
    example = encoder.encode_text(["object"])
    dim = example.shape[1]
    if channels == 0 or channels >= dim:
        return FeatureBasis(torch.eye(dim, device=example.device), encoder.space)
    vocabulary = sorted(set(words))
    if not vocabulary:
        raise ValueError("a feature basis needs words; give it those of the vocabularies")
    return principal_basis(encoder.encode_text(vocabulary), encoder.space, channels)


def principal_basis(vectors: Tensor, space: str, channels: int) -> FeatureBasis:
    """The first ``channels`` (at most D) main directions of ``vectors`` (N, D), see :func:`feature_basis`."""
    # Singular vectors by way of the D x D Gram matrix: all D of them, however few vectors there are,
    # and cheap, however many. Ascending, hence the flip.
    _, columns = torch.linalg.eigh(vectors.T.double() @ vectors.double())
    directions = columns.T.flip(0)[:channels]
    # A singular vector's sign is arbitrary; fixing it makes the basis the same everywhere.
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    return FeatureBasis((directions * largest.sign()).float().contiguous(), space)
