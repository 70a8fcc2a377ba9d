"""Small labelled clouds for tests of training."""

from __future__ import annotations

import numpy as np

from ws3d_ros.training.datasets.labelled_cloud import LabelledCloud

NAMES = ("floor", "wall", "table")


def room(seed: int = 0, points: int = 4000) -> LabelledCloud:
    """A floor, a wall and one or two tables: 3 m by 3 m, colours that tell them apart."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, points)
    place = rng.uniform(0.0, 3.0, (points, 3))
    place[label == 0, 2] = 0.0
    place[label == 1, 1] = 0.0
    place[label == 2] = place[label == 2] * [0.2, 0.2, 0.0] + [1.0, 1.0, 0.7]
    color = np.array([[200, 50, 50], [50, 200, 50], [50, 50, 200]], np.uint8)[label]
    normal = np.array([[0, 0, 1], [0, 1, 0], [0, 0, 1]], np.float32)[label]
    return LabelledCloud(
        f"room{seed}",
        place.astype(np.float32),
        color,
        normal,
        label.astype(np.int64),
        label.astype(np.int64),
        NAMES,
    )
