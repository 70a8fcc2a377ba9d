"""Voxel coordinates as single numbers.

Coordinates are ``floor(point / voxel_size)`` on each axis. A key packs three of them, 21 bits each
and shifted by half the range, so that keys sort like (x, y, z).
"""

from __future__ import annotations

import torch
from torch import Tensor

KEY_BITS = 21
COORDINATE_LIMIT = 1 << (KEY_BITS - 1)
"""Coordinates are from -COORDINATE_LIMIT to COORDINATE_LIMIT - 1: 52 km at 5 cm."""

_MASK = (1 << KEY_BITS) - 1
_DENSE_CELLS = 1 << 23
"""Up to this many cells in the bounding box, a look-up table beats sorting (benchmarks/fusion.py)."""


def pack_keys(coords: Tensor) -> Tensor:
    """(..., 3) integer voxel coordinates to (...) int64 keys. The coordinates must be within the limit."""
    x, y, z = (coords.long() + COORDINATE_LIMIT).unbind(-1)
    return (x << (2 * KEY_BITS)) | (y << KEY_BITS) | z


def unpack_keys(keys: Tensor) -> Tensor:
    """(...) int64 keys to (..., 3) int64 voxel coordinates."""
    axes = [(keys >> (2 * KEY_BITS)) & _MASK, (keys >> KEY_BITS) & _MASK, keys & _MASK]
    return torch.stack(axes, dim=-1) - COORDINATE_LIMIT


def unique_cells(coords: Tensor) -> tuple[Tensor, Tensor]:
    """The different rows of ``coords``, ascending, and which of them each row is.

    Args:
        coords: (N, 3) int64.

    Returns:
        (M, 3) int64 and (N,) int64 with ``cells[inverse] == coords``.
    """
    if len(coords) == 0:
        return coords, torch.zeros(0, dtype=torch.int64, device=coords.device)
    low = coords.amin(dim=0)
    size = (coords.amax(dim=0) - low + 1).tolist()
    x, y, z = (coords - low).unbind(-1)
    flat = (x * size[1] + y) * size[2] + z
    volume = size[0] * size[1] * size[2]
    if volume <= max(_DENSE_CELLS, 4 * len(coords)):
        cells, inverse = _unique_dense(flat, volume)
    else:
        cells, inverse = torch.unique(flat, return_inverse=True)
    z = cells % size[2]
    y = torch.div(cells, size[2], rounding_mode="floor") % size[1]
    x = torch.div(cells, size[1] * size[2], rounding_mode="floor")
    return torch.stack([x, y, z], dim=-1) + low, inverse


def _unique_dense(flat: Tensor, volume: int) -> tuple[Tensor, Tensor]:
    seen = torch.zeros((volume + 7) // 8, 8, dtype=torch.bool, device=flat.device)
    seen.view(-1)[flat] = True
    # Eight cells at once: most are empty.
    some = seen.view(torch.int64).nonzero()[:, 0]
    which, cell = seen[some].nonzero().unbind(-1)
    cells = some[which] * 8 + cell
    # The table is left uninitialised where nothing will be read: that is most of it.
    place = torch.empty(volume, dtype=torch.int32, device=flat.device)
    place[cells] = torch.arange(len(cells), dtype=torch.int32, device=flat.device)
    return cells, place[flat].long()
