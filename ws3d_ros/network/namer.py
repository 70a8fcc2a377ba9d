"""The 3D network as the pipeline uses it: windows in, embeddings and probabilities of words out."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ws3d_ros.alignment.compression import FeatureBasis, principal_basis
from ws3d_ros.alignment.labelling import word_probabilities
from ws3d_ros.language.encoder import TextEncoder
from ws3d_ros.language.prompts import embed
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.network.heads import Heads
from ws3d_ros.network.inference import Reader
from ws3d_ros.network.pieces import pieces
from ws3d_ros.reconstruction.window import Window

MOST_VOXELS = 200_000
"""Read at once: about a gigabyte in the larger networks."""
AT_ONCE = 2_048
"""Embeddings made shorter at once: so few stay in the caches, and need not go through memory."""
HALO = 64
"""Cells around a piece that are read with it, beyond which little reaches in."""


class Namer:
    """A trained network and the words of its language space.

    Attributes:
        name: of the checkpoint and what reads it, for messages.
        voxel_size_m: that the network was trained on.
        logit_scale: for :func:`word_probabilities` of embeddings.
        reader: that reads windows; its weights may be renewed while the projector stays.
    """

    def __init__(self, name: str, reader: Reader, heads: Heads, texts: TextEncoder) -> None:
        """``heads``: of the student in ``reader``, for how it compares embeddings with words."""
        self.name = name
        self.voxel_size_m = reader.spec.voxel_size_m
        self.reader = reader
        self._texts = _Centred(texts, heads.word_mean.clone())
        self._span = torch.cat(
            [heads.projector.weight.detach().T, heads.projector.bias.detach()[None]]
        ).clone()
        self.logit_scale = float(heads.logit_scale)

    def embed(self, vocabulary: Vocabulary) -> Tensor:
        """(C + B, D) unit vectors of the names, then of the background words."""
        vectors = embed(vocabulary, self._texts)
        return torch.cat([vectors.names, vectors.background])

    def basis(self, channels: int) -> FeatureBasis:
        """In which embeddings are stored: the main directions of what the projector can say.

        They are sums of the projector's columns, so that as many channels as it has inputs, and one for its
        bias, keep all; words lose only what no embedding has.
        """
        most = min(channels or len(self._span), len(self._span), self._span.shape[1])
        return principal_basis(self._span, self._texts.space, most)

    @torch.inference_mode()
    def read(self, window: Window, basis: FeatureBasis, piece: float = 1.0) -> Tensor:
        """What the network sees in each voxel, in words' terms, whatever the words will be.

        The network sees the voxels' centroids on its own grid: those that share one of its cells are
        averaged, and get the same answer.

        Args:
            window: N voxels of any size.
            basis: of :meth:`basis`.
            piece: below 1 the window is read in parts of this share, with this share of their usual
                surroundings: in less memory, and slightly worse.

        Returns:
            (N, K) float16 unit vectors of the language space, compressed (then no longer than 1).
        """
        cells = (window.points_m / self.voxel_size_m).floor().long()
        device = window.points_m.device
        result = torch.empty(len(window), basis.channels, dtype=torch.float16, device=device)
        directions = FeatureBasis(basis.directions.to(device), basis.space)
        most = math.ceil(piece * min(len(cells), MOST_VOXELS)) if piece < 1.0 else MOST_VOXELS
        for rows, part in pieces(cells, most, round(piece * HALO)):
            reading = self.reader.read(cells[rows], window.color[rows], window.normal[rows])
            of_part = torch.searchsorted(rows, part)
            for some, read in zip(part.split(AT_ONCE), of_part.split(AT_ONCE), strict=True):
                embedding = normalize(reading.embedding[read], dim=1)
                result[some] = directions.compress(embedding).half()
        return result

    @torch.inference_mode()
    def probabilities(self, window: Window, words: Tensor) -> Tensor:
        """How likely each word is for each voxel.

        The network sees the voxels' centroids on its own grid: those that share one of its cells are
        averaged, and get the same answer.

        Args:
            window: N voxels of any size.
            words: (C + B, D) of :meth:`embed`.

        Returns:
            (N, C + B) float32, rows sum to 1.
        """
        cells = (window.points_m / self.voxel_size_m).floor().long()
        result = torch.empty(len(window), len(words), device=words.device)
        for rows, part in pieces(cells, MOST_VOXELS, HALO):
            reading = self.reader.read(cells[rows], window.color[rows], window.normal[rows])
            embedding = normalize(reading.embedding[torch.searchsorted(rows, part)], dim=1)
            result[part] = word_probabilities(embedding, words, self.logit_scale)
        return result


class _Centred:
    """Word vectors as the network was trained on them: without what all words share."""

    def __init__(self, texts: TextEncoder, mean: Tensor) -> None:
        self.space, self.templates = texts.space, texts.templates
        self._texts, self._mean = texts, mean

    def encode_text(self, texts: list[str]) -> Tensor:
        vectors = self._texts.encode_text(texts)
        return normalize(vectors - self._mean.to(vectors), dim=-1)
