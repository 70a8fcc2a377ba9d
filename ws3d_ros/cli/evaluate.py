"""`ws3d evaluate`: a posed sequence, or a cloud, with ground truth, and how right its names were."""

from __future__ import annotations

import difflib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ws3d_ros.cli.judging import judge, map_sequence, score_labels, score_objects, score_partition
from ws3d_ros.cli.judging_cloud import judge_cloud, read_names, score_cloud
from ws3d_ros.config import from_mapping
from ws3d_ros.evaluation.metrics import Scores, base_and_novel
from ws3d_ros.evaluation.pictures import Judged, draw_worst
from ws3d_ros.evaluation.report import as_mapping, objects_as_mapping, objects_table, score_table
from ws3d_ros.language.choose import choose_encoder
from ws3d_ros.language.encoder import EncoderError
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.memory import peak_memory_bytes
from ws3d_ros.network.choose import NetworkError, choose_network
from ws3d_ros.rendering.views import save_png
from ws3d_ros.training.datasets.posed_folder import PosedFolder

console = Console()


def evaluate(
    sequence: Annotated[
        Path | None, typer.Option(help="Folder with rgb/, depth/, inst/ and meta.json.")
    ] = None,
    cloud: Annotated[
        Path | None, typer.Option(help="Instead of a sequence: .ply, .pcd, .npz, .las or .laz.")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="Of the cloud: .npy, a number of a name (from 0) a point, -1 for none."),
    ] = None,
    names: Annotated[Path | None, typer.Option(help="Of the labels: one a line, or a YAML list.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures here, too.")] = None,
    encoder: Annotated[str, typer.Option(help="auto, none, concept or open_clip:MODEL/PRETRAINED.")] = "auto",
    checkpoint: Annotated[
        str, typer.Option(help="A 3D network's weights (.safetensors), auto or none.")
    ] = "auto",
    image_features: Annotated[bool, typer.Option(help="Names from images; --encoder says by which.")] = True,
    student: Annotated[bool, typer.Option(help="Names from shapes, by the 3D network.")] = True,
    every: Annotated[int, typer.Option(help="Use every so many frames.", min=1)] = 4,
    voxel_size_m: Annotated[float, typer.Option("--voxel-size", help="Edge of a voxel, metres.")] = 0.05,
    max_depth_m: Annotated[
        float, typer.Option("--max-depth", help="Farther depth is ignored, metres.")
    ] = 6.0,
    virtual_views: Annotated[
        bool | None, typer.Option(help="Encode pictures of the map, too; default as in the node.")
    ] = None,
    adaptation: Annotated[
        bool | None, typer.Option(help="Teach the 3D network on the way; default as in the node.")
    ] = None,
    region_share: Annotated[
        float | None,
        typer.Option(help="How much voxels follow their surface, 0..1; default as in the node."),
    ] = None,
    channels: Annotated[int | None, typer.Option(help="Feature channels; default as in the node.")] = None,
    novel: Annotated[
        str | None,
        typer.Option(help='Classes without labels in training, "a, b, c": adds their harmonic IoU.'),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Draw the map as predicted, as it is, and what is wrong, as a PNG.")
    ] = None,
) -> None:
    """Maps a sequence, names its voxels with its own class names and scores them.

    The truth of a voxel is the majority of the labelled pixels that fall into it. Voxels of the
    truth that have no label, or that the map lacks, count as wrong. The vocabulary has no
    background words; labels below semantics.unknown_below are unknown, which is wrong, too.
    Voxels seen only once or from afar count like all others (map.min_weight is 0). Objects are
    scored as in ScanNet's benchmark, but over voxels, with output.min_instance_voxels as the least
    size; walls and floors are none. They are cut anew out of the finished map, as instances.segment does.

    With --cloud, the 3D network alone names the points of a cloud, as `ws3d label` does, and the points
    with a label are scored; --encoder, --every, --voxel-size, --max-depth and --channels do not matter.

    Examples:

      ws3d evaluate --sequence small_house --json figures.json --picture worst.png

      ws3d evaluate --cloud room.ply --labels room.npy --names classes.txt --checkpoint student.safetensors
    """
    settings: dict[str, Any] = {"network.checkpoint": checkpoint if student else "none"}
    settings |= {} if region_share is None else {"semantics.region_share": region_share}
    settings |= {} if virtual_views is None else {"semantics.virtual_views": virtual_views}
    settings |= {} if adaptation is None else {"adaptation.enabled": adaptation}
    settings |= {} if channels is None else {"semantics.feature_channels": channels}
    if sequence is not None and cloud is None and labels is None and names is None:
        settings |= {
            "map.voxel_size_m": voxel_size_m,
            "map.window_radius_m": 500.0,
            "map.min_weight": 0.0,
            "inputs.max_depth_m": max_depth_m,
            "semantics.encoder": encoder if image_features else "none",
        }
        evaluated = evaluate_sequence(sequence, settings, every, novel)
    elif sequence is None and cloud is not None and labels is not None and names is not None:
        evaluated = evaluate_cloud(cloud, labels, names, settings, novel)
    else:
        console.print("[red]give either --sequence, or --cloud with --labels and --names")
        raise typer.Exit(2)
    report = evaluated.report | {"settings": settings, "peak_memory_bytes": peak_memory_bytes()}
    show(report, evaluated.unit, *evaluated.tables)
    if picture is not None:
        picture.parent.mkdir(parents=True, exist_ok=True)
        image = draw_worst([evaluated.scene], evaluated.vocabulary, evaluated.voxel_size_m)
        save_png(picture, image)
        console.print(f"picture in {picture}")
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(report, indent=2) + "\n")
        console.print(f"figures in {json_file}")


@dataclass(frozen=True)
class Evaluated:
    """Figures, tables and what a picture needs; ``unit`` is what was counted."""

    report: dict[str, Any]
    tables: list[Table]
    unit: str
    scene: Judged
    vocabulary: Vocabulary
    voxel_size_m: float


def evaluate_sequence(sequence: Path, settings: dict[str, Any], every: int, novel: str | None) -> Evaluated:
    """A sequence through the whole pipeline."""
    try:
        folder = PosedFolder(sequence)
        unseen = numbers_of(novel, folder.classes) if novel else []
        config = from_mapping(settings)
        weights, device = config.semantics.weights_dir, torch.device("cpu")
        choice = choose_encoder(config.semantics.encoder, weights)
        network = choose_network(config.network, choice.encoder, weights, device)
    except (OSError, ValueError, EncoderError, NetworkError) as error:
        console.print(f"[red]{error}")
        raise typer.Exit(2) from error
    console.print(f"encoder: {choice.why}")
    console.print(f"network: {network.why}")
    if choice.encoder is None and network.namer is None:
        raise typer.Exit(2)
    begun = time.monotonic()
    judged = judge(map_sequence(folder, config, choice.encoder, every, network.namer), folder)
    result, extra = score_labels(judged)
    smallest = config.output.min_instance_voxels
    objects, agnostic = score_objects(judged, smallest)
    report = as_mapping(result, folder.classes) | extra | split_of(result, unseen, novel)
    report["instances"] = objects_as_mapping(objects, agnostic, folder.classes)
    report["instances"]["class_agnostic"] |= asdict(score_partition(judged, smallest))
    report |= {
        "sequence": str(sequence),
        "every": every,
        "encoder": choice.encoder.name if choice.encoder is not None else "",
        "network": network.namer.name if network.namer is not None else "",
        "wall_s": round(time.monotonic() - begun, 1),
    }
    tables = [score_table(result, folder.classes), objects_table(objects, agnostic, folder.classes)]
    scene = Judged(sequence.name, judged.points_m, judged.label, judged.truth)
    voxel_size_m = config.map.voxel_size_m
    return Evaluated(report, tables, "voxels", scene, judged.pipeline.vocabulary, voxel_size_m)


def evaluate_cloud(
    cloud: Path, labels: Path, names: Path, settings: dict[str, Any], novel: str | None
) -> Evaluated:
    """A cloud through the 3D network alone."""
    try:
        unseen = numbers_of(novel, read_names(names)) if novel else []
        judged = judge_cloud(cloud, labels, names, from_mapping(settings))
    except (OSError, ValueError, NetworkError) as error:
        console.print(f"[red]{escape(str(error))}", soft_wrap=True)
        raise typer.Exit(2) from error
    result, extra = score_cloud(judged)
    classes = judged.vocabulary.names
    report = as_mapping(result, classes, "points") | extra | split_of(result, unseen, novel)
    report |= {"cloud": str(cloud), "labels": str(labels), "network": judged.network}
    report["wall_s"] = round(judged.labelled.wall_s, 1)
    tables = [score_table(result, classes, "points")]
    return Evaluated(
        report, tables, "points", judged.scene(cloud.stem), judged.vocabulary, judged.voxel_size_m
    )


def split_of(result: Scores, unseen: list[int], novel: str | None) -> dict[str, Any]:
    """The figures of base and novel classes, if there are any."""
    if not unseen:
        return {}
    try:
        return {"base_and_novel": asdict(base_and_novel(result, unseen)) | {"novel": novel}}
    except ValueError as error:
        console.print(f"[yellow]{error}")  # the other figures took minutes, and are worth having
        return {}


def numbers_of(names: str, classes: Sequence[str]) -> list[int]:
    """Numbers 1.. of some classes, given as words with commas.

    Raises:
        ValueError: when one of them is no class; the message names the nearest one.
    """
    numbers = []
    for name in (" ".join(part.split()) for part in names.split(",")):
        if name not in classes:
            near = difflib.get_close_matches(name, classes, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else f"; classes are {', '.join(classes)}"
            raise ValueError(f"'{name}' is no class of this ground truth{hint}")
        numbers.append(classes.index(name) + 1)
    return numbers


def show(report: dict[str, Any], unit: str, *tables: Table) -> None:
    """The figures for people."""
    for table in tables:
        console.print(table)
    if "base_and_novel" in report:
        split = report["base_and_novel"]
        base, unseen = split["base_miou"], split["novel_miou"]
        console.print(f"hIoU {split['hiou']:.3f}: base classes {base:.3f}, novel classes {unseen:.3f}")
    console.print(
        f"{report[unit]} {unit} with a true class, {report['unlabelled']} of them without a label "
        f"(wrong); ECE {report['ece']:.3f}; {report['wall_s']} s"
    )
