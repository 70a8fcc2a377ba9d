"""What planners get, for 100,000 voxels: time of each step of an update, on one thread.

    python benchmarks/planning.py [--voxels 100000]

A hall with furniture, at the density of a real window. None of it runs on the mapping thread.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from common import save, summary, times_ms
from std_msgs.msg import Header

from ws3d_ros.config import PlanningConfig
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.node.objects import instance_array
from ws3d_ros.node.outputs import things
from ws3d_ros.node.planners import cloud_from, mask_message
from ws3d_ros.node.snapshot import Sight
from ws3d_ros.planning.drivable import drivable
from ws3d_ros.planning.ground import height_above_ground
from ws3d_ros.planning.mask import keepout_mask
from ws3d_ros.planning.targets import is_target
from ws3d_ros.reconstruction.voxel_map import pack_keys
from ws3d_ros.reconstruction.window import Window

VOXEL_M = 0.05
HEIGHT = 50
"""Voxels: 2.5 m."""


def hall(count: int) -> Window:
    """A floor, walls and boxes of random places, sizes, names and numbers; about ``count`` voxels."""
    rng = np.random.default_rng(0)
    side = int((count / 2) ** 0.5)
    x, y = np.divmod(np.arange(side * side), side)
    parts = [np.c_[x, y, 0 * x]]
    edge, z = np.divmod(np.arange(side * HEIGHT), HEIGHT)
    parts += [np.c_[edge, 0 * edge + wall, z + 1] for wall in (0, side - 1)]
    labels = [np.full(len(part), label) for part, label in zip(parts, (2, 1, 1), strict=True)]
    ids = [np.zeros(len(part), int) for part in parts]
    total, number = sum(map(len, parts)), 0
    while total < count:
        number += 1
        size = rng.integers(4, 25, 3)
        cells = np.stack(np.meshgrid(*(np.arange(edge) for edge in size), indexing="ij"), -1).reshape(-1, 3)
        skin = (cells == 0).any(1) | (cells == size - 1).any(1)
        parts.append(cells[skin] + [*rng.integers(1, side - 30, 2), 1])
        labels.append(np.full(skin.sum(), rng.integers(3, 64)))
        ids.append(np.full(skin.sum(), number))
        total += int(skin.sum())
    keys, row = np.unique(pack_keys(torch.from_numpy(np.concatenate(parts))).numpy(), return_index=True)
    cells = np.concatenate(parts)[row]
    label, instance = np.concatenate(labels)[row], np.concatenate(ids)[row]
    normal = np.zeros((len(keys), 3), np.float32)
    normal[cells[:, 2] == 0, 2] = 1.0
    return Window(
        voxel_size_m=VOXEL_M,
        stamp_ns=0,
        keys=torch.from_numpy(keys),
        points_m=torch.from_numpy(((cells + rng.normal(0.5, 0.1, cells.shape)) * VOXEL_M).astype(np.float32)),
        color=torch.zeros(len(keys), 3),
        normal=torch.from_numpy(normal),
        weight=torch.ones(len(keys)),
        feature=torch.zeros(len(keys), 0, dtype=torch.float16),
        feature_weight=torch.zeros(len(keys)),
        label=torch.from_numpy(label).to(torch.int16),
        confidence=torch.full((len(keys),), 0.8, dtype=torch.float16),
        instance=torch.from_numpy(instance).to(torch.int32),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--voxels", type=int, default=100_000)
    voxels = parser.parse_args().voxels
    torch.set_num_threads(1)
    window, words, settings = hall(voxels), Vocabulary.load("indoor"), PlanningConfig()
    sight = Sight("camera", 0, np.eye(4))
    counts = np.ones(len(window), bool)
    ways = drivable(window, words, 1.0, settings)
    mask, instances = keepout_mask(window, ways), things(window)
    points_m = window.points_m.numpy()
    header = Header(frame_id="map")
    steps = {
        "ground": lambda: height_above_ground(window, counts, 1.0, settings),
        "obstacles and traversable, ground included": lambda: drivable(window, words, 1.0, settings),
        "clouds as messages": lambda: [
            cloud_from(points_m[rows], sight) for rows in (ways.obstacle, ways.traversable)
        ],
        "keepout mask": lambda: mask_message(keepout_mask(window, ways), header),
        "targets": lambda: is_target(window, words, [""]),
        "boxes around objects": lambda: things(window),
        "instances as a message": lambda: instance_array(instances, words, {}, header),
    }
    result = {"voxels": len(window), "objects": len(instances), "cells of the mask": int(mask.cost.size)}
    save("planning", {**result, **{name: summary(times_ms(step)) for name, step in steps.items()}})


if __name__ == "__main__":
    main()
