"""A vocabulary's words as vectors: each name by its prompts and synonyms together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ws3d_ros.language.encoder import TextEncoder
from ws3d_ros.language.vocabulary import Vocabulary


@dataclass(frozen=True)
class WordVectors:
    """Unit vectors of a vocabulary in one encoder's space.

    Attributes:
        names: (C, D) float32, one for each name of the vocabulary.
        background: (B, D) float32, one for each background word; B may be 0.
    """

    names: Tensor
    background: Tensor


def embed(vocabulary: Vocabulary, encoder: TextEncoder) -> WordVectors:
    """The vectors of a vocabulary.

    A name's vector is the normalised mean over the name and its synonyms, and each of these is the
    normalised mean over the encoder's prompt templates (prompt ensembling, Radford et al., "Learning
    Transferable Visual Models From Natural Language Supervision", 2021).
    """
    spellings = [
        *([name, *synonyms] for name, synonyms in zip(vocabulary.names, vocabulary.synonyms, strict=True)),
        *([word] for word in vocabulary.background),
    ]
    vectors = _through_templates(sorted({word for words in spellings for word in words}), encoder)
    rows = torch.stack([torch.stack([vectors[word] for word in words]).mean(0) for words in spellings])
    rows = normalize(rows, dim=-1)
    return WordVectors(rows[: len(vocabulary)], rows[len(vocabulary) :])


def _through_templates(words: list[str], encoder: TextEncoder) -> dict[str, Tensor]:
    """Each word's unit vector, the mean over the templates."""
    templates = encoder.templates
    prompts = [template.format(word) for word in words for template in templates]
    vectors = encoder.encode_text(prompts).view(len(words), len(templates), -1)
    return dict(zip(words, normalize(vectors.mean(1), dim=-1), strict=True))
