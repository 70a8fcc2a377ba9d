"""`ws3d evaluate`: a posed sequence with ground truth through the pipeline, and how right it was."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.progress import track

from ws3d_ros.config import Config, from_mapping
from ws3d_ros.evaluation.ground_truth import VoxelVotes, look_up
from ws3d_ros.evaluation.metrics import Scores, calibration_error, confusion_matrix, scores
from ws3d_ros.evaluation.report import as_mapping, score_table
from ws3d_ros.language.choose import choose_encoder
from ws3d_ros.language.encoder import Encoder, EncoderError
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.pipeline import Pipeline
from ws3d_ros.stopwatch import peak_memory_bytes
from ws3d_ros.training.datasets.posed_folder import PosedFolder

console = Console()


def evaluate(
    sequence: Annotated[Path, typer.Option(help="Folder with rgb/, depth/, inst/ and meta.json.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures here, too.")] = None,
    encoder: Annotated[str, typer.Option(help="auto, concept or open_clip:MODEL/PRETRAINED.")] = "auto",
    every: Annotated[int, typer.Option(help="Use every so many frames.", min=1)] = 4,
    voxel_size_m: Annotated[float, typer.Option("--voxel-size", help="Edge of a voxel, metres.")] = 0.05,
    max_depth_m: Annotated[
        float, typer.Option("--max-depth", help="Farther depth is ignored, metres.")
    ] = 6.0,
    sweeps: Annotated[int | None, typer.Option(help="Smoothing sweeps; default as in the node.")] = None,
    channels: Annotated[int | None, typer.Option(help="Feature channels; default as in the node.")] = None,
) -> None:
    """Maps a sequence, names its voxels with its own class names and scores them.

    The truth of a voxel is the majority of the labelled pixels that fall into it. Voxels of the
    truth that have no label, or that the map lacks, count as wrong. The vocabulary has no
    background words; labels below semantics.unknown_below are unknown, which is wrong, too.
    Voxels seen only once or from afar count like all others (map.min_weight is 0).
    """
    settings: dict[str, Any] = {
        "map.voxel_size_m": voxel_size_m,
        "map.window_radius_m": 500.0,
        "map.min_weight": 0.0,
        "inputs.max_depth_m": max_depth_m,
        "semantics.encoder": encoder,
    }
    settings |= {} if sweeps is None else {"semantics.smoothing_sweeps": sweeps}
    settings |= {} if channels is None else {"semantics.feature_channels": channels}
    try:
        folder = PosedFolder(sequence)
        config = from_mapping(settings)
        choice = choose_encoder(config.semantics.encoder, config.semantics.weights_dir)
    except (OSError, ValueError, EncoderError) as error:
        console.print(f"[red]{error}")
        raise typer.Exit(2) from error
    console.print(f"encoder: {choice.why}")
    if choice.encoder is None:
        raise typer.Exit(2)
    begun = time.monotonic()
    result, extra = score_map(*map_sequence(folder, config, choice.encoder, every))
    report = as_mapping(result, folder.classes) | extra
    report |= {
        "sequence": str(sequence),
        "every": every,
        "settings": settings,
        "encoder": choice.encoder.name,
    }
    report |= {"wall_s": round(time.monotonic() - begun, 1), "peak_memory_bytes": peak_memory_bytes()}
    console.print(score_table(result, folder.classes))
    console.print(
        f"{extra['voxels']} voxels with a true class, {extra['unlabelled']} of them without a label (wrong); "
        f"ECE {extra['ece']:.3f}; {report['wall_s']} s"
    )
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(report, indent=2) + "\n")
        console.print(f"figures in {json_file}")


def map_sequence(
    folder: PosedFolder, config: Config, encoder: Encoder, every: int
) -> tuple[Pipeline, VoxelVotes]:
    """The map that the pipeline makes of a sequence, and the votes for what is truly there."""
    pipeline = Pipeline(config, encoder, Vocabulary.of(folder.classes), torch.device("cpu"))
    votes = VoxelVotes(config.map.voxel_size_m, config.inputs.min_depth_m, config.inputs.max_depth_m)
    count = len(range(0, len(folder), every))
    for item in track(folder.frames(every), "mapping", total=count, console=console):
        pipeline.integrate(item.frame)
        if pipeline.is_keyframe(item.frame):
            pipeline.apply(pipeline.understand(item.frame, pipeline.snapshot(item.frame)))
        votes.add(item.frame, folder.class_of_instance[item.instance.long()])
    return pipeline, votes


def score_map(pipeline: Pipeline, votes: VoxelVotes) -> tuple[Scores, dict[str, Any]]:
    """Scores of the map's labels, and what else is worth knowing about the run."""
    keys, truth = votes.majority()
    mapped = pipeline.map.everything()
    label = look_up(mapped.keys, keys, mapped.label, absent=0)
    confidence = look_up(mapped.keys, keys, mapped.confidence.float(), absent=0.0)
    named = label > 0
    return scores(confusion_matrix(truth, label, len(pipeline.vocabulary))), {
        "ece": calibration_error(confidence[named], (label == truth)[named]),
        "voxels": len(keys),
        "unlabelled": int((~named).sum()),
        "map_voxels": len(mapped),
        "map_bytes": pipeline.map.bytes,
        "stages_ms": pipeline.stopwatch.summary_ms(),
    }
