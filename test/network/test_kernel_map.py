from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sparse_clouds import as_tensor, parents, plain_offsets, plain_pairs, points, random_cells, unique

from ws3d_ros.network.kernel_map import (
    KernelMap,
    coarsen,
    down_map,
    kernel_offsets,
    submanifold_map,
    unique_rows,
)

STRIDES = st.sampled_from([1, 2, 8])


def as_pairs(kernel_map: KernelMap) -> list[list[tuple[int, int]]]:
    """The map as the oracle gives it."""
    both = torch.stack([kernel_map.inputs, kernel_map.outputs], dim=1).tolist()
    ends = zip(kernel_map.starts, kernel_map.starts[1:], strict=False)
    return [[tuple(pair) for pair in both[begin:end]] for begin, end in ends]


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_offsets_run_x_fastest(size: int) -> None:
    assert [tuple(offset) for offset in kernel_offsets(size).tolist()] == plain_offsets(size)


def test_offset_number_of_minkowski_engine() -> None:
    # k = ix + K iy + K² iz; the centre of a kernel of 3 is 13, the step of +x is 14.
    assert kernel_offsets(3)[13].tolist() == [0, 0, 0]
    assert kernel_offsets(3)[14].tolist() == [1, 0, 0]
    assert kernel_offsets(3)[16].tolist() == [0, 1, 0]
    assert kernel_offsets(3)[22].tolist() == [0, 0, 1]
    assert kernel_offsets(2)[0].tolist() == [0, 0, 0]
    assert kernel_offsets(2)[6].tolist() == [0, 1, 1]


@given(points, STRIDES, st.sampled_from([3, 5]))
def test_neighbours_are_those_of_a_dictionary(
    rows: list[tuple[int, int, int, int]], stride: int, size: int
) -> None:
    cells = parents(as_tensor(rows), 1)
    cells[:, 1:] *= stride
    found = submanifold_map(cells, size, stride)
    assert as_pairs(found) == plain_pairs(cells, cells, size, stride)
    assert (found.n_inputs, found.n_outputs) == (len(cells), len(cells))


@given(points, STRIDES)
def test_children_are_those_of_a_dictionary(rows: list[tuple[int, int, int, int]], stride: int) -> None:
    fine = parents(as_tensor(rows), stride)
    coarse = parents(fine, 2 * stride)
    found = down_map(fine, coarse, stride)
    assert as_pairs(found) == plain_pairs(fine, coarse, 2, stride)
    assert sorted(found.inputs.tolist()) == list(range(len(fine))), "each cell has one parent"


@given(points, STRIDES)
def test_parents_by_floor_ascending_and_unique(rows: list[tuple[int, int, int, int]], stride: int) -> None:
    coords = as_tensor(rows)
    cells, parent = coarsen(coords, stride)
    assert torch.equal(cells, parents(coords, stride))
    assert torch.equal(cells[parent][:, 0], coords[:, 0])
    inside = coords[:, 1:] - cells[parent][:, 1:]
    assert ((inside >= 0) & (inside < stride)).all()


def test_parents_of_negative_cells() -> None:
    coords = torch.tensor([[0, -1, -2, -3], [0, 0, 1, 2], [1, -1, -2, -3]])
    cells, parent = coarsen(coords, 2)
    assert cells.tolist() == [[0, -2, -2, -4], [0, 0, 0, 2], [1, -2, -2, -4]]
    assert parent.tolist() == [0, 1, 2]


@given(points)
def test_unique_rows_are_numpys(rows: list[tuple[int, int, int, int]]) -> None:
    coords = as_tensor(rows)
    cells, inverse = unique_rows(coords)
    assert torch.equal(cells, unique(coords))
    assert torch.equal(cells[inverse], coords)


def test_unique_rows_far_apart() -> None:
    # Too wide for a look-up table: the other way to find them.
    coords = random_cells(0)
    coords[::3, 1] += 900_000
    coords[1::3, 2] -= 900_000
    cells, inverse = unique_rows(coords.flip(0))
    assert np.array_equal(cells.numpy(), np.unique(coords.numpy(), axis=0))
    assert torch.equal(cells[inverse], coords.flip(0))


def test_neighbours_do_not_wrap_around_the_box() -> None:
    # Ends of the box and of the batches: one step on in the numbering, far apart in space.
    corners = [(b, x, y, z) for b in (0, 1) for x in (-4, 4) for y in (-3, 3) for z in (-2, 2)]
    cells = unique(as_tensor(corners))
    for size in (3, 5):
        found = submanifold_map(cells, size, 1)
        assert as_pairs(found) == plain_pairs(cells, cells, size, 1)
        assert torch.equal(found.inputs, found.outputs)


def test_no_cells() -> None:
    none = as_tensor([])
    neighbours, children = submanifold_map(none, 3, 1), down_map(none, none, 1)
    assert (len(neighbours.inputs), len(neighbours.starts)) == (0, 28)
    assert (len(children.inputs), len(children.starts)) == (0, 9)
    assert neighbours.table.shape == (0, 27)
    assert coarsen(none, 4)[0].shape == (0, 4)


@pytest.mark.parametrize("at", [-1, 0, 7])
def test_one_cell(at: int) -> None:
    cell = torch.tensor([[2, at, at, at]])
    assert as_pairs(submanifold_map(cell, 3, 1)) == [[(0, 0)] if k == 13 else [] for k in range(27)]
    # An odd coordinate is the upper child on each axis: offset 7; an even one the lower: 0.
    k_of_child = 7 if at % 2 else 0
    assert as_pairs(down_map(cell, coarsen(cell, 2)[0], 1)) == [
        [(0, 0)] if k == k_of_child else [] for k in range(8)
    ]


def test_the_way_back_swaps_the_ends() -> None:
    fine = random_cells(1)
    there = down_map(fine, parents(fine, 2), 1)
    back = there.transposed
    assert as_pairs(back) == [[(o, i) for i, o in pairs] for pairs in as_pairs(there)]
    assert (back.n_inputs, back.n_outputs) == (there.n_outputs, there.n_inputs)


def test_identity_is_the_centre() -> None:
    cells = random_cells(2)
    found = submanifold_map(cells, 3, 1)
    assert found.identity == 13
    assert as_pairs(found)[13] == [(i, i) for i in range(len(cells))]


@pytest.mark.parametrize("size", [2, 3])
def test_table_says_the_same_as_the_pairs(size: int) -> None:
    cells = random_cells(3, points=200, reach=5)
    outputs = parents(cells, 2) if size == 2 else cells
    found = down_map(cells, outputs, 1) if size == 2 else submanifold_map(cells, size, 1)
    table = torch.full((len(outputs), size**3), len(cells))
    for k, pairs in enumerate(plain_pairs(cells, outputs, size, 1)):
        for i, o in pairs:
            table[o, k] = i
    assert torch.equal(found.table, table)
