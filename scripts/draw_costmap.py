"""Draws docs/images/costmap.png: what Nav2's layers make of our topics, on the sample recording.

    PYTHONPATH=. python scripts/draw_costmap.py [RECORDING] [PICTURE]

The recording is mapped and named as in the node; twice a second of it the clouds for planners are packed
as messages, unpacked, and given to Nav2's obstacle layer, and the last mask to its keepout filter. Nav2
itself is not installed with pip: both are the imitations of test/nav2_layers.py, with the values of
docs/integration/nav2_params.yaml. Where the recording has a ground truth, the costmap is held to it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "test"))
matplotlib.use("Agg")
import matplotlib.pyplot as plt
import yaml
from matplotlib.colors import ListedColormap
from nav2_layers import FREE, LETHAL, UNSEEN, Observation, ObstacleLayer, keep_out
from std_msgs.msg import Header

from ws3d_ros.cli.map import load_pipeline, read
from ws3d_ros.config import Config, InputConfig
from ws3d_ros.node.outputs import palette
from ws3d_ros.node.planners import cloud_from, mask_message
from ws3d_ros.node.snapshot import Sight
from ws3d_ros.pipeline import Pipeline
from ws3d_ros.planning.drivable import drivable
from ws3d_ros.planning.mask import keepout_mask
from ws3d_ros.sensors.frame import FloatArray, Frame, Scan

ROOT = Path(__file__).resolve().parents[1]
EVERY = 3
"""Of so many images one is used: what a laptop keeps up with."""
PERIOD_NS = 500_000_000
MARGIN_M = 0.5
SHOWN_BELOW_M = 2.0
BLUE, GREY, DARK = "#3b82c4", "#c3c8ce", "#26323d"


def main(recording: Path, picture: Path) -> None:
    pipeline = load_pipeline(Config())
    layer, path_m = drive(pipeline, recording)
    everything = pipeline.map.everything()
    settings = Config().planning
    ways = drivable(everything, pipeline.vocabulary, path_m[-1][2], settings)
    message = mask_message(keepout_mask(everything, ways), Header(frame_id="map"))
    mask = np.array(message.data, np.int8).reshape(message.info.height, message.info.width)
    corner = message.info.origin.position
    kept = keep_out(
        layer.cost, layer.low_m, layer.resolution_m, mask, (corner.x, corner.y), message.info.resolution
    )
    draw(pipeline, layer, kept, np.array(path_m), picture)
    judge(layer, recording)


def drive(pipeline: Pipeline, recording: Path) -> tuple[ObstacleLayer, list[FloatArray]]:
    """The obstacle layer after the recording, and where the camera was."""
    source = yaml.safe_load((ROOT / "docs/integration/nav2_params.yaml").read_text())
    layer_of = source["global_costmap"]["global_costmap"]["ros__parameters"]["semantic_layer"]
    low, high = extent(recording)
    cells = np.ceil((high - low) / 0.05).astype(int)
    heights = (layer_of["min_obstacle_height"], layer_of["max_obstacle_height"])
    layer = ObstacleLayer((low[0], low[1]), (cells[0], cells[1]), 0.05, heights)
    path_m: list[FloatArray] = []
    shown_ns = 0
    for measurement in read(recording, EVERY, InputConfig()).measurements:
        pipeline.take(measurement)
        if isinstance(measurement, Frame):
            path_m.append(measurement.T_map_camera[:3, 3])
        if measurement.stamp_ns - shown_ns >= PERIOD_NS:
            shown_ns = measurement.stamp_ns
            layer.update(observations(pipeline, measurement, layer_of))
    return layer, path_m


def extent(recording: Path) -> tuple[FloatArray, FloatArray]:
    """Corners of the ground that the recording's sensors may see: around where they were."""
    places = np.array(
        [pose_of(measurement)[:2, 3] for measurement in read(recording, EVERY, InputConfig()).measurements]
    )
    return places.min(0) - 6.0, places.max(0) + 6.0


def observations(
    pipeline: Pipeline, measurement: Frame | Scan, layer_of: dict[str, dict[str, float]]
) -> list[Observation]:
    """Our two clouds, by way of their messages, as Nav2's buffers keep them."""
    window = pipeline.snapshot(measurement)
    sight = Sight("sensor", measurement.stamp_ns, pose_of(measurement))
    ways = drivable(window, pipeline.vocabulary, sight.T_map_sensor[2, 3], Config().planning)
    points_m = window.points_m.cpu().numpy()
    seen = []
    for name, rows in (("obstacles", ways.obstacle), ("traversable", ways.traversable)):
        message = cloud_from(points_m[rows], sight)
        local = np.frombuffer(message.data, np.float32).reshape(-1, 3)
        T, of = sight.T_map_sensor, layer_of[name]
        seen.append(
            Observation(
                local @ T[:3, :3].T + T[:3, 3],
                T[:3, 3],
                marking=bool(of["marking"]),
                clearing=bool(of["clearing"]),
                min_height_m=of["min_obstacle_height"],
                max_height_m=of["max_obstacle_height"],
                obstacle_max_range_m=of.get("obstacle_max_range", 0.0),
                raytrace_max_range_m=of["raytrace_max_range"],
            )
        )
    return seen


def pose_of(measurement: Frame | Scan) -> FloatArray:
    return measurement.T_map_camera if isinstance(measurement, Frame) else measurement.T_map_lidar


def draw(
    pipeline: Pipeline, layer: ObstacleLayer, kept: np.ndarray, path_m: FloatArray, picture: Path
) -> None:
    """Names from above, the layer alone, and with the mask."""
    known_x, known_y = np.nonzero(layer.cost != UNSEEN)
    low = layer.low_m + np.array([known_x.min(), known_y.min()]) * layer.resolution_m - MARGIN_M
    high = layer.low_m + np.array([known_x.max(), known_y.max()]) * layer.resolution_m + MARGIN_M
    span = high - low
    figure, axes = plt.subplots(3, 1, figsize=(9, 9.4 * 3 * span[1] / span[0]), layout="constrained")
    window, words = pipeline.map.everything(), pipeline.vocabulary
    points = window.points_m.cpu().numpy()
    label = window.label.cpu().numpy()
    order = np.argsort(points[:, 2])
    order = order[points[order, 2] < SHOWN_BELOW_M]
    axes[0].scatter(*points[order, :2].T, c=palette(words)[label[order]] / 255.0, s=3, marker="s", lw=0)
    axes[0].set_title("the map by names, from above (below 2 m)", fontsize=10)
    box = (
        layer.low_m[0],
        layer.low_m[0] + layer.cost.shape[0] * layer.resolution_m,
        layer.low_m[1],
        layer.low_m[1] + layer.cost.shape[1] * layer.resolution_m,
    )
    titles = ("Nav2's obstacle layer from ~/obstacles and ~/traversable", "the same with the keepout filter")
    for axis, cost, title in zip(axes[1:], (layer.cost, kept), titles, strict=True):
        axis.imshow(cost.T, cmap=colors(), vmin=0, vmax=255, origin="lower", extent=box, interpolation="none")
        axis.set_title(title, fontsize=10)
    for axis in axes:
        axis.plot(path_m[:, 0], path_m[:, 1], color=BLUE, lw=1.0)
        axis.plot(*path_m[-1, :2], "o", color=BLUE, ms=5)
        axis.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
        axis.tick_params(labelsize=7, colors=DARK)
    axes[2].set_xlabel(
        "white free, black lethal, orange by the words' costs, grey unknown; blue: the camera's way [m]",
        fontsize=8,
    )
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110, facecolor="white")
    print(f"{picture}")


def colors() -> ListedColormap:
    """Of costs 0 to 255."""
    shade = np.linspace(0, 1, 256)[:, None]
    table = (1 - shade) * np.array([1.0, 0.93, 0.8]) + shade * np.array([0.85, 0.35, 0.0])
    table[FREE], table[LETHAL] = 1.0, np.array(matplotlib.colors.to_rgb(DARK))
    table[UNSEEN] = matplotlib.colors.to_rgb(GREY)
    return ListedColormap(table)


def judge(layer: ObstacleLayer, recording: Path) -> None:
    """How much of the truth's obstacles and floor the layer has right, give or take a cell."""
    truth = recording / "ground_truth.npz"
    if not truth.is_file():
        return
    from scipy.ndimage import binary_dilation

    instances = json.loads((recording / "ground_truth.json").read_text())["instances"]
    with np.load(truth) as stored:
        points, instance = stored["points_m"].astype(np.float32), stored["instance"]
    kind = np.array(
        [instances.get(str(number), {"class": ""})["class"] for number in range(instance.max() + 1)]
    )
    settings = Config().planning
    floor = np.isin(kind[instance], ["floor", "rug", "carpet"])
    solid = ~floor & (kind[instance] != "ceiling")
    solid &= (points[:, 2] > settings.step_height_m) & (points[:, 2] < settings.robot_height_m)
    cells = ((points[:, :2] - layer.low_m) / layer.resolution_m).astype(int)
    is_solid, is_floor = (np.zeros(layer.cost.shape, bool) for _ in range(2))
    is_solid[tuple(cells[solid].T)] = True
    is_floor[tuple(cells[floor].T)] = True
    near = binary_dilation(is_solid, np.ones((3, 3)))
    open_floor = is_floor & ~near
    lethal, free = layer.cost == LETHAL, layer.cost == FREE
    hit = binary_dilation(lethal, np.ones((3, 3)))
    shares = {
        "obstacles of the truth within a cell of a lethal one": (is_solid & hit, is_solid),
        "lethal cells within a cell of an obstacle of the truth": (lethal & near, lethal),
        "open floor of the truth that is free": (open_floor & free, open_floor),
        "open floor of the truth that is lethal": (open_floor & lethal, open_floor),
    }
    for what, (part, whole) in shares.items():
        print(f"{what}: {100 * part.sum() / whole.sum():.2f} %")


if __name__ == "__main__":
    arguments = [Path(argument) for argument in sys.argv[1:3]]
    defaults = [ROOT / "samples" / "room", ROOT / "docs" / "images" / "costmap.png"]
    main(*(arguments + defaults[len(arguments) :]))
