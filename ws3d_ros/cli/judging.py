"""A posed sequence with ground truth through the pipeline, and the map that comes out beside the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from ws3d_ros.config import Config
from ws3d_ros.evaluation.average_precision import (
    AveragePrecision,
    LabelledObjects,
    average_precision,
    class_agnostic,
)
from ws3d_ros.evaluation.classes import STUFF
from ws3d_ros.evaluation.ground_truth import VoxelVotes, look_up
from ws3d_ros.evaluation.metrics import Scores, calibration_error, confusion_matrix, scores
from ws3d_ros.language.encoder import Encoder
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.network.namer import Namer
from ws3d_ros.pipeline import Pipeline
from ws3d_ros.reconstruction.voxel_map import unpack_keys
from ws3d_ros.training.datasets.posed_folder import PosedFolder

console = Console()


@dataclass(frozen=True)
class Run:
    """A map, and the votes for which class and which instance its voxels truly are."""

    pipeline: Pipeline
    classes: VoxelVotes
    instances: VoxelVotes


@dataclass(frozen=True)
class JudgedMap:
    """What the map says of each voxel with a true class, and what is true.

    Attributes:
        points_m: (N, 3) float32 centres.
        truth, label: (N,) int64 classes 1..C, and labels 0..C.
        confidence: (N,) float32, 0 where there is no label.
        objects: true and found instances of the voxels with a true instance.
    """

    pipeline: Pipeline
    points_m: Tensor
    truth: Tensor
    label: Tensor
    confidence: Tensor
    objects: tuple[LabelledObjects, LabelledObjects]


def map_sequence(
    folder: PosedFolder, config: Config, encoder: Encoder | None, every: int, namer: Namer | None = None
) -> Run:
    """The map that the pipeline makes of a sequence, and the votes for what is truly there."""
    pipeline = Pipeline(config, encoder, Vocabulary.of(folder.classes), torch.device("cpu"), namer)
    limits = (config.map.voxel_size_m, config.inputs.min_depth_m, config.inputs.max_depth_m)
    run = Run(pipeline, VoxelVotes(*limits), VoxelVotes(*limits))
    count = len(range(0, len(folder), every))
    for item in track(folder.frames(every), "mapping", total=count, console=console):
        pipeline.integrate(item.frame)
        if pipeline.is_keyframe(item.frame):
            pipeline.apply(pipeline.understand(item.frame, pipeline.snapshot(item.frame)))
        run.classes.add(item.frame, folder.class_of_instance[item.instance.long()])
        run.instances.add(item.frame, item.instance)
    return run


def judge(run: Run, folder: PosedFolder) -> JudgedMap:
    """The map beside the truth. What the map lacks has no label and no instance."""
    mapped = run.pipeline.map.everything()

    def said(keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        label, instance = (
            look_up(mapped.keys, keys, what, 0).long() for what in (mapped.label, mapped.instance)
        )
        return label, instance, look_up(mapped.keys, keys, mapped.confidence.float(), 0.0)

    keys, truth = run.classes.majority()
    label, _, confidence = said(keys)
    places, instance = run.instances.majority()
    label_there, found, confidence_there = said(places)
    objects = (
        LabelledObjects(instance, folder.class_of_instance[instance]),
        LabelledObjects(found, label_there, confidence_there),
    )
    points = (unpack_keys(keys).float() + 0.5) * mapped.voxel_size_m
    return JudgedMap(run.pipeline, points, truth, label, confidence, objects)


def score_labels(judged: JudgedMap) -> tuple[Scores, dict[str, Any]]:
    """Scores of the map's labels, and what else is worth knowing about the run."""
    pipeline, named = judged.pipeline, judged.label > 0
    return scores(confusion_matrix(judged.truth, judged.label, len(pipeline.vocabulary))), {
        "ece": calibration_error(judged.confidence[named], (judged.label == judged.truth)[named]),
        "voxels": len(judged.truth),
        "unlabelled": int((~named).sum()),
        "map_voxels": len(pipeline.map),
        "map_bytes": pipeline.map.bytes,
        "stages_ms": pipeline.stopwatch.summary_ms(),
    }


def score_objects(judged: JudgedMap, min_voxels: int) -> tuple[AveragePrecision, AveragePrecision]:
    """Average precision of the map's instances, class by class and whatever the class."""
    names = judged.pipeline.vocabulary.names
    stuff = [number for number, name in enumerate(names, start=1) if name in STUFF]
    truth, found = judged.objects
    alike = (class_agnostic(truth, stuff), class_agnostic(found, stuff))
    return (
        average_precision([judged.objects], len(names), stuff, min_voxels),
        average_precision([alike], 1, min_points=min_voxels),
    )
