"""Parts of a cloud: each cell in one of them, none too large, all that is around there too."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from windows import random_cells

from ws3d_ros.network.pieces import pieces


@given(
    seed=st.integers(0, 2**16),
    count=st.integers(0, 200),
    reach=st.integers(1, 30),
    most=st.integers(1, 80),
    halo=st.integers(0, 8),
)
def test_each_cell_once_with_its_surroundings(
    seed: int, count: int, reach: int, most: int, halo: int
) -> None:
    cells = random_cells(count, reach, seed)
    seen = torch.zeros(len(cells), dtype=torch.int64)
    for rows, part in pieces(cells, most, halo):
        assert 0 < len(part) <= most
        assert (rows.diff() > 0).all()
        seen[part] += 1
        distance = (cells[:, None] - cells[None, part]).abs().amax(2).amin(1)
        around = (distance <= halo).nonzero()[:, 0]
        assert torch.isin(around, rows).all()
        low, high = cells[part].amin(0) - halo, cells[part].amax(0) + halo
        assert ((cells[rows] >= low) & (cells[rows] <= high)).all()
    assert (seen == 1).all()


def test_cells_of_one_place_can_be_parted_too() -> None:
    found = [part for _, part in pieces(torch.zeros(10, 3, dtype=torch.int64), 3, 0)]
    assert sorted(torch.cat(found).tolist()) == list(range(10))
