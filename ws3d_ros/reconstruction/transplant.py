"""Voxels of another map, or of the same one elsewhere: moved, and brought together where they meet.

Works on the columns of a map's store as :meth:`VoxelMap.columns` gives them, whatever columns there are.
A column ``x`` beside an ``x_weight`` is a mean with its evidence, and stays one; ``state`` holds means of
its own; of all other columns the voxel with the most evidence decides, so that a label and its
confidence stay together.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ws3d_ros.reconstruction import store as column
from ws3d_ros.reconstruction.keys import COORDINATE_LIMIT, pack_keys
from ws3d_ros.sensors.frame import FloatArray

Columns = Mapping[str, Tensor]


def moved(columns: Columns, T_map_file: FloatArray, voxel_size_m: float) -> dict[str, Tensor]:
    """Voxels at another pose, and in voxels of another size: each goes where its centroid comes to lie.

    Those that come to lie in one voxel become one, by :func:`grouped`. A turned grid leaves some voxels
    with two and some with none, as any resampling by the nearest does; measurements fill these again.

    Args:
        columns: N voxels.
        T_map_file: (4, 4) rigid pose of their frame in the map.
        voxel_size_m: of the result; finer than what they were made with leaves holes.

    Returns:
        M <= N voxels, keys ascending; those beyond the range of keys are left out.
    """
    pose = torch.as_tensor(T_map_file, dtype=torch.float64, device=columns["key"].device)
    state = columns["state"]
    point = state[:, column.POINT].double() @ pose[:3, :3].T + pose[:3, 3]
    normal = state[:, column.NORMAL].double() @ pose[:3, :3].T
    return grouped(placed(columns, point, normal, voxel_size_m))


def placed(columns: Columns, point_m: Tensor, normal: Tensor, voxel_size_m: float) -> dict[str, Tensor]:
    """Voxels with other centroids and normals (N, 3), and the keys that follow from these, in their order.

    Several may have one key. Those beyond the range of keys are left out.
    """
    state = columns["state"].clone()
    state[:, column.POINT], state[:, column.NORMAL] = point_m.float(), normal.float()
    # Of the rounded centroid: a map's voxels hold the points that fall into them.
    cells = (state[:, column.POINT] / voxel_size_m).floor()
    inside = ((cells >= -COORDINATE_LIMIT) & (cells < COORDINATE_LIMIT)).all(dim=1)
    there = {**columns, "state": state}
    if not bool(inside.all()):  # copying wide columns is what takes the time here
        there, cells = {name: values[inside] for name, values in there.items()}, cells[inside]
    return {**there, "key": pack_keys(cells)}


def grouped(columns: Columns) -> dict[str, Tensor]:
    """One voxel for each key, keys ascending; voxels alone under their key stay as they are, bit by bit.

    Means are weighted by their evidence, which adds up, and so do log-odds: both saw the voxel. Limits
    of weights and log-odds are the map's business.
    """
    _, inverse, count = columns["key"].unique(return_inverse=True, return_counts=True)
    state = columns["state"]
    order = state[:, column.WEIGHT].argsort(descending=True, stable=True)
    order = order[inverse[order].argsort(stable=True)]
    heaviest = order[count.cumsum(0) - count]
    result = {name: values[heaviest] for name, values in columns.items()}
    several = count > 1
    if not bool(several.any()):
        return result
    rows = several[inverse].nonzero()[:, 0]
    group = (several.cumsum(0) - 1)[inverse[rows]]
    size = int(several.sum())

    def total(values: Tensor) -> Tensor:
        return torch.zeros((size, *values.shape[1:]), device=values.device).index_add_(0, group, values)

    def mean(values: Tensor, weight: Tensor) -> Tensor:
        return total(values * weight[:, None]) / total(weight).clamp(min=1e-12)[:, None]

    met, own = result["state"][several], state[rows]
    weight, color_weight = own[:, column.WEIGHT], own[:, column.COLOR_WEIGHT]
    met[:, column.POINT] = mean(own[:, column.POINT], weight)
    met[:, column.NORMAL] = mean(own[:, column.NORMAL], weight)
    met[:, column.COLOR] = mean(own[:, column.COLOR], color_weight)
    for summed in (column.WEIGHT, column.COLOR_WEIGHT, column.LOG_ODDS):
        met[:, summed] = total(own[:, summed])
    result["state"][several] = met
    for name in columns:
        evidence = columns.get(f"{name}_weight")
        if evidence is not None:
            blended = mean(columns[name][rows].float(), evidence[rows].float())
            result[name][several] = blended.to(result[name].dtype)
            result[f"{name}_weight"][several] = total(evidence[rows].float()).to(evidence.dtype)
    return result
