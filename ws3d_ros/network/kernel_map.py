"""Which voxel meets which under each offset of a convolution kernel.

Conventions are MinkowskiEngine's (Choy et al., CVPR 2019), so that published weights fit: coordinates
are (batch, x, y, z) in units of the finest voxel and multiples of their stride; kernel offsets run x
fastest, odd kernels are centred, even ones start at the voxel; parents of strided cells are found by
floor, for negative coordinates too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ws3d_ros.reconstruction.keys import unique_cells


@dataclass(frozen=True)
class KernelMap:
    """Pairs of an input row and an output row, sorted by kernel offset and then by output row.

    Attributes:
        inputs: (P,) int64 rows of the input.
        outputs: (P,) int64 rows of the output; ascending and unique within an offset.
        starts: K + 1 places: pairs ``starts[k]`` to ``starts[k + 1]`` belong to offset k.
        n_inputs, n_outputs: how many rows there are.
        identity: the offset under which each row meets itself, in order; None if there is none.
    """

    inputs: Tensor
    outputs: Tensor
    starts: tuple[int, ...]
    n_inputs: int
    n_outputs: int
    identity: int | None = None

    @cached_property
    def transposed(self) -> KernelMap:
        """The way back: inputs and outputs change places, offsets keep theirs."""
        return KernelMap(self.outputs, self.inputs, self.starts, self.n_outputs, self.n_inputs, self.identity)

    @cached_property
    def table(self) -> Tensor:
        """(n_outputs, K) int64: the input row under each offset; ``n_inputs`` where there is none."""
        kernel_volume = len(self.starts) - 1
        counts = torch.tensor(self.starts).diff().to(self.inputs.device)
        offset = torch.repeat_interleave(torch.arange(kernel_volume, device=self.inputs.device), counts)
        place = offset.add_(self.outputs, alpha=kernel_volume)
        table = torch.full((self.n_outputs * kernel_volume,), self.n_inputs, device=self.inputs.device)
        return table.scatter_(0, place, self.inputs).view(self.n_outputs, kernel_volume)


def kernel_offsets(kernel_size: int) -> Tensor:
    """(K³, 3) int64 steps (x, y, z) in kernel order: x fastest; odd kernels centred, even from 0."""
    reach = torch.arange(kernel_size) - (kernel_size // 2 if kernel_size % 2 else 0)
    z, y, x = torch.meshgrid(reach, reach, reach, indexing="ij")
    return torch.stack([x, y, z], dim=-1).reshape(-1, 3)


def coarsen(coords: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Cells of ``stride`` that hold the given ones.

    Args:
        coords: (N, 4) int64 (batch, x, y, z).
        stride: edge of the wanted cells in finest voxels.

    Returns:
        (M, 4) int64 ascending and unique, multiples of stride; (N,) int64 the parent of each row.
    """
    cells = torch.cat([coords[:, :1], torch.div(coords[:, 1:], stride, rounding_mode="floor")], dim=1)
    unique, inverse = unique_rows(cells)
    return torch.cat([unique[:, :1], unique[:, 1:] * stride], dim=1), inverse


def unique_rows(coords: Tensor) -> tuple[Tensor, Tensor]:
    """The different rows of (N, 4) int64 ``coords``, ascending, and (N,) which of them each row is."""
    if len(coords) == 0:
        return coords, coords.new_zeros(0)
    # Batches one behind the other along x make three columns of four.
    low, high = coords[:, 1].amin(), coords[:, 1].amax()
    extent = high - low + 1
    folded = torch.cat([coords[:, :1] * extent + coords[:, 1:2] - low, coords[:, 2:]], dim=1)
    cells, inverse = unique_cells(folded)
    batch = torch.div(cells[:, :1], extent, rounding_mode="floor")
    return torch.cat([batch, cells[:, :1] - batch * extent + low, cells[:, 1:]], dim=1), inverse


def submanifold_map(coords: Tensor, kernel_size: int, stride: int) -> KernelMap:
    """Neighbours among the cells themselves, for an odd kernel.

    Each column of the kernel (fixed x and y) is looked up once at its lowest z; since rows ascend,
    the others of the column follow directly behind. A pair seen from one side is also the pair of
    the opposite offset seen from the other, which halves the columns.

    Args:
        coords: (N, 4) int64 ascending, unique.
        kernel_size: odd.
        stride: distance of neighbouring cells in finest voxels.
    """
    reach, rows = kernel_size // 2, len(coords)
    volume, centre = kernel_size**3, kernel_size**3 // 2
    row = torch.arange(rows, device=coords.device)
    pairs: list[tuple[Tensor, Tensor]] = [(row, row)] * volume
    keys, step_x, step_y = padded_keys(coords, stride, reach)
    ended = torch.cat([keys, keys.new_full((1,), torch.iinfo(keys.dtype).max)])
    for dx in range(reach + 1):
        for dy in range(-reach if dx else 0, reach + 1):
            own = dx == 0 and dy == 0
            lowest = 1 if own else -reach
            wanted = keys + (dx * step_x + dy * step_y + lowest)
            at = row + 1 if own else torch.searchsorted(keys, wanted)
            for dz in range(lowest, reach + 1):
                hit = ended.index_select(0, at) == wanted
                here = hit.nonzero()[:, 0]
                there = at.index_select(0, here)
                k = (dx + reach) + kernel_size * ((dy + reach) + kernel_size * (dz + reach))
                pairs[k], pairs[volume - 1 - k] = (there, here), (here, there)
                if dz < reach:
                    at += hit
                    wanted += 1
    return _join(pairs, rows, rows, identity=centre)


def down_map(fine: Tensor, coarse: Tensor, stride: int) -> KernelMap:
    """Children of each cell, for a kernel of 2 with stride 2.

    Args:
        fine: (N, 4) int64, multiples of stride.
        coarse: (M, 4) int64 ascending, ``coarsen(fine, 2 * stride)``.
        stride: of the fine cells.
    """
    cells, parent = coarsen(fine, 2 * stride)
    assert torch.equal(cells, coarse), "the coarse cells are not those of the fine ones"
    inside = torch.div(fine[:, 1:] - coarse[parent, 1:], stride, rounding_mode="floor")
    k = inside[:, 0] + 2 * (inside[:, 1] + 2 * inside[:, 2])
    order = torch.argsort(k * len(coarse) + parent)
    starts = torch.bincount(k, minlength=8).cumsum(0).tolist()
    return KernelMap(order, parent[order], (0, *starts), len(fine), len(coarse))


def padded_keys(coords: Tensor, stride: int, reach: int) -> tuple[Tensor, int, int]:
    """(N,) ascending numbers of the cells in a box padded so that no neighbour wraps; steps of x and y."""
    if len(coords) == 0:
        return coords.new_zeros(0), 1, 1
    cells = torch.div(coords[:, 1:] - coords[:, 1:].amin(dim=0), stride, rounding_mode="floor")
    size_x, size_y, size_z = (cells.amax(dim=0) + 1 + 2 * reach).tolist()
    x, y, z = cells.unbind(1)
    return ((coords[:, 0] * size_x + x) * size_y + y) * size_z + z, size_y * size_z, size_z


def _join(pairs: list[tuple[Tensor, Tensor]], n_inputs: int, n_outputs: int, identity: int) -> KernelMap:
    starts = [0]
    for inputs, _ in pairs:
        starts.append(starts[-1] + len(inputs))
    inputs, outputs = (torch.cat(side) for side in zip(*pairs, strict=True))
    return KernelMap(inputs, outputs, tuple(starts), n_inputs, n_outputs, identity)
