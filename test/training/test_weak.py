"""What few labels teach, against loops and at points where the value is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import normalize

from ws3d_ros.training.weak import ClassQueues, contrast, energy, gate


def test_energy_against_its_formula() -> None:
    torch.manual_seed(0)
    p = torch.softmax(torch.randn(5, 3), 1)
    label = torch.tensor([0, -1, 2, -1, -1])
    edges, boundary = torch.tensor([[0, 1], [1, 2], [3, 4]]), torch.tensor([0.9, 0.1, 0.0])
    known = -(math.log(p[0, 0]) + math.log(p[2, 2])) / 2
    apart = sum(
        (1 - float(b)) * float(((p[i] - p[j]) ** 2).sum())
        for (i, j), b in zip(edges.tolist(), boundary, strict=True)
    ) / sum(1 - float(b) for b in boundary)
    entropy = sum(-float((p[r] * p[r].log()).sum()) for r in (1, 3, 4)) / 3
    assert float(energy(p, label, edges, boundary, 0.7, 0.2)) == pytest.approx(
        known + 0.7 * apart + 0.2 * entropy, rel=1e-5
    )


def test_a_believed_boundary_costs_nothing_to_cross_and_is_not_learnt_through_energy() -> None:
    p = torch.tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    boundary = torch.tensor([1.0], requires_grad=True)
    edges, label = torch.tensor([[0, 1]]), torch.tensor([0, 1])
    assert float(energy(p, label, edges, boundary, 1.0, 0.0).detach()) == pytest.approx(0.0, abs=1e-6)
    energy(p, label, edges, boundary * 0.5, 1.0, 0.0).backward()
    assert boundary.grad is None


def test_the_gate_keeps_labels_lets_sure_guesses_through_and_stops_the_rest() -> None:
    p = torch.tensor([[0.9, 0.1], [0.95, 0.05], [0.6, 0.4]])
    assert gate(p, torch.tensor([1, -1, -1]), 0.9).tolist() == [1, 0, -1]


def test_queues_keep_the_newest() -> None:
    queues = ClassQueues(2, 3, 4)
    vectors = normalize(torch.randn(5, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    queues.push(vectors, torch.tensor([1, 1, 1, 1, 0]))
    assert queues.filled.tolist() == [1, 3]
    kept = {tuple(v) for v in queues.vectors[1].tolist()}
    assert kept == {tuple(v) for v in vectors[1:4].tolist()}
    again = ClassQueues(2, 3, 4)
    again.load_state_dict(queues.state_dict())
    again.push(vectors[:1], torch.tensor([1]))
    assert again.filled.tolist() == [1, 3]


def test_contrast_prefers_the_own_class_and_needs_two() -> None:
    queues = ClassQueues(3, 4, 8)
    a, b = normalize(torch.randn(2, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    queues.push(a[None], torch.tensor([0]))
    vector = a[None].clone().requires_grad_()
    assert float(contrast(vector, torch.tensor([0]), queues).detach()) == 0.0  # nothing to tell apart
    queues.push(b[None], torch.tensor([1]))
    right = float(contrast(vector, torch.tensor([0]), queues).detach())
    wrong = float(contrast(vector, torch.tensor([1]), queues).detach())
    assert right < 0.1 < wrong
    assert float(contrast(vector, torch.tensor([2]), queues).detach()) == 0.0  # an empty queue
    assert float(contrast(vector, torch.tensor([-1]), queues).detach()) == 0.0
    cosines = torch.stack([a @ a, a @ b]) / 0.1
    assert right == pytest.approx(float(-torch.log_softmax(cosines, 0)[0]), rel=1e-4)
