"""What things are called, as vectors: each class by one of its names, drawn anew at each step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

Encode = Callable[[list[str]], np.ndarray]
"""Sentences to (C, D) unit vectors."""


class WordBook:
    """Names, synonyms and categories of C classes.

    Attributes:
        names: of the classes.
        spellings: of each class: its name, then its synonyms.
        mean: (D,) the part that the vectors of all words here share.
        categories: (S, D) unit vectors, centred.
        category_of: (C,) int64 index of each class' category, -1 for none.
    """

    def __init__(
        self,
        names: Sequence[str],
        synonyms: Mapping[str, Sequence[str]],
        category: Mapping[str, str],
        encode: Encode,
    ) -> None:
        """
        Args:
            names: the classes.
            synonyms: further names of a class.
            category: what kind of thing a class is.
            encode: words to vectors.
        """
        self.names = tuple(names)
        self.spellings = [[name, *synonyms.get(name, ())] for name in self.names]
        kinds = sorted({category[name] for name in self.names if name in category})
        words = sorted({word for spellings in self.spellings for word in spellings} | set(kinds))
        vectors = torch.from_numpy(encode(words))
        self.mean = vectors.mean(0)
        self._vector = dict(zip(words, normalize(vectors - self.mean, dim=1), strict=True))
        self.categories = torch.stack([self._vector[kind] for kind in kinds]) if kinds else vectors[:0]
        self.category_of = torch.tensor(
            [kinds.index(category[name]) if name in category else -1 for name in self.names]
        )

    def to(self, device: torch.device | str) -> WordBook:
        """This book with its vectors on a device."""
        self.mean, self.categories = self.mean.to(device), self.categories.to(device)
        self.category_of = self.category_of.to(device)
        self._vector = {word: vector.to(device) for word, vector in self._vector.items()}
        return self

    def vectors(self) -> Tensor:
        """(C, D) unit vectors of the names themselves, centred."""
        return torch.stack([self._vector[name] for name in self.names])

    def draw(self, rng: np.random.Generator) -> Tensor:
        """(C, D) unit vectors: each class by its name or, half of the time, by a synonym."""
        chosen = [
            spellings[rng.integers(len(spellings)) if rng.random() < 0.5 else 0]
            for spellings in self.spellings
        ]
        return torch.stack([self._vector[word] for word in chosen])
