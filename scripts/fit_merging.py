"""Fits how regions become things: what tells walls from things, and what tells one thing from two.

    python scripts/fit_merging.py [--scenes 60] [--checkpoint student.safetensors]

On procedural flats that the student was not trained on (seeds 2000 and up), named by it as the pipeline names
a map. Two logistic regressions for each way of knowing: by shapes and colours alone, with names, and with the
network's heads, too. How likely a border is inside one thing is fitted in rounds: first on borders of
regions, then also on those that come up while regions are joined by the fit so far (after GALA,
Nunez-Iglesias et al., PLoS ONE 2013). The bias is then the best of a few by AP50 on every fourth flat, which
is not fitted on.
Writes ws3d_ros/instances/data/measures.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from ws3d_ros import naming
from ws3d_ros.config import from_mapping
from ws3d_ros.evaluation.average_precision import LabelledObjects, average_precision, class_agnostic
from ws3d_ros.instances.merging import CUES, Graph, cues, merge, without
from ws3d_ros.instances.segmentation import (
    MEASURES,
    region_sums,
    renumbered,
    structure_labels,
    superpoints,
)
from ws3d_ros.instances.structure import structure_cues
from ws3d_ros.instances.superpoints import Regions
from ws3d_ros.language.text import choose_text_encoder
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.network import checkpoint
from ws3d_ros.network.backends.choose import choose_backend
from ws3d_ros.network.choose import SHIPPED
from ws3d_ros.network.inference import Reader
from ws3d_ros.network.namer import Namer
from ws3d_ros.reconstruction.keys import pack_keys
from ws3d_ros.reconstruction.window import Window
from ws3d_ros.training.batch import majority
from ws3d_ros.training.scenes.example import USUAL, Example
from ws3d_ros.training.scenes.names import NAMES
from ws3d_ros.training.scenes.store import load_example, make_examples

CPU = torch.device("cpu")
FIRST, MIN_VOXELS, ROUNDS = 2000, 20, 3
STRUCTURE = structure_labels(NAMES)
BIASES = (-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)
console = Console()


@dataclass(frozen=True)
class Scene:
    """One flat: its window with what the student says of it, its regions, and what is true of N voxels.

    Attributes:
        said, boundary, offset_m: as for ``segmentation.segment``.
        confidence: (N,) of what a voxel is called.
        name, instance: (N,) truth, -1 for none.
        thing, is_structure: (R,) of most voxels of a region.
    """

    window: Window
    regions: Regions
    said: Tensor
    confidence: Tensor
    boundary: Tensor
    offset_m: Tensor
    name: Tensor
    instance: Tensor
    thing: Tensor
    is_structure: Tensor


def window_of(example: Example) -> tuple[Window, np.ndarray]:
    """The example as a window of a map, and the rows of its voxels in the example."""
    keys, order = pack_keys(torch.from_numpy(example.coords).long()).sort()
    rows, count = order.numpy(), len(keys)
    color = torch.full((count, 3), torch.nan)
    if example.color is not None:
        color = torch.from_numpy(example.color[rows]).float()
    none = torch.zeros(count)
    window = Window(
        voxel_size_m=USUAL.voxel_size_m,
        stamp_ns=0,
        keys=keys,
        points_m=torch.from_numpy(example.points_m[rows]),
        color=color,
        normal=torch.from_numpy(example.normal[rows]),
        weight=none + 1.0,
        feature=torch.zeros(count, 0).half(),
        feature_weight=none,
        label=none.to(torch.int16),
        confidence=none.half(),
        instance=none.int(),
    )
    return window, rows


def scene_of(example: Example, reader: Reader, namer: Namer, words: naming.Words) -> Scene:
    """What the student says of an example, with one reading for names and heads."""
    window, rows = window_of(example)
    cells = (window.points_m / namer.voxel_size_m).floor().long()
    reading = reader.read(cells, window.color, window.normal)
    assert reading.boundary is not None
    assert reading.offset_m is not None
    basis = namer.basis(0)
    unit = torch.nn.functional.normalize(reading.embedding, dim=1)
    heard = replace(window, embedding=basis.compress(unit).half())
    regions = superpoints(window)
    settings = from_mapping({}).semantics
    share, least = settings.region_share, settings.unknown_below
    _, confidence = naming.name(heard, words, regions.of_voxel, share, least)
    name, instance = (torch.from_numpy(values[rows]) for values in (example.name, example.instance))
    most = majority(name, regions.of_voxel, regions.count)
    return Scene(
        window,
        regions,
        naming.by_region(heard, words, regions.of_voxel, regions.count),
        confidence,
        reading.boundary[:, 1].sigmoid(),
        reading.offset_m,
        name,
        instance,
        majority(instance, regions.of_voxel, regions.count),
        torch.isin(most + 1, STRUCTURE.long()),
    )


def logistic(table: Tensor, truth: Tensor, weight: Tensor, ridge: float = 1e-3) -> tuple[Tensor, float]:
    """Weights (K,) and bias of a weighted logistic regression, by Newton's method on whitened columns."""
    table, truth = table.double(), truth.double()
    share = weight.double() / weight.double().sum()
    mean = (table * share[:, None]).sum(0)
    spread = ((table - mean).square() * share[:, None]).sum(0).sqrt().clamp(min=1e-6)
    columns = torch.cat([(table - mean) / spread, torch.ones(len(table), 1).double()], dim=1)
    penalty = torch.full((columns.shape[1],), ridge).double()
    penalty[-1] = 1e-9
    found = torch.zeros(columns.shape[1]).double()
    for _ in range(30):
        likely = (columns @ found).sigmoid()
        slope = columns.T @ (share * (likely - truth)) + penalty * found
        bend = (columns * (share * likely * (1 - likely)).clamp(min=1e-12)[:, None]).T @ columns
        found = found - torch.linalg.solve(bend + torch.diag(penalty), slope)
    weights = found[:-1] / spread
    return weights.float(), float(found[-1] - (weights * mean).sum())


def said(scene: Scene, way: str) -> Tensor:
    """(R, C) what is known of words in a way."""
    return torch.zeros_like(scene.said) if way == "shapes" else scene.said


def graph_of(scene: Scene, way: str) -> Graph:
    heads = (scene.boundary, scene.offset_m) if way == "heads" else (None, None)
    return region_sums(scene.window, scene.regions, said(scene, way), *heads)


def fit_structure(scenes: Sequence[Scene], way: str) -> tuple[Tensor, float]:
    """What tells walls, floors and ceilings."""
    tables = [structure_cues(s.window, s.regions, said(s, way), STRUCTURE) for s in scenes]
    sizes = [torch.bincount(s.regions.of_voxel, minlength=s.regions.count) for s in scenes]
    weight = [(n * (s.thing >= 0)).float().sqrt() for n, s in zip(sizes, scenes, strict=True)]
    return logistic(torch.cat(tables), torch.cat([s.is_structure for s in scenes]), torch.cat(weight))


def fit_merging(loose: Sequence[tuple[Scene, Graph, Tensor]]) -> tuple[Tensor, float]:
    """What tells that a border is inside one thing.

    Args:
        loose: scenes, the graphs of their regions that are no structure, and which regions (R,) these are.
    """
    tables: list[Tensor] = []
    same: list[Tensor] = []
    weights: list[Tensor] = []
    weight, bias = torch.zeros(len(CUES)), 0.0
    for number in range(ROUNDS + 1):
        for scene, graph, keep in loose:
            thing, size = scene.thing[keep], graph.count
            steps = [(torch.arange(len(size)), graph.edges, cues(graph))]
            if number:
                steps.clear()
                merge(graph, weight, bias, lambda *step: steps.append(step))  # noqa: B023 called at once
            for whole, edges, table in steps:
                if len(edges):
                    most, total = _mostly(thing, size, whole)
                    known = (most[edges] >= 0).all(1)
                    tables.append(table)
                    same.append(most[edges[:, 0]] == most[edges[:, 1]])
                    by_size = torch.minimum(total[edges[:, 0]], total[edges[:, 1]]).sqrt()
                    # A round of many steps counts three times as much as the first look, however many.
                    weights.append(by_size * known * (3.0 / len(steps) if number else 1.0))
        weight, bias = logistic(torch.cat(tables), torch.cat(same), torch.cat(weights))
    return weight, bias


def _mostly(thing: Tensor, size: Tensor, whole: Tensor) -> tuple[Tensor, Tensor]:
    """True thing (P,) of most voxels of each joined region, -1 for none, and its voxels (P,)."""
    parts, things = int(whole.amax()) + 1, int(thing.amax()) + 2
    votes = torch.zeros(parts * things).index_add(0, whole * things + thing + 1, size).view(parts, things)
    return votes.argmax(1) - 1, votes.sum(1)


def ap50(loose: Sequence[tuple[Scene, Graph, Tensor]], weight: Tensor, bias: float) -> float:
    """Class-agnostic average precision at half overlap, structure left out."""
    pairs = []
    for scene, graph, keep in loose:
        part = torch.zeros(scene.regions.count, dtype=torch.int64)
        part[keep] = merge(graph, weight, bias) + 1
        found = renumbered(part[scene.regions.of_voxel], MIN_VOXELS).long()
        known = scene.instance >= 0
        truth = LabelledObjects((scene.instance + 1) * known, (scene.name + 1) * known)
        sure = scene.confidence.float()
        guess = LabelledObjects(found * known, (found * known > 0).long(), sure)
        pairs.append((class_agnostic(truth, STRUCTURE.tolist()), guess))
    return average_precision(pairs, 1, min_points=MIN_VOXELS).ap50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--checkpoint", type=Path, default=SHIPPED)
    parser.add_argument("--folder", type=Path, default=Path("runs/scenes"))
    arguments = parser.parse_args()
    student = checkpoint.load(arguments.checkpoint)
    texts = choose_text_encoder(student.spec.space, None, "", CPU)
    reader = Reader(student, choose_backend("torch"), CPU)
    namer = Namer("student", reader, student.heads, texts)
    vectors = namer.basis(0).compress(namer.embed(Vocabulary.of(NAMES)))
    words = naming.Words(len(NAMES), torch.zeros(len(vectors), 0), vectors, 0.0, namer.logit_scale)
    seeds = range(FIRST, FIRST + arguments.scenes)
    paths = make_examples(seeds, arguments.folder, USUAL, 1, console)
    scenes = [
        scene_of(load_example(path), reader, namer, words)
        for path in track(paths, "flats read and named", console=console)
    ]
    measures = {}
    for way in MEASURES:
        structure, structure_bias = fit_structure([s for n, s in enumerate(scenes) if n % 4], way)
        loose = []
        for scene in scenes:
            table = structure_cues(scene.window, scene.regions, said(scene, way), STRUCTURE)
            keep = table @ structure + structure_bias <= 0
            loose.append((scene, without(graph_of(scene, way), ~keep), keep))
        fitted = [each for number, each in enumerate(loose) if number % 4]
        others = loose[::4]
        merging, merging_bias = fit_merging(fitted)
        by_bias = {shift: round(ap50(others, merging, merging_bias + shift), 3) for shift in BIASES}
        best = max(by_bias, key=by_bias.__getitem__)
        console.print(
            f"{way}: AP50 on the other flats by bias {by_bias}, "
            f"on those fitted {ap50(fitted, merging, merging_bias + best):.3f}"
        )
        measures[way] = {
            "structure": [round(float(value), 2) for value in structure],
            "structure_bias": round(structure_bias, 2),
            "merging": [round(float(value), 2) for value in merging],
            "merging_bias": round(merging_bias + best, 2),
        }
    path = Path(__file__).parents[1] / "ws3d_ros/instances/data/measures.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(measures, indent=1) + "\n")
    console.print(f"written: {path}")


if __name__ == "__main__":
    main()
