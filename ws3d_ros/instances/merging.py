"""Regions joined step by step to things: what two neighbours have in common, and who joins whom.

Agglomeration with a learnt measure (after GALA, Nunez-Iglesias et al., PLoS ONE 2013): what is known of a
region and of a border are sums, so that those of joined regions are sums of sums, and every step asks
anew how likely the neighbours of now are one thing. The measure is logistic in the cues of :func:`cues`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

CUES = (
    "concave",
    "convex",
    "color",
    "color step",
    "same label",
    "other label",
    "contact",
    "smaller",
    "larger",
    "diagonal",
    "growth",
    "above",
    "boundary",
    "votes apart",
    "votes meet",
)
"""In the order of the columns of :func:`cues`; the last three need the network's heads."""


Round = Callable[[Tensor, Tensor, Tensor], None]


@dataclass(frozen=True)
class Graph:
    """R regions and the E borders between them, as sums over voxels and over pairs of voxels that touch.

    Attributes:
        count: (R,) voxels.
        inside: (R, 9) sums of position, of RGB in 0..1, and of the votes for the middle of the thing.
        said: (R, C) sums of the probabilities of words; rows of zeros where nothing is known.
        low, high: (R, 3) corners of the box around it.
        edges: (E, 2) int64, first below second, each pair once.
        pairs: (E,) pairs of touching voxels.
        across: (E, 4) sums of concave and convex turn, colour step and boundary.
        heads: whether votes and boundary are known.
    """

    count: Tensor
    inside: Tensor
    said: Tensor
    low: Tensor
    high: Tensor
    edges: Tensor
    pairs: Tensor
    across: Tensor
    heads: bool


def cues(graph: Graph) -> Tensor:
    """(E, len(CUES)) float32, what each border says for or against one thing; the last three 0 without heads.

    Concave and convex are the turns of the normals across the border (0..2). ``contact`` is the logarithm of
    the pairs over the root of the smaller side, sizes are logarithms of voxels, ``diagonal`` is that of the
    joint box in metres, ``growth`` how much longer it is than the longer of both. ``votes meet`` compares
    how far apart the votes are with how far apart the regions are.
    """
    a, b = graph.edges[:, 0], graph.edges[:, 1]
    mean = graph.inside / graph.count[:, None]
    place, color, vote = mean[:, :3], mean[:, 3:6], mean[:, 6:9]
    edge = graph.across / graph.pairs[:, None]
    said = (graph.said / graph.count[:, None]).sqrt()
    same = (said[a] * said[b]).sum(1)
    known = torch.linalg.vector_norm(said, dim=1)
    small = torch.minimum(graph.count[a], graph.count[b])
    large = torch.maximum(graph.count[a], graph.count[b])
    span = torch.linalg.vector_norm(graph.high - graph.low, dim=1)
    joint = torch.maximum(graph.high[a], graph.high[b]) - torch.minimum(graph.low[a], graph.low[b])
    joint = torch.linalg.vector_norm(joint, dim=1)
    apart = place[a] - place[b]
    distance = torch.linalg.vector_norm(apart, dim=1).clamp(min=1e-3)
    columns = [
        edge[:, 0],
        edge[:, 1],
        torch.linalg.vector_norm(color[a] - color[b], dim=1),
        edge[:, 2],
        same,
        known[a] * known[b] - same,
        torch.log(graph.pairs / small.sqrt()),
        torch.log(small),
        torch.log(large),
        torch.log(joint),
        torch.log(joint / torch.maximum(span[a], span[b])),
        apart[:, 2].abs() / distance,
    ]
    if graph.heads:
        voted = torch.linalg.vector_norm(vote[a] - vote[b], dim=1)
        columns += [edge[:, 3], torch.log(voted + 0.05), (voted / distance).clamp(max=2.0)]
    else:
        columns += [torch.zeros_like(distance)] * 3
    return torch.stack(columns, dim=1)


def merge(graph: Graph, weight: Tensor, bias: float, on_round: Round | None = None) -> Tensor:
    """(R,) int64 number from 0 of the thing that each region belongs to.

    In each round two regions join where each is the other's likeliest partner and that is likelier than not,
    until there are none: joining the likeliest pair first, but many pairs at once.

    Args:
        graph: of the regions.
        weight: (len(CUES),) of the cues.
        bias: added to them; positive sums are likelier than not.
        on_round: hears before each round which part (R,) each region is of now, the borders (E, 2) of the
            parts, and their cues (E, len(CUES)); that is what the weights are fitted on.
    """
    whole = torch.arange(len(graph.count), device=graph.count.device)
    while len(graph.edges):
        table = cues(graph)
        if on_round is not None:
            on_round(whole, graph.edges, table)
        score = table @ weight + bias
        best = torch.full_like(graph.count, -torch.inf)
        for side in (0, 1):
            best.scatter_reduce_(0, graph.edges[:, side], score, "amax")
        mutual = (score > 0) & (score == best[graph.edges[:, 0]]) & (score == best[graph.edges[:, 1]])
        if not bool(mutual.any()):
            break
        part = _joined(len(graph.count), graph.edges[mutual])
        graph = _contracted(graph, part)
        whole = part[whole]
    return whole


def without(graph: Graph, gone: Tensor) -> Graph:
    """The graph of the regions that are not ``gone`` (R,) bool, in their order."""
    stays = ~gone
    edge = stays[graph.edges].all(dim=1)
    return Graph(
        graph.count[stays],
        graph.inside[stays],
        graph.said[stays],
        graph.low[stays],
        graph.high[stays],
        (stays.cumsum(0) - 1)[graph.edges[edge]],
        graph.pairs[edge],
        graph.across[edge],
        graph.heads,
    )


def _joined(count: int, pairs: Tensor) -> Tensor:
    first, second = pairs.cpu().numpy().T
    links = coo_array((np.ones(len(first), bool), (first, second)), shape=(count, count))
    return torch.from_numpy(connected_components(links, directed=False)[1]).long().to(pairs.device)


def _contracted(graph: Graph, part: Tensor) -> Graph:
    """The graph of joined regions: ``part`` (R,) is the new number of each."""
    parts = int(part.amax()) + 1

    def total(values: Tensor, where: Tensor, count: int) -> Tensor:
        return values.new_zeros(count, *values.shape[1:]).index_add(0, where, values)

    low, high = box(graph.low, graph.high, part, parts)
    ends = part[graph.edges]
    apart = ends[:, 0] != ends[:, 1]
    ends = ends[apart].sort(dim=1).values
    key, edge = torch.unique(ends[:, 0] * parts + ends[:, 1], return_inverse=True)
    edges = torch.stack([torch.div(key, parts, rounding_mode="floor"), key % parts], dim=1)
    return Graph(
        total(graph.count, part, parts),
        total(graph.inside, part, parts),
        total(graph.said, part, parts),
        low,
        high,
        edges,
        total(graph.pairs[apart], edge, len(edges)),
        total(graph.across[apart], edge, len(edges)),
        graph.heads,
    )


def box(low: Tensor, high: Tensor, part: Tensor, parts: int) -> tuple[Tensor, Tensor]:
    """Corners (P, 3) of the boxes around the boxes (R, 3) of each part."""
    where = part[:, None].expand(-1, 3)
    return (
        low.new_full((parts, 3), torch.inf).scatter_reduce(0, where, low, "amin"),
        high.new_full((parts, 3), -torch.inf).scatter_reduce(0, where, high, "amax"),
    )
