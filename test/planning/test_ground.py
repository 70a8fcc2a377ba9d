"""Ground is level, joined by small steps, and has head room; nothing else is ground."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from windows import VOXEL_M, box_cells, random_cells, window
from worlds import CEILING, FLOOR, SIZE, at, box, hall, made

from ws3d_ros.config import PlanningConfig
from ws3d_ros.planning.ground import column_of, height_above_ground
from ws3d_ros.reconstruction.voxel_map import unpack_keys
from ws3d_ros.reconstruction.window import Window

UP = (0.0, 0.0, 1.0)
ROBOT = PlanningConfig(step_height_m=0.08, max_slope_deg=20.0, robot_height_m=1.0)


def heights(scene: Window, robot: PlanningConfig = ROBOT, sensor_m: float = 1.2) -> np.ndarray:
    return height_above_ground(scene, np.ones(len(scene), bool), sensor_m, robot)


def test_on_a_bare_floor_heights_are_heights() -> None:
    scene = hall()
    expected = scene.points_m[:, 2] - VOXEL_M / 2  # the floor's voxels have their middle there
    np.testing.assert_allclose(heights(scene), expected, atol=1e-5)


def test_what_stands_on_the_floor_is_measured_from_the_floor_around() -> None:
    scene = hall(*box((30, 30, 1), (40, 44, 9)))
    top = at(scene, (1.5, 1.5, 0.4), (2.0, 2.2, 0.45))
    assert top.sum() == 10 * 14
    np.testing.assert_allclose(heights(scene)[top], 8 * VOXEL_M, atol=1e-5)


@pytest.mark.parametrize(("height", "expected"), [(1.0, 0.75), (0.5, 0.75)])
def test_a_table_top_is_no_ground_with_or_without_room_below(height: float, expected: float) -> None:
    """The floor below the table is none for a tall robot, yet the one around it still is."""
    table = (box_cells((30, 30, 15), (50, 50, 16)), UP, 0)
    scene = hall(table)
    top = at(scene, (1.5, 1.5, 0.7), (2.5, 2.5, 0.9))
    measured = heights(scene, replace(ROBOT, robot_height_m=height))[top]
    np.testing.assert_allclose(measured, expected, atol=1e-5)


def test_a_ceiling_is_no_ground_however_large() -> None:
    floor = (box_cells((0, 0, 0), (20, 20, 1)), UP, FLOOR)
    ceiling = (box_cells((0, 0, 50), (60, 60, 51)), (0.0, 0.0, -1.0), CEILING)
    roof = (box_cells((0, 0, 52), (60, 60, 53)), UP, 0)  # above the sensor
    scene = made([floor, ceiling, roof])
    assert heights(scene)[at(scene, (0, 0, 0), (1, 1, 0.05))].max() == pytest.approx(0.0, abs=1e-6)


def test_ground_seen_in_rings_is_one_ground() -> None:
    """A LiDAR's rings, half a metre apart, and a step of 30 cm between two of them."""
    cells = box_cells((0, 0, 0), (100, 100, 1))
    ring = (torch.hypot(cells[:, 0] - 50.0, cells[:, 1] - 50.0) / 10).floor() % 2 == 0
    low = cells[ring]
    high = low.clone()
    high[:, 2] = 6
    right = low[:, 0] >= 50
    scene = window(torch.where(right[:, None], high, low), normal=torch.tensor(UP).expand(len(low), 3))
    measured = heights(scene)
    is_high = scene.points_m[:, 0] >= 2.5
    # Both halves are as large; one of them is the ground, and from it the other one is a step away.
    means = {round(float(measured[part].mean()), 2) for part in (is_high, ~is_high)}
    assert means in ({0.0, 0.3}, {0.0, -0.3})


@pytest.mark.parametrize(("degrees", "is_ground"), [(10.0, True), (35.0, False)])
def test_a_ramp_is_ground_unless_it_is_steep(degrees: float, is_ground: bool) -> None:
    slope = np.tan(np.radians(degrees))
    cells = box_cells((0, 0, 0), (SIZE, SIZE, 1))
    rise_m = np.maximum(0.0, (cells[:, 0].numpy() - 40) * VOXEL_M) * slope
    cells[:, 2] = torch.from_numpy(np.floor(rise_m / VOXEL_M)).long()
    n = torch.tensor([-np.sin(np.radians(degrees)), 0.0, np.cos(np.radians(degrees))], dtype=torch.float32)
    normal = torch.where((cells[:, 0] > 40)[:, None], n, torch.tensor(UP))
    scene = window(cells, normal=normal)
    exact = scene.points_m.clone()
    exact[:, 2] = torch.clamp((unpack_keys(scene.keys)[:, 0] - 40) * VOXEL_M, min=0.0) * slope
    scene = replace(scene, points_m=exact)
    top = heights(scene, sensor_m=5.0)[(scene.points_m[:, 0] > 3.5).numpy()]
    assert (np.abs(top).max() < 0.02) == is_ground


def test_without_anything_level_there_is_no_ground() -> None:
    scene = made([(box_cells((0, 0, 0), (1, 40, 40)), (1.0, 0.0, 0.0), 0)])
    assert np.isnan(heights(scene)).all()
    assert len(heights(window(torch.zeros(0, 3, dtype=torch.int64)))) == 0


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), reach=st.integers(2, 8))
def test_columns_are_the_voxels_of_one_place(seed: int, reach: int) -> None:
    scene = window(random_cells(60, reach, seed))
    column, first = column_of(scene)
    places = unpack_keys(scene.keys)[:, :2].numpy()
    _, expected = np.unique(places, axis=0, return_inverse=True)
    np.testing.assert_array_equal(column, expected)
    np.testing.assert_array_equal(places[first], np.unique(places, axis=0))
