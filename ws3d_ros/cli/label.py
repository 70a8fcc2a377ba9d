"""`ws3d label`: names for the points of any cloud, by the 3D network alone."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ws3d_ros.clouds import name_cloud
from ws3d_ros.config import Config, ConfigError, from_mapping
from ws3d_ros.language.encoder import EncoderError
from ws3d_ros.language.vocabulary import Vocabulary, VocabularyError
from ws3d_ros.network.choose import NetworkError, choose_network
from ws3d_ros.network.inference import NotFiniteError
from ws3d_ros.network.namer import Namer
from ws3d_ros.sensors.cloud_file import Cloud, CloudFileError, read_cloud, write_labelled_ply

console = Console()


@dataclass(frozen=True)
class Labelled:
    """What is known of all N points of a cloud.

    Attributes:
        label: (N,) int64, 0 unknown, ``i`` is ``vocabulary.names[i - 1]``.
        confidence: (N,) float32, 0 for unknown.
        voxels: that the network read.
        wall_s: seconds that it took.
    """

    label: np.ndarray
    confidence: np.ndarray
    voxels: int
    wall_s: float


def label(
    cloud_file: Annotated[Path, typer.Argument(metavar="CLOUD", help=".ply, .pcd, .npz, .las or .laz")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The labelled cloud, .ply.")],
    vocabulary: Annotated[
        str, typer.Option("--vocabulary", "-v", help='A shipped name, a YAML file, or words: "a, b, c".')
    ] = "indoor",
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write names, colours and counts here, too.")
    ] = None,
    checkpoint: Annotated[
        str, typer.Option(help="The 3D network's weights (.safetensors), or auto: those that ship.")
    ] = "auto",
    region_share: Annotated[
        float | None,
        typer.Option(help="How much voxels follow their surface, 0..1; default as in the node."),
    ] = None,
) -> None:
    """Names every point of a cloud, by shape and, where there is one, by colour.

    Coordinates are metres, z is up; neither ROS, images nor poses are needed. Where the cloud has no
    normals, they are estimated. OUT has the points of CLOUD in their order: x y z, red green blue of the
    name, label (0 unknown, i the i-th name), confidence. Its header lists the names. Points that are NaN
    stay, as unknown. PCD, LAS and LAZ need pip install 'ws3d_ros\\[clouds]'.

    Examples:

      ws3d label scan.ply -o named.ply

      ws3d label office.laz -o named.ply -v "desk, chair, floor, wall, potted plant" --json named.json
    """
    try:
        if out.suffix.lower() != ".ply":
            raise CloudFileError(f"{out}: the output is a .ply")
        for path in (out, json_file or out):  # now, not after the work
            path.parent.mkdir(parents=True, exist_ok=True)
        words = Vocabulary.load(vocabulary)
        config = config_of(checkpoint, region_share)
        with console.status(f"reading {cloud_file}"):
            cloud = read_cloud(cloud_file)
        namer, device = load_namer(config)
        labelled = label_cloud(cloud, namer, words, config, device)
        report = summary(cloud, labelled, words) | {
            "cloud": str(cloud_file),
            "vocabulary": vocabulary,
            "network": namer.name,
            "voxel_size_m": namer.voxel_size_m,
            "region_share": config.semantics.region_share,
        }
        palette = np.vstack([[words.unknown_color], words.colors]).astype(np.uint8)
        names = [f"label {i} {name}" for i, name in enumerate(("unknown", *words.names))]
        color = palette[labelled.label]
        write_labelled_ply(out, cloud, color, labelled.label, labelled.confidence, names)
        if json_file is not None:
            json_file.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    except (CloudFileError, VocabularyError, ConfigError, NetworkError, OSError) as error:
        console.print(f"[red]{escape(str(error))}", soft_wrap=True)
        raise typer.Exit(2) from error
    console.print(table_of(report))
    console.print(f"labelled cloud in {out}")


def config_of(checkpoint: str, region_share: float | None) -> Config:
    """The node's settings but for these.

    Raises:
        ConfigError: for a share out of range.
    """
    settings: dict[str, Any] = {"network.checkpoint": checkpoint}
    return from_mapping(settings | ({} if region_share is None else {"semantics.region_share": region_share}))


def load_namer(config: Config) -> tuple[Namer, torch.device]:
    """The network and where it runs: on the GPU if there is one.

    Raises:
        NetworkError: if there is none.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        with console.status("loading the 3D network"):
            choice = choose_network(config.network, None, config.semantics.weights_dir, device)
    except EncoderError as error:
        raise NetworkError(f"the network's words cannot be had: {error}") from error
    except NetworkError as error:
        raise NetworkError(str(error.__cause__ or error)) from error  # without what it means for images
    if choice.namer is None:
        raise NetworkError(
            "a cloud is named by the 3D network alone, and there is none: give one with "
            "--checkpoint student.safetensors, or train one: ws3d pretrain --out runs/student"
        )
    console.print(f"network: {choice.why}")
    return choice.namer, device


def label_cloud(
    cloud: Cloud, namer: Namer, vocabulary: Vocabulary, config: Config, device: torch.device
) -> Labelled:
    """Names for all points; those that are not finite are unknown.

    Raises:
        CloudFileError: for points too far from each other.
        NetworkError: if the network fails.
    """
    finite = cloud.finite
    if lost := int((~finite).sum()):
        console.print(f"[yellow]{lost} of {len(cloud)} points are NaN or infinite: unknown")

    def there(values: np.ndarray | None) -> torch.Tensor | None:
        return None if values is None else torch.from_numpy(values[finite]).to(device)

    points = there(cloud.local_m)
    assert points is not None
    begun = time.monotonic()
    try:
        with console.status(f"naming {len(points)} points"):
            settings = config.semantics
            named = name_cloud(
                namer,
                vocabulary,
                points,
                there(cloud.color),
                there(cloud.normal),
                settings.region_share,
                settings.unknown_below,
            )
    except NotFiniteError as error:
        raise NetworkError(str(error)) from error
    except ValueError as error:
        raise CloudFileError(str(error)) from error
    if named.warning:
        console.print(f"[yellow]{named.warning}")
    label, confidence = np.zeros(len(cloud), np.int64), np.zeros(len(cloud), np.float32)
    label[finite] = named.label.cpu().numpy()
    confidence[finite] = named.confidence.float().cpu().numpy()
    return Labelled(label, confidence, named.voxels, time.monotonic() - begun)


def summary(cloud: Cloud, labelled: Labelled, vocabulary: Vocabulary) -> dict[str, Any]:
    """What goes into JSON: counts, and each label with its name, colour, number of points and the mean
    confidence of these."""
    count = np.bincount(labelled.label, minlength=len(vocabulary) + 1)
    sure = np.bincount(labelled.label, labelled.confidence, len(vocabulary) + 1) / np.maximum(count, 1)
    named = zip(
        ("unknown", *vocabulary.names),
        [list(vocabulary.unknown_color), *vocabulary.colors.tolist()],
        count.tolist(),
        sure.tolist(),
        strict=True,
    )
    return {
        "points": len(cloud),
        "not_finite": int((~cloud.finite).sum()),
        "voxels": labelled.voxels,
        "has_color": cloud.color is not None,
        "has_normal": cloud.normal is not None,
        "wall_s": round(labelled.wall_s, 2),
        "labels": [
            {"label": i, "name": name, "color": color, "points": points, "confidence": round(mean, 4)}
            for i, (name, color, points, mean) in enumerate(named)
        ],
    }


def table_of(report: dict[str, Any]) -> Table:
    """One row a name that occurs, the most frequent first."""
    table = Table(title=f"{report['points']} points, {report['voxels']} voxels, {report['wall_s']} s")
    table.add_column("name")
    for column in ("points", "share", "confidence"):
        table.add_column(column, justify="right")
    for row in sorted(report["labels"], key=lambda row: -row["points"]):
        if row["points"]:
            share = row["points"] / report["points"]
            table.add_row(escape(row["name"]), str(row["points"]), f"{share:.1%}", f"{row['confidence']:.2f}")
    return table
