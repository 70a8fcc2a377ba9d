"""What few labels give, and what each part of the learning adds to them.

    python benchmarks/label_efficiency.py [--from student.safetensors] [--part K/N] [--scratch] [--quick]

Limited annotation (20, 50, 100, 200 points a scene) and limited reconstruction (1, 5, 10, 20 % of the
scenes) on held-out procedural scenes: supervised only / + boundary and energy / + contrast /
+ pre-training; three seeds of lists and of training. Full supervision, from scratch and pre-trained, is
the measure; base/novel (hIoU) is run with and without pre-training. All runs have the same few steps, those
of label_efficiency.yaml; what is missing to a full training is seen by the control, full supervision
from scratch with four times the steps. Each finished run is a line of results/label_efficiency.jsonl and
is not done again; one that was interrupted goes on in its folder below --runs. Several processes may
share the runs: --part 0/2 and --part 1/2. The lines are summed up in results/label_efficiency.json.
--quick: one seed, a few steps, two runs of each protocol, into --runs alone, to prove that it works.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from cells import Lines, mean_and_deviation, part_of
from common import RESULTS, save
from results_table import label_efficiency_tables
from rich.console import Console

from ws3d_ros.cli.clouds import procedural
from ws3d_ros.language.sentences import SPACE, SentenceEncoder, find_sentence_model
from ws3d_ros.network import checkpoint
from ws3d_ros.network.backends.choose import choose_backend
from ws3d_ros.network.choose import SHIPPED
from ws3d_ros.network.student import Student
from ws3d_ros.training import finetune
from ws3d_ros.training.datasets.labelled_cloud import LabelledCloud
from ws3d_ros.training.finetune import FineTuning, class_words, new_student, score
from ws3d_ros.training.loop import Schedule, train
from ws3d_ros.training.protocols import POINTS, SCENE_SHARES
from ws3d_ros.training.recipe import (
    DataRecipe,
    FewLabels,
    FineRecipe,
    WeakTerms,
    load_recipe,
    write_recipe,
)
from ws3d_ros.training.regions import cloud_regions
from ws3d_ros.training.run_folder import RunFolder

console = Console()
FULL = WeakTerms()
WITHOUT = {"energy": 0.0, "boundary": 0.0, "offset": 0.0, "contrast": 0.0, "distillation": 0.0}
VARIANTS: dict[str, tuple[WeakTerms, bool]] = {
    "supervised only": (replace(FULL, **WITHOUT), False),
    "+ boundary and energy": (replace(FULL, contrast=0.0, distillation=0.0), False),
    "+ contrast": (replace(FULL, distillation=0.0), False),
    "+ pre-training": (FULL, True),
}
"""Weights of the terms, and whether a run starts from the pre-trained student; each adds to the one above."""
PRETRAINED: dict[str, tuple[WeakTerms, bool]] = {
    "pre-training, supervised only": (VARIANTS["supervised only"][0], True),
    "pre-training, boundary and energy": (VARIANTS["+ boundary and energy"][0], True),
    "pre-training, + contrast": (VARIANTS["+ contrast"][0], True),
}
"""What the terms are worth to a student that is pre-trained; "+ pre-training" has all, distillation too."""
ALL = VARIANTS | PRETRAINED
NOVEL = 15
LONGER = 4
"""How many times the steps the control has."""
RECIPE = Path(__file__).with_suffix(".yaml")


@dataclass(frozen=True)
class Cell:
    """One run of the experiment."""

    protocol: str
    variant: str
    labels: FewLabels
    seed: int
    longer: int = 1

    def name(self) -> str:
        labels = self.labels
        amount = f"{labels.points}points-{labels.scene_share}scenes-{labels.novel}novel"
        name = f"{self.protocol}-{self.variant}-{amount}-{self.longer}x-{self.seed}"
        return name.replace(" ", "_").replace("/", "-")


def cells(seeds: int, quick: bool) -> list[Cell]:
    """All runs, seed by seed, so that what is there early is a whole table."""
    points, shares = (POINTS[:1], SCENE_SHARES[-1:]) if quick else (POINTS, SCENE_SHARES)
    names = list(VARIANTS)
    variants = [names[0], names[-1]] if quick else names
    found = []
    for seed in range(seeds):
        for variant in variants:
            found += [Cell("annotation", variant, FewLabels(points=count), seed) for count in points]
            found += [
                Cell("reconstruction", variant, FewLabels(points=0, scene_share=share), seed)
                for share in shares
            ]
        for variant in (names[0], names[-1]):
            found.append(Cell("full", variant, FewLabels(points=0), seed))
            found.append(Cell("base/novel", variant, FewLabels(points=0, novel=NOVEL), seed))
        for variant in () if quick else PRETRAINED:
            found.append(Cell("annotation", variant, FewLabels(points=POINTS[0]), seed))
            share = FewLabels(points=0, scene_share=SCENE_SHARES[0])
            found.append(Cell("reconstruction", variant, share, seed))
    found.append(Cell("full", names[0], FewLabels(points=0), 0, LONGER))
    return found


@contextmanager
def cut_once() -> Iterator[None]:
    """Clouds are cut into regions once for all runs: it takes longer than a step."""
    known: dict[tuple[str, float], np.ndarray] = {}

    def remembered(cloud: LabelledCloud, voxel_size_m: float) -> np.ndarray:
        key = (cloud.name, voxel_size_m)
        if key not in known:
            known[key] = cloud_regions(cloud, voxel_size_m)
        return known[key]

    with patch.object(finetune, "cloud_regions", remembered):
        yield


class Bench:
    """What all runs share: scenes, words, the pre-trained student and the folder."""

    def __init__(self, start: Path, scenes: Path, runs: Path, recipe: FineRecipe) -> None:
        self.start, self.runs, self.recipe = start, runs, recipe
        self.backend = choose_backend("torch")
        self.encode = SentenceEncoder(find_sentence_model(None)).encode
        size = checkpoint.read_spec(start).voxel_size_m
        self.names, clouds, held_out = procedural(recipe.data, size, scenes, console)
        self.clouds, self.held_out = [cache(load) for load in clouds], [cache(load) for load in held_out]
        plan = write_recipe(recipe).encode()
        # What begins from scratch stays when the student is another.
        self.digests = tuple(
            hashlib.sha256(told + plan).hexdigest()[:12] for told in (b"", start.read_bytes())
        )

    def untuned(self) -> Student:
        """The pre-trained student as it is, for the classes of the scenes."""
        before = checkpoint.load(self.start)
        return new_student(self.recipe, self.names, self.encode, before, SPACE).eval()

    def without_labels(self) -> dict[str, float]:
        """The pre-trained student as it is, by words, on the scenes that all runs are scored on."""
        network = self.untuned()
        words = class_words(network, self.encode)
        figures = score(network, self.held_out, words, (), self.backend)
        return {name: round(value, 4) for name, value in figures.items() if name.startswith("words")}

    def named(self, network: Student, work: FineTuning) -> dict[str, float]:
        """How well a student names the held-out scenes."""
        words = class_words(network, self.encode)
        return score(network, self.held_out, words, work.novel, self.backend)

    def run(self, cell: Cell, judge: Callable[[Student, FineTuning], dict[str, float]]) -> dict[str, Any]:
        """Trains one cell and has it judged at the end."""
        terms, pretrained = ALL[cell.variant]
        before = checkpoint.load(self.start) if pretrained else None
        spec = checkpoint.read_spec(self.start)  # from scratch: the same network
        student = replace(
            self.recipe.student,
            architecture=spec.architecture,
            inputs=spec.inputs,
            voxel_size_m=spec.voxel_size_m,
        )
        schedule = replace(self.recipe.schedule, steps=cell.longer * self.recipe.schedule.steps)
        plan = replace(
            self.recipe, seed=cell.seed, labels=cell.labels, terms=terms, student=student, schedule=schedule
        )
        network = new_student(plan, self.names, self.encode, before, SPACE)
        work = FineTuning(plan, network, before, self.clouds, self.encode, self.backend)
        digest = self.digests[pretrained]
        folder = RunFolder(self.runs / digest / cell.name(), write_recipe(plan))
        figures: dict[str, float] = {}

        def on_save(step: int) -> dict[str, float]:
            if step == plan.schedule.steps:
                figures.update(judge(network, work))
            return figures

        begun = time.perf_counter()
        train(work, work.draw, work.loss, plan.schedule, folder, lambda *_: None, on_save)
        (folder.path / "state.pt").unlink()  # the line stands for it
        rounded = {name: round(value, 4) for name, value in figures.items()}
        seconds = round(time.perf_counter() - begun)
        return {"cell": cell.name(), **asdict(cell), **rounded, "seconds": seconds, "run": digest}


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and standard deviation over seeds of each figure."""
    groups: dict[tuple[str, str, str, int], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["protocol"], json.dumps(row["labels"]), row["variant"], row["longer"]].append(row)
    figures = ("miou", "accuracy", "words_miou", "base_miou", "novel_miou", "hiou", "seconds")
    return [
        {"protocol": protocol, "labels": json.loads(labels), "variant": variant, "longer": longer}
        | {"seeds": len(group)}
        | mean_and_deviation(group, figures)
        for (protocol, labels, variant, longer), group in groups.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--from", dest="start", type=Path, default=SHIPPED, help="pre-trained student")
    parser.add_argument("--recipe", default=str(RECIPE))
    parser.add_argument("--scenes", type=Path, default=Path("runs/scenes"))
    parser.add_argument("--runs", type=Path, default=Path("runs/label_efficiency"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--part", default="0/1", help="K/N: every N-th run, from the K-th on")
    parser.add_argument("--scratch", action="store_true", help="only the runs that start from scratch")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    if not arguments.start.is_file():
        console.print(f"skipped: there is no {arguments.start}")
        return
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    recipe, _ = load_recipe(arguments.recipe, FineRecipe)
    folder = RESULTS
    if arguments.quick:
        small = DataRecipe(scenes=10, held_out=2, clouds=2, voxels=2000)
        recipe = replace(recipe, data=small, schedule=Schedule(steps=3, learning_rate=1e-3))
        folder = arguments.runs
    folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(arguments.start, arguments.scenes, arguments.runs, recipe)
    lines = Lines(folder / "label_efficiency.jsonl", *bench.digests)
    wanted = cells(1 if arguments.quick else arguments.seeds, arguments.quick)
    if arguments.scratch:
        wanted = [cell for cell in wanted if not ALL[cell.variant][1]]
    wanted = part_of(wanted, arguments.part)
    with cut_once():
        for number, cell in enumerate(wanted, start=1):
            if not lines.has(cell=cell.name()):
                console.print(f"{number} of {len(wanted)}: {cell.name()}")
                lines.add(bench.run(cell, bench.named))
    budget = {name: getattr(recipe.data, name) for name in ("scenes", "held_out", "clouds", "voxels")}
    budget["steps"] = recipe.schedule.steps
    result = {"start": bench.digests[True], "budget": budget, "cells": summary(lines.rows())}
    result["without_labels"] = bench.without_labels()
    if not arguments.quick:
        save("label_efficiency", result)
    print(label_efficiency_tables(result))


if __name__ == "__main__":
    main()
