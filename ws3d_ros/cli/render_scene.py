"""`ws3d render-scene`: one procedural training scene as pictures, and what is in it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from rich.console import Console

from ws3d_ros.rendering.views import LegendEntry, draw_legend, draw_map, save_png

console = Console()
_WIDTH, _HEIGHT = 640, 480
_GREY = (200, 200, 200)


def render_scene(
    seed: Annotated[int, typer.Option(help="Decides everything.", min=0)],
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("out/scene"),
    sensor: Annotated[str, typer.Option(help="rgbd, lidar, or any: as the seed decides.")] = "any",
) -> None:
    """Draws a scene as a camera sees it and as the voxels that the network learns from."""
    try:
        from ws3d_ros.training.scenes.example import Options, make_example
        from ws3d_ros.training.scenes.flats import make_flat
        from ws3d_ros.training.scenes.furniture import FurnitureMissingError
    except ImportError as error:
        console.print(f"[red]scenes need the extra: pip install 'ws3d_ros\\[scenes]' ({error})")
        raise typer.Exit(2) from error
    try:
        options = Options(sensor=sensor)
        example, scene = make_example(seed, options), make_flat(seed)
    except (FurnitureMissingError, ValueError) as error:
        console.print(f"[red]{error}")
        raise typer.Exit(2) from error
    from ws3d_ros.sensors.frame import Pinhole
    from ws3d_ros.training.scenes.looks import camera_poses
    from ws3d_ros.training.scenes.names import NAMES, name_of
    from ws3d_ros.training.scenes.points import PointViewer

    rng = np.random.default_rng(seed)
    palette = _colors(len(NAMES))
    names = [name_of(thing) for thing in scene.things]
    of_instance = np.array([0, *(NAMES.index(name) for name in names)])
    viewer = PointViewer(scene, rng, 0.012)
    camera = Pinhole(_WIDTH, _HEIGHT, 0.8 * _WIDTH, 0.8 * _WIDTH, (_WIDTH - 1) / 2, (_HEIGHT - 1) / 2)
    poses = camera_poses(scene, rng)
    out.mkdir(parents=True, exist_ok=True)
    for number, pose in enumerate(poses[:: max(1, len(poses) // 4)][:4]):
        view = viewer.view(camera, pose)
        depth = cv2.applyColorMap((255 - 30 * view.depth_m).clip(0, 255).astype(np.uint8), cv2.COLORMAP_TURBO)
        painted = palette[of_instance[view.instance]]
        painted[view.instance == 0] = 0
        save_png(out / f"view{number}.png", np.hstack([view.color, depth[..., ::-1], painted]))
    color = np.full((len(example), 3), _GREY, np.uint8) if example.color is None else example.color
    legend = _legend(example.name, palette, NAMES)
    save_png(out / "legend.png", draw_legend(legend))
    save_png(out / "cloud_color.png", draw_map(example.points_m, color, options.voxel_size_m))
    named = np.where(example.name[:, None] < 0, np.uint8(0), palette[example.name])
    save_png(out / "cloud_names.png", draw_map(example.points_m, named, options.voxel_size_m, legend))
    things = _colors(len(scene.things))[example.instance]
    save_png(out / "cloud_things.png", draw_map(example.points_m, things, options.voxel_size_m))

    rooms = ", ".join(
        f"{room.kind} {room.size_m[0]:.1f} x {room.size_m[1]:.1f} x {room.height_m:.1f} m"
        for room in scene.rooms
    )
    console.print(f"seed {seed}: {rooms}")
    console.print(", ".join(f"{count} {name}" for name, count in Counter(names).most_common()))
    seen = "a LiDAR" if example.color is None else "a camera"
    console.print(f"{len(example)} voxels seen by {seen}, {len(np.unique(example.name))} names among them")
    console.print(f"pictures in {out}: view*.png (colour, depth, names), cloud_*.png, legend.png")


def _colors(count: int) -> np.ndarray:
    """(count, 3) uint8 RGB, neighbours far apart in hue."""
    hue = (np.arange(count) * 0.618034 * 180) % 180
    light = np.array([255, 190, 225])[np.arange(count) % 3]
    hsv = np.stack([hue, np.full(count, 165.0), light], 1)[None].astype(np.uint8)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0])


def _legend(name: np.ndarray, palette: np.ndarray, names: tuple[str, ...]) -> list[LegendEntry]:
    counts = Counter(name[name >= 0].tolist())
    return [(names[index], palette[index], count) for index, count in counts.most_common()]
