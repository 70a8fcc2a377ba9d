"""Objects against a flood fill, ids over time, boxes by hand."""

import math
from collections import deque
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from windows import VOXEL_M, box_cells, random_cells, window

from ws3d_ros.alignment.neighbours import neighbour_table
from ws3d_ros.instances.grouping import describe, group
from ws3d_ros.reconstruction.voxel_map import unpack_keys


def flood_fill(cells: list[tuple[int, ...]], label: list[int], min_voxels: int) -> set[frozenset[int]]:
    """Components as sets of rows, by breadth-first search."""
    row_of = {cell: row for row, cell in enumerate(cells)}
    seen: set[int] = set()
    found = set()
    for start in range(len(cells)):
        if start in seen or label[start] == 0:
            continue
        queue, part = deque([start]), {start}
        while queue:
            x, y, z = cells[queue.popleft()]
            for dx in (-1, 0, 1):
                for dy in (-1, 0, 1):
                    for dz in (-1, 0, 1):
                        other = row_of.get((x + dx, y + dy, z + dz))
                        if other is not None and other not in part and label[other] == label[start]:
                            part.add(other)
                            queue.append(other)
        seen |= part
        if len(part) >= min_voxels:
            found.add(frozenset(part))
    return found


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 250), st.integers(1, 5), st.integers(0, 1000))
def test_agrees_with_a_flood_fill(count: int, min_voxels: int, seed: int) -> None:
    win = window(random_cells(count, 5, seed))
    label = torch.from_numpy(np.random.default_rng(seed).integers(0, 3, len(win))).to(torch.int16)
    ids = group(label, win.instance, neighbour_table(win.keys), min_voxels, next_id=1)
    got = {frozenset(torch.nonzero(ids == id_)[:, 0].tolist()) for id_ in ids.unique().tolist() if id_ > 0}
    cells = [tuple(cell) for cell in unpack_keys(win.keys).tolist()]
    assert got == flood_fill(cells, label.tolist(), min_voxels)


def regroup(before: list[int], label: list[int], next_id: int = 100) -> list[int]:
    """Ids of a row of voxels that touch along x."""
    win = window(box_cells((0, 0, 0), (len(label), 1, 1)))
    ids = group(
        torch.tensor(label, dtype=torch.int16),
        torch.tensor(before, dtype=torch.int32),
        neighbour_table(win.keys),
        min_voxels=1,
        next_id=next_id,
    )
    assert ids.dtype == torch.int32
    return ids.tolist()


def test_an_object_keeps_its_id_when_it_grows() -> None:
    assert regroup([0, 7, 7, 0, 0], [1, 1, 1, 1, 1]) == [7] * 5


def test_an_object_keeps_its_id_when_its_name_changes() -> None:
    assert regroup([7, 7, 7], [2, 2, 2]) == [7] * 3


def test_the_larger_part_keeps_the_id_after_a_split() -> None:
    assert regroup([7, 7, 7, 7, 7], [1, 0, 1, 1, 1]) == [100, 0, 7, 7, 7]


def test_the_larger_one_gives_its_id_after_a_merge() -> None:
    assert regroup([7, 7, 0, 8, 8, 8], [1, 1, 1, 1, 1, 1]) == [8] * 6


def test_losing_a_voxel_to_a_neighbour_changes_no_id() -> None:
    assert regroup([7, 7, 7, 8, 8, 8], [1, 1, 2, 2, 2, 2]) == [7, 7, 8, 8, 8, 8]


def test_new_objects_get_new_ids() -> None:
    assert regroup([0, 0, 0], [1, 2, 1], next_id=5) == [5, 6, 7]


def test_nothing_is_no_object() -> None:
    assert regroup([3, 3], [0, 0]) == [0, 0]
    assert regroup([], []) == []


def test_a_turned_box_is_found() -> None:
    length, width, height, yaw = 1.2, 0.4, 0.5, math.radians(30)
    grid = torch.cartesian_prod(
        torch.arange(-length / 2, length / 2, 0.02),
        torch.arange(-width / 2, width / 2, 0.02),
        torch.arange(0, height, 0.02),
    )
    turn = torch.tensor([[math.cos(yaw), -math.sin(yaw), 0], [math.sin(yaw), math.cos(yaw), 0], [0, 0, 1]])
    points = grid @ turn.T + torch.tensor([2.0, -1.0, 0.3])
    cells = (points / VOXEL_M).floor().long().unique(dim=0)
    count = len(cells)
    win = window(
        cells,
        label=torch.full((count,), 3, dtype=torch.int16),
        instance=torch.full((count,), 9, dtype=torch.int32),
    )
    (found,) = describe(win)
    assert (found.id, found.label, found.voxels) == (9, 3, count)
    assert found.confidence == pytest.approx(0.5)
    # Voxels are 5 cm: sides are known to about one voxel at either end.
    assert found.box_size_m == pytest.approx((length, width, height), abs=2 * VOXEL_M)
    assert found.box_yaw_rad == pytest.approx(yaw, abs=0.06)
    assert found.box_center_m == pytest.approx((2.0, -1.0, 0.3 + height / 2), abs=VOXEL_M)
    assert found.centroid_m == pytest.approx((2.0, -1.0, 0.3 + height / 2), abs=VOXEL_M)
    # The axis-aligned box in closed form.
    reach = (length * math.cos(yaw) + width * math.sin(yaw)) / 2
    assert found.high_m[0] - found.low_m[0] == pytest.approx(2 * reach, abs=2 * VOXEL_M)


def test_several_objects_are_told_apart_and_sorted() -> None:
    win = window(box_cells((0, 0, 0), (4, 1, 1)))
    win = replace(
        win,
        instance=torch.tensor([5, 2, 0, 5], dtype=torch.int32),
        label=torch.tensor([1, 2, 0, 1], dtype=torch.int16),
    )
    found = describe(win)
    assert [(thing.id, thing.label, thing.voxels) for thing in found] == [(2, 2, 1), (5, 1, 2)]
    single = found[0]
    assert single.box_size_m == pytest.approx((VOXEL_M,) * 3)
    assert single.centroid_m == pytest.approx((0.075, 0.025, 0.025))
