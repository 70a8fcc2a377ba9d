"""What images, the 3D network and both say of scenes that no training has seen, against the truth.

    python benchmarks/zero_shot.py [--checkpoint student.safetensors] [--json FILE] [--picture FOLDER]

- small_house by its images, as `ws3d evaluate` maps it, and by its 40 LiDAR sweeps; samples/room by its
  images; kitti00 by its 11 sweeps, with SemanticKITTI's names (the first sweep is labelled). Each is
  mapped once; then the whole map is named by image features alone, by the student alone and by both, the
  student with the map's colours and without any. Settings are the node's, but for map.min_weight 0,
  the whole map as window and 6 m of depth, as in `ws3d evaluate`. The truth of a voxel is the class of
  most labelled pixels or points in it; voxels without a label, or that the map lacks, are wrong.
- 24 held-out procedural scenes by the student alone: the nearest of the training's words, no smoothing.

What is not here is skipped with a word. Writes results/zero_shot.json, unless --json says where.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from common import save
from house import SETTINGS, SHARED
from labelled import HOUSE, ROOM, STREET, Labelled, house_frames, house_scans, room_frames, street_scans
from results_table import zero_shot_tables
from rich.console import Console
from torch import Tensor

from ws3d_ros.cli.clouds import procedural
from ws3d_ros.config import Config, from_mapping
from ws3d_ros.evaluation.ground_truth import VoxelVotes, look_up
from ws3d_ros.evaluation.metrics import calibration_error, confusion_matrix, scores
from ws3d_ros.evaluation.pictures import Judged, draw_worst
from ws3d_ros.evaluation.report import as_mapping
from ws3d_ros.language.choose import choose_encoder
from ws3d_ros.language.encoder import Encoder
from ws3d_ros.language.sentences import SentenceEncoder, find_sentence_model
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.network import checkpoint
from ws3d_ros.network.backends.choose import choose_backend
from ws3d_ros.network.choose import SHIPPED, choose_network
from ws3d_ros.network.namer import Namer
from ws3d_ros.pipeline import Pipeline
from ws3d_ros.reconstruction.keys import unpack_keys
from ws3d_ros.reconstruction.window import Window
from ws3d_ros.rendering.views import save_png
from ws3d_ros.sensors.frame import Frame
from ws3d_ros.stopwatch import peak_memory_bytes
from ws3d_ros.training.pretrain import zero_shot
from ws3d_ros.training.recipe import DataRecipe

console = Console()
CPU = torch.device("cpu")
SCENES = {
    "small_house, images": (HOUSE, house_frames),
    "samples/room, images": (ROOM, room_frames),
    "small_house, LiDAR": (HOUSE, house_scans),
    "kitti00, LiDAR": (STREET, street_scans),
}
HELD_OUT = "held-out procedural scenes"
IMAGES, STUDENT, BOTH = "image features alone", "student alone", "both"


@dataclass(frozen=True)
class Mapped:
    """A map before anything in it has a name, and the true class (M,) 1..C of the voxels ``keys`` (M,)."""

    names: list[str]
    window: Window
    keys: Tensor
    truth: Tensor


def map_scene(names: list[str], items: Iterable[Labelled], config: Config, encoder: Encoder | None) -> Mapped:
    """Measurements through the pipeline, with the features of keyframes, and what is truly there."""
    pipeline = Pipeline(config, encoder, Vocabulary.of(names), CPU)
    inputs, size = config.inputs, config.map.voxel_size_m
    votes: VoxelVotes | None = None
    for item in items:
        seen = item.measurement
        pipeline.integrate(seen)
        if isinstance(seen, Frame):
            votes = votes or VoxelVotes(size, inputs.min_depth_m, inputs.max_depth_m)
            votes.add(seen, item.truth)
        else:
            votes = votes or VoxelVotes(size, inputs.min_range_m, inputs.max_range_m)
            votes.add_scan(seen, item.truth)
        if pipeline.encodes(seen) and pipeline.is_keyframe(seen):
            pipeline.apply(pipeline.look(seen, pipeline.snapshot(seen)))
    assert votes is not None
    return Mapped(names, pipeline.map.everything(), *votes.majority())


def name_scene(
    scene: Mapped, config: Config, encoder: Encoder | None, namer: Namer | None, color: bool
) -> tuple[dict[str, Any], Judged]:
    """The whole map named by what is given, and how right that is. ``color``: the network sees colours."""
    window = scene.window
    if encoder is None:
        none = window.feature_weight * 0.0
        window = replace(window, feature=window.feature[:, :0], feature_weight=none)
    if not color:
        window = replace(window, color=torch.full_like(window.color, torch.nan))
    begun = time.perf_counter()
    understood = Pipeline(config, encoder, Vocabulary.of(scene.names), CPU, namer).read_and_name(window)
    seconds = time.perf_counter() - begun
    if understood.network_error or understood.names is None:
        raise RuntimeError(understood.network_error)
    patch = understood.names
    assert patch.label is not None
    assert patch.confidence is not None
    label = look_up(window.keys, scene.keys, patch.label, 0).long()
    confidence = look_up(window.keys, scene.keys, patch.confidence.float(), 0.0)
    named = label > 0
    shares = torch.bincount(patch.label.long(), minlength=len(scene.names) + 1) / max(len(window), 1)
    figures = as_mapping(scores(confusion_matrix(scene.truth, label, len(scene.names))), scene.names) | {
        "ece": calibration_error(confidence[named], (label == scene.truth)[named]),
        "voxels": len(scene.truth),
        "unlabelled": int((~named).sum()),
        "map_voxels": len(window),
        "shares": dict(zip(["unknown", *scene.names], shares.tolist(), strict=True)),
        "naming_s": seconds,
    }
    points = (unpack_keys(scene.keys).float() + 0.5) * window.voxel_size_m
    return figures, Judged("", points, label, scene.truth)


def variants(encoder: Encoder | None, images: bool) -> list[tuple[str, bool]]:
    """Which sources name a scene, and whether the student sees colours."""
    if not images:
        return [(STUDENT, False)]
    alone = [(STUDENT, True), (STUDENT, False)]
    return [(IMAGES, True), *alone, (BOTH, True), (BOTH, False)] if encoder is not None else alone


def score_scene(
    scene: str, config: Config, encoder: Encoder | None, namer: Namer, pictures: Path | None
) -> list[dict[str, Any]]:
    """All variants of one of ``SCENES``."""
    images = scene.endswith("images")
    begun = time.perf_counter()
    mapped = map_scene(*SCENES[scene][1](), config, encoder if images else None)
    rows = []
    for source, color in variants(encoder, images):
        eyes, network = (None if source == STUDENT else encoder), (None if source == IMAGES else namer)
        figures, judged = name_scene(mapped, config, eyes, network, color)
        rows.append({"scene": scene, "source": source, "color": color, **figures})
        if pictures is not None:
            name = f"{scene} {source}{'' if color else ' without colour'}".replace("/", " ").replace(",", "")
            picture = draw_worst(
                [replace(judged, name=name)], Vocabulary.of(mapped.names), mapped.window.voxel_size_m
            )
            save_png(pictures / f"{name.replace(' ', '_')}.png", picture)
    console.print(f"{scene}: {time.perf_counter() - begun:.0f} s")
    return rows


def score_held_out(path: Path, scenes: Path, count: int) -> list[dict[str, Any]]:
    """The student alone on procedural scenes, with the training's words."""
    student = checkpoint.load(path).eval()
    size = student.spec.voxel_size_m
    names, _, clouds = procedural(DataRecipe(scenes=0, held_out=count), size, scenes, console)
    encode = SentenceEncoder(find_sentence_model(None)).encode
    words = student.heads.centred(torch.from_numpy(encode(list(names))))
    rows = []
    for color in (True, False):
        result = zero_shot(student, clouds, words, size, choose_backend("torch"), color)
        told = as_mapping(result, names) | {"voxels": int(result.count.sum()), "unlabelled": 0}
        rows.append({"scene": HELD_OUT, "source": STUDENT, "color": color, **told})
    return rows


def about(path: Path) -> dict[str, Any]:
    """Which weights these are."""
    extra = checkpoint.read_extra(path)
    return {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "architecture": checkpoint.read_spec(path).architecture,
        "step": int(extra["step"]) if "step" in extra else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=SHIPPED, help="a student's weights")
    parser.add_argument("--json", type=Path, help="write here instead of results/zero_shot.json")
    parser.add_argument("--picture", type=Path, help="folder for a picture of each scene and source")
    parser.add_argument("--weights", default=str(SHARED / "weights"), help="folder of the image encoder")
    parser.add_argument("--scenes", type=Path, default=Path("runs/scenes"), help="procedural scenes")
    parser.add_argument("--held-out", type=int, default=24, help="how many of them")
    arguments = parser.parse_args()
    if not arguments.checkpoint.is_file():
        console.print(f"skipped: there is no {arguments.checkpoint}")
        return
    begun = time.perf_counter()
    config = from_mapping(SETTINGS | {"network.checkpoint": str(arguments.checkpoint)})
    choice = choose_encoder("auto", arguments.weights)
    network = choose_network(config.network, choice.encoder, arguments.weights, CPU)
    console.print(f"encoder: {choice.why}\nnetwork: {network.why}")
    assert network.namer is not None
    if arguments.picture is not None:
        arguments.picture.mkdir(parents=True, exist_ok=True)
    rows = score_held_out(arguments.checkpoint, arguments.scenes, arguments.held_out)
    for scene, (data, _) in SCENES.items():
        if data.is_dir():
            rows += score_scene(scene, config, choice.encoder, network.namer, arguments.picture)
        else:
            console.print(f"{scene}: skipped, {data} is not here")
    result = {
        "checkpoint": about(arguments.checkpoint),
        "encoder": choice.encoder.name if choice.encoder is not None else None,
        "seconds": round(time.perf_counter() - begun),
        "peak_memory_mib": round(peak_memory_bytes() / 2**20),
        "rows": _rounded(rows),
    }
    if arguments.json is None:
        save("zero_shot", result)
    else:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    print(zero_shot_tables(result))


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return round(value, 4) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
