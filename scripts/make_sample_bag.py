#!/usr/bin/env python3
"""Renders the sample recording of the demo, samples/room, from freely licensed furniture.

Needs Debian's sweethome3d-furniture and libegl1, and `pip install .[scenes]`. Takes about two
minutes on one core. The same seed gives the same recording.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import typer

from ws3d_ros.training.scenes.bag import START_NS, write_bag
from ws3d_ros.training.scenes.render import Renderer
from ws3d_ros.training.scenes.room import make_scene
from ws3d_ros.training.scenes.trajectory import walk

OUTPUT = Path(__file__).resolve().parents[1] / "samples" / "room"
SEED = 117
KINDS = ("living room", "bedroom")


def main(
    output: Path = OUTPUT,
    seed: int = SEED,
    seconds: float = 21.0,
) -> None:
    """Writes the recording, replacing what is there."""
    scene = make_scene(seed, KINDS)
    route = walk(scene, seed, START_NS, seconds, rate_hz=30.0)
    shutil.rmtree(output, ignore_errors=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    with Renderer() as renderer:
        write_bag(output, scene, route, renderer, seed)
    for file in sorted(output.iterdir()):
        print(f"{file.stat().st_size / 2**20:7.2f} MiB  {file}")


if __name__ == "__main__":
    typer.run(main)
