"""Regions agree: against plain loops, and what must not pass from one to another."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from ws3d_ros.alignment.regularise import agree


@given(count=st.integers(0, 40), regions=st.integers(1, 6), seed=st.integers(0, 2**16), share=st.floats(0, 1))
def test_agrees_with_plain_loops(count: int, regions: int, seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    probability = rng.dirichlet(np.ones(4), count).astype(np.float32).reshape(count, 4)
    evidence = (rng.exponential(1.0, count) * (rng.random(count) < 0.6)).astype(np.float32)
    region = rng.integers(0, regions, count)
    expected = np.zeros((count, 4))
    for row in range(count):
        own = probability[row] if evidence[row] > 0 else np.zeros(4)
        inside = region == region[row]
        if share == 0.0 or evidence[inside].sum() == 0:
            expected[row] = own
            continue
        mean = (probability[inside] * evidence[inside, None]).sum(0) / evidence[inside].sum()
        expected[row] = (1 - share) * own + share * mean if evidence[row] > 0 else mean
    found = agree(*(torch.from_numpy(each) for each in (probability, evidence, region)), share)
    # float32 sums of at most 40 terms.
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_nothing_passes_to_another_region() -> None:
    probability = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    found = agree(probability, torch.tensor([1.0, 1.0, 0.0]), torch.tensor([0, 1, 1]), 0.8)
    assert found.tolist() == [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]


def test_many_outvote_one_by_their_evidence() -> None:
    probability = torch.tensor([[0.9, 0.1], [0.1, 0.9], [0.1, 0.9]])
    same = torch.zeros(3).long()
    assert (agree(probability, torch.ones(3), same, 0.8).argmax(1) == 1).all()
    assert (agree(probability, torch.tensor([9.0, 1.0, 1.0]), same, 0.8).argmax(1) == 0).all()
