"""The quick way of naming gives what the formula gives, and the careful way without neighbours, too."""

from __future__ import annotations

import dataclasses

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import normalize
from windows import random_cells
from windows import window as cells_window

from ws3d_ros.alignment.combining import pool, spoken
from ws3d_ros.alignment.labelling import decide, word_probabilities
from ws3d_ros.naming import Words, by_region, name, rename
from ws3d_ros.reconstruction.window import Window

NAMES, BACKGROUND, K, E = 5, 2, 6, 8


def random_window(seed: int, count: int = 60) -> Window:
    """Some voxels without an image, some that the network has not read, some with neither."""
    window = cells_window(random_cells(count, 6, seed), channels=K)
    generator = torch.Generator().manual_seed(seed)
    seen = torch.rand(len(window), generator=generator) < 0.7
    heard = torch.rand(len(window), generator=generator) < 0.7
    feature = normalize(torch.randn(len(window), K, generator=generator), dim=1) * seen[:, None]
    embedding = normalize(torch.randn(len(window), E, generator=generator), dim=1) * heard[:, None]
    return dataclasses.replace(
        window, feature=feature.half(), feature_weight=seen.float(), embedding=embedding.half()
    )


def random_words(seed: int) -> Words:
    generator = torch.Generator().manual_seed(seed)
    image, network = (
        normalize(torch.randn(NAMES + BACKGROUND, channels, generator=generator), dim=1)
        for channels in (K, E)
    )
    return Words(NAMES, image, network, image_scale=6.0, network_scale=9.0)


def formula(window: Window, words: Words) -> torch.Tensor:
    assert window.embedding is not None
    seen, heard = window.feature_weight > 0, window.embedding.any(dim=1)
    image = word_probabilities(window.feature, words.image, words.image_scale) * seen[:, None]
    network = word_probabilities(window.embedding, words.network, words.network_scale) * heard[:, None]
    return pool(image, network, spoken(network))


@given(seed=st.integers(0, 1000))
def test_both_ways_are_the_formula(seed: int) -> None:
    window, words = random_window(seed), random_words(seed + 1)
    expected, confidence = decide(formula(window, words), NAMES, 0.1)
    quick = rename(window, words, 0.1)
    careful = name(window, words, torch.arange(len(window)), 0.0, 0.1)
    for label, sure in (quick, careful):
        # Rounded to float16; and the quick way does not stop at probabilities of 1e-6.
        torch.testing.assert_close(sure, confidence, atol=0.02, rtol=0)
        assert (label == expected).float().mean() > 0.98


@given(seed=st.integers(0, 1000))
def test_regions_sum_what_is_said_of_their_voxels(seed: int) -> None:
    window, words = random_window(seed), random_words(seed + 1)
    region = torch.randint(4, (len(window),), generator=torch.Generator().manual_seed(seed))
    expected = torch.zeros(5, NAMES + BACKGROUND)
    for voxel, said in zip(region.tolist(), formula(window, words), strict=True):
        expected[voxel] += said
    torch.testing.assert_close(by_region(window, words, region, 5), expected)


def test_one_source_alone() -> None:
    window, words = random_window(3), random_words(4)
    blind = dataclasses.replace(window, feature_weight=torch.zeros(len(window)))
    assert blind.embedding is not None
    network = word_probabilities(blind.embedding, words.network, words.network_scale)
    label, _ = rename(blind, words, 0.0)
    heard = blind.embedding.any(dim=1)
    expected, _ = decide(network, NAMES, 0.0)
    assert torch.equal(label[heard], expected[heard])
    assert not label[~heard].any()
    deaf = dataclasses.replace(window, embedding=None)
    words = dataclasses.replace(words, network=torch.zeros(NAMES + BACKGROUND, 0))
    image = word_probabilities(deaf.feature, words.image, words.image_scale)
    label, _ = rename(deaf, words, 0.0)
    seen = deaf.feature_weight > 0
    assert torch.equal(label[seen], decide(image, NAMES, 0.0)[0][seen])
    assert not label[~seen].any()


def test_voxels_of_one_surface_agree() -> None:
    window, words = random_window(7), random_words(8)
    label, _ = name(window, words, torch.zeros(len(window)).long(), 1.0, 0.0)
    assert len(label.unique()) == 1
    assert label[0] > 0


def test_what_a_voxel_is_called_counts_only_if_asked_to() -> None:
    window, words = random_window(5), random_words(6)
    alone = torch.arange(len(window))
    fresh, _ = name(window, words, alone, 0.0, 0.0)
    known = fresh > 0
    # Another name, held for sure until now: one update does not change it, unless it has become impossible.
    other = torch.where(known, fresh % NAMES + 1, 0).to(torch.int16)
    held = dataclasses.replace(window, label=other, confidence=torch.ones_like(window.confidence))
    kept, _ = name(held, words, alone, 0.0, 0.0, keep=True)
    assert torch.equal(kept[known], other[known])
    again, _ = name(held, words, alone, 0.0, 0.0)
    assert torch.equal(again, fresh)
