"""A teacher whose opinion is a function of the pixel's colour: what it says of voxels is then known."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from clouds import NAMES, room
from test_pretrain import words
from torch.nn.functional import avg_pool2d, normalize

from ws3d_ros.network.backends.torch_backend import TorchBackend
from ws3d_ros.training.augment import Augmentation, augment, overlay, take
from ws3d_ros.training.batch import Batch, make_batch
from ws3d_ros.training.datasets.labelled_cloud import LabelledCloud
from ws3d_ros.training.pretrain import Pretraining, new_student
from ws3d_ros.training.recipe import PretrainData, Recipe, TeacherRecipe, Terms
from ws3d_ros.training.teacher import Teacher, taught

SIZE_M = 0.1


class ByColor:
    """An ``Encoder`` that takes red for a floor, green for a wall and blue for a table."""

    space = "colours"
    templates: tuple[str, ...] = ("{}",)
    dim = 3
    name = "by colour"
    logit_scale = 10.0

    def __init__(self) -> None:
        self.asked = 0

    def encode_text(self, texts: list[str]) -> torch.Tensor:
        return torch.eye(3)[[NAMES.index(text) for text in texts]]

    def encode_dense(self, images: torch.Tensor) -> torch.Tensor:
        self.asked += len(images)
        return normalize(avg_pool2d(images, 2) + 1e-6, dim=1)

    def encode_image(self, crops: torch.Tensor) -> torch.Tensor:
        return normalize(crops.mean((2, 3)), dim=1)


def teacher(encoder: ByColor | None = None, views: int = 4) -> Teacher:
    return Teacher(encoder or ByColor(), [[name] for name in NAMES], views, SIZE_M)


def whole_room(seed: int = 0) -> LabelledCloud:
    """Dense enough that no view looks through its floor and wall."""
    return room(seed, 20_000)


def test_voxels_are_told_what_their_color_means() -> None:
    cloud = whole_room()
    told = teacher().teach(cloud).astype(np.float32)
    trust = told.sum(1)
    seen = trust > 0.01
    assert told.shape == (len(cloud), 3)
    assert seen.mean() > 0.5
    assert trust.max() < 1.0
    # Pixels at borders mix two colours; away from them the distribution is that of the encoder for the
    # pure colour: (200, 50, 50) normalised is (.943, .236, .236), times 10 through a softmax .9983.
    assert (told[seen].argmax(1) == cloud.label[seen]).mean() > 0.97
    right = told[seen, cloud.label[seen]] / trust[seen]
    unit = np.array([200.0, 50.0, 50.0]) / np.linalg.norm([200.0, 50.0, 50.0])
    expected = np.exp(10 * unit[0]) / np.exp(10 * unit).sum()
    assert np.median(right) == pytest.approx(expected, abs=2e-3)  # float16


def test_nothing_is_told_from_behind_nor_without_color() -> None:
    """The floor is turned away from all cameras: it is in the pictures, but is not told of."""
    cloud = whole_room()
    assert cloud.normal is not None
    floor = cloud.label == 0
    # Cameras stand before the wall and above the table; the lowest of them is 0.3 m above the floor.
    turned = replace(cloud, normal=np.where(floor[:, None], -cloud.normal, cloud.normal))
    assert teacher().teach(cloud)[floor].sum() > 0
    told = teacher().teach(turned)
    assert told[cloud.label == 1].sum() > 0
    # A voxel along the wall's foot has points of both and a normal between.
    alone = floor & (cloud.points_m[:, 1] > 2 * SIZE_M)
    assert told[alone].sum() == 0
    assert teacher().teach(replace(cloud, color=None)).sum() == 0


def test_answers_are_made_once_for_each_teacher_and_cloud(tmp_path: Path) -> None:
    clouds = [lambda seed=seed: whole_room(seed) for seed in range(2)]
    encoder = ByColor()
    first = taught(clouds, teacher(encoder), tmp_path, None)
    asked = encoder.asked
    assert 0 < asked <= 8
    again = taught(clouds, teacher(encoder), tmp_path, None)
    assert encoder.asked == asked
    for load, same, cloud in zip(first, again, clouds, strict=True):
        expected = teacher().teach(cloud())
        for each in (load(), same()):
            assert each.told is not None
            np.testing.assert_array_equal(each.told, expected)
            np.testing.assert_array_equal(each.points_m, cloud().points_m)
    taught(clouds, teacher(encoder, views=1), tmp_path, None)
    assert encoder.asked == asked + 2
    assert len(list(tmp_path.iterdir())) == 4


def numbered(seed: int, points: int) -> LabelledCloud:
    """What is told of a point is a function of its label and its height in the cloud's list."""
    cloud = room(seed, points)
    told = np.random.default_rng(seed).uniform(0.0, 0.3, (points, 3)).astype(np.float16)
    told[::3] = 0.0
    return replace(cloud, told=told)


def test_what_is_told_goes_with_its_points() -> None:
    cloud = numbered(0, 600)
    assert cloud.told is not None
    part = take(cloud, np.arange(5, 60, 5))
    np.testing.assert_array_equal(part.told, cloud.told[5:60:5])
    both = overlay(cloud, numbered(1, 400))
    np.testing.assert_array_equal(both.told, np.concatenate([cloud.told, numbered(1, 400).told]))
    assert overlay(cloud, room(1, 400)).told is None
    how = Augmentation(jitter_m=0.0, scale=0.0, keep=0.5)
    changed = augment(cloud, how, np.random.default_rng(0))
    of_row = {tuple(row): label for row, label in zip(cloud.told.tolist(), cloud.label, strict=True)}
    assert changed.told is not None
    assert 0 < len(changed) < 600
    for row, label in zip(changed.told.tolist(), changed.label, strict=True):
        assert not any(row) or of_row[tuple(row)] == label


def test_a_voxel_is_told_the_mean_of_its_points() -> None:
    clouds = [numbered(0, 300), numbered(1, 500)]
    batch = make_batch(clouds, ("color",), 0.3, TorchBackend())
    assert batch.told is not None
    for index, cell in enumerate(batch.voxels.coords.tolist()):
        cloud = clouds[cell[0]]
        inside = (np.floor(cloud.points_m / 0.3) == cell[1:]).all(1)
        assert cloud.told is not None
        expected = cloud.told[inside].astype(np.float64).mean(0)
        np.testing.assert_allclose(batch.told[index].numpy(), expected, atol=1e-6)  # float32 sums
    assert make_batch([clouds[0], room(1, 500)], ("color",), 0.3, TorchBackend()).told is None


def pretraining(terms: Terms, clouds: list[LabelledCloud], temperature: float = 2.0) -> Pretraining:
    recipe = Recipe(
        data=PretrainData(clouds=2, voxels=300, rare=0.5, mixed=0.5),
        teacher=TeacherRecipe("concept", 4, temperature),
        terms=terms,
    )
    book = words()
    student = new_student(recipe, book, "toy", "")
    loaders = [partial(replace, cloud) for cloud in clouds]
    return Pretraining(recipe, student.eval(), book, loaders, TorchBackend())


def test_the_term_is_the_divergence_weighted_by_trust() -> None:
    clouds = [numbered(seed, 800) for seed in range(2)]
    work = pretraining(Terms(distillation=0.5), clouds)
    batch = work.draw(3)
    assert batch.told is not None
    with torch.no_grad():
        got = float(work.loss(batch, 7)["distillation"])
        reading = work._student(batch.voxels)
        vectors = words().draw(np.random.default_rng([0, 1, 7])).double().numpy()
    embedding = reading.embedding.double().numpy()
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    logits = float(work._student.heads.logit_scale) * embedding @ vectors.T / 2.0
    student = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    told = batch.told.double().numpy()
    trust = told.sum(1)
    total = 0.0
    for row, said, believed in zip(told, student, trust, strict=True):
        if believed > 0:
            p = np.sqrt(np.maximum(row / believed, 1e-6))  # a temperature of 2 takes the root
            p /= p.sum()
            total += believed * float((p * np.log(p / said)).sum())
    assert got == pytest.approx(0.5 * 4.0 * total / trust.sum(), rel=1e-4)


def test_without_a_teacher_all_is_as_before() -> None:
    """What is told changes no draw and, at weight 0, no bit of any term."""
    bare = [room(seed, 800) for seed in range(3)]
    told = [replace(cloud, told=np.full((800, 3), 0.2, np.float16)) for cloud in bare]
    off, silent, on = (
        pretraining(terms, clouds)
        for terms, clouds in ((Terms(), bare), (Terms(), told), (Terms(distillation=0.5), told))
    )
    for number in range(3):
        batches = [work.draw(number) for work in (off, silent, on)]
        assert batches[0].told is None
        for other in batches[1:]:
            assert same_voxels(batches[0], other)
        plain, quiet, loud = (
            work.loss(batch, number) for work, batch in zip((off, silent, on), batches, strict=True)
        )
        assert set(plain) == set(quiet) == set(loud) - {"distillation"}
        for name, value in plain.items():
            assert torch.equal(value, quiet[name])
            assert torch.equal(value, loud[name])


def same_voxels(one: Batch, other: Batch) -> bool:
    return torch.equal(one.voxels.coords, other.voxels.coords) and torch.equal(
        one.voxels.features, other.voxels.features
    )
