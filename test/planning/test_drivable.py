"""Names and shape decide together what is in a robot's way; masks and targets follow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from windows import VOXEL_M, box_cells, random_cells, window
from worlds import CEILING, CUP, CURTAIN, FLOOR, RUG, WALL, WORDS, Part, at, box, hall, made

from ws3d_ros.config import PlanningConfig
from ws3d_ros.planning.drivable import Drivable, drivable
from ws3d_ros.planning.mask import MAX_CELLS, UNSEEN, keepout_mask
from ws3d_ros.planning.targets import is_target, target_ids, target_labels
from ws3d_ros.reconstruction.voxel_map import unpack_keys
from ws3d_ros.reconstruction.window import Window

UP = (0.0, 0.0, 1.0)
ROBOT = PlanningConfig(step_height_m=0.08, robot_height_m=1.0)


def ways(scene: Window, robot: PlanningConfig = ROBOT) -> Drivable:
    return drivable(scene, WORDS, 1.2, robot)


def slab(height: int, label: int) -> Part:
    """Half a metre to a side, its voxels ``height`` above those of the floor."""
    return box_cells((40, 40, height), (50, 50, height + 1)), UP, label


def fate(scene: Window, where: torch.Tensor, robot: PlanningConfig = ROBOT) -> str:
    found = ways(scene, robot)
    rows = where.numpy()
    said = {(bool(a), bool(b)) for a, b in zip(found.obstacle[rows], found.traversable[rows], strict=True)}
    assert len(said) == 1, said
    return {(True, False): "obstacle", (False, True): "traversable", (False, False): "neither"}[said.pop()]


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (0, "traversable"),
        (FLOOR, "traversable"),
        (RUG, "traversable"),
        (CURTAIN, "obstacle"),
        (CUP, "obstacle"),
        (WALL, "traversable"),
    ],
)
def test_on_the_ground_names_decide_but_a_wall_does_not_lie(label: int, expected: str) -> None:
    scene = hall(slab(1, label))
    assert fate(scene, at(scene, (2.0, 2.0, 0.0), (2.5, 2.5, 0.1))) == expected


@pytest.mark.parametrize(
    ("label", "expected"),
    [(0, "obstacle"), (FLOOR, "obstacle"), (RUG, "obstacle"), (CURTAIN, "obstacle"), (CEILING, "neither")],
)
def test_what_is_higher_than_a_step_is_in_the_way_whatever_its_name(label: int, expected: str) -> None:
    scene = hall(*box((40, 40, 1), (50, 50, 5), label))
    assert fate(scene, at(scene, (2.0, 2.0, 0.2), (2.5, 2.5, 0.3))) == expected


def test_a_name_that_is_not_trusted_is_none() -> None:
    scene = hall(slab(1, CURTAIN))
    where = at(scene, (2.0, 2.0, 0.0), (2.5, 2.5, 0.1))
    assert fate(scene, where, replace(ROBOT, trust_names_from=0.6)) == "traversable"


def test_what_hangs_above_the_robot_is_not_in_its_way() -> None:
    lamp = (box_cells((40, 40, 26), (50, 50, 30)), (0.0, 0.0, -1.0), 0)
    scene = hall(lamp)
    above, below = (at(scene, (2, 2, low), (2.5, 2.5, low + 0.2)) for low in (1.3, 0.0))
    assert (fate(scene, above), fate(scene, below)) == ("neither", "traversable")
    taller = replace(ROBOT, robot_height_m=1.5)
    assert (fate(scene, above, taller), fate(scene, below, taller)) == ("obstacle", "neither")


def test_a_hole_is_neither() -> None:
    scene = made(
        [
            (box_cells((0, 0, 0), (60, 60, 1)), UP, FLOOR),
            (box_cells((60, 0, -20), (80, 20, -19)), UP, FLOOR),
        ]
    )
    assert fate(scene, scene.points_m[:, 2] < -0.5) == "neither"


def test_without_ground_names_decide_alone() -> None:
    side = (1.0, 0.0, 0.0)
    sheets = [box_cells((x, 0, 0), (x + 1, 20, 20)) for x in (0, 1)]
    scene = made([(sheets[0], side, 0), (sheets[1], side, FLOOR)])
    found = ways(scene)
    np.testing.assert_array_equal(found.traversable, scene.label.numpy() == FLOOR)
    np.testing.assert_array_equal(found.obstacle, ~found.traversable)


def test_costs_are_those_of_the_words_and_of_nameless_obstacles_one() -> None:
    scene = hall(slab(1, RUG), *box((10, 10, 1), (14, 14, 9), 0), *box((60, 60, 1), (64, 64, 9), CURTAIN))
    mask = keepout_mask(scene, ways(scene))
    assert mask.resolution_m == VOXEL_M
    assert mask.origin_m == (0.0, 0.0)

    def cost(x_m: float, y_m: float) -> int:
        return int(mask.cost[int(y_m / VOXEL_M), int(x_m / VOXEL_M)])

    assert cost(2.2, 2.2) == 20
    assert cost(0.6, 0.6) == 100
    assert cost(3.1, 3.1) == 80
    assert cost(0.03, 2.0) == 100
    assert cost(3.6, 1.0) == 0
    assert mask.cost.shape == (80, 80)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_masks_are_the_highest_cost_of_each_column(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = window(random_cells(200, 6, seed))
    count = len(scene)
    kind = rng.integers(0, 3, count)
    cost = rng.random(count).astype(np.float32)
    mask = keepout_mask(scene, Drivable(kind == 1, kind == 2, cost))
    expected: dict[tuple[int, int], int] = {}
    for (x, y, _), of, value in zip(unpack_keys(scene.keys).tolist(), kind, cost, strict=True):
        if of > 0:
            expected[x, y] = max(expected.get((x, y), -1), round(100 * float(value)))
    corner = np.round(np.array(mask.origin_m) / VOXEL_M).astype(int)
    found = {
        (int(x + corner[0]), int(y + corner[1])): int(mask.cost[y, x])
        for y, x in zip(*np.nonzero(mask.cost != UNSEEN), strict=True)
    }
    assert found == expected


def test_masks_have_bounds() -> None:
    scene = made([(torch.tensor([[0, 0, 0], [1, 0, 0], [900_000, 900_000, 0]]), UP, FLOOR)])
    mask = keepout_mask(scene, Drivable(np.zeros(3, bool), np.ones(3, bool), np.zeros(3, np.float32)))
    assert mask.cost.size <= MAX_CELLS
    assert (mask.cost != UNSEEN).sum() == 2
    nothing = np.zeros(3, bool)
    assert keepout_mask(scene, Drivable(nothing, nothing, np.zeros(3, np.float32))).cost.size == 0


def test_targets_are_whole_objects() -> None:
    parts = [
        (box_cells((0, 0, 0), (10, 10, 1)), UP, WALL),
        (box_cells((0, 0, 1), (2, 2, 3)), UP, CUP),
        (box_cells((0, 2, 1), (2, 3, 3)), UP, WALL),  # the cup's handle, called a wall
        (box_cells((8, 8, 1), (9, 9, 2)), UP, CUP),  # a cup of no object
        (box_cells((5, 5, 1), (6, 6, 2)), UP, CUP),  # a voxel of the table, called a cup
    ]
    scene = made(parts, [3, 7, 7, 0, 3])
    is_cup = (scene.instance == 7) | at(scene, (0.4, 0.4, 0.05), (0.45, 0.45, 0.1))
    for targets in ([], [""], ["cup"], ["Mug"], ["cup", "no such thing"]):
        np.testing.assert_array_equal(is_target(scene, WORDS, targets), is_cup.numpy())
    np.testing.assert_array_equal(is_target(scene, WORDS, ["3"]), (scene.instance == 3).numpy())
    assert not is_target(scene, WORDS, ["99", "curtain"]).any()


def test_targets_by_word_and_by_number() -> None:
    assert target_labels(WORDS, [" "]) == [CUP]
    assert target_labels(WORDS, ["rug", "mug", "12"]) == [RUG, CUP]
    assert target_ids(["rug", "12", " 7 ", ""]) == [12, 7]
