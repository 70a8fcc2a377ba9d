"""The fitted scale is the one that labels were drawn with, and no other is likelier."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from clouds import room
from hypothesis import given, settings
from hypothesis import strategies as st
from students import spec

from ws3d_ros.network.backends.choose import choose_backend
from ws3d_ros.network.student import Student
from ws3d_ros.training.calibrate import MOST_SCALE, fit_scale, fit_student, judge


def drawn(scale: float, rows: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines, and words drawn with the probabilities that ``scale`` gives them."""
    rng = np.random.default_rng(seed)
    cosine = rng.uniform(-1.0, 1.0, (rows, 5))
    power = np.exp(scale * cosine)
    until = (power / power.sum(1, keepdims=True)).cumsum(1)
    label = (rng.random((rows, 1)) > until).sum(1).clip(max=4)
    return torch.from_numpy(cosine.astype(np.float32)), torch.from_numpy(label)


@settings(deadline=None, max_examples=15)
@given(scale=st.floats(0.5, 40.0), seed=st.integers(0, 2**16))
def test_the_scale_that_labels_were_drawn_with(scale: float, seed: int) -> None:
    cosine, label = drawn(scale, 20_000, seed)
    found = fit_scale(cosine, label)
    # The estimate's standard error is below 2 % (above 1.5) or 0.02 (below); 4 of them.
    assert abs(found - scale) < 0.08 * max(scale, 1.0)
    best = judge(found * cosine, label)[0]
    assert best <= min(judge(factor * found * cosine, label)[0] for factor in (0.9, 1.1))


def test_a_calibrated_source_has_a_small_error() -> None:
    cosine, label = drawn(6.0, 20_000, 1)
    assert judge(fit_scale(cosine, label) * cosine, label)[1] < 0.02 < judge(30.0 * cosine, label)[1]


def test_unlabelled_voxels_do_not_count() -> None:
    cosine, label = drawn(6.0, 2000, 2)
    padded = torch.cat([cosine, torch.ones(500, 5)])
    assert fit_scale(padded, torch.cat([label, torch.full((500,), -1)])) == fit_scale(cosine, label)
    with pytest.raises(ValueError, match="no labelled voxel"):
        fit_scale(cosine, torch.full_like(label, -1))


def test_a_source_that_is_never_wrong_may_be_sure() -> None:
    cosine, label = torch.eye(3).repeat(4, 1), torch.arange(3).repeat(4)
    found = fit_scale(cosine, label)
    assert found <= MOST_SCALE
    assert judge(found * cosine, label)[0] < 1e-6


def test_a_student_is_read_with_and_without_colour_and_left_as_it_is() -> None:
    torch.manual_seed(0)
    student = Student(spec()).eval()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    vectors = torch.eye(4)[:3]
    clouds = [lambda: room(0), lambda: room(1)]
    fit = fit_student(student, clouds, vectors, 0.05, choose_backend("torch"))
    assert fit.nll[1] <= fit.nll[0]
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())
    colourless = [lambda: replace(room(0), color=None), lambda: replace(room(1), color=None)]
    assert fit_student(student, colourless, vectors, 0.05, choose_backend("torch")).nll[0] != fit.nll[0]
