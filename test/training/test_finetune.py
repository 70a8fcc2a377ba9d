"""Fine-tuning learns from few labels: on toy rooms, in a few steps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import torch
from clouds import NAMES, room
from torch.nn.functional import cosine_similarity

from ws3d_ros.network.backends.torch_backend import TorchBackend
from ws3d_ros.network.student import Student
from ws3d_ros.training.augment import Augmentation
from ws3d_ros.training.finetune import FineTuning, class_words, new_student, score
from ws3d_ros.training.loop import Schedule, train
from ws3d_ros.training.recipe import (
    ContrastRecipe,
    DataRecipe,
    FewLabels,
    FineRecipe,
    StudentRecipe,
    WeakTerms,
)
from ws3d_ros.training.run_folder import RunFolder

OFF = WeakTerms(**dict.fromkeys(vars(WeakTerms()), 0.0))
CLOUDS = [lambda seed=seed: room(seed, 1500) for seed in range(6)]


def encode(words: list[str]) -> np.ndarray:
    """A vector of its own for each word, the same in each run."""
    rows = [np.random.default_rng(crc32(word.encode())).normal(size=16) for word in words]
    return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)


def recipe(**changes: object) -> FineRecipe:
    plain = FineRecipe(
        student=StudentRecipe(voxel_size_m=0.15),  # so that 1500 points are surfaces
        data=DataRecipe(clouds=2, voxels=400),
        augmentation=Augmentation(no_color=0.0, repaint=0.0, keep=0.9),
        schedule=Schedule(steps=16, learning_rate=0.01, warm_up_steps=3, save_s=1e9),
        contrast=ContrastRecipe(thresholds=(0.9, 0.6), queue=4),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def tuning(plan: FineRecipe, start: Student | None = None) -> FineTuning:
    student = new_student(plan, NAMES, encode, start, "toy")
    return FineTuning(plan, student, start, CLOUDS, encode, TorchBackend())


def pretrained() -> Student:
    """Random, with the classes of nobody; as a checkpoint would be, with statistics of scenes."""
    plan = recipe(seed=7)
    student = new_student(plan, ("a", "b"), encode, None, "toy").train()
    work = tuning(plan)
    with torch.no_grad():
        for number in range(20):
            student(work.draw(number).batch.voxels)
    return student.eval()


def run(folder: Path, plan: FineRecipe, work: FineTuning, stop_at: int | None = None) -> None:
    def on_step(step: int, terms: dict[str, float]) -> None:
        if step == stop_at:
            os.kill(os.getpid(), signal.SIGKILL)

    train(work, work.draw, work.loss, plan.schedule, RunFolder(folder, ""), on_step, lambda _: {})


def test_a_handful_of_points_is_enough_for_a_toy_world(tmp_path: Path) -> None:
    plan = recipe(labels=FewLabels(points=6))
    work = tuning(plan)
    run(tmp_path, plan, work)
    work.student.train()  # with the statistics of the scene: a dozen steps are too few for running ones
    words = class_words(work.student, encode)
    figures = score(work.student, [lambda: room(99, 1500)], words, (), TorchBackend())
    assert figures["accuracy"] > 0.7  # a third is chance
    assert figures["words_miou"] > 0.4
    assert "hiou" not in figures


@pytest.mark.parametrize("left", ["point", "word", "boundary", "energy", "contrast", "distillation"])
def test_terms_can_be_switched_off_one_by_one(left: str) -> None:
    plan = recipe(terms=replace(WeakTerms(), **{left: 0.0}))
    work = tuning(plan, pretrained()).train()
    terms = work.loss(work.draw(0), 0)
    expected = {"point", "word", "boundary", "offset", "energy", "contrast", "distillation"}
    assert set(terms) == expected - ({left} - {"point"})
    assert all(bool(term.isfinite()) for term in terms.values())
    if left == "point":
        assert float(terms["point"].detach()) == 0.0


@pytest.mark.parametrize("one", ["point", "word", "boundary", "offset", "energy", "contrast", "distillation"])
def test_each_term_alone_moves_the_network(one: str) -> None:
    plan = recipe(
        terms=replace(OFF, smooth=0.5, **{one: 1.0}),
        labels=FewLabels(points=0),
        contrast=ContrastRecipe(thresholds=(0.0,), queue=4),
    )
    work = tuning(plan, pretrained()).train()
    if one == "distillation":  # the student is no longer what it was
        torch.nn.init.normal_(work.student.heads.projector.weight)
    work.loss(work.draw(0), 0)  # fills the queues
    torch.stack(list(work.loss(work.draw(1), 1).values())).sum().backward()
    gradient = next(work.student.unet.parameters()).grad
    assert gradient is not None
    assert float(gradient.abs().sum()) > 0.0
    assert all(parameter.grad is None for parameter in work.teacher.parameters())  # type: ignore[union-attr]


def test_queues_take_only_regions_that_are_sure() -> None:
    strict = recipe(contrast=ContrastRecipe(thresholds=(1.01, 0.0), queue=500), labels=FewLabels(points=2))
    work = tuning(strict).train()
    lesson = work.draw(0)
    work.loss(lesson, 0)
    labelled = torch.bincount(lesson.label[lesson.label >= 0], minlength=3)
    assert work.queues.filled.tolist() == labelled.tolist()
    work.loss(lesson, 15)  # the last stage: everything is sure enough
    assert int(work.queues.filled.sum()) == int(labelled.sum()) + lesson.regions.count


def test_novel_classes_never_get_a_label() -> None:
    plan = recipe(labels=FewLabels(points=0, novel=1))
    work = tuning(plan)
    assert work.novel == ("table",)  # floors and walls are always base
    seen: set[int] = set()
    for number in range(3):
        lesson = work.draw(number)
        seen |= set(lesson.batch.name.tolist())
        assert set(lesson.label.tolist()) <= {-1, 0, 1}
        assert set(lesson.batch.instance[lesson.batch.name < 0].tolist()) <= {-1}
    assert seen == {-1, 0, 1}
    figures = score(
        work.student.train(), [CLOUDS[0]], class_words(work.student, encode), work.novel, TorchBackend()
    )
    assert {"base_miou", "novel_miou", "hiou"} <= set(figures)


def test_scenes_without_labels_come_only_when_something_learns_from_them() -> None:
    labels = FewLabels(points=0, scene_share=0.17)  # one of six
    weak = tuning(recipe(labels=labels))
    supervised = tuning(recipe(labels=labels, terms=replace(OFF, point=1.0)))

    def has_labels(work: FineTuning, number: int) -> list[bool]:
        batch = work.draw(number).batch
        return [bool((batch.name[batch.batch == scene] >= 0).any()) for scene in (0, 1)]

    for number in range(3):
        assert sorted(has_labels(weak, number)) == [False, True]
        assert has_labels(supervised, number) == [True, True]


def test_sparse_labels_are_those_of_the_protocol_and_tell_no_things() -> None:
    work = tuning(recipe(labels=FewLabels(points=5)))
    cloud = work.few_labels(2)
    assert int((cloud.label >= 0).sum()) == 5
    assert (cloud.label == room(2, 1500).label)[cloud.label >= 0].all()
    assert (cloud.instance == -1).all()
    lesson = work.draw(0)
    assert bool(lesson.batch.offset_m.isnan().all())
    assert bool(lesson.boundary.isnan().any())


def test_distillation_keeps_embeddings_near_those_of_the_start(tmp_path: Path) -> None:
    near = {}
    for weight in (0.0, 5.0):
        start = pretrained()
        terms = replace(WeakTerms(), word=2.0, distillation=weight)
        schedule = Schedule(steps=12, learning_rate=0.01, warm_up_steps=2)
        plan = recipe(terms=terms, schedule=schedule)
        work = tuning(plan, start)
        run(tmp_path / str(weight), plan, work)
        voxels = work.draw(99).batch.voxels
        with torch.no_grad():
            before, after = start(voxels).embedding, work.student.eval()(voxels).embedding
        near[weight] = float(cosine_similarity(before, after).mean())
    assert near[5.0] > near[0.0] + 0.05


def test_heads_of_the_start_are_kept_and_the_classes_are_new() -> None:
    start = pretrained()
    student = new_student(recipe(), NAMES, encode, start)
    assert student.spec.classes == NAMES
    assert torch.equal(student.heads.projector.weight, start.heads.projector.weight)
    assert student.heads.classes.weight.shape[0] == 3  # type: ignore[union-attr]
    reading = student.eval()(tuning(recipe()).draw(0).batch.voxels)
    by_word = student.heads.word_logits(reading.embedding, torch.from_numpy(encode(list(NAMES))))
    assert torch.equal(reading.classes.argmax(1), by_word.argmax(1))  # type: ignore[union-attr]
    same = new_student(recipe(seed=3), ("a", "b"), encode, start)
    assert torch.equal(same.heads.classes.weight, start.heads.classes.weight)  # type: ignore[union-attr]


def killed_plan() -> FineRecipe:
    schedule = Schedule(steps=6, warm_up_steps=2, save_s=0.0)
    return recipe(contrast=ContrastRecipe(thresholds=(0.3,), queue=4), schedule=schedule)


def test_a_killed_run_ends_with_the_same_weights_and_queues(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    plan = killed_plan()
    whole = tuning(plan, pretrained())
    run(tmp_path / "whole", plan, whole)
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from pathlib import Path; "
        "import torch; torch.set_num_threads(1); import test_finetune as t; p = t.killed_plan(); "
        f"t.run(Path({str(tmp_path / 'killed')!r}), p, t.tuning(p, t.pretrained()), stop_at=4)"
    )
    died = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False)
    assert died.returncode == -signal.SIGKILL
    resumed = tuning(plan, pretrained())
    run(tmp_path / "killed", plan, resumed)
    assert int(whole.queues.filled.sum()) > 0
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
