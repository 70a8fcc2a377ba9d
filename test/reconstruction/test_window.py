"""Parts of a window."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from windows import window

from ws3d_ros.reconstruction.window import nearest


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 60), most=st.integers(1, 70))
def test_the_nearest_are_those_of_a_sort(seed: int, count: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    cells = np.unique(rng.integers(-20, 20, (count, 3)), axis=0)
    whole = window(torch.from_numpy(cells), label=torch.arange(len(cells)).short())
    center_m = torch.from_numpy(rng.uniform(-1, 1, 3))
    part = nearest(whole, center_m, most)
    away_m = (whole.points_m.double() - center_m).norm(dim=1)
    expected = away_m.sort().values[:most]
    assert len(part) == min(most, len(whole))
    # float32 distances below 3 m: ties of it may go either way
    np.testing.assert_allclose(
        (part.points_m.double() - center_m).norm(dim=1).sort().values, expected, atol=1e-6
    )
    assert (part.keys.diff() > 0).all()
    rows = torch.searchsorted(whole.keys, part.keys)
    assert torch.equal(part.label, whole.label[rows])
    assert torch.equal(part.points_m, whole.points_m[rows])
