"""What is in a robot's way and what it can drive on: names and shape together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ws3d_ros.config import PlanningConfig
from ws3d_ros.instances.segmentation import structure_labels
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.planning.ground import column_of, height_above_ground
from ws3d_ros.reconstruction.window import UNKNOWN, Window


@dataclass(frozen=True)
class Drivable:
    """The voxels of a window for a robot that drives; those that are neither are out of its way.

    Attributes:
        obstacle: (N,) bool, in its way.
        traversable: (N,) bool, it can drive there.
        cost: (N,) float32, 0 (free) to 1 (never), of those that are one of both.
    """

    obstacle: np.ndarray
    traversable: np.ndarray
    cost: np.ndarray


def drivable(window: Window, words: Vocabulary, sensor_height_m: float, settings: PlanningConfig) -> Drivable:
    """Decides for every voxel.

    A name counts from the confidence ``trust_names_from`` on, else the voxel is of an unknown thing.

    - Role ``ignore``: neither, wherever it is.
    - Higher above the ground than a step, and not above the robot: obstacle, whatever its name. So a thing
      without a name is one, and what is called a floor but stands up is one, too.
    - On the ground: roles ``obstacle`` and ``target`` are obstacles, but for walls: what lies is none, the
      name has run over from the wall beside it. ``traversable`` and what has no name can be driven on,
      where no obstacle is in the column above.
    - Lower than a step below the ground: neither.

    Where no ground is found, names alone decide, and what has none is an obstacle.

    Args:
        sensor_height_m: z of the sensor in the map; ground is below it.
    """
    role, cost = by_label(window, words, settings.trust_names_from)
    counts = role != "ignore"
    height = height_above_ground(window, counts, sensor_height_m, settings)
    named_free, named_solid = role == "traversable", (role == "obstacle") | (role == "target")
    if np.isnan(height).any():
        obstacle, traversable = counts & ~named_free, named_free
    else:
        step = settings.step_height_m
        in_way = counts & (height >= -step) & (height <= settings.robot_height_m)
        is_wall = np.isin(window.label.cpu().numpy(), structure_labels(words.names).numpy())
        obstacle = in_way & ((height > step) | (named_solid & ~is_wall))
        column, first = column_of(window)
        is_blocked = np.logical_or.reduceat(obstacle, first) if len(first) else np.zeros(0, bool)
        traversable = in_way & ~obstacle & ~is_blocked[column]
    # What shape alone decides is in the way entirely, or not at all: its name has no say in the cost.
    free = np.where(named_solid, np.float32(0.0), cost)
    solid = np.where(named_solid, cost, np.float32(1.0))
    return Drivable(obstacle, traversable, np.where(obstacle, solid, free))


def by_label(window: Window, words: Vocabulary, trust_from: float) -> tuple[np.ndarray, np.ndarray]:
    """(N,) str role and float32 cost of each voxel; an empty role and 0 where its name is not trusted."""
    label = window.label.cpu().numpy().astype(np.int64)
    label[window.confidence.float().cpu().numpy() < trust_from] = UNKNOWN
    roles, costs = np.array(["", *words.roles]), np.array([0.0, *words.costs], np.float32)
    return roles[label], costs[label]
