"""Cells to convolve on, and the plainest way to do it: a dictionary and one product for each pair."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor

PROJECT = Path(__file__).resolve().parents[2]
SMALL_HOUSE = PROJECT.parent / "shared" / "data" / "small_house"
VOXEL_M = 0.05

points = st.lists(
    st.tuples(st.integers(0, 2), st.integers(-6, 6), st.integers(-6, 6), st.integers(-3, 3)), max_size=60
)
"""(batch, x, y, z), crowded enough that cells have neighbours and points share cells."""


def as_tensor(rows: list[tuple[int, int, int, int]]) -> Tensor:
    """(N, 4) int64, N may be 0."""
    return torch.tensor(rows, dtype=torch.int64).reshape(-1, 4)


def unique(coords: Tensor) -> Tensor:
    """The different rows, ascending, by torch's own sort."""
    return torch.unique(coords, dim=0) if len(coords) else coords


def parents(coords: Tensor, stride: int) -> Tensor:
    """The cells of ``stride`` above the given ones, by numpy's floor."""
    cells = coords.clone()
    cells[:, 1:] = torch.from_numpy(coords[:, 1:].numpy() // stride * stride)
    return unique(cells)


def random_cells(seed: int, points: int = 1500, reach: int = 10, batches: int = 3) -> Tensor:
    """Cells around the origin, a share of the box filled."""
    generator = torch.Generator().manual_seed(seed)
    xyz = torch.randint(-reach, reach, (points, 3), generator=generator)
    return unique(torch.cat([torch.randint(0, batches, (points, 1), generator=generator), xyz], dim=1))


def sample_room() -> Tensor:
    """Out of ``samples/room``: thin surfaces."""
    with np.load(PROJECT / "samples" / "room" / "ground_truth.npz") as truth:
        return piece(voxels(truth["points_m"].astype(np.float64)), reach=12)


def house_sweeps() -> Tensor:
    """Out of two LiDAR sweeps of small_house: rings that grow sparse with distance."""
    if not SMALL_HOUSE.is_dir():
        pytest.skip("../shared/data/small_house is not here")
    poses = json.loads((SMALL_HOUSE / "lidar.json").read_text())["poses"]
    sweeps = []
    for index in (0, 20):
        pose = np.array(poses[index])
        with np.load(SMALL_HOUSE / "lidar" / f"{index:04d}.npz") as sweep:
            sweeps.append(sweep["xyz"].astype(np.float64) @ pose[:3, :3].T + pose[:3, 3])
    return piece(voxels(np.concatenate(sweeps)), reach=36)


def voxels(points_m: np.ndarray) -> Tensor:
    """Cells of 5 cm, in batch 0."""
    xyz = torch.from_numpy(np.floor(points_m / VOXEL_M).astype(np.int64))
    return unique(torch.cat([torch.zeros_like(xyz[:, :1]), xyz], dim=1))


def piece(cells: Tensor, reach: int) -> Tensor:
    """What is around the middle, which becomes the origin: the dictionary below is slow."""
    cells = cells - torch.cat([cells.new_zeros(1), cells[:, 1:].median(dim=0).values])
    return cells[(cells[:, 1:3].abs() < reach).all(dim=1)]


def plain_offsets(kernel_size: int) -> list[tuple[int, int, int]]:
    """Offsets in kernel order: x runs fastest; odd kernels are centred."""
    steps = range(kernel_size) if kernel_size == 2 else range(-(kernel_size // 2), kernel_size // 2 + 1)
    return [(x, y, z) for z in steps for y in steps for x in steps]


def plain_pairs(
    inputs: Tensor, outputs: Tensor, kernel_size: int, stride: int
) -> list[list[tuple[int, int]]]:
    """For each offset the pairs (input row, output row), in the order of the output rows."""
    row = {tuple(cell): i for i, cell in enumerate(inputs.tolist())}
    pairs = []
    for dx, dy, dz in plain_offsets(kernel_size):
        wanted = ((b, x + dx * stride, y + dy * stride, z + dz * stride) for b, x, y, z in outputs.tolist())
        pairs.append([(row[cell], o) for o, cell in enumerate(wanted) if cell in row])
    return pairs


def plain_convolution(
    features: Tensor,
    weight: Tensor,
    pairs: list[list[tuple[int, int]]],
    n_outputs: int,
    transposed: bool = False,
) -> Tensor:
    """The protocol's sum, spelled out; torch differentiates it."""
    out = features.new_zeros(n_outputs, weight.shape[2])
    for k, pairs_k in enumerate(pairs):
        here = torch.tensor(pairs_k, dtype=torch.int64).reshape(-1, 2)
        source, target = here.flip(1).unbind(1) if transposed else here.unbind(1)
        out = out.index_add(0, target, features[source] @ weight[k])
    return out
