"""Pre-training: the student learns where words are in a scene, from scenes in which everything has a name.

Each voxel, each thing and each scene as a whole is drawn to its words (docs/method.md), and where an image
encoder teaches, each voxel to what that says of rendered views. Clouds are
partial at first and larger later; colours and normals go missing, so that one network serves RGB-D
and LiDAR.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ws3d_ros.evaluation.metrics import Scores, confusion_matrix, scores
from ws3d_ros.network.backends.backend import Backend
from ws3d_ros.network.distillation import distillation
from ws3d_ros.network.student import Spec, Student
from ws3d_ros.training import losses
from ws3d_ros.training.augment import augment, crop, overlay
from ws3d_ros.training.batch import Batch, make_batch
from ws3d_ros.training.datasets.labelled_cloud import NONE, LabelledCloud
from ws3d_ros.training.recipe import Recipe
from ws3d_ros.training.words import WordBook

Clouds = Sequence[Callable[[], LabelledCloud]]
"""What loads each cloud, when it is needed."""
LEAST = 1e-6
"""Probability, and trust, that counts as none."""


def new_student(recipe: Recipe, words: WordBook, space: str, licence: str) -> Student:
    """An untrained student that knows the mean of the words."""
    torch.manual_seed(recipe.seed)
    asked = recipe.student
    spec = Spec(
        architecture=asked.architecture,
        inputs=asked.inputs,
        voxel_size_m=asked.voxel_size_m,
        space=space,
        dim=len(words.mean),
        boundary=asked.boundary,
        offset=asked.offset,
        vocabulary=words.names,
        licence=licence,
    )
    student = Student(spec)
    student.heads.word_mean.copy_(words.mean)
    return student


class Pretraining:
    """Draws batches and says how wrong the student is about them."""

    def __init__(
        self, recipe: Recipe, student: Student, words: WordBook, clouds: Clouds, backend: Backend
    ) -> None:
        self._recipe, self._student, self._words = recipe, student, words
        self._clouds, self._backend = clouds, backend

    def draw(self, number: int) -> Batch:
        """Batch number n, from the seed and n alone."""
        recipe = self._recipe
        rng = np.random.default_rng([recipe.seed, number])
        late = number >= recipe.data.whole_from * recipe.schedule.steps * recipe.schedule.accumulate
        count, voxels = recipe.data.clouds, recipe.data.voxels
        if late:
            count, voxels = max(2, count // 2), voxels * 2
        picked = []
        for index in rng.choice(len(self._clouds), count, replace=len(self._clouds) < count):
            cloud = self._one(int(index), voxels, rng)
            if rng.random() < recipe.data.mixed:
                other = self._one(int(rng.integers(len(self._clouds))), voxels, rng)
                cloud = crop(overlay(cloud, other), voxels, recipe.student.voxel_size_m, rng)
            picked.append(cloud)
        device = self._student.heads.word_mean.device
        size = recipe.student.voxel_size_m
        return make_batch(picked, recipe.student.inputs, size, self._backend, device)

    def _one(self, index: int, voxels: int, rng: np.random.Generator) -> LabelledCloud:
        """A part of a cloud, changed; now and then of another cloud, which has what is seldom seen."""
        label = NONE
        if rng.random() < self._recipe.data.rare:
            label = int(rng.choice(len(self._chance), p=self._chance))
            index = int(rng.choice(np.flatnonzero(self._has[:, label])))
        cloud = crop(self._clouds[index](), voxels, self._recipe.student.voxel_size_m, rng, label)
        return augment(cloud, self._recipe.augmentation, rng)

    @cached_property
    def _has(self) -> np.ndarray:
        """(clouds, C) which classes a cloud has enough of to learn from."""
        classes = len(self._words.names)
        found = np.zeros((len(self._clouds), classes), bool)
        for row, load in zip(found, self._clouds, strict=True):
            label = load().label
            row[:] = np.bincount(label[label >= 0], minlength=classes) >= 20
        return found

    @cached_property
    def _chance(self) -> np.ndarray:
        """(C,) how often a class is drawn: with the root of the number of clouds that have it, so that the
        few clouds with a very rare one are not learnt by heart."""
        chance = np.sqrt(self._has.sum(0))
        return chance / chance.sum()

    def loss(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Weighted terms of the recipe."""
        weight, heads = self._recipe.terms, self._student.heads
        words = self._words.draw(np.random.default_rng([self._recipe.seed, 1, step]))
        reading = self._student(batch.voxels)
        embedding = normalize(reading.embedding.float(), dim=1)
        scale = heads.logit_scale
        logits = scale * embedding @ words.T
        terms = {
            "point": weight.point
            * losses.point_alignment(logits, batch.name, losses.lift_rare(batch.name, len(words)))
        }
        if weight.category:
            category = torch.where(batch.name >= 0, self._words.category_of[batch.name], NONE)
            of_kinds = scale * embedding @ self._words.categories.T
            terms["category"] = weight.category * losses.point_alignment(
                of_kinds, category, losses.lift_rare(category, len(self._words.categories))
            )
        if weight.region:
            terms["region"] = weight.region * losses.region_alignment(
                embedding, words, scale, batch.instance, batch.name
            )
        if weight.scene:
            terms["scene"] = weight.scene * losses.scene_alignment(embedding, words, batch.batch, batch.name)
        if reading.boundary is not None and weight.boundary:
            terms["boundary"] = weight.boundary * losses.boundary(reading.boundary.float(), batch.boundary)
        if reading.offset_m is not None and weight.offset:
            terms["offset"] = weight.offset * losses.offset(reading.offset_m.float(), batch.offset_m)
        if batch.told is not None and weight.distillation:
            trust = batch.told.sum(1)
            chance = batch.told / trust.clamp(min=LEAST)[:, None]
            terms["distillation"] = weight.distillation * distillation(
                logits.float(), torch.log(chance.clamp(min=LEAST)), trust, self._recipe.teacher.temperature
            )
        return terms


@torch.inference_mode()
def zero_shot(
    student: Student,
    clouds: Clouds,
    vectors: Tensor,
    voxel_size_m: float,
    backend: Backend,
    color: bool = True,
) -> Scores:
    """How often the nearest of the words is right, over whole clouds.

    Args:
        student: in evaluation mode.
        clouds: with labels that index ``vectors``.
        vectors: (C, D) centred word vectors.
        voxel_size_m: as in training.
        backend: that convolves.
        color: False takes the colours away.
    """
    device = vectors.device
    confusion = torch.zeros(len(vectors), len(vectors) + 1, dtype=torch.int64, device=device)
    for load in clouds:
        cloud = load()
        if not color:
            cloud = LabelledCloud(**{**vars(cloud), "color": None})
        batch = make_batch([cloud], student.spec.inputs, voxel_size_m, backend, device)
        said = (normalize(student(batch.voxels).embedding.float(), dim=1) @ vectors.T).argmax(1)
        confusion += confusion_matrix(batch.name + 1, said + 1, len(vectors))
    return scores(confusion)
