"""Names stay against noise and yield to evidence."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ws3d_ros.alignment.hysteresis import CLEARLY, hold
from ws3d_ros.alignment.labelling import decide

seeds = st.integers(0, 2**16)
LEAST = 0.05
"""As ``semantics.unknown_below``."""


def drawn(seed: int, rows: int, words: int, sharp: float) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.softmax(sharp * torch.randn(rows, words, generator=source), dim=1)


def step(label: Tensor, confidence: Tensor, probability: Tensor) -> tuple[Tensor, Tensor]:
    """One update of a map without background words."""
    return hold(label, confidence, probability, *decide(probability, probability.shape[1], LEAST))


def first(probability: Tensor) -> tuple[Tensor, Tensor]:
    return decide(probability, probability.shape[1], LEAST)


@given(seeds, st.integers(1, 30), st.integers(1, 6), st.floats(0.1, 5.0))
def test_agrees_with_plain_loops(seed: int, rows: int, words: int, sharp: float) -> None:
    before, now = drawn(seed, rows, words, sharp), drawn(seed + 1, rows, words, sharp)
    old_label, old_confidence = first(before)
    fresh_label, fresh_confidence = first(now)
    label, confidence = step(old_label, old_confidence, now)
    for row in range(rows):
        old, p = int(old_label[row]), now[row]
        wins = old == 0 or bool((p.max() > CLEARLY * p[old - 1]) and (p.max().half() > old_confidence[row]))
        assert label[row] == (fresh_label[row] if wins else old)
        assert confidence[row] == (fresh_confidence[row] if wins else p[old - 1].half())


@given(seeds, st.integers(2, 6), st.floats(0.1, 8.0))
def test_clear_evidence_wins_at_the_second_update_at_the_latest(seed: int, words: int, sharp: float) -> None:
    label, confidence = first(drawn(seed, 40, words, sharp))
    evidence = drawn(seed + 1, 40, words, sharp)
    clear = evidence.amax(1) > CLEARLY * evidence.gather(1, label.long()[:, None] - 1)[:, 0] * 1.01
    clear &= evidence.amax(1) > 1.01 * CLEARLY * LEAST
    for _ in range(2):
        label, confidence = step(label, confidence, evidence)
    assert (label[clear] == first(evidence)[0][clear]).all()


@given(seeds, st.integers(2, 6), st.floats(0.1, 8.0))
def test_two_names_in_turn_change_a_label_once_at_most(seed: int, words: int, sharp: float) -> None:
    views = drawn(seed, 40, words, sharp), drawn(seed + 1, 40, words, sharp)
    label, confidence = first(views[0])
    changes = torch.zeros(40)
    for turn in range(1, 12):
        before = label
        label, confidence = step(label, confidence, views[turn % 2])
        changes += label != before
    assert changes.amax() <= 1


@given(seeds, st.integers(2, 6))
def test_words_about_equally_likely_never_change_a_label(seed: int, words: int) -> None:
    source = torch.Generator().manual_seed(seed)

    def tie() -> Tensor:  # the likeliest has less than CLEARLY times the least likely's probability
        power = 1.0 + (CLEARLY - 1.01) * torch.rand(40, words, generator=source)
        return power / power.sum(1, keepdim=True)

    start, confidence = label, confidence = first(tie())
    for _ in range(10):
        label, confidence = step(label, confidence, tie())
    assert (label == start).all()


def test_a_first_name_is_taken_at_once_and_lost_with_all_evidence() -> None:
    sure, nothing = torch.tensor([[0.1, 0.9]]), torch.zeros(1, 2)
    label, confidence = step(torch.zeros(1, dtype=torch.int16), torch.zeros(1, dtype=torch.float16), sure)
    assert label.tolist() == [2]
    assert confidence.item() == torch.tensor(0.9).half()
    assert step(label, confidence, nothing)[0].tolist() == [0]


def test_a_background_word_must_be_clearly_better_too() -> None:
    label, confidence = torch.tensor([1], dtype=torch.int16), torch.tensor([0.4], dtype=torch.float16)
    close, clear = torch.tensor([[0.45, 0.55]]), torch.tensor([[0.2, 0.8]])
    assert hold(label, confidence, close, *decide(close, 1, LEAST))[0].tolist() == [1]
    assert hold(label, confidence, clear, *decide(clear, 1, LEAST))[0].tolist() == [0]
