"""Objects described from their voxels, boxes by hand."""

import dataclasses
import math

import pytest
import torch
from windows import VOXEL_M, box_cells, window

from ws3d_ros.instances.instance import Instance, describe_points
from ws3d_ros.reconstruction.window import Window


def describe(win: Window) -> list[Instance]:
    columns = (win.label, win.confidence.float(), win.instance)
    return describe_points(win.points_m.numpy(), *(column.numpy() for column in columns), win.voxel_size_m)


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
    win = dataclasses.replace(
        win,
        instance=torch.tensor([5, 2, 0, 5], dtype=torch.int32),
        label=torch.tensor([1, 2, 0, 1], dtype=torch.int16),
    )
    found = describe(win)
    assert [(thing.id, thing.label, thing.voxels) for thing in found] == [(2, 2, 1), (5, 1, 2)]
    single = found[0]
    assert single.box_size_m == pytest.approx((VOXEL_M,) * 3)
    assert single.centroid_m == pytest.approx((0.075, 0.025, 0.025))
