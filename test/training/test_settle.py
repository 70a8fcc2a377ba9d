"""Settled norms have the statistics of the batches they were settled on."""

from __future__ import annotations

import torch
from clouds import room
from students import spec
from torch import nn

from ws3d_ros.network.backends.torch_backend import TorchBackend
from ws3d_ros.network.student import Student
from ws3d_ros.training.batch import make_batch
from ws3d_ros.training.settle import settle_norms


def test_the_first_norm_has_the_mean_over_the_batches() -> None:
    torch.manual_seed(0)
    student = Student(spec())
    batches = [make_batch([room(seed, 600)], ("color", "normal"), 0.1, TorchBackend()) for seed in range(3)]
    norm = next(module for module in student.modules() if isinstance(module, nn.BatchNorm1d))
    seen: list[torch.Tensor] = []
    hook = norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    settle_norms(student, batches)
    hook.remove()
    assert len(seen) == 3
    means = torch.stack([each.mean(0) for each in seen])
    variances = torch.stack([each.var(0) for each in seen])
    assert norm.running_mean is not None
    assert norm.running_var is not None
    torch.testing.assert_close(norm.running_mean, means.mean(0))
    torch.testing.assert_close(norm.running_var, variances.mean(0))
    assert norm.momentum == 0.1
    assert not student.training
