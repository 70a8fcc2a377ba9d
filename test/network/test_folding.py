"""Folded norms: the same function, cheaper."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import pad
from trained import corner, trained_student

from ws3d_ros.network.backends.torch_backend import TorchBackend
from ws3d_ros.network.folding import fold_batch_norms
from ws3d_ros.network.heads import Reading
from ws3d_ros.network.inputs import input_features
from ws3d_ros.network.layers import BatchNorm, Convolution
from ws3d_ros.network.sparse_tensor import sparse_tensor
from ws3d_ros.network.student import Student
from ws3d_ros.network.unet import ARCHITECTURES


@torch.no_grad()
def readings(student: Student) -> Reading:
    cells, color, normal = corner()
    x, _ = sparse_tensor(
        pad(cells, (1, 0)), input_features(student.spec.inputs, color, normal), TorchBackend(use_native=False)
    )
    return student(x)


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_folded_says_the_same(architecture: str) -> None:
    student = trained_student(architecture=architecture, classes=("a", "b"), boundary=True, offset=True)
    expected, found = readings(student), readings(fold_batch_norms(student))
    for name, value in vars(expected).items():
        # Rounding of float32 through up to 70 layers; 1.1e-6 measured at most.
        assert relative_error(getattr(found, name), value) < 1e-4, name
    assert expected.embedding.norm() > 1.0


def test_no_norm_is_left_and_each_became_a_bias() -> None:
    student = trained_student()
    folded = fold_batch_norms(student)
    norms = sum(isinstance(module, BatchNorm) for module in student.modules())
    assert not any(isinstance(module, BatchNorm) for module in folded.modules())
    convolutions = [module for module in folded.modules() if isinstance(module, Convolution)]
    assert sum(module.bias is not None for module in convolutions) == norms == len(convolutions)


def test_the_student_stays_as_it_was() -> None:
    student = trained_student().train()
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    folded = fold_batch_norms(student)
    folded.unet.conv0p1s1.kernel.zero_()
    assert student.training
    assert not folded.training
    assert all(parameter.requires_grad for parameter in student.parameters())
    assert not any(parameter.requires_grad for parameter in folded.parameters())
    assert student.state_dict().keys() == before.keys()
    assert all(torch.equal(student.state_dict()[name], tensor) for name, tensor in before.items())


def test_a_convolution_that_has_a_bias_keeps_its_share() -> None:
    student = trained_student()
    with torch.no_grad():
        student.unet.conv0p1s1.bias = torch.nn.Parameter(torch.linspace(-1.0, 1.0, 24))
    assert relative_error(readings(fold_batch_norms(student)).embedding, readings(student).embedding) < 1e-4
    with torch.no_grad():
        student.unet.conv0p1s1.bias.zero_()
    assert relative_error(readings(fold_batch_norms(student)).embedding, readings(student).embedding) < 1e-4


def test_folding_twice_is_folding_once() -> None:
    once = fold_batch_norms(trained_student())
    assert torch.equal(readings(once).embedding, readings(fold_batch_norms(once)).embedding)
