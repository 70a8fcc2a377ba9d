"""The pool of two sources against its formula in plain numpy."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from ws3d_ros.alignment.combining import (
    COMMON,
    IMAGE_POWER,
    LEAST_POOLED,
    NETWORK_POWER,
    TONED_DOWN,
    combine,
    image_share,
    pool,
)


def distributions(rng: np.random.Generator, count: int, words: int, spread: float) -> np.ndarray:
    power = np.exp(spread * rng.standard_normal((count, words)))
    return power / power.sum(1, keepdims=True)


def tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values, np.float32))


@given(
    seed=st.integers(0, 2**16),
    count=st.integers(0, 20),
    words=st.integers(1, 12),
    weight=st.floats(0.01, 20.0),
    spread=st.floats(0.1, 4.0),
)
def test_the_formula(seed: int, count: int, words: int, weight: float, spread: float) -> None:
    rng = np.random.default_rng(seed)
    image, network = (distributions(rng, count, words, spread) for _ in range(2))
    evidence = rng.exponential(2.0, count) * (rng.random(count) < 0.7)
    expected = np.empty((count, words))
    for row in range(count):
        alpha = evidence[row] / (evidence[row] + weight)
        product = image[row] ** alpha * network[row] ** (1 - alpha)
        expected[row] = product / product.sum()
    found = combine(tensor(image), image_share(tensor(evidence), weight), tensor(network))
    # float32 logarithms of numbers down to 1e-12.
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_each_source_alone() -> None:
    rng = np.random.default_rng(0)
    image, network = (tensor(distributions(rng, 5, 4, 1.0)) for _ in range(2))
    torch.testing.assert_close(combine(image, image_share(torch.zeros(5), 1.5), network), network)
    torch.testing.assert_close(combine(image, torch.ones(5), network), image)


def test_many_views_silence_the_network() -> None:
    image, network = torch.tensor([[0.9, 0.1]]), torch.tensor([[0.01, 0.99]])
    shares = [image_share(torch.tensor([evidence]), 1.0) for evidence in (0.1, 1.0, 10.0)]
    assert [int(combine(image, share, network).argmax()) for share in shares] == [1, 1, 0]


def test_certainty_of_one_source_does_not_rule_a_word_out() -> None:
    sure, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    found = combine(sure, torch.tensor([0.5]), other)
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.5]]))


@given(
    seed=st.integers(0, 2**16),
    count=st.integers(0, 20),
    words=st.integers(1, 12),
    spread=st.floats(0.1, 4.0),
)
def test_the_pool_of_calibrated_sources(seed: int, count: int, words: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    image, network = (
        distributions(rng, count, words, spread) * (rng.random((count, 1)) < 0.7) for _ in range(2)
    )
    heard = network[network.sum(1) > 0]
    said = heard.mean(0) if len(heard) else np.zeros(words)
    prior = COMMON * said + (1 - COMMON) / words
    expected = np.empty((count, words))
    for row in range(count):
        f, g = (np.maximum(source[row], LEAST_POOLED) for source in (image, network))
        product = f**IMAGE_POWER * (g / prior**TONED_DOWN) ** NETWORK_POWER
        expected[row] = product / product.sum()
        if not image[row].any() or not network[row].any():
            expected[row] = image[row] + network[row]
    # float32 logarithms of numbers down to 1e-6.
    np.testing.assert_allclose(pool(tensor(image), tensor(network)).numpy(), expected, atol=1e-5)


def test_two_that_agree_are_surer_than_one() -> None:
    # Many windows' worth of other voxels, so that no word is frequent.
    rest = torch.full((200, 2), 0.5)
    image, network = torch.tensor([[0.8, 0.2]]), torch.tensor([[0.8, 0.2]])
    found = pool(torch.cat([image, rest]), torch.cat([network, rest]))[0]
    assert found[0] > 0.85


def test_a_frequent_word_of_the_network_does_not_beat_a_sure_image() -> None:
    network = torch.tensor([0.7, 0.3]).repeat(100, 1)
    image = torch.full((100, 2), 0.5)
    image[0] = torch.tensor([0.3, 0.7])
    found = pool(image, network)
    assert found[0].argmax() == 1
    assert found[1].argmax() == 0
