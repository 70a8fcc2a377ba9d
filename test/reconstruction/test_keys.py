"""Voxel coordinates as keys, and the different ones of many."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ws3d_ros.reconstruction.keys import COORDINATE_LIMIT, pack_keys, unique_cells, unpack_keys

WHOLE_RANGE = st.integers(-COORDINATE_LIMIT, COORDINATE_LIMIT - 1)
COORDS = st.integers(0, 60).flatmap(lambda n: arrays(np.int64, (n, 3), elements=WHOLE_RANGE))
NEAR_EACH_OTHER = st.integers(0, 60).flatmap(lambda n: arrays(np.int64, (n, 3), elements=st.integers(-4, 4)))


@given(COORDS)
def test_keys_give_their_coordinates_back_and_sort_like_them(coords: np.ndarray) -> None:
    keys = pack_keys(torch.from_numpy(coords))
    assert torch.equal(unpack_keys(keys), torch.from_numpy(coords))
    assert np.array_equal(np.argsort(keys.numpy(), kind="stable"), np.lexsort(coords.T[::-1]))


@given(st.one_of(COORDS, NEAR_EACH_OTHER))
def test_unique_cells_are_those_of_numpy(coords: np.ndarray) -> None:
    cells, inverse = unique_cells(torch.from_numpy(coords))
    if len(coords) == 0:
        assert len(cells) == len(inverse) == 0
        return
    expected, expected_inverse = np.unique(coords, axis=0, return_inverse=True)
    assert np.array_equal(cells.numpy(), expected)
    assert np.array_equal(inverse.numpy(), expected_inverse.reshape(-1))
