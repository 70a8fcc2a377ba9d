"""Features to words, by hand."""

import math

import torch

from ws3d_ros.alignment.labelling import certainty, decide, word_probabilities


def test_probabilities_by_hand() -> None:
    words = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    feature = torch.tensor([[0.3, 0.1], [0.0, 0.0]], dtype=torch.float16)
    probability = word_probabilities(feature, words, logit_scale=10.0)
    first = 1 / (1 + math.exp(-10.0 * (float(feature[0, 0]) - float(feature[0, 1]))))
    torch.testing.assert_close(probability, torch.tensor([[first, 1 - first], [0.5, 0.5]]))


def test_views_that_disagree_make_a_voxel_less_sure() -> None:
    words = torch.eye(3)
    agreed = words[0]
    torn = (words[0] * 2 + words[1]) / 3
    sure, unsure = word_probabilities(torch.stack([agreed, torn]), words, 20.0).max(1).values
    assert sure > unsure


def test_certainty_runs_from_nothing_known_to_all_known() -> None:
    rows = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0.0, 0.0]])
    # The last by hand: H = log 2, log C = log 4.
    torch.testing.assert_close(certainty(rows), torch.tensor([1.0, 0.0, 0.5]))
    assert certainty(torch.ones(2, 1)).tolist() == [1.0, 1.0]


def test_unknown_for_three_reasons() -> None:
    probability = torch.tensor(
        [
            [0.7, 0.2, 0.1],  # the first name
            [0.2, 0.2, 0.6],  # a background word
            [0.39, 0.35, 0.26],  # not sure enough
            [0.0, 0.0, 0.0],  # nothing is known
        ]
    )
    label, confidence = decide(probability, names=2, unknown_below=0.4)
    assert label.tolist() == [1, 0, 0, 0]
    assert label.dtype == torch.int16
    assert confidence.tolist() == [torch.tensor(0.7).half().item(), 0.0, 0.0, 0.0]


def test_nothing_known_is_unknown_without_a_threshold_too() -> None:
    label, _ = decide(torch.tensor([[0.0, 0.0], [0.1, 0.0]]), names=2, unknown_below=0.0)
    assert label.tolist() == [0, 1]
