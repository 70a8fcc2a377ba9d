"""Which voxels touch which: the 26 cells around each, found by their keys."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from ws3d_ros.reconstruction.voxel_map import pack_keys, unpack_keys

OFFSETS = [offset for offset in itertools.product((-1, 0, 1), repeat=3) if offset != (0, 0, 0)]
"""The 26 steps to a neighbour. Step ``25 - o`` is the opposite of step ``o``."""


def neighbour_table(keys: Tensor) -> Tensor:
    """Row of each of the 26 neighbours of each voxel.

    Args:
        keys: (N,) int64 packed voxel coordinates, ascending.

    Returns:
        (N, 26) int64 in the order of ``OFFSETS``, -1 where the cell is empty.
    """
    table = torch.full((len(keys), 26), -1, dtype=torch.int64, device=keys.device)
    if len(keys) == 0:
        return table
    cells = unpack_keys(keys)
    rows = torch.arange(len(keys), device=keys.device)
    # A neighbour sees us on its opposite side, so half of the look-ups are enough.
    for step in range(13):
        wanted = pack_keys(cells + torch.tensor(OFFSETS[step], dtype=cells.dtype, device=cells.device))
        found = torch.searchsorted(keys, wanted).clamp_(max=len(keys) - 1)
        hit = keys[found] == wanted
        table[rows[hit], step] = found[hit]
        table[found[hit], 25 - step] = rows[hit]
    return table
