"""A grid of costs, seen from above."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ws3d_ros.planning.drivable import Drivable
from ws3d_ros.reconstruction.keys import unpack_keys
from ws3d_ros.reconstruction.window import Window

UNSEEN = -1
MAX_CELLS = 1 << 26
"""64 MB; a map with two far corners and little in between is cut to what fits around its middle."""


@dataclass(frozen=True)
class Mask:
    """Costs of places, as ``nav_msgs/OccupancyGrid`` has them.

    Attributes:
        cost: (rows, columns) int8, 0 (free) to 100 (never), UNSEEN where nothing is known; row 0 has the
            smallest y, column 0 the smallest x.
        resolution_m: edge of a cell, a voxel's.
        origin_m: (x, y) of the corner of cell (0, 0), map frame.
    """

    cost: np.ndarray
    resolution_m: float
    origin_m: tuple[float, float]


def keepout_mask(window: Window, ways: Drivable) -> Mask:
    """The highest cost in each column of voxels, of obstacles and of what can be driven on."""
    rows = ways.obstacle | ways.traversable
    cells = unpack_keys(window.keys).cpu().numpy()[rows][:, :2]
    cost = np.rint(100 * ways.cost[rows]).astype(np.int8)
    if len(cells) == 0:
        return Mask(np.full((0, 0), UNSEEN, np.int8), window.voxel_size_m, (0.0, 0.0))
    low, high = cells.min(0), cells.max(0)
    if np.prod(high - low + 1) > MAX_CELLS:
        middle, half = np.median(cells, axis=0).astype(np.int64), int(MAX_CELLS**0.5) // 2
        low, high = np.maximum(low, middle - half), np.minimum(high, middle + half - 1)
        inside = ((cells >= low) & (cells <= high)).all(1)
        cells, cost = cells[inside], cost[inside]
    width, height = (int(size) for size in high - low + 1)
    grid = np.full(width * height, UNSEEN, np.int8)
    place = (cells[:, 1] - low[1]) * width + (cells[:, 0] - low[0])
    order = np.argsort(cost, kind="stable")  # of several in a column the highest is written last
    grid[place[order]] = cost[order]
    x, y = (float(corner) * window.voxel_size_m for corner in low)
    return Mask(grid.reshape(height, width), window.voxel_size_m, (x, y))
