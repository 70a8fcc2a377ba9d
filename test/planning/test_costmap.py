"""Nav2's layers, imitated, mark what is there and clear what went, with our clouds as they come."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nav2_layers import FREE, LETHAL, UNSEEN, Observation, ObstacleLayer, VoxelLayer, cells_on_rays, keep_out
from worlds import CURTAIN, RUG, WORDS, box, hall

from ws3d_ros.config import PlanningConfig
from ws3d_ros.planning.drivable import drivable
from ws3d_ros.planning.mask import keepout_mask
from ws3d_ros.reconstruction.window import Window

ROBOT = PlanningConfig(step_height_m=0.08, robot_height_m=1.0)
SENSOR = np.array([0.52, 0.52, 0.8])
BOX = box((40, 40, 1), (48, 48, 13))
THERE = (slice(41, 47), slice(41, 47))
BEHIND = (slice(55, 70), slice(55, 70))
LAYERS = [ObstacleLayer, VoxelLayer]


def layer(kind: type[ObstacleLayer]) -> ObstacleLayer:
    return kind((-0.5, -0.5), (100, 100), 0.05)


def there(costmap: ObstacleLayer, where: tuple[slice, slice]) -> set[int]:
    """Costs of voxels, which are 10 cells further in the costmap."""
    x, y = (slice(part.start + 10, part.stop + 10) for part in where)
    return set(np.unique(costmap.cost[x, y]).tolist())


def seen(scene: Window, clear_by_floor: bool = True, **ranges: Any) -> list[Observation]:
    """~/obstacles and ~/traversable as docs/integration/nav2_params.yaml has them."""
    found = drivable(scene, WORDS, SENSOR[2], ROBOT)
    points = scene.points_m.numpy()
    obstacles = Observation(points[found.obstacle], SENSOR, **ranges)
    floor = Observation(points[found.traversable], SENSOR, marking=False, **ranges)
    return [obstacles, floor] if clear_by_floor else [obstacles]


@pytest.mark.parametrize("kind", LAYERS)
def test_what_is_there_is_marked_and_what_went_is_cleared(kind: type[ObstacleLayer]) -> None:
    costmap = layer(kind)
    costmap.update(seen(hall(*BOX)))
    assert LETHAL in there(costmap, THERE)
    assert there(costmap, BEHIND) == {FREE}
    costmap.update(seen(hall()))
    assert there(costmap, THERE) == {FREE}
    assert there(costmap, BEHIND) == {FREE}


def test_in_the_open_the_obstacle_layer_clears_and_the_voxel_layer_does_not() -> None:
    """Rays to the floor behind a thing pass below its upper parts. Why the file takes the obstacle layer."""
    for kind, rest in ((ObstacleLayer, {FREE}), (VoxelLayer, {FREE, LETHAL})):
        costmap = layer(kind)
        costmap.update(seen(hall(*BOX, walls=False)))
        costmap.update(seen(hall(walls=False)))
        assert there(costmap, (slice(38, 50), slice(38, 50))) == rest


@pytest.mark.parametrize("kind", LAYERS)
def test_what_hides_nothing_from_the_map_stays(kind: type[ObstacleLayer]) -> None:
    """The map remembers what is behind the box: rays to it run through the box, and must not clear it."""
    costmap = layer(kind)
    hidden = box((55, 55, 1), (60, 60, 9))
    for _ in range(3):
        costmap.update(seen(hall(*BOX, *hidden)))
    assert LETHAL in there(costmap, THERE)
    assert LETHAL in there(costmap, (slice(56, 59), slice(56, 59)))


@pytest.mark.parametrize("kind", LAYERS)
def test_in_the_open_obstacles_alone_do_not_clear(kind: type[ObstacleLayer]) -> None:
    """Why ~/traversable must be a clearing source, too."""
    costmap = layer(kind)
    costmap.update(seen(hall(*BOX, walls=False), clear_by_floor=False))
    costmap.update(seen(hall(walls=False), clear_by_floor=False))
    assert LETHAL in there(costmap, THERE)


def test_marks_must_reach_as_far_as_rays() -> None:
    """Why the file's obstacle_max_range is not below its raytrace_max_range, as Nav2's own defaults are."""
    costmap = layer(ObstacleLayer)
    costmap.update(seen(hall(*BOX)))
    costmap.update(seen(hall(*BOX), obstacle_max_range_m=1.5, raytrace_max_range_m=3.0))
    assert there(costmap, THERE) == {FREE}  # it is still there


@pytest.mark.parametrize("kind", LAYERS)
def test_rays_must_begin_at_the_sensor(kind: type[ObstacleLayer]) -> None:
    """Why clouds come in the sensor's frame: in a frame whose origin is outside, nothing is cleared."""
    costmap = layer(kind)
    costmap.update(seen(hall(*BOX)))
    outside = [Observation(one.points_m, np.array([-5.0, 0.0, 0.8]), one.marking) for one in seen(hall())]
    costmap.update(outside)
    assert LETHAL in there(costmap, THERE)


@pytest.mark.parametrize("kind", LAYERS)
def test_a_rug_is_free_and_a_blob_is_not(kind: type[ObstacleLayer]) -> None:
    costmap = layer(kind)
    blob = box((60, 20, 1), (64, 24, 4), 0)
    costmap.update(seen(hall(*blob, *box((20, 60, 1), (40, 70, 2), RUG))))
    assert LETHAL in there(costmap, (slice(60, 64), slice(20, 24)))
    assert there(costmap, (slice(20, 40), slice(60, 70))) == {FREE}


def test_the_keepout_filter_takes_the_mask() -> None:
    scene = hall(*box((60, 60, 1), (64, 64, 9), CURTAIN), *box((20, 60, 1), (40, 70, 2), RUG))
    mask = keepout_mask(scene, drivable(scene, WORDS, SENSOR[2], ROBOT))
    master = np.full((100, 100), UNSEEN, np.uint8)
    master[75, 20] = LETHAL  # of another layer, where the mask says free
    kept = keep_out(master, np.array([-0.5, -0.5]), 0.05, mask.cost, mask.origin_m, mask.resolution_m)
    assert kept[72, 72] == round(80 * 254 / 100)
    assert kept[40, 75] == round(20 * 254 / 100)
    assert kept[75, 20] == LETHAL
    assert kept[50, 30] == FREE
    assert kept[2, 2] == UNSEEN  # outside of the mask


def test_rays_are_bresenhams() -> None:
    """Against the plain algorithm, line by line."""
    rng = np.random.default_rng(0)
    start = np.array([20, 20, 5])
    ends = rng.integers(0, 40, (50, 3)) * [1, 1, 0] + [0, 0, 3]
    found: list[list[tuple[int, ...]]] = [[] for _ in ends]
    for i, end in enumerate(ends):
        found[i] = [tuple(cells[0].tolist()) for cells in cells_on_rays(start, end[None], 1000)]
    for line, end in zip(found, ends, strict=True):
        assert line == plain_line(start.tolist(), end.tolist())
    together = [set(map(tuple, cells.tolist())) for cells in cells_on_rays(start, ends, 1000)]
    apart = [{line[step] for line in found if step < len(line)} for step in range(len(together))]
    assert together == apart


def plain_line(start: list[int], end: list[int]) -> list[tuple[int, ...]]:
    """Bresenham's line in space, as voxel_grid.hpp counts: x before y before z on a tie."""
    length = [abs(b - a) for a, b in zip(start, end, strict=True)]
    axis = length.index(max(length))
    cell, error, line = list(start), [length[axis] // 2] * 3, []
    for _ in range(length[axis]):
        line.append(tuple(cell))
        for other in range(3):
            error[other] += length[other]
            if other == axis or error[other] >= length[axis]:
                cell[other] += 1 if end[other] > start[other] else -1
                error[other] -= length[axis]
    return [*line, tuple(cell)]
