"""What few labels give, and what each part of the learning adds to them.

    python benchmarks/label_efficiency.py --from runs/student/student.safetensors [--quick]

Limited annotation (20, 50, 100, 200 points a scene) and limited reconstruction (1, 5, 10, 20 % of the
scenes) on held-out procedural scenes: supervised only / + boundary and energy / + contrast /
+ pre-training; three seeds of lists and of training. All runs have the same steps, from the recipe. Full
supervision, from scratch and pre-trained, is the measure; base/novel (hIoU) is run with and without
pre-training. This takes many hours: each finished cell is a line of results/label_efficiency.jsonl, and a
cell that is there is not run again; a cell that was interrupted goes on in its folder below --runs.
The lines are summed up in results/label_efficiency.json. --quick: one seed, a few steps, two cells of
each protocol, into --runs alone, to prove that it works.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import RESULTS, save
from rich.console import Console
from rich.table import Table

from ws3d_ros.cli.clouds import procedural
from ws3d_ros.language.sentences import SPACE, SentenceEncoder, find_sentence_model
from ws3d_ros.network import checkpoint
from ws3d_ros.network.backends.choose import choose_backend
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
NOVEL = 15


@dataclass(frozen=True)
class Cell:
    """One run of the experiment."""

    protocol: str
    variant: str
    labels: FewLabels
    seed: int

    def name(self) -> str:
        labels = self.labels
        amount = f"{labels.points}points-{labels.scene_share}scenes-{labels.novel}novel"
        return f"{self.protocol}-{self.variant}-{amount}-{self.seed}".replace(" ", "_")


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
    return found


class Bench:
    """What all runs share: scenes, words, the pre-trained student and the folder."""

    def __init__(self, start: Path, scenes: Path, runs: Path, recipe: FineRecipe) -> None:
        self.start, self.runs, self.recipe = start, runs, recipe
        self.backend = choose_backend("torch")
        self.encode = SentenceEncoder(find_sentence_model(None)).encode
        self.names, self.clouds, self.held_out = procedural(
            recipe.data, checkpoint.read_spec(start).voxel_size_m, scenes, console
        )
        self.digest = hashlib.sha256(start.read_bytes() + write_recipe(recipe).encode()).hexdigest()[:12]

    def run(self, cell: Cell) -> dict[str, Any]:
        """Trains one cell and scores it at the end."""
        terms, pretrained = VARIANTS[cell.variant]
        before = checkpoint.load(self.start) if pretrained else None
        spec = checkpoint.read_spec(self.start)  # from scratch: the same network
        student = replace(
            self.recipe.student,
            architecture=spec.architecture,
            inputs=spec.inputs,
            voxel_size_m=spec.voxel_size_m,
        )
        plan = replace(self.recipe, seed=cell.seed, labels=cell.labels, terms=terms, student=student)
        network = new_student(plan, self.names, self.encode, before, SPACE)
        work = FineTuning(plan, network, before, self.clouds, self.encode, self.backend)
        folder = RunFolder(self.runs / self.digest / cell.name().replace("/", "-"), write_recipe(plan))
        figures: dict[str, float] = {}

        def on_save(step: int) -> dict[str, float]:
            if step == plan.schedule.steps:
                words = class_words(network, self.encode)
                figures.update(score(network, self.held_out, words, work.novel, self.backend))
            return figures

        begun = time.perf_counter()
        train(work, work.draw, work.loss, plan.schedule, folder, lambda *_: None, on_save)
        rounded = {name: round(value, 4) for name, value in figures.items()}
        return {**asdict(cell), "run": self.digest, **rounded, "seconds": round(time.perf_counter() - begun)}


def done(lines: Path, digest: str) -> dict[str, dict[str, Any]]:
    """The cells that are finished, of this recipe and this pre-trained student."""
    rows = [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
    return {
        Cell(row["protocol"], row["variant"], FewLabels(**row["labels"]), row["seed"]).name(): row
        for row in rows
        if row["run"] == digest
    }


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and standard deviation over seeds of each figure."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["protocol"], json.dumps(row["labels"]), row["variant"]].append(row)
    out = []
    for (protocol, labels, variant), group in groups.items():
        figures = [name for name in group[0] if name in ("accuracy", "hiou") or name.endswith("miou")]
        means = {
            name: [round(float(f([row[name] for row in group])), 4) for f in (np.mean, np.std)]
            for name in figures
            if all(name in row for row in group)
        }
        entry = {"protocol": protocol, "labels": json.loads(labels), "variant": variant, "seeds": len(group)}
        out.append(entry | means)
    return out


def show(entries: list[dict[str, Any]]) -> None:
    table = Table(
        "protocol", "points", "scenes", "novel", "variant", "seeds", "mIoU", "mIoU by words", "hIoU"
    )
    for entry in entries:
        labels = entry["labels"]
        figures = [
            f"{entry[name][0]:.3f} ± {entry[name][1]:.3f}" if name in entry else ""
            for name in ("miou", "words_miou", "hiou")
        ]
        amounts = (str(labels["points"] or "all"), f"{labels['scene_share']:.0%}", str(labels["novel"]))
        table.add_row(entry["protocol"], *amounts, entry["variant"], str(entry["seeds"]), *figures)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--from", dest="start", type=Path, required=True, help="pre-trained student")
    parser.add_argument("--recipe", default="finetune")
    parser.add_argument("--scenes", type=Path, default=Path("runs/scenes"))
    parser.add_argument("--runs", type=Path, default=Path("runs/label_efficiency"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    recipe, _ = load_recipe(arguments.recipe, FineRecipe)
    folder = RESULTS
    if arguments.quick:
        small = DataRecipe(scenes=10, held_out=2, clouds=2, voxels=2000)
        recipe = replace(recipe, data=small, schedule=Schedule(steps=3, learning_rate=1e-3))
        folder = arguments.runs
    folder.mkdir(parents=True, exist_ok=True)
    lines = folder / "label_efficiency.jsonl"
    bench = Bench(arguments.start, arguments.scenes, arguments.runs, recipe)
    wanted = cells(1 if arguments.quick else arguments.seeds, arguments.quick)
    for number, cell in enumerate(wanted, start=1):
        if cell.name() not in done(lines, bench.digest):
            console.print(f"{number} of {len(wanted)}: {cell.name()}")
            row = bench.run(cell)
            with lines.open("a") as file:
                file.write(json.dumps(row) + "\n")
    entries = summary(list(done(lines, bench.digest).values()))
    show(entries)
    if not arguments.quick:
        save("label_efficiency", {"recipe": json.loads(json.dumps(asdict(recipe))), "cells": entries})


if __name__ == "__main__":
    main()
