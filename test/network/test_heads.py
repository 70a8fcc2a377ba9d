from __future__ import annotations

import pytest
import torch
from sparse_clouds import random_cells

from ws3d_ros.network.backends.torch_backend import TorchBackend
from ws3d_ros.network.heads import Heads
from ws3d_ros.network.inputs import input_channels, input_features
from ws3d_ros.network.sparse_tensor import sparse_tensor


@pytest.mark.parametrize("classes", [0, 5])
@pytest.mark.parametrize("boundary", [False, True])
@pytest.mark.parametrize("offset", [False, True])
def test_only_the_heads_asked_for(classes: int, boundary: bool, offset: bool) -> None:
    cells = random_cells(0, points=50)
    x, _ = sparse_tensor(cells, torch.randn(len(cells), 6), TorchBackend())
    reading = Heads(6, 8, classes, boundary, offset)(x)
    assert reading.embedding.shape == (len(cells), 8)
    for value, channels in (
        (reading.classes, classes),
        (reading.boundary, 2 * boundary),
        (reading.offset_m, 3 * offset),
    ):
        assert value.shape == (len(cells), channels) if channels else value is None


def test_words_are_compared_by_cosine_without_what_they_share() -> None:
    heads = Heads(4, 2, 0)
    heads.word_mean.copy_(torch.tensor([10.0, 0.0]))
    heads.logit_scale.fill_(7.0)
    words = torch.tensor([[13.0, 4.0], [10.0, -2.0]])  # (3, 4) and (0, -2) beside the mean
    embedding = torch.tensor([[0.6, 0.8], [0.0, 5.0]])
    expected = 7 * torch.tensor([[1.0, -0.8], [0.8, -1.0]])
    torch.testing.assert_close(heads.word_logits(embedding, words), expected)


def test_channels_in_the_order_asked_for() -> None:
    color = torch.tensor([[0.0, 127.5, 255.0], [torch.nan, 1.0, 2.0]])
    normal = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    assert input_channels(("normal", "one", "color")) == 8
    features = input_features(("normal", "one", "color"), color, normal)
    assert features.tolist() == [[0, 0, 1, 1, -1, 0, 1, 1], [0, 0, 0, 1, 0, 0, 0, 0]]
