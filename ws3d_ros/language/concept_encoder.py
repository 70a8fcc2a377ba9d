"""Words for a closed-set segmenter: class probabilities meet sentence vectors.

The space has one axis for each class of the segmenter. A pixel is its class probabilities. A word
is how alike it is to each class: a Gaussian kernel between sentence vectors,
``exp((cos - 1) / KERNEL)``. Their dot product is the expected likeness of the word to what the
pixel shows, a kernel mean embedding (Smola et al., "A Hilbert Space Embedding for Distributions",
ALT 2007). Class probabilities average well over views, whatever the words will be.

Classes without a name (a segmenter's background) keep an axis that no word has a part in: their
pixels are far from all words.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ws3d_ros.language.segmenter import Segmenter
from ws3d_ros.language.sentences import SentenceEncoder
from ws3d_ros.language.vocabulary import shipped_words

KERNEL = 0.3
"""Width of the kernel in cosines; benchmarks/concept_words.py measures its neighbours."""
LOGIT_SCALE = 6.0


class ConceptEncoder:
    """Implements ``Encoder`` on the CPU, with a segmenter and a sentence model, both ONNX."""

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
        self._origin = self._sentences.encode(shipped_words()).mean(0)
        spellings = [
            (k, spelling)
            for k, name in enumerate(self._segmenter.classes)
            for spelling in (name, *self._segmenter.synonyms[k])
            if name
        ]
        self._owner = np.array([k for k, _ in spellings])
        self._spellings = self._centred([spelling for _, spelling in spellings])
        self.dim = len(self._segmenter.classes)
        self.space = f"concept:{self._segmenter.name}:{self._segmenter.fingerprint}"
        self.name = f"concept ({self._segmenter.name}, {self.dim} classes)"

    def encode_text(self, texts: list[str]) -> Tensor:
        """(C, D) float32 unit vectors, one per text."""
        cosine = self._centred(texts) @ self._spellings.T
        affinity = np.zeros((len(texts), self.dim), np.float32)
        # A class counts by whichever of its spellings is nearest.
        np.maximum.at(affinity.T, self._owner, np.exp((cosine.T - 1.0) / KERNEL))
        return normalize(torch.from_numpy(affinity).to(self._device), dim=-1)

    @torch.inference_mode()
    def encode_dense(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) float32 in 0..1 to (B, D, h, w) float32 unit vectors."""
        return normalize(self._segmenter.probabilities(images).to(self._device), dim=1)

    @torch.inference_mode()
    def encode_image(self, crops: Tensor) -> Tensor:
        """(B, 3, H, W) float32 in 0..1 to (B, D) float32 unit vectors: what the crops show on average."""
        return normalize(self._segmenter.probabilities(crops).mean((2, 3)).to(self._device), dim=1)

    def _centred(self, texts: list[str]) -> np.ndarray:
        """Sentence vectors without what all words have in common, (C, E) unit vectors."""
        vectors = self._sentences.encode(texts) - self._origin
        unit: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
        return unit
