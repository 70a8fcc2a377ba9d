"""Walls, floors and ceilings: what things stand on and hang on, told by names and by extent."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from ws3d_ros.instances.superpoints import Regions
from ws3d_ros.reconstruction.keys import KEY_BITS, unpack_keys
from ws3d_ros.reconstruction.window import Window

CUES = ("said so", "said else", "flat", "plane", "flat plane", "lowest", "highest", "column")
"""In the order of the columns of :func:`structure_cues`."""

_WAYS = 30
_WAY = torch.pi / _WAYS


def structure_cues(window: Window, regions: Regions, said: Tensor, structure: Tensor) -> Tensor:
    """(R, len(CUES)) float32, means over the voxels of each region.

    ``said so`` and ``said else`` are how likely a word of structure is, and all other words; ``flat`` is
    |n_z|, ``plane`` how large the plane is that a voxel lies in, ``flat plane`` their product, ``lowest`` and
    ``highest`` whether a flat voxel is the last of its column, ``column`` how much the column of an upright
    voxel holds. Extents are logarithms of square metres and metres.

    Args:
        window: N voxels.
        regions: of them.
        said: (R, C) sums of the probabilities of words.
        structure: (S,) labels of walls, floors and ceilings: the column of each is one below.
    """
    cells = unpack_keys(window.keys)
    flat = window.normal[:, 2].abs()
    plane = torch.log(plane_area_m2(window))
    upright = cells[:, 0] * (1 << KEY_BITS) + cells[:, 1]  # keys ascend: a column is in one piece
    _, column, height = torch.unique_consecutive(upright, return_inverse=True, return_counts=True)
    new = column.diff() > 0
    table = torch.stack(
        [
            flat,
            plane,
            flat * plane,
            flat * pad(new, (1, 0), value=True),
            flat * pad(new, (0, 1), value=True),
            (1 - flat) * torch.log(height[column] * window.voxel_size_m),
        ],
        dim=1,
    )
    total = table.new_zeros(regions.count, table.shape[1]).index_add(0, regions.of_voxel, table)
    so = said[:, structure.long() - 1].sum(dim=1)
    total = torch.cat([torch.stack([so, said.sum(dim=1) - so], dim=1), total], dim=1)
    return total / torch.bincount(regions.of_voxel, minlength=regions.count)[:, None]


def plane_area_m2(window: Window) -> Tensor:
    """(N,) area of the voxels in the level or upright plane of each, within a voxel and 6 degrees."""
    normal, points = window.normal, window.points_m
    level = normal[:, 2].abs() > 0.9
    turn = torch.atan2(normal[:, 1], normal[:, 0]) % torch.pi / _WAY
    most = torch.zeros_like(points[:, 0])
    for shift in (0.0, 0.5):  # of two grids of directions, one has a plane's normals well inside a cell
        way = (turn + shift).floor() % _WAYS
        angle = (way + 0.5 - shift) * _WAY
        along = points[:, 0] * torch.cos(angle) + points[:, 1] * torch.sin(angle)
        along = torch.where(level, points[:, 2], along)
        place = (along / window.voxel_size_m).floor().long()
        place = place - place.amin() + 1
        plane = (torch.where(level, -1.0, way).long() + 1) * (place.amax() + 2) + place
        count = torch.bincount(plane, minlength=int(plane.amax()) + 2)
        most = torch.maximum(most, (count[plane - 1] + count[plane] + count[plane + 1]).to(most.dtype))
    return most * window.voxel_size_m**2
