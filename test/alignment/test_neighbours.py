"""The neighbour table against a dictionary."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from windows import random_cells, window

from ws3d_ros.alignment.neighbours import OFFSETS, neighbour_table
from ws3d_ros.reconstruction.voxel_map import unpack_keys


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 300), st.integers(1, 6), st.integers(0, 1000))
def test_agrees_with_a_dictionary(count: int, reach: int, seed: int) -> None:
    keys = window(random_cells(count, reach, seed)).keys
    table = neighbour_table(keys)
    cells = [tuple(cell) for cell in unpack_keys(keys).tolist()]
    row_of = {cell: row for row, cell in enumerate(cells)}
    expected = [[row_of.get((x + dx, y + dy, z + dz), -1) for dx, dy, dz in OFFSETS] for x, y, z in cells]
    assert table.tolist() == expected


def test_an_empty_map_has_an_empty_table() -> None:
    assert neighbour_table(torch.empty(0, dtype=torch.int64)).shape == (0, 26)
