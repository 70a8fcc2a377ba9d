"""The losses against plain loops, and at the points where their value is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import normalize

from ws3d_ros.network.distillation import distillation
from ws3d_ros.training import losses


def words(count: int = 5, dim: int = 8) -> torch.Tensor:
    return normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(1)), dim=1)


def test_point_alignment_is_the_weighted_mean_of_log_losses() -> None:
    torch.manual_seed(0)
    logits, name, weight = torch.randn(20, 5), torch.randint(-1, 5, (20,)), torch.rand(5) + 0.1
    expected, total = 0.0, 0.0
    for row, true in zip(logits.tolist(), name.tolist(), strict=True):
        if true >= 0:
            log_sum = math.log(sum(math.exp(value) for value in row))
            expected += float(weight[true]) * (log_sum - row[true])
            total += float(weight[true])
    assert float(losses.point_alignment(logits, name, weight)) == pytest.approx(expected / total, rel=1e-5)


@pytest.mark.parametrize("kind", ["point", "region", "scene", "boundary", "offset"])
def test_nothing_labelled_teaches_nothing_and_keeps_the_graph(kind: str) -> None:
    values = torch.randn(6, 8, requires_grad=True)
    none = torch.full((6,), -1)
    loss = {
        "point": lambda: losses.point_alignment(values, none, torch.ones(8)),
        "region": lambda: losses.region_alignment(values, words(), torch.tensor(10.0), none, none),
        "scene": lambda: losses.scene_alignment(values, words(), torch.zeros(6).long(), none),
        "boundary": lambda: losses.boundary(values[:, :2], torch.full((6, 2), torch.nan)),
        "offset": lambda: losses.offset(values[:, :3], torch.full((6, 3), torch.nan)),
    }[kind]()
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert values.grad is not None
    assert float(values.grad.abs().sum()) == 0.0


def test_region_alignment_counts_things_not_voxels() -> None:
    vectors = words()
    # 100 voxels of thing 0 that are right, one voxel of thing 1 that is wrong.
    embedding = torch.cat([vectors[0].expand(100, -1), vectors[2][None]])
    region = torch.tensor([0] * 100 + [1])
    name = torch.tensor([0] * 100 + [1])
    scale = torch.tensor(10.0)
    both = losses.region_alignment(embedding, vectors, scale, region, name)
    right = losses.region_alignment(embedding[:100], vectors, scale, region[:100], name[:100])
    wrong = losses.region_alignment(embedding[100:], vectors, scale, region[100:] - 1, name[100:])
    assert float(both) == pytest.approx((float(right) + float(wrong)) / 2, rel=1e-5)


def test_scene_alignment_is_zero_when_all_words_are_shown_and_positive_else() -> None:
    vectors = words()
    name, batch = torch.tensor([0, 1, 2, 2]), torch.tensor([0, 0, 1, 1])
    assert float(losses.scene_alignment(vectors[name], vectors, batch, name)) == pytest.approx(0.0, abs=1e-6)
    assert float(losses.scene_alignment(vectors[name.flip(0)], vectors, batch, name)) > 0.1


def test_distillation_is_zero_for_equals_and_ignores_what_the_teacher_did_not_see() -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(10, 4), torch.randn(10, 4)
    trust = torch.zeros(10)
    trust[:3] = 1.0
    assert float(distillation(teacher, teacher, trust, 2.0)) == pytest.approx(0.0, abs=1e-6)
    changed = teacher.clone()
    changed[3:] = 7.0
    assert torch.equal(distillation(student, teacher, trust, 2.0), distillation(student, changed, trust, 2.0))
    p = torch.softmax(teacher[:3] / 2, 1)
    q = torch.softmax(student[:3] / 2, 1)
    expected = 4.0 * (p * (p / q).log()).sum(1).mean()
    assert float(distillation(student, teacher, trust, 2.0)) == pytest.approx(float(expected), rel=1e-5)


def test_boundary_falls_when_the_answer_gets_better() -> None:
    target = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0], [torch.nan, torch.nan]])
    good = torch.where(target.nan_to_num() > 0.5, 6.0, -6.0)
    assert float(losses.boundary(good, target)) < 0.05
    assert float(losses.boundary(-good, target)) > 5.0


def test_offset_measures_metres_and_direction() -> None:
    target = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [torch.nan] * 3])
    assert float(losses.offset(target.nan_to_num(), target)) == pytest.approx(0.0, abs=1e-6)
    # Half as far, right direction: the mean of 0.5 m and 1 m.
    assert float(losses.offset(target.nan_to_num() / 2, target)) == pytest.approx(0.75, abs=1e-6)
    # The opposite way: twice the distances, and cosines of -1.
    assert float(losses.offset(-target.nan_to_num(), target)) == pytest.approx(3.0 + 2.0, abs=1e-6)
