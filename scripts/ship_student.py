"""Puts a pre-trained student into the package, with the card that says what it is.

    ws3d pretrain --out runs/student
    python scripts/ship_student.py runs/student
    python benchmarks/zero_shot.py && python scripts/ship_student.py runs/student    # its scores in the card

Writes ws3d_ros/weights/student.safetensors and README.md beside it, parts of scenes that it was trained on
(replay.safetensors, for adaptation), and the curves of the run into
docs/images/pretraining.png. Scores are those of
benchmarks/results/zero_shot.json, and are left out while that file is about other weights.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from ws3d_ros.adaptation.replay import Voxels
from ws3d_ros.adaptation.shipped import save_scenes
from ws3d_ros.cli.clouds import procedural
from ws3d_ros.network import checkpoint
from ws3d_ros.network.choose import SHIPPED
from ws3d_ros.training.augment import crop
from ws3d_ros.training.recipe import DataRecipe
from ws3d_ros.training.scenes.furniture import catalogue, credits

SCORES = Path(__file__).parents[1] / "benchmarks" / "results" / "zero_shot.json"
CURVES = Path(__file__).parents[1] / "docs" / "images" / "pretraining.png"
REPLAYED, PART_VOXELS = 6, 6_000
LARGEST_BYTES = 20 * 2**20
CARD = Path(__file__).with_name("student_card.md")


def main() -> None:
    run = Path(sys.argv[1])
    source = run / "student.safetensors"
    if source.stat().st_size > LARGEST_BYTES:
        raise SystemExit(f"{source} is larger than {LARGEST_BYTES / 2**20:.0f} MiB")
    student = checkpoint.load(source)
    spec, told = student.spec, checkpoint.read_extra(source)
    held_out = json.loads(told["held_out"])
    recipe = (run / "recipe.yaml").read_text()
    SHIPPED.parent.mkdir(exist_ok=True)
    shutil.copyfile(source, SHIPPED)
    digest = hashlib.sha256(SHIPPED.read_bytes()).hexdigest()
    card = CARD.read_text().format(
        architecture=spec.architecture,
        parameters=sum(value.numel() for value in student.parameters()) / 1e6,
        voxel_size_m=spec.voxel_size_m,
        space=spec.space,
        inputs=" and ".join(spec.inputs),
        scenes=entry(recipe, "scenes"),
        steps=entry(recipe, "steps"),
        step=told["step"],
        miou=held_out["held_out/miou"],
        accuracy=held_out["held_out/accuracy"],
        classes=len(spec.vocabulary),
        digest=digest,
        licence=spec.licence,
        scores=scores(digest),
        credits="\n".join(f"- {line}" for line in credits(catalogue())),
    )
    (SHIPPED.parent / "README.md").write_text(card)
    shutil.copyfile(run / "curves.png", CURVES)
    save_scenes(replay(student.spec.voxel_size_m))
    print(f"{SHIPPED}: {SHIPPED.stat().st_size / 2**20:.1f} MiB, sha256 {digest}")


def replay(voxel_size_m: float) -> list[Voxels]:
    """Parts of the first scenes of the training, each around a voxel of its own."""
    recipe = DataRecipe(scenes=REPLAYED, held_out=0)
    _, clouds, _ = procedural(recipe, voxel_size_m, Path("runs/scenes"), Console())
    parts = []
    for seed, load in enumerate(clouds):
        cloud = crop(load(), PART_VOXELS, voxel_size_m, np.random.default_rng(seed))
        nothing = np.full_like(cloud.points_m, np.nan)
        color = nothing if cloud.color is None else cloud.color
        normal = np.zeros_like(nothing) if cloud.normal is None else cloud.normal
        cells = (torch.from_numpy(cloud.points_m) / voxel_size_m).floor().int()
        parts.append(Voxels(cells, torch.from_numpy(color).float(), torch.from_numpy(normal)))
    return parts


def entry(recipe: str, name: str) -> str:
    """The value of an entry of a recipe's text."""
    line = next(line for line in recipe.splitlines() if line.strip().startswith(f"{name}:"))
    return line.split(":")[1].split("#")[0].strip()


def scores(digest: str) -> str:
    """What benchmarks/zero_shot.py measured with these weights; nothing if that was others."""
    result: dict[str, Any] = json.loads(SCORES.read_text()) if SCORES.is_file() else {}
    if result.get("checkpoint", {}).get("sha256") != digest:
        return ""
    lines = [
        f"| {row['scene']} | {row['source']} | {'yes' if row['color'] else 'no'} | {row['miou']:.3f} "
        f"| {row['accuracy']:.3f} |"
        for row in result["rows"]
    ]
    head = "| scene | named by | colour | mIoU | accuracy |\n|---|---|---|---|---|"
    return f"\n## Scores\n\n`python benchmarks/zero_shot.py`; all of it in docs/results.md.\n\n{head}\n" + (
        "\n".join(lines) + "\n"
    )


if __name__ == "__main__":
    main()
