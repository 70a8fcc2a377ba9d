"""Pre-training learns: on a toy world whose words are known, in a few steps."""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from clouds import NAMES, room

from ws3d_ros.network.backends.torch_backend import TorchBackend
from ws3d_ros.training.augment import take
from ws3d_ros.training.datasets.labelled_cloud import LabelledCloud
from ws3d_ros.training.loop import Schedule, train
from ws3d_ros.training.pretrain import Pretraining, new_student, zero_shot
from ws3d_ros.training.recipe import PretrainData, Recipe
from ws3d_ros.training.run_folder import RunFolder
from ws3d_ros.training.words import WordBook


def encode(words: list[str]) -> np.ndarray:
    """A vector of its own for each word, the same in each run."""
    rows = [np.random.default_rng(crc32(word.encode())).normal(size=16) for word in words]
    return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)


def words() -> WordBook:
    kinds = {"floor": "structure", "wall": "structure", "table": "furniture"}
    return WordBook(NAMES, {"table": ("desk", "board")}, kinds, encode)


def test_it_learns_names_of_scenes_it_has_not_seen(tmp_path: Path) -> None:
    recipe = Recipe(data=PretrainData(clouds=2, voxels=500), schedule=Schedule(steps=18, learning_rate=0.01))
    book = words()
    student = new_student(recipe, book, "toy", "")
    clouds = [lambda seed=seed: room(seed, 1500) for seed in range(4)]
    held_out = [lambda: room(99, 1500)]
    pretraining = Pretraining(recipe, student, book, clouds, TorchBackend())
    seen: dict[str, list[float]] = {}

    def note(step: int, terms: dict[str, float]) -> None:
        for name, value in terms.items():
            seen.setdefault(name, []).append(value)

    train(
        student,
        pretraining.draw,
        pretraining.loss,
        recipe.schedule,
        RunFolder(tmp_path, ""),
        note,
        lambda _: {},
    )
    assert set(seen) == {"point", "category", "region", "scene", "boundary", "offset"}
    for name in ("point", "region", "scene"):
        assert seen[name][-1] < 0.8 * seen[name][0], name
    student.train()  # with the statistics of the scene: a dozen steps are too few for running ones
    score = zero_shot(student, held_out, book.vectors(), 0.05, TorchBackend())
    assert score.accuracy > 0.65  # a third is chance


def test_batches_depend_on_seed_and_number_alone() -> None:
    recipe = Recipe(data=PretrainData(clouds=2, voxels=300))
    book = words()
    clouds = [lambda seed=seed: room(seed, 800) for seed in range(3)]
    one = Pretraining(recipe, new_student(recipe, book, "toy", ""), book, clouds, TorchBackend())
    two = Pretraining(recipe, new_student(recipe, book, "toy", ""), book, clouds, TorchBackend())
    two.draw(3)
    for field in ("name", "instance", "boundary", "offset_m"):
        a, b = getattr(one.draw(7), field), getattr(two.draw(7), field)
        assert torch.equal(a.nan_to_num(-9), b.nan_to_num(-9))
    assert not torch.equal(one.draw(7).voxels.coords, one.draw(8).voxels.coords)


def test_what_is_rare_is_drawn_more_often() -> None:
    """One cloud of eight has a table: drawn for classes, three times as many batches show it."""
    book = words()

    def bare(seed: int) -> LabelledCloud:
        cloud = room(seed, 800)
        return take(cloud, cloud.label != 2)

    clouds = [lambda seed=seed: bare(seed) for seed in range(7)] + [lambda: room(7, 800)]

    def share(rare: float) -> float:
        recipe = Recipe(data=PretrainData(clouds=2, voxels=300, rare=rare, mixed=0.3))
        student = new_student(recipe, book, "toy", "")
        work = Pretraining(recipe, student, book, clouds, TorchBackend())
        return float(np.mean([bool((work.draw(number).name == 2).any()) for number in range(60)]))

    # Uniform: a table's cloud is in 1/4 of batches, and its crop does not always show it.
    assert share(0.0) < 0.4
    assert share(1.0) > 0.4


def test_a_synonym_is_drawn_about_a_third_of_the_time_for_two_synonyms() -> None:
    book = words()
    rng = np.random.default_rng(0)
    own = book.vectors()[2]
    kept = sum(bool(torch.equal(book.draw(rng)[2], own)) for _ in range(600)) / 600
    # Half of the draws are free among three names: 2/3 keep the name; three standard deviations are .06.
    assert abs(kept - 2 / 3) < 0.06
