"""`ws3d map`: a recording into a map file, without ROS."""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ws3d_ros.cli.export import draw
from ws3d_ros.config import Config, ConfigError, InputConfig, from_mapping
from ws3d_ros.language.choose import choose_encoder
from ws3d_ros.language.encoder import EncoderError
from ws3d_ros.language.vocabulary import Vocabulary, VocabularyError
from ws3d_ros.network.choose import NetworkError, choose_network, voxel_size_warning
from ws3d_ros.pipeline import Pipeline
from ws3d_ros.reconstruction.map_file import SUFFIX, MapFileError, save_map
from ws3d_ros.saved_maps import checkpoint_digest, snapshot
from ws3d_ros.sensors.corrections import Correction
from ws3d_ros.sensors.frame import FloatArray, Frame, Scan
from ws3d_ros.training.datasets.bag import Bag
from ws3d_ros.training.datasets.bag_topics import BagError
from ws3d_ros.training.datasets.files import DatasetError
from ws3d_ros.training.datasets.posed_folder import PERIOD_NS, PosedFolder
from ws3d_ros.training.datasets.rgbd_folder import RgbdFolder

console = Console()


def map_recording(
    recording: Annotated[
        Path,
        typer.Argument(
            metavar="RECORDING",
            help="A rosbag2 with tf; or a folder of posed RGB-D images: ours (meta.json), ScanNet's export, "
            "7-Scenes or TUM.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help=f"The map, {SUFFIX}.")],
    vocabulary: Annotated[
        str | None, typer.Option("--vocabulary", "-v", help="A shipped name, a YAML file, or words.")
    ] = None,
    image_features: Annotated[bool, typer.Option(help="Names from images; --encoder says by which.")] = True,
    student: Annotated[bool, typer.Option(help="Names from shapes, by the 3D network.")] = True,
    virtual_views: Annotated[
        bool | None, typer.Option(help="Encode pictures of the map, too; default as in the node.")
    ] = None,
    adaptation: Annotated[
        bool | None, typer.Option(help="Teach the 3D network on the way; default as in the node.")
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="auto, none, concept or open_clip:MODEL/PRETRAINED.")
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="A 3D network's weights (.safetensors), auto or none.")
    ] = None,
    voxel_size_m: Annotated[
        float | None, typer.Option("--voxel-size", help="Edge of a voxel, metres.")
    ] = None,
    max_depth_m: Annotated[
        float | None, typer.Option("--max-depth", help="Farther depth is ignored, metres.")
    ] = None,
    every: Annotated[int, typer.Option(help="Use every so many frames.", min=1)] = 1,
    picture: Annotated[Path | None, typer.Option(help="Draw the map as a PNG.")] = None,
) -> None:
    """Maps a recording as the node would, names included, and saves the map.

    What is not given is as in the node. No measurement is lost to lateness. At the end the whole map is
    named once more, from all that was seen. ~/load_map takes the file, and so does `ws3d export`.

    Examples:

      ws3d map samples/room -o room.ws3d --picture room.png

      ws3d map my_bag -o flat.ws3d --no-student -v "desk, chair, floor, wall, potted plant"
    """
    asked = {
        "semantics.vocabulary": vocabulary,
        "semantics.encoder": encoder if image_features else "none",
        "network.checkpoint": checkpoint if student else "none",
        "semantics.virtual_views": virtual_views,
        "adaptation.enabled": adaptation,
        "map.voxel_size_m": voxel_size_m,
        "inputs.max_depth_m": max_depth_m,
    }
    try:
        if out.suffix != SUFFIX:
            raise MapFileError(f"{out}: a map's name ends in {SUFFIX}")
        config = from_mapping({name: value for name, value in asked.items() if value is not None})
        source = read(recording, every, config.inputs)
        pipeline = load_pipeline(config)
        begun = time.monotonic()
        map_all(pipeline, source)
        name_all(pipeline)
        mapped_s = time.monotonic() - begun
        digest = checkpoint_digest(config.network.checkpoint)
        saved = snapshot(pipeline, config, pipeline.vocabulary, digest, pipeline.tracks())
        size = save_map(saved, out)
        if picture is not None:
            draw(saved, picture)
    except (
        *(BagError, DatasetError, ConfigError, VocabularyError, EncoderError, NetworkError, MapFileError),
        OSError,
    ) as error:
        console.print(f"[red]{escape(str(error))}", soft_wrap=True)
        raise typer.Exit(2) from error
    console.print(
        f"{len(saved)} voxels in {mapped_s:.1f} s; {out}: {size / 1e6:.1f} MB, "
        f"{size / max(len(saved), 1):.0f} bytes a voxel"
    )
    if picture is not None:
        console.print(f"picture in {picture}")


@dataclass(frozen=True)
class Recording:
    """Measurements in the order of their time, and how long they take.

    ``jumps`` of localisation are those that came before the measurement that was taken last, see ``Bag``.
    """

    measurements: Iterator[Frame | Scan]
    duration_s: float
    jumps: deque[Correction] = field(default_factory=deque)


def read(path: Path, every: int, inputs: InputConfig) -> Recording:
    """Every ``every``-th frame of a recording, and all its sweeps.

    Raises:
        BagError, DatasetError, OSError: if it is none.
    """
    if (path / "meta.json").is_file():
        folder = PosedFolder(path)
        frames: Iterator[Frame | Scan] = (item.frame for item in folder.frames(every))
        scans: Iterator[Frame | Scan] = (item.scan for item in folder.scans())
        both = heapq.merge(frames, scans, key=lambda measurement: measurement.stamp_ns)
        return Recording(both, len(folder) * PERIOD_NS / 1e9)
    if path.is_dir() and not any(path.glob("*.mcap")) and not any(path.glob("*.db3")):
        rgbd = RgbdFolder.open(path)
        return Recording(rgbd.frames(every), (rgbd.shots[-1].stamp_ns - rgbd.shots[0].stamp_ns) / 1e9)
    bag = Bag(path, odom_frame=inputs.odom_frame, follow_jumps_m=inputs.follow_jumps_m)
    return Recording(thinned(bag.measurements(), every), bag.topics.duration_s, bag.jumps)


def thinned(measurements: Iterator[Frame | Scan], every: int) -> Iterator[Frame | Scan]:
    """All sweeps, and every ``every``-th frame from the first on."""
    frames = 0
    for measurement in measurements:
        frames += isinstance(measurement, Frame)
        if isinstance(measurement, Scan) or (frames - 1) % every == 0:
            yield measurement


def load_pipeline(config: Config) -> Pipeline:
    """The pipeline of the settings, on the GPU if there is one.

    Raises:
        EncoderError, NetworkError, VocabularyError: what the settings ask for cannot be had.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    words = Vocabulary.load(config.semantics.vocabulary)
    with console.status("loading encoder and 3D network"):
        semantics = config.semantics
        choice = choose_encoder(semantics.encoder, semantics.weights_dir, device, semantics.threads)
        network = choose_network(config.network, choice.encoder, semantics.weights_dir, device)
    console.print(f"encoder: {choice.why}\nnetwork: {network.why}", markup=False, soft_wrap=True)
    if network.namer is not None and (warning := voxel_size_warning(network.namer, config.map.voxel_size_m)):
        console.print(f"[yellow]{escape(warning)}")
    return Pipeline(config, choice.encoder, words, device, network.namer)


def map_all(pipeline: Pipeline, recording: Recording, after_each: Callable[[], None] | None = None) -> None:
    """Everything into the map, and what the keyframes show; ``after_each`` measurement may look at it."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("mapping", total=recording.duration_s)
        begun_ns: int | None = None
        for measurement in recording.measurements:
            begun_ns = measurement.stamp_ns if begun_ns is None else begun_ns
            while recording.jumps:
                pipeline.follow(recording.jumps.popleft().T_new_old, position(measurement))
            pipeline.take(measurement)
            if after_each is not None:
                after_each()
            progress.update(task, completed=(measurement.stamp_ns - begun_ns) / 1e9)
        progress.update(task, completed=recording.duration_s)


def position(measurement: Frame | Scan) -> FloatArray:
    """(3,) of the sensor in the map."""
    pose = measurement.T_map_camera if isinstance(measurement, Frame) else measurement.T_map_lidar
    return pose[:3, 3]


def name_all(pipeline: Pipeline) -> None:
    """Names for the whole map, once more."""
    if not pipeline.can_name or len(pipeline.map) == 0:
        return
    with console.status("naming the whole map"):
        understood = pipeline.finish()
    if understood.network_error:
        console.print(f"[yellow]the 3D network failed: {escape(understood.network_error)}")
