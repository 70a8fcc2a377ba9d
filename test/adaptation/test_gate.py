"""The gate, against counts by hand."""

import pytest
import torch

from ws3d_ros.adaptation.gate import FEW, Said, joined, kappa, refusal


def said(teacher: list[int], student: list[int], trust: list[float] | None = None) -> Said:
    believed = torch.ones(len(teacher)) if trust is None else torch.tensor(trust)
    return Said(torch.tensor(teacher), torch.tensor(student), believed)


def test_agreement_is_by_trust() -> None:
    assert said([0, 1, 2], [0, 1, 0]).agreement() == pytest.approx(2 / 3)
    assert said([0, 1, 2], [0, 1, 0], [1.0, 0.0, 3.0]).agreement() == pytest.approx(0.25)
    assert said([0], [0], [0.0]).agreement() == 0.0
    assert joined([said([0], [0]), said([1], [0])]).agreement() == pytest.approx(0.5)


def test_kappa_is_zero_by_chance_and_one_for_the_same() -> None:
    assert kappa(said([0, 1, 0, 1], [0, 1, 0, 1])) == pytest.approx(1.0)
    assert kappa(said([0, 0, 1, 1], [0, 1, 0, 1])) == pytest.approx(0.0)
    # Cohen by hand: agreement .7, chance .5 * .6 + .5 * .4 = .5.
    teacher = [0] * 5 + [1] * 5
    student = [0] * 4 + [1] + [0] * 2 + [1] * 3
    assert kappa(said(teacher, student)) == pytest.approx((0.7 - 0.5) / 0.5)


def test_an_update_serves_only_if_better_here_and_no_worse_there() -> None:
    many = 2 * FEW
    same = said([0] * many + [1] * many, [0] * many + [1] * many)
    better = said([0, 1, 1, 1], [0, 1, 1, 0])
    assert refusal(0.70, better, same) == ""
    assert refusal(0.75, better, same) == "no_gain"
    lost = many // 5
    forgotten = said([0] * many + [1] * many, [1] * lost + [0] * (many - lost) + [1] * many)
    assert refusal(0.70, better, forgotten) == "forgetting"
    few = FEW // 2 + FEW
    rest = 20 * few
    drifted = said([2] * few + [0] * rest, [0] * (few // 2) + [2] * (few - few // 2) + [0] * rest)
    assert refusal(0.70, better, drifted) == "drift"
