"""Boxes with a class and a score after fine-tuning on few scenes: 10, 20, 40 and 80 % of them.

    python benchmarks/detection.py [--from student.safetensors] [--part K/N] [--quick]

From scratch and from the pre-trained student, all labels of the share of the scenes, with the steps and
terms of label_efficiency.yaml (heads of boundaries and offsets are among them). Then, on held-out scenes:
names by words, things cut out with the learnt boundaries and offsets, upright boxes around them, and their
mAP at 0.25 and 0.50 over the classes of things, and AP whatever they are called. "names_" before a figure:
the same things cut out by names and shapes alone. The measures are the pre-trained student without any
label, and true names, boundaries and offsets, cut out and boxed in the same way.
Lines, parts and interruptions are as in label_efficiency.py; --seeds 0 sums up the lines that are there.
--quick: two runs of a few steps, into --runs alone, to prove that it works.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from cells import Lines, mean_and_deviation, part_of
from common import RESULTS, save
from instances import SMALLEST, STRUCTURE, Judge, said, scene, told
from label_efficiency import RECIPE, Bench, Cell, cut_once
from results_table import detection_table
from rich.console import Console
from torch import Tensor
from torch.nn.functional import normalize

from ws3d_ros.cli.clouds import HELD_OUT_FROM
from ws3d_ros.instances.segmentation import segment, superpoints
from ws3d_ros.network import checkpoint
from ws3d_ros.network.backends.choose import choose_backend
from ws3d_ros.network.choose import SHIPPED
from ws3d_ros.network.inference import Reader
from ws3d_ros.network.student import Student
from ws3d_ros.reconstruction.keys import unpack_keys
from ws3d_ros.training.finetune import FineTuning, class_words
from ws3d_ros.training.loop import Schedule
from ws3d_ros.training.protocols import DETECTION_SHARES
from ws3d_ros.training.recipe import DataRecipe, FewLabels, FineRecipe, load_recipe
from ws3d_ros.training.scenes.example import Options
from ws3d_ros.training.scenes.store import example_path
from ws3d_ros.training.words import Encode

console = Console()
STARTS = {"+ contrast": "from scratch", "+ pre-training": "pre-trained"}
"""Variants of label_efficiency.py that have all terms (distillation needs a student to start from)."""
FIGURES = ("box_map25", "box_map50", "box_ap25", "box_ap50")


def cells(seeds: int, quick: bool) -> list[Cell]:
    """All runs, seed by seed, so that what is there early is a whole table."""
    shares = DETECTION_SHARES[-1:] if quick else DETECTION_SHARES
    return [
        Cell("detection", variant, FewLabels(points=0, scene_share=share), seed)
        for seed in range(seeds)
        for share in shares
        for variant in STARTS
    ]


class Held:
    """The scenes on which boxes are judged, and what a student makes of them."""

    def __init__(self, paths: list[Path], encode: Encode) -> None:
        self._paths, self._encode = paths, encode

    def judge(self, student: Student, work: FineTuning | None = None) -> dict[str, float]:
        """Figures of boxes with, and (``names_``) without the heads of boundaries and offsets."""
        words = class_words(student, self._encode)
        reader = Reader(student, choose_backend(), torch.device("cpu"))
        judges = {"": Judge(), "names_": Judge()}
        for path in self._paths:
            window, name, thing = scene(path)
            reading = reader.read(unpack_keys(window.keys), window.color, window.normal)
            assert reading.boundary is not None
            assert reading.offset_m is not None
            logits = student.heads.logit_scale * normalize(reading.embedding, dim=1) @ words.T
            chance = logits.softmax(1)
            confidence, word = chance.max(1)
            heads = {"": (reading.boundary[:, 1].sigmoid(), reading.offset_m), "names_": (None, None)}
            for way, (boundary, offset_m) in heads.items():
                regions = superpoints(window, boundary)
                words_of = summed(chance, regions.of_voxel, regions.count)
                found = segment(window, regions, words_of, STRUCTURE, boundary, offset_m, SMALLEST)
                judges[way].add(window, name, thing, (word + 1).short(), confidence, found)
        return {way + figure: value for way in judges for figure, value in of_boxes(judges[way]).items()}

    def judge_truth(self) -> dict[str, float]:
        """Figures of boxes around what is cut out of true names, boundaries and offsets."""
        judge = Judge()
        for path in self._paths:
            window, name, thing = scene(path)
            ways = told(window, name, thing, None)
            label, confidence, boundary, offset_m = ways["true names, boundaries, offsets"]
            regions = superpoints(window, boundary)
            words_of = said(label, confidence, regions.of_voxel, regions.count)
            found = segment(window, regions, words_of, STRUCTURE, boundary, offset_m, SMALLEST)
            judge.add(window, name, thing, label, confidence, found)
        return of_boxes(judge)


def of_boxes(judge: Judge) -> dict[str, float]:
    """What it says of boxes, and of how many there should be."""
    return {name: float(value) for name, value in judge.figures().items() if name in (*FIGURES, "objects")}


def summed(chance: Tensor, region: Tensor, count: int) -> Tensor:
    """(R, C) sums of the probabilities (N, C) over the voxels of each region."""
    return chance.new_zeros(count, chance.shape[1]).index_add(0, region, chance)


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and standard deviation over seeds of each figure."""
    groups: dict[tuple[float, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["labels"]["scene_share"], STARTS[row["variant"]]].append(row)
    figures = (*FIGURES, *(f"names_{figure}" for figure in FIGURES), "seconds")
    return [
        {"share": share, "start": start, "seeds": len(group)} | mean_and_deviation(group, figures)
        for (share, start), group in sorted(groups.items())
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--from", dest="start", type=Path, default=SHIPPED, help="pre-trained student")
    parser.add_argument("--scenes", type=Path, default=Path("runs/scenes"))
    parser.add_argument("--runs", type=Path, default=Path("runs/detection"))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--part", default="0/1", help="K/N: every N-th run, from the K-th on")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    if not arguments.start.is_file():
        console.print(f"skipped: there is no {arguments.start}")
        return
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    recipe, _ = load_recipe(str(RECIPE), FineRecipe)
    folder = RESULTS
    if arguments.quick:
        small = DataRecipe(scenes=10, held_out=2, clouds=2, voxels=2000)
        recipe = replace(recipe, data=small, schedule=Schedule(steps=3, learning_rate=1e-3))
        folder = arguments.runs
    folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(arguments.start, arguments.scenes, arguments.runs, recipe)
    options = Options(voxel_size_m=checkpoint.read_spec(arguments.start).voxel_size_m)
    seeds = range(HELD_OUT_FROM, HELD_OUT_FROM + recipe.data.held_out)
    held = Held([example_path(arguments.scenes, seed, options) for seed in seeds], bench.encode)
    lines = Lines(folder / "detection.jsonl", *bench.digests)
    wanted = part_of(cells(1 if arguments.quick else arguments.seeds, arguments.quick), arguments.part)
    with cut_once():
        for number, cell in enumerate(wanted, start=1):
            if not lines.has(cell=cell.name()):
                console.print(f"{number} of {len(wanted)}: {cell.name()}")
                lines.add(bench.run(cell, held.judge))
    budget = {name: getattr(recipe.data, name) for name in ("scenes", "held_out", "clouds", "voxels")}
    budget["steps"] = recipe.schedule.steps
    result = {"start": bench.digests[True], "budget": budget, "cells": summary(lines.rows())}
    result |= {"without_labels": held.judge(bench.untuned()), "truth": held.judge_truth()}
    if not arguments.quick:
        save("detection", result)
    print(detection_table(result))


if __name__ == "__main__":
    main()
