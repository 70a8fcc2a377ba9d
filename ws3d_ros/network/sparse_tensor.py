"""Features on the occupied cells of a grid, and the maps between its strides."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ws3d_ros.network.backends.backend import Backend
from ws3d_ros.network.kernel_map import coarsen, unique_rows

COORDINATE_LIMIT = 1 << 20
"""Coordinates stay below this: engines that take parents in float32 are exact up to 2**24."""
BOX_LIMIT = 1 << 62
"""Cells of the bounding box and its margin, all clouds together, are numbered in 64 bits."""
MARGIN = 16
"""What kernels may reach beyond the box, both sides together."""


class Pyramid:
    """The occupied cells at every stride and the kernel maps between them, made once, when asked for."""

    def __init__(self, coords: Tensor, backend: Backend) -> None:
        """``coords``: (N, 4) int64 (batch, x, y, z), ascending and unique."""
        self.backend = backend
        self._coords = {1: coords}
        self._maps: dict[tuple[int, int], Any] = {}

    def coords(self, stride: int) -> Tensor:
        """(M, 4) int64 cells of a stride (a power of two), in finest voxels, ascending."""
        if stride not in self._coords:
            self._coords[stride] = coarsen(self.coords(stride // 2), stride)[0]
        return self._coords[stride]

    def neighbours(self, stride: int, kernel_size: int) -> Any:
        """The engine's map of an odd kernel among the cells of a stride."""
        if (stride, kernel_size) not in self._maps:
            cells = self.coords(stride)
            self._maps[stride, kernel_size] = self.backend.kernel_map(cells, cells, kernel_size, stride)
        return self._maps[stride, kernel_size]

    def children(self, stride: int) -> Any:
        """The engine's map of a kernel of 2 from the cells of a stride to those of twice the stride."""
        if (stride, 2) not in self._maps:
            fine, coarse = self.coords(stride), self.coords(2 * stride)
            self._maps[stride, 2] = self.backend.kernel_map(fine, coarse, 2, stride)
        return self._maps[stride, 2]


@dataclass(frozen=True)
class SparseTensor:
    """Features of the cells of one stride.

    Attributes:
        features: (N, C).
        stride: edge of the cells in finest voxels, a power of two.
        pyramid: cells and maps, shared by all tensors that come from one input.
    """

    features: Tensor
    stride: int
    pyramid: Pyramid

    @property
    def coords(self) -> Tensor:
        """(N, 4) int64 (batch, x, y, z) in finest voxels."""
        return self.pyramid.coords(self.stride)

    def replace(self, features: Tensor) -> SparseTensor:
        """Other features on the same cells."""
        return replace(self, features=features)


def sparse_tensor(coords: Tensor, features: Tensor, backend: Backend) -> tuple[SparseTensor, Tensor]:
    """Points, in any order and more than one to a cell, as a sparse tensor of stride 1.

    Args:
        coords: (N, 4) integer (batch, x, y, z); batch from 0.
        features: (N, C); points of one cell are averaged.
        backend: the engine that will convolve.

    Returns:
        The tensor, its cells ascending; (N,) int64 the cell of each point.

    Raises:
        ValueError: for other shapes, for coordinates outside ``COORDINATE_LIMIT``, or for a bounding box
            with more than ``BOX_LIMIT`` cells.
    """
    if coords.ndim != 2 or coords.shape[1] != 4 or features.ndim != 2 or len(coords) != len(features):
        shapes = f"{tuple(coords.shape)} and {tuple(features.shape)}"
        raise ValueError(f"coords must be (N, 4) and features (N, C), not {shapes}")
    coords = coords.long()
    if len(coords):
        _check_range(coords.amin(dim=0).tolist(), coords.amax(dim=0).tolist())
    cells, cell = unique_rows(coords)
    if len(cells) == len(coords):
        merged = torch.empty_like(features)
        merged = merged.index_copy(0, cell, features)
    else:
        total = features.new_zeros(len(cells), features.shape[1]).index_add(0, cell, features)
        count = torch.bincount(cell, minlength=len(cells)).to(features.dtype)
        merged = total / count[:, None]
    return SparseTensor(merged, 1, Pyramid(cells, backend)), cell


def _check_range(low: list[int], high: list[int]) -> None:
    if min(low[1:]) <= -COORDINATE_LIMIT or max(high[1:]) >= COORDINATE_LIMIT or low[0] < 0:
        raise ValueError(f"voxel coordinates must be within ±{COORDINATE_LIMIT}, batches 0 or more")
    x, y, z = (last - first + 1 for first, last in zip(low[1:], high[1:], strict=True))
    if (high[0] + 1) * (x + MARGIN) * (y + MARGIN) * (z + MARGIN) > BOX_LIMIT:
        raise ValueError(
            f"{high[0] + 1} clouds in a box of {x} x {y} x {z} voxels: too far apart to number their cells"
        )
