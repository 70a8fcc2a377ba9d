"""A sweep as an image: filled rows, nearest returns, normals."""

import numpy as np
import pytest
import torch
from box_world import ROOM, sweep

from ws3d_ros.reconstruction.range_image import CELL_SIZES_DEG, elevation, range_image


def raised(height_m: float) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, 3] = [0.3, -0.2, height_m]
    return pose


@pytest.mark.parametrize(("rings", "cell_deg"), [(100, 0.5), (64, 1.0), (32, 2.0), (16, 4.0)])
def test_cells_are_as_high_as_rings_are_apart(rings: int, cell_deg: float) -> None:
    # 40 degrees over the rings: 0.4, 0.63, 1.3 and 2.7 degrees apart.
    image = range_image(sweep(raised(1.2), rings=rings).points_m)
    assert np.isclose(np.degrees(image.cell_rad), cell_deg)
    assert cell_deg in CELL_SIZES_DEG
    assert (image.range_m > 0).float().mean() > 0.95


def test_a_cell_holds_its_nearest_return() -> None:
    points = sweep(raised(1.2)).points_m
    image = range_image(points)
    row, column = (index.floor().long() for index in image.cells(points))
    expected = np.full(image.range_m.shape, np.inf)
    for i, j, distance in zip(row.tolist(), column.tolist(), points.norm(dim=1).tolist(), strict=True):
        expected[i, j] = min(expected[i, j], distance)
    expected[np.isinf(expected)] = 0
    assert np.array_equal(image.range_m.numpy(), expected.astype(np.float32))


def test_floor_and_walls_get_their_normals() -> None:
    scan = sweep(raised(0.6))
    normal = range_image(scan.points_m).normals(scan.points_m).numpy()
    world = scan.points_m.numpy() + scan.T_map_lidar[:3, 3]
    floor = (world[:, 2] < ROOM[0][2] + 1e-3) & (np.abs(world[:, 0]) < 2.3) & (np.abs(world[:, 1]) < 1.8)
    wall = (
        (world[:, 0] > ROOM[1][0] - 1e-3)
        & (np.abs(world[:, 1]) < 2)
        & (world[:, 2] > 0.4)
        & (world[:, 2] < 2.2)
    )
    assert floor.sum() > 1000
    assert wall.sum() > 500
    assert np.mean(normal[floor] @ [0, 0, 1] > 0.98) > 0.95
    assert np.mean(normal[wall] @ [-1, 0, 0] > 0.98) > 0.98
    length = np.linalg.norm(normal, axis=1)
    assert np.all((np.abs(length - 1) < 1e-5) | (length == 0))


def test_beams_without_return_are_no_obstacle() -> None:
    points = sweep(raised(1.2)).points_m
    image = range_image(torch.cat([torch.zeros(5, 3), points]))
    assert torch.equal(image.range_m, range_image(points).range_m)


def test_no_returns_make_an_empty_image() -> None:
    image = range_image(torch.zeros(0, 3))
    assert not image.range_m.any()
    assert elevation(torch.tensor([[1.0, 0.0, 1.0]])).item() == pytest.approx(np.pi / 4)
