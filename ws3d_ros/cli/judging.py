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
    Partition,
    average_precision,
    class_agnostic,
    partition,
)
from ws3d_ros.evaluation.classes import STUFF
from ws3d_ros.evaluation.ground_truth import VoxelVotes, look_up
from ws3d_ros.evaluation.metrics import Scores, calibration_error, confusion_matrix, scores
from ws3d_ros.instances.boxes import vote
from ws3d_ros.instances.segmentation import segment, structure_labels, superpoints
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

    config: Config
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
        objects: true and found instances of the voxels with a true instance. Of the found ones, all voxels
            have the thing's label and score.
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
    """The map that the pipeline makes of a sequence, and the votes for what is truly there.

    At the end all is read and named once more, as `ws3d map` does.
    """
    pipeline = Pipeline(config, encoder, Vocabulary.of(folder.classes), torch.device("cpu"), namer)
    limits = (config.map.voxel_size_m, config.inputs.min_depth_m, config.inputs.max_depth_m)
    run = Run(config, pipeline, VoxelVotes(*limits), VoxelVotes(*limits))
    count = len(range(0, len(folder), every))
    for item in track(folder.frames(every), "mapping", total=count, console=console):
        pipeline.take(item.frame)
        run.classes.add(item.frame, folder.class_of_instance[item.instance.long()])
        run.instances.add(item.frame, item.instance)
    pipeline.finish()
    return run


def judge(run: Run, folder: PosedFolder) -> JudgedMap:
    """The map beside the truth. What the map lacks has no label and no instance."""
    mapped = run.pipeline.map.everything()

    keys, truth = run.classes.majority()
    label = look_up(mapped.keys, keys, mapped.label, 0).long()
    confidence = look_up(mapped.keys, keys, mapped.confidence.float(), 0.0)
    places, instance = run.instances.majority()
    structure = structure_labels(folder.classes)
    smallest = run.config.output.min_instance_voxels
    regions = superpoints(mapped)
    said = run.pipeline.said_of(mapped, regions)
    things = segment(mapped, regions, said, structure, min_voxels=smallest)
    named, score = vote(mapped.label, mapped.confidence, things, structure)
    found = look_up(mapped.keys, places, things, 0).long()
    objects = (
        LabelledObjects(instance, folder.class_of_instance[instance]),
        LabelledObjects(found, named[found], score[found]),
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
    names, stuff = judged.pipeline.vocabulary.names, stuff_of(judged)
    return (
        average_precision([judged.objects], len(names), stuff, min_voxels),
        average_precision([without_classes(judged)], 1, min_points=min_voxels),
    )


def score_partition(judged: JudgedMap, min_voxels: int) -> Partition:
    """How many objects are split, and how many found ones join several, whatever the class."""
    return partition([without_classes(judged)], min_voxels)


def without_classes(judged: JudgedMap) -> tuple[LabelledObjects, LabelledObjects]:
    """True and found objects as one class, nameless ones too; true walls and floors are left out."""
    truth, found = judged.objects
    nameless = LabelledObjects(found.instance, (found.instance > 0).long(), found.confidence)
    return class_agnostic(truth, stuff_of(judged)), nameless


def stuff_of(judged: JudgedMap) -> list[int]:
    """Numbers of the classes that are no objects."""
    return [number for number, name in enumerate(judged.pipeline.vocabulary.names, start=1) if name in STUFF]
