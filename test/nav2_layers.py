"""Nav2's costmap layers, imitated: Nav2 itself cannot be installed with pip.

Written after what nav2_costmap_2d does (ros-navigation/navigation2 at a3a97043, 2026-08-21:
``plugins/obstacle_layer.cpp``, ``plugins/voxel_layer.cpp``, ``src/observation_buffer.cpp``,
``plugins/costmap_filters/keepout_filter.cpp``, ``nav2_util/raytrace_line_2d.hpp``,
``nav2_voxel_grid/voxel_grid.hpp``), for a costmap in the frame of the map that does not roll. Not imitated:
footprint clearing, inflation, minimum ranges, thresholds of voxels other than their defaults.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

FREE, LETHAL, UNSEEN = 0, 254, 255


@dataclass(frozen=True)
class Observation:
    """A cloud as an observation buffer keeps it: in the costmap's frame, with the origin of its own frame."""

    points_m: np.ndarray
    origin_m: np.ndarray
    marking: bool = True
    clearing: bool = True
    min_height_m: float = -10.0
    max_height_m: float = 10.0
    obstacle_max_range_m: float = 100.0
    raytrace_max_range_m: float = 100.0

    def within(self) -> np.ndarray:
        """(n, 3) points that the buffer keeps: the heights hold for clearing, too."""
        z = self.points_m[:, 2]
        return self.points_m[(z >= self.min_height_m) & (z <= self.max_height_m)]


class ObstacleLayer:
    """``nav2_costmap_2d::ObstacleLayer``: columns, cleared and marked from above."""

    def __init__(
        self,
        low_m: tuple[float, float],
        cells: tuple[int, int],
        resolution_m: float,
        heights_m: tuple[float, float] = (0.0, 2.0),
    ) -> None:
        """``heights_m``: min_obstacle_height and max_obstacle_height of the layer, for marking."""
        self.low_m, self.resolution_m, self.heights_m = np.array(low_m), resolution_m, heights_m
        self.cost = np.full(cells, UNSEEN, np.uint8)  # [x, y]

    def update(self, observations: Sequence[Observation]) -> None:
        """``updateBounds``: all clearing first, then all marking."""
        for seen in observations:
            if seen.clearing:
                self._clear(seen)
        for seen in observations:
            if seen.marking:
                self._mark(seen)

    def _clear(self, seen: Observation) -> None:
        origin, ends = seen.origin_m[:2], seen.within()[:, :2]
        if not self._inside(origin[None])[0]:
            return
        ends = clipped(origin, ends, self.low_m, self.low_m + self.resolution_m * np.array(self.cost.shape))
        most = self._cell_distance(seen.raytrace_max_range_m)
        for cells in cells_on_rays(self._cells(origin), self._cells(ends), most):
            self.cost[cells[:, 0], cells[:, 1]] = FREE

    def _mark(self, seen: Observation) -> None:
        points = seen.within()
        if not self._inside(seen.origin_m[None, :2])[0]:
            return
        near = np.hypot(*(points[:, :2] - seen.origin_m[:2]).T) <= seen.obstacle_max_range_m
        rows = near & self._markable(points) & self._inside(points[:, :2])
        cells = self._cells(points[rows, :2])
        self.cost[cells[:, 0], cells[:, 1]] = LETHAL

    def _markable(self, points: np.ndarray) -> np.ndarray:
        return (points[:, 2] >= self.heights_m[0]) & (points[:, 2] <= self.heights_m[1])

    def _cells(self, places_m: np.ndarray) -> np.ndarray:
        cells = np.floor((places_m - self.low_m) / self.resolution_m).astype(np.int64)
        return cells.clip(0, np.array(self.cost.shape) - 1)

    def _inside(self, places_m: np.ndarray) -> np.ndarray:
        cells = (places_m - self.low_m) / self.resolution_m
        return ((cells >= 0) & (cells < self.cost.shape)).all(1)

    def _cell_distance(self, distance_m: float) -> int:
        return int(np.ceil(distance_m / self.resolution_m))


class VoxelLayer(ObstacleLayer):
    """``nav2_costmap_2d::VoxelLayer``: at most 16 storeys, cleared along rays in space."""

    def __init__(
        self,
        low_m: tuple[float, float],
        cells: tuple[int, int],
        resolution_m: float,
        heights_m: tuple[float, float] = (0.0, 2.0),
        origin_z_m: float = 0.0,
        z_resolution_m: float = 0.1,
        z_voxels: int = 16,
    ) -> None:
        super().__init__(low_m, cells, resolution_m, heights_m)
        assert z_voxels <= 16, "the grid has 16 bits for marks"
        self._low3 = np.array([*low_m, origin_z_m])
        self._edge = np.array([resolution_m, resolution_m, z_resolution_m])
        self.marked = np.zeros((*cells, z_voxels), bool)

    def _clear(self, seen: Observation) -> None:
        high = self._low3 + self._edge * self.marked.shape
        origin, points = seen.origin_m, seen.within()
        if not ((origin >= self._low3) & (origin < high)).all():
            return  # "The costmap cannot raytrace for it."
        distance = np.linalg.norm(points - origin, axis=1)
        short = np.clip((distance - 2 * self.resolution_m) / distance, 0.0, 1.0)[:, None]
        ends = clipped(origin, origin + short * (points - origin), self._low3, high)
        most = self._cell_distance(seen.raytrace_max_range_m)
        for x, y, z in (cells.T for cells in cells_on_rays(self._cells3(origin), self._cells3(ends), most)):
            self.marked[x, y, z] = False
            # unknown_threshold and mark_threshold are 15 and 0 by default: no mark left means free.
            self.cost[x, y] = np.where(self.marked[x, y].any(1), self.cost[x, y], FREE)

    def _mark(self, seen: Observation) -> None:
        points = seen.within()
        near = np.linalg.norm(points - seen.origin_m, axis=1) < seen.obstacle_max_range_m
        below_top = points[:, 2] < self._low3[2] + self._edge[2] * self.marked.shape[2]
        rows = near & self._markable(points) & self._inside(points[:, :2]) & below_top
        x, y, z = self._cells3(points[rows]).T
        self.marked[x, y, z] = True
        self.cost[x, y] = LETHAL

    def _cells3(self, places_m: np.ndarray) -> np.ndarray:
        cells = np.floor((places_m - self._low3) / self._edge).astype(np.int64)
        return cells.clip(0, np.array(self.marked.shape) - 1)


def keep_out(
    master: np.ndarray,
    low_m: np.ndarray,
    resolution_m: float,
    mask: np.ndarray,
    mask_low_m: tuple[float, float],
    mask_resolution_m: float,
) -> np.ndarray:
    """``nav2_costmap_2d::KeepoutFilter`` over a costmap [x, y].

    Args:
        mask: (rows, columns) int8 of the OccupancyGrid, 0 to 100, -1 unknown.
    """
    x, y = np.meshgrid(*(np.arange(size) for size in master.shape), indexing="ij")
    places = low_m + (np.stack([x, y], -1) + 0.5) * resolution_m
    column, row = np.moveaxis(np.floor((places - mask_low_m) / mask_resolution_m).astype(np.int64), -1, 0)
    inside = (row >= 0) & (row < mask.shape[0]) & (column >= 0) & (column < mask.shape[1])
    data = np.full(master.shape, -1)
    data[inside] = mask[row[inside], column[inside]]
    cost = np.round(data * LETHAL / 100.0)
    replaces = (data >= 0) & ((cost > master) | (master == UNSEEN))
    return np.where(replaces, cost, master).astype(np.uint8)


def clipped(origin: np.ndarray, ends: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Ends of rays, drawn back to the border of the costmap where they are outside."""
    way = ends - origin
    with np.errstate(divide="ignore", invalid="ignore"):
        to_border = np.where(way > 0, (high - origin) / way, (low - origin) / way)
    share = np.nanmin(np.where(way == 0, np.inf, to_border), axis=1).clip(max=1.0)
    return origin + way * np.where(share < 1.0, share - 1e-5, 1.0)[:, None]


def cells_on_rays(start: np.ndarray, ends: np.ndarray, most: int) -> Iterator[np.ndarray]:
    """Bresenham's lines from one cell to others (n, d), all at once: the (m, d) cells of each step.

    The last cell is on the line, too, unless the line is longer than ``most`` cells.
    """
    way = ends - start
    length = np.abs(way)
    axis = length.argmax(1)
    dominant = np.take_along_axis(length, axis[:, None], 1)
    distance = np.linalg.norm(way, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(distance > 0, np.minimum(1.0, most / distance), 1.0)
    steps = np.minimum(most, (share * dominant[:, 0]).astype(np.int64))
    sign = np.where(way > 0, 1, -1)
    cell, error = np.broadcast_to(start, ends.shape).copy(), np.broadcast_to(dominant // 2, ends.shape).copy()
    for step in range(int(steps.max(initial=-1)) + 1):
        on = steps >= step
        if not on.all():
            cell, error, length, dominant = cell[on], error[on], length[on], dominant[on]
            sign, steps = sign[on], steps[on]
        yield cell
        error = error + length
        over = (error >= dominant) & (length > 0)
        cell = cell + np.where(over, sign, 0)
        error = np.where(over, error - dominant, error)
