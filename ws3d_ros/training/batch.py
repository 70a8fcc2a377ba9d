"""Labelled clouds as the network reads them, with everything that the losses compare it to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ws3d_ros.network.backends.backend import Backend
from ws3d_ros.network.inputs import input_features
from ws3d_ros.network.kernel_map import submanifold_map
from ws3d_ros.network.sparse_tensor import SparseTensor, sparse_tensor
from ws3d_ros.training.datasets.labelled_cloud import NONE, LabelledCloud
from ws3d_ros.training.losses import region_means

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Batch:
    """Several clouds as one tensor of N voxels.

    Attributes:
        voxels: stride 1, features of the network's inputs.
        batch: (N,) int64 which cloud a voxel is of.
        name: (N,) int64 class by majority, -1 for none.
        instance: (N,) int64 thing, numbered through all clouds from 0; -1 for none.
        boundary: (N, 2) float32: a neighbour is of another class, of another thing; NaN where the
            voxel is of none.
        offset_m: (N, 3) float32 from the voxel to the middle of its thing's box; NaN for none.
        region: (N,) int64 patch of surface, numbered as ``instance``; -1 where clouds are not cut.
        told: (N, C) float32 as ``LabelledCloud.told``, the mean over the voxel's points; None where a cloud
            has none.
    """

    voxels: SparseTensor
    batch: Tensor
    name: Tensor
    instance: Tensor
    boundary: Tensor
    offset_m: Tensor
    region: Tensor
    told: Tensor | None = None


def make_batch(
    clouds: Sequence[LabelledCloud],
    inputs: Sequence[str],
    voxel_size_m: float,
    backend: Backend,
    device: torch.device = CPU,
    sparse: bool = False,
) -> Batch:
    """Voxelises the clouds side by side.

    Args:
        clouds: of one class list.
        inputs: of the network, see ``network.inputs``.
        voxel_size_m: edge of a voxel.
        backend: that will convolve.
        device: where the batch is wanted.
        sparse: labels are few: points without one have no say in what their voxel is.
    """
    coords, features, names, instances, regions = [], [], [], [], []
    things = patches = 0
    for index, cloud in enumerate(clouds):
        cells = torch.from_numpy(np.floor(cloud.points_m / voxel_size_m)).long()
        coords.append(torch.cat([torch.full((len(cells), 1), index), cells], dim=1))
        unknown = np.full_like(cloud.points_m, np.nan)
        color = torch.from_numpy(unknown if cloud.color is None else cloud.color).float()
        normal = torch.from_numpy(np.zeros_like(unknown) if cloud.normal is None else cloud.normal).float()
        features.append(input_features(inputs, color, normal))
        names.append(torch.from_numpy(cloud.label).long())
        instance, count = _renumbered(cloud.instance, things)
        instances.append(instance)
        things += count
        uncut = np.full(len(cloud), NONE)
        region, count = _renumbered(uncut if cloud.region is None else cloud.region, patches)
        regions.append(region)
        patches += count
    voxels, cell = sparse_tensor(torch.cat(coords).to(device), torch.cat(features).to(device), backend)
    count = len(voxels.features)
    name, said = torch.cat(names).to(device), cell
    if sparse:
        name, said = name[name >= 0], cell[name >= 0]
    name = majority(name, said, count)
    instance = majority(torch.cat(instances).to(device), cell, count)
    return Batch(
        voxels,
        voxels.coords[:, 0],
        name,
        instance,
        boundaries(voxels.coords, name, instance),
        offsets(voxels.coords, instance, voxel_size_m),
        majority(torch.cat(regions).to(device), cell, count),
        _told(clouds, cell, count),
    )


def _told(clouds: Sequence[LabelledCloud], cell: Tensor, cells: int) -> Tensor | None:
    rows = [torch.from_numpy(cloud.told) for cloud in clouds if cloud.told is not None]
    if len(rows) < len(clouds):
        return None
    return region_means(torch.cat(rows).to(cell.device).float(), cell, cells)


def _renumbered(value: np.ndarray, first: int) -> tuple[Tensor, int]:
    """Numbers from ``first`` on instead of whatever there is, -1 for what is negative; how many there are."""
    ids, place = np.unique(value, return_inverse=True)
    return torch.from_numpy(np.where(value < 0, NONE, place + first)), len(ids)


def majority(value: Tensor, cell: Tensor, cells: int) -> Tensor:
    """The most frequent value (N,) int64, -1 or more, among the points of each cell; the least of equals.

    -1 for cells without points.
    """
    span = int(value.amax()) + 2 if len(value) else 1
    pairs, votes = torch.unique(cell * span + value + 1, return_counts=True)
    of_cell, voted = torch.div(pairs, span, rounding_mode="floor"), pairs % span - 1
    most = torch.zeros(cells, dtype=torch.int64, device=value.device).scatter_reduce(
        0, of_cell, votes, "amax"
    )
    first = torch.full((cells,), span, dtype=torch.int64, device=value.device)
    wins = votes == most[of_cell]
    least = first.scatter_reduce(0, of_cell[wins], voted[wins], "amin")
    return torch.where(most > 0, least, NONE)


def boundaries(coords: Tensor, name: Tensor, instance: Tensor) -> Tensor:
    """(N, 2) float32: 1 where one of the 26 neighbours is of another class, of another thing."""
    pairs = submanifold_map(coords, 3, 1)
    out = torch.zeros(len(coords), 2, device=coords.device)
    for column, value in enumerate((name, instance)):
        other = value[pairs.inputs] != value[pairs.outputs]
        other &= (value[pairs.inputs] >= 0) & (value[pairs.outputs] >= 0)
        out[:, column].index_add_(0, pairs.outputs, other.float())
    out.clamp_(max=1.0)
    out[name < 0] = torch.nan
    return out


def offsets(coords: Tensor, instance: Tensor, voxel_size_m: float) -> Tensor:
    """(N, 3) float32 metres from each voxel to the middle of the box around its thing's voxels."""
    out = torch.full((len(coords), 3), torch.nan, device=coords.device)
    inside = instance >= 0
    if not bool(inside.any()):
        return out
    ids, thing = torch.unique(instance[inside], return_inverse=True)
    place = coords[inside, 1:].float()
    where = thing[:, None].expand(-1, 3)
    low = place.new_full((len(ids), 3), torch.inf).scatter_reduce(0, where, place, "amin")
    high = place.new_full((len(ids), 3), -torch.inf).scatter_reduce(0, where, place, "amax")
    out[inside] = ((low + high)[thing] / 2 - place) * voxel_size_m
    return out
