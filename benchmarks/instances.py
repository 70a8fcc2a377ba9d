"""Things and boxes out of maps of held-out procedural flats, and how long it takes.

    python benchmarks/instances.py [STUDENT.safetensors] [FOLDER_OF_SCENES]

Names, boundaries and offsets are true ones, or those of a student, and the old way, connected voxels of one
name, is beside it. Scenes are those from seed 1000000 on that the folder (runs/scenes) holds; none of them
was used to fit the weights in instances/segmentation.py. Things below 20 voxels do not count. What
`ws3d evaluate` says of small_house goes into the same file where its JSON files are given:
WS3D_EVALUATED="a.json b.json".
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import save
from connected import components
from torch import Tensor
from torch.nn.functional import normalize, pad

from ws3d_ros.alignment.neighbours import neighbour_table
from ws3d_ros.evaluation.average_precision import (
    LabelledObjects,
    average_precision,
    class_agnostic,
    partition,
)
from ws3d_ros.evaluation.boxes import Boxes, detection_precision, of_one_class
from ws3d_ros.instances.boxes import boxes, vote
from ws3d_ros.instances.instance import Instance
from ws3d_ros.instances.segmentation import segment, structure_labels, superpoints
from ws3d_ros.language.text import choose_text_encoder
from ws3d_ros.network.backends.choose import choose_backend
from ws3d_ros.network.checkpoint import load
from ws3d_ros.network.inference import Reader
from ws3d_ros.reconstruction.keys import pack_keys, unpack_keys
from ws3d_ros.reconstruction.window import Window
from ws3d_ros.training.batch import boundaries, offsets
from ws3d_ros.training.scenes.names import NAMES
from ws3d_ros.training.scenes.store import load_example

SMALLEST = 20
FIRST_SEED = 1_000_000
STRUCTURE = structure_labels(NAMES)
Told = tuple[Tensor, Tensor, Tensor | None, Tensor | None]  # label, confidence, boundary, offset_m


def scene(path: Path) -> tuple[Window, Tensor, Tensor]:
    """A map, and the true name (1..) and thing (1..) of each voxel, 0 where nobody knows."""
    example = load_example(path)
    keys, order = pack_keys(torch.from_numpy(example.coords).long()).sort()
    rows, n = order.numpy(), len(order)
    color = np.full((n, 3), np.nan) if example.color is None else example.color[rows]
    nothing = torch.zeros(n)
    window = Window(
        voxel_size_m=0.05,
        stamp_ns=0,
        keys=keys,
        points_m=torch.from_numpy(example.points_m[rows]),
        color=torch.from_numpy(color).float(),
        normal=torch.from_numpy(example.normal[rows]),
        weight=torch.ones(n),
        feature=torch.zeros(n, 0, dtype=torch.float16),
        feature_weight=nothing,
        label=nothing.short(),
        confidence=nothing.half(),
        instance=nothing.int(),
    )
    return window, torch.from_numpy(example.name[rows]) + 1, torch.from_numpy(example.instance[rows]) + 1


class Student:
    """What a network says of a map."""

    def __init__(self, path: Path) -> None:
        student = load(path)
        weights = Path(__file__).resolve().parents[2] / "shared/weights"
        texts = choose_text_encoder(student.spec.space, None, str(weights), torch.device("cpu"))
        self._heads = student.heads
        self._words = student.heads.centred(texts.encode_text(list(NAMES)))
        self._reader = Reader(student, choose_backend(), torch.device("cpu"))

    def says(self, window: Window) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        reading = self._reader.read(unpack_keys(window.keys), window.color, window.normal)
        assert reading.boundary is not None
        assert reading.offset_m is not None
        logits = self._heads.logit_scale * normalize(reading.embedding, dim=1) @ self._words.T
        confidence, label = logits.softmax(1).max(1)
        return (label + 1).short(), confidence, reading.boundary[:, 1].sigmoid(), reading.offset_m


def told(window: Window, name: Tensor, thing: Tensor, student: Student | None) -> dict[str, Told]:
    """What may be known of a map, from all to nothing."""
    coords = pad(unpack_keys(window.keys), (1, 0))
    edge = boundaries(coords, name - 1, thing - 1)[:, 1].nan_to_num(0.5)
    middle = offsets(coords, thing - 1, window.voxel_size_m).nan_to_num(0.0)
    true, sure = name.short(), torch.ones(len(name))
    ways: dict[str, Told] = {
        "true names, boundaries, offsets": (true, sure, edge, middle),
        "true names": (true, sure, None, None),
        "nothing": (torch.zeros_like(true), torch.zeros_like(sure), None, None),
    }
    if student is not None:
        label, confidence, boundary, offset_m = student.says(window)
        ways["student: names, boundaries, offsets"] = (label, confidence, boundary, offset_m)
        ways["student: names"] = (label, confidence, None, None)
    return ways


def said(label: Tensor, confidence: Tensor, region: Tensor, count: int) -> Tensor:
    """(R, C) sums over the voxels of each region of the confidence in each name."""
    voxels = torch.zeros(len(label), len(NAMES) + 1)
    voxels[torch.arange(len(label)), label.long()] = confidence.float()
    return torch.zeros(count, len(NAMES) + 1).index_add(0, region, voxels)[:, 1:]


def connected(window: Window, label: Tensor) -> Tensor:
    """Connected voxels of one name, walls and floors left out."""
    table = neighbour_table(window.keys).numpy()
    found = torch.from_numpy(components(label.numpy(), table, SMALLEST))
    return torch.where(torch.isin(label, STRUCTURE), 0, found).int()


def as_boxes(things: list[Instance]) -> Boxes:
    things = [thing for thing in things if thing.label and thing.voxels >= SMALLEST]
    return Boxes(
        np.array([thing.box_center_m for thing in things]).reshape(-1, 3),
        np.array([thing.box_size_m for thing in things]).reshape(-1, 3),
        np.array([thing.box_yaw_rad for thing in things]),
        np.array([thing.label for thing in things], np.int64),
        np.array([thing.confidence for thing in things]),
    )


class Judge:
    """Scenes of one way, and what comes of them."""

    def __init__(self) -> None:
        self._pairs: list[tuple[LabelledObjects, LabelledObjects]] = []
        self._boxes: list[tuple[Boxes, Boxes]] = []

    def add(
        self, window: Window, name: Tensor, thing: Tensor, label: Tensor, confidence: Tensor, found: Tensor
    ) -> None:
        class_of, score = vote(label, confidence, found, STRUCTURE)
        known = thing > 0
        here = found.long() * known
        self._pairs.append(
            (LabelledObjects(thing, name), LabelledObjects(here, class_of[here], score[found.long()]))
        )
        true = boxes(window, name.short(), torch.ones(len(name)), thing.int(), STRUCTURE)
        self._boxes.append((as_boxes(true), as_boxes(boxes(window, label, confidence, found, STRUCTURE))))

    def figures(self) -> dict[str, Any]:
        alike = [
            (
                class_agnostic(truth, STRUCTURE.tolist()),
                LabelledObjects(found.instance, (found.instance > 0).long(), found.confidence),
            )
            for truth, found in self._pairs
        ]
        agnostic = average_precision(alike, 1, min_points=SMALLEST)
        named = average_precision(self._pairs, len(NAMES), STRUCTURE.tolist(), SMALLEST)
        mean = np.nanmean(detection_precision(self._boxes, len(NAMES)), axis=0)
        nameless = [(of_one_class(true), of_one_class(found)) for true, found in self._boxes]
        any_class = detection_precision(nameless, 1)[0]
        figures = {
            "class_agnostic": {
                "ap": agnostic.ap,
                "ap50": agnostic.ap50,
                "ap25": agnostic.ap25,
                **asdict(partition(alike, SMALLEST)),
            },
            "ap": named.ap,
            "ap50": named.ap50,
            "ap25": named.ap25,
            "box_map25": float(mean[0]),
            "box_map50": float(mean[1]),
            "box_ap25": float(any_class[0]),
            "box_ap50": float(any_class[1]),
            "objects": int(agnostic.count.sum()),
        }
        return json.loads(json.dumps(figures), parse_float=lambda text: round(float(text), 4))


def main() -> None:
    student_path = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("runs/scenes")
    paths = [
        path for path in sorted(folder.glob("scene*.npz")) if int(path.name[5:].split("-")[0]) >= FIRST_SEED
    ]
    student = Student(student_path) if student_path else None
    judges: dict[str, Judge] = {}
    per_100k, cutting = [], []
    for path in paths:
        window, name, thing = scene(path)
        for way, (label, confidence, boundary, offset_m) in told(window, name, thing, student).items():
            begun = time.perf_counter()
            regions = superpoints(window, None if offset_m is None else boundary)
            words = said(label, confidence, regions.of_voxel, regions.count)
            found = segment(window, regions, words, STRUCTURE, boundary, offset_m, SMALLEST)
            if len(window) > 40_000:
                per_100k.append((time.perf_counter() - begun) * 1e8 / len(window))
            judges.setdefault(way, Judge()).add(window, name, thing, label, confidence, found)
            if boundary is None and way != "nothing":
                old = judges.setdefault(f"{way}, connected voxels", Judge())
                old.add(window, name, thing, label, confidence, connected(window, label))
        if len(window) > 40_000:
            begun = time.perf_counter()
            superpoints(window)
            cutting.append((time.perf_counter() - begun) * 1e8 / len(window))
    result: dict[str, Any] = {
        "student": student_path.name if student_path else "",
        "scenes": len(paths),
        "held_out": {way: judge.figures() for way, judge in judges.items()},
        "ms_per_100k_voxels": {
            "all": round(float(np.median(per_100k)), 1),
            "of which superpoints": round(float(np.median(cutting)), 1),
        },
    }
    for file in os.environ.get("WS3D_EVALUATED", "").split():
        report = json.loads(Path(file).read_text())
        result.setdefault("small_house", {})[report["network"] or report["encoder"]] = report["instances"]
    print(json.dumps({key: result[key] for key in ("held_out", "ms_per_100k_voxels")}, indent=1))
    print(save("instances", result))


if __name__ == "__main__":
    main()
