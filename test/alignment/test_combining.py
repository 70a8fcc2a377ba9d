"""The pool of two sources against its formula in plain numpy."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from ws3d_ros.alignment.combining import (
    COMMON,
    IMAGE_POWER,
    LEAST,
    NETWORK_POWER,
    TONED_DOWN,
    pool,
    spoken,
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
        f, g = (np.maximum(source[row], LEAST) for source in (image, network))
        product = f**IMAGE_POWER * (g / prior**TONED_DOWN) ** NETWORK_POWER
        expected[row] = product / product.sum()
        if not image[row].any() or not network[row].any():
            expected[row] = image[row] + network[row]
    found = pool(tensor(image), tensor(network), spoken(tensor(network)))
    # float32 logarithms of numbers down to 1e-6.
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_two_that_agree_are_as_sure_as_each() -> None:
    even = torch.tensor([0.5, 0.5])
    said = torch.tensor([[0.8, 0.2]])
    torch.testing.assert_close(pool(said, said, even), said, atol=1e-6, rtol=0)


def test_one_alone_is_unchanged_and_none_is_nothing() -> None:
    said, nothing, even = torch.tensor([[0.8, 0.2]]), torch.zeros(1, 2), torch.tensor([0.9, 0.1])
    assert torch.equal(pool(said, nothing, even), said)
    assert torch.equal(pool(nothing, said, even), said)
    assert torch.equal(pool(nothing, nothing, even), nothing)


def test_a_frequent_word_of_the_network_does_not_beat_a_sure_image() -> None:
    network = torch.tensor([0.7, 0.3]).repeat(100, 1)
    image = torch.full((100, 2), 0.5)
    image[0] = torch.tensor([0.3, 0.7])
    found = pool(image, network, spoken(network))
    assert found[0].argmax() == 1
    assert found[1].argmax() == 0
