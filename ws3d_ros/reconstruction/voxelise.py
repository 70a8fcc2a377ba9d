"""A cloud that is there as a whole as voxels; what a sensor sees bit by bit goes through ``VoxelMap``."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ws3d_ros.reconstruction.keys import COORDINATE_LIMIT, pack_keys, unique_cells
from ws3d_ros.reconstruction.window import Window


def voxelise(
    points_m: Tensor, color: Tensor | None, normal: Tensor | None, voxel_size_m: float
) -> tuple[Window, Tensor]:
    """The means of the points of each voxel.

    Args:
        points_m: (N, 3) float32, finite.
        color: (N, 3) float32 RGB in 0..255, NaN where unknown; or None.
        normal: (N, 3) float32 unit, 0 where unknown; or None.
        voxel_size_m: edge of a voxel.

    Returns:
        window of M voxels without features, labels and instances; its weight is the number of points.
        (N,) int64 row in it of each point.

    Raises:
        ValueError: for points too far away to have a key.
    """
    cells = (points_m / voxel_size_m).floor()
    farthest = float(cells.abs().amax()) if len(cells) else 0.0
    if farthest >= COORDINATE_LIMIT:
        raise ValueError(
            f"points are up to {farthest * voxel_size_m:.4g} m away from the others, at most "
            f"{COORDINATE_LIMIT * voxel_size_m:.4g} m are possible; are they in metres, and none astray?"
        )
    cells, row = unique_cells(cells.long())
    count = len(cells)

    def total(values: Tensor) -> Tensor:
        return torch.zeros(count, 3, device=values.device).index_add_(0, row, values)

    points = torch.bincount(row, minlength=count).float()
    # Sums within a voxel are of offsets from its corner, which keeps them exact far away from 0.
    corner = cells.float() * voxel_size_m
    mean = corner + total(points_m - corner[row]) / points[:, None]
    mean_color, mean_normal = torch.full_like(mean, torch.nan), torch.zeros_like(mean)
    if color is not None:
        known = (~color.isnan()).all(dim=1)
        painted = torch.zeros(count, device=mean.device).index_add_(0, row, known.float())
        mean_color = total(torch.where(known[:, None], color, 0.0)) / painted[:, None]  # 0 / 0: unknown
    if normal is not None:
        mean_normal = normalize(total(normal), dim=1)
    window = Window(
        voxel_size_m=voxel_size_m,
        stamp_ns=0,
        keys=pack_keys(cells),
        points_m=mean,
        color=mean_color,
        normal=mean_normal,
        weight=points,
        feature=torch.zeros(count, 0, dtype=torch.float16, device=mean.device),
        feature_weight=torch.zeros(count, device=mean.device),
        label=torch.zeros(count, dtype=torch.int16, device=mean.device),
        confidence=torch.zeros(count, dtype=torch.float16, device=mean.device),
        instance=torch.zeros(count, dtype=torch.int32, device=mean.device),
    )
    return window, row
