"""Words for a closed-set segmenter: class probabilities meet sentence vectors.

A class is the sentence vector of its name, and a pixel the mean of its classes' vectors, weighted
by their probabilities (ConSE: Norouzi et al., "Zero-Shot Learning by Convex Combination of Semantic
Embeddings", ICLR 2014). Any word has a sentence vector; it is compared with those.

Sentence vectors of single words share a large common part, which would make everything alike. The
mean over a broad list of words is subtracted from all.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ws3d_ros.language.segmenter import Segmenter
from ws3d_ros.language.sentences import SentenceEncoder
from ws3d_ros.language.vocabulary import shipped_words

LOGIT_SCALE = 8.0
"""Makes the true names of samples/room likeliest, voxel by voxel (temperature scaling, Guo et al., ICML
2017): 7.8 with the segmenter that ships, 8.6 with DeepLab on ADE20K (benchmarks/combining.py)."""


class ConceptEncoder:
    """Implements ``Encoder`` with a segmenter and a sentence model, both ONNX on the CPU.

    The last channel is for what the segmenter has no name for (its background): a pixel of that
    is at right angles to all words.
    """

    templates: tuple[str, ...] = ("{}",)
    logit_scale = LOGIT_SCALE

    def __init__(self, segmenter: Path, sentence_model: Path, device: torch.device, threads: int = 1) -> None:
        """Loads both networks.

        Args:
            segmenter: folder of a segmenter, see ``segmenter.py``.
            sentence_model: ONNX file, see ``sentences.find_sentence_model``.
            device: where answers live; the networks run on the CPU.
            threads: of the CPU, for each network.

        Raises:
            EncoderError: when the segmenter cannot be loaded.
        """
        self._segmenter = Segmenter(segmenter, threads)
        self._sentences = SentenceEncoder(sentence_model, threads)
        self._device = device
        self._common = self._sentences.encode(shipped_words()).mean(0)
        self._classes = torch.stack(
            [self._class_vector(*spellings) for spellings in self._segmenter.spellings]
        )
        self.dim = self._sentences.dim + 1
        words = hashlib.sha256("\n".join(shipped_words()).encode()).hexdigest()[:8]
        self.space = f"concept:{self._segmenter.name}:{self._segmenter.fingerprint}:{words}"
        self.name = f"concept ({self._segmenter.name}, {len(self._classes)} classes)"

    def encode_text(self, texts: list[str]) -> Tensor:
        """(C, D) float32 unit vectors, one per text."""
        vectors = self._sentences.encode(texts) - self._common
        padded = np.pad(vectors, ((0, 0), (0, 1)))
        return normalize(torch.from_numpy(padded), dim=-1).to(self._device)

    @torch.inference_mode()
    def encode_dense(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) float32 in 0..1 to (B, D, h, w) float32 unit vectors."""
        probability = self._segmenter.probabilities(images).to(self._device)
        return normalize(torch.einsum("bkhw,kd->bdhw", probability, self._classes), dim=1)

    @torch.inference_mode()
    def encode_image(self, crops: Tensor) -> Tensor:
        """(B, 3, H, W) float32 in 0..1 to (B, D) float32 unit vectors: what the crops show on average."""
        probability = self._segmenter.probabilities(crops).mean((2, 3)).to(self._device)
        return normalize(probability @ self._classes, dim=1)

    def _class_vector(self, *spellings: str) -> Tensor:
        """(D,): the mean direction of a class' spellings, or the last axis for a class without any."""
        if not spellings:
            return torch.eye(self._sentences.dim + 1, device=self._device)[-1]
        return normalize(self.encode_text(list(spellings)).mean(0), dim=0)
