from __future__ import annotations

from collections import defaultdict

import pytest
import torch
from hypothesis import given
from sparse_clouds import as_tensor, parents, points, random_cells

from ws3d_ros.network.backends.torch_backend import TorchBackend
from ws3d_ros.network.sparse_tensor import COORDINATE_LIMIT, sparse_tensor

ENGINE = TorchBackend()


@given(points)
def test_points_of_a_cell_are_averaged(rows: list[tuple[int, int, int, int]]) -> None:
    features = torch.arange(2.0 * len(rows), dtype=torch.float64).reshape(-1, 2).sin()
    x, cell = sparse_tensor(as_tensor(rows), features, ENGINE)

    members = defaultdict(list)
    for row, feature in zip(rows, features.tolist(), strict=True):
        members[row].append(feature)
    assert [tuple(c) for c in x.coords.tolist()] == sorted(members)
    for c, feature in zip(x.coords.tolist(), x.features, strict=True):
        expected = torch.tensor(members[tuple(c)], dtype=torch.float64).mean(dim=0)
        torch.testing.assert_close(feature, expected)  # float64: only the order of the sum differs
    assert torch.equal(x.coords[cell], as_tensor(rows))
    assert x.stride == 1


def test_order_of_points_does_not_matter() -> None:
    cells = random_cells(0)
    features = torch.randn(len(cells), 3, generator=torch.Generator().manual_seed(0))
    order = torch.randperm(len(cells), generator=torch.Generator().manual_seed(1))
    x, _ = sparse_tensor(cells, features, ENGINE)
    y, cell = sparse_tensor(cells[order], features[order], ENGINE)
    assert torch.equal(x.coords, cells)
    assert torch.equal(x.features, features)
    assert torch.equal(y.coords, cells)
    assert torch.equal(y.features, features)
    assert torch.equal(cell, order)


def test_gradients_reach_points_with_and_without_company() -> None:
    for coords in ([[0, 0, 0, 0], [0, 5, 0, 0]], [[0, 0, 0, 0], [0, 5, 0, 0], [0, 0, 0, 0]]):
        features = torch.ones(len(coords), 1, dtype=torch.float64, requires_grad=True)
        torch.autograd.gradcheck(
            lambda f, c=coords: sparse_tensor(torch.tensor(c), f, ENGINE)[0].features, features
        )


def test_every_stride_of_the_pyramid() -> None:
    cells = random_cells(4)
    x, _ = sparse_tensor(cells, torch.zeros(len(cells), 1), ENGINE)
    for stride in (1, 2, 4, 8, 16):
        assert torch.equal(x.pyramid.coords(stride), parents(cells, stride))
    assert x.pyramid.neighbours(4, 3) is x.pyramid.neighbours(4, 3), "maps are made once"
    assert x.pyramid.children(2) is x.pyramid.children(2)


def test_narrow_integers_and_other_types() -> None:
    coords = torch.tensor([[0, -3, 2, 1]], dtype=torch.int32)
    x, _ = sparse_tensor(coords, torch.ones(1, 2, dtype=torch.bfloat16), ENGINE)
    assert x.coords.dtype == torch.int64
    assert x.features.dtype == torch.bfloat16


def test_no_points() -> None:
    x, cell = sparse_tensor(as_tensor([]), torch.zeros(0, 3), ENGINE)
    assert (x.coords.shape, x.features.shape, cell.shape) == ((0, 4), (0, 3), (0,))


@pytest.mark.parametrize(
    ("coords", "features"),
    [
        (torch.zeros(3, 3), torch.zeros(3, 1)),
        (torch.zeros(3), torch.zeros(3, 1)),
        (torch.zeros(3, 4), torch.zeros(2, 1)),
        (torch.zeros(3, 4), torch.zeros(3)),
    ],
)
def test_wrong_shapes(coords: torch.Tensor, features: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"coords must be \(N, 4\)"):
        sparse_tensor(coords.long(), features, ENGINE)


@pytest.mark.parametrize("coord", [[0, COORDINATE_LIMIT, 0, 0], [0, 0, 0, -COORDINATE_LIMIT], [-1, 0, 0, 0]])
def test_coordinates_out_of_range(coord: list[int]) -> None:
    with pytest.raises(ValueError, match="must be within"):
        sparse_tensor(torch.tensor([coord]), torch.zeros(1, 1), ENGINE)


def corners(half: int) -> torch.Tensor:
    ends = (-half, half)
    return as_tensor([(b, x, y, z) for b in (0, 1) for x in ends for y in ends for z in ends])


def test_far_apart() -> None:
    coords = corners(400_000)
    x, _ = sparse_tensor(coords, torch.ones(len(coords), 1), ENGINE)
    assert torch.equal(x.coords, coords)
    neighbours = x.pyramid.neighbours(1, 5)
    assert torch.equal(neighbours.inputs, torch.arange(len(coords)))
    assert torch.equal(neighbours.outputs, neighbours.inputs)


def test_too_far_apart_to_number() -> None:
    coords = corners(COORDINATE_LIMIT - 1)
    with pytest.raises(ValueError, match="too far apart"):
        sparse_tensor(coords, torch.ones(len(coords), 1), ENGINE)
