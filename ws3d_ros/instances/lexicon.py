"""A question's nouns as vectors, among all the words that they compete with.

A thing is described by its shares of many words (the vocabulary's, the shipped ones', the noun itself), and
a noun by how far each of these words would be an answer to it. What a noun means is thus compared with words
by a sentence model ("something to sit on" with "chair"), and words with things in the spaces of image
features and of the 3D network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ws3d_ros.alignment.compression import FeatureBasis
from ws3d_ros.instances.segmentation import STRUCTURE
from ws3d_ros.language.encoder import Encoder, TextEncoder
from ws3d_ros.language.prompts import embed
from ws3d_ros.language.questions import Question, is_use, nouns
from ws3d_ros.language.vocabulary import Vocabulary, shipped_names, shipped_words
from ws3d_ros.network.namer import Namer

ANYTHING = frozenset({"thing", "something", "anything", "object", "item", "things", "objects", "stuff"})
ALIKE, ALIKE_STEP = 0.6, 0.06
"""Centred cosine of two nouns at which one is as likely as not an answer to the other, and how soft."""
USE_ALIKE, USE_STEP = 0.36, 0.056
"""The same for what something is for, and a noun. All four are fitted by benchmarks/query.py."""


@dataclass(frozen=True)
class Space:
    """One way from words to what voxels store.

    Attributes:
        column: of the map: ``feature`` (of images) or ``embedding`` (of the 3D network).
        embed: a vocabulary to (C, D) unit vectors of its names, then of its background words.
        basis: that the column is compressed with.
        logit_scale: of the cosines.
    """

    column: str
    embed: Callable[[Vocabulary], Tensor]
    basis: FeatureBasis
    logit_scale: float


@dataclass(frozen=True)
class Encoded:
    """A question in vectors.

    Attributes:
        words: C words that compete for each thing.
        vectors: column to (C, K) float32, compressed.
        scales: column to the logit scale.
        relevance: noun to (C,) float32 in 0..1: how far each word answers it.
    """

    words: tuple[str, ...]
    vectors: dict[str, Tensor]
    scales: dict[str, float]
    relevance: dict[str, np.ndarray]


class Lexicon:
    """The words that compete, encoded once.

    Attributes:
        vocabulary: in use.
        words: that compete, besides the question's own.
    """

    def __init__(self, vocabulary: Vocabulary, spaces: Sequence[Space], sentences: TextEncoder) -> None:
        """
        Args:
            spaces: of the columns that the map has.
            sentences: compares nouns with words; the sentence model, see ``language.text.SentenceTexts``.
        """
        self.vocabulary = vocabulary
        self._spaces, self._sentences = spaces, sentences
        synonyms_here = {synonym.lower() for synonyms in vocabulary.synonyms for synonym in synonyms}
        shipped = [name.lower() for shipped in shipped_names() for name in Vocabulary.load(shipped).names]
        shipped = [name for name in shipped if name not in synonyms_here]
        every = [*vocabulary.names, *vocabulary.background, *shipped]
        self.words = tuple(dict.fromkeys(word.lower() for word in every))
        rivals = Vocabulary.of(self.words)
        self._vectors = {space.column: self._embed(space, rivals) for space in spaces}
        own = dict(zip((name.lower() for name in vocabulary.names), vocabulary.synonyms, strict=True))
        spellings = [
            (word, *own.get(word, ()), *synonyms)
            for word, synonyms in zip(self.words, rivals.synonyms, strict=True)
        ]
        self._row_of = {
            spelling.lower(): i for i, row in reversed(list(enumerate(spellings))) for spelling in row
        }
        self._row_of |= {word: i for i, word in enumerate(self.words)}
        self._common = sentences.encode_text(shipped_words()).cpu().mean(0)
        self._spelling_row = torch.tensor([i for i, row in enumerate(spellings) for _ in row])
        self._spellings = self._centred([spelling for row in spellings for spelling in row])
        self._is_thing = np.array([word not in STRUCTURE for word in self.words], np.float32)

    def encode(self, question: Question) -> Encoded:
        """The question's nouns; words that are new here are encoded and compete, too."""
        asked = nouns(question.target)
        new = [noun for noun in asked if self._known(noun) is None and noun not in ANYTHING]
        words = (*self.words, *new)
        vectors = dict(self._vectors)
        if new:
            extra = Vocabulary.of(new)
            for space in self._spaces:
                vectors[space.column] = torch.cat([vectors[space.column], self._embed(space, extra)])
        relevance = {noun: self._relevance(noun, words) for noun in asked}
        scales = {space.column: space.logit_scale for space in self._spaces}
        return Encoded(words, vectors, scales, relevance)

    def _relevance(self, noun: str, words: Sequence[str]) -> np.ndarray:
        new = len(words) - len(self.words)
        if noun in ANYTHING:
            return np.concatenate([self._is_thing, np.ones(new, np.float32)])
        cosine = self._spellings @ self._centred([noun])[0]
        best = torch.full((len(self.words),), -1.0).scatter_reduce(0, self._spelling_row, cosine, "amax")
        middle, step = (USE_ALIKE, USE_STEP) if is_use(noun) else (ALIKE, ALIKE_STEP)
        alike = torch.sigmoid((best - middle) / step).numpy()
        relevance = np.concatenate([alike, np.zeros(new, np.float32)]).astype(np.float32)
        known = self._known(noun)
        relevance[words.index(noun) if known is None else known] = 1.0
        return relevance

    def _known(self, noun: str) -> int | None:
        """Row of a noun that is one of the words, a synonym, or the plural of these."""
        return next(
            (self._row_of[form] for form in (noun, noun.removesuffix("s")) if form in self._row_of), None
        )

    def _centred(self, texts: list[str]) -> Tensor:
        """(n, D) unit vectors without what all words share."""
        return torch.nn.functional.normalize(self._sentences.encode_text(texts).cpu() - self._common, dim=1)

    def _embed(self, space: Space, words: Vocabulary) -> Tensor:
        return space.basis.compress(space.embed(words).to(space.basis.directions)).float().cpu()


def spaces(encoder: Encoder | None, namer: Namer | None, bases: Mapping[str, FeatureBasis]) -> list[Space]:
    """The ways from words to what a map's voxels store.

    Args:
        encoder: of images, if there is one.
        namer: the 3D network, if there is one.
        bases: of the map's columns; columns without one, or of another language space than that of the
            encoder, are left out.
    """
    found = []
    basis = bases.get("feature")
    if encoder is not None and basis is not None and basis.space == encoder.space:

        def embed_all(words: Vocabulary) -> Tensor:
            vectors = embed(words, encoder)
            return torch.cat([vectors.names, vectors.background])

        found.append(Space("feature", embed_all, basis, encoder.logit_scale))
    if namer is not None and "embedding" in bases:
        found.append(Space("embedding", namer.embed, bases["embedding"], namer.logit_scale))
    return found
