"""The voxels of one window cut into things, without memory: ids are fresh, walls and floors are none.

Superpoints that look like walls, floors or ceilings are set aside (``structure.py``); the others are joined
to things (``merging.py``). How much each cue counts was fitted on procedural flats (docs/method.md).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from ws3d_ros.instances.merging import Graph, box, merge, without
from ws3d_ros.instances.structure import structure_cues
from ws3d_ros.instances.superpoints import Regions, over_segment
from ws3d_ros.reconstruction.keys import unpack_keys
from ws3d_ros.reconstruction.window import UNKNOWN, Window

STRUCTURE = frozenset({"wall", "floor", "ceiling"})
"""Names of what things stand, lie and hang on."""


class Measure(NamedTuple):
    """Weights of ``structure.CUES`` and ``merging.CUES``, and what is added to each sum."""

    structure: tuple[float, ...]
    structure_bias: float
    merging: tuple[float, ...]
    merging_bias: float


MEASURES = {
    way: Measure(**values)
    for way, values in json.loads((Path(__file__).parent / "data" / "measures.json").read_text()).items()
}
"""By what is known: colours and shapes only, names too, or also boundaries and offsets. Fitted by
scripts/fit_merging.py."""


def structure_labels(names: Sequence[str]) -> Tensor:
    """(S,) int16 labels of the walls, floors and ceilings among the names of a vocabulary."""
    return torch.tensor([i for i, name in enumerate(names, start=1) if name in STRUCTURE], dtype=torch.int16)


def segment(
    window: Window,
    regions: Regions,
    said: Tensor,
    structure: Tensor,
    boundary: Tensor | None = None,
    offset_m: Tensor | None = None,
    min_voxels: int = 20,
) -> Tensor:
    """Thing of each voxel.

    Args:
        window: N voxels; its own labels and instances do not matter.
        regions: R, of :func:`superpoints`.
        said: (R, C) sums over voxels of the probabilities of words, the vocabulary's names first; 0 where
            nothing is known (``naming.by_region``).
        structure: (S,) int16 of :func:`structure_labels`.
        boundary: (N,) in 0..1, how likely a voxel touches another thing. Used if ``offset_m`` is there, too.
        offset_m: (N, 3) from the voxel to the middle of its thing.
        min_voxels: smaller things are none.

    Returns:
        (N,) int32 from 1 on, 0 for none.
    """
    if len(window) == 0:
        return torch.zeros(0, dtype=torch.int32, device=said.device)
    graph = region_sums(window, regions, said, boundary, offset_m)
    measure = MEASURES["shapes" if not bool(said.any()) else "heads" if graph.heads else "names"]
    cues = structure_cues(window, regions, said, structure.to(said.device))
    loose = cues @ cues.new_tensor(measure.structure) + measure.structure_bias <= 0
    whole = merge(without(graph, ~loose), cues.new_tensor(measure.merging), measure.merging_bias)
    part = torch.zeros(regions.count, dtype=torch.int64, device=said.device)
    part[loose] = whole + 1
    return renumbered(part[regions.of_voxel], min_voxels)


def with_names(instance: Tensor, label: Tensor) -> Tensor:
    """Only the things that have a name at half of their voxels or more.

    The rest is what nobody has looked at yet, mostly parts of walls and floors.

    Args:
        instance: (N,) integer, 0 for none.
        label: (N,) integer, ``UNKNOWN`` for no name.
    """
    place = instance.long()
    count = torch.bincount(place)
    named = torch.bincount(place, weights=(label != UNKNOWN).double(), minlength=len(count))
    return torch.where((2 * named >= count)[place], instance, 0)


def superpoints(window: Window, boundary: Tensor | None = None) -> Regions:
    """Regions of the window's voxels, parted at a ``boundary`` (N,), too; see :func:`over_segment`."""
    coords = pad(unpack_keys(window.keys), (1, 0))
    return over_segment(coords, window.color.nan_to_num(127.5) / 127.5 - 1.0, window.normal, boundary)


def region_sums(
    window: Window,
    regions: Regions,
    said: Tensor,
    boundary: Tensor | None,
    offset_m: Tensor | None,
) -> Graph:
    """What :func:`merge` needs to know of the regions; arguments as in :func:`segment`."""
    points, color = window.points_m, window.color.nan_to_num(127.5) / 255.0
    vote, edge_likely = torch.zeros_like(points), torch.zeros_like(points[:, 0])
    heads = boundary is not None and offset_m is not None
    if boundary is not None and offset_m is not None:
        vote, edge_likely = points + offset_m, boundary.float()
    inside = torch.cat([points, color, vote], dim=1)
    low, high = box(points, points, regions.of_voxel, regions.count)
    half = window.voxel_size_m / 2

    a, b = regions.inputs, regions.outputs
    turn = _turn(points[b] - points[a], window.normal[a], window.normal[b])
    step = torch.linalg.vector_norm(color[a] - color[b], dim=1)
    both = (edge_likely[a] + edge_likely[b]) / 2
    across = torch.stack([(-turn).clamp(min=0), turn.clamp(min=0), step, both], dim=1)
    return Graph(
        count=torch.bincount(regions.of_voxel, minlength=regions.count).float(),
        inside=inside.new_zeros(regions.count, 9).index_add(0, regions.of_voxel, inside),
        said=said,
        low=low - half,
        high=high + half,
        edges=regions.edges,
        pairs=torch.bincount(regions.edge_of_pair, minlength=len(regions.edges)).float(),
        across=across.new_zeros(len(regions.edges), 4).index_add(0, regions.edge_of_pair, across),
        heads=heads,
    )


def _turn(step: Tensor, normal_a: Tensor, normal_b: Tensor) -> Tensor:
    """(P,) how normals turn along a step: above 0 apart (convex), below 0 together; 0 if one is unknown."""
    along = ((normal_b - normal_a) * step).sum(1) / torch.linalg.vector_norm(step, dim=1).clamp(min=1e-6)
    return torch.where(normal_a.any(dim=1) & normal_b.any(dim=1), along, 0.0)


def renumbered(part: Tensor, min_voxels: int) -> Tensor:
    """(N,) int32 1.. without gaps for numbers above 0 that ``min_voxels`` or more have; 0 for the rest."""
    size = torch.bincount(part)
    size[0] = 0
    large = size >= min_voxels
    number = torch.where(large, large.cumsum(0), 0)
    return number[part].int()
