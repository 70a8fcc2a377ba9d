"""Names, synonyms and templates to one vector a name."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

from ws3d_ros.language.encoder import Encoder
from ws3d_ros.language.prompts import embed
from ws3d_ros.language.vocabulary import Vocabulary


class Hashing:
    """Every text is a direction of its own."""

    dim, space, name, logit_scale = 8, "hashing", "hashing", 1.0
    templates: tuple[str, ...] = ("a {}.", "the {}!")

    def encode_text(self, texts: list[str]) -> Tensor:
        rows = []
        for text in texts:
            seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
            row = np.random.default_rng(seed).normal(size=self.dim)
            rows.append(row / np.linalg.norm(row))
        return torch.tensor(np.stack(rows), dtype=torch.float32)

    def encode_dense(self, images: Tensor) -> Tensor:
        raise AssertionError("prompts need no images")

    def encode_image(self, crops: Tensor) -> Tensor:
        raise AssertionError("prompts need no images")


def test_mean_over_templates_then_over_synonyms() -> None:
    encoder = Hashing()
    assert isinstance(encoder, Encoder)
    vocabulary = Vocabulary(
        ("sofa", "cup"),
        (("couch", "settee"), ()),
        np.zeros((2, 3), np.uint8),
        ("target",) * 2,
        (0.0,) * 2,
        ("sky",),
    )
    vectors = embed(vocabulary, encoder)

    def plain(*words: str) -> np.ndarray:
        each = []
        for word in words:
            mean = sum(encoder.encode_text([text])[0].numpy() for text in (f"a {word}.", f"the {word}!"))
            each.append(mean / np.linalg.norm(mean))
        total = np.sum(each, axis=0)
        return total / np.linalg.norm(total)

    expected = np.stack([plain("sofa", "couch", "settee"), plain("cup")])
    # float32 sums of a few numbers of size one
    np.testing.assert_allclose(vectors.names.numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(vectors.background.numpy(), plain("sky")[None], atol=1e-6)


def test_without_background() -> None:
    vectors = embed(Vocabulary.load("cup, {braces}"), Hashing())
    assert vectors.names.shape == (2, 8)
    assert vectors.background.shape == (0, 8)
