"""Temperature scaling: how sure a student may say it is, found on scenes that it has not learnt from.

One number a source, chosen so that held-out names are as likely as possible (Guo et al., "On Calibration
of Modern Neural Networks", ICML 2017). It changes no voxel's likeliest word, only how likely that is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from ws3d_ros.evaluation.metrics import calibration_error
from ws3d_ros.network.backends.backend import Backend
from ws3d_ros.network.student import Student
from ws3d_ros.training.batch import make_batch
from ws3d_ros.training.datasets.labelled_cloud import LabelledCloud
from ws3d_ros.training.pretrain import Clouds

LEAST_SCALE, MOST_SCALE = 0.1, 1000.0


@dataclass(frozen=True)
class Fit:
    """Log-likelihood (negative, nats a voxel) and calibration error, with the old scale and with the new."""

    scale: float
    nll: tuple[float, float]
    ece: tuple[float, float]


def fit_scale(cosine: Tensor, label: Tensor) -> float:
    """What cosines must be multiplied with for ``softmax`` to give the labels the most likelihood.

    The negative log-likelihood is convex in the scale, so that there is one answer.

    Args:
        cosine: (N, C) float32, or any scores of words.
        label: (N,) int64 true word, -1 where unknown.

    Returns:
        The scale, between 0.1 and 1000.

    Raises:
        ValueError: where no label is known.
    """
    known = label >= 0
    if not bool(known.any()):
        raise ValueError("there is no labelled voxel to fit a scale to")
    cosine, label = cosine[known], label[known]

    def loss(log_scale: float) -> float:
        return float(cross_entropy(math.exp(log_scale) * cosine, label))

    bounds = (math.log(LEAST_SCALE), math.log(MOST_SCALE))
    return math.exp(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-3}).x)


def fit_student(
    student: Student, clouds: Clouds, vectors: Tensor, voxel_size_m: float, backend: Backend
) -> Fit:
    """The scale for a student's cosines, from clouds that it has not learnt from, with and without colour.

    Args:
        student: in evaluation mode; left as it is. ``student.heads.logit_scale.fill_(fit.scale)`` stores
            the result where checkpoints keep it.
        clouds: with labels that index ``vectors``.
        vectors: (C, D) centred word vectors.
        voxel_size_m: as in training.
        backend: that convolves.

    Raises:
        ValueError: where no voxel of the clouds has a label.
    """
    parts = [
        read_cosines(student, seen, vectors, voxel_size_m, backend)
        for cloud in (load() for load in clouds)
        for seen in ([cloud] if cloud.color is None else [cloud, replace(cloud, color=None)])
    ]
    cosine, label = torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
    scale = fit_scale(cosine, label)
    before, after = (judge(factor * cosine, label) for factor in (float(student.heads.logit_scale), scale))
    return Fit(scale, (before[0], after[0]), (before[1], after[1]))


def judge(logits: Tensor, label: Tensor) -> tuple[float, float]:
    """Negative log-likelihood and calibration error (ECE) of logits (N, C) with labels (N,), -1 unknown."""
    known = label >= 0
    confidence, word = torch.softmax(logits[known], dim=1).max(1)
    return float(cross_entropy(logits[known], label[known])), calibration_error(
        confidence, word == label[known]
    )


@torch.inference_mode()
def read_cosines(
    student: Student, cloud: LabelledCloud, vectors: Tensor, voxel_size_m: float, backend: Backend
) -> tuple[Tensor, Tensor]:
    """(N, C) cosines of a cloud's labelled voxels with the words, and their (N,) labels, on the CPU."""
    batch = make_batch([cloud], student.spec.inputs, voxel_size_m, backend, vectors.device)
    known = batch.name >= 0
    embedding = normalize(student(batch.voxels).embedding.float(), dim=1)
    return (embedding[known] @ vectors.T).cpu(), batch.name[known].cpu()
