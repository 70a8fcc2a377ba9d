"""Superpoints: voxels cut into small regions of one surface each, and who borders on whom.

The cut errs on the side of too many regions: neighbouring voxels stay together where their normals
and colours agree, crumbs join the neighbour that they agree with best, and what is large is cut into
patches that face one way. Without that, one soft crease anywhere along a border joins wall, floor and sofa.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from ws3d_ros.network.kernel_map import submanifold_map


@dataclass(frozen=True)
class Regions:
    """R regions of N voxels.

    Attributes:
        of_voxel: (N,) int64 region of each voxel, 0 to R - 1.
        count: R.
        edges: (E, 2) int64 regions that touch, first below second, each pair once.
        inputs, outputs: (P,) int64 voxels that touch across regions: the pairs behind the edges.
        edge_of_pair: (P,) int64.
    """

    of_voxel: Tensor
    count: int
    edges: Tensor
    inputs: Tensor
    outputs: Tensor
    edge_of_pair: Tensor

    def across(self, value: Tensor) -> Tensor:
        """(E,) mean along each border of a value (N,) of the voxels on both sides of it."""
        both = (value[self.inputs] + value[self.outputs]) / 2
        total = both.new_zeros(len(self.edges)).index_add(0, self.edge_of_pair, both)
        return total / torch.bincount(self.edge_of_pair, minlength=len(self.edges)).clamp(min=1)


class _Pairs(NamedTuple):
    """Voxels ``a`` and ``b`` (P,) int64 that touch, each pair once, and how alike they are (P,)."""

    a: Tensor
    b: Tensor
    alike: Tensor

    def where(self, wanted: Tensor) -> _Pairs:
        some = wanted.nonzero()[:, 0]
        return _Pairs(self.a[some], self.b[some], self.alike[some])


def over_segment(
    coords: Tensor,
    color: Tensor,
    normal: Tensor,
    boundary: Tensor | None = None,
    likeness: float = 0.8,
    smallest: int = 12,
    patch: int = 12,
) -> Regions:
    """Cuts voxels into regions.

    Args:
        coords: (N, 4) int64 cells of stride 1, ascending; clouds of a batch are never joined.
        color: (N, 3) RGB in -1..1; equal everywhere where there is none.
        normal: (N, 3) unit, 0 where unknown.
        boundary: (N,) in 0..1, how likely a voxel touches another thing; parts things in one plane.
        likeness: neighbours stay together from this likeness on: the product of ``|cos|`` of their
            normals, ``exp(-2 |dRGB|)`` and 1 less their mean ``boundary``.
        smallest: smaller regions join a neighbour, if they have one.
        patch: edge in voxels of the patches into which regions of more than 3 patch² voxels are cut.
    """
    a, b = _touching(coords)
    pairs = _Pairs(a, b, _likeness(a, b, color, normal, boundary))
    region = _components(len(coords), *pairs.where(pairs.alike >= likeness)[:2])
    region = _absorb(region, pairs, smallest)
    cut = _cut_large(region, a, b, coords, normal, patch)
    region = _absorb(cut, pairs.where(region[a] == region[b]), smallest)
    return _graph(region, a, b)


def region_graph(coords: Tensor, region: Tensor) -> Regions:
    """The graph of regions (N,) int64 that are known already; those without a voxel are left out.

    Args:
        coords: as in :func:`over_segment`.
        region: any numbers.
    """
    return _graph(region, *_touching(coords))


def _touching(coords: Tensor) -> tuple[Tensor, Tensor]:
    pairs = submanifold_map(coords, 3, 1)
    half = pairs.starts[13]  # the offsets behind the centre see the same pairs from the other side
    return pairs.inputs[:half], pairs.outputs[:half]


def _likeness(a: Tensor, b: Tensor, color: Tensor, normal: Tensor, boundary: Tensor | None) -> Tensor:
    # Column by column: rows of three are slow to gather and to sum.
    cosine = normal.new_zeros(len(a))
    for axis in normal.T.contiguous():
        cosine.addcmul_(axis[a], axis[b])
    square = color.new_zeros(len(a))
    for channel in color.T.contiguous():
        step = channel[a] - channel[b]
        square.addcmul_(step, step)
    known = normal.any(dim=1)
    bent = cosine.abs_().masked_fill_(~(known[a] & known[b]), 1.0)
    alike = bent * square.sqrt_().mul_(-2.0).exp_()
    return alike if boundary is None else alike * (1.0 - (boundary[a] + boundary[b]) / 2)


def _components(rows: int, a: Tensor, b: Tensor) -> Tensor:
    ends = a.int().cpu().numpy(), b.int().cpu().numpy()
    graph = coo_array((np.ones(len(ends[0]), np.int8), ends), shape=(rows, rows))
    return torch.from_numpy(connected_components(graph, directed=False)[1]).long().to(a.device)


def _absorb(region: Tensor, pairs: _Pairs, smallest: int) -> Tensor:
    """Each small region joins the neighbour that it is most like on average, the larger one of equals.

    Four rounds at most, and crumbs that have a neighbour become half as many or fewer in each.
    """
    for _ in range(4):
        count = torch.bincount(region)
        small = count < smallest
        a, b = region[pairs.a], region[pairs.b]
        pairs = pairs.where((a != b) & (small[a] | small[b]))
        if not len(pairs.a):
            break
        a, b = region[pairs.a], region[pairs.b]
        crumb, other, alike = torch.cat([a, b]), torch.cat([b, a]), pairs.alike.repeat(2)
        crumb, other, alike = crumb[small[crumb]], other[small[crumb]], alike[small[crumb]]
        border, place = torch.unique(crumb * len(count) + other, return_inverse=True)
        total = alike.new_zeros(len(border)).index_add(0, place, alike)
        crumb, other = torch.div(border, len(count), rounding_mode="floor"), border % len(count)
        score = total / torch.bincount(place) + 1e-6 * count[other] / count.amax()
        best = score.new_full((len(count),), -1.0).scatter_reduce(0, crumb, score, "amax")
        wins = score == best[crumb]
        region = _components(len(count), crumb[wins], other[wins])[region]
    return region


def _cut_large(region: Tensor, a: Tensor, b: Tensor, coords: Tensor, normal: Tensor, patch: int) -> Tensor:
    """Voxels of a large region stay together within a cube of ``patch`` voxels, if they face along the same
    axis of the map and touch."""
    cube = torch.div(coords[:, 1:], patch, rounding_mode="floor")
    low, high = (cube.amin(0), cube.amax(0)) if len(cube) else (cube.new_zeros(3), cube.new_zeros(3))
    size = high - low + 1
    x, y, z = (cube - low).unbind(1)
    kind = ((x * size[1] + y) * size[2] + z) * 3 + normal.abs().argmax(dim=1)
    large = torch.bincount(region)[region] > 3 * patch**2
    group = region * (3 * size.prod()) + torch.where(large, kind, 0)
    together = group[a] == group[b]
    return _components(len(region), a[together], b[together])


def _graph(region: Tensor, a: Tensor, b: Tensor) -> Regions:
    known, region = torch.unique(region, return_inverse=True)
    count = max(len(known), 1)
    border = (region[a] != region[b]).nonzero()[:, 0]
    a, b = a[border], b[border]
    swapped = region[a] > region[b]
    a, b = torch.where(swapped, b, a), torch.where(swapped, a, b)
    number, edge = torch.unique(region[a] * count + region[b], return_inverse=True)
    edges = torch.stack([torch.div(number, count, rounding_mode="floor"), number % count], dim=1)
    return Regions(region, len(known), edges, a, b, edge)
