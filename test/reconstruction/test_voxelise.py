"""Clouds to voxels, against dictionaries; normals against shapes whose normals are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ws3d_ros.reconstruction.keys import unpack_keys
from ws3d_ros.reconstruction.normals import estimate_normals
from ws3d_ros.reconstruction.voxelise import voxelise


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 200), size=st.sampled_from([0.05, 0.3]))
def test_means_of_voxels(seed: int, count: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    points = rng.uniform(-0.5, 0.5, (count, 3)).astype(np.float32)
    color = rng.uniform(0, 255, (count, 3)).astype(np.float32)
    color[rng.random(count) < 0.3] = np.nan
    normal = rng.normal(size=(count, 3)).astype(np.float32)
    window, row = voxelise(*(torch.from_numpy(values) for values in (points, color, normal)), size)

    cells: dict[tuple[int, ...], list[int]] = {}
    for i, cell in enumerate(np.floor(points / np.float32(size)).astype(int).tolist()):
        cells.setdefault(tuple(cell), []).append(i)
    assert [tuple(cell) for cell in unpack_keys(window.keys).tolist()] == sorted(cells)
    for number, cell in enumerate(sorted(cells)):
        members = cells[cell]
        assert row[members].tolist() == [number] * len(members)
        assert window.weight[number] == len(members)
        known = color[members][~np.isnan(color[members]).any(1)]
        mean = known.mean(0) if len(known) else np.full(3, np.nan)
        total = normal[members].astype(np.float64).sum(0)
        # float32 sums of a few values.
        np.testing.assert_allclose(window.points_m[number], points[members].mean(0), atol=1e-6)
        np.testing.assert_allclose(window.color[number], mean, rtol=1e-5)
        np.testing.assert_allclose(window.normal[number], total / np.linalg.norm(total), atol=1e-4)


def test_what_is_not_there_is_unknown() -> None:
    window, _ = voxelise(torch.rand(10, 3), None, None, 0.1)
    assert window.color.isnan().all()
    assert (window.normal == 0).all()


def test_points_out_of_range_are_told() -> None:
    points = torch.tensor([[0.0, 0.0, 0.0], [1e7, 0.0, 0.0]])
    with pytest.raises(ValueError, match="are they in metres"):
        voxelise(points, None, None, 0.05)


def box_room() -> tuple[torch.Tensor, torch.Tensor]:
    """Points of the inside of a box of 4 x 3 x 2.5 m with its normals inwards, edges left out."""
    axes = [np.arange(0.2, length - 0.19, 0.05) for length in (4.0, 3.0, 2.5)]
    points, normals = [], []
    for axis, length in enumerate((4.0, 3.0, 2.5)):
        others = [i for i in range(3) if i != axis]
        u, v = (each.ravel() for each in np.meshgrid(axes[others[0]], axes[others[1]]))
        for place, sign in ((0.0, 1.0), (length, -1.0)):
            side = np.zeros((len(u), 3))
            side[:, others[0]], side[:, others[1]], side[:, axis] = u, v, place
            points.append(side)
            normals.append(np.tile(np.eye(3)[axis] * sign, (len(u), 1)))
    return torch.from_numpy(np.vstack(points)).float(), torch.from_numpy(np.vstack(normals)).float()


def test_normals_of_a_room_look_into_it() -> None:
    points, normal = box_room()
    torch.testing.assert_close(estimate_normals(points), normal, atol=1e-4, rtol=0)


def test_normals_do_not_depend_on_the_room_next_door() -> None:
    points, normal = box_room()
    both = torch.cat([points, points + torch.tensor([20.0, 0.0, 0.0])])
    torch.testing.assert_close(estimate_normals(both), normal.repeat(2, 1), atol=1e-4, rtol=0)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_points_have_no_normal(count: int) -> None:
    assert torch.equal(estimate_normals(torch.rand(count, 3)), torch.zeros(count, 3))
