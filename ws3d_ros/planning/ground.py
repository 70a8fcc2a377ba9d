"""The ground that a robot can drive on, found by shape alone: level, with head room, without a step."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from ws3d_ros.config import PlanningConfig
from ws3d_ros.reconstruction.keys import KEY_BITS
from ws3d_ros.reconstruction.window import Window

PATCH_M = 0.25
"""Edge of the patches that are joined to a ground: longer than a voxel, shorter than a robot."""
REACH_M = 1.0
"""Patches of one height this far apart are joined: LiDAR rings and places that nobody has seen yet."""
NEAR_COLUMNS = 5
"""Where something stands, the ground is as high as the mean of so many columns nearest to it."""


def column_of(window: Window) -> tuple[np.ndarray, np.ndarray]:
    """The upright columns of voxels: number of each voxel's column (N,), and first row of each (C,).

    Keys ascend by x, y, z, so that the voxels of a column follow each other, the lowest first.
    """
    flat = (window.keys >> KEY_BITS).cpu().numpy()
    is_first = np.ones(len(flat), bool)
    is_first[1:] = flat[1:] != flat[:-1]
    return np.cumsum(is_first) - 1, np.nonzero(is_first)[0]


def height_above_ground(
    window: Window, counts: np.ndarray, below_m: float, settings: PlanningConfig
) -> np.ndarray:
    """(N,) float32 metres of each voxel above the ground at its place; all NaN where there is no ground.

    Ground is the largest surface that faces up within ``max_slope_deg``, has ``robot_height_m`` free above
    it, and is joined by steps of ``step_height_m`` at most; what is lower or higher by more than a step is
    not reached by it. So neither a table nor a ceiling is ground, and the top of a thing is none either.

    Args:
        counts: (N,) bool, voxels that are there for the robot; the others leave head room.
        below_m: height of the sensor in the map; ground is below it.
    """
    points = window.points_m.cpu().numpy()
    column, first = column_of(window)
    support = _supports(points, window.normal.cpu().numpy(), column, counts, settings)
    rows = support[points[support, 2] < below_m]
    if len(rows) == 0:
        return np.full(len(points), np.nan, np.float32)
    rows = rows[_largest_level(points[rows], settings.step_height_m)]
    ground = np.full(len(first), np.nan)
    # Descending, so that of several in a column the lowest is written last.
    ground[column[rows[::-1]]] = points[rows[::-1], 2]
    bare = np.isnan(ground)
    if bare.any():
        known = points[first[~bare], :2]
        _, near = cKDTree(known).query(points[first[bare], :2], k=min(NEAR_COLUMNS, len(known)))
        ground[bare] = ground[~bare][near].reshape(int(bare.sum()), -1).mean(1)
    return (points[:, 2] - ground[column]).astype(np.float32)


def _supports(
    points: np.ndarray, normal: np.ndarray, column: np.ndarray, counts: np.ndarray, settings: PlanningConfig
) -> np.ndarray:
    """Rows of the voxels that a robot could stand on, looking at their columns only, ascending."""
    rows = np.nonzero(counts)[0]
    above = np.full(len(rows), np.inf)
    same = column[rows[1:]] == column[rows[:-1]]
    above[:-1][same] = (points[rows[1:], 2] - points[rows[:-1], 2])[same]
    up = normal[rows, 2]
    is_level = (up >= np.cos(np.radians(settings.max_slope_deg))) | ~normal[rows].any(1)
    return rows[(above > settings.robot_height_m) & is_level]


def _largest_level(points: np.ndarray, step_m: float) -> np.ndarray:
    """Mask of the points (n, 3) in the largest group that is joined by steps of at most ``step_m``."""
    cells = np.floor(points / [PATCH_M, PATCH_M, step_m]).astype(np.int64)
    cells -= cells.min(0)
    size = cells.max(0) + 1
    flat = (cells[:, 0] * size[1] + cells[:, 1]) * size[2] + cells[:, 2]
    _, patch, count = np.unique(flat, return_inverse=True, return_counts=True)
    mean = np.stack([np.bincount(patch, axis) for axis in points.T], axis=1) / count[:, None]
    # A step is as far as the reach: two patches are joined in a flat cylinder around each other.
    stretched = mean * [1.0, 1.0, REACH_M / step_m]
    pairs = cKDTree(stretched).query_pairs(REACH_M, p=np.inf, output_type="ndarray")
    graph = coo_matrix((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(len(mean),) * 2)
    _, level = connected_components(graph, directed=False)
    largest = np.bincount(level, count).argmax()
    return level[patch] == largest
