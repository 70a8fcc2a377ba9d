"""What each part of pre-training is worth: short runs of the default recipe, one thing changed at a time.

    python benchmarks/pretraining.py [--quick] [--seeds N] [--part K/N] [--device cuda]

Each run has the same few steps and scenes, and is scored on held-out procedural scenes with and without
colour, by the nearest of the training's words. A run is a line of results/pretraining.jsonl and is not
done again; one that was interrupted goes on in its folder below --runs. Steps a second and memory are
those of the run. The lines are summed up in results/pretraining.json. Several processes may share the
runs: --part 0/2 and --part 1/2. --quick: a few steps of two variants into --runs alone, to prove that
it works. Variants with an image encoder need WS3D_WEIGHTS (../shared/weights) and are left out without it.
What the encoder says of the scenes is made once, below --scenes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from cells import Lines, mean_and_deviation, part_of
from common import RESULTS, save
from memory import peak_mib
from results_table import pretraining_table
from rich.console import Console

from ws3d_ros.cli.clouds import procedural
from ws3d_ros.cli.pretrain import LICENCE
from ws3d_ros.language.choose import choose_encoder
from ws3d_ros.language.sentences import SPACE, SentenceEncoder, find_sentence_model
from ws3d_ros.network.backends.choose import choose_backend
from ws3d_ros.training.loop import Schedule, train
from ws3d_ros.training.pretrain import Clouds, Pretraining, new_student, zero_shot
from ws3d_ros.training.recipe import PretrainData, Recipe, TeacherRecipe, load_recipe, write_recipe
from ws3d_ros.training.run_folder import RunFolder
from ws3d_ros.training.scenes.names import CATEGORY, NAMES, SYNONYMS
from ws3d_ros.training.teacher import Teacher, taught
from ws3d_ros.training.words import WordBook

console = Console()
BUDGET: dict[str, Any] = {"scenes": 200, "held_out": 12, "voxels": 6000}
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "full": {},
    "without region": {"terms": {"region": 0.0}},
    "without scene": {"terms": {"scene": 0.0}},
    "without category": {"terms": {"category": 0.0}},
    "point only": {"terms": dict.fromkeys(("region", "scene", "category", "boundary", "offset"), 0.0)},
    "whole views all the time": {"data": {"whole_from": 0.0}},
    "partial views all the time": {"data": {"whole_from": 1.0}},
    "without drawing for rare classes": {"data": {"rare": 0.0}},
    "without mixed scenes": {"data": {"mixed": 0.0}},
    "without colour dropout": {"augmentation": {"no_color": 0.0}},
    "without repaint": {"augmentation": {"repaint": 0.0}},
    "with the encoder's words, 6 views": {
        "terms": {"distillation": 0.5},
        "teacher": {"encoder": "concept", "views": 6},
    },
    "with the encoder's words, 2 views": {
        "terms": {"distillation": 0.5},
        "teacher": {"encoder": "concept", "views": 2},
    },
    "the encoder's words alone": {
        "terms": {**dict.fromkeys(("point", "region", "scene", "category"), 0.0), "distillation": 0.5},
        "teacher": {"encoder": "concept", "views": 6},
    },
}
"""What is changed in which branch of the recipe."""


def plan(recipe: Recipe, changes: dict[str, dict[str, Any]], seed: int) -> Recipe:
    """The recipe with other leaves."""
    branches = {name: replace(getattr(recipe, name), **leaves) for name, leaves in changes.items()}
    return replace(recipe, seed=seed, **branches)


def taught_by_encoder(variant: str) -> bool:
    """Whether an image encoder is needed."""
    return "teacher" in VARIANTS[variant]


class Bench:
    """What all runs share: scenes, words and the folder."""

    def __init__(self, recipe: Recipe, scenes: Path, runs: Path, device: str) -> None:
        self.recipe, self.runs, self.device = recipe, runs, device
        self.backend = choose_backend("torch")
        encode = SentenceEncoder(find_sentence_model(None)).encode
        self.words = WordBook(NAMES, SYNONYMS, CATEGORY, encode).to(device)
        _, clouds, held_out = procedural(recipe.data, recipe.student.voxel_size_m, scenes, console)
        self.clouds, self.held_out = [cache(load) for load in clouds], [cache(load) for load in held_out]
        self.answers = scenes / "taught"
        for load in self.clouds:
            load()  # so that no run pays for it
        told = write_recipe(recipe) + json.dumps(VARIANTS) + device
        self.digest = hashlib.sha256(told.encode()).hexdigest()[:12]

    def taught(self, by: TeacherRecipe) -> Clouds:
        """The scenes with what the encoder says of their views."""
        encoder = choose_encoder(by.encoder, device=self.device, threads=torch.get_num_threads()).encoder
        assert encoder is not None  # it was asked for by name
        teacher = Teacher(encoder, self.words.spellings, by.views, self.recipe.student.voxel_size_m)
        return taught(self.clouds, teacher, self.answers, console)

    def run(self, variant: str, seed: int) -> dict[str, Any]:
        """Trains one variant and scores it at the end."""
        asked = plan(self.recipe, VARIANTS[variant], seed)
        student = new_student(asked, self.words, SPACE, LICENCE).to(self.device)
        clouds = self.taught(asked.teacher) if taught_by_encoder(variant) else self.clouds
        work = Pretraining(asked, student, self.words, clouds, self.backend)
        name = f"{variant}-{seed}".replace(" ", "_")
        folder = RunFolder(self.runs / self.digest / name, write_recipe(asked))
        times: list[float] = []
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()

        def learn() -> None:
            def on_step(*_: object) -> None:
                times.append(time.perf_counter())

            train(student, work.draw, work.loss, asked.schedule, folder, on_step, lambda _: {})

        _, mib = peak_mib(learn)
        memory = {"memory_mib": round(mib)}
        if self.device == "cuda":
            memory["gpu_memory_mib"] = round(torch.cuda.max_memory_allocated() / 2**20)
        student.eval()
        figures: dict[str, float] = {}
        for key, color in (("color", True), ("no_color", False)):
            size, vectors = asked.student.voxel_size_m, self.words.vectors()
            result = zero_shot(student, self.held_out, vectors, size, self.backend, color)
            figures |= {f"{key}_miou": round(result.miou, 4), f"{key}_accuracy": round(result.accuracy, 4)}
        (folder.path / "state.pt").unlink()  # the line stands for it
        speed = {}
        if len(times) > 1:  # the first step is not counted: it waits for the first batch
            speed = {"steps_per_s": round((len(times) - 1) / (times[-1] - times[0]), 3)}
        return {"variant": variant, "seed": seed, "run": self.digest, **figures, **speed, **memory}


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and standard deviation over seeds, variants in their order."""
    groups = {name: [row for row in rows if row["variant"] == name] for name in VARIANTS}
    figures = ("color_miou", "color_accuracy", "no_color_miou", "no_color_accuracy", "steps_per_s")
    return [
        {
            "variant": name,
            "seeds": len(group),
            **mean_and_deviation(group, (*figures, "memory_mib", "gpu_memory_mib")),
        }
        for name, group in groups.items()
        if group
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--scenes", type=Path, default=Path("runs/scenes"))
    parser.add_argument("--runs", type=Path, default=Path("runs/pretraining"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--part", default="0/1", help="K/N: every N-th run, from the K-th on")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    recipe, _ = load_recipe("default")
    data = replace(recipe.data, **BUDGET)
    schedule = replace(recipe.schedule, steps=arguments.steps)
    seeds, folder, variants = arguments.seeds, RESULTS, list(VARIANTS)
    if not os.environ.get("WS3D_WEIGHTS"):
        console.print(
            "left out, as WS3D_WEIGHTS names no folder: " + ", ".join(filter(taught_by_encoder, variants))
        )
        variants = [variant for variant in variants if not taught_by_encoder(variant)]
    if arguments.quick:
        data = PretrainData(scenes=6, held_out=2, clouds=2, voxels=2000)
        schedule = Schedule(steps=3, learning_rate=1e-3, bfloat16=recipe.schedule.bfloat16)
        seeds, folder, variants = 1, arguments.runs, [variants[0], variants[-1]]
    folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(
        replace(recipe, data=data, schedule=schedule), arguments.scenes, arguments.runs, arguments.device
    )
    lines = Lines(folder / "pretraining.jsonl", bench.digest)
    wanted = [(variant, seed) for seed in range(seeds) for variant in variants]
    for variant, seed in part_of(wanted, arguments.part):
        if not lines.has(variant=variant, seed=seed):
            console.print(f"{variant}, seed {seed}")
            lines.add(bench.run(variant, seed))
    budget = {name: getattr(data, name) for name in ("scenes", "held_out", "clouds", "voxels")}
    budget["steps"] = schedule.steps
    result = {"budget": budget, "variants": summary(lines.rows())}
    if not arguments.quick:
        save("pretraining", result)
    print(pretraining_table(result))


if __name__ == "__main__":
    main()
