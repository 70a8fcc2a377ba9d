"""Superpoints: voxels cut into small regions of one surface each, and who borders on whom.

The cut errs on the side of too many regions: neighbouring voxels stay together where their normals
and colours agree, crumbs join the neighbour that they agree with best, and what is large is cut into
patches. Without that, one soft crease anywhere along a border joins wall, floor and sofa.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, dijkstra
from torch import Tensor

from ws3d_ros.network.kernel_map import KernelMap, submanifold_map


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


def over_segment(
    coords: Tensor,
    color: Tensor,
    normal: Tensor,
    likeness: float = 0.8,
    smallest: int = 12,
    patch: int = 12,
) -> Regions:
    """Cuts voxels into regions.

    Args:
        coords: (N, 4) int64 cells of stride 1, ascending; clouds of a batch are never joined.
        color: (N, 3) RGB in -1..1; equal everywhere where there is none.
        normal: (N, 3) unit, 0 where unknown.
        likeness: neighbours stay together from this likeness on: the product of ``|cos|`` of their
            normals and ``exp(-2 |dRGB|)``.
        smallest: smaller regions join a neighbour, if they have one.
        patch: edge in voxels of the patches into which regions of more than 3 patch² voxels are cut.
    """
    pairs = submanifold_map(coords, 3, 1)
    alike = _likeness(pairs, color, normal)
    region = _components(len(coords), pairs.inputs, pairs.outputs, alike >= likeness)
    for _ in range(4):
        region, merged = _absorb(region, pairs, alike, smallest)
        if not merged:
            break
    region = _cut_large(region, pairs, alike, coords, patch)
    return _graph(region, pairs)


def region_graph(coords: Tensor, region: Tensor) -> Regions:
    """The graph of regions (N,) int64 that are known already; those without a voxel are left out.

    Args:
        coords: as in :func:`over_segment`.
        region: any numbers.
    """
    return _graph(torch.unique(region, return_inverse=True)[1], submanifold_map(coords, 3, 1))


def _likeness(pairs: KernelMap, color: Tensor, normal: Tensor) -> Tensor:
    a, b = pairs.inputs, pairs.outputs
    known = normal.abs().sum(1) > 0
    bent = torch.where(known[a] & known[b], (normal[a] * normal[b]).sum(1).abs(), 1.0)
    return bent * torch.exp(-2.0 * torch.linalg.vector_norm(color[a] - color[b], dim=1))


def _components(rows: int, a: Tensor, b: Tensor, joined: Tensor) -> Tensor:
    ends = a[joined].cpu().numpy(), b[joined].cpu().numpy()
    graph = coo_array((np.ones(len(ends[0]), bool), ends), shape=(rows, rows))
    return torch.from_numpy(connected_components(graph, directed=False)[1]).long()


def _absorb(region: Tensor, pairs: KernelMap, alike: Tensor, smallest: int) -> tuple[Tensor, bool]:
    """Each small region joins the neighbour that it is most like on average, larger ones first of equals."""
    count = torch.bincount(region)
    a, b = region[pairs.inputs], region[pairs.outputs]
    outward = (a != b) & (count[a] < smallest)
    if not bool(outward.any()):
        return region, False
    border, place = torch.unique(a[outward] * len(count) + b[outward], return_inverse=True)
    total = torch.zeros(len(border)).index_add(0, place, alike[outward])
    mean = total / torch.bincount(place)
    small, other = torch.div(border, len(count), rounding_mode="floor"), border % len(count)
    score = mean + 1e-6 * count[other] / count.amax()
    best = torch.full((len(count),), -1.0).scatter_reduce(0, small, score, "amax")
    wins = score == best[small]
    roots = _components(len(count), small[wins], other[wins], torch.ones(int(wins.sum()), dtype=torch.bool))
    return torch.unique(roots[region], return_inverse=True)[1], True


def _cut_large(region: Tensor, pairs: KernelMap, alike: Tensor, coords: Tensor, patch: int) -> Tensor:
    """Each voxel of a large region goes to the nearest of its region's seeds, one in each cube of ``patch``
    voxels; unlike neighbours are far apart (after VCCS, Papon et al., CVPR 2013, with shortest paths)."""
    a, b = pairs.inputs, pairs.outputs
    calm = torch.zeros(len(region)).index_add(0, a, alike)
    cube = torch.div(coords, torch.tensor([1, patch, patch, patch]), rounding_mode="floor")
    cube[torch.bincount(region)[region] <= 3 * patch**2] = 0
    _, group = torch.unique(torch.cat([region[:, None], cube], dim=1), dim=0, return_inverse=True)
    order = torch.argsort(calm, descending=True, stable=True)
    first = torch.full((int(group.amax()) + 1 if len(group) else 0,), len(region))
    seeds = order[first.scatter_reduce(0, group[order], torch.arange(len(region)), "amin")]
    within = (region[a] == region[b]) & (a != b)
    step = torch.linalg.vector_norm((coords[a] - coords[b]).double(), dim=1)
    cost = (0.05 * step + 1.0 - alike)[within].numpy()
    roads = csr_array((cost, (a[within].numpy(), b[within].numpy())), shape=(len(region), len(region)))
    nearest = dijkstra(roads, indices=seeds.numpy(), return_predecessors=True, min_only=True)[2]
    return torch.unique(torch.from_numpy(nearest).long(), return_inverse=True)[1]


def _graph(region: Tensor, pairs: KernelMap) -> Regions:
    count = int(region.amax()) + 1 if len(region) else 0
    a, b = region[pairs.inputs], region[pairs.outputs]
    border = a < b  # each pair is there from both sides
    inputs, outputs = pairs.inputs[border], pairs.outputs[border]
    number, edge = torch.unique(a[border] * count + b[border], return_inverse=True)
    edges = torch.stack(
        [torch.div(number, max(count, 1), rounding_mode="floor"), number % max(count, 1)], dim=1
    )
    return Regions(region, count, edges, inputs, outputs, edge)
